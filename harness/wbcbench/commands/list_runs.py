"""``wbcbench list [STUDY]``: runs; ``wbcbench list parts``: what can be chosen by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.text import human_duration, human_energy, human_share
from wbcbench.core.window import TRAIN
from wbcbench.registry import KINDS, load_part, summary
from wbcbench.train.variants import Variant

if TYPE_CHECKING:
    from wbcbench.core.record import RunRecord
    from wbcbench.core.run_folder import RunDir
    from wbcbench.table.summary import Summaries

PARTS = "parts"
UNFINISHED, UNREADABLE = "unfinished", "unreadable"
_HEADINGS = ("study", "run", "status", "quality", "accuracy", "window", "energy", "", "time")

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
    from wbcbench.core.run_folder import list_folders
    from wbcbench.core.study_folder import all_runs, require_any, require_study

    if study == PARTS:
        _list_parts(as_json=as_json)
        return
    options.finalise_programs(results)
    if study is not None:
        runs = list_folders(results, require_study(results, study, trained=False).name)
    else:
        runs = all_runs(results)
        require_any(results, runs)
    entries = _describe_runs(runs)
    if as_json:
        options.print_json({"runs": entries}, "list")
        return
    right = ("accuracy", "energy", "time")
    options.print_table(_HEADINGS, [_format_row(entry) for entry in entries], right)
    for entry in entries:
        if entry["about"]:
            typer.echo(f"{entry['run_id']}: {entry['about']}")


def _describe_runs(runs: list[RunDir]) -> list[dict[str, Any]]:
    from itertools import groupby

    from wbcbench.table.summary import Summaries

    entries: list[dict[str, Any]] = []
    for study, own in groupby(runs, key=lambda run: run.path.parent):
        with Summaries(study) as summaries:
            in_study = [*own]
            summaries.prepare([run for run in in_study if run.is_finished])
            entries += [_describe_run(run, summaries) for run in in_study]
    return entries


def _describe_run(run: RunDir, summaries: Summaries) -> dict[str, Any]:
    from wbcbench.core.run_condition import condition
    from wbcbench.table.summary import SummarisedRun

    ended = stage = about = None
    status = UNFINISHED
    if not run.is_finished:
        unfinished = condition(run)
        stage, about = unfinished.stage, unfinished.text
    else:
        try:
            ended = SummarisedRun(summaries.read(run), run, run.path.parent.name)
            status = ended.status
        except UsageError as error:  # one bad record hides no other run
            status, about = UNREADABLE, str(error)
    is_program = ended is not None and ended.spec.is_program
    return {
        "run_id": run.run_id,
        "study": run.path.parent.name,
        "run_dir": str(run.path),
        "status": status,
        "stage": stage,
        "about": about,
        "row": ended.row if ended and not is_program else None,
        "program": _describe_program(run.read_record()) if is_program else None,
    }


def _describe_program(record: RunRecord) -> dict[str, Any]:
    """The first window of a measured program, in the words of the table's row of a training."""
    from wbcbench.energy.source import find_window_energy, primary_source
    from wbcbench.table.view import Run

    name = Run(record).main_window
    energy = find_window_energy(record, primary_source(record, name), name)
    window = record.window(name)
    return {
        "synthetic": record.synthetic,
        "quality": record.quality,
        "window": name,
        **options.pick(energy, "energy_j", "uncertainty_j", "board_uncertainty_j"),
        "primary_domain": energy.domain,
        "primary_status": energy.status,
        "duration_s": window and window.duration_s,
    }


def _format_row(entry: dict[str, Any]) -> tuple[str, ...]:
    row, program = entry["row"], entry["program"]
    if row is None and program is None:
        words = ", ".join(filter(None, (entry["status"], entry["stage"])))
        return (entry["study"], entry["run_id"], words, *[""] * 6)
    cells = program or {
        **row,
        "window": TRAIN,
        "energy_j": row["primary_energy_train_j"],
        "duration_s": row["time_train_s"],
    }
    return (
        entry["study"],
        entry["run_id"],
        entry["status"] + (" synthetic" if cells["synthetic"] else ""),
        str(cells["quality"]),
        "" if program else human_share(cells["accuracy"]),
        cells["window"],
        human_energy(cells["energy_j"]),
        " ".join(str(cells[name] or "") for name in ("primary_domain", "primary_status")).strip(),
        human_duration(cells["duration_s"]),
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
