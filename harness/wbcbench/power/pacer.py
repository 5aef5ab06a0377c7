"""When to poll a meter next: just after its sensor's renewals, or at random places of its period.

A power that is renewed shows nothing new in between, so where it is all there is, polls follow its
renewals: each is then the mean of a period of known place, none is read twice and none is left out.
Polls in time with the sensor do not say where in its period they lie; so whenever that has become
unsure, one more poll just before a renewal is due halves what is open. Counters are followed alike, so
that the time of each step is known; it is polled once between two renewals, or once in several.

Beside a counter a power may be renewed between two polls, so that they are drawn by lot, as are all
where no pace can be told: trapezoids on such polls are right on average for every load, one that
switches in step with them included, and successive differences estimate their error. With less
jitter part of each period would never be looked at, and no length of the run would cure that.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from wbcbench.core.trace import Channel, Kind, Origin
from wbcbench.energy.renewals import LOOSENESSES, RenewalTracker, find_pace_s

JITTER = 0.5  # share of the period, uniform to both sides: the places fill the time
# Sensors that are followed. Faster ones have always renewed by the next poll; slower ones are
# looked at now and then to know when they did.
LEAST_PERIOD_S, MOST_PERIOD_S = 0.01, 0.5
FAST_S = 0.01  # a power without a counter, of a pace that is not known (yet)
USUAL_INTERVAL_S = 0.1  # who asks for longer ones wants fewer polls
FITTING = 2 / 3  # of the pace: polls that are wanted more often than that are not held up

AFTER = 0.3  # of a period after a renewal: neither it nor the next one is missed by a late poll
WITHIN = 0.05, 0.95  # of a period: where a counter is polled, by lot, for a faster power beside it
UNSURE = 0.1  # of a period: one more poll is worth it
SURE_POLLS = 20  # follow each other by the period alone
TELLING = 0.9  # of a period: two polls further apart tell next to nothing of the phase
SPARED = 3  # polls that contradict each other, for a call that was stamped late
APART = 0.75  # of a period: polls further apart are of two renewals
FEWEST_MOVES = 8  # polls of successive renewals that all differed: one that does not is none
PACE_MOVES = 64  # from so many a pace is found


class Pacer:
    """The poll times of one meter.

    Attributes:
        interval_s: Mean time from poll to poll that is aimed at.
        missed: Polls that came too late to be made.
    """

    def __init__(self, channels: Sequence[Channel], interval_s: float, start_s: float) -> None:
        """Choose the channel to follow: the counter, else the power.

        Args:
            channels: The meter's, with the pace of their sensors.
            interval_s: Time between polls in seconds where nothing asks for another.
            start_s: About the time of the first poll.
        """
        measured = [channel for channel in channels if channel.origin is Origin.MEASURED]
        counters = [channel for channel in measured if channel.kind is Kind.COUNTER]
        is_alone = bool(measured) and not counters and interval_s <= USUAL_INTERVAL_S
        self._is_alone = is_alone
        followed = (counters or measured)[:1]
        self._beside = [channel for channel in measured if channel not in followed]
        self.interval_s, self.missed = interval_s, 0
        self._start_s, self._tick = start_s, 0
        self._rng = random.Random(channels[0].name if channels else "")
        self._place = channels.index(followed[0]) if followed else 0
        self._tracker: RenewalTracker | None = None
        self._due_s: float | None = None
        self._last: tuple[float, float] | None = None
        self._in_a_row = 0
        self._renewed_s, self._planned_s, self._sure_polls = start_s, 0.0, 0
        # A pace that is not known yet shows in polls that are faster than it.
        pace_s = channels[self._place].update_s if measured else None
        self._moves_s = deque[float](maxlen=PACE_MOVES if is_alone and not pace_s else 0)
        if is_alone and (pace_s or 0.0) < LEAST_PERIOD_S:
            self.interval_s = FAST_S
        self._step_s = self.interval_s
        if pace_s and self.interval_s != FAST_S:
            self._follow(pace_s, 1 if is_alone else max(round(interval_s / pace_s), 1))

    def _follow(self, pace_s: float, stride: int) -> None:
        """Follow a sensor's renewals, one in ``stride`` of them, if it can be followed."""
        is_sensible = LEAST_PERIOD_S <= pace_s <= MOST_PERIOD_S
        if is_sensible and self.interval_s >= FITTING * pace_s:
            self._step_s, self._stride, self._looseness = stride * pace_s, stride, 0
            self._is_even = stride == 1 and all(
                (channel.update_s or 0.0) >= TELLING * pace_s for channel in self._beside
            )
            if self._is_alone:
                self.interval_s = pace_s
            self._tracker = RenewalTracker(pace_s, self._start_s, LOOSENESSES[0])

    def plan_next_s(self, now_s: float) -> float:
        """When to poll next, in seconds; not before ``now_s``, but for what is over already."""
        if self._due_s is not None:
            due_s, self._due_s = self._due_s, None
            return due_s
        if self._tracker is None:
            return self._draw_s(now_s)
        period_s = self._tracker.period_s
        self._planned_s += period_s
        if self._sure_polls > 0 and self._planned_s > now_s:
            self._sure_polls -= 1
            self._renewed_s += period_s
            return self._planned_s
        if self._stride > 1:
            drawn_s = self._draw_s(now_s)
            low_s, high_s = self._tracker.carry(drawn_s)
        else:
            following_s = self._renewed_s + 1.5 * period_s
            self.missed += max(round((now_s - following_s) / period_s), 0)
            low_s, high_s = self._tracker.carry(max(following_s, now_s))
            self._renewed_s = 0.5 * (low_s + high_s)
            drawn_s = self._renewed_s + self._rng.uniform(*WITHIN) * period_s
        return self._plan_after(now_s, low_s, high_s, drawn_s)

    def _plan_after(self, now_s: float, low_s: float, high_s: float, drawn_s: float) -> float:
        """When to poll after a renewal that lies between two times."""
        assert self._tracker is not None
        period_s, middle_s = self._tracker.period_s, 0.5 * (low_s + high_s)
        due_s = max(middle_s + AFTER * period_s, high_s)
        if high_s - low_s > UNSURE * period_s:
            if self._in_a_row > 0 and middle_s > now_s:
                self._due_s = due_s
                return middle_s
        elif self._is_even:
            self._planned_s, self._sure_polls = due_s, SURE_POLLS
        return due_s if self._is_even else drawn_s

    def _draw_s(self, now_s: float) -> float:
        """A random place in the next period that is not over yet; those in between are missed."""
        due = int((now_s - self._start_s) / self._step_s + JITTER)
        self.missed += max(due - self._tick - 1, 0)
        self._tick = max(due, self._tick + 1)
        return self._start_s + (self._tick + self._rng.random() - JITTER) * self._step_s

    def learn(self, t_s: float, values: Sequence[float | None]) -> None:
        """Enter a poll: its time in seconds and what each channel read."""
        if self._tracker is None and not self._moves_s.maxlen:
            return
        value, last = values[self._place], self._last
        self._last = None if value is None else (t_s, value)
        if value is None or last is None:
            return
        has_moved = value != last[1]
        if self._tracker is None:
            self._find_pace(t_s, has_moved)
        else:
            self._track(self._tracker, last[0], t_s, has_moved)

    def _find_pace(self, t_s: float, has_moved: bool) -> None:
        if has_moved:
            self._moves_s.append(t_s)
            if len(self._moves_s) == PACE_MOVES:
                pace_s = find_pace_s(self._moves_s) or 0.0
                self._moves_s.clear()
                if pace_s > 1.5 * FAST_S:
                    self._follow(pace_s, 1)

    def _track(self, tracker: RenewalTracker, last_s: float, t_s: float, has_moved: bool) -> None:
        step_s = t_s - last_s
        if step_s > APART * tracker.period_s:
            self._in_a_row = self._in_a_row + 1 if has_moved else 0
        if step_s > TELLING * tracker.period_s:
            return
        is_told = has_moved or self._in_a_row >= FEWEST_MOVES
        tracker.follow(last_s, t_s, has_moved if is_told else None)
        if not tracker.is_even(spared=SPARED):
            self._loosen(tracker.period_s, t_s)

    def _loosen(self, period_s: float, t_s: float) -> None:
        """Expect a less even pace; one that is not even at all cannot be followed."""
        self._looseness += 1
        self._start_s, self._tick, self._due_s = t_s, 0, None
        if self._looseness < len(LOOSENESSES):
            self._tracker = RenewalTracker(period_s, t_s, LOOSENESSES[self._looseness])
        else:
            self._tracker = None
            if self._is_alone:  # between polls at random a renewal may be missed
                self._step_s = self.interval_s = max(self.interval_s / 2, FAST_S)
