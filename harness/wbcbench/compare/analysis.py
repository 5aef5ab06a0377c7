"""Runs → one ``Comparison``: which runs may be compared, the protocol, and what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from wbcbench.compare.design import (
    ComparisonDesign,
    Configuration,
    configurations,
    find_complete_blocks,
    make_design,
    notes_on_one_class,
)
from wbcbench.compare.effects import (
    CorrectAnswers,
    check_thresholds,
    compute_effects,
    read_answers,
    split_energy,
    summarise_configurations,
)
from wbcbench.compare.metric import ACCURACY, PRIMARY, Metric, Settings, find_metric
from wbcbench.compare.planned_claims import evaluate_planned_claims
from wbcbench.compare.result import Comparison, Effect, Energy
from wbcbench.core.errors import CannotMeasureError, UsageError, unknown_name
from wbcbench.core.text import count_of
from wbcbench.core.trace import Origin
from wbcbench.stats.intervals import LEAST_FOR_BOOTSTRAP, LEAST_FOR_T
from wbcbench.stats.tests import find_least_blocks, p_floor
from wbcbench.table.columns import Cell
from wbcbench.table.view import ABSENT, Run

ALWAYS = ("schema_version", "synthetic", "dataset_id", "dataset_sha256", "n_test")
ENERGY = ("primary_status", "primary_domain", "primary_method")
MACHINE = (
    "host_id", "gpu_name", "gpu_count", "driver_version", "cpu_model", "tensorflow_version",
    "cuda_version",
)  # fmt: skip
NEVER_ALLOWED = ("synthetic", "primary_status")
"""Measured, estimated and simulated joules never stand in one comparison."""

_PARTS = {"gpu": "GPU board", "cpu": "processor", "system": "whole machine"}

_SHOWN_MACHINE = ("host_id", "gpu_name", "driver_version", "cpu_model", "tensorflow_version")

_OPTIONS = {
    "metrics": "--metric",
    "baseline": "--baseline",
    "lowest_status": "--lowest-status",
    "region_pct": "--equivalent-pct",
    "region_pp": "--equivalent-pp",
    "method": "--interval",
}


def compare(
    runs: Sequence[Run], settings: Settings, studies: Sequence[str], unfinished: int = 0
) -> Comparison:
    """Compare runs block by block.

    Args:
        runs: Every run with a record, of all studies.
        settings: How.
        studies: Names, in the order they were given.
        unfinished: Runs without a record, to be counted.

    Raises:
        UsageError: There is no run, or a name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    if not runs:
        raise UsageError(f"No run of {', '.join(studies)} has ended yet: nothing to compare.")
    _require_distinct(runs)
    # The first run names the machine: let that not depend on how the runs were read.
    order = {name: place for place, name in enumerate(studies)}
    runs = sorted(runs, key=lambda run: (order.get(run.study, 0), run.run_id))
    chosen, excluded = _exclude_rare(configurations(runs))
    groups = configurations(chosen)
    done = [run for run in chosen if run.is_done]
    energy = _choose_energy(done, settings.lowest_status)
    names = settings.metrics or tuple(name for name in (energy.metric, ACCURACY) if name)
    metrics = tuple(find_metric(name) for name in dict.fromkeys(names))
    needed = [*metrics, *(threshold.metric for threshold in settings.thresholds)]
    compared = [*needed, *(find_metric(claim.metric) for claim in settings.claims.values())]
    differing = _require_comparable(
        done,
        settings.allow_different,
        energy=any(metric.part is not None for metric in compared),
        speed=any(metric.is_speed for metric in compared),
    )
    design = make_design(groups, settings.baseline, studies)
    ordered, one_host = design.configurations, len(studies) == 1
    blocks = find_complete_blocks(runs, ordered, needed, one_host=one_host)
    statuses = {m.name: _check_status(m, done, settings.lowest_status) for m in needed}
    energy_metric = next((metric for metric in metrics if metric.name == energy.metric), None)
    effects = compute_effects(design, blocks, metrics, statuses, settings)
    answers = read_answers(blocks)
    return Comparison(
        studies=tuple(studies),
        settings=settings,
        design=design,
        blocks=blocks,
        unfinished=unfinished,
        metrics=metrics,
        energy=energy,
        machine={name: runs[0].row.get(name) for name in _SHOWN_MACHINE},
        effects=effects,
        splits=split_energy(design, blocks, energy_metric, settings) if energy_metric else (),
        configurations=summarise_configurations(design, blocks, metrics, energy_metric, answers),
        same_images=answers.compare(design) if answers else (),
        thresholds=check_thresholds(design, blocks, settings, statuses),
        claims=evaluate_planned_claims(settings, ordered, blocks),
        notes=(
            *_notes_on_plan(settings, energy, metrics),
            *(f"{field} differs between the runs, as allowed." for field in differing),
            *excluded,
            *_notes_on_tests(design, effects, len(blocks.runs), settings),
            *_notes_on_photographs(answers, metrics),
        ),
    )


def _notes_on_plan(settings: Settings, energy: Energy, metrics: Sequence[Metric]) -> Iterator[str]:
    if settings.plan_sha256:
        planned = f"Compared as planned before the first run (plan {settings.plan_sha256[:12]})"
        # Limits and permissions are no part of a plan: naming them is no departure from it.
        departed = [_OPTIONS[name] for name in settings.departures if name in _OPTIONS]
        yield f"{planned}, but for {', '.join(departed)}." if departed else f"{planned}."
    if energy.metric is None and all(metric.part is None for metric in metrics):
        yield f"Energy: {energy.words}."
    elif energy.status not in {"", "measured"}:
        yield f"All joules here are {energy.status}, not measured."


def _notes_on_photographs(
    answers: CorrectAnswers | None, metrics: Sequence[Metric]
) -> Iterator[str]:
    if all(metric.scale != "share" for metric in metrics):
        return
    if answers is None:
        yield (
            "The uncertainty of the test set is not shown: predictions are missing, or the "
            "photographs of the images are unknown."
        )
    else:
        photographs = len(set(answers.photographs.tolist()))
        yield (
            f"Intervals of {ACCURACY} over seeds hold for these {photographs} test "
            "photographs; those over photographs hold for other photographs, too."
        )


def _notes_on_tests(
    design: ComparisonDesign, effects: Sequence[Effect], n: int, settings: Settings
) -> Iterator[str]:
    """What so many blocks can show, and runs of such networks."""
    yield from notes_on_one_class(design.configurations)
    if len(design.configurations) == 1:
        label = design.configurations[0].label
        yield f"There is one configuration, {label}: nothing to compare it with."
    elif not design.pairs:
        yield "No configuration is in both studies: nothing is compared."
    if n == 0:
        yield "No seed has all its runs: no difference can be computed."
    elif n < LEAST_FOR_T:
        yield (
            f"{count_of(n, 'complete seed')}: estimates only. Intervals need {LEAST_FOR_T} "
            "seeds, and without one nothing is called a difference."
        )
    tests = sum(effect.family == "primary" for effect in effects)
    if tests and n >= 2 and p_floor(n) > (first_step := settings.alpha / tests):
        yield (
            f"With {n} seeds p cannot fall below {p_floor(n):.2g}, but the first of {tests} "
            f"corrected tests needs {first_step:.2g}: no difference can be shown. "
            f"{find_least_blocks(first_step)} seeds can show one."
        )
    constant = {effect.metric for effect in effects if effect.d_z is None and effect.n > 1}
    if measured := sorted(metric.name for metric in constant if metric.is_speed):
        yield (
            f"All seeds differ by exactly the same amount in {', '.join(measured)}: real "
            "runs scatter, so check whether these numbers were copied or invented."
        )
    if counted := sorted(metric.name for metric in constant if not metric.is_speed):
        yield (
            f"All seeds differ by exactly the same amount in {', '.join(counted)}: counts of few "
            "images may, and networks that take all images for one class do."
        )
    if settings.method == "bootstrap" and n < LEAST_FOR_BOOTSTRAP:
        yield (
            f"Bootstrap intervals need {LEAST_FOR_BOOTSTRAP} seeds; with fewer they are too "
            "narrow, so none is shown. Leave out --interval bootstrap for t intervals."
        )


def _require_distinct(runs: Sequence[Run]) -> None:
    """Raise ``UsageError`` where one run is in two studies: it cannot differ from itself."""
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.run_id, run)
        if other is not run:
            raise UsageError(
                f"{run.run_id} is in {other.study} and in {run.study}: the same run, which cannot "
                "differ from itself. Compare one of the two studies."
            )


def _require_comparable(
    runs: Sequence[Run], allowed: Collection[str], *, energy: bool, speed: bool
) -> tuple[str, ...]:
    """Check the finished runs field by field.

    Args:
        runs: Runs that are done.
        allowed: Fields that may differ.
        energy: Whether joules are compared.
        speed: Whether joules or seconds are compared.

    Returns:
        Those allowed fields that do differ, to be reported.

    Raises:
        CannotMeasureError: A field differs; it is named, with its values.
        UsageError: A field that is to be allowed is none of these.
    """
    for field in allowed:
        if field in NEVER_ALLOWED:
            raise UsageError(
                f"{field} may not differ: measured, estimated and simulated runs are never "
                "compared with each other. Compare runs of one kind (--lowest-status)."
            )
        if field not in ALWAYS + ENERGY + MACHINE:
            raise unknown_name("field to allow", field, ALWAYS + ENERGY + MACHINE)
    differing = []
    for field in ALWAYS + (ENERGY if energy else ()) + (MACHINE if speed else ()):
        values = Counter(_read_comparable(run, field) for run in runs)
        if len(values) < 2:
            continue
        differing.append(field)
        if field in allowed:
            continue
        counts = sorted(values.items(), key=lambda item: (-item[1], str(item[0])))
        shown = ", ".join(
            f"{'unknown' if value is None else repr(value)} in {count_of(count, 'run')}"
            for value, count in counts
        )
        odd = next(run for run in runs if _read_comparable(run, field) == counts[-1][0])
        raise CannotMeasureError(
            f"not comparable: {field} differs ({shown}; e.g. {odd.study}/{odd.run_id}). "
            + (
                "Compare runs of one kind."
                if field in NEVER_ALLOWED
                else f"If that does not matter here, add --allow-different {field}."
            )
        )
    return tuple(differing)


def _read_comparable(run: Run, field: str) -> Cell:
    cell = run.row.get(field)
    if field == "schema_version" and cell is not None:
        return str(cell).split(".", maxsplit=1)[0]  # a minor version only adds columns
    return cell


def _choose_energy(runs: Sequence[Run], lowest_status: Origin) -> Energy:
    """The primary energy of these finished runs, or why none is compared.

    Where statuses differ the joules are named, for ``_require_comparable`` to refuse them.
    """
    if not runs:
        return Energy(None, "no run is done", "")
    if len({run.origins["primary"] for run in runs}) > 1:
        return Energy(PRIMARY, "joules of several kinds", "")
    status = runs[0].origins["primary"]
    if status == ABSENT:
        return Energy(None, "no meter worked, so no joules are compared", "")
    if Origin(status).rank > lowest_status.rank:
        words = (
            f"the joules of these runs are {status}, so they are not compared; "
            f"--lowest-status {status} compares them and labels them in every line"
        )
        return Energy(None, words, "")
    part = str(runs[0].row["primary_domain"])
    method = runs[0].row["primary_method"]
    words = f"{_PARTS.get(part, part)} energy, {status} ({method})"
    return Energy("energy_gpu_train_j" if part == "gpu" else PRIMARY, words, status)


def _check_status(metric: Metric, runs: Sequence[Run], lowest_status: Origin) -> str:
    """Measured, estimated or simulated, for joules; empty for anything else.

    Raises:
        CannotMeasureError: No run has these joules, their status is lower than accepted, or some
            runs' joules have another status than others'.
    """
    if metric.part is None or not runs:
        return ""
    statuses = sorted({run.origins[metric.part] for run in runs})
    if statuses == [ABSENT]:
        raise CannotMeasureError(
            f"No run has {metric.name}: no meter read that part of the machine. "
            "`wbcbench list parts` shows the meters."
        )
    if len(statuses) > 1:
        raise CannotMeasureError(
            f"not comparable: {metric.name} is {' in some runs and '.join(statuses)} in others."
        )
    status = statuses[0]
    if Origin(status).rank > lowest_status.rank:
        raise CannotMeasureError(
            f"{metric.name} is {status} in these runs, not {lowest_status.value}. Use "
            f"--lowest-status {status} to compare it, labelled as such, or --metric {ACCURACY}."
        )
    return status


def _exclude_rare(configurations: Sequence[Configuration]) -> tuple[list[Run], list[str]]:
    """The runs to compare, without configurations run in less than half of the blocks.

    Returns:
        The runs, and a sentence about each configuration that is excluded.
    """
    blocks = {c.label: len({run.spec.seed for run in c.runs}) for c in configurations}
    most = max(blocks.values())
    rare = sorted(label for label, count in blocks.items() if 2 * count < most)
    runs = [run for c in configurations if c.label not in rare for run in c.runs]
    notes = [f"{x} was run with {blocks[x]} of {most} seeds and is excluded." for x in rare]
    return runs, notes
