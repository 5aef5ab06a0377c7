"""Runs → one ``Comparison``: the protocol, in its order, and what a reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wbcbench.compare.design import (
    ComparisonDesign,
    configurations,
    find_complete_blocks,
    make_design,
)
from wbcbench.compare.effects import (
    CorrectAnswers,
    check_thresholds,
    compute_effects,
    read_answers,
    split_energy,
    summarise_configurations,
)
from wbcbench.compare.eligible import (
    check_status,
    choose_energy,
    exclude_rare,
    require_comparable,
)
from wbcbench.compare.metric import ACCURACY, Metric, Settings, find_metric
from wbcbench.compare.result import Comparison, Effect, Energy
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
    chosen, excluded = exclude_rare(configurations(runs))
    groups = configurations(chosen)
    done = [run for run in chosen if run.is_done]
    energy = choose_energy(done, settings.least_trust)
    names = settings.metrics or tuple(name for name in (energy.metric, ACCURACY) if name)
    metrics = tuple(find_metric(name) for name in dict.fromkeys(names))
    needed = [*metrics, *(threshold.metric for threshold in settings.thresholds)]
    differing = require_comparable(
        done,
        settings.allow_different,
        energy=any(metric.part is not None for metric in needed),
        speed=any(metric.is_speed for metric in needed),
    )
    design = make_design(groups, settings.baseline, studies)
    ordered, one_host = design.configurations, len(studies) == 1
    blocks = find_complete_blocks(runs, ordered, needed, one_host=one_host)
    statuses = {m.name: check_status(m, done, settings.least_trust) for m in needed}
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
        machine={name: runs[0].row.get(name) for name in _MACHINE},
        effects=effects,
        splits=split_energy(design, blocks, energy_metric, settings) if energy_metric else (),
        configurations=summarise_configurations(design, blocks, metrics, energy_metric, answers),
        same_images=answers.compare(design) if answers else (),
        thresholds=check_thresholds(design, blocks, settings, statuses),
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
            f"Intervals of {ACCURACY} over blocks hold for these {photographs} test "
            "photographs; those over photographs hold for other photographs, too."
        )


def _notes_on_tests(
    design: ComparisonDesign, effects: Sequence[Effect], n: int, settings: Settings
) -> Iterator[str]:
    """What so many blocks can show."""
    if len(design.configurations) == 1:
        label = design.configurations[0].label
        yield f"There is one configuration, {label}: nothing to compare it with."
    elif not design.pairs:
        yield "No configuration is in both studies: nothing is compared."
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
