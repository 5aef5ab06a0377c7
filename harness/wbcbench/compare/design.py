"""What is compared with what: configurations, complete blocks, planned contrasts.

Contrasts are fixed by the plan and the configurations, before any number is seen. The primary
family is either each configuration against the baseline or, where two factors with two levels each
make all four combinations, the two factors and their interaction. What is not primary is secondary.
Several studies: each configuration of a later study against the same one of the first.

So are the blocks: a complete block is one seed with every configuration once, all of them valid. A
run that failed, was interrupted, is invalid or lacks a metric that is compared makes its block
incomplete, and the block is left out whole. So is a block whose runs come from several boards,
unless runs were spread over boards on purpose. No run is left out for its value. A seed counts
once, by its first complete block: trained again, the same seed gives the same network, and adds
nothing about other seeds. So does a block that was repeated by its first complete attempt; inside
an attempt, a run that was repeated because it was interrupted or failed counts by its first valid
repeat. Runs of no plan have no block to repeat: there each repeat is an attempt.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from wbcbench.compare.boards import BoardUse, is_spread, name_board, why_not_one_board
from wbcbench.compare.metric import Metric, PrimaryFamily
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.quality import Quality
from wbcbench.core.spec import TREATMENTS, RunSpec
from wbcbench.registry import VARIANTS, load_part
from wbcbench.stats.tests import FIRST, INTERACTION, SECOND, Weights, build_pair_weights
from wbcbench.table.view import Run

Family = Literal["primary", "secondary"]

Level = str | float | bool | None

ONE_CLASS = "one-class-predicted"  # a warning

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

    def factors_without(self, factor: str) -> dict[str, Level]:
        """All factors but one: what a configuration shares with its counterpart."""
        return {name: level for name, level in self.factors.items() if name != factor}


@dataclass(frozen=True, slots=True)
class Contrast:
    """A weighted sum over configurations that is zero where nothing differs.

    Attributes:
        name: A factor, ``interaction``, or a configuration.
        against: What it is compared with: the lower level, or the baseline.
        family: Tests of one family are corrected together.
        weights: One for each configuration.
        is_interaction: Whether it is a difference of differences, which has no better side.
    """

    name: str
    against: str
    family: Family
    weights: Weights
    is_interaction: bool = False


@dataclass(frozen=True, slots=True)
class ComparisonDesign:
    """Configurations in their order and the contrasts between them.

    Attributes:
        configurations: In the order of every array over configurations.
        factors: The two factors of a 2 × 2 design; empty for any other.
        baseline: Label of the baseline; the first study's name, with several studies.
        contrasts: Primary and secondary.
        pairs: Positions of a configuration and its baseline, for thresholds and for the reader.
    """

    configurations: tuple[Configuration, ...]
    factors: tuple[str, ...]
    baseline: str
    contrasts: tuple[Contrast, ...]
    pairs: tuple[tuple[int, int], ...]


def make_design(
    configurations: Sequence[Configuration],
    baseline: str | None,
    studies: Sequence[str],
    family: PrimaryFamily | None = "baseline",
) -> ComparisonDesign:
    """The design that these configurations make.

    Args:
        configurations: At least one.
        baseline: Label of a configuration, or a study; ``None`` lets the lower levels decide.
        studies: In the order they were given.
        family: The primary contrasts; ``None``: the factors where there are two with two levels
            each, else against the baseline, as plans of the first edition meant it.

    Raises:
        UsageError: There is no configuration or study of the baseline's name, or no 2 × 2 design
            whose factors could be tested.
    """
    if len(studies) > 1:
        return _compare_studies(configurations, baseline or studies[0], studies)
    ordered = _sort_by_levels(configurations)
    labels = [c.label for c in ordered]
    if baseline is not None and baseline not in labels:
        raise unknown_name("configuration to compare with", baseline, labels)
    chosen = 0 if baseline is None else labels.index(baseline)
    factors = tuple(ordered[0].factors)
    levels = [{c.factors[name] for c in ordered} for name in factors]
    pairs = [(i, chosen) for i in range(len(ordered)) if i != chosen]
    others = [(b, a) for a, b in combinations(range(len(ordered)), 2) if chosen not in (a, b)]
    is_factorial = len(ordered) == 4 and [len(own) for own in levels] == [2, 2]
    if family == "factors" and not is_factorial:
        raise UsageError(
            'family = "factors" needs two factors of two levels each, all four combinations run; '
            f'here are {", ".join(labels)}. Use family = "baseline".'
        )
    tests_factors = is_factorial and family != "baseline"
    contrasts = _build_pairwise(ordered, pairs, "secondary" if tests_factors else "primary")
    if is_factorial:
        effects = _build_factorial(ordered, "primary" if tests_factors else "secondary", *factors)
        contrasts = effects + contrasts if tests_factors else contrasts + effects
    contrasts += _build_pairwise(ordered, others, "secondary")
    factors = factors if is_factorial else ()
    return ComparisonDesign(ordered, factors, labels[chosen], tuple(contrasts), tuple(pairs))


def _compare_studies(
    configurations: Sequence[Configuration], first: str, studies: Sequence[str]
) -> ComparisonDesign:
    if first not in studies:
        raise unknown_name("study to compare with", first, studies)
    ordered = tuple(sorted(configurations, key=lambda c: (c.study != first, c.study, c.label)))
    pairs = tuple(
        (i, j)
        for i, new in enumerate(ordered)
        for j, old in enumerate(ordered)
        if new.study != first == old.study
        and new.factors_without("study") == old.factors_without("study")
    )
    return ComparisonDesign(
        ordered, (), first, tuple(_build_pairwise(ordered, pairs, "primary")), pairs
    )


def _sort_by_levels(configurations: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """By the levels of their factors; of each factor, the level to compare with comes first."""

    def rank(level: Level) -> tuple[bool, float, str]:
        is_number = isinstance(level, int | float)
        return level not in _LOWER, float(level or 0) if is_number else 0.0, str(level)

    return tuple(
        sorted(configurations, key=lambda c: [rank(level) for level in c.factors.values()])
    )


def _build_factorial(
    configurations: Sequence[Configuration], family: Family, first: str, second: str
) -> list[Contrast]:
    low, high = configurations[0].factors, configurations[3].factors
    effects = [
        Contrast(f"{name} {high[name]}", str(low[name]), family, weights)
        for name, weights in ((first, FIRST), (second, SECOND))
    ]
    interaction = Contrast(
        "interaction", f"{first} × {second}", family, INTERACTION, is_interaction=True
    )
    return [*effects, interaction]


def _build_pairwise(
    configurations: Sequence[Configuration], pairs: Iterable[tuple[int, int]], family: Family
) -> list[Contrast]:
    labels = [c.label for c in configurations]
    return [
        Contrast(labels[i], labels[j], family, build_pair_weights(i, j, len(labels)))
        for i, j in pairs
    ]


def configurations(runs: Sequence[Run]) -> tuple[Configuration, ...]:
    """The configurations of these runs, in the order of their first runs."""
    groups: dict[str, list[tuple[Configuration, Run]]] = defaultdict(list)
    specs = [(run.study, run.spec) for run in runs]
    for configuration, run in zip(_configure(specs), runs, strict=True):
        groups[configuration.label].append((configuration, run))
    return tuple(replace(own[0][0], runs=tuple(run for _, run in own)) for own in groups.values())


def configure_plan(study: str, specs: Sequence[RunSpec]) -> tuple[Configuration, ...]:
    """The configurations that these runs will have."""
    return tuple({c.label: c for c in _configure([(study, spec) for spec in specs])}.values())


def find_labels(configurations: Iterable[Configuration]) -> dict[Run, str]:
    """The label of each run's configuration."""
    return {run: c.label for c in configurations for run in c.runs}


def _configure(specs: Sequence[tuple[str, RunSpec]]) -> list[Configuration]:
    """The configuration of each spec of a study."""
    has_several = len({study for study, _ in specs}) > 1
    levels = [_read_levels(study if has_several else "", spec) for study, spec in specs]
    factors = _find_factors(levels)
    return [
        Configuration(
            label=" ".join(
                [
                    f"{own['study']}:{spec.variant}" if has_several else spec.variant,
                    *(f"{name}={own[name]}" for name in factors if name in TREATMENTS),
                ]
            ),
            study=str(own["study"]),
            factors={name: own[name] for name in factors},
        )
        for (_, spec), own in zip(specs, levels, strict=True)
    ]


def _read_levels(study: str, spec: RunSpec) -> dict[str, Level]:
    variant = load_part("variant", spec.variant) if spec.variant in VARIANTS else None
    return {
        "study": study,
        "variant": spec.variant,
        "activation": str(variant.activation) if variant else None,
        "regulariser": str(variant.regulariser) if variant else None,
        **{name: getattr(spec, name) for name in TREATMENTS},
    }


def _find_factors(levels: Sequence[Mapping[str, Level]]) -> list[str]:
    """Factors with several levels; the variant only where its own factors do not tell it apart."""
    names = [name for name in levels[0] if len({own[name] for own in levels}) > 1] if levels else []
    variants: dict[tuple[Level, Level], set[Level]] = defaultdict(set)
    for own in levels:
        variants[own["activation"], own["regulariser"]].add(own["variant"])
    is_unique = all(len(v) == 1 and None not in parts for parts, v in variants.items())
    redundant = {"variant"} if is_unique else {"activation", "regulariser"}
    return [name for name in names if name not in redundant]


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
        runs: ``[blocks][configurations]``, in the order of the configurations.
        left_out: Blocks that are not used.
        spare: Valid runs of attempts that are not used because an earlier one was complete.
        states: How the runs ended, over all runs: done, failed, interrupted, invalid.
        suspect: Used runs whose quality is suspect.
        boards: Which boards the used runs came from.
    """

    names: tuple[str, ...]
    runs: tuple[tuple[Run, ...], ...]
    left_out: tuple[LeftOut, ...]
    spare: int
    states: Mapping[str, int]
    suspect: int
    boards: BoardUse


_Tried = tuple[int, int, "tuple[Run, ...] | str"]
"""An attempt at a block: its number, its seed, and one run of each configuration or why not."""


def find_complete_blocks(
    runs: Sequence[Run],
    configurations: Sequence[Configuration],
    metrics: Sequence[Metric],
    *,
    one_host: bool,
) -> Blocks:
    """Sort runs into blocks and use those that are complete.

    Args:
        runs: Every run with a record.
        configurations: In their order; a run of none is counted in ``states`` alone.
        metrics: What must be known of every run.
        one_host: Whether the runs of a block must come from one board, as those of one study.
    """
    outcomes, spare = list[_Tried](), 0
    seeds = [
        [(block, seed, _choose_runs(own, metrics)) for (block, *_), own in sorted(attempts.items())]
        for seed, attempts in _sort_attempts(runs, configurations, one_host=one_host).items()
    ]
    spread = one_host and is_spread(
        [c for tried in seeds for *_, c in tried if isinstance(c, tuple)]
    )
    for found in seeds:
        tried = found if spread or not one_host else list(map(_require_one_board, found))
        complete = [each for each in tried if not isinstance(each[2], str)]
        outcomes += complete[:1] or tried[-1:]
        spare += sum(len(each[2]) for each in complete[1:])
    names, used, left_out = [], [], []
    for number, seed, chosen in sorted(outcomes, key=lambda each: each[:2]):
        name = f"block {number}, seed {seed}" if number else f"seed {seed}"
        if isinstance(chosen, str):
            left_out.append(LeftOut(name, chosen))
        else:
            names.append(name)
            used.append(chosen)
    states = Counter(str(run.row["status"]) for run in runs)
    suspect = sum(run.row["quality"] == Quality.SUSPECT for block in used for run in block)
    boards = BoardUse(tuple(tuple(map(name_board, block)) for block in used), spread)
    return Blocks(tuple(names), tuple(used), tuple(left_out), spare, dict(states), suspect, boards)


def _sort_attempts(
    runs: Sequence[Run], configurations: Sequence[Configuration], *, one_host: bool
) -> Mapping[int, dict[tuple[int, str, int], dict[str, list[Run]]]]:
    """The runs by seed, attempt and label; an attempt is a block, its study and a number."""
    labels = find_labels(configurations)
    seeds: dict[int, dict[tuple[int, str, int], dict[str, list[Run]]]] = defaultdict(dict)
    for run in sorted((run for run in runs if run in labels), key=lambda run: run.spec.repeat):
        number = run.spec.block_attempt if run.spec.block else run.spec.repeat
        # In a merged study, blocks of one number may be of several studies.
        attempt = (run.spec.block, run.spec.study if one_host else "", number)
        empty: dict[str, list[Run]] = {c.label: [] for c in configurations}
        seeds[run.spec.seed].setdefault(attempt, empty)[labels[run]].append(run)
    return seeds


def _choose_runs(
    attempt: Mapping[str, Sequence[Run]], metrics: Sequence[Metric]
) -> tuple[Run, ...] | str:
    """One run of each configuration, or why this attempt is not complete."""
    chosen: list[Run] = []
    for label, runs in attempt.items():
        reasons = [_check_usable(run, metrics) for run in runs]
        if None not in reasons:
            return f"{label}: {reasons[-1] if reasons else 'no run'}"
        chosen.append(runs[reasons.index(None)])
    return tuple(chosen)


def _require_one_board(tried: _Tried) -> _Tried:
    """The same attempt, or that it is not on one board."""
    block, seed, chosen = tried
    return block, seed, chosen if isinstance(chosen, str) else why_not_one_board(chosen) or chosen


def _check_usable(run: Run, metrics: Sequence[Metric]) -> str | None:
    status = str(run.row["status"])
    if status != "done":
        reason = run.row.get("invalid_reason")
        return f"{status} ({reason})" if reason else status
    unknown = (metric.name for metric in metrics if run.number(metric.name) is None)
    return next((f"{name} is unknown" for name in unknown), None)


def notes_on_one_class(configurations: Sequence[Configuration]) -> Iterator[str]:
    """Whose accuracy is no result, because networks name one class for nearly every image."""
    counts = {
        c.label: (sum(ONE_CLASS in run.warning_codes for run in done), len(done))
        for c in configurations
        if (done := [run for run in c.runs if run.is_done])
    }
    found = [f"{label} ({hit} of {n} runs)" for label, (hit, n) in counts.items() if hit]
    if found:
        yield (
            f"No result: the accuracy of {', '.join(found)}. These networks learned the training "
            "images and take nearly all others for one class. Their joules hold."
        )
