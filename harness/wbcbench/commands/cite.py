"""``wbcbench cite``: the references to give with results."""

from __future__ import annotations

from wbcbench.commands import options


def cite(as_json: options.AsJson = False) -> None:
    """Print references for the program, the images and the methods as BibTeX."""
    from wbcbench.report.sections.methods import references

    options.print_result({"bibtex": references()}, references(), "cite", as_json=as_json)
