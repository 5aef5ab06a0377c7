"""What a column is when it is compared, and what may be chosen about a comparison."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.trace import Origin
from wbcbench.stats.intervals import Method, Scale
from wbcbench.table.columns import load_columns

PrimaryFamily = Literal["baseline", "factors"]
"""What is tested: each configuration against the baseline, or two factors and their interaction."""

ACCURACY = "balanced_accuracy"
TIME = "time_train_s"
PRIMARY = "primary_energy_train_j"
GPU_ENERGY = "energy_gpu_train_j"
"""The same joules as the primary ones, by their own name, where these are of GPU boards."""

# Joules, seconds, watts, grams, bytes, clocks and rates have a unit, lie above zero and are
# compared as ratios; per cent of something else and degrees need not, and a count has no unit.
_PLAIN_UNITS = ("", "%", "°C")
_UNITS_OF_MORE = ("1/s", "1/J", "MHz")
_SHARES = ("balanced_accuracy", "accuracy", "macro_f1", "ece", "recall_")
_MORE_IS_BETTER = ("test_correct",)
_TO_TARGET = ("energy_to_target_j", "time_to_target_s", "epochs_to_target")
_DESIGN = ("block", "order_in_block", "order_global", "seed", "split_seed")

GRAMMAR = (
    "Write METRIC, > or <, and a number with % or pp: "
    "'energy_gpu_train_j > +5%', 'balanced_accuracy < -1pp'."
)
_LIMIT = re.compile(
    r"\s*(?P<metric>\w+)\s*(?P<sign>[<>])\s*(?P<limit>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?P<unit>%|pp)?\s*"
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One column and how it is compared.

    Attributes:
        name: The column.
        scale: ``ratio``: differences of logarithms, shown in per cent. ``share``: differences,
            shown in percentage points. ``plain``: differences in the column's own unit.
        lower_is_better: Whether a smaller value is the better one.
    """

    name: str
    scale: Scale
    lower_is_better: bool

    @property
    def unit(self) -> str:
        """Of a difference: ``%``, ``pp``, or none."""
        return {"ratio": "%", "share": "pp", "plain": ""}[self.scale]

    @property
    def part(self) -> str | None:
        """Whose joules it holds: a part of the machine, ``primary``, or ``None`` for no joules."""
        for part in ("gpu", "cpu", "dram"):
            if self.name.startswith((f"energy_{part}_", f"{part}_power_", f"{part}_idle_")):
                return part
        if self.name.startswith("energy_wall_"):
            return "system"
        return "primary" if self.name.endswith(("_j", "_js")) or self.name == "co2e_g" else None

    @property
    def is_speed(self) -> bool:
        """Whether it depends on how fast the machine is."""
        return self.part is not None or self.scale == "ratio"

    def to_scale(self, value: float) -> float:
        """A value on the scale on which differences are taken; a ratio needs it above zero."""
        return math.log(value) if self.scale == "ratio" else value

    def to_unit(self, difference: float) -> float:
        """A difference in the unit in which it is shown."""
        if self.scale == "ratio":
            return 100.0 * math.expm1(difference)
        return 100.0 * difference if self.scale == "share" else difference

    def from_unit(self, shown: float) -> float:
        """The inverse of :meth:`to_unit`."""
        if self.scale == "ratio":
            return math.log1p(shown / 100.0)
        return shown / 100.0 if self.scale == "share" else shown


def find_metric(name: str) -> Metric:
    """The metric of a column.

    Raises:
        UsageError: There is no such column, or it cannot be compared as a mean.
    """
    columns = load_columns()
    numbers = {c.name for c in columns.values() if c.type in {"int", "float"}} - set(_DESIGN)
    if name in _TO_TARGET:
        raise UsageError(
            f"{name} cannot be averaged: some runs may never reach the target. "
            "Every comparison shows its median, with how many runs reached the target."
        )
    if name.startswith("codecarbon_"):
        raise UsageError(f"{name} is a cross-check and cannot be compared. Use {PRIMARY}.")
    if name not in numbers:
        raise unknown_name("metric", name, numbers - set(_TO_TARGET))
    if name.removeprefix("val_").startswith(_SHARES):
        return Metric(name, "share", lower_is_better=name == "ece")
    unit = columns[name].unit
    is_more_better = unit in _UNITS_OF_MORE or name in _MORE_IS_BETTER
    scale: Scale = "plain" if unit in _PLAIN_UNITS else "ratio"
    return Metric(name, scale, lower_is_better=not is_more_better)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on how much worse a configuration may be than its baseline.

    Attributes:
        text: As the user wrote it.
        metric: What is limited.
        limit: In the metric's unit, per cent or percentage points.
        above_is_worse: Whether a difference above the limit fails, or one below.
    """

    text: str
    metric: Metric
    limit: float
    above_is_worse: bool


@dataclass(frozen=True, slots=True)
class TwoStages:
    """A study whose number of blocks follows from the spread in its first ones (Stein 1945).

    Attributes:
        contrast, against: The primary contrast whose spread it is.
        metrics: Columns that hold the metric it is taken of.
        width: How far the upper end of its interval may lie above the lower, in the metric's unit.
        blocks: How many complete blocks are the first stage.
        most: The last block there may be.
    """

    contrast: str
    against: str
    metrics: tuple[str, ...]
    width: float
    blocks: int
    most: int

    def is_about(self, contrast: str, against: str) -> bool:
        """Whether it is this contrast's spread that decides."""
        return (contrast, against) == (self.contrast, self.against)


@dataclass(frozen=True, slots=True)
class PlannedTests:
    """What a plan tests, to see whether a comparison is the one that was planned.

    Attributes:
        metrics: Columns; empty = energy of training and balanced accuracy.
        contrasts: Name and other side of each primary contrast.
        tests: Size of the primary family.
        blocks, runs: Carried out in any case.
        stored_utc: Since when the plan lies with its study; ``None`` if unknown.
    """

    metrics: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]
    tests: int
    blocks: int
    runs: int
    stored_utc: str | None


@dataclass(frozen=True, slots=True)
class PlannedClaim:
    """What somebody says of two configurations before the first run: ``[claims.NAME]``."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    metric: Annotated[
        str,
        Field(
            description="A column whose differences are per cent or percentage points.",
            examples=[PRIMARY],
        ),
    ]
    variants: Annotated[
        tuple[str, str],
        Field(
            description="Labels of two configurations, the first against the second.",
            examples=[["leaky-batchnorm", "leaky-dropout"]],
        ),
    ]
    direction: Annotated[
        Literal["lower", "higher"] | None,
        Field(description="Which way the first differs; or `within` is given."),
    ] = None
    margin: Annotated[
        float,
        Field(
            ge=0,
            le=1_000,
            description="By at least how much, in the unit of a difference; only with a direction.",
        ),
    ] = 0.0
    within: Annotated[
        float | None,
        Field(
            ge=0.01,
            le=50,
            description="The two differ by at most so much, in the same unit.",
            examples=[2.0],
        ),
    ] = None
    text: Annotated[
        str,
        Field(max_length=300, pattern=r"^\P{Cc}*$", description="The claim in words, for people."),
    ] = ""

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The claimed range of the difference, in its unit; ``None`` is an open end."""
        if self.within is not None:
            return -self.within, self.within
        return (None, -self.margin) if self.direction == "lower" else (self.margin, None)

    @property
    def claimed(self) -> str:
        """``at least 5 % below``."""
        unit = find_metric(self.metric).unit
        if self.within is not None:
            return f"within ±{self.within:g} {unit} of"
        side = "below" if self.direction == "lower" else "above"
        return f"at least {self.margin:g} {unit} {side}" if self.margin else side

    @property
    def statement(self) -> str:
        """``time_train_s of relu-batchnorm is at least 5 % below that of relu-dropout``."""
        first, second = self.variants
        return f"{self.metric} of {first} is {self.claimed} that of {second}"


_TESTED = frozenset(
    {"metrics", "baseline", "family", "region_pct", "region_pp", "method", "lowest_status"}
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare.

    Attributes:
        metrics: Columns to compare; empty = energy of training and balanced accuracy.
        baseline: Label of a configuration, or a study; ``None`` lets the factors decide.
        family: The primary contrasts; ``None`` lets the design decide (see ``make_design``).
        lowest_status: The lowest status of joules that is accepted, from measured to simulated.
        allow_different: Fields in which runs may differ.
        thresholds: Limits to judge.
        region_pct: Half-width of the region of equivalence of ratios: joules, seconds, rates.
        region_pp: The same of accuracies, in percentage points.
        alpha: Level of the family of primary tests.
        method: How intervals are made.
        two_stages: The plan's stopping rule; ``None`` if the number of blocks was fixed.
        exploratory: Whether the plan gives up every test: estimates and intervals only.
        claims: Of the plan, by name.
        plan_sha256: Of the plan the settings come from; empty without one.
        plan: What it tests; ``None`` without one.
        untested: Why nothing may be called different or equivalent; empty where it may.
        departures: Names of settings that differ from the plan.
    """

    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    family: PrimaryFamily | None = "baseline"
    lowest_status: Origin = Origin.MEASURED
    allow_different: tuple[str, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    region_pct: float = 2.0
    region_pp: float = 1.0
    alpha: float = 0.05
    method: Method = "t"
    two_stages: TwoStages | None = None
    exploratory: bool = False
    claims: Mapping[str, PlannedClaim] = field(default_factory=dict)
    plan_sha256: str = ""
    plan: PlannedTests | None = None
    untested: str = ""
    departures: tuple[str, ...] = ()

    @property
    def unplanned(self) -> bool:
        """Whether it departs from what the plan tests: such a comparison tests nothing."""
        return not _TESTED.isdisjoint(self.departures)

    def region(self, metric: Metric) -> tuple[float, float] | None:
        """The region of practical equivalence in the metric's unit; ``None`` if it has none."""
        half = {"ratio": self.region_pct, "share": self.region_pp, "plain": None}[metric.scale]
        return None if half is None else (-half, half)


def parse_threshold(text: str) -> Threshold:
    """Read a limit such as ``energy_gpu_train_j > +5%``.

    Raises:
        UsageError: It does not follow the grammar, or the unit is not the metric's.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a limit. {GRAMMAR}")
    metric = find_metric(match["metric"])
    unit = match["unit"] or ""
    if unit != metric.unit:
        raise UsageError(
            f"'{text}': a difference of {metric.name} is given in "
            f"{metric.unit or 'its own unit'}, not in {unit or 'a bare number'}. {GRAMMAR}"
        )
    limit = float(match["limit"])
    if not math.isfinite(limit):
        raise UsageError(f"'{text[:60]}' is not a limit. {GRAMMAR}")
    if metric.scale == "ratio" and limit <= -100:
        raise UsageError(f"'{text}': nothing can fall by 100 % or more. {GRAMMAR}")
    return Threshold(text.strip(), metric, limit, above_is_worse=match["sign"] == ">")
