"""What a sensor does with a load whose edges are known: the pace, the window and the delay it has.

A reading is renewed at an even pace, and shows the mean power of a window that ended some time
before its renewal; a counter's steps are such means, too. With ``C(t)``, how long the load had been
on, a renewal at ``r`` shows ``idle + step × (C(r − delay) − C(r − delay − window)) / window``: a
window shorter than the pace looks at part of the time alone, a longer one is a running average.
Window and delay are looked for on a grid that closes in on the least squares. Where power that
rises and falls with a time constant explains clearly more, that is found, too, lest it be taken for
a window. Each ± comes from the curvature there. What the polls do not show is ``None`` with a
reason.
Source: "Part-time Power Measurements", SC'24, arXiv 2312.02741.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from wbcbench.core.arrays import Floats, as_array, np
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.units import ms_from_s
from wbcbench.energy.phase import find_moves
from wbcbench.energy.renewals import FEWEST_MOVES, Span, find_pace_s, median_step_s, refine_pace
from wbcbench.energy.uncertainty import NORMAL_SD

SHARP = 3.0  # times the usual time between two polls, which enclose most moves
FASTEST_POLLS = 3.0  # a pace of fewer polls may be another
EVEN_POLLS = 1.0  # standard deviation of moves about an even pace, which are then placed on it
MOST_RENEWALS = 4000  # of all that are fitted
COARSE_RENEWALS = 600  # for the grid alone
AROUND_S = 1.0
WINDOWS_S, WINDOWS = (0.001, 4.0), 28
MOST_DELAY_S = 2.5  # of the middle of a window
ROUGH_WINDOWS_S, ROUGH_STEPS = (0.03, 0.1, 0.3, 1.0, 3.0), 4
ZOOM_GRID, ZOOM, MOST_ZOOMS, INSIDE, CLOSE_POLLS = 7, 0.5, 24, 0.99, 0.02
RISE_PARTS, MOST_RISE_S, SHARPEST_S = (0.08, 0.16, 0.24), 0.5, 0.001  # of the window found first
MOST_STEPS, INSIDE_S, POLL_SCALE_S = 40, 1e-9, 1e-4  # of the search for a rise
NOISY = 1.3  # times the squares of noise alone
CLEARLY = 0.8  # of the squares that no rise leaves: more than that shows none
LEAST_STEP = 8.0  # times the error of the step: less does not show a load
MOST_MISFIT = 0.2  # of the step, as a standard deviation: no window and delay explain more
MOST_UNSURE = 0.5  # ± of a window, as a share of it
TWO_SIDED_95 = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its half-width at about 95 %, or ``None`` and why."""

    value: float | None = None
    half: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """Where a load was on, as the program that made it stamped its edges.

    Attributes:
        spans: Start and end of each time on, in seconds, in order and apart.
    """

    spans: tuple[Span, ...]
    _knots_s: Floats = field(init=False, repr=False, compare=False)
    _on_s: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Add up the time on."""
        edges_s = as_array([edge for span in self.spans for edge in span])
        lengths_s = np.zeros(len(edges_s))
        lengths_s[1::2] = edges_s[1::2] - edges_s[::2]
        object.__setattr__(self, "_knots_s", edges_s)
        object.__setattr__(self, "_on_s", np.cumsum(lengths_s))

    def on_s(self, t_s: Floats) -> Floats:
        """Seconds on before each moment, shape ``[n]``."""
        return np.interp(t_s, self._knots_s, self._on_s)

    def share(self, until_s: Floats, window_s: float, rise_s: float = 0.0) -> Floats:
        """Mean of the load in ``window_s`` before each moment, from 0 to 1, shape ``[n]``.

        With ``rise_s`` of power that follows the load with that time constant: what it has not
        risen by at a moment is missing before it.
        """
        t_s = np.stack((until_s, until_s - window_s))
        on_s = self.on_s(t_s)
        if rise_s > 0:
            on_s -= rise_s * self._find_levels(t_s, rise_s)
        share: Floats = (on_s[0] - on_s[1]) / window_s
        return share

    def _find_levels(self, t_s: Floats, rise_s: float) -> Floats:
        """How far power that follows the load has risen at each moment, from 0 to 1."""
        level, levels = 0.0, [0.0]
        for place, decay in enumerate(np.exp(-np.diff(self._knots_s) / rise_s).tolist()):
            level = level * decay + (1.0 - decay) * (place % 2 == 0)
            levels.append(level)
        last = np.searchsorted(self._knots_s, t_s, side="right") - 1
        known = np.maximum(last, 0)
        decay = np.exp(np.minimum(self._knots_s[known] - t_s, 0.0) / rise_s)
        risen = as_array(levels)[known] * decay + (1.0 - decay) * (last % 2 == 0)
        return np.where(last >= 0, risen, 0.0)


@dataclass(frozen=True, slots=True)
class Renewals:
    """The renewals of one reading.

    Attributes:
        t_s: When, in seconds, shape ``[n]``.
        power_w: The power that each shows: of a counter its joules over the time since the one
            before, shape ``[n]``.
        update_s: Their pace.
        repeat_share: Share of them that left the value as it was; ``None`` where they are not seen.
    """

    t_s: Floats
    power_w: Floats
    update_s: Estimate
    repeat_share: float | None = None


@dataclass(frozen=True, slots=True)
class SensorFit:
    """What a reading does with a load.

    Attributes:
        update_s: How often it is renewed; of a counter, how often it steps.
        averaging_s: The time that one renewal is the mean of.
        delay_s: How long before the renewal that time ended.
        rise_s: Time constant with which the board's own power follows the load; 0 if at once.
        share: Of all time, what is looked at: at most 1.
        idle_w, step_w: Its power without the load, and by how much more with it.
        misfit: Standard deviation of what the fit leaves, as a share of the step.
        resolution: Smallest move, in joules (counter) or watts.
        repeat_share: Share of renewals that left the value as it was.
        poll_s: Usual time between two polls.
    """

    update_s: Estimate
    averaging_s: Estimate
    delay_s: Estimate
    share: Estimate
    rise_s: Estimate
    idle_w: float | None = None
    step_w: Estimate = Estimate()
    misfit: float | None = None
    resolution: float | None = None
    repeat_share: float | None = None
    poll_s: float = 0.0


def fit_sensor(trace: Trace, load: LoadTimes) -> SensorFit:
    """Pace, window and delay of a densely polled reading beside a load whose edges are known.

    Args:
        trace: A counter or a power reading, from before the load to after it.
        load: When it was on.
    """
    times, values = (as_array(each) for each in trace.good)
    poll_s = median_step_s(trace.good[0])
    moves = np.abs(np.diff(values))
    resolution = float(moves[moves > 0].min()) if moves.any() else None
    renewals = find_renewals(times, values, is_counter=trace.channel.kind is Kind.COUNTER)
    if renewals is None or not load.spans:
        reason = _describe_no_pace(len(times), int((moves > 0).sum()))
        no = Estimate(reason=reason)
        return SensorFit(no, no, no, no, no, resolution=resolution, poll_s=poll_s)
    start = _search(renewals, load, poll_s)
    return _describe(renewals, load, start, resolution, poll_s)


def _describe_no_pace(polls: int, moves: int) -> str:
    if not polls:
        return "no reading succeeded"
    return f"the value moved {moves} times in {polls} polls, at no even pace"


def find_renewals(times: Floats, values: Floats, *, is_counter: bool) -> Renewals | None:
    """Each renewal of a reading from polls that are much denser; ``None`` where no pace shows.

    Moves that two polls enclose as closely as usual tell the pace. Renewals that left the value as
    it was lie evenly between those that moved it; where all moves keep to one pace, on that.
    """
    moved = np.flatnonzero(find_moves(values))[1:]
    if len(moved) < FEWEST_MOVES:
        return None
    poll_s = float(np.median(np.diff(times)))
    middles_s = 0.5 * (times[moved - 1] + times[moved])
    sharp_s = middles_s[times[moved] - times[moved - 1] <= SHARP * poll_s].tolist()
    pace_s = find_pace_s(sharp_s)
    if pace_s is None:
        return None
    pace_s = refine_pace(sharp_s, pace_s)
    if pace_s < FASTEST_POLLS * poll_s:
        return _decimate(times, values, pace_s, poll_s, is_counter=is_counter)
    counts = np.append(0.0, np.cumsum(np.maximum(np.rint(np.diff(middles_s) / pace_s), 1)))
    slope_s, start_s = np.polyfit(counts, middles_s, 1).tolist()
    off_s = middles_s - (start_s + slope_s * counts)
    scatter_s = float(off_s.std())
    half_s = (
        TWO_SIDED_95
        * max(scatter_s, poll_s / math.sqrt(12))
        / (math.sqrt(len(counts)) * max(float(counts.std()), 1.0))
    )
    k = np.arange(counts[-1] + 1)
    is_even = scatter_s <= EVEN_POLLS * poll_s
    renewed_s = start_s + slope_s * k if is_even else np.interp(k, counts, middles_s)
    places = np.searchsorted(times, renewed_s + 0.5 * slope_s, side="right") - 1
    shown = values[np.clip(places, 0, len(values) - 1)]
    update_s = Estimate(slope_s, half_s)
    repeats = max(float((np.diff(shown) == 0).mean()), 1 / (len(shown) + 1))
    if is_counter:
        return Renewals(renewed_s[1:], np.diff(shown) / np.diff(renewed_s), update_s, repeats)
    return Renewals(renewed_s, shown, update_s, repeats)


def _decimate(
    times: Floats, values: Floats, pace_s: float, poll_s: float, *, is_counter: bool
) -> Renewals:
    """Of a reading that is renewed about as fast as it is polled, some polls for its renewals."""
    step = round(FASTEST_POLLS)
    times, values = times[::step], values[::step]
    update_s = Estimate(pace_s, FASTEST_POLLS * poll_s)
    if is_counter:
        return Renewals(times[1:], np.diff(values) / np.diff(times), update_s)
    return Renewals(times, values, update_s)


def _search(renewals: Renewals, load: LoadTimes, poll_s: float) -> tuple[float, float]:
    """The window and the delay of the least squares, in seconds.

    The middle of a window shows even where its length is wrong, so it is found first; lengths are
    tried about it, and a small grid closes in, which moves on as long as its best lies at its edge.
    """
    t_s, power_w = _choose(renewals, load)
    few, near = slice(None, None, -(-len(t_s) // COARSE_RENEWALS)), np.linspace(-1, 1, ZOOM_GRID)

    def find_best(lengths_s: Floats, middles_s: Floats, some: slice) -> tuple[float, float, float]:
        """Of windows of these lengths and middles the one with the least squares, after those."""
        pairs = [
            (length_s, max(middle_s, 0.5 * length_s))  # none ends after its renewal
            for length_s in lengths_s.tolist()
            for middle_s in middles_s.tolist()
        ]
        return min((_squares(t_s[some], power_w[some], load, *pair), *pair) for pair in pairs)

    _, _, middle_s = min(
        find_best(np.array([length_s]), np.arange(0.0, MOST_DELAY_S, length_s / ROUGH_STEPS), few)
        for length_s in ROUGH_WINDOWS_S
    )
    lengths_s, reach_s = np.geomspace(*WINDOWS_S, WINDOWS), ROUGH_WINDOWS_S[0]
    ratio = float(lengths_s[1] / lengths_s[0])
    _, window_s, middle_s = find_best(lengths_s, middle_s + reach_s * near, few)
    for _ in range(MOST_ZOOMS):
        before_s, lengths_s = middle_s, np.clip(window_s * ratio**near, *WINDOWS_S)
        _, window_s, middle_s = find_best(lengths_s, middle_s + reach_s * near, slice(None))
        is_inside = lengths_s[0] < window_s < lengths_s[-1]
        if is_inside and abs(middle_s - before_s) < INSIDE * reach_s:
            ratio, reach_s = ratio**ZOOM, reach_s * ZOOM
        if reach_s < CLOSE_POLLS * poll_s:
            break
    return window_s, middle_s - 0.5 * window_s


def _choose(renewals: Renewals, load: LoadTimes) -> tuple[Floats, Floats]:
    """Renewals during the load and just before and after it, thinned if there are many."""
    start_s, end_s = load.spans[0][0] - AROUND_S, load.spans[-1][1] + AROUND_S
    inside = np.flatnonzero((renewals.t_s >= start_s) & (renewals.t_s <= end_s))
    inside = inside[:: -(-max(len(inside), 1) // MOST_RENEWALS)]
    return renewals.t_s[inside], renewals.power_w[inside]


def _squares(
    t_s: Floats, power_w: Floats, load: LoadTimes, window_s: float, middle_s: float
) -> float:
    """What the best idle power and step leave, as a sum of squares."""
    share = load.share(t_s - (middle_s - 0.5 * window_s), window_s)
    share, power_w = share - share.mean(), power_w - power_w.mean()
    spread, both = float(share @ share), float(share @ power_w)
    return float(power_w @ power_w) - (both**2 / spread if spread > 0 and both > 0 else 0.0)


def _refine(
    t_s: Floats, power_w: Floats, load: LoadTimes, start: tuple[float, float]
) -> tuple[Floats, Floats, Floats]:
    """Window, delay, rise, idle power and step of the least squares, their ± and what is left."""
    from scipy.optimize import least_squares

    def leave(x: Floats) -> Floats:
        window_s, delay_s, rise_s, idle_w, step_w = x.tolist()
        rest_w: Floats = power_w - idle_w - step_w * load.share(t_s - delay_s, window_s, rise_s)
        return rest_w

    window_s, delay_s = start
    share = load.share(t_s - delay_s, window_s)
    step_w, idle_w = np.polyfit(share, power_w, 1).tolist() if np.ptp(share) > 0 else (0.0, 0.0)
    best = np.array([window_s, delay_s, 0.0, idle_w, step_w])
    least = float(leave(best) @ leave(best))
    low = [WINDOWS_S[0], 0.0, SHARPEST_S, -np.inf, -np.inf]
    top = [WINDOWS_S[1], MOST_DELAY_S, MOST_RISE_S, np.inf, np.inf]
    free = [0, 1, 3, 4]
    noise_w = NORMAL_SD * float(np.median(np.abs(np.diff(power_w)))) / math.sqrt(2)
    may_rise = step_w > 0 and least > NOISY * noise_w**2 * len(t_s)
    for rise_s in [part * window_s for part in RISE_PARTS] if may_rise else []:
        # The spread of an even window and that of a rise add up in squares.
        length_s = math.sqrt(window_s**2 - 12 * rise_s**2)
        late_s = delay_s + 0.5 * (window_s - length_s) - rise_s
        inside = np.add(low, INSIDE_S), np.subtract(top, INSIDE_S)
        first = np.clip([length_s, late_s, rise_s, idle_w, step_w], *inside)
        scales = np.maximum(np.abs(first), POLL_SCALE_S)
        found = least_squares(leave, first, bounds=(low, top), x_scale=scales, max_nfev=MOST_STEPS)
        if 2 * found.cost < CLEARLY * least:
            best, least, free = found.x, 2 * found.cost, [0, 1, 2, 3, 4]
    rest_w = leave(best)
    nudges = np.array([0.02 * best[0], 0.02 * best[0], 0.05 * best[2], 1.0, 1.0])
    slopes = np.column_stack(
        [(leave(best) - leave(best + nudges * (np.arange(5) == k))) / nudges[k] for k in free]
    )
    variances = np.zeros(5)
    freedom = max(len(t_s) - len(free), 1)
    variances[free] = np.diag(np.linalg.pinv(slopes.T @ slopes)) * (least / freedom)
    halves: Floats = TWO_SIDED_95 * np.sqrt(np.maximum(variances, 0.0))
    return best, halves, rest_w


def _describe(
    renewals: Renewals,
    load: LoadTimes,
    start: tuple[float, float],
    resolution: float | None,
    poll_s: float,
) -> SensorFit:
    """The fit at its best, with the ± of each parameter, or why there is none."""
    t_s, power_w = _choose(renewals, load)
    best, halves, rest_w = _refine(t_s, power_w, load, start)
    window_s, delay_s, rise_s, idle_w, step_w = best.tolist()
    window_half_s, delay_half_s, rise_half_s, _, step_half_w = halves.tolist()
    # A renewal is known to its poll: what all of them share does not average out.
    blur_s = poll_s / math.sqrt(12)
    window = Estimate(window_s, math.hypot(window_half_s, blur_s))
    delay = Estimate(delay_s, math.hypot(delay_half_s, blur_s))
    rise = Estimate(rise_s, max(rise_half_s, SHARPEST_S))
    misfit = float(rest_w.std()) / step_w if step_w > 0 else None
    if step_w <= 0 or step_w < LEAST_STEP * step_half_w / TWO_SIDED_95:
        window = delay = rise = Estimate(reason=f"the load moved it by {step_w:.3g} W, too little")
    elif misfit is not None and misfit > MOST_MISFIT:
        reason = f"no window and delay explain it: {100 * misfit:.0f} % of the step are left"
        window = delay = rise = Estimate(reason=reason)
    elif max(window_s / WINDOWS_S[1], (delay_s + 0.5 * window_s) / MOST_DELAY_S) > 0.98:
        window = delay = rise = Estimate(reason="its window or delay is longer than the load shows")
    elif window.half is not None and window.half > MOST_UNSURE * window_s:
        reason = f"its window is shorter than the polls tell, about {ms_from_s(window_s):.1f} ms"
        window = Estimate(reason=reason)
    return SensorFit(
        renewals.update_s,
        window,
        delay,
        _estimate_share(window, renewals.update_s),
        rise,
        idle_w,
        Estimate(step_w, step_half_w),
        misfit,
        resolution,
        renewals.repeat_share,
        poll_s,
    )


def _estimate_share(window: Estimate, update: Estimate) -> Estimate:
    """The share of the time that is looked at."""
    if window.value is None or update.value is None:
        return Estimate(reason=window.reason or update.reason)
    share = window.value / update.value
    parts = [(window.half or 0.0) / window.value, (update.half or 0.0) / update.value]
    return Estimate(min(share, 1.0), share * math.hypot(*parts) if share < 1 else 0.0)


def join_spans(spans: Sequence[Span]) -> LoadTimes:
    """The load of spans that may come in any order; those that touch are one."""
    merged: list[Span] = []
    for start_s, end_s in sorted(spans):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end_s, merged[-1][1]))
        else:
            merged.append((start_s, end_s))
    return LoadTimes(tuple(merged))
