"""What may be chosen about a comparison; the defaults are the protocol's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wbcbench.compare.metric import Metric, metric
from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Origin
from wbcbench.stats.intervals import Method

GRAMMAR = (
    "A limit is METRIC, then > or <, then a signed number, then % (joules, seconds, watts) or pp "
    "(accuracies): 'energy_gpu_train_j > +5%', 'balanced_accuracy < -1pp'."
)
_LIMIT = re.compile(
    r"\s*(?P<metric>\w+)\s*(?P<sign>[<>])\s*(?P<limit>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?P<unit>%|pp)?\s*"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit on how much worse a candidate may be than its baseline.

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
class Settings:
    """How to compare.

    Attributes:
        metrics: Columns to compare; empty = energy of training and balanced accuracy.
        baseline: Label of an arm, or a study; ``None`` lets the factors decide.
        least_trust: How far joules may be from a sensor; measured unless asked otherwise.
        allow_different: Fields in which runs may differ.
        gates: Limits to judge.
        region_pct: Half-width of the region of equivalence of joules and seconds.
        region_pp: The same of accuracies, in percentage points.
        alpha: Level of the family of primary tests.
        method: How intervals are made.
        plan_sha256: Of the plan the settings come from; empty without one.
        departures: Names of settings that were chosen otherwise than the plan says.
    """

    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    least_trust: Origin = Origin.MEASURED
    allow_different: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    region_pct: float = 2.0
    region_pp: float = 1.0
    alpha: float = 0.05
    method: Method = "t"
    plan_sha256: str = ""
    departures: tuple[str, ...] = ()

    def region(self, of: Metric) -> tuple[float, float] | None:
        """The region of practical equivalence in the metric's unit; ``None`` if it has none."""
        half = {"ratio": self.region_pct, "share": self.region_pp, "plain": None}[of.scale]
        return None if half is None else (-half, half)


def parse_gate(text: str) -> Gate:
    """Read a limit such as ``energy_gpu_train_j > +5%``.

    Raises:
        UsageError: It does not follow the grammar, or the unit is not the metric's.
    """
    found = _LIMIT.fullmatch(text)
    if found is None:
        raise UsageError(f"'{text}' is not a limit. {GRAMMAR}")
    of = metric(found["metric"])
    unit = found["unit"] or ""
    if unit != of.unit:
        raise UsageError(
            f"'{text}': differences of {of.name} are told in {of.unit or 'its own unit'}, "
            f"not in {unit or 'a bare number'}. {GRAMMAR}"
        )
    limit = float(found["limit"])
    if of.scale == "ratio" and limit <= -100:
        raise UsageError(f"'{text}': nothing falls by 100 % or more. {GRAMMAR}")
    return Gate(text.strip(), of, limit, above_is_worse=found["sign"] == ">")
