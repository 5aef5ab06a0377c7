"""How to cite the program, the data and the methods."""

from __future__ import annotations

from importlib import resources

from wbcbench.report import Block, Listing
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.heading import results_sha256

FILE = "references.bib"


def section(study: ReportStudy) -> Block:
    """One listing of references, and the digest that names these results."""
    words = (
        f"Name these results by their digest: study {study.name}, sha256 of runs.csv "
        f"{results_sha256(study)}.",
    )
    listing = Listing("BibTeX of the program, the images and the methods:", references())
    return Block("citation", "Citation", words, listings=(listing,))


def references() -> str:
    """The references as BibTeX."""
    path = resources.files("wbcbench.report") / FILE
    return path.read_text(encoding="utf-8").strip()
