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

import random
from collections.abc import Mapping, Sequence

from wbcbench.core.trace import Channel, Kind, Origin
from wbcbench.energy.renewals import LOOSENESSES, RenewalTracker, find_pace_s

JITTER = 0.5  # share of the period, uniform to both sides: the places fill the time
# Sensors that are followed. Faster ones have always renewed by the next poll; slower ones are
# looked at now and then to know when they did.
LEAST_PERIOD_S, MOST_PERIOD_S = 0.0095, 0.5
# A power without a counter, of a pace that is not known (yet): as it moves, as it stands still, and
# while its pace is looked for.
FAST_S, QUIET_S, DENSE_S = 0.01, 0.02, 0.002
QUIET_AFTER_S, DENSE_FOR_S, AGAIN_AFTER_S, AGAIN_FACTOR = 1.0, 1.5, 10.0, 4.0
USUAL_INTERVAL_S = 0.1  # who asks for longer ones wants fewer polls
FITTING = 2 / 3  # of the pace: polls that are wanted more often than that are not held up

# Of a period after a renewal: neither it nor the next one is missed by a late poll. Beside a
# counter, where no power is renewed just then.
AFTER, PLACES = 0.3, (0.3, 0.5, 0.7)
WITHIN = 0.05, 0.95  # of a period: where a counter is polled, by lot, for a faster power beside it
UNSURE = 0.1  # of a period: one more poll is worth it
PLANNED_S = 0.5  # ahead, where no poll decides when the next one is worth most
TELLING = 0.9  # of a period: two polls further apart tell next to nothing of the phase
SPARED = 3  # polls that contradict each other, for a call that was stamped late
APART = 0.75  # of a period: polls further apart are of two renewals
FEWEST_MOVES = 8  # polls of successive renewals that all differed: one that does not is none
PACE_MOVES = 64  # are enough to find a pace
FEWEST_HALFWAY = 3  # values between two levels, one pace before the second
STAMP_S = 0.0005  # how well a time stamp of the driver tells its moment
PROVEN = 2  # times that a stamp stood still with its value


class _Sensor:
    """One channel that is followed, poll by poll.

    Attributes:
        period_s: Time between renewals.
        tracker: Where they lie; ``None`` once no even pace explains them.
        has_stood: Whether the last poll showed what the one before did.
    """

    def __init__(self, place: int, pace_s: float, start_s: float) -> None:
        """Begin with no idea of the phase; ``place`` is the channel's among the values."""
        self._place, self.period_s = place, pace_s
        self.tracker: RenewalTracker | None = RenewalTracker(pace_s, start_s, LOOSENESSES[0])
        self._looseness, self._in_a_row, self.has_stood = 0, 0, False
        self._last: tuple[float, float] | None = None

    def learn(self, t_s: float, values: Sequence[float | None]) -> None:
        """Enter a poll."""
        value, last = values[self._place], self._last
        self._last = None if value is None else (t_s, value)
        self.has_stood = False
        if value is None or last is None or self.tracker is None:
            return
        step_s, self.has_stood = t_s - last[0], value == last[1]
        if step_s > APART * self.period_s:
            self._in_a_row = 0 if self.has_stood else self._in_a_row + 1
        if step_s <= TELLING * self.period_s and not (self.has_stood and self.is_quiet):
            self.tracker.follow(last[0], t_s, not self.has_stood)
            self.period_s = self.tracker.period_s
            if not self.tracker.is_even(spared=SPARED):
                self._loosen(t_s)

    @property
    def is_quiet(self) -> bool:
        """Whether a value that stands still may have been renewed."""
        return self._in_a_row < FEWEST_MOVES

    def _loosen(self, t_s: float) -> None:
        """Expect a less even pace; one that is not even at all cannot be followed."""
        self._looseness += 1
        is_left = self._looseness < len(LOOSENESSES)
        looseness = LOOSENESSES[self._looseness] if is_left else None
        self.tracker = RenewalTracker(self.period_s, t_s, looseness) if looseness else None

    def is_sure(self, at_s: float) -> bool:
        """Whether the phase is known well enough."""
        if self.tracker is None:
            return True
        low_s, high_s = self.tracker.carry(at_s)
        return high_s - low_s <= UNSURE * self.period_s

    def find_look_s(self, from_s: float, until_s: float) -> float | None:
        """When one more poll halves what is open of the phase; ``None`` if it is not worth it."""
        if self.tracker is None or not self._in_a_row or self.is_sure(until_s):
            return None
        middle_s = 0.5 * sum(self.tracker.carry(until_s))
        return middle_s if from_s < middle_s < until_s else None


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
        self._channels, self._followed = channels, next(iter((*counters, *measured)), None)
        self._is_alone = bool(measured) and not counters and interval_s <= USUAL_INTERVAL_S
        self.channel = self._followed.name if self._followed else ""
        self.interval_s, self.missed, self._asked_s = interval_s, 0, interval_s
        self.pace_s: float | None = None
        self._rng = random.Random(channels[0].name if channels else "")
        self._sensors: list[_Sensor] = []  # the one that is followed, and one beside it
        self._queue: list[float] = []
        self._step_s, self._start_s, self._tick = interval_s, start_s, 0
        self._stride, self._is_even = 1, False
        self._renewed_s = start_s
        self._last: float | None = None
        self._moves: dict[float, float] = {}
        self._moved_s = self._search_s = start_s
        self._again_s = AGAIN_AFTER_S
        self._stamp_s: float | None = None  # of the poll before
        self._proofs = 0
        pace_s = (self._followed.update_s if self._followed else None) or 0.0
        # A pace that is not known yet shows in polls that are faster than it.
        self._may_search = self._is_alone and not pace_s
        if self._is_alone and pace_s < LEAST_PERIOD_S:
            self.interval_s = FAST_S
        elif pace_s:
            self._follow(pace_s, start_s)
        self._set_step(self._stride * pace_s if self._sensors else self.interval_s, start_s)

    def _follow(self, pace_s: float, start_s: float) -> None:
        """Follow a sensor's renewals, all or one of several, if it can be followed."""
        is_sensible = LEAST_PERIOD_S <= pace_s <= MOST_PERIOD_S
        if self._followed is None or not is_sensible or self._asked_s < FITTING * pace_s:
            return
        self._stride = 1 if self._is_alone else max(round(self._asked_s / pace_s), 1)
        self._renewed_s = start_s
        beside = [c for c in self._channels if c is not self._followed]
        # A power that is renewed as slowly is read at one place of the period, a faster one at any.
        self._is_even = self._stride == 1 and all(
            (channel.update_s or 0.0) >= TELLING * pace_s for channel in beside
        )
        if self._is_alone:
            self.interval_s = pace_s
        for channel in (self._followed, *(beside[:1] if self._is_even else ())):
            own_s = pace_s if channel is self._followed else channel.update_s or pace_s
            place = self._channels.index(channel)
            self._sensors.append(_Sensor(place, own_s, start_s))

    def plan(self, now_s: float) -> list[float]:
        """When to poll next, in seconds, in order: once, or for a while ahead.

        After ``now_s``, but for a poll that is late already.
        """
        if self._queue:
            return [self._queue.pop()]
        due_s = self._find_due_s(now_s)
        looks_s = [sensor.find_look_s(now_s, due_s) for sensor in self._sensors]
        if any(looks_s):
            if not self._is_even:  # a pair of polls, less than a period apart
                due_s = min(due_s, max(filter(None, looks_s)) + APART * self._sensors[0].period_s)
            self._queue = sorted((due_s, *filter(None, looks_s)), reverse=True)
            return [self._queue.pop()]
        if self._may_search or not all(sensor.is_sure(due_s) for sensor in self._sensors[:1]):
            return [due_s]
        self._stamp_s = None
        return self._plan_ahead(due_s)

    def _plan_ahead(self, due_s: float) -> list[float]:
        """More polls after a first one: nothing is to be learned in between."""
        if self._sensors and self._is_even:
            period_s = self._sensors[0].period_s
            more = max(int(PLANNED_S / period_s) - 1, 0)
            self._renewed_s += more * period_s
            return [due_s + i * period_s for i in range(more + 1)]
        times_s = [due_s]
        while times_s[-1] < due_s + PLANNED_S - 1.5 * self._step_s:
            times_s.append(self._find_due_s(times_s[-1]))
        return times_s

    def _find_due_s(self, now_s: float) -> float:
        """When the next poll is due, if none is worth more before it."""
        tracker = self._sensors[0].tracker if self._sensors and self._stride == 1 else None
        return self._place_s(now_s, tracker) if tracker else self._draw_s(now_s)

    def _place_s(self, now_s: float, tracker: RenewalTracker) -> float:
        """When to poll in the period after the next renewal."""
        following_s = self._renewed_s + 1.5 * tracker.period_s
        self.missed += max(round((now_s - following_s) / tracker.period_s), 0)
        low_s, high_s = tracker.carry(max(following_s, now_s))
        self._renewed_s = 0.5 * (low_s + high_s)
        share = self._choose_share() if self._is_even else self._rng.uniform(*WITHIN)
        return max(self._renewed_s + share * tracker.period_s, high_s)

    def _choose_share(self) -> float:
        """Where in the period to poll: of a counter's, far from renewals of the power beside it."""
        other = self._sensors[1].tracker if len(self._sensors) > 1 else None
        if other is None:
            return AFTER
        low_s, high_s = other.carry(self._renewed_s + other.period_s)
        off = (0.5 * (low_s + high_s) - self._renewed_s) / other.period_s
        return min(PLACES, key=lambda place: abs((place - off) % 1 - 0.5))

    def _draw_s(self, now_s: float) -> float:
        """A random place in the next period that is not over yet; those in between are missed."""
        due = int((now_s - self._start_s) / self._step_s + JITTER)
        self.missed += max(due - self._tick - 1, 0)
        self._tick = max(due, self._tick + 1)
        return self._start_s + (self._tick + self._rng.random() - JITTER) * self._step_s

    def _set_step(self, step_s: float, t_s: float) -> None:
        """Draw from now on one poll in each so many seconds."""
        self._step_s, self._start_s, self._tick = step_s, t_s, 0

    def learn(self, t_s: float, values: Sequence[float | None]) -> None:
        """Enter a poll: its time in seconds and what each channel read."""
        if self._may_search:
            self._search_pace(t_s, values[0])
        for sensor in self._sensors:
            sensor.learn(t_s, values)
        if self._sensors and self._sensors[0].tracker is None:
            self._give_up(t_s)

    def _give_up(self, t_s: float) -> None:
        """Poll by lot; of a power alone so often that hardly a renewal is missed."""
        self._sensors, self._queue, self.pace_s = [], [], None
        if self._is_alone:
            self.interval_s = max(self.interval_s / 2, FAST_S)
        self._set_step(self.interval_s, t_s)

    def _search_pace(self, t_s: float, value: float | None) -> None:
        """Look densely at a power that moves; its pace shows in when it does."""
        if value is None:
            return
        last, self._last = self._last, value
        has_moved, is_dense = last not in (None, value), self._step_s == DENSE_S
        if has_moved:
            self._moved_s = t_s
            self._moves[t_s] = value
        if is_dense and (t_s > self._search_s or len(self._moves) == PACE_MOVES):
            self._search_s, self._again_s = t_s + self._again_s, AGAIN_FACTOR * self._again_s
            self._set_step(FAST_S, t_s)
            if pace_s := _find_own_pace_s(self._moves):
                self.pace_s, self._may_search = pace_s, False
                self._follow(pace_s, t_s)
        elif has_moved and not is_dense and t_s >= self._search_s:
            self._moves, self._search_s = {}, t_s + DENSE_FOR_S
            self._set_step(DENSE_S, t_s)
        elif not is_dense:
            is_quiet = t_s > self._moved_s + QUIET_AFTER_S
            if (self._step_s == QUIET_S) != is_quiet:
                self._set_step(QUIET_S if is_quiet else FAST_S, t_s)

    @property
    def wants_stamp(self) -> bool:
        """Whether the driver's time stamp may help: the phase is unsure, or stamps unproven."""
        return bool(self._sensors) and self._proofs >= 0

    def learn_stamp(self, t_s: float, stamp_s: float, wall_s: float) -> None:
        """Enter when a driver says that the sensor that is followed was read.

        Args:
            t_s: The poll that was entered last.
            stamp_s: The driver's seconds, of the wall clock by its documentation.
            wall_s: The wall clock at that poll.
        """
        sensor = self._sensors[0]
        before_s, self._stamp_s = self._stamp_s, stamp_s
        if sensor.has_stood and before_s == stamp_s:
            self._proofs += 1
        elif sensor.has_stood and before_s and not sensor.is_quiet:
            self._proofs = -1  # it is the time of the call
        age_s = min((t_s - stamp_s, wall_s - stamp_s), key=abs)
        if self._proofs >= PROVEN and sensor.tracker and 0 <= age_s < sensor.period_s:
            sensor.tracker.narrow((t_s - age_s - STAMP_S, t_s - age_s + STAMP_S), t_s)


def _find_own_pace_s(moves: Mapping[float, float]) -> float | None:
    """The pace of a sensor, from each time it moved and to what; ``None`` if it shows none.

    Few levels again and again are a load's, and so may be their pace; but a mean of a period stops
    halfway between two of them, and moves on a period later.
    """
    times, values = list(moves), list(moves.values())
    pace_s = find_pace_s(times) if len(times) >= FEWEST_MOVES else None
    if pace_s is None or 2 * len(set(values)) > len(values):
        return pace_s
    halfway = sum(
        min(values[i - 1], values[i + 1]) < values[i] < max(values[i - 1], values[i + 1])
        and abs(times[i + 1] - times[i] - pace_s) < (1 - TELLING) * pace_s + DENSE_S
        for i in range(1, len(times) - 1)
    )
    return pace_s if halfway >= FEWEST_HALFWAY else None
