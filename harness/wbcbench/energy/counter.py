"""Cumulative joule counters made whole: wraps undone, stray readings dropped, resets marked.

Plain arithmetic on lists. What tells a wrap from a reset and a step from a jump is power: more
joules than the part can draw in the time cannot have been drawn, whatever the counter says. One
failed read taken for a wrap has been seen to turn 400 J into 262,544 J.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A stray reading is believed to be one when one of this many next readings takes up the count.
_LOOK_AHEAD = 3


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
        strays_s: Times of single readings that fit neither before nor after; they were left out.
    """

    t_s: list[float]
    total_j: list[float]
    breaks: tuple[Break, ...] = ()
    strays_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plausible:
    """What a counter can do.

    Attributes:
        wrap_j: Where it starts again at zero; ``None`` if it never does.
        ceiling_w: More power than the part can draw.
        slack_s: How far a reading may lag behind: energy of that long before may be in a step.
    """

    wrap_j: float | None
    ceiling_w: float
    slack_s: float

    def step_j(self, difference_j: float, elapsed_s: float) -> float | None:
        """Joules between two readings, a wrap undone; ``None`` if no power explains them."""
        most_j = self.ceiling_w * (elapsed_s + self.slack_s)
        wrapped_j = difference_j if difference_j >= 0 else difference_j + (self.wrap_j or 0.0)
        return wrapped_j if 0 <= wrapped_j <= most_j else None


def unwrap(times_s: Sequence[float], values_j: Sequence[float], can: Plausible) -> Unwrapped:
    """Joules since the first reading.

    Args:
        times_s: Monotonic seconds of each good reading, strictly increasing, shape ``[n]``.
        values_j: What the counter said, same shape.
        can: What the counter can do.

    Returns:
        The believed readings with their totals, the breaks and the strays.
    """
    walk = _Walk(times_s, values_j, can)
    for place in range(1, len(times_s)):
        walk.enter(place)
    return walk.done()


class _Walk:
    """One pass over a counter's readings."""

    def __init__(self, times_s: Sequence[float], values_j: Sequence[float], can: Plausible) -> None:
        self._times_s, self._values_j, self._can = times_s, values_j, can
        self._kept = [0] if times_s else []
        self._totals = [0.0] if times_s else []
        self._breaks, self._strays = list[Break](), list[float]()
        self._moved_s = times_s[0] if times_s else 0.0

    def enter(self, place: int) -> None:
        """Believe one reading, leave it out as a stray, or begin the count anew there."""
        step_j, t_s = self._step_j(place), self._times_s[place]
        if step_j is None and self._is_taken_up_after(place):
            self._strays.append(t_s)
            return
        if step_j is None:
            last = self._kept[-1]
            difference_j = self._values_j[place] - self._values_j[last]
            self._breaks.append(Break(self._times_s[last], t_s, difference_j))
        if step_j != 0.0:
            self._moved_s = t_s
        self._kept.append(place)
        self._totals.append(self._totals[-1] + (step_j or 0.0))

    def done(self) -> Unwrapped:
        """What the pass came to."""
        times_s = [self._times_s[place] for place in self._kept]
        return Unwrapped(times_s, self._totals, tuple(self._breaks), tuple(self._strays))

    def _step_j(self, place: int) -> float | None:
        """Joules from the last believed reading; what was drawn since the last move counts."""
        difference_j = self._values_j[place] - self._values_j[self._kept[-1]]
        return self._can.step_j(difference_j, self._times_s[place] - self._moved_s)

    def _is_taken_up_after(self, odd: int) -> bool:
        """Whether a reading soon after goes on from the last believed one."""
        following = range(odd + 1, min(odd + 1 + _LOOK_AHEAD, len(self._times_s)))
        return any(self._step_j(place) is not None for place in following)
