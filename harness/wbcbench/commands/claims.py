"""``wbcbench claims STUDY``: what a study says of the published report's claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

File = Annotated[
    Path | None,
    typer.Option(
        "--claims", help="Another file of claims.", show_default="experiments/claims.toml"
    ),
]
Measures = Annotated[
    bool, typer.Option("--measures", help="List what a check can measure, and end.")
]


def claims(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    file: File = None,
    measures: Measures = False,
    as_json: options.AsJson = False,
) -> None:
    """Test claims against a study: evidence with intervals; supported, contradicted, or neither."""
    from wbcbench.compare.claims import (
        claims_document,
        claims_text,
        evaluate_claim,
        find_file,
        read_claims,
    )
    from wbcbench.core.study_folder import require_study
    from wbcbench.table.view import read_study

    if measures:
        _list_measures()
        return
    defined = read_claims(find_file(file))
    runs = sorted(read_study(require_study(results, study)).runs, key=lambda run: run.run_id)
    found = [evaluate_claim(claim, runs) for claim in defined]
    if as_json:
        document = claims_document(study, found)
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(claims_text(found))


def _list_measures() -> None:
    from wbcbench.compare.claims import MEASURES
    from wbcbench.core.text import aligned_table

    rows = [(name, measure.meaning) for name, measure in MEASURES.items()]
    typer.echo(aligned_table(("measure", "meaning"), rows))
