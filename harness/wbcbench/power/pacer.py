"""When to poll a meter next: just after its sensor's renewals, or at random places of its period.

A power that is renewed shows nothing new in between, so where it is all there is, polls follow its
renewals: each is then the mean of a period of known place, none is read twice and none is left out.
Polls in time with the sensor do not say where in its period they lie; so whenever that has become
unsure, one more poll just before a renewal is due halves what is open, and the driver's own time
stamps close it where they prove to be those of renewals. Counters are followed alike, so that the
time of each step is known; they are polled once between two renewals, or once in several.

Beside a counter a power may be renewed between two polls, so that they are drawn by lot, as are all
where no pace can be told: trapezoids on such polls are right on average for every load, one that
switches in step with them included, and successive differences estimate their error. With less
jitter part of each period would never be looked at, and no length of the run would cure that.

A power alone whose pace the probe did not show, because it stood still, is polled densely for a
moment once it moves: its pace shows then.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from wbcbench.core.trace import Channel, Kind, Origin
from wbcbench.energy.renewals import LOOSENESSES, RenewalTracker, find_pace_s

JITTER = 0.5  # share of the period, uniform to both sides: the places fill the time
# Sensors that are followed. Faster ones have always renewed by the next poll; slower ones are
# looked at now and then to know when they did.
LEAST_PERIOD_S, MOST_PERIOD_S = 0.0095, 0.5
# A power without a counter, of a pace that is not known (yet): as it moves, as it stands still, and
# while its pace is looked for.
FAST_S, QUIET_S, DENSE_S = 0.01, 0.02, 0.002
QUIET_AFTER_S, DENSE_FOR_S, AGAIN_AFTER_S = 1.0, 1.5, 10.0
USUAL_INTERVAL_S = 0.1  # who asks for longer ones wants fewer polls
FITTING = 2 / 3  # of the pace: polls that are wanted more often than that are not held up

AFTER = 0.3  # of a period after a renewal: neither it nor the next one is missed by a late poll
WITHIN = 0.05, 0.95  # of a period: where a counter is polled, by lot, for a faster power beside it
UNSURE = 0.1, 0.25  # of a period, of a power and of a counter: one more poll is worth it
SURE_POLLS = 20  # follow each other by the period alone
TELLING = 0.9  # of a period: two polls further apart tell next to nothing of the phase
SPARED = 3  # polls that contradict each other, for a call that was stamped late
APART = 0.75  # of a period: polls further apart are of two renewals
FEWEST_MOVES = 8  # polls of successive renewals that all differed: one that does not is none
PACE_MOVES = 64  # are enough to find a pace
STAMP_S = 0.001  # how well a time stamp of the driver tells its moment
PROVEN = 2  # times that a stamp stood still with its value


class Pacer:
    """The poll times of one meter.

    Attributes:
        interval_s: Mean time from poll to poll that is aimed at.
        missed: Polls that came too late to be made.
        channel: Name of the channel that is followed; empty if none is measured.
        pace_s: How often it is renewed, in seconds, where the polls have shown it; else ``None``.
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
        self.channel = followed[0].name if followed else ""
        self.pace_s: float | None = None
        self._asked_s = interval_s
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
        self._is_paced = pace_s is not None or not is_alone
        self._moves: dict[float, float] = {}
        self._moved_s = self._search_s = start_s
        self._stamp_s, self._proofs, self._has_stood = math.nan, 0, False
        if is_alone and (pace_s or 0.0) < LEAST_PERIOD_S:
            self.interval_s = FAST_S
        self._step_s = self.interval_s
        if pace_s and self.interval_s != FAST_S:
            self._follow(pace_s, 1 if is_alone else max(round(interval_s / pace_s), 1))

    def _follow(self, pace_s: float, stride: int) -> None:
        """Follow a sensor's renewals, one in ``stride`` of them, if it can be followed."""
        is_sensible = LEAST_PERIOD_S <= pace_s <= MOST_PERIOD_S
        if is_sensible and self._asked_s >= FITTING * pace_s:
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
        if high_s - low_s > UNSURE[not self._is_alone] * period_s:
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
        if self._tracker is None and self._is_paced:
            return
        value, last = values[self._place], self._last
        self._last = None if value is None else (t_s, value)
        if value is None or last is None:
            return
        has_moved = value != last[1]
        if self._tracker is None:
            self._search_pace(t_s, value, has_moved)
        else:
            self._track(self._tracker, last[0], t_s, has_moved)

    def _search_pace(self, t_s: float, value: float, has_moved: bool) -> None:
        """Look densely at a power that moves; its pace shows in when it does."""
        if has_moved:
            self._moved_s = t_s
            self._moves[t_s] = value
        is_dense = self._step_s == DENSE_S
        if is_dense and (t_s > self._search_s or len(self._moves) == PACE_MOVES):
            # Few levels again and again are the load's, and so is their pace.
            is_own = 2 * len(set(self._moves.values())) > len(self._moves) >= FEWEST_MOVES
            pace_s = find_pace_s(list(self._moves)) if is_own else None
            self._search_s = t_s + AGAIN_AFTER_S
            self._set_step(FAST_S, t_s)
            if pace_s:
                self._renewed_s, self.pace_s = t_s, pace_s
                self._follow(pace_s, 1)
        elif has_moved and not is_dense and t_s >= self._search_s:
            self._moves, self._search_s = {}, t_s + DENSE_FOR_S
            self._set_step(DENSE_S, t_s)
        elif not is_dense:
            is_quiet = t_s > self._moved_s + QUIET_AFTER_S
            if (self._step_s == QUIET_S) != is_quiet:
                self._set_step(QUIET_S if is_quiet else FAST_S, t_s)

    def _set_step(self, step_s: float, t_s: float) -> None:
        self._step_s, self._start_s, self._tick = step_s, t_s, 0

    @property
    def wants_stamp(self) -> bool:
        """Whether the driver's time stamp may help: the phase is unsure, or stamps unproven."""
        return self._tracker is not None and self._proofs >= 0 and not self._sure_polls

    def learn_stamp(self, t_s: float, stamp_s: float, wall_s: float) -> None:
        """Enter when a driver says that its sensor was read.

        Args:
            t_s: The poll that was entered last.
            stamp_s: The driver's seconds, of the wall clock by its documentation.
            wall_s: The wall clock at that poll.
        """
        assert self._tracker is not None
        is_same, self._stamp_s = stamp_s == self._stamp_s, stamp_s
        if self._in_a_row >= FEWEST_MOVES and self._has_stood and not is_same:
            self._proofs = -1  # it is the time of the call
        self._proofs += self._has_stood and is_same and self._proofs >= 0
        age_s = min((t_s - stamp_s, wall_s - stamp_s), key=abs)
        if self._proofs >= PROVEN and 0 <= age_s < self._tracker.period_s:
            self._tracker.narrow((t_s - age_s - STAMP_S, t_s - age_s + STAMP_S))

    def _track(self, tracker: RenewalTracker, last_s: float, t_s: float, has_moved: bool) -> None:
        step_s, self._has_stood = t_s - last_s, not has_moved
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
