"""What a comparison hands back. Differences are in the metric's unit: per cent, or pp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from wbcbench.compare.blocks import Blocks
from wbcbench.compare.design import ComparisonDesign
from wbcbench.compare.metric import Metric
from wbcbench.compare.settings import Gate, Settings
from wbcbench.stats.bootstrap import OnSameImages
from wbcbench.stats.intervals import Interval
from wbcbench.stats.tests import GateOutcome
from wbcbench.table.column import Cell


class ContrastResult(StrEnum):
    """What a contrast shows. There is no "same" for want of a difference."""

    LESS = "less"
    MORE = "more"
    EQUIVALENT = "equivalent"  # shown to lie inside the region that does not matter
    CANNOT_TELL = "cannot tell"
    ESTIMATE = "estimate only"  # secondary: nothing is called different on its account


@dataclass(frozen=True, slots=True)
class Effect:
    """One contrast of one metric.

    Attributes:
        contrast, against, family: As in the design.
        metric: What is compared.
        status: For joules: measured, estimated, modelled or synthetic; else empty.
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
class ArmSummary:
    """One arm by itself."""

    label: str
    levels: Mapping[str, Level]
    target: Target | None
    front_share: float | None
    on_front: bool | None
    by_photograph: AccuracyByPhotograph | None
    leak_free: float | None


@dataclass(frozen=True, slots=True)
class SameImages:
    """Two arms on the same test images."""

    candidate: str
    baseline: str
    found: OnSameImages


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate for one candidate.

    Attributes:
        candidate, baseline: Labels.
        interval: Of the difference, in the metric's unit.
        outcome: Not worse, worse, or cannot tell.
        more_blocks: How many more would settle it; ``None`` if none would, or it is settled.
        status: Of the joules; else empty.
    """

    gate: Gate
    candidate: str
    baseline: str
    interval: Interval | None
    outcome: GateOutcome
    more_blocks: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Which joules are compared.

    Attributes:
        metric: The column; ``None`` where joules are not compared.
        words: What they are, or why there are none.
        status: measured, estimated, modelled or synthetic; empty without.
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
    arms: tuple[ArmSummary, ...]
    same_images: tuple[SameImages, ...]
    gates: tuple[GateResult, ...]
    notes: tuple[str, ...]
