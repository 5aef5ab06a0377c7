"""What a column of the results table is when it is compared: a ratio, a share or a plain number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.table import COLUMNS

Scale = Literal["ratio", "share", "plain"]

ACCURACY = "balanced_accuracy"
TIME = "time_train_s"
HEADLINE = "headline_energy_train_j"

_RATIO_ENDINGS = ("_j", "_js", "_s", "_ms", "_w", "_g", "_bytes", "_mhz")
_RATES = ("infer_images_per_s", "infer_images_per_s_b1")
_SHARES = ("balanced_accuracy", "accuracy", "macro_f1", "ece", "recall_")
_CENSORED = ("energy_to_target_j", "time_to_target_s", "epochs_to_target")
_CROSS_CHECK = "codecarbon_"
_DESIGN = ("block", "order_in_block", "order_global", "seed", "split_seed")


@dataclass(frozen=True, slots=True)
class Metric:
    """One column and how it is compared.

    Attributes:
        name: The column.
        scale: ``ratio``: differences of logarithms, told in per cent. ``share``: differences, told
            in percentage points. ``plain``: differences in the column's own unit.
        lower_is_better: Which way a block is won.
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
        """Whose joules it holds: a part of the machine, ``headline``, or ``None`` for no joules."""
        for part in ("gpu", "cpu", "dram"):
            if self.name.startswith((f"energy_{part}_", f"{part}_power_", f"{part}_idle_")):
                return part
        if self.name.startswith("energy_wall_"):
            return "system"
        return "headline" if self.name.endswith(("_j", "_js")) or self.name == "co2e_g" else None

    @property
    def is_speed(self) -> bool:
        """Whether it depends on how fast the machine is."""
        return self.part is not None or self.scale == "ratio"

    def inner(self, value: float) -> float:
        """A value on the scale on which differences are taken; a ratio needs it above zero."""
        return math.log(value) if self.scale == "ratio" else value

    def told(self, difference: float) -> float:
        """A difference in the unit it is told in: per cent, percentage points, or as it is."""
        if self.scale == "ratio":
            return 100.0 * math.expm1(difference)
        return 100.0 * difference if self.scale == "share" else difference

    def untold(self, told: float) -> float:
        """The difference that :meth:`told` tells as this; the inverse of it."""
        if self.scale == "ratio":
            return math.log1p(told / 100.0)
        return told / 100.0 if self.scale == "share" else told


def metric(name: str) -> Metric:
    """The metric of a column.

    Raises:
        UsageError: There is no such column, or it cannot be compared as a mean.
    """
    numbers = {c.name for c in COLUMNS if c.type in {"int", "float"}} - set(_DESIGN)
    if name in _CENSORED:
        raise UsageError(
            f"'{name}' has no mean: runs that never reach the target cost more than was seen. "
            "Every comparison lists it by itself, with how many runs reached the target."
        )
    if name.startswith(_CROSS_CHECK):
        raise UsageError(f"'{name}' is a second opinion, not a metric; use '{HEADLINE}'.")
    if name not in numbers:
        raise unknown_name("metric", name, numbers - set(_CENSORED))
    if name.removeprefix("val_").startswith(_SHARES):
        return Metric(name, "share", lower_is_better=name == "ece")
    if name in _RATES:
        return Metric(name, "ratio", lower_is_better=False)
    if name.endswith(_RATIO_ENDINGS):
        return Metric(name, "ratio", lower_is_better=True)
    return Metric(name, "plain", lower_is_better=True)
