"""Which contrasts a comparison makes, from the arms alone: fixed before any number is seen.

Two factors with two levels each, all four combinations present: the primary family is the two
factors and their interaction, and the six pairs of arms are secondary. Any other set of arms: each
arm against the baseline is primary, the remaining pairs are secondary. Several studies: each arm of
a later study against the same arm of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from wbcbench.compare.arms import Configuration, Level, lower_first
from wbcbench.core.errors import unknown_name
from wbcbench.stats.tests import FIRST, INTERACTION, SECOND, Weights, pair

Family = Literal["primary", "secondary"]


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

    arms: tuple[Configuration, ...]
    factors: tuple[str, ...]
    baseline: str
    contrasts: tuple[Contrast, ...]
    pairs: tuple[tuple[int, int], ...]


def design(
    arms: Sequence[Configuration], baseline: str | None, studies: Sequence[str]
) -> ComparisonDesign:
    """The design that these arms make.

    Args:
        arms: At least one.
        baseline: Label of an arm, or name of a study; ``None`` lets the lower levels decide.
        studies: In the order they were given.

    Raises:
        UsageError: There is no arm or study of the baseline's name.
    """
    if len(studies) > 1:
        return _between_studies(arms, baseline, studies)
    ordered = _ordered(arms)
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
    arms: Sequence[Configuration], baseline: str | None, studies: Sequence[str]
) -> ComparisonDesign:
    first = baseline if baseline is not None else studies[0]
    if first not in studies:
        raise unknown_name("study to compare with", first, studies)
    ordered = tuple(sorted(arms, key=lambda arm: (arm.study != first, arm.study, arm.label)))
    olds = [i for i, arm in enumerate(ordered) if arm.study == first]
    pairs = tuple(
        (i, old)
        for i, arm in enumerate(ordered)
        for old in olds
        if arm.study != first and arm.matching == ordered[old].matching
    )
    return ComparisonDesign(ordered, (), first, tuple(_pairwise(ordered, pairs, "primary")), pairs)


def _ordered(arms: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """By the levels of their factors, lower levels first."""
    names = list(arms[0].factors)
    ranks = {name: lower_first({arm.factors[name] for arm in arms}) for name in names}
    return tuple(
        sorted(arms, key=lambda arm: [ranks[name].index(arm.factors[name]) for name in names])
    )


def _chosen(arms: Sequence[Configuration], baseline: str | None) -> int:
    labels = [arm.label for arm in arms]
    if baseline is None:
        return 0
    if baseline not in labels:
        raise unknown_name("arm to compare with", baseline, labels)
    return labels.index(baseline)


def _two_by_two(arms: Sequence[Configuration]) -> tuple[str, ...]:
    names = tuple(arms[0].factors)
    levels = [{arm.factors[name] for arm in arms} for name in names]
    is_full = len(arms) == 4 and [len(found) for found in levels] == [2, 2]
    return names if is_full else ()


def _factorial(arms: Sequence[Configuration], factors: tuple[str, ...]) -> list[Contrast]:
    first, second = factors
    return [
        _factor(first, arms[2].factors[first], arms[0].factors[first], FIRST),
        _factor(second, arms[1].factors[second], arms[0].factors[second], SECOND),
        Contrast("interaction", f"{first} × {second}", "primary", INTERACTION, is_interaction=True),
    ]


def _factor(name: str, upper: Level, lower: Level, weights: Weights) -> Contrast:
    return Contrast(f"{name} {upper}", str(lower), "primary", weights)


def _pairwise(
    arms: Sequence[Configuration], pairs: Sequence[tuple[int, int]], family: Family = "secondary"
) -> list[Contrast]:
    return [Contrast(arms[i].label, arms[j].label, family, pair(i, j, len(arms))) for i, j in pairs]
