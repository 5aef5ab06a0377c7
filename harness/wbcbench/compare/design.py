"""What is compared with what: configurations, complete blocks, planned contrasts.

Contrasts are fixed by the configurations alone, before any number is seen. Two factors with two
levels each, all four combinations present: the primary family is the two factors and their
interaction, and the six pairs are secondary. Any other set: each against the baseline is primary,
the remaining pairs are secondary. Several studies: each configuration of a later study against the
same one of the first.

So are the blocks: a complete block is one seed with every configuration once, all of them valid. A
run that failed, was interrupted, is invalid or lacks a metric that is compared makes its block
incomplete, and the block is left out whole. No run is left out for its value. A block that was
repeated counts by its first complete attempt; inside an attempt, a run that was carried out again
because it was interrupted or failed counts by its first valid carrying-out. Runs of no plan have no
block to repeat: there each repeat is an attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from wbcbench.compare.metric import Metric
from wbcbench.core.errors import unknown_name
from wbcbench.core.spec import RunSpec
from wbcbench.registry import VARIANTS, load_part
from wbcbench.stats.tests import FIRST, INTERACTION, SECOND, Weights, pair_weights
from wbcbench.table.view import Run

Family = Literal["primary", "secondary"]

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

Place = tuple[int, int]
"""Block and seed."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A weighted sum over arms that is zero where nothing differs.

    Attributes:
        name: A factor, ``interaction``, or the candidate.
        against: What it is compared with: the lower level, or the baseline.
        family: Tests of one family are corrected together.
        weights: One for each arm.
        is_interaction: Whether it is a difference of differences, which nobody wins.
    """

    name: str
    against: str
    family: Family
    weights: Weights
    is_interaction: bool = False


@dataclass(frozen=True, slots=True)
class ComparisonDesign:
    """Arms in their order and what is asked of them.

    Attributes:
        arms: In the order of every array over arms.
        factors: The two factors of a 2 × 2 design; empty for any other.
        baseline: Label of the arm the others are held against; of the first, with several studies.
        contrasts: Primary and secondary.
        pairs: Candidate and baseline positions, for gates and for the reader.
    """

    configurations: tuple[Configuration, ...]
    factors: tuple[str, ...]
    baseline: str
    contrasts: tuple[Contrast, ...]
    pairs: tuple[tuple[int, int], ...]


def make_design(
    configurations: Sequence[Configuration], baseline: str | None, studies: Sequence[str]
) -> ComparisonDesign:
    """The design that these configurations make.

    Args:
        configurations: At least one.
        baseline: Label of an arm, or name of a study; ``None`` lets the lower levels decide.
        studies: In the order they were given.

    Raises:
        UsageError: There is no arm or study of the baseline's name.
    """
    if len(studies) > 1:
        return _between_studies(configurations, baseline, studies)
    ordered = _ordered(configurations)
    chosen = _chosen(ordered, baseline)
    factors = _two_by_two(ordered)
    pairs = tuple((i, chosen) for i in range(len(ordered)) if i != chosen)
    others = [(b, a) for a, b in combinations(range(len(ordered)), 2) if chosen not in (a, b)]
    if factors:
        contrasts = (*_factorial(ordered, factors), *_pairwise(ordered, [*pairs, *others]))
    else:
        contrasts = (*_pairwise(ordered, pairs, "primary"), *_pairwise(ordered, others))
    return ComparisonDesign(ordered, factors, ordered[chosen].label, contrasts, pairs)


def _between_studies(
    configurations: Sequence[Configuration], baseline: str | None, studies: Sequence[str]
) -> ComparisonDesign:
    first = baseline if baseline is not None else studies[0]
    if first not in studies:
        raise unknown_name("study to compare with", first, studies)
    ordered = tuple(
        sorted(
            configurations,
            key=lambda configuration: (
                configuration.study != first,
                configuration.study,
                configuration.label,
            ),
        )
    )
    olds = [i for i, configuration in enumerate(ordered) if configuration.study == first]
    pairs = tuple(
        (i, old)
        for i, configuration in enumerate(ordered)
        for old in olds
        if configuration.study != first and configuration.matching == ordered[old].matching
    )
    return ComparisonDesign(ordered, (), first, tuple(_pairwise(ordered, pairs, "primary")), pairs)


def _ordered(configurations: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """By the levels of their factors, lower levels first."""
    names = list(configurations[0].factors)
    ranks = {
        name: _lower_first({configuration.factors[name] for configuration in configurations})
        for name in names
    }
    return tuple(
        sorted(
            configurations,
            key=lambda configuration: [
                ranks[name].index(configuration.factors[name]) for name in names
            ],
        )
    )


def _chosen(configurations: Sequence[Configuration], baseline: str | None) -> int:
    labels = [configuration.label for configuration in configurations]
    if baseline is None:
        return 0
    if baseline not in labels:
        raise unknown_name("arm to compare with", baseline, labels)
    return labels.index(baseline)


def _two_by_two(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    names = tuple(configurations[0].factors)
    levels = [{configuration.factors[name] for configuration in configurations} for name in names]
    is_full = len(configurations) == 4 and [len(found) for found in levels] == [2, 2]
    return names if is_full else ()


def _factorial(configurations: Sequence[Configuration], factors: tuple[str, ...]) -> list[Contrast]:
    first, second = factors
    return [
        _factor(first, configurations[2].factors[first], configurations[0].factors[first], FIRST),
        _factor(
            second, configurations[1].factors[second], configurations[0].factors[second], SECOND
        ),
        Contrast("interaction", f"{first} × {second}", "primary", INTERACTION, is_interaction=True),
    ]


def _factor(name: str, upper: Level, lower: Level, weights: Weights) -> Contrast:
    return Contrast(f"{name} {upper}", str(lower), "primary", weights)


def _pairwise(
    configurations: Sequence[Configuration],
    pairs: Sequence[tuple[int, int]],
    family: Family = "secondary",
) -> list[Contrast]:
    return [
        Contrast(
            configurations[i].label,
            configurations[j].label,
            family,
            pair_weights(i, j, len(configurations)),
        )
        for i, j in pairs
    ]


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


def _lower_first(levels: Iterable[Level]) -> list[Level]:
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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A block that is not used, and the first reason why."""

    block: str
    reason: str


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a comparison.

    Attributes:
        names: ``seed 1``, or ``block 3, seed 1003``.
        runs: ``[blocks][arms]``, in the order of the arms.
        left_out: Blocks that are not used.
        spare: Valid runs of attempts that are not used because an earlier one was complete.
        states: How the runs ended, over all runs: done, failed, interrupted, invalid.
        suspect: Used runs whose verdict is suspect.
    """

    names: tuple[str, ...]
    runs: tuple[tuple[Run, ...], ...]
    left_out: tuple[LeftOut, ...]
    spare: int
    states: Mapping[str, int]
    suspect: int


def complete_blocks(
    runs: Sequence[Run],
    configurations: Sequence[Configuration],
    metrics: Sequence[Metric],
    *,
    one_host: bool,
) -> Blocks:
    """Sort runs into blocks and keep those that are complete.

    Args:
        runs: Every run that is accounted for.
        configurations: In their order; a run of none is counted in ``states`` alone.
        metrics: What every run must know.
        one_host: Whether the runs of a block must come from one machine.
    """
    label_of = label_of_runs(configurations)
    labels = [configuration.label for configuration in configurations]
    attempts: dict[Place, dict[int, list[Run]]] = {}
    for run in runs:
        if run in label_of:
            place = (run.spec.block, run.spec.seed)
            attempts.setdefault(place, {}).setdefault(_number(run), []).append(run)
    names, kept, left_out, spare = [], [], [], 0
    for place in sorted(attempts):
        tried = [
            _attempt(attempts[place][number], labels, label_of, metrics, one_host=one_host)
            for number in sorted(attempts[place])
        ]
        complete = [found for found in tried if not isinstance(found, str)]
        if complete:
            names.append(_name(place))
            kept.append(complete[0])
            spare += sum(len(found) for found in complete[1:])
        else:
            left_out.append(LeftOut(_name(place), str(tried[-1])))
    states = Counter(str(run.row["status"]) for run in runs)
    suspect = sum(run.row["quality"] == "suspect" for block in kept for run in block)
    return Blocks(tuple(names), tuple(kept), tuple(left_out), spare, dict(states), suspect)


def _attempt(
    runs: Sequence[Run],
    labels: Sequence[str],
    label_of: Mapping[Run, str],
    metrics: Sequence[Metric],
    *,
    one_host: bool,
) -> tuple[Run, ...] | str:
    """One run of each arm, or why this attempt is not complete."""
    chosen: list[Run] = []
    for label in labels:
        mine = [run for run in _by_repeat(runs) if label_of[run] == label]
        reasons = [_unusable(run, metrics) for run in mine]
        usable = [run for run, reason in zip(mine, reasons, strict=True) if reason is None]
        if not usable:
            return f"{label}: {reasons[-1]}" if reasons else f"{label}: no run"
        chosen.append(usable[0])
    if one_host and len({run.row.get("host_id") for run in chosen}) > 1:
        return "its runs come from several machines"
    return tuple(chosen)


def _number(run: Run) -> int:
    """Which attempt at its block a run belongs to."""
    return run.spec.block_attempt if run.spec.block else run.spec.repeat


def _by_repeat(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.spec.repeat)


def _unusable(run: Run, metrics: Sequence[Metric]) -> str | None:
    status = run.row["status"]
    if status != "done":
        reason = run.row.get("invalid_reason")
        return f"{status} ({reason})" if reason else str(status)
    unknown = [metric.name for metric in metrics if run.number(metric.name) is None]
    return f"{unknown[0]} is unknown" if unknown else None


def _name(place: Place) -> str:
    block, seed = place
    return f"block {block}, seed {seed}" if block else f"seed {seed}"
