"""The result of a comparison, and the same as one document; nothing is rounded."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from wbcbench.compare.design import Blocks, ComparisonDesign
from wbcbench.compare.metric import Metric, PlannedClaim, Settings, Threshold
from wbcbench.compare.order import RunOrder
from wbcbench.core.text import safe_text
from wbcbench.stats.bootstrap import ImageMeans, PairedImages
from wbcbench.stats.intervals import Censored, Interval
from wbcbench.stats.tests import ThresholdOutcome
from wbcbench.table.columns import Cell

SCHEMA = "wbcbench.compare/2"

COLUMNS = (
    "contrast", "metric", "unit", "n", "estimate", "ci_low", "ci_high", "ci_method", "p", "p_floor",
    "p_holm", "family", "d_z", "win_rate", "rope_low", "rope_high", "result", "against",
    "p_equivalence", "energy_status", "p_equivalence_holm",
)  # fmt: skip


CLAIM = "claim"
"""The family of claims of a plan in ``contrasts.csv``."""


class ContrastResult(StrEnum):
    """What a contrast shows; the direction of a difference is the sign of its estimate."""

    DIFFERENT = "different"
    EQUIVALENT = "equivalent"  # shown to lie inside the region that does not matter
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"  # secondary or exploratory: an estimate only


class ClaimOutcome(StrEnum):
    """What runs show about a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Effect:
    """One contrast of one metric.

    Attributes:
        contrast, against, family: As in the design.
        metric: What is compared.
        status: For joules: measured, estimated or simulated; else empty.
        n: Blocks.
        estimate: Difference in the metric's unit; ``None`` without a block.
        interval: 95 %; ``None`` with fewer than three blocks.
        p: Exact sign-flip test; ``None`` with fewer than two blocks.
        p_floor: The smallest attainable p with so many blocks.
        p_holm: Corrected within the family.
        d_z: Mean over standard deviation of the differences.
        win_rate: Win rate: share of blocks in which the contrast goes the better way. Like ``d_z``
            ``None`` where runs of a block come from several boards.
        region: Of practical equivalence.
        p_equivalence: Of the two one-sided tests.
        p_equivalence_holm: The same, corrected within the family.
        result: What all that shows.
    """

    contrast: str
    against: str
    family: str
    metric: Metric
    status: str
    n: int
    estimate: float | None
    interval: Interval | None
    p: float | None
    p_floor: float | None
    p_holm: float | None
    d_z: float | None
    win_rate: float | None
    region: tuple[float, float] | None
    p_equivalence: float | None
    p_equivalence_holm: float | None
    result: ContrastResult


@dataclass(frozen=True, slots=True)
class Split:
    """A difference in joules as one in seconds times one in watts, each in per cent, exactly."""

    contrast: str
    against: str
    energy: float
    time: float
    time_interval: Interval | None
    power: float
    power_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Level:
    """The mean of one metric over the blocks, in the column's own unit.

    Attributes:
        mean: Over blocks.
        runs: 95 % interval over blocks, which stays where the quantity can be; ``None`` with fewer
            than three.
        reading, board: Half-widths from the meter, for joules: of its readings, and by the gain of
            the boards, each the same in every run of its board. Neither shrinks with more runs;
            the gains of several boards add in squares.
    """

    mean: float
    runs: Interval | None
    reading: float | None
    board: float | None


@dataclass(frozen=True, slots=True)
class Target(Censored):
    """What reaching the target cost a configuration; ``unit`` is ``J`` or ``s``."""

    unit: str


@dataclass(frozen=True, slots=True)
class ConfigurationSummary:
    """One configuration by itself."""

    label: str
    levels: Mapping[str, Level]
    target: Target | None
    front_share: float | None
    on_front: bool | None
    accuracy: ImageMeans | None
    leakage_free: float | None


@dataclass(frozen=True, slots=True)
class SameImages:
    """A configuration and its baseline on the same test images."""

    variant: str
    baseline: str
    paired: PairedImages


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """One threshold for one configuration.

    Attributes:
        variant, baseline: Labels.
        interval: Of the difference, in the metric's unit.
        outcome: Not worse, worse, or inconclusive.
        more_blocks: How many more would settle it; ``None`` if none would, or it is settled.
        status: Of the joules; else empty.
        why: Why there is no interval; empty where there is one, or there are too few blocks.
    """

    threshold: Threshold
    variant: str
    baseline: str
    interval: Interval | None
    outcome: ThresholdOutcome
    more_blocks: int | None
    status: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class PlannedClaimResult:
    """A claim of the plan and what the runs show about it.

    Attributes:
        name, claim: As in the plan.
        metric: What it is about.
        status: Of the joules; else empty.
        n: Complete blocks in which the metric of both configurations is known.
        estimate, interval: Of the difference, in the metric's unit; 95 % by Student's t. ``None``
            as in an ``Effect``.
        p: Twice the larger p of the one-sided t tests against the ends of the claimed range;
            ``None`` where the claim cannot be tested.
        p_holm: Corrected for all claims of the plan.
        d_z, win_rate: As in an ``Effect``.
        outcome: Supported, not supported, or inconclusive.
        why: The reason for it, and what a reader must know about it.
    """

    name: str
    claim: PlannedClaim
    metric: Metric
    status: str = ""
    n: int = 0
    estimate: float | None = None
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    d_z: float | None = None
    win_rate: float | None = None
    outcome: ClaimOutcome = ClaimOutcome.INCONCLUSIVE
    why: str = ""


@dataclass(frozen=True, slots=True)
class Energy:
    """Which joules are compared.

    Attributes:
        metric: The column; ``None`` where joules are not compared.
        words: What they are, or why there are none.
        status: measured, estimated or simulated; empty without.
    """

    metric: str | None
    words: str
    status: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        studies: Names, in the order given.
        settings: How it was made.
        design: Configurations and contrasts.
        blocks: What was used and what was not.
        unfinished: Runs without a record.
        metrics: The primary family's, in order.
        energy: Which joules.
        machine: GPU, processor and the like, of the first run.
        effects: Primary first.
        splits: Of the primary contrasts, where joules are compared.
        configurations: In the design's order.
        same_images: Each configuration against its baseline.
        thresholds: In the order given, by configuration.
        claims: Of the plan, by name.
        order: In which the runs were carried out; ``None`` if unknown.
        notes: Sentences: what cannot be shown, and what the reader must know.
        limits: Those of them without which the result would seem to show more than it does.
    """

    studies: tuple[str, ...]
    settings: Settings
    design: ComparisonDesign
    blocks: Blocks
    unfinished: int
    metrics: tuple[Metric, ...]
    energy: Energy
    machine: Mapping[str, Cell]
    effects: tuple[Effect, ...]
    splits: tuple[Split, ...]
    configurations: tuple[ConfigurationSummary, ...]
    same_images: tuple[SameImages, ...]
    thresholds: tuple[ThresholdResult, ...]
    claims: tuple[PlannedClaimResult, ...]
    order: RunOrder | None
    notes: tuple[str, ...]
    limits: tuple[str, ...] = ()


def count_tests(effects: Sequence[Effect], settings: Settings) -> int:
    """The tests that Holm's correction counts: those made, and those planned that fell away."""
    planned = settings.plan.tests if settings.plan else 0
    return max(planned, sum(effect.family == "primary" for effect in effects))


def build_contrast_row(effect: Effect) -> dict[str, Any]:
    """One line of ``contrasts.csv``; ``None`` is unknown."""
    interval, region = effect.interval, effect.region or (None, None)
    values = (
        effect.contrast,
        effect.metric.name,
        effect.metric.unit,
        effect.n,
        effect.estimate,
        interval.low if interval else None,
        interval.high if interval else None,
        interval.method if interval else None,
        effect.p,
        effect.p_floor,
        effect.p_holm,
        effect.family,
        effect.d_z,
        effect.win_rate,
        *region,
        effect.result.value,
        effect.against,
        effect.p_equivalence,
        effect.status or None,
        effect.p_equivalence_holm,
    )
    return dict(zip(COLUMNS, values, strict=True))


def build_claim_row(result: PlannedClaimResult) -> dict[str, Any]:
    """One claim of the plan as a line of ``contrasts.csv``; its region is the claimed range."""
    interval = result.interval
    low, high = result.claim.range
    known = {
        "contrast": result.claim.variants[0],
        "against": result.claim.variants[1],
        "metric": result.metric.name,
        "unit": result.metric.unit,
        "n": result.n,
        "estimate": result.estimate,
        "ci_low": interval.low if interval else None,
        "ci_high": interval.high if interval else None,
        "ci_method": interval.method if interval else None,
        "p": result.p,
        "p_holm": result.p_holm,
        "family": CLAIM,
        "d_z": result.d_z,
        "win_rate": result.win_rate,
        "rope_low": low,
        "rope_high": high,
        "result": result.outcome.value,
        "energy_status": result.status or None,
    }
    return {column: known.get(column) for column in COLUMNS}


def format_contrast_key(effect: Effect) -> str:
    """What names a line of ``contrasts.csv`` among the others."""
    return f"{effect.contrast} vs {effect.against}: {effect.metric.name}"


def format_claim_key(result: PlannedClaimResult) -> str:
    """The same of a claim; a plan has one of a pair and metric."""
    return f"{' vs '.join(result.claim.variants)}: {result.metric.name} ({CLAIM})"


def format_contrasts_csv(comparison: Comparison) -> str:
    """``contrasts.csv``: one line a contrast and metric, floats as Python writes them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = [
        *map(build_contrast_row, comparison.effects),
        *map(build_claim_row, comparison.claims),
    ]
    for row in rows:
        writer.writerow([safe_text(c) if isinstance(c, str) else c for c in row.values()])
    return out.getvalue()


def build_comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison as plain values; what is not finite becomes unknown."""
    blocks, settings = comparison.blocks, comparison.settings
    document = {
        "schema": SCHEMA,
        "studies": comparison.studies,
        "energy": asdict(comparison.energy),
        "machine": comparison.machine,
        "blocks": {
            "complete": blocks.names,
            "runs": [[run.run_id for run in block] for block in blocks.runs],
            "left_out": [asdict(block) for block in blocks.left_out],
            "states": blocks.states,
            "unfinished": comparison.unfinished,
            "spare": blocks.spare,
            "suspect": blocks.suspect,
        },
        "baseline": comparison.design.baseline,
        "factors": comparison.design.factors,
        "contrasts": [build_contrast_row(effect) for effect in comparison.effects],
        "splits": [asdict(split) for split in comparison.splits],
        "configurations": [asdict(summary) for summary in comparison.configurations],
        "same_images": [asdict(same) for same in comparison.same_images],
        "thresholds": [_build_threshold_row(result) for result in comparison.thresholds],
        "claims": [build_claim_document(result) for result in comparison.claims],
        "settings": {
            "metrics": [metric.name for metric in comparison.metrics],
            "lowest_status": settings.lowest_status.value,
            "allow_different": settings.allow_different,
            "region_pct": settings.region_pct,
            "region_pp": settings.region_pp,
            "alpha": settings.alpha,
            "interval": settings.method,
            "family": settings.family,
            "exploratory": settings.exploratory,
            "plan_sha256": settings.plan_sha256 or None,
            "departures": settings.departures,
        },
        "order": comparison.order and asdict(comparison.order),
        "notes": comparison.notes,
    }
    if len(blocks.boards.blocks) > 1:
        document["boards"] = {
            "names": blocks.boards.names,
            "is_spread": blocks.boards.is_spread,
            "way": blocks.boards.way,
        }
    return {name: _convert(value) for name, value in document.items()}


def build_claim_document(result: PlannedClaimResult) -> dict[str, Any]:
    """One claim of the plan as plain values."""
    text = result.claim.text
    return {"name": result.name, "text": text or None, **build_claim_row(result), "why": result.why}


def _build_threshold_row(result: ThresholdResult) -> dict[str, Any]:
    return {
        "threshold": result.threshold.text,
        "variant": result.variant,
        "baseline": result.baseline,
        "ci_low": result.interval.low if result.interval else None,
        "ci_high": result.interval.high if result.interval else None,
        "unit": result.threshold.metric.unit,
        "result": result.outcome.value,
        "more_blocks": result.more_blocks,
        "energy_status": result.status or None,
    }


def _convert(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _convert(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_convert(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
