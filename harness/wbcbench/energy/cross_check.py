"""Two readings of one part against each other, in each window and over everything that was read.

Counter against integral is a judgement, for both are sensors of the same board: up to 3 % they
agree, up to 10 % the window is suspect, above that one of them is wrong. A difference that the
uncertainties explain is inconclusive: it is less than the *depth* of the check. Over the whole
trace thousands of readings average out, so that it sees what a window alone cannot.

Anything against CodeCarbon is a cross-check: it is shown and never makes a window invalid.
``energy.source`` decides which reading counts when one is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from wbcbench.core.record import Agreement, AgreementStatus
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.faults import is_pair
from wbcbench.energy.integrate import energy_curve, find_gaps, window_energy
from wbcbench.energy.metrics import difference_pct, ratio, sum_if_all_known
from wbcbench.energy.source import is_codecarbon, list_readings
from wbcbench.energy.uncertainty import Beside, describe_sensor, uncertainty_budget

SHORTEST_SPAN_S = 1.0  # of a comparison: less is all edges

_Energies = dict[str, WindowEnergy]  # of one window, by channel


def compare_readings(counter: WindowEnergy, integral: WindowEnergy) -> Agreement | None:
    """How a counter and an integral of the same part agree; ``None`` if either is unknown.

    Both must be of one window, and each carry its uncertainty for the difference to be judged.
    """
    pct = difference_pct(counter.energy_j, integral.energy_j)
    if pct is None or not integral.energy_j:
        return None
    widths_j = (counter.uncertainty_j, integral.uncertainty_j)
    slack_j = math.hypot(*(math.inf if width_j is None else width_j for width_j in widths_j))
    depth_pct = 100.0 * thresholds.DISAGREE_DEPTHS * slack_j / integral.energy_j
    status: AgreementStatus = "suspect" if abs(pct) <= thresholds.DISAGREE_PCT else "invalid"
    if abs(pct) <= thresholds.AGREE_PCT:
        status = "ok"
    elif abs(pct) <= depth_pct:
        status = "inconclusive"
    known_pct = depth_pct if math.isfinite(depth_pct) else None
    names = counter.window, counter.channel, integral.channel
    return Agreement(*names, pct, status, known_pct, integral.samples)


def compare_traces(counter: Trace, integral: Trace) -> Agreement | None:
    """How a counter and an integral agree wherever both were read; breaks and gaps are left out."""
    curve, (times, _) = energy_curve(counter, integral), integral.good
    if len(curve.t_s) < 2 or len(times) < 2:
        return None
    # From the counter's first move to its last, for there it is exact.
    start_s, end_s = max(curve.t_s[1], times[0]), min(curve.t_s[-1], times[-1])
    lost = [(gap.before_s, gap.after_s) for gap in (*curve.breaks, *curve.bridges)]
    spans = list[Window]()
    for before_s, after_s in (*sorted(lost + find_gaps(times)), (end_s, end_s)):
        if min(before_s, end_s) - start_s >= SHORTEST_SPAN_S:
            spans.append(Window("", start_s, min(before_s, end_s)))
        start_s = max(start_s, after_s)
    sums = _sum_spans(counter, spans, integral), _sum_spans(integral, spans, None)
    return compare_readings(*sums) if spans else None


def _sum_spans(trace: Trace, spans: Sequence[Window], pair: Trace | None) -> WindowEnergy:
    """The joules of several spans as one; their errors are independent."""
    sensor = describe_sensor(trace)
    beside = Beside(pair, describe_sensor(pair)) if pair else None
    parts = [window_energy(trace, span, pair) for span in spans]
    budgets = [
        uncertainty_budget(trace, span, part, sensor, beside)
        for span, part in zip(spans, parts, strict=True)
    ]
    energy_j = sum_if_all_known([part.energy_j for part in parts])
    widths_j = [budget.total_j for budget in budgets if budget and budget.total_j is not None]
    return WindowEnergy(
        "",
        trace.channel.name,
        energy_j,
        math.hypot(*widths_j) if parts and len(widths_j) == len(parts) else None,
        ratio(energy_j, sum(span.duration_s for span in spans)),
        sum(part.samples for part in parts),
        None,
    )


def deepest_check(pairs: Iterable[Agreement], counter: str, window: str) -> Agreement | None:
    """The check of a counter that counts for a window: its own if that is deep, else the deeper.

    Over everything a fault of one window is diluted: where its own check contradicts the whole, the
    window's counts, however shallow. ``None`` if there is neither.
    """
    checks = {
        pair.window: pair for pair in pairs if pair.a == counter and pair.depth_pct is not None
    }
    own, whole = checks.get(window), checks.get("")
    if own is None or whole is None:
        return own or whole
    depths_pct = own.depth_pct or 0.0, whole.depth_pct or 0.0
    apart_pct = abs(own.difference_pct - whole.difference_pct)
    is_apart = apart_pct > depths_pct[0] / thresholds.DISAGREE_DEPTHS
    return own if is_apart or depths_pct[0] <= max(thresholds.AGREE_PCT, depths_pct[1]) else whole


def describe_checks(pairs: Sequence[Agreement], window: str) -> list[str]:
    """``nvml/gpu0/counter: checked to ±3 % by 2,770 readings``, for each counter with a check."""
    counters = dict.fromkeys(pair.a for pair in pairs if pair.status != "cross-check")
    checks = (deepest_check(pairs, counter, window) for counter in counters)
    return [
        f"{check.a}: {check.difference_pct:+.1f} % off {check.b}, "
        f"checked to ±{check.depth_pct:.2g} % by {check.readings:,} readings"
        for check in checks
        if check is not None
    ]


def agreements(
    channels: Sequence[Channel], energies: Iterable[WindowEnergy]
) -> tuple[Agreement, ...]:
    """How the readings of each part agree in each window where both are known.

    Args:
        channels: All channels of the run.
        energies: Their joules with uncertainties, refused ones being unknown.
    """
    by_window: dict[str, _Energies] = {}
    for energy in energies:
        by_window.setdefault(energy.window, {})[energy.channel] = energy
    return tuple(
        pair
        for window, known in by_window.items()
        for pair in (
            *_compare_sensors(channels, known),
            *_compare_with_codecarbon(channels, known, window),
        )
    )


def _compare_sensors(channels: Sequence[Channel], energies: _Energies) -> Iterator[Agreement]:
    for first, second in combinations(channels, 2):
        if not is_pair(first, second) or first.origin.is_estimated or second.origin.is_estimated:
            continue
        counter, integral = (first, second) if first.kind is Kind.COUNTER else (second, first)
        a, b = energies.get(counter.name), energies.get(integral.name)
        if a and b and (pair := compare_readings(a, b)):
            yield pair


def _compare_with_codecarbon(
    channels: Sequence[Channel], energies: _Energies, window: str
) -> Iterator[Agreement]:
    """Each of CodeCarbon's channels against the same devices by the other meters of the part."""

    def find_joules(name: str) -> float | None:
        return energies[name].energy_j if name in energies else None

    for theirs in channels:
        if not is_codecarbon(theirs.name):
            continue
        covered = theirs.device.split("+") if theirs.device else None
        ours = list[str]()
        for readings in list_readings(channels, theirs.domain):
            if covered is None or readings[0].device in covered:
                known = (c.name for c in readings if find_joules(c.name) is not None)
                ours.append(next(known, readings[0].name))
        if not ours or is_codecarbon(ours[0]) or (covered and len(ours) < len(covered)):
            continue
        joules = sum_if_all_known([find_joules(name) for name in ours])
        pct = difference_pct(joules, find_joules(theirs.name))
        if pct is not None:
            yield Agreement(window, "+".join(ours), theirs.name, pct, "cross-check")
