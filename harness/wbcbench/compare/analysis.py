"""Runs → one ``Comparison``: the protocol, in its order, and what a reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wbcbench.compare.effects import (
    CorrectAnswers,
    check_thresholds,
    compute_effects,
    read_answers,
    split_energy,
    summarise_configurations,
)
from wbcbench.compare.eligible import ComparisonInput, prepare
from wbcbench.compare.metric import ACCURACY, Settings
from wbcbench.compare.result import Comparison, Effect
from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of
from wbcbench.stats.intervals import LEAST_FOR_BOOTSTRAP, LEAST_FOR_T
from wbcbench.stats.tests import find_least_blocks, p_floor
from wbcbench.table.view import Run

_MACHINE = ("host_id", "gpu_name", "driver_version", "cpu_model", "tensorflow_version")

_OPTIONS = {
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
    # The first run names the machine: let that not depend on how the runs were read.
    order = {name: place for place, name in enumerate(studies)}
    runs = sorted(runs, key=lambda run: (order.get(run.study, 0), run.run_id))
    compared = prepare(runs, settings, studies)
    design, blocks, energy = compared.design, compared.blocks, compared.energy_metric
    effects = compute_effects(design, blocks, compared.metrics, compared.statuses, settings)
    answers = read_answers(blocks)
    return Comparison(
        studies=tuple(studies),
        settings=settings,
        design=design,
        blocks=blocks,
        unfinished=unfinished,
        metrics=compared.metrics,
        energy=compared.energy,
        machine={name: runs[0].row.get(name) for name in _MACHINE},
        effects=effects,
        splits=split_energy(design, blocks, energy, settings) if energy else (),
        configurations=summarise_configurations(design, blocks, compared.metrics, energy, answers),
        same_images=answers.compare(design) if answers else (),
        thresholds=check_thresholds(design, blocks, settings, compared.statuses),
        notes=tuple(_notes(compared, effects, answers, settings)),
    )


def _notes(
    compared: ComparisonInput,
    effects: Sequence[Effect],
    answers: CorrectAnswers | None,
    settings: Settings,
) -> Iterator[str]:
    """Sentences about plan, energy, blocks, tests and photographs."""
    if settings.plan_sha256:
        planned = f"Compared as planned before the first run (plan {settings.plan_sha256[:12]})"
        # Limits and permissions are no part of a plan: naming them is no departure from it.
        departed = [_OPTIONS[name] for name in settings.departures if name in _OPTIONS]
        yield f"{planned}, but for {', '.join(departed)}." if departed else f"{planned}."
    energy, metrics = compared.energy, compared.metrics
    if energy.metric is None and all(metric.part is None for metric in metrics):
        yield f"Energy: {energy.words}."
    elif energy.status not in {"", "measured"}:
        yield f"All joules here are {energy.status}, not measured."
    yield from compared.notes
    if len(compared.design.configurations) == 1:
        label = compared.design.configurations[0].label
        yield f"There is one configuration, {label}: nothing to compare it with."
    elif not compared.design.pairs:
        yield "No configuration is in both studies: nothing is compared."
    yield from _notes_on_tests(effects, len(compared.blocks.runs), settings)
    if any(metric.scale == "share" for metric in metrics):
        if answers is None:
            yield (
                "The uncertainty of the test set is not shown: predictions are missing, or the "
                "photographs of the images are unknown."
            )
        else:
            photographs = len(set(answers.photographs.tolist()))
            yield (
                f"Intervals of {ACCURACY} over blocks hold for these {photographs} test "
                "photographs; those over photographs hold for other photographs, too."
            )


def _notes_on_tests(effects: Sequence[Effect], n: int, settings: Settings) -> Iterator[str]:
    """What so many blocks can show."""
    if n == 0:
        yield "No block is complete: no difference can be computed."
    elif n < LEAST_FOR_T:
        yield (
            f"{count_of(n, 'complete block')}: estimates only. Intervals need {LEAST_FOR_T} "
            "blocks, and without one nothing is called a difference."
        )
    tests = sum(effect.family == "primary" for effect in effects)
    if tests and n >= 2 and p_floor(n) > (first_step := settings.alpha / tests):
        yield (
            f"With {n} blocks p cannot fall below {p_floor(n):.2g}, but the first of {tests} "
            f"corrected tests needs {first_step:.2g}: no difference can be shown. "
            f"{find_least_blocks(first_step)} blocks can show one."
        )
    constant = {effect.metric.name for effect in effects if effect.d_z is None and effect.n > 1}
    if constant:
        yield (
            f"All blocks differ by exactly the same amount in {', '.join(sorted(constant))}: real "
            "runs scatter, so check whether these numbers were copied or invented."
        )
    if settings.method == "bootstrap" and n < LEAST_FOR_BOOTSTRAP:
        yield (
            f"Bootstrap intervals need {LEAST_FOR_BOOTSTRAP} blocks; with fewer they are too "
            "narrow, so none is shown. Leave out --interval bootstrap for t intervals."
        )
