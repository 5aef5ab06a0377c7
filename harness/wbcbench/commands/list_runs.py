"""``wbcbench list [STUDY]``: runs; ``wbcbench list parts``: what can be chosen by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.text import human_duration, human_energy, human_share
from wbcbench.registry import KINDS, load_part, summary
from wbcbench.train.variants import Variant

if TYPE_CHECKING:
    from wbcbench.core.run_folder import RunDir

PARTS = "parts"
UNFINISHED = "unfinished"
_HEADINGS = ("study", "run", "status", "quality", "accuracy", "energy, train", "", "time, train")

StudyOrParts = Annotated[
    str | None,
    typer.Argument(
        help="Only this study; all if left out. 'parts' lists variants, meters and so on.",
        show_default=False,
    ),
]


def list_runs(
    study: StudyOrParts = None,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """List runs with their accuracy and energy, or the parts that can be chosen by name."""
    from wbcbench.core.run_folder import study_runs
    from wbcbench.core.study_folder import all_runs, require_any, require_study

    if study == PARTS:
        _list_parts(as_json=as_json)
        return
    if study is not None:
        runs = study_runs(results, require_study(results, study).name)
    else:
        runs = all_runs(results)
        require_any(results, runs)
    entries = [_describe_run(run) for run in runs]
    if as_json:
        options.print_json({"runs": entries}, "list")
        return
    right = ("accuracy", "energy, train", "time, train")
    options.print_table(_HEADINGS, [_format_row(entry) for entry in entries], right)
    for entry in entries:
        if entry["about"]:
            typer.echo(f"{entry['run_id']}: {entry['about']}")


def _describe_run(run: RunDir) -> dict[str, Any]:
    from wbcbench import table
    from wbcbench.core.run_condition import condition

    row = dict(table.row(run.read_record())) if run.is_finished else None
    unfinished = None if row else condition(run)
    return {
        "run_id": run.run_id,
        "study": run.path.parent.name,
        "run_dir": str(run.path),
        "status": row["status"] if row else UNFINISHED,
        "stage": unfinished.stage if unfinished else None,
        "about": unfinished.text if unfinished else None,
        "row": row,
    }


def _format_row(entry: dict[str, Any]) -> tuple[str, ...]:
    study, run_id, row = entry["study"], entry["run_id"], entry["row"]
    if row is None:
        return (study, run_id, f"{UNFINISHED}, {entry['stage']}", *[""] * 5)
    return (
        study,
        run_id,
        str(row["status"]) + (" synthetic" if row["synthetic"] else ""),
        str(row["quality"]),
        human_share(row["accuracy"]),
        human_energy(row["primary_energy_train_j"]),
        " ".join(str(row[name] or "") for name in ("primary_domain", "primary_status")).strip(),
        human_duration(row["time_train_s"]),
    )


def _list_parts(*, as_json: bool) -> None:
    headings = ("kind", "name", "about")
    parts = [
        (kind, name, describe_part(kind, name)) for kind, names in KINDS.items() for name in names
    ]
    if as_json:
        document = {"parts": [dict(zip(headings, part, strict=True)) for part in parts]}
        options.print_json(document, "list")
    else:
        options.print_table(headings, parts)


def describe_part(kind: str, name: str) -> str:
    """A variant's description, or the first line of the part's own docstring."""
    try:
        part = load_part(kind, name)
    except ImportError as error:
        return f"cannot be loaded: {error}"
    return part.description if isinstance(part, Variant) else summary(kind, name)
