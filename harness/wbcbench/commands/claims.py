"""``wbcbench claims STUDY``: test the plan's claims, and a file's, against a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError

File = Annotated[
    Path | None,
    typer.Option("--claims", help="File of claims.", show_default="experiments/claims.toml"),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Keep the file with the study, for its report and bundle.")
]
Measures = Annotated[
    bool, typer.Option("--measures", help="List the measures a claim can use, and exit.")
]


def claims(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    file: File = None,
    keep: Keep = False,
    measures: Measures = False,
    as_json: options.AsJson = False,
) -> None:
    """Test claims against a study: supported, not supported or inconclusive, with intervals.

    Those of the study's own plan first, then those of a file: the one given, or kept with the
    study, or the published report's.
    """
    from wbcbench.compare import claims as published
    from wbcbench.compare.measures import MEASURES
    from wbcbench.compare.render import describe_claim
    from wbcbench.compare.result import build_claim_document
    from wbcbench.core.study_folder import CLAIMS, require_study
    from wbcbench.core.text import printable
    from wbcbench.report.study import ReportStudy
    from wbcbench.table.view import read_study

    if measures:
        rows = [(name, measure.meaning) for name, measure in MEASURES.items()]
        options.print_table(("measure", "meaning"), rows, folds="meaning")
        return
    folder = require_study(results, study)
    source = published.find_file(file, folder)
    defined = published.read_claims(source)
    if keep:
        _keep(source, folder / CLAIMS)
    view = read_study(folder)
    runs = sorted(view.runs, key=lambda run: run.run_id)
    judged = [published.evaluate_claim(claim, runs) for claim in defined]
    planned = ReportStudy(view.name, view.runs, view.unfinished, folder).planned_claims
    document = {
        **published.build_claims_document(study, judged),
        "planned": [build_claim_document(result) for result in planned],
    }
    own = [printable(describe_claim(result)) for result in planned]
    text = "\n\n".join([*own, published.format_claims(judged)])
    options.print_result(document, "\n".join(map(_fit, text.split("\n"))), as_json=as_json)


def _keep(source: Path, kept: Path) -> None:
    data = source.read_bytes()
    if kept.is_file() and kept.read_bytes() != data:
        raise UsageError(f"{kept} holds other claims. Remove it first, if these shall replace it.")
    options.write_output(kept, data)


def _fit(line: str) -> str:
    """A line as wide as the terminal, the rest of it below its own beginning."""
    from wbcbench.core.terminal import fill

    indent = " " * (len(line) - len(line.lstrip()))
    return fill(line.strip(), indent, f"{indent}  ")
