"""``wbcbench claims STUDY``: test the published report's claims against a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

File = Annotated[
    Path | None,
    typer.Option("--claims", help="File of claims.", show_default="experiments/claims.toml"),
]
Measures = Annotated[
    bool, typer.Option("--measures", help="List the measures a claim can use, and exit.")
]


def claims(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    file: File = None,
    measures: Measures = False,
    as_json: options.AsJson = False,
) -> None:
    """Test claims against a study: supported, not supported or inconclusive, with intervals."""
    from wbcbench.compare import claims as published
    from wbcbench.compare.measures import MEASURES
    from wbcbench.core.study_folder import require_study
    from wbcbench.core.text import aligned_table
    from wbcbench.table.view import read_study

    if measures:
        rows = [(name, measure.meaning) for name, measure in MEASURES.items()]
        typer.echo(aligned_table(("measure", "meaning"), rows))
        return
    defined = published.read_claims(published.find_file(file))
    runs = sorted(read_study(require_study(results, study)).runs, key=lambda run: run.run_id)
    judged = [published.evaluate_claim(claim, runs) for claim in defined]
    document = published.build_claims_document(study, judged)
    options.print_result(document, published.format_claims(judged), as_json=as_json)
