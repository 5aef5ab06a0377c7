"""How far a window's joules may be off: steps, edges, gaps, aliasing, and what a probe saw.

Counters are off by their steps and by when they were polled. Integrals of power readings are off by
what the sensor did not see: each stretch between two readings is a stratum of which the ends are
known, and half the squared difference of neighbours estimates the variance within it (the
successive-difference estimator for systematic samples: Wolter, Introduction to Variance Estimation,
ch. 8). It is small for smooth power and as wide as independent samples for bursts. Loads that
switch in step with the polls are bounded by ``aliasing_j``. What no trace can show is a load as
fast as the sensor itself; ``energy.checks.sampling`` checks for that.

Every part is a half-width at about 95 %. Parts are independent and add in quadrature. The gain of a
sensor is kept apart: it shifts every number of one card alike, cancels in ratios on that card, and
would hide in a sum what does not cancel.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median, pstdev

from wbcbench.core.record import Budget, KindGuess, SensorCard
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.integrate import EnergyCurve, energy_curve

_UNIFORM_SD = 1 / math.sqrt(12)  # standard deviation of an even distribution of width one
_FEW_LEVELS = 32  # readings of more distinct values are fine-grained
_COARSEST = 0.03  # of the highest reading: power sensors of boards resolve a watt or better
_FEWEST_ON_GRID, _ON_GRID = 5, 0.01

# Two edges, each off by an even distribution of width w: their difference is triangular, and 95 %
# of it lie within w × (1 − √0.05).
TRIANGULAR_95 = 1 - math.sqrt(0.05)

_FEWEST_MOVES = 8
_LOOSELY, _CLOSELY = 0.2, 0.05  # mean distance from whole renewals; by chance it is 0.25
_MOST_PACE_PARTS = 5
_JUMP_SHARE = 0.5  # of the whole range within one update: the value is not a long running mean
_WIDE_RANGE_SHARE = 0.1  # of the mean: less tells nothing of averaging

_FEWEST_EDGES = 5
_EVEN_SPACING_POLLS = (
    0.75  # spacings of a periodic load differ by less than this many looks: rounding and jitter
)
_ALIAS_ORDERS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Sensor:
    """The pace of one channel.

    Attributes:
        poll_s: Median time between good readings.
        update_s: How often the value is renewed: the sensor's word, else as seen in the trace.
        averaging_s: How far back one power reading reaches.
        resolution_w: Smallest step between power readings; 0.0 when they are fine-grained.
        is_part_time: Whether the sensor is known to look only part of the time.
    """

    poll_s: float
    update_s: float
    averaging_s: float
    resolution_w: float
    is_part_time: bool


def with_uncertainty(
    trace: Trace, window: Window, energy: WindowEnergy, sensor: Sensor | None = None
) -> WindowEnergy:
    """The same joules with their uncertainty; unknown joules and models have none."""
    found = uncertainty_budget(trace, window, energy, sensor or sensor_of(trace))
    return replace(energy, uncertainty_j=found.total_j if found else None)


def uncertainty_budget(
    trace: Trace, window: Window, energy: WindowEnergy, sensor: Sensor
) -> Budget | None:
    """Where the uncertainty of ``energy`` comes from; ``None`` if the joules are unknown.

    Args:
        trace: What was read.
        window: The span.
        energy: Its joules on that trace.
        sensor: ``sensor_of(trace)``, worked out once for all windows.
    """
    if energy.energy_j is None:
        return None
    parts = _counter_parts if trace.channel.kind is Kind.COUNTER else _sampled_parts
    found = parts(trace, window, sensor)
    gain = trace.channel.gain_error
    return Budget(
        window.name,
        trace.channel.name,
        *found,
        total_j=None if trace.channel.origin.is_estimated else math.hypot(*found),
        gain_j=None if gain is None else gain * abs(energy.energy_j),
    )


def sensor_of(trace: Trace) -> Sensor:
    """What the channel says of its sensor, and where it says nothing, what the trace shows."""
    times, values = trace.good
    poll_s = median([b - a for a, b in pairwise(times)]) if len(times) > 1 else 0.0
    channel = trace.channel
    return Sensor(
        poll_s=poll_s,
        update_s=channel.update_s or max(_seen_update_s(trace), poll_s),
        averaging_s=_averaging_s(channel),
        resolution_w=_resolution(values) if channel.kind is Kind.SAMPLED else 0.0,
        is_part_time=(channel.averaging_s or math.inf) < (channel.update_s or 0.0),
    )


def _seen_update_s(trace: Trace) -> float:
    """The pace at which the value moves; 0.0 if it shows none.

    A power that returns to a few levels again and again moves at the load's pace, not the
    sensor's: only a sensor that never repeats itself tells its own.
    """
    times, values = trace.good
    moves = [t for t, a, b in zip(times[1:], values, values[1:], strict=False) if a != b]
    is_load = trace.channel.kind is Kind.SAMPLED and len(set(values)) <= _FEW_LEVELS < len(values)
    return 0.0 if is_load else pace_s(moves) or 0.0


def _averaging_s(channel: Channel) -> float:
    if channel.averaging_s is not None:
        return channel.averaging_s
    is_mean = any(word in channel.reading for word in ("average", "usage"))
    return thresholds.AVERAGING_S if is_mean else 0.0


def _resolution(values: Sequence[float]) -> float:
    """The smallest step of a coarse sensor; 0.0 where the few levels are more likely the load's.

    A load that switches between two powers shows two levels, too. Levels are the sensor's if
    they are close together, or if several of them lie on one grid.
    """
    levels = sorted(set(values))
    if not 2 <= len(levels) <= _FEW_LEVELS:
        return 0.0
    step_w = min(b - a for a, b in pairwise(levels))
    on_grid = all(
        abs(x / step_w - round(x / step_w)) < _ON_GRID for x in _steps_above_lowest(levels)
    )
    is_close = step_w <= _COARSEST * max(map(abs, levels))
    return step_w if is_close or (on_grid and len(levels) >= _FEWEST_ON_GRID) else 0.0


def _steps_above_lowest(levels: Sequence[float]) -> list[float]:
    return [level - levels[0] for level in levels[1:]]


def _counter_parts(trace: Trace, window: Window, sensor: Sensor) -> tuple[float, float, float]:
    """Quantisation, edges and sampling of a counter, in joules."""
    curve = energy_curve(trace)
    start_j, start_w = _local_step(curve, window.start_s, sensor)
    end_j, end_w = _local_step(curve, window.end_s, sensor)
    quantisation_j = TRIANGULAR_95 * math.hypot(start_j, end_j) / math.sqrt(2)
    lag_s = TRIANGULAR_95 * min(sensor.update_s, sensor.poll_s) + thresholds.STAMP_S
    sampling_j = _knot_sampling_j(trace, window) if sensor.is_part_time else 0.0
    return quantisation_j, lag_s * max(start_w, end_w), sampling_j


def _local_step(curve: EnergyCurve, at_s: float, sensor: Sensor) -> tuple[float, float]:
    """How much of the joules around an edge may lie on its other side, and the power there.

    A counter known to move faster than it is polled is off by the bend between two polls only;
    any other by the largest step nearby.
    """
    times, energy_j = curve.t_s, curve.energy_j
    i = bisect_right(times, at_s) - 1
    around = range(max(i - 1, 0), min(i + 2, len(times) - 1))
    steps = [(energy_j[k + 1] - energy_j[k], times[k + 1] - times[k]) for k in around]
    power_w = [step_j / length_s for step_j, length_s in steps]
    largest_j = max((step_j for step_j, _ in steps), default=0.0)
    if steps and sensor.update_s < sensor.poll_s:
        bend_j = (max(power_w) - min(power_w)) * max(length_s for _, length_s in steps)
        largest_j = min(largest_j, bend_j + sensor.update_s * max(power_w))
    return largest_j, max(power_w, default=0.0)


def _knot_sampling_j(trace: Trace, window: Window) -> float:
    """Sampling error of a counter that is fed by a part-time sensor: each move is one sample."""
    curve = energy_curve(trace)
    middles = [(a + b) / 2 for a, b in pairwise(curve.t_s)]
    power_w = [
        (f - e) / (b - a)
        for (a, b), (e, f) in zip(pairwise(curve.t_s), pairwise(curve.energy_j), strict=True)
    ]
    return _strata_j(middles, power_w, window, longest_s=math.inf)


def _sampled_parts(trace: Trace, window: Window, sensor: Sensor) -> tuple[float, float, float]:
    """Quantisation, edges and sampling of an integral, in joules."""
    times, values = trace.good
    quantisation_j = 0.5 * sensor.resolution_w * window.duration_s
    lag_s = sensor.update_s + sensor.averaging_s / 2 + sensor.poll_s / 2 + thresholds.STAMP_S
    near = [
        *_near(times, values, window.start_s, lag_s),
        *_near(times, values, window.end_s, lag_s),
    ]
    seen_j = lag_s * (max(near) - min(near)) + thresholds.STAMP_S * max(map(abs, near))
    edges_j = math.hypot(seen_j, _hidden_s(sensor) * max(map(abs, near)))
    pace_s = max(sensor.poll_s, sensor.update_s)
    looks = _thinned(times, sensor.update_s) if sensor.update_s > 1.5 * sensor.poll_s else None
    seen = looks if looks is not None else range(len(times))
    sampling_j = _strata_j(
        [times[i] for i in seen],
        [values[i] for i in seen],
        window,
        longest_s=thresholds.GAP_PERIODS * pace_s,
    )
    return quantisation_j, edges_j, sampling_j


def _hidden_s(sensor: Sensor) -> float:
    """How much of an edge an average may hide, as time at the average power.

    A load that switches between nothing and twice the mean within the averaging time leaves the
    average flat; cut anywhere, such a swing is off by up to an eighth of that time at each edge.
    """
    overlaps = sensor.averaging_s > sensor.update_s
    return math.sqrt(2) * sensor.averaging_s / 8 if overlaps else 0.0


def _near(
    times: Sequence[float], values: Sequence[float], at_s: float, reach_s: float
) -> list[float]:
    """Readings within reach of an edge, and at least the two that enclose it."""
    first = min(bisect_left(times, at_s - reach_s), bisect_right(times, at_s) - 1)
    last = max(bisect_right(times, at_s + reach_s), bisect_left(times, at_s) + 1)
    return list(values[max(first, 0) : last])


def _thinned(times: Sequence[float], update_s: float) -> list[int]:
    """Places of readings about one update apart: repeats of one value are one look."""
    kept = [0]
    for i, t in enumerate(times):
        if t - times[kept[-1]] >= 0.95 * update_s:
            kept.append(i)
    return kept


def _strata_j(
    times: Sequence[float], power_w: Sequence[float], window: Window, longest_s: float
) -> float:
    """95 % half-width of the integral between readings, by successive differences.

    A stratum longer than ``longest_s`` is a gap: inside it the power may have been anything that
    was seen in the whole trace. One stratum's worth of what was seen in the window is added for a
    burst that fell between two looks.
    """
    first = max(bisect_right(times, window.start_s) - 1, 0)
    last = min(bisect_left(times, window.end_s), len(times) - 1)
    variance, usual_s = 0.0, 0.0
    for i in range(first, last):
        length_s = min(times[i + 1], window.end_s) - max(times[i], window.start_s)
        spread_w = abs(power_w[i + 1] - power_w[i]) / math.sqrt(2)
        if times[i + 1] - times[i] > longest_s:
            spread_w = max(spread_w, _UNIFORM_SD * (max(power_w) - min(power_w)))
        else:
            usual_s = max(usual_s, length_s)
        variance += (length_s * spread_w) ** 2
    inside = power_w[first : last + 1]
    if not inside:
        return 0.0
    unseen_j = _UNIFORM_SD * usual_s * (max(inside) - min(inside))
    by_chance_j = t_95(last - first) * math.hypot(math.sqrt(variance), unseen_j)
    return max(by_chance_j, aliasing_j(times[first : last + 1], inside))


def t_95(degrees: float) -> float:
    """Two-sided 95 % quantile of Student's t for ``degrees`` of freedom, at least one.

    Expansion about the normal quantile (Abramowitz and Stegun 26.7.5): right within 1 % from
    three degrees on, 3 % low at two, a quarter low at one.
    """
    z, n = 1.959964, max(degrees, 1.0)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third


# A sensor is probed for two seconds before a run. Counters step and power readings are renewed at a
# pace that no interface tells; both bound what a window's joules can be worth. The pace is seen
# only while the value moves: a card says what it could not see, and why, instead of guessing.
def card_of(trace: Trace) -> SensorCard:
    """Card of one densely polled trace; pure."""
    times, values = trace.good
    moves = [
        (t_s, after - before)
        for t_s, (before, after) in zip(times[1:], pairwise(values), strict=True)
        if after != before
    ]
    update_s = pace_s([t_s for t_s, _ in moves])
    is_counter = trace.channel.kind is Kind.COUNTER
    return SensorCard(
        channel=trace.channel.name,
        update_s=update_s,
        step_j=_step_j(moves, update_s) if is_counter else None,
        resolution=min((abs(size) for _, size in moves), default=None),
        kind_guess="counter" if is_counter else _guess_kind(trace.channel, update_s, values, moves),
        probed_s=times[-1] - times[0] if times else 0.0,
        polls=len(times),
        reason="" if update_s is not None else _why_no_pace(len(times), len(moves)),
    )


def informed(channels: Iterable[Channel], cards: Iterable[SensorCard]) -> tuple[Channel, ...]:
    """The channels with the pace that their cards found; what a card does not know is kept."""
    paces = {card.channel: card.update_s for card in cards}
    return tuple(
        replace(channel, update_s=paces.get(channel.name) or channel.update_s)
        for channel in channels
    )


def pace_s(moves_s: Sequence[float]) -> float | None:
    """Time between renewals, from the times at which a value moved; ``None`` if they show none.

    A value that happens to stay the same makes several renewals look like one, so the pace is the
    time of which all intervals are whole multiples: a short interval, or a part of it if they
    are very nearly multiples of that. Loads that switch at random times show none.
    """
    if len(moves_s) < _FEWEST_MOVES:
        return None
    intervals = sorted(b - a for a, b in pairwise(moves_s))
    short_s = intervals[len(intervals) // 5]
    for parts in range(1, _MOST_PACE_PARTS + 1):
        counts = [interval * parts / short_s for interval in intervals]
        whole = [max(round(count), 1) for count in counts]
        off = fmean(abs(count - n) for count, n in zip(counts, whole, strict=True))
        if off <= (_LOOSELY if parts == 1 else _CLOSELY):
            return (moves_s[-1] - moves_s[0]) / sum(whole)
    return None


def _step_j(moves: Sequence[tuple[float, float]], update_s: float | None) -> float | None:
    """Median joules of one step; a reset or a jump among them does not count."""
    rises = [size for _, size in moves if size > 0]
    return median(rises) if rises and update_s is not None else None


def _guess_kind(
    channel: Channel,
    update_s: float | None,
    values: Sequence[float],
    moves: Sequence[tuple[float, float]],
) -> KindGuess:
    if channel.averaging_s and channel.update_s and channel.averaging_s < channel.update_s:
        return "part_time"
    if update_s is None or not values:
        return "unknown"
    span = max(values) - min(values)
    if span < _WIDE_RANGE_SHARE * median(values):
        return "unknown"
    largest = max(abs(size) for _, size in moves)
    return "held" if largest >= _JUMP_SHARE * span else "running_average"


def _why_no_pace(polls: int, moves: int) -> str:
    """Why no pace could be told."""
    if polls == 0:
        return "no reading succeeded"
    if moves >= _FEWEST_MOVES:
        return "the value moved at no even pace; probe while the device is idle or at steady work"
    return (
        f"the value moved {moves} times only, too few to tell its pace; probe while the device "
        "is at work"
    )


# Where each edge of a periodic load falls between two polls is usually chance, and the errors of
# many edges cancel. If a period lasts a whole number of polls (or a half, or a third of one), every
# edge is cut at the same place and the errors add up instead. The trace shows that: its rising
# edges are evenly spaced, and their spacing is in step with the polls.
@dataclass(frozen=True, slots=True)
class _Periods:
    """A load's periods: how long in looks, how many, and how unevenly spaced."""

    look_s: float
    period: float
    count: int
    spread: float


def aliasing_j(times: Sequence[float], power_w: Sequence[float]) -> float:
    """Half-width at 95 % of the joules that edges in step may add or hide; 0.0 if there are none.

    Args:
        times: Seconds of each look, increasing, shape ``[n]``.
        power_w: What was seen, same shape.
    """
    rises = _upward_crossings(power_w)
    if len(rises) < _FEWEST_EDGES:
        return 0.0
    turns = _find_periods(times, rises)
    if turns.spread > _EVEN_SPACING_POLLS:
        return 0.0
    height_w = fmean(power_w[i + 1] - power_w[i] for i in rises)
    return TRIANGULAR_95 * height_w * turns.count * turns.look_s * _in_step(turns)


def _upward_crossings(power_w: Sequence[float]) -> list[int]:
    """Places where the power crosses the middle of its range upwards."""
    middle_w = (max(power_w) + min(power_w)) / 2 if power_w else 0.0
    return [i for i, (a, b) in enumerate(pairwise(power_w)) if a <= middle_w < b]


def _find_periods(times: Sequence[float], rises: Sequence[int]) -> _Periods:
    """The period of a load from its rising edges; an edge that was missed makes two periods one."""
    steps = [b - a for a, b in pairwise(times)]
    usual_s = median(steps)
    look_s = fmean(step for step in steps if step < 3 * usual_s)
    spacings = [(times[b] - times[a]) / look_s for a, b in pairwise(rises)]
    usual = median(spacings)
    counts = [max(round(spacing / usual), 1) for spacing in spacings]
    period = sum(spacings) / sum(counts)
    spread = pstdev(s - n * period for s, n in zip(spacings, counts, strict=True))
    return _Periods(look_s, period, sum(counts), spread)


def _in_step(turns: _Periods) -> float:
    """The share of the edges' errors that adds up instead of cancelling, from 0 to 1.

    Edges that return to the same place after ``order`` periods are cut at ``order`` places whose
    errors cancel in part; edges that drift by several looks over the window are cut everywhere.
    The first and the last edge are seen up to half a look off, so half a look of drift is nothing.
    """
    shares = list[float]()
    for order in _ALIAS_ORDERS:
        off = abs(order * turns.period - round(order * turns.period)) / order
        shares.append(1 / (order * max(off * turns.count - 0.5, 1.0)))
    return max(shares)
