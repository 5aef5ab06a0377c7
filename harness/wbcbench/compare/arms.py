"""What is compared with what: a variant with its settings; factors are what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from wbcbench.core.spec import RunSpec
from wbcbench.registry import VARIANTS, load_part
from wbcbench.table.view import Run

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
"""Fields of a spec that make another configuration."""

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
class Configuration:
    """One thing that is compared, and its runs.

    Attributes:
        label: The variant, with those settings that differ between configurations.
        study: The folder; only where several studies are compared, else empty.
        factors: Factor → level, of those factors that differ between configurations.
        runs: In the order they were given; empty before a plan is carried out.
    """

    label: str
    study: str
    factors: Mapping[str, Level]
    runs: tuple[Run, ...] = ()

    @property
    def matching(self) -> Mapping[str, Level]:
        """The factors apart from the study: what matches it in another study."""
        return {name: level for name, level in self.factors.items() if name != "study"}


def configurations(runs: Sequence[Run]) -> tuple[Configuration, ...]:
    """The configurations of these runs, in the order of their first runs."""
    found: dict[str, list[tuple[Configuration, Run]]] = {}
    specs = [(run.study, run.spec) for run in runs]
    for configuration, run in zip(_configurations(specs), runs, strict=True):
        found.setdefault(configuration.label, []).append((configuration, run))
    return tuple(replace(own[0][0], runs=tuple(run for _, run in own)) for own in found.values())


def planned_configurations(study: str, specs: Sequence[RunSpec]) -> tuple[Configuration, ...]:
    """The configurations that these runs will have."""
    found = _configurations([(study, spec) for spec in specs])
    return tuple({configuration.label: configuration for configuration in found}.values())


def label_of_runs(found: Iterable[Configuration]) -> dict[Run, str]:
    """The label of each run's configuration."""
    return {run: configuration.label for configuration in found for run in configuration.runs}


def lower_first(levels: Iterable[Level]) -> list[Level]:
    """Levels of a factor, the one to compare with first."""
    return sorted(levels, key=lambda level: (level not in _LOWER, _sortable(level)))


def _sortable(level: Level) -> tuple[float, str]:
    number = isinstance(level, int | float)
    return (float(level), "") if number else (0.0, str(level))  # type: ignore[arg-type]


def _configurations(specs: Sequence[tuple[str, RunSpec]]) -> list[Configuration]:
    """The configuration of each spec of a study."""
    several = len({study for study, _ in specs}) > 1
    raw = [_levels(study, spec, several=several) for study, spec in specs]
    differing = _differing(raw)
    return [
        _configuration(study if several else "", spec, {name: levels[name] for name in differing})
        for (study, spec), levels in zip(specs, raw, strict=True)
    ]


def _levels(study: str, spec: RunSpec, *, several: bool) -> dict[str, Level]:
    levels: dict[str, Level] = {"study": study} if several else {}
    variant = load_part("variant", spec.variant) if spec.variant in VARIANTS else None
    levels["variant"] = spec.variant
    levels["activation"] = str(variant.activation) if variant else None
    levels["regulariser"] = str(variant.regulariser) if variant else None
    return levels | {name: getattr(spec, name) for name in TREATMENTS}


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


def _configuration(study: str, spec: RunSpec, factors: Mapping[str, Level]) -> Configuration:
    settings = [f"{name}={factors[name]}" for name in factors if name in TREATMENTS]
    words = [f"{study}:{spec.variant}" if study else spec.variant, *settings]
    return Configuration(" ".join(words), study, factors)
