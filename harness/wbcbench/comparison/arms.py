"""What is compared with what: an arm is a variant with its settings; factors are what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wbcbench.comparison.observed import Observed

Level = str | float | bool | None

TREATMENTS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "leaky_slope",
    "dropout_conv",
    "dropout_dense",
    "image_size",
    "precision",
    "xla",
    "deterministic",
    "steps_per_execution",
    "threads",
    "tuned",
    "validation",
    "validation_fraction",
    "power_limit_w",
)
"""Fields of a spec that make another arm."""

NOT_TREATMENTS = (
    "variant",
    "seed",
    "study",
    "block",
    "block_attempt",
    "order_in_block",
    "order_global",
    "repeat",
    "dataset_id",
    "dataset_sha256",
    "split_seed",
    "target_metric",
    "target_value",
    "meters",
    "gpus",
    "interval_s",
    "idle_s",
    "warmup_steps",
    "inference_s",
    "cooldown_c",
    "country",
)
"""Fields that say which run it is, what it is fed, or how it is watched."""

_LOWER: tuple[Level, ...] = ("relu", "dropout", "float32", "by-photograph", None)
"""Levels that are the ones to compare with, whatever their place in the alphabet."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that is compared.

    Attributes:
        label: The variant, with those settings that differ between arms.
        study: The folder; only where several studies are compared, else empty.
        factors: Factor → level, of those factors that differ between arms.
    """

    label: str
    study: str
    factors: Mapping[str, Level]

    @property
    def matching(self) -> Mapping[str, Level]:
        """The factors apart from the study: what an arm of another study is matched by."""
        return {name: level for name, level in self.factors.items() if name != "study"}


def arms_of(runs: Sequence[Observed]) -> dict[str, Arm]:
    """The arm of each run, by ``study/run_id``."""
    several = len({run.study for run in runs}) > 1
    raw = [_levels(run, several=several) for run in runs]
    differing = _differing(raw)
    return {
        key(run): _arm(run, {name: levels[name] for name in differing}, several=several)
        for run, levels in zip(runs, raw, strict=True)
    }


def key(run: Observed) -> str:
    """What tells a run from all others of a comparison."""
    return f"{run.study}/{run.run_id}"


def lower_first(levels: Iterable[Level]) -> list[Level]:
    """Levels of a factor, the one to compare with first."""
    return sorted(levels, key=lambda level: (level not in _LOWER, _sortable(level)))


def _sortable(level: Level) -> tuple[float, str]:
    number = isinstance(level, int | float)
    return (float(level), "") if number else (0.0, str(level))  # type: ignore[arg-type]


def _levels(run: Observed, *, several: bool) -> dict[str, Level]:
    levels: dict[str, Level] = {"study": run.study} if several else {}
    levels["variant"] = run.spec.variant
    for factor in ("activation", "regulariser"):
        cell = run.cells.get(factor)
        levels[factor] = str(cell) if cell is not None else None
    return levels | {name: getattr(run.spec, name) for name in TREATMENTS}


def _differing(raw: Sequence[Mapping[str, Level]]) -> list[str]:
    """Factors with several levels; the variant only where its own factors do not tell it."""
    names = [name for name in raw[0] if len({levels[name] for levels in raw}) > 1] if raw else []
    told = {(levels["activation"], levels["regulariser"]): levels["variant"] for levels in raw}
    parts_tell = all(
        None not in (levels["activation"], levels["regulariser"])
        and told[levels["activation"], levels["regulariser"]] == levels["variant"]
        for levels in raw
    )
    unwanted = {"variant"} if parts_tell else {"activation", "regulariser"}
    return [name for name in names if name not in unwanted]


def _arm(run: Observed, factors: Mapping[str, Level], *, several: bool) -> Arm:
    settings = [f"{name}={factors[name]}" for name in factors if name in TREATMENTS]
    study = run.study if several else ""
    words = [f"{study}:{run.spec.variant}" if study else run.spec.variant, *settings]
    return Arm(" ".join(words), study, factors)
