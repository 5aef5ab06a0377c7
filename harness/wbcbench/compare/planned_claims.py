"""Claims that a plan states of its own: checked before the first run, tested with its blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from wbcbench.compare.boards import SPREAD
from wbcbench.compare.design import Blocks, Configuration, notes_on_one_class
from wbcbench.compare.effects import contrast_interval
from wbcbench.compare.metric import GPU_ENERGY, PRIMARY, Metric, PlannedClaim, Settings, find_metric
from wbcbench.compare.result import ClaimOutcome, PlannedClaimResult
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.text import count_of
from wbcbench.core.trace import Origin
from wbcbench.stats.intervals import LEAST_FOR_T, Floats, compute_win_rate, d_z
from wbcbench.stats.tests import ALPHA, adjust_holm, claim_p, lacks_spread, p_floor
from wbcbench.table.view import ABSENT


def check_claims(claims: Mapping[str, PlannedClaim], labels: Sequence[str]) -> None:
    """Check the claims of a plan against its configurations.

    Raises:
        UsageError: A claim cannot be tested as it is stated; its key is named.
    """
    stated: dict[tuple[str, frozenset[str]], str] = {}
    for name, claim in claims.items():
        key = f"key 'claims.{name}"
        try:
            metric = find_metric(claim.metric)
        except UsageError as error:
            raise UsageError(f"{key}.metric': {error}") from error
        if not metric.unit:
            raise UsageError(
                f"{key}.metric': differences of {metric.name} have no unit of their own. A claim "
                "needs per cent (joules, seconds, watts) or percentage points (accuracies)."
            )
        for label in claim.variants:
            if label not in labels:
                wrong = unknown_name("configuration", label, labels)
                raise UsageError(f"{key}.variants': {wrong}")
        if claim.variants[0] == claim.variants[1]:
            raise UsageError(f"{key}.variants': name two different configurations.")
        _check_range(key, claim, metric)
        same_joules = PRIMARY if metric.name == GPU_ENERGY else metric.name
        first = stated.setdefault((same_joules, frozenset(claim.variants)), name)
        if first != name:
            raise UsageError(
                f"{key}' is about the same variants and metric as 'claims.{first}'. Keep the "
                "stronger of the two."
            )


def _check_range(key: str, claim: PlannedClaim, metric: Metric) -> None:
    if (claim.direction is None) == (claim.within is None):
        raise UsageError(f"{key}' needs either direction, 'lower' or 'higher', or within.")
    if claim.within is not None and claim.margin:
        raise UsageError(f"{key}.margin' goes with direction, not with within.")
    is_fall = claim.direction == "lower" or metric.scale == "share"
    if is_fall and claim.margin >= 100:
        raise UsageError(f"{key}.margin': nothing differs by 100 {metric.unit} or more that way.")


def evaluate_planned_claims(
    settings: Settings, configurations: Sequence[Configuration], blocks: Blocks
) -> tuple[PlannedClaimResult, ...]:
    """Every claim of the plan, by name; p is corrected for all of them, also those without one.

    Args:
        settings: With the claims.
        configurations: With their runs, in the order of the blocks' runs.
        blocks: The complete ones.
    """
    if not settings.claims:
        return ()
    found = [
        _test_claim(name, claim, settings, configurations, blocks)
        for name, claim in sorted(settings.claims.items())
    ]
    corrected = adjust_holm(np.array([1.0 if each.p is None else each.p for each in found]))
    return tuple(
        _add_caveat(_decide(replace(result, p_holm=float(p)), len(found)), blocks)
        if result.p is not None
        else result
        for result, p in zip(found, corrected, strict=True)
    )


def leave_open(settings: Settings, why: str) -> tuple[PlannedClaimResult, ...]:
    """Every claim of the plan, inconclusive for one reason: nothing could be compared."""
    return tuple(
        PlannedClaimResult(name, claim, find_metric(claim.metric), why=why.rstrip("."))
        for name, claim in sorted(settings.claims.items())
    )


def _add_caveat(result: PlannedClaimResult, blocks: Blocks) -> PlannedClaimResult:
    if any(run.row["synthetic"] for block in blocks.runs for run in block):
        return replace(result, why=f"{result.why} (synthetic data: no result about real cells)")
    return result


def _test_claim(
    name: str,
    claim: PlannedClaim,
    settings: Settings,
    configurations: Sequence[Configuration],
    blocks: Blocks,
) -> PlannedClaimResult:
    """The difference and its p, or why there is none."""
    metric = find_metric(claim.metric)
    labels = [configuration.label for configuration in configurations]
    if missing := [label for label in claim.variants if label not in labels]:
        why = f"{missing[0]} is not among the configurations compared"
        return PlannedClaimResult(name, claim, metric, why=why)
    places = [labels.index(label) for label in claim.variants]
    status, refusal = _check_joules(metric, blocks, settings)
    values = [[block[place].number(metric.name) for place in places] for block in blocks.runs]
    known = [[value for value in pair if value is not None] for pair in values if None not in pair]
    if metric.scale == "ratio" and any(value <= 0 for pair in known for value in pair):
        refusal = refusal or f"{metric.name} is not above zero in every run"
    if blocks.boards.is_spread and metric.is_speed:
        refusal = refusal or SPREAD
    if refusal or not known:
        why = refusal or "no complete block"
        return PlannedClaimResult(name, claim, metric, status, why=why)
    first, second = np.array([[metric.to_scale(value) for value in pair] for pair in known]).T
    differences = first - second
    interval = contrast_interval(differences, metric, settings, *claim.variants)
    reasons = _iterate_reasons(
        [configurations[place] for place in places], metric, differences, settings
    )
    why = next(reasons, "")
    edges = [None if edge is None else metric.from_unit(edge) for edge in claim.range]
    return PlannedClaimResult(
        name=name,
        claim=claim,
        metric=metric,
        status=status,
        n=len(differences),
        estimate=metric.to_unit(float(np.mean(differences))),
        interval=interval,
        p=None if why else claim_p(differences, *edges),
        d_z=d_z(differences),
        win_rate=compute_win_rate(differences, lower_is_better=metric.lower_is_better),
        why=why,
    )


def _check_joules(metric: Metric, blocks: Blocks, settings: Settings) -> tuple[str, str]:
    """The status of a metric's joules, and why they cannot be compared; empty for none."""
    part, runs = metric.part, [run for block in blocks.runs for run in block]
    statuses = sorted({run.origins[part] for run in runs}) if part else []
    if not statuses:
        return "", ""
    if len(statuses) > 1:
        return "", f"{metric.name} is {' in some runs and '.join(statuses)} in others"
    if statuses[0] == ABSENT:
        return "", f"no meter read {metric.name}"
    refusal = ""
    if Origin(statuses[0]).rank > settings.lowest_status.rank:
        refusal = f"the joules are {statuses[0]}, not {settings.lowest_status.value}"
    return statuses[0], refusal


def _iterate_reasons(
    pair: Sequence[Configuration], metric: Metric, differences: Floats, settings: Settings
) -> Iterator[str]:
    """Why differences that are known decide nothing."""
    n = len(differences)
    if n < LEAST_FOR_T:
        yield f"{count_of(n, 'complete block')}; an interval needs {LEAST_FOR_T}"
    elif lacks_spread(differences):
        yield f"{n} blocks that all differ by the same amount are too few to show it"
    elif p_floor(n) > ALPHA:
        yield f"{n} blocks allow no p below {p_floor(n):.2g} in an exact test"
    if settings.untested:
        yield settings.untested[0].lower() + settings.untested[1:]
    if not metric.is_speed:
        yield from (note for configuration in pair for note in notes_on_one_class([configuration]))


def _decide(result: PlannedClaimResult, claims: int) -> PlannedClaimResult:
    """By where the interval lies to the claimed range; supported needs the corrected p, too."""
    if result.interval is None or result.p_holm is None:
        return result
    low, high = result.interval.low, result.interval.high
    least, most = result.claim.range
    least, most = -math.inf if least is None else least, math.inf if most is None else most
    outcome, why = ClaimOutcome.INCONCLUSIVE, "the interval lies on both sides of a limit"
    if high <= least or low >= most:
        outcome, why = ClaimOutcome.NOT_SUPPORTED, "the interval lies outside the claimed range"
    elif least < low and high < most:
        why = "the interval lies in the claimed range"
        if result.p_holm > ALPHA:
            why += f", but p corrected for {count_of(claims, 'claim')} is above {ALPHA:g}"
        else:
            outcome = ClaimOutcome.SUPPORTED
    return replace(result, outcome=outcome, why=why)
