"""What a plan can show with its blocks: differences, equivalence, and with what chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import ACCURACY, PRIMARY, Metric, PrimaryFamily, Settings, find_metric
from wbcbench.compare.result import Effect
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.run_folder import study_runs
from wbcbench.core.spec import TREATMENTS, RunSpec
from wbcbench.core.study_folder import studies
from wbcbench.stats.intervals import LEAST_FOR_T
from wbcbench.stats.order import Balance, count_balance
from wbcbench.stats.tests import (
    ALPHA,
    TARGET_POWER,
    compute_equivalence_power,
    find_detectable_effect,
    find_equivalence_blocks,
    find_equivalence_spread,
    find_least_blocks,
    p_floor,
)
from wbcbench.study.plan import Plan, analysis_settings, check_contrasts, find_crossed_factors
from wbcbench.table.summary import summarise_study

LITTLE_CHANCE = 0.05
_MOST_BLOCKS = 200  # of an earlier study: they give its spread to a twentieth
"""A study with a smaller chance is said to be unable to show it."""


@dataclass(frozen=True, slots=True)
class LearnedSpread:
    """What a study of the same configurations teaches about one metric.

    Attributes:
        metric: The column.
        study: Which study.
        blocks: How many of its blocks.
        spread: The largest standard deviation of a primary contrast between blocks, in the
            metric's unit of a difference: per cent or percentage points.
        detectable: The least difference that the plan finds with a power of 80 %, in that unit.
        region: Half-width of the region of equivalence, in that unit.
        equivalence_power: The chance to show equivalence where nothing differs.
        equivalence_blocks: The blocks for a chance of 80 %; ``None`` above a thousand.
    """

    metric: str
    study: str
    blocks: int
    spread: float
    detectable: float | None
    region: float
    equivalence_power: float
    equivalence_blocks: int | None


@dataclass(frozen=True, slots=True)
class PowerAnalysis:
    """What the primary family of a plan can show.

    Attributes:
        family: Each configuration against the baseline, or the factors.
        exploratory: Whether nothing is tested.
        crossed: The two factors of a 2 × 2 design; empty for any other.
        baseline: What the first contrast is against; empty for a single configuration.
        contrasts: Names of the primary contrasts; empty for a single configuration.
        metrics: Columns they are taken of.
        blocks: How many blocks will be carried out.
        balance: How often each configuration stands at each place and after each other one.
        p_floor: The smallest attainable p with so many blocks; ``None`` without a contrast.
        p_level: What the first step of Holm's correction asks for.
        blocks_wanted: The fewest blocks whose smallest attainable p is not above that.
        detectable_d_z: Least difference found with a power of 80 %, in standard deviations
            between blocks; ``None`` where p cannot get there.
        can_show: Whether any difference, however large, could be distinguished from chance.
        equivalence_power: The chance to show equivalence where nothing differs and the standard
            deviation between blocks is half the width of the region.
        equivalence_blocks: The blocks that would show it in 80 % of studies.
        equivalence_spread: The largest standard deviation, in half-widths of the region, at which
            the plan shows it in 80 %.
        equivalence_limit: The one above which the chance is below 5 %.
        learned: The same with the spread seen in earlier runs, where there are any.
    """

    family: PrimaryFamily
    exploratory: bool
    crossed: tuple[str, ...]
    baseline: str
    contrasts: tuple[str, ...]
    metrics: tuple[str, ...]
    blocks: int
    balance: Balance
    p_floor: float | None = None
    p_level: float | None = None
    blocks_wanted: int | None = None
    detectable_d_z: float | None = None
    can_show: bool = False
    equivalence_power: float | None = None
    equivalence_blocks: int | None = None
    equivalence_spread: float | None = None
    equivalence_limit: float | None = None
    learned: tuple[LearnedSpread, ...] = ()

    @property
    def tests(self) -> int:
        """Size of the primary family."""
        return len(self.contrasts) * len(self.metrics)


def analyse_power(plan: Plan, results: Path | None = None) -> PowerAnalysis:
    """What a plan can show with its blocks.

    Args:
        plan: The plan.
        results: Where finished runs may lie whose spread is learned; ``None`` learns nothing.

    Raises:
        UsageError: The analysis names a contrast, a configuration or a column that the plan does
            not have.
    """
    primary = check_contrasts(plan)
    columns = dict.fromkeys(plan.analysis.metrics) or (PRIMARY, ACCURACY)
    metrics = [find_metric(name) for name in columns]
    tests = len(primary) * len(metrics)
    power = PowerAnalysis(
        family="factors" if any(contrast.is_interaction for contrast in primary) else "baseline",
        exploratory=plan.analysis.exploratory,
        crossed=find_crossed_factors(plan),
        baseline=primary[0].against if primary else "",
        contrasts=tuple(contrast.name for contrast in primary),
        metrics=tuple(metric.name for metric in metrics),
        blocks=plan.blocks,
        balance=count_balance(
            [list(map(plan.label, plan.block(number))) for number in range(1, plan.blocks + 1)]
        ),
    )
    if not tests:
        return power
    power = replace(
        power,
        p_floor=p_floor(plan.blocks),
        p_level=ALPHA / tests,
        blocks_wanted=find_least_blocks(ALPHA / tests),
        detectable_d_z=find_detectable_effect(plan.blocks, tests),
        can_show=p_floor(plan.blocks) <= ALPHA / tests,
        equivalence_power=compute_equivalence_power(1.0, plan.blocks, tests),
        equivalence_blocks=find_equivalence_blocks(1.0, tests),
        equivalence_spread=find_equivalence_spread(TARGET_POWER, plan.blocks, tests),
        equivalence_limit=find_equivalence_spread(LITTLE_CHANCE, plan.blocks, tests),
    )
    learned = _learn_spreads(plan, power, metrics, results) if results else ()
    return replace(power, learned=tuple(learned))


# The spread of earlier runs is no part of a plan: it says what the plan can hope for.
def _learn_spreads(
    plan: Plan, power: PowerAnalysis, metrics: Sequence[Metric], results: Path
) -> Iterator[LearnedSpread]:
    """The spreads of the study itself, else of the one with the most blocks."""
    others = sorted(set(studies(results)) - {plan.study}) if plan.runs[0].dataset_id else []
    names = [plan.study, *others]  # where the plan names no images, others' may be of any
    settings = replace(analysis_settings(plan), metrics=tuple(m.name for m in metrics))
    best: tuple[str, tuple[Effect, ...]] = "", ()
    for name in names:
        effects = _compare_study(plan, settings, results, name)
        if effects and effects[0].n > (best[1][0].n if best[1] else LEAST_FOR_T - 1):
            best = name, effects
        if best[0] == plan.study:
            break
    for metric in metrics:
        spreads = [
            abs(metric.from_unit(effect.estimate) / effect.d_z)
            for effect in best[1]
            if effect.metric == metric and effect.estimate is not None and effect.d_z
        ]
        if spreads and (region := settings.region(metric)):
            yield _learn_from(power, best, metric, max(spreads), region[1])


def _compare_study(plan: Plan, settings: Settings, results: Path, name: str) -> tuple[Effect, ...]:
    """The primary effects of a study with all of the plan's configurations; else none."""
    wanted, images = set(map(_list_treatments, plan.block(1))), plan.runs[0].dataset_id
    try:
        specs = [run.read_spec() for run in study_runs(results, name)]
        if not wanted <= {_list_treatments(s) for s in specs if images in {"", s.dataset_id}}:
            return ()
        runs = [
            run
            for run in summarise_study(results / name).runs
            if run.spec.block <= _MOST_BLOCKS and _list_treatments(run.spec) in wanted
        ]
        effects = compare(runs, settings, [name]).effects
    except WbcbenchError:
        return ()
    return tuple(effect for effect in effects if effect.family == "primary")


def _list_treatments(spec: RunSpec) -> tuple[object, ...]:
    return (spec.variant, *(getattr(spec, name) for name in TREATMENTS))


def _learn_from(
    power: PowerAnalysis,
    source: tuple[str, tuple[Effect, ...]],
    metric: Metric,
    spread: float,
    region: float,
) -> LearnedSpread:
    study, effects = source
    d_z = power.detectable_d_z
    in_regions = spread / metric.from_unit(region)
    return LearnedSpread(
        metric=metric.name,
        study=study,
        blocks=effects[0].n,
        spread=metric.to_unit(spread),
        detectable=None if d_z is None else metric.to_unit(d_z * spread),
        region=region,
        equivalence_power=compute_equivalence_power(in_regions, power.blocks, power.tests),
        equivalence_blocks=find_equivalence_blocks(in_regions, power.tests),
    )
