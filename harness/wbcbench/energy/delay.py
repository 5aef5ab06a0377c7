"""How late a power reading answers, told from both ends of what was measured.

A process draws nothing after its end. A reading that stays up for a while and then falls, and that
rose as late after the start, lags; one that takes as long to rise and to fall is the mean of that
time. Both move the curve by the middle of the response. A reading that stays up and did not rise as
late may lag, or something still ran: nothing is moved, and the ± holds the time. A warning tells of
either, for a load that goes on before and after may by chance look like a lag.
Only a load between two idle times shows any of this; parts of one are moved by what its ends show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wbcbench.core.arrays import Floats, as_array, np, to_floats
from wbcbench.core.trace import Kind, Origin, Trace
from wbcbench.core.window import RUN, Window, is_idle
from wbcbench.energy.uncertainty import Sensor

LOW, HIGH = 0.25, 0.75  # levels between idle and load: a mean of a time takes half of it in between
LEAST_STEP = 0.1  # of the load: less is no load between two idle times
FEWEST_BEFORE = 3
POLLS_LATE = 2.0  # a poll before and one after a change
TOLERANCE = 0.2  # by how much rise and fall may differ
MOVED_SHARE = 0.1  # of the difference of rise and fall: fitted like those of ``uncertainty``
SLOWEST_S = 4.0  # no sensor is slower: a load that is seen later has begun later


@dataclass(frozen=True, slots=True)
class Delay:
    """How late a reading answers.

    Attributes:
        seen_s: How long it stayed up after the end of the load.
        shift_s: By how much its curve is to be moved to earlier times.
        averaging_s: The time it seems to be the mean of; 0.0 if it answers at once, if late.
        half_s: By how much it may be late besides.
    """

    seen_s: float = 0.0
    shift_s: float = 0.0
    averaging_s: float = 0.0
    half_s: float = 0.0


IN_TIME = Delay()


def span_work(windows: Sequence[Window]) -> Window | None:
    """From the first start to the last end of what is no idle time; ``None`` without any."""
    work = [window for window in windows if not is_idle(window.name) and window.name != RUN]
    if not work:
        return None
    return Window("", min(w.start_s for w in work), max(w.end_s for w in work))


def find_delay(trace: Trace, work: Window | None, sensor: Sensor) -> Delay:
    """What both ends of the load show of a power reading; ``IN_TIME`` where they show nothing.

    Args:
        trace: The reading, from before the load to after it.
        work: When the load began and when it had ended.
        sensor: What is known of the sensor: a delay that it explains is none.
    """
    channel = trace.channel
    # Only a sensor's power follows the work; a simulated signal goes its own way.
    is_sensor = channel.kind is Kind.SAMPLED and channel.origin is Origin.MEASURED
    if work is None or not is_sensor:
        return IN_TIME
    times, values = (as_array(each) for each in trace.good)
    before = values[: np.searchsorted(times, work.start_s, side="right")]
    load_w = _find_load_w(times, values, work)
    if len(before) < FEWEST_BEFORE or load_w is None:
        return IN_TIME
    idle_w = float(np.median(before))
    step_w = load_w - idle_w
    if step_w < LEAST_STEP * load_w or before.max() > idle_w + LOW * step_w:
        return IN_TIME
    low_w, high_w = idle_w + LOW * step_w, idle_w + HIGH * step_w
    (low_s, gap_s), (high_s, _) = (_find_fall(times, values, w, work) for w in (low_w, high_w))
    blind_s = max(POLLS_LATE * sensor.poll_s, gap_s)
    # A value that is held is the mean of its period, if of nothing longer.
    known_s = max(channel.averaging_s or 0.0, sensor.update_s) + sensor.update_s + blind_s
    rise_s = float(times[np.argmax(values > low_w)]) - work.start_s
    # A pace that nothing shows may be as slow as either end.
    stale_s = 0.0 if sensor.is_paced else min(max(rise_s, low_s), SLOWEST_S)
    tolerance_s = sensor.update_s + blind_s + TOLERANCE * low_s
    if low_s <= known_s:
        is_alike = not sensor.is_paced and abs(rise_s - high_s) <= tolerance_s
        shift_s = max(0.5 * (rise_s + low_s), 0.0) if is_alike else 0.0
        return Delay(shift_s=shift_s, half_s=0.5 * stale_s if is_alike else stale_s)
    is_settled = work.end_s + low_s < float(times[-1]) - sensor.poll_s
    age_s = 0.5 * ((channel.averaging_s or 0.0) + (channel.update_s or 0.0))
    shift_s = 0.5 * (rise_s + low_s) - age_s
    if not is_settled or abs(rise_s - high_s) > tolerance_s or shift_s <= 0:
        return Delay(low_s, half_s=max(low_s, stale_s))
    ramp_s = max((low_s - rise_s) / (HIGH - LOW), 0.0)
    half_s = max(MOVED_SHARE * abs(rise_s - high_s), 0.3 * stale_s)
    return Delay(low_s, shift_s, ramp_s, half_s)


def _find_load_w(times: Floats, values: Floats, work: Window) -> float | None:
    """The mean of the readings of the load; ``None`` if there are none.

    If most of them came after its end, it is the highest mean over so long a time.
    """
    first, last = np.searchsorted(times, (work.start_s, work.end_s), side="right").tolist()
    count = last - first
    if not count:
        return None
    sums = np.cumsum(np.append(0.0, values))
    return float((sums[last:] - sums[first : len(sums) - count]).max() / count)


def _find_fall(times: Floats, values: Floats, level_w: float, work: Window) -> tuple[float, float]:
    """When a reading fell below a level for good, and how long nobody looked."""
    last = int(np.flatnonzero(values > level_w)[-1:].sum())  # the first, if none is higher
    last_s, fallen_s = times[[last, min(last + 1, len(times) - 1)]].tolist()
    return 0.5 * (last_s + fallen_s) - work.end_s, fallen_s - last_s


def undo_delay(trace: Trace) -> Trace:
    """The readings without the delay that is known of their sensor.

    A counter's step is taken for the joules of the whole time since the one before, so one that
    tells of a look alone lies with its middle at that of the look.
    """
    channel = trace.channel
    if channel.delay_s is None:
        return trace
    look_s, update_s = channel.averaging_s or 0.0, channel.update_s or 0.0
    is_look = channel.kind is Kind.COUNTER and 0.0 < look_s < update_s
    early_s = 0.5 * (update_s - look_s) if is_look else 0.0
    return move(trace, Delay(shift_s=channel.delay_s - early_s))


def widen(sensor: Sensor, delay: Delay) -> Sensor:
    """The sensor as the ends of the load showed it."""
    averaging_s = max(sensor.averaging_s, delay.averaging_s)
    # Where nothing shows a pace, repeats of one value within that time may be one look.
    update_s = sensor.update_s if sensor.is_paced else max(sensor.update_s, delay.half_s)
    return replace(sensor, update_s=update_s, averaging_s=averaging_s, late_s=delay.half_s)


def move(trace: Trace, delay: Delay) -> Trace:
    """The readings at the times that they are of."""
    if not delay.shift_s:
        return trace
    times = as_array(trace.t_s) - delay.shift_s
    return Trace(trace.channel, to_floats(times), trace.value)
