"""``wbcbench list``: runs of a study, or the parts that can be chosen by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.registry import KINDS, load_part, summary
from wbcbench.train.variants import Variant

if TYPE_CHECKING:
    from wbcbench.core.run_condition import Condition
    from wbcbench.core.run_folder import RunDir

# ``wbcbench list [STUDY]``: the runs there are; ``wbcbench list parts``: what can be chosen.


SCHEMA = "wbcbench.list/1"
PARTS = "parts"
UNFINISHED = "unfinished"
_HEADINGS = ("study", "run", "status", "verdict", "accuracy", "energy, train", "", "time, train")


def list_runs(
    study: Annotated[
        str | None,
        typer.Argument(
            help="Only this study; without it, all. 'parts' lists variants, meters and so on.",
            show_default=False,
        ),
    ] = None,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """List runs with their accuracy and joules, or the parts that can be chosen by name."""
    if study == PARTS:
        _list_parts(as_json=as_json)
        return
    runs = _runs(results, study)
    if as_json:
        _print_json({"runs": [_entry(run) for run in runs]})
    else:
        _print_table(_HEADINGS, [_line(run) for run in runs], right=(4, 5, 7))
        for run in runs:
            if not run.is_finished:
                typer.echo(f"{run.run_id}: {_condition(run).text}")


def _runs(results: Path, study: str | None) -> list[RunDir]:
    from wbcbench.core.run_folder import study_runs
    from wbcbench.core.study_folder import all_runs, require_any, require_study

    if study is not None:
        return study_runs(results, require_study(results, study).name)
    runs = all_runs(results)
    require_any(results, runs)
    return runs


def _line(run: RunDir) -> tuple[str, ...]:
    from wbcbench.core.text import human_duration, human_energy, human_share

    study = run.path.parent.name
    if not run.is_finished:
        status = f"{UNFINISHED}, {_condition(run).stage}"
        return (study, run.run_id, status, "", "", "", "", "")
    cells: dict[str, Any] = _row(run)
    return (
        study,
        run.run_id,
        str(cells["status"]) + (" synthetic" if cells["synthetic"] else ""),
        str(cells["quality"]),
        human_share(cells["accuracy"]),
        human_energy(cells["primary_energy_train_j"]),
        " ".join(str(cells[name] or "") for name in ("primary_domain", "primary_status")).strip(),
        human_duration(cells["time_train_s"]),
    )


def _entry(run: RunDir) -> dict[str, Any]:
    cells = _row(run) if run.is_finished else None
    found = None if cells else _condition(run)
    return {
        "run_id": run.run_id,
        "study": run.path.parent.name,
        "run_dir": str(run.path),
        "status": cells["status"] if cells else UNFINISHED,
        "stage": found.stage.value if found else None,
        "about": found.text if found else None,
        "row": cells,
    }


def _condition(run: RunDir) -> Condition:
    from wbcbench.core.run_condition import condition

    return condition(run)


def _row(run: RunDir) -> dict[str, Any]:
    from wbcbench import table

    return dict(table.row(run.read_record()))


def _list_parts(*, as_json: bool) -> None:

    found = parts()
    if as_json:
        _print_json({"parts": [{"kind": p.kind, "name": p.name, "about": p.about} for p in found]})
    else:
        _print_table(("kind", "name", "about"), [(p.kind, p.name, p.about) for p in found])


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps({"schema": SCHEMA, **document}, indent=1, ensure_ascii=False))


def _print_table(
    headings: tuple[str, ...], lines: list[tuple[str, ...]], right: tuple[int, ...] = ()
) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from wbcbench.core.text import console, printable

    shown = Table(box=SIMPLE, pad_edge=False)
    for i, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if i in right else "left", overflow="fold")
    for line in lines:
        shown.add_row(*(Text(printable(word)) for word in line))
    console().print(shown)


# Every part of the registry with one line about it, taken from the part itself.


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of the registry.

    Attributes:
        kind: ``variant``, ``meter``, …
        name: What the user types.
        about: One line; for a part whose libraries are missing, which.
    """

    kind: str
    name: str
    about: str


def parts() -> list[Part]:
    """Every part, in the registry's order."""
    return [Part(kind, name, about(kind, name)) for kind, names in KINDS.items() for name in names]


def about(kind: str, name: str) -> str:
    """A variant's description, or the first line of the part's own docstring."""
    try:
        part = load_part(kind, name)
    except ImportError as error:
        return f"cannot be loaded: {error}"
    if isinstance(part, Variant):
        return part.description
    return summary(kind, name)
