"""How far a window's joules may be off: edges, sampling, gaps.

A counter is exact at its renewals; a window's edge is off by what was drawn between the renewal and
the edge, and by when the renewal was. Integrals of power readings are off by what the sensor did
not read: each stretch between two readings is a stratum of which the ends are known, and half the
squared difference of neighbours estimates the variance within it (the successive-difference
estimator for systematic samples: Wolter, Introduction to Variance Estimation, ch. 8). It is small
for smooth power and as wide as independent samples for bursts. Polls that the sampler draws by lot,
over whole periods, show loads that switch in step with them, too, and those after each renewal hold
every period's mean; those in step with even polls are bounded by ``aliasing_j``. What no trace can
show is a load as fast as the sensor itself; ``energy.checks.sampling`` checks for that.

Every part is a half-width at about 95 %. Parts are independent and add in quadrature. The gain of a
sensor is stated separately: it shifts every number of one card alike, cancels in ratios on that
card, and would hide in a sum what does not cancel.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from statistics import fmean
from weakref import WeakKeyDictionary

from wbcbench.core.arrays import Floats, Places, as_array, np, to_floats
from wbcbench.core.record import Budget
from wbcbench.core.trace import Channel, Domain, Kind, Trace
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.integrate import LEAST_DUTY, EnergyCurve, energy_curve
from wbcbench.energy.phase import find_moves
from wbcbench.energy.renewals import MANY, find_pace_s, median_move, median_step_s

UNIFORM_SD = 1 / math.sqrt(12)  # standard deviation of an even distribution of width one
FEW_LEVELS = 32  # readings of more distinct values are fine-grained
LOOSE_SHARE = 0.2  # of a period, by which a renewal that has a known phase is not off
NORMAL_SD = 1.4826  # standard deviation over median deviation, of normal errors
COARSEST = 0.03  # of the highest reading: power sensors of boards resolve a watt or better
FEWEST_ON_GRID, ON_GRID = 5, 0.01
MOST_STEPS = 1e6  # between the levels of a coarse sensor

# Two edges, each off by an even distribution of width w: their difference is triangular, and 95 %
# of it lie within w × (1 − √0.05).
TRIANGULAR_95 = 1 - math.sqrt(0.05)

# Shares that were fitted to simulated boards of every class (``bench_windows.py``).
CELLS_BESIDE = 4  # on each side of an edge: how flat the power is there
CUT_SHARE = 0.3  # of their spread over the length of the cut cell
HIDDEN_SHARE = 0.02  # of the cell's own joules: loads so fast that all cells look alike
LONG_CUT_SHARE = 0.35  # of the range of power near a long cell: what a step in its middle hides
LONG_HIDDEN_SHARE = 0.1  # of a long cell's own joules: loads about as slow as the cell fit in
LATE_SHARE = 0.75  # of the time by which a renewal may be off: evenly distributed
STALE_SHARE = 0.3  # of an update: a part-time sensor feeds its counter with what it saw before
UPDATE_SHARE, AVERAGING_SHARE, POLL_SHARE = 0.5, 0.15, 0.3  # of each, times the step at an edge
AGE_SHARE = 1.5  # of the update, where the pace was not told: as old, and the mean of as long
FLAT_SHARE = 0.06  # of the averaging time, times the power: swings that an average hides
EVEN_SHARE = 0.65  # of what looks at random times would miss
# Of one stratum, times all powers in the window: a burst between two samples. Of readings whose
# renewals are not all polled, or not known, ``LOOK_SHARE`` of it.
UNSEEN_SHARE = 0.2
LOOK_SHARE = 0.55  # of one stratum, times all powers of the trace, where slow samples may be looks
FLAT_BESIDE = 0.2  # of a step: less between the neighbours on both sides is flat

JUMP_SHARE = 0.5  # of the whole range within one update: the value is not a long running mean
WIDE_RANGE_SHARE = 0.1  # of the mean: less says nothing of averaging

FEWEST_EDGES = 5
UNEVEN = 0.1  # steps off by more than this share are jittered, if more than this share of them is
EVEN_SPACING_POLLS = 0.75  # most by which spacings of a periodic load vary: rounding and jitter
ALIAS_ORDERS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Sensor:
    """The pace of one channel.

    Attributes:
        poll_s: Median time between good readings.
        update_s: How often the value is renewed: the channel's value, else the trace's.
        averaging_s: How far back one power reading reaches.
        resolution_w: Smallest step between power readings; 0.0 when they are fine-grained.
        is_part_time: Whether the sensor is known to read only part of the time.
        is_paced: Whether the channel or the trace tells ``update_s``; else it is ``poll_s``.
        late_s: By how much later than that it may answer (``energy.delay``).
    """

    poll_s: float
    update_s: float
    averaging_s: float
    resolution_w: float
    is_part_time: bool
    is_paced: bool
    late_s: float = 0.0

    @property
    def longest_s(self) -> float:
        """The longest time between two samples that is no gap, and not missing."""
        return thresholds.GAP_PERIODS * max(self.poll_s, self.update_s)


@dataclass(frozen=True, slots=True)
class Beside:
    """The power reading by which a counter's breaks are bridged.

    Attributes:
        trace: Its readings.
        sensor: Its pace.
        apart: By what share of the joules it differs from the counter elsewhere; two sensors of one
            board may always differ by ``AGREE_PCT``.
    """

    trace: Trace
    sensor: Sensor
    apart: float = thresholds.AGREE_PCT / 100


def with_uncertainty(trace: Trace, window: Window, energy: WindowEnergy) -> WindowEnergy:
    """The same joules with their uncertainty; unknown joules and models have none."""
    budget = uncertainty_budget(trace, window, energy, describe_sensor(trace))
    return replace(energy, uncertainty_j=budget.total_j if budget else None)


def uncertainty_budget(
    trace: Trace, window: Window, energy: WindowEnergy, sensor: Sensor, beside: Beside | None = None
) -> Budget | None:
    """Where the uncertainty of ``energy`` comes from; ``None`` for unknown joules and for a model.

    Args:
        trace: What was read.
        window: The span.
        energy: Its joules on that trace.
        sensor: ``describe_sensor(trace)``, worked out once for all windows.
        beside: The power reading of the same part as a counter.
    """
    if energy.energy_j is None or trace.channel.origin.is_estimated:
        return None
    if trace.channel.kind is Kind.COUNTER:
        parts_j = _split_counter(trace, window, sensor, beside)
    else:
        parts_j = _split_integral(trace, window, sensor)
    gain = trace.channel.gain_error
    return Budget(
        window.name,
        trace.channel.name,
        *parts_j,
        total_j=math.hypot(*parts_j),
        gain_j=None if gain is None else gain * abs(energy.energy_j),
    )


_SENSORS: WeakKeyDictionary[Trace, Sensor] = WeakKeyDictionary()


def describe_sensor(trace: Trace) -> Sensor:
    """What the channel says of its sensor, and where it says nothing, what the trace shows."""
    if trace not in _SENSORS:
        _SENSORS[trace] = _describe_sensor(trace)
    return _SENSORS[trace]


def _describe_sensor(trace: Trace) -> Sensor:
    times, values = trace.good
    poll_s = median_step_s(times)
    channel = trace.channel
    averaging_s = channel.averaging_s
    duty = energy_curve(trace).duty if channel.kind is Kind.SAMPLED else None
    looks = channel.averaging_s is None and duty is not None and duty < LEAST_DUTY
    if averaging_s is None:
        may_be_mean = any(word in channel.reading for word in ("average", "usage"))
        is_mean = may_be_mean and not _has_jump(times, values)
        averaging_s = thresholds.AVERAGING_S if is_mean else 0.0
    pace_s = _find_update_s(trace)
    return Sensor(
        poll_s=poll_s,
        update_s=pace_s or max(poll_s, thresholds.COUNTER_UPDATE_S),
        averaging_s=averaging_s,
        resolution_w=_find_resolution(values) if channel.kind is Kind.SAMPLED else 0.0,
        is_part_time=looks or (channel.averaging_s or math.inf) < (channel.update_s or 0.0),
        is_paced=pace_s > 0.0,
    )


def describe_limits(channels: Iterable[Channel]) -> tuple[str, ...]:
    """What the sensors of these channels can never tell, one sentence a board, with the advice."""
    parts = dict[str, str]()
    for channel in channels:
        averaging_s, update_s = channel.averaging_s or 0.0, channel.update_s or 0.0
        part, every_ms = channel.name.rpartition("/")[0], f"{ms_from_s(update_s):.0f} ms"
        is_power = channel.kind is Kind.SAMPLED and channel.domain is Domain.GPU
        if 0.0 < averaging_s < update_s:
            parts[part] = f"{part} reads {ms_from_s(averaging_s):.0f} of every {every_ms}"
        elif channel.averaging_s is None and is_power and update_s > thresholds.PROMPT_COUNTER_S:
            parts[part] = f"{part} may read only a moment of every {every_ms}"
    return tuple(
        f"The sensor of {what}; a load in step with it can be off by half or more. Run longer, and "
        "vary the time that a step takes."
        for what in parts.values()
    )


def _has_jump(times: Sequence[float], values: Sequence[float]) -> bool:
    """Whether two neighbours differ as no two means over a long common time can."""
    power_w = as_array(values)
    if not len(power_w) or np.ptp(power_w) <= WIDE_RANGE_SHARE * power_w.max():
        return False
    is_jump = np.abs(np.diff(power_w)) > JUMP_SHARE * np.ptp(power_w)
    steps_s = np.diff(as_array(times))
    return bool((is_jump & (steps_s < 0.4 * thresholds.AVERAGING_S)).any())


def _find_update_s(trace: Trace) -> float:
    """How often a sensor renews its value: what is known, or shows; 0.0 if neither.

    A power that returns to a few levels again and again moves at the load's pace, not the
    sensor's: only a sensor that never repeats itself shows its own.
    """
    if trace.channel.update_s:
        return trace.channel.update_s
    times, values = trace.good
    moves = as_array(times)[find_moves(values)][1:].tolist()
    levels = len(_list_levels(values))
    returns = levels <= FEW_LEVELS < len(values) and 2 * levels < len(moves)
    is_load = trace.channel.kind is Kind.SAMPLED and returns
    return 0.0 if is_load else find_pace_s(moves) or 0.0


def _list_levels(values: Sequence[float]) -> list[float]:
    """The distinct readings in their order; of more than ``FEW_LEVELS``, some."""
    some = sorted(set(values[:MANY]))
    if len(some) > FEW_LEVELS or len(values) <= MANY:
        return some
    ordered = np.sort(as_array(values))
    levels: list[float] = ordered[find_moves(ordered)].tolist()
    return levels


def _find_resolution(values: Sequence[float]) -> float:
    """The smallest step of a coarse sensor; 0.0 where the few levels are more likely the load's.

    A load that switches between two powers shows two levels, too. Levels are the sensor's if
    they are close together, or if several of them lie on one grid.
    """
    levels = _list_levels(values)
    if not 2 <= len(levels) <= FEW_LEVELS:
        return 0.0
    step_w = min(b - a for a, b in pairwise(levels))
    if levels[-1] - levels[0] > MOST_STEPS * step_w:
        return 0.0
    steps = [(level - levels[0]) / step_w for level in levels]
    is_grid = len(levels) >= FEWEST_ON_GRID and all(abs(x - round(x)) < ON_GRID for x in steps)
    is_close = step_w <= COARSEST * max(map(abs, levels))
    return step_w if is_close or is_grid else 0.0


def _split_counter(
    trace: Trace, window: Window, sensor: Sensor, beside: Beside | None
) -> tuple[float, float, float]:
    """Quantisation, edges and sampling of a counter, in joules."""
    curve = energy_curve(trace, beside.trace if beside else None)
    edges = [_judge_edge(curve, t_s, sensor) for t_s in (window.start_s, window.end_s)]
    quantisation_j = math.hypot(*(cut_j for cut_j, _ in edges))
    edges_j = math.hypot(*(late_j for _, late_j in edges))
    sampling_j = _estimate_knot_sampling_j(curve, window, sensor) if sensor.is_part_time else 0.0
    bridges_j = _estimate_bridges_j(curve, window, sensor, beside) if beside else 0.0
    return quantisation_j, edges_j, math.hypot(sampling_j, bridges_j)


def _estimate_bridges_j(
    curve: EnergyCurve, window: Window, sensor: Sensor, beside: Beside
) -> float:
    """Error of the power that bridges a counter's breaks: its own, a cut at both ends, its gain.

    The gain is the same in every bridge.
    """
    bridged_j, widths_j = 0.0, [0.0]
    for gap in curve.bridges:
        inside = Window("", max(gap.before_s, window.start_s), min(gap.after_s, window.end_s))
        if inside.duration_s > 0:
            bridged_j += curve.at(inside.end_s) - curve.at(inside.start_s)
            widths_j += _split_integral(beside.trace, inside, beside.sensor)
            for edge_s in (gap.before_s, gap.after_s):
                widths_j += _judge_edge(curve, edge_s, sensor)
    return math.hypot(beside.apart * bridged_j, *widths_j)


def _judge_edge(curve: EnergyCurve, at_s: float, sensor: Sensor) -> tuple[float, float]:
    """Joules on the wrong side of an edge: of those in its cell, and for when the cell was.

    A step between two flat stretches is cut where it is. Anything else may have been drawn at any
    time in the cell, within the powers around it; so may all that was drawn in a long cell.
    """
    i = max(min(bisect_right(curve.t_s, at_s), len(curve.t_s) - 1) - 1, 0)
    cell_w = curve.cell_w(i)
    if cell_w is None:
        return 0.0, 0.0
    sides = range(-CELLS_BESIDE, 0), range(1, CELLS_BESIDE + 1)
    before_w, after_w = (
        [power_w for k in side if (power_w := curve.cell_w(i + k)) is not None] for side in sides
    )
    next_w = [*before_w[-1:], cell_w, *after_w[:1]]
    length_s = curve.t_s[i + 1] - curve.t_s[i]
    if 0 < i == len(curve.t_s) - 2:  # it was not renewed again: its joules are a guess
        length_s = max(length_s, curve.t_s[i] - curve.t_s[i - 1])
    is_long = length_s > thresholds.PROMPT_COUNTER_S
    is_step = not is_long and len(next_w) == 3 and sorted(next_w)[1] == cell_w
    levels = (before_w, after_w) if is_step else ([*before_w, cell_w, *after_w],)
    spread_w = max(max(level_w) - min(level_w) for level_w in levels)
    cut_w = LONG_CUT_SHARE * spread_w + LONG_HIDDEN_SHARE * cell_w
    if not is_long:
        cut_w = CUT_SHARE * spread_w + HIDDEN_SHARE * cell_w
    late_s = LATE_SHARE * max(curve.half_s[i : i + 2]) + thresholds.STAMP_S
    late_s += STALE_SHARE * sensor.update_s if sensor.is_part_time else 0.0
    return length_s * cut_w, late_s * max(next_w)


def _estimate_knot_sampling_j(curve: EnergyCurve, window: Window, sensor: Sensor) -> float:
    """Sampling error of a counter that is fed by a part-time sensor: each move is one sample.

    The sensor looks at even times, so that part of the error of loads not in step with it cancels.
    """
    if curve not in _KNOTS:
        times, energy_j = as_array(curve.t_s), as_array(curve.energy_j)
        middles = (times[:-1] + times[1:]) / 2
        _KNOTS[curve] = _Samples(middles, np.diff(energy_j) / np.diff(times))
    return EVEN_SHARE * _estimate_sampling_j(_KNOTS[curve], window, sensor.update_s)


def _split_integral(trace: Trace, window: Window, sensor: Sensor) -> tuple[float, float, float]:
    """Quantisation, edges and sampling of an integral, in joules."""
    times, values = trace.good
    quantisation_j = 0.5 * sensor.resolution_w * window.duration_s
    curve = energy_curve(trace)
    is_mean_of_period = curve.is_held and sensor.averaging_s <= sensor.update_s
    if is_mean_of_period and curve.duty is not None:
        return quantisation_j, *_split_held(curve, window, sensor)
    edges = [_judge_readings(times, values, t_s, sensor) for t_s in (window.start_s, window.end_s)]
    # Readings of unknown age are late at both edges alike.
    late_s = AGE_SHARE * sensor.update_s if trace.channel.update_s is None else 0.0
    shift_j = late_s * abs(edges[1][1] - edges[0][1])
    edges_j = math.hypot(*(edge_j for edge_j, _ in edges), shift_j)
    apart_s = sensor.update_s if sensor.update_s > 1.5 * sensor.poll_s else 0.0
    may_look = sensor.averaging_s == 0.0 and sensor.update_s > thresholds.PROMPT_COUNTER_S
    is_followed = sensor.is_paced and sensor.update_s > sensor.poll_s / 2
    sampling_j = _estimate_sampling_j(
        _list_samples(trace, apart_s),
        window,
        sensor.update_s if sensor.is_part_time else None,
        sensor.longest_s,
        trace.channel.limit_w,
        None if may_look else UNSEEN_SHARE if is_followed else LOOK_SHARE,
    )
    return quantisation_j, edges_j, sampling_j


def _split_held(curve: EnergyCurve, window: Window, sensor: Sensor) -> tuple[float, float]:
    """Edges and sampling of readings that are the mean of each period, in joules.

    Nothing was drawn that they do not hold: what is left is their noise, and gaps.
    """
    times, power_w, edges_j = curve.t_s, curve.power_w or (), list[float]()
    if curve not in _KNOTS:
        _KNOTS[curve] = _Samples(as_array(times), as_array(power_w))
    samples = _KNOTS[curve]
    for t_s in (window.start_s, window.end_s):
        near_w = _find_near(times, power_w, t_s, sensor.update_s + sensor.late_s)
        edges_j += [*_judge_edge(curve, t_s, sensor), sensor.late_s * (max(near_w) - min(near_w))]
    # Where renewals are known to their polls alone, steps of the load are off by as much.
    first, last = bisect_left(times, window.start_s), bisect_right(times, window.end_s)
    loose_s = float(as_array(curve.half_s[first:last]).max(initial=0.0))
    if loose_s > LOOSE_SHARE * sensor.update_s:
        edges_j.append(loose_s * float(np.ptp(samples.power_w[first:last])))
    noise_w = NORMAL_SD * samples.median_move_w / math.sqrt(2)
    usual_s = min(samples.step_s, window.duration_s)
    strata = _list_strata(times, window)
    is_missing = np.diff(samples.t_s[strata.start : strata.stop + 1]) >= 1.5 * usual_s
    missing = strata.start + np.flatnonzero(is_missing)
    noise_j2 = noise_w**2 * usual_s * window.duration_s
    most_w = max(0.0, samples.high_w)
    sums = _sum_strata(samples, missing, window, sensor.longest_s, most_w, noise_j2)
    return math.hypot(*edges_j), math.hypot(t_95(len(strata)) * math.sqrt(sums[0]), sums[1])


class _Samples:
    """Readings, each once, and what every window asks of all of them, worked out once."""

    def __init__(self, t_s: Floats, power_w: Floats) -> None:
        """Of readings at times ``t_s``, increasing, shape ``[n]``."""
        self.t_s, self.power_w = t_s, power_w

    @cached_property
    def step_s(self) -> float:
        """Median time between them."""
        return median_step_s(to_floats(self.t_s))

    @cached_property
    def median_move_w(self) -> float:
        """Median of how far each is from the one before."""
        return median_move(to_floats(self.power_w))

    @cached_property
    def even_step_s(self) -> float:
        """Time between even polls; 0.0 if they are jittered."""
        uneven = (np.abs(np.diff(self.t_s) - self.step_s) > UNEVEN * self.step_s).sum()
        return self.step_s if uneven <= UNEVEN * len(self.t_s) else 0.0

    @cached_property
    def high_w(self) -> float:
        """The highest."""
        return float(self.power_w.max())

    @cached_property
    def span_w(self) -> float:
        """From the lowest to the highest."""
        return float(np.ptp(self.power_w))


# Those of the knots of a curve, and of the readings of a trace that are so far apart.
_KNOTS: WeakKeyDictionary[EnergyCurve, _Samples] = WeakKeyDictionary()
_SAMPLES: WeakKeyDictionary[Trace, dict[float, _Samples]] = WeakKeyDictionary()


def _list_samples(trace: Trace, apart_s: float) -> _Samples:
    known = _SAMPLES.setdefault(trace, {})
    if apart_s not in known:
        times, power_w = (as_array(each) for each in trace.good)
        places = _skip_repeats(times.tolist(), apart_s) if apart_s else slice(None)
        known[apart_s] = _Samples(times[places], power_w[places])
    return known[apart_s]


def _judge_readings(
    times: Sequence[float], values: Sequence[float], at_s: float, sensor: Sensor
) -> tuple[float, float]:
    """Joules on the wrong side of an edge, and the power there.

    A step near the edge is seen late, and seen as a slope.

    A load that switches between nothing and twice the mean within the averaging time leaves the
    average flat: that much is hidden at each edge.
    """
    reach_s = sensor.update_s + sensor.averaging_s / 2 + sensor.poll_s + sensor.late_s
    near_w = _find_near(times, values, at_s, reach_s)
    late_s = (
        UPDATE_SHARE * sensor.update_s
        + AVERAGING_SHARE * sensor.averaging_s
        + POLL_SHARE * sensor.poll_s
        + sensor.late_s
    )
    is_overlapping = sensor.averaging_s > sensor.update_s
    hidden_s = FLAT_SHARE * sensor.averaging_s if is_overlapping else 0.0
    step_w = max(near_w) - min(near_w)
    edge_j = late_s * step_w + (hidden_s + thresholds.STAMP_S) * max(map(abs, near_w))
    return edge_j, fmean(near_w)


def _find_near(
    times: Sequence[float], values: Sequence[float], at_s: float, reach_s: float
) -> list[float]:
    """Readings within reach of an edge, and at least the two that enclose it."""
    first = min(bisect_left(times, at_s - reach_s), bisect_right(times, at_s) - 1)
    last = max(bisect_right(times, at_s + reach_s), bisect_left(times, at_s) + 1)
    return list(values[max(first, 0) : last])


def _skip_repeats(times: Sequence[float], update_s: float) -> list[int]:
    """Places of readings about one update apart: repeats of one value are one sample."""
    places = [0]
    for i, t in enumerate(times):
        if t - times[places[-1]] >= 0.95 * update_s:
            places.append(i)
    return places


def _list_strata(times: Sequence[float] | Floats, window: Window) -> range:
    """Places of readings from which a stratum reaches into a window."""
    first = max(bisect_right(times, window.start_s) - 1, 0)
    return range(first, min(bisect_left(times, window.end_s), len(times) - 1))


def _sum_strata(
    samples: _Samples,
    strata: Places,
    window: Window,
    longest_s: float,
    most_w: float,
    variance_j2: float = 0.0,
) -> tuple[float, float]:
    """Variance of the integral between readings, by successive differences, and what gaps may hold.

    A step between flat stretches is somewhere in its stratum, evenly distributed; any other
    difference stands for what was drawn between the two readings. A stratum longer than
    ``longest_s`` may hold anything that was read in the whole trace, and one that is told as a gap
    anything from nothing to ``most_w``.
    """
    if not len(strata):
        return variance_j2, 0.0
    times, power_w = samples.t_s, samples.power_w
    start_s, end_s = times[strata], times[strata + 1]
    steps_s, moves_w = end_s - start_s, np.abs(power_w[strata + 1] - power_w[strata])
    lengths_s = np.minimum(end_s, window.end_s) - np.maximum(start_s, window.start_s)
    is_inner = (strata > 0) & (strata < len(times) - 2)
    before, after = np.maximum(strata - 1, 0), np.minimum(strata + 2, len(times) - 1)
    beside_w = np.maximum(
        np.abs(power_w[before] - power_w[strata]), np.abs(power_w[after] - power_w[strata + 1])
    )
    is_alone = is_inner & (beside_w < FLAT_BESIDE * moves_w)
    spreads_w = moves_w * np.where(is_alone, UNIFORM_SD, math.sqrt(0.5))
    is_long, is_gap = steps_s > longest_s, steps_s > max(longest_s, thresholds.GAP_LEAST_S)
    if is_long.any():
        spreads_w[is_long] = np.maximum(spreads_w[is_long], UNIFORM_SD * samples.span_w)
    variances_j2 = np.where(is_gap, 0.0, lengths_s * spreads_w) ** 2
    gaps = strata[is_gap]
    means_w = (power_w[gaps] + power_w[gaps + 1]) / 2
    gaps_j = lengths_s[is_gap] * np.maximum(most_w - means_w, means_w)
    return _add_up(np.append(variance_j2, variances_j2)), _add_up(gaps_j)


def _add_up(values: Floats) -> float:
    """The sum, term after term: in pairs its last digits would be others."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def _estimate_sampling_j(
    samples: _Samples,
    window: Window,
    look_s: float | None,
    longest_s: float = math.inf,
    limit_w: float | None = None,
    unseen_share: float | None = UNSEEN_SHARE,
) -> float:
    """95 % half-width of the integral between readings.

    ``look_s`` is the even time between a sensor's own looks, ``None`` if those are the polls. One
    stratum's worth of what was read in the window is added for a burst that fell between two
    samples, ``unseen_share`` of it; with ``None``, slow samples that may be looks may all have met
    one level of a load that shows others elsewhere.
    """
    times, power_w = samples.t_s, samples.power_w
    strata = _list_strata(times, window)
    inside = slice(strata.start, strata.stop + 1)
    inside_w = power_w[inside]
    if not len(inside_w):
        return 0.0
    most_w, usual_s = max(limit_w or 0.0, samples.high_w), min(samples.step_s, window.duration_s)
    places = np.arange(strata.start, strata.stop)
    variance_j2, gaps_j = _sum_strata(samples, places, window, longest_s, most_w)
    unseen_w = samples.span_w if unseen_share is None else float(np.ptp(inside_w))
    unseen_j = (unseen_share or LOOK_SHARE) * usual_s * unseen_w
    by_chance_j = t_95(len(strata)) * math.hypot(math.sqrt(variance_j2), unseen_j)
    look_s = look_s or samples.even_step_s
    in_step_j = aliasing_j(times[inside], inside_w, look_s) if look_s else 0.0
    return math.hypot(max(by_chance_j, in_step_j), gaps_j)


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


# Where each edge of a periodic load falls between two polls is usually chance, and the errors of
# many edges cancel. If a period lasts a whole number of polls (or a half, or a third of one), every
# edge is cut at the same place and the errors add up instead. The trace shows that: its rising
# edges are evenly spaced, and their spacing is in step with the polls. Polls that are jittered over
# whole periods cut every edge elsewhere, unless the sensor itself looks at even times only.
def aliasing_j(times: Floats, power_w: Floats, poll_s: float) -> float:
    """Half-width at 95 % of the joules that edges in step may add or hide; 0.0 if there are none.

    Args:
        times: Seconds of each sample, increasing, shape ``[n]``.
        power_w: What was read, same shape.
        poll_s: The even time between the sensor's looks.
    """
    times, power_w = as_array(times), as_array(power_w)
    middle_w = (power_w.max() + power_w.min()) / 2 if len(power_w) else 0.0
    rises = np.flatnonzero((power_w[:-1] <= middle_w) & (power_w[1:] > middle_w))
    if len(rises) < FEWEST_EDGES:
        return 0.0
    # The period in polls; an edge that was missed makes two periods one.
    spacings = np.diff(times[rises]) / poll_s
    counts = np.maximum(np.rint(spacings / np.median(spacings)), 1)
    total = int(counts.sum())
    period = _add_up(spacings) / total
    if np.std(spacings - counts * period) > EVEN_SPACING_POLLS:
        return 0.0
    # Edges that return to the same place after ``order`` periods are cut at ``order`` places whose
    # errors cancel in part; edges that drift by several polls over the window are cut everywhere.
    # The first and the last edge are off by up to half a poll, so half a poll of drift is nothing.
    shares = list[float]()
    for order in ALIAS_ORDERS:
        drift = abs(order * period - round(order * period)) / order * total
        shares.append(1 / (order * max(drift - 0.5, 1.0)))
    height_w = fmean(power_w[rises + 1] - power_w[rises])
    return TRIANGULAR_95 * height_w * total * poll_s * max(shares)
