"""Runs → one ``Comparison``: the protocol, in its order, and what a reader must be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wbcbench.compare.design import Blocks, ComparisonDesign
from wbcbench.compare.effects import (
    CorrectAnswers,
    check_thresholds,
    effects,
    read_answers,
    split_energy,
    summarise_configurations,
)
from wbcbench.compare.eligible import Prepared, prepare
from wbcbench.compare.metric import ACCURACY, Metric, Settings
from wbcbench.compare.result import Comparison, Effect, Energy
from wbcbench.core.errors import UsageError
from wbcbench.stats.intervals import LEAST_FOR_BOOTSTRAP, LEAST_FOR_T
from wbcbench.stats.tests import least_blocks, p_floor
from wbcbench.table.view import Run

_MACHINE = ("host_id", "gpu_name", "driver_version", "cpu_model", "tensorflow_version")

_NAMED = {
    "metrics": "--metric",
    "baseline": "--baseline",
    "least_trust": "--channel",
    "region_pct": "--equivalent-pct",
    "region_pp": "--equivalent-pp",
    "method": "--interval",
}


def compare(
    runs: Sequence[Run], settings: Settings, studies: Sequence[str], unfinished: int = 0
) -> Comparison:
    """Compare runs block by block.

    Args:
        runs: Every run that is accounted for, of all studies.
        settings: How.
        studies: Names, in the order they were given.
        unfinished: Runs without a record, to be counted.

    Raises:
        UsageError: There is no run, or a name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    if not runs:
        raise UsageError(f"No run of {', '.join(studies)} has ended yet: nothing to compare.")
    # The first run names the machine: let that not depend on how the runs were read.
    order = {name: place for place, name in enumerate(studies)}
    runs = sorted(runs, key=lambda run: (order.get(run.study, 0), run.run_id))
    ready = prepare(runs, settings, studies)
    plan, blocks, joules = ready.design, ready.blocks, ready.joules
    found = effects(plan, blocks, ready.metrics, ready.statuses, settings)
    answers = read_answers(blocks)
    return Comparison(
        studies=tuple(studies),
        settings=settings,
        design=plan,
        blocks=blocks,
        unfinished=unfinished,
        metrics=ready.metrics,
        energy=ready.energy,
        machine={name: runs[0].row.get(name) for name in _MACHINE},
        effects=found,
        splits=split_energy(plan, blocks, joules, settings) if joules else (),
        configurations=summarise_configurations(plan, blocks, ready.metrics, joules, answers),
        same_images=answers.compare(plan) if answers else (),
        thresholds=check_thresholds(plan, blocks, settings, ready.statuses),
        notes=_notes(ready, found, answers, settings),
    )


def _notes(
    ready: Prepared, found: tuple[Effect, ...], answers: CorrectAnswers | None, settings: Settings
) -> tuple[str, ...]:
    return (
        *_about_plan(settings),
        *_about_energy(ready.energy, ready.metrics),
        *ready.told,
        *notes(ready.design, ready.blocks, found, settings),
        *_about_photographs(answers, ready.metrics),
    )


def notes(
    design: ComparisonDesign,
    blocks: Blocks,
    effects: Sequence[Effect],
    settings: Settings,
) -> Iterator[str]:
    """Whole sentences about blocks, tests and spread."""
    if len(design.configurations) == 1:
        yield f"There is one arm, {design.configurations[0].label}: nothing to compare it with."
    elif not design.pairs:
        yield "No arm of one study has its like in the other: nothing is compared."
    yield from _about_blocks(blocks)
    tests = sum(effect.family == "primary" for effect in effects)
    if tests:
        yield from _about_tests(len(blocks.runs), tests, settings)
    if any(effect.d_z is None and effect.n > 1 for effect in effects):
        still = sorted({e.metric.name for e in effects if e.d_z is None})
        yield (
            f"All blocks differ by exactly the same amount in {', '.join(still)}: real runs "
            "scatter, so check whether these numbers were copied or made up."
        )
    if settings.method == "bootstrap" and len(blocks.runs) < LEAST_FOR_BOOTSTRAP:
        yield (
            f"Bootstrap intervals need {LEAST_FOR_BOOTSTRAP} blocks; with fewer they are too "
            "narrow, so there are none. Leave out --interval bootstrap for t intervals."
        )


def _about_photographs(answers: CorrectAnswers | None, metrics: Sequence[Metric]) -> Iterator[str]:
    """What the intervals over blocks leave out."""
    if all(metric.scale != "share" for metric in metrics):
        return
    if answers is None:
        yield (
            "The test set's own error is not shown: predictions or the photographs the images "
            "come from are missing."
        )
    else:
        photographs = len(set(answers.photographs.tolist()))
        yield (
            f"Intervals of {ACCURACY} over blocks speak of these {photographs} test photographs "
            "alone; those by photograph say what other photographs might give."
        )


def _about_energy(energy: Energy, metrics: Sequence[Metric]) -> Iterator[str]:
    """Why joules are missing, or that they are no measurement."""
    if energy.metric is None and all(metric.part is None for metric in metrics):
        yield f"Energy: {energy.words}."
    elif energy.status not in {"", "measured"}:
        yield f"Every joule here is {energy.status}, not measured."


def _about_plan(settings: Settings) -> Iterator[str]:
    """Whether this is what was planned, and what is not."""
    if not settings.plan_sha256:
        return
    planned = f"Compared as planned before the first run (plan {settings.plan_sha256[:12]})"
    # Limits and permissions are no part of a plan: naming them is no departure from it.
    departed = [_NAMED[name] for name in settings.departures if name in _NAMED]
    yield f"{planned}, but for {', '.join(departed)}." if departed else f"{planned}."


def _about_blocks(blocks: Blocks) -> Iterator[str]:
    n = len(blocks.runs)
    if n == 0:
        yield "No block is complete: no difference can be worked out."
    elif n < LEAST_FOR_T:
        yield (
            f"{n} complete {'block' if n == 1 else 'blocks'}: estimates only. An interval needs "
            f"{LEAST_FOR_T}, and nothing here may be called a difference."
        )


def _about_tests(n: int, tests: int, settings: Settings) -> Iterator[str]:
    floor, first_step = p_floor(n), settings.alpha / tests
    if n >= 2 and floor > first_step:
        yield (
            f"With {n} blocks p cannot fall below {floor:.2g}, and the first of {tests} corrected "
            f"tests needs {first_step:.2g}: no difference can be shown, however large it is. "
            f"{least_blocks(first_step)} blocks can show one."
        )
