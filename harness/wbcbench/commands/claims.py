"""``wbcbench claims STUDY``: what a study says of the published report's claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.claims.evidence import Witness

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
    from wbcbench.claims.definition import find_file, read_claims
    from wbcbench.claims.judgement import judge
    from wbcbench.claims.words import as_document, as_text
    from wbcbench.runs.study_folder import require_study

    if measures:
        _list_measures()
        return
    defined = read_claims(find_file(file))
    witnesses = _witnesses(require_study(results, study))
    found = [judge(claim, witnesses) for claim in defined]
    if as_json:
        document = as_document(study, found)
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(as_text(found))


def _witnesses(study_dir: Path) -> list[Witness]:
    from wbcbench.claims.evidence import Witness
    from wbcbench.comparison.observed import observe
    from wbcbench.table import study_records

    records = study_records(study_dir)
    return [Witness(observe(record, study_dir.name), record) for record in records]


def _list_measures() -> None:
    from wbcbench.claims.measures import MEASURES
    from wbcbench.writing.tabular import aligned

    rows = [(name, measure.meaning) for name, measure in MEASURES.items()]
    typer.echo(aligned(("measure", "meaning"), rows))
