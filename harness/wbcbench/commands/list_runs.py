"""``wbcbench list [STUDY]``: runs; ``wbcbench list parts``: what can be chosen by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of, printable
from wbcbench.core.window import TRAIN
from wbcbench.registry import KINDS, list_names, load_part, summary
from wbcbench.train.variants import Variant

if TYPE_CHECKING:
    from wbcbench.core.record import RunRecord
    from wbcbench.core.run_folder import RunDir
    from wbcbench.core.spec import RunSpec
    from wbcbench.core.terminal import TableColumn
    from wbcbench.table.summary import Summaries

PARTS = "parts"
UNFINISHED, UNREADABLE = "unfinished", "unreadable"
_VALID = "valid"
_INDENT = "  "

StudyOrParts = Annotated[
    str | None,
    typer.Argument(
        help="Only this study; all if left out. 'parts' lists variants, meters and so on.",
        show_default=False,
    ),
]


Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Ask the queue for a study's jobs, account for those that ended, until none is left.",
    ),
]


def list_runs(
    study: StudyOrParts = None,
    results: options.Results = Path("results"),
    watch: Watch = False,
    wide: options.Wide = False,
    as_json: options.AsJson = False,
) -> None:
    """List runs with their accuracy and energy, or the parts that can be chosen by name."""
    from wbcbench.core.run_folder import list_folders
    from wbcbench.core.study_folder import all_runs, require_any, require_study

    if study == PARTS:
        _list_parts(as_json=as_json)
        return
    if watch:
        if study is None:
            raise UsageError("--watch takes the name of a study: wbcbench list STUDY --watch")
        _watch(results / require_study(results, study).name)
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
    studies = groupby(entries, key=lambda entry: entry["study"])
    blocks = ("\n".join(_format_study(name, list(own), wide=wide)) for name, own in studies)
    typer.echo("\n\n".join(blocks))


def _watch(study_dir: Path) -> None:
    """A line for each change of a job, on standard error."""
    from wbcbench.core.errors import InterruptedRunError
    from wbcbench.study.queue import watch_jobs

    try:
        for _ in watch_jobs(study_dir, lambda text: typer.echo(text, err=True)):
            pass
    except KeyboardInterrupt as error:
        raise InterruptedRunError("No longer watching; the jobs go on.") from error
    typer.echo(f"No job waits or runs.{_describe_rest(study_dir)}", err=True)


def _describe_rest(study_dir: Path) -> str:
    """How many runs of the plan are not done, and what goes on with them."""
    from wbcbench.core.study_folder import PLAN
    from wbcbench.study.plan import read_plan
    from wbcbench.study.progress import Progress, identify_without_images

    if not (study_dir / PLAN).is_file():
        return ""
    plan = read_plan(study_dir / PLAN)
    progress = Progress(study_dir.parent, study_dir.name, by=identify_without_images)
    states = Counter[str]()
    for number in range(1, plan.blocks + 1):
        attempt = progress.attempt(plan.block(number))
        states.update(
            progress.state(replace(run, block_attempt=attempt)) for run in plan.block(number)
        )
    left = states.total() - states["done"]
    if not left:
        return ""
    return (
        f" {left} of {states.total()} runs are not done;\n"
        "the same `wbcbench sweep` as before goes on with them."
    )


def _describe_runs(runs: list[RunDir]) -> list[dict[str, Any]]:
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
    spec = ended.spec if ended else None
    with suppress(UsageError, OSError):  # of a damaged folder nothing is known
        spec = spec or run.read_spec()
    return {
        "run_id": run.run_id,
        "study": run.path.parent.name,
        "run_dir": str(run.path),
        "status": status,
        "stage": stage,
        "about": about,
        "variant": spec.variant if spec and not spec.is_program else None,
        "seed": spec.seed if spec and not spec.is_program else None,
        "settings": _read_settings(spec) if spec and not spec.is_program else None,
        "row": ended.row if ended and not is_program else None,
        "program": _describe_program(run.read_record()) if is_program else None,
    }


def _read_settings(spec: RunSpec) -> dict[str, Any]:
    """What makes another configuration of a variant, by name."""
    from wbcbench.core.spec import TREATMENTS

    return {name: getattr(spec, name) for name in TREATMENTS}


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
        "primary_method": energy.method,
        "duration_s": window and window.duration_s,
    }


def _format_study(name: str, entries: Sequence[dict[str, Any]], *, wide: bool) -> Iterator[str]:
    """A heading, a line a run, what its energy is, and what is known of unfinished runs."""
    from wbcbench.core.terminal import ABSENT, fill, format_table

    runs = [_find_cells(entry) for entry in entries]
    parts = [f"Study {name}", _count_design(entries), _name_device(runs)]
    heading = "   ".join(filter(None, parts))
    yield from fill(printable(heading), rest=_INDENT).splitlines()
    yield from format_table([*_build_columns(entries, runs)], indent=_INDENT, wide=wide)
    states = Counter(_name_state(entry, {}) for entry in entries)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    energies = list(dict.fromkeys(filter(None, map(_name_energy, runs))))
    energy = " or ".join(energies) or ABSENT
    yield from fill(f"energy: {energy};  {counts}", _INDENT, 2 * _INDENT).splitlines()
    if any(cells.get("synthetic") for cells in runs):
        text = "synthetic: synthetic images or a simulated sensor, not a result to quote"
        yield from fill(text, _INDENT, 2 * _INDENT).splitlines()
    for entry in entries:
        if entry["about"]:
            text = f"{entry['run_id']}: {entry['about']}"
            yield from fill(printable(text), _INDENT, 2 * _INDENT).splitlines()


def _find_cells(entry: dict[str, Any]) -> dict[str, Any]:
    """The cells of a run, a training's by the names of a program's; none of an unfinished one."""
    if entry["program"]:
        return dict(entry["program"])
    row = entry["row"]
    if row is None:
        return {}
    return {
        **row,
        "energy_j": row["primary_energy_train_j"],
        "duration_s": row["time_train_s"],
    }


def _count_design(entries: Sequence[dict[str, Any]]) -> str:
    """``4 variants × 8 seeds``; with a comma where not every variant has every seed.

    Where their settings differ, too, configurations are counted.
    """
    known = [entry for entry in entries if entry["variant"]]
    if not known:
        return ""
    names = ["variant", *_find_factors(entries)]
    trained = {
        (tuple({**entry["settings"], **entry}[name] for name in names), entry["seed"])
        for entry in known
    }
    configurations, seeds = ({pair[place] for pair in trained} for place in (0, 1))
    noun = "configuration" if len(names) > 1 else "variant"
    sign = " ×" if len(trained) == len(configurations) * len(seeds) else ","
    return f"{count_of(len(configurations), noun)}{sign} {count_of(len(seeds), 'seed')}"


def _find_factors(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The settings in which the runs differ."""
    own = [entry["settings"] for entry in entries if entry["settings"]]
    return [name for name in (own[0] if own else ()) if len({each[name] for each in own}) > 1]


def _name_device(runs: Sequence[dict[str, Any]]) -> str:
    names = {cells.get("gpu_name") or cells.get("cpu_model") for cells in runs} - {None}
    return f"{len(names)} devices" if len(names) > 1 else str(*names)


def _build_columns(
    entries: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]
) -> Iterator[TableColumn]:
    """Those in which the runs differ are shown, or of which one has a value."""
    from wbcbench.core.terminal import energy_column, share_column, text_column, time_column

    yield text_column("run", [entry["run_id"] for entry in entries])
    are_alike = len({bool(cells["synthetic"]) for cells in runs if cells}) < 2
    pairs = zip(entries, runs, strict=True)
    states = [_name_shortly(entry, {} if are_alike else own) for entry, own in pairs]
    yield text_column("state", states)
    for name in _find_factors(entries):
        values = [entry["settings"] and entry["settings"][name] for entry in entries]
        yield text_column(name, values, leaves=7)
    if any(cells.get("quality", _VALID) != _VALID for cells in runs):
        yield text_column("quality", [cells.get("quality") for cells in runs], leaves=3)
    if any(entry["program"] for entry in entries):
        windows = [cells.get("window", TRAIN if cells else None) for cells in runs]
        yield text_column("window", windows, leaves=5)
    if any(entry["row"] for entry in entries):
        yield share_column("accuracy", [cells.get("accuracy") for cells in runs], leaves=2)
    yield energy_column("energy", [cells.get("energy_j") for cells in runs], leaves=1)
    readings = [_name_reading(cells) for cells in runs]
    if len({*readings} - {""}) > 1:
        yield text_column("read by", readings, leaves=4)
    yield time_column("time", [cells.get("duration_s") for cells in runs], leaves=6)


def _name_state(entry: dict[str, Any], cells: dict[str, Any]) -> str:
    words = ", ".join(filter(None, (entry["status"], entry["stage"])))
    return f"{words} synthetic" if cells.get("synthetic") else words


def _name_shortly(entry: dict[str, Any], cells: dict[str, Any]) -> str:
    """Its stage alone where it is unfinished: beside a run id 50 columns leave 18."""
    return entry["stage"] or _name_state(entry, cells)


def _name_energy(cells: dict[str, Any]) -> str:
    """``training, GPU counter, measured``; empty where nothing was read."""
    reading = _name_reading(cells)
    return reading and f"{cells.get('window', 'training')}, {reading}"


def _name_reading(cells: dict[str, Any]) -> str:
    from wbcbench.energy.source import name_reading

    domain = cells.get("primary_domain")
    if cells.get("energy_j") is None or domain is None:
        return ""
    return f"{name_reading(domain, cells.get('primary_method'))}, {cells['primary_status']}"


def _list_parts(*, as_json: bool) -> None:
    headings = ("kind", "name", "about")
    parts = [(kind, name, describe_part(kind, name)) for kind in KINDS for name in list_names(kind)]
    if as_json:
        document = {"parts": [dict(zip(headings, part, strict=True)) for part in parts]}
        options.print_json(document, "list")
    else:
        options.print_table(headings, parts, folds="about")


def describe_part(kind: str, name: str) -> str:
    """A variant's description, or the first line of the part's own docstring."""
    try:
        part = load_part(kind, name)
    except ImportError as error:
        return f"cannot be loaded: {error}"
    return part.description if isinstance(part, Variant) else summary(kind, name)
