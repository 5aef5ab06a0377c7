"""An energy counter's readings as one rising count: wraps undone, resets and jumps found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from wbcbench.core.trace import Channel, Domain, Trace
from wbcbench.energy import thresholds

# A stray reading is taken for one if one of this many next readings continues the count.
LOOK_AHEAD = 3

_UNWRAPPED: WeakKeyDictionary[Trace, Unwrapped] = WeakKeyDictionary()


def unwrap_counter(trace: Trace) -> Unwrapped:
    """A counter's readings as one rising count, worked out once a trace; only for counters."""
    if trace not in _UNWRAPPED:
        _UNWRAPPED[trace] = _unwrap(*trace.good, trace.channel)
    return _UNWRAPPED[trace]


def ceiling_w(channel: Channel) -> float:
    """More power than the part can draw: a step of its counter that needs more is a jump."""
    if channel.limit_w is None:
        return thresholds.CEILING_W
    is_gpu = channel.domain is Domain.GPU
    factor = thresholds.GPU_CEILING_OVER_LIMIT if is_gpu else thresholds.CPU_CEILING_OVER_LIMIT
    return channel.limit_w * factor


# A wrap differs from a reset, and a step from a jump, by power: more joules than the part can draw
# in the time cannot have been drawn, whatever the counter says. One failed read taken for a wrap
# once turned 400 J into 262,544 J.
@dataclass(frozen=True, slots=True)
class Break:
    """A place where the count starts anew: what was drawn in between is unknown.

    Attributes:
        before_s: Time of the last reading of the old count.
        after_s: Time of the first reading of the new count.
        step_j: By how much the counter moved: negative for a reset, positive for a jump.
    """

    before_s: float
    after_s: float
    step_j: float


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A counter that only grows.

    Attributes:
        t_s: Times of the readings that were believed, shape ``[n]``.
        total_j: Joules since the first of them, never falling, shape ``[n]``.
        breaks: Where the count starts anew; ``total_j`` goes on unchanged across a break.
        outliers_s: Times of single readings that fit neither neighbour; they were left out.
    """

    t_s: list[float]
    total_j: list[float]
    breaks: tuple[Break, ...] = ()
    outliers_s: tuple[float, ...] = ()


def _unwrap(times_s: Sequence[float], values_j: Sequence[float], channel: Channel) -> Unwrapped:
    """Believe each reading, leave it out as an outlier, or begin the count anew there.

    Args:
        times_s: Monotonic seconds of each good reading, strictly increasing, shape ``[n]``.
        values_j: The counter's value, same shape.
        channel: The counter: where it wraps, what it can draw and how far it may lag.
    """
    most_w = ceiling_w(channel)
    slack_s = 2 * (channel.update_s or thresholds.COUNTER_UPDATE_S)
    believed, totals_j = [0] if times_s else [], [0.0] if times_s else []
    breaks, outliers_s = list[Break](), list[float]()
    moved_s = times_s[0] if times_s else 0.0

    def find_step_j(place: int) -> float | None:
        """Joules since the last believed reading, a wrap undone; ``None`` if implausible."""
        step_j = values_j[place] - values_j[believed[-1]]
        step_j = step_j if step_j >= 0 else step_j + (channel.wrap_j or 0.0)
        # What was drawn since the counter last moved may all be in this step.
        return step_j if 0 <= step_j <= most_w * (times_s[place] - moved_s + slack_s) else None

    for place in range(1, len(times_s)):
        t_s, last, step_j = times_s[place], believed[-1], find_step_j(place)
        if step_j is None:
            following = range(place + 1, min(place + 1 + LOOK_AHEAD, len(times_s)))
            if any(find_step_j(later) is not None for later in following):
                outliers_s.append(t_s)
                continue
            breaks.append(Break(times_s[last], t_s, values_j[place] - values_j[last]))
        if step_j != 0.0:
            moved_s = t_s
        believed.append(place)
        totals_j.append(totals_j[-1] + (step_j or 0.0))
    times = [times_s[place] for place in believed]
    return Unwrapped(times, totals_j, tuple(breaks), tuple(outliers_s))
