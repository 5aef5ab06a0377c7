"""The sentences a reader of a comparison must know: what was planned, and what cannot be shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wbcbench.compare.design import ComparisonDesign, Configuration
from wbcbench.compare.effects import CorrectAnswers
from wbcbench.compare.metric import ACCURACY, Metric, Settings
from wbcbench.compare.result import Comparison, Effect, Energy
from wbcbench.core.text import count_of
from wbcbench.stats.intervals import LEAST_FOR_BOOTSTRAP, LEAST_FOR_T
from wbcbench.stats.tests import find_least_blocks, p_floor

ONE_CLASS = "one-class-predicted"  # a warning

_OPTIONS = {
    "metrics": "--metric",
    "baseline": "--baseline",
    "family": "--family",
    "lowest_status": "--lowest-status",
    "region_pct": "--equivalent-pct",
    "region_pp": "--equivalent-pp",
    "method": "--interval",
}


def iterate_notes(
    comparison: Comparison,
    answers: CorrectAnswers | None,
    differing: Iterable[str],
    excluded: Iterable[str],
) -> Iterator[str]:
    """Every sentence, in the order in which it is printed.

    Args:
        comparison: Whole but for its notes.
        answers: What the runs predicted; ``None`` if unknown.
        differing: Fields that differ between the runs, and may.
        excluded: A sentence about each configuration that is left out.
    """
    settings, metrics = comparison.settings, comparison.metrics
    yield from _notes_on_plan(settings, comparison.energy, metrics)
    yield from (f"{field} differs between the runs, as allowed." for field in differing)
    yield from excluded
    n = len(comparison.blocks.runs)
    yield from _notes_on_tests(comparison.design, comparison.effects, n, settings)
    yield from _notes_on_photographs(answers, metrics)


def _notes_on_plan(settings: Settings, energy: Energy, metrics: Sequence[Metric]) -> Iterator[str]:
    if settings.plan_sha256:
        planned = f"Compared as planned before the first run (plan {settings.plan_sha256[:12]})"
        # Limits and permissions are no part of a plan: naming them is no departure from it.
        departed = [_OPTIONS[name] for name in settings.departures if name in _OPTIONS]
        yield f"{planned}, but for {', '.join(departed)}." if departed else f"{planned}."
    if settings.unplanned:
        yield (
            "This is not what the plan tests, so it shows estimates and intervals, and calls "
            "nothing different or equivalent."
        )
    elif settings.exploratory:
        yield (
            "The plan is exploratory: it shows estimates and intervals, and calls nothing "
            "different or equivalent."
        )
    if energy.metric is None and all(metric.part is None for metric in metrics):
        yield f"Energy: {energy.words}."
    elif energy.status not in {"", "measured"}:
        yield f"All joules here are {energy.status}, not measured."


def notes_on_one_class(configurations: Sequence[Configuration]) -> Iterator[str]:
    """Whose accuracy is no result, because networks name one class for nearly every image."""
    counts = {
        c.label: (sum(ONE_CLASS in run.warning_codes for run in done), len(done))
        for c in configurations
        if (done := [run for run in c.runs if run.is_done])
    }
    found = [f"{label} ({hit} of {n} runs)" for label, (hit, n) in counts.items() if hit]
    if found:
        yield (
            f"No result: the accuracy of {', '.join(found)}. These networks learned the training "
            "images and take nearly all others for one class. Their joules hold."
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
    tests = sum(effect.family == "primary" for effect in effects) if settings.has_tests else 0
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
