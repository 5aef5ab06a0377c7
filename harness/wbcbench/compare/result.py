"""What a comparison hands back, and the same as one document; nothing is rounded."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from wbcbench.compare.design import Blocks, ComparisonDesign
from wbcbench.compare.metric import Metric, Settings, Threshold
from wbcbench.core.text import safe_text
from wbcbench.stats.bootstrap import OnSameImages
from wbcbench.stats.intervals import Interval
from wbcbench.stats.tests import ThresholdOutcome
from wbcbench.table.columns import Cell

SCHEMA = "wbcbench.compare/1"

COLUMNS = (
    "contrast",
    "metric",
    "unit",
    "n",
    "estimate",
    "ci_low",
    "ci_high",
    "ci_method",
    "p",
    "p_floor",
    "p_holm",
    "family",
    "d_z",
    "prob_outperform",
    "rope_low",
    "rope_high",
    "verdict",
    "against",
    "p_equivalence",
    "energy_status",
)


class ContrastResult(StrEnum):
    """What a contrast shows. There is no "same" for want of a difference."""

    LESS = "less"
    MORE = "more"
    EQUIVALENT = "equivalent"  # shown to lie inside the region that does not matter
    INCONCLUSIVE = "inconclusive"
    ESTIMATE = "estimate only"  # secondary: nothing is called different on its account


@dataclass(frozen=True, slots=True)
class Effect:
    """One contrast of one metric.

    Attributes:
        contrast, against, family: As in the design.
        metric: What is compared.
        status: For joules: measured, estimated or synthetic; else empty.
        n: Blocks.
        estimate: Difference in the metric's unit; ``None`` without a block.
        interval: 95 %; ``None`` with fewer than three blocks.
        p: Exact sign-flip test; ``None`` with fewer than two blocks.
        p_floor: The least p that so many blocks can give.
        p_holm: Corrected within the family.
        d_z: Mean over standard deviation of the differences.
        share_won: Share of blocks in which the contrast goes the better way.
        region: Of practical equivalence.
        p_equivalence: Of the two one-sided tests.
        finding: What all that adds up to.
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
    share_won: float | None
    region: tuple[float, float] | None
    p_equivalence: float | None
    finding: ContrastResult


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
        runs: Half-width of the 95 % interval over blocks; ``None`` with fewer than three.
        meter: Half-width from the meter, for joules; it does not shrink with more runs.
    """

    mean: float
    runs: float | None
    meter: float | None


@dataclass(frozen=True, slots=True)
class Target:
    """What reaching the target cost one arm, runs that never did counted as such.

    Attributes:
        unit: ``J`` or ``s``.
        reached, runs: k of n.
        median: Kaplan–Meier; ``None`` where fewer than half reached it.
    """

    unit: str
    reached: int
    runs: int
    median: float | None


@dataclass(frozen=True, slots=True)
class AccuracyByPhotograph:
    """The accuracy of an arm on the test set, photographs drawn anew; 95 % intervals."""

    accuracy: float
    low: float
    high: float
    balanced: float
    balanced_low: float
    balanced_high: float


@dataclass(frozen=True, slots=True)
class ConfigurationSummary:
    """One arm by itself."""

    label: str
    levels: Mapping[str, Level]
    target: Target | None
    front_share: float | None
    on_front: bool | None
    by_photograph: AccuracyByPhotograph | None
    leakage_free: float | None


@dataclass(frozen=True, slots=True)
class SameImages:
    """Two arms on the same test images."""

    variant: str
    baseline: str
    found: OnSameImages


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """One gate for one candidate.

    Attributes:
        candidate, baseline: Labels.
        interval: Of the difference, in the metric's unit.
        outcome: Not worse, worse, or cannot tell.
        more_blocks: How many more would settle it; ``None`` if none would, or it is settled.
        status: Of the joules; else empty.
    """

    threshold: Threshold
    variant: str
    baseline: str
    interval: Interval | None
    outcome: ThresholdOutcome
    more_blocks: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Which joules are compared.

    Attributes:
        metric: The column; ``None`` where joules are not compared.
        words: What they are, or why there are none.
        status: measured, estimated or synthetic; empty without.
    """

    metric: str | None
    words: str
    status: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a comparison found.

    Attributes:
        studies: Names, in the order given.
        settings: How it was made.
        design: Arms and contrasts.
        blocks: What was used and what was not.
        unfinished: Runs without a record.
        metrics: The primary family's, in order.
        energy: Which joules.
        machine: GPU, processor and the like, of the first run.
        effects: Primary first.
        splits: Of the primary contrasts, where joules are compared.
        arms: In the design's order.
        same_images: Each candidate against its baseline.
        gates: In the order given, by candidate.
        notes: Whole sentences: what cannot be shown, and what the reader must know.
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
    notes: tuple[str, ...]


def contrast_row(effect: Effect) -> dict[str, Any]:
    """One line of ``contrasts.csv``; ``None`` is unknown."""
    found, region = effect.interval, effect.region
    return {
        "contrast": effect.contrast,
        "metric": effect.metric.name,
        "unit": effect.metric.unit,
        "n": effect.n,
        "estimate": effect.estimate,
        "ci_low": found.low if found else None,
        "ci_high": found.high if found else None,
        "ci_method": found.method if found else None,
        "p": effect.p,
        "p_floor": effect.p_floor,
        "p_holm": effect.p_holm,
        "family": effect.family,
        "d_z": effect.d_z,
        "prob_outperform": effect.share_won,
        "rope_low": region[0] if region else None,
        "rope_high": region[1] if region else None,
        "verdict": effect.finding.value,
        "against": effect.against,
        "p_equivalence": effect.p_equivalence,
        "energy_status": effect.status or None,
    }


def contrast_key(effect: Effect) -> str:
    """What names a line of ``contrasts.csv`` among the others."""
    return f"{effect.contrast} vs {effect.against}: {effect.metric.name}"


def contrasts_csv(found: Comparison) -> str:
    """``contrasts.csv``: one line a contrast and metric, floats as Python writes them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for effect in found.effects:
        writer.writerow([_cell(value) for value in contrast_row(effect).values()])
    return out.getvalue()


def comparison_document(found: Comparison) -> dict[str, Any]:
    """The whole comparison as plain values; what is not finite becomes unknown."""
    return {
        "schema": SCHEMA,
        "studies": list(found.studies),
        "energy": asdict(found.energy),
        "machine": dict(found.machine),
        "blocks": _blocks(found),
        "baseline": found.design.baseline,
        "factors": list(found.design.factors),
        "contrasts": [_plain(contrast_row(effect)) for effect in found.effects],
        "splits": [_plain(asdict(split)) for split in found.splits],
        "arms": [_plain(asdict(configuration)) for configuration in found.configurations],
        "same_images": [_plain(asdict(each)) for each in found.same_images],
        "gates": _gates(found),
        "settings": _settings(found),
        "notes": list(found.notes),
    }


def _blocks(found: Comparison) -> dict[str, Any]:
    return {
        "complete": list(found.blocks.names),
        "runs": [[run.run_id for run in block] for block in found.blocks.runs],
        "left_out": [asdict(each) for each in found.blocks.left_out],
        "states": dict(found.blocks.states),
        "unfinished": found.unfinished,
        "spare": found.blocks.spare,
        "suspect": found.blocks.suspect,
    }


def _gates(found: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "gate": each.threshold.text,
            "candidate": each.variant,
            "baseline": each.baseline,
            "ci_low": each.interval.low if each.interval else None,
            "ci_high": each.interval.high if each.interval else None,
            "unit": each.threshold.metric.unit,
            "verdict": each.outcome.value,
            "more_blocks": each.more_blocks,
            "energy_status": each.status or None,
        }
        for each in found.thresholds
    ]


def _settings(found: Comparison) -> dict[str, Any]:
    settings = found.settings
    return {
        "metrics": [metric.name for metric in found.metrics],
        "channel": settings.least_trust.value,
        "allow_different": list(settings.allow_different),
        "region_pct": settings.region_pct,
        "region_pp": settings.region_pp,
        "alpha": settings.alpha,
        "interval": settings.method,
        "plan_sha256": settings.plan_sha256 or None,
        "departures": list(settings.departures),
    }


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return safe_text(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Interval):
        return _plain(asdict(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
