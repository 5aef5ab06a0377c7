"""Where the renewals of a sensor lie over a whole trace, by its phase before and after each poll.

A long trace is followed in stretches side by side. While a tracker corrects no period, what it
knows of the phase is soon that of its last few polls, wherever it began: each stretch begins anew
where the one before it has ended until that changes nothing. Every step is the arithmetic of
``RenewalTracker``, so that the spans are its own to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from wbcbench.core.arrays import Flags, Floats, as_array, np
from wbcbench.energy import thresholds
from wbcbench.energy.renewals import (
    ANCHORED,
    LOOSENESSES,
    MOST_CONTRADICTED,
    Looseness,
    RenewalTracker,
    find_slow_pace_s,
)

FEWEST_TELLING = 2  # polls that enclose a renewal
FEWEST_MOVES = 8  # in a row, after which a value that stands still was not renewed
APART = 0.5  # of a period: renewals that are no further apart are one

# Fewer polls than these are followed one by one, so many at once, and more where side by side went
# wrong. Stretches are so long, and are gone through so often.
FEWEST_SIDE_BY_SIDE, MOST_SIDE_BY_SIDE, ALONE, MOST_ALONE = 8192, 262_144, 1024, 32_768
SHORTEST, LONGEST, MOST_TURNS = 64, 256, 6

# Windows, pairs and checks ask the same of one run's traces again and again.
_REMEMBERED, _MOST_REMEMBERED = 32, 20_000


def place_renewals(
    times_s: Sequence[float], moves: Sequence[bool] | Flags, update_s: float | None
) -> tuple[float, Floats]:
    """A counter's pace, and where the renewal before each poll lies.

    Args:
        times_s: Seconds of each poll, as in ``find_renewals``.
        moves: Whether the value differs, as there.
        update_s: The pace; ``None`` if unknown: it is then taken to move about its polls, or where
            they show that it is slow, between them.
    """
    if update_s:
        return update_s, find_renewals(times_s, np.asarray(moves, np.int8), update_s)
    times, moved = as_array(times_s), np.asarray(moves, np.bool_)
    slow_s = find_slow_pace_s(times.tolist(), moved.tolist())
    if slow_s is None:
        half_s = thresholds.COUNTER_UPDATE_S / 2
        return thresholds.COUNTER_UPDATE_S, np.column_stack((times - half_s, times + half_s))
    # What the first poll read is of one period before the first move.
    first_s = min(times[1:][moved[1:]][0] - slow_s, times[0])
    lows, highs = np.append(first_s, times[:-1]), np.append(first_s, times[1:])
    return slow_s, np.column_stack((lows, highs))


def tell_moves(times_s: Sequence[float], values: Sequence[float], period_s: float) -> Any:
    """Whether each reading moved, 1 or 0; −1 where equal readings may be two.

    They are one where all around have moved whenever they were a period apart.
    """
    times, moved = as_array(times_s), find_moves(values)
    apart = np.flatnonzero(np.diff(times, prepend=-math.inf) > 0.75 * period_s)
    apart = apart[apart > 0]
    # Moves in a row, counted at polls a period apart: since the last of them that did not move.
    count, stood = np.arange(1, len(apart) + 1), ~moved[apart]
    in_a_row = count - np.maximum.accumulate(np.where(stood, count, 0)) if len(apart) else count
    latest = np.searchsorted(apart, np.arange(len(times)), side="right") - 1
    known = np.append(in_a_row, 0)[latest] >= FEWEST_MOVES  # −1, before the first: the 0
    return np.where(moved, 1, np.where(known, 0, -1)).astype(np.int8)


def find_moves(values: Sequence[float] | Floats) -> Flags:
    """Whether each reading differs from the one before; the first counts as a move."""
    numbers = as_array(values)
    return np.append(np.ones(min(len(numbers), 1), np.bool_), numbers[1:] != numbers[:-1])


def are_among(values: Floats, few: Sequence[float] | Floats) -> Flags:
    """Which of the values are some of a few; ``numpy.isin`` would sort them all."""
    sorted_few = np.append(np.sort(as_array(few)), math.nan)
    among: Flags = sorted_few[np.searchsorted(sorted_few, values)] == values
    return among


def find_renewals(times_s: Sequence[float] | Floats, moves: Any, period_s: float) -> Floats:
    """Where the last renewal before each poll lies, as an earliest and a latest time (95 %).

    Args:
        times_s: Seconds of each poll, strictly increasing, shape ``[n]``.
        moves: Whether the value differs from that of the poll before, shape ``[n]``; −1, or
            ``None``, where that tells nothing. The first counts for nothing, and so does what comes
            out for polls without a move.
        period_s: Time between renewals, right within a thousandth or so.

    Returns:
        Shape ``[n, 2]``.
    """
    if not isinstance(moves, np.ndarray):
        moves = np.array([-1 if moved is None else moved for moved in moves], np.int8)
    times = as_array(times_s)
    is_short = len(times) <= _MOST_REMEMBERED
    find = _find_renewals if is_short else _find_renewals.__wrapped__
    return find(times.tobytes(), moves.astype(np.int8).tobytes(), period_s)


@lru_cache(maxsize=_REMEMBERED)
def _find_renewals(packed_s: bytes, packed_moves: bytes, period_s: float) -> Floats:
    times, moves = np.frombuffer(packed_s), np.frombuffer(packed_moves, np.int8)
    moves = _drop_stands(times, moves, period_s)
    before_s = np.append(-math.inf, times[:-1])
    pairs = np.maximum(times - period_s, before_s), times
    mirrored = np.append(np.int8(0), moves[:0:-1])
    for looseness in LOOSENESSES:
        forward = follow_phase(times, moves, period_s, looseness)
        backward = follow_phase(-times[::-1], mirrored, period_s, looseness) if forward else None
        if forward and backward:
            other = -backward[1][::-1], -backward[0][::-1]
            for first in range(0, len(times), MOST_SIDE_BY_SIDE):
                some = slice(first, first + MOST_SIDE_BY_SIDE)
                span = [each[some] for each in forward]
                *both, are_apart = _intersect(span, [each[some] for each in other], period_s)
                span = [np.where(are_apart, *each) for each in zip(span, both, strict=True)]
                pair = [each[some] for each in pairs]
                placed = _place_renewals(span, pair, period_s, looseness.slack * period_s)
                forward[0][some], forward[1][some] = placed
            return np.column_stack(_part_renewals(forward, times, moves, period_s))
    return np.column_stack(pairs)


def _drop_stands(times: Floats, moves: Any, period_s: float) -> Any:
    """The moves, without what a value tells while it stands still for longer than a period."""
    firsts = np.append(0, np.flatnonzero(moves[1:] > 0) + 1)
    lengths = np.diff(firsts, append=len(moves))
    is_long = times[firsts + lengths - 1] > times[firsts] + period_s
    lost = np.repeat(is_long, lengths)
    lost[firsts] = False
    return np.where(lost, np.int8(-1), moves)


def follow_phase(
    times: Floats, moves: Any, period_s: float, looseness: Looseness
) -> tuple[Floats, Floats] | None:
    """Where a renewal lies near each poll, give or take periods; ``None`` if polls contradict."""
    tracker = RenewalTracker(period_s, float(times[0]), looseness)
    # No correction of the period makes more polls than these tell something.
    are_near = (np.diff(times) < 1.1 * period_s) & (moves[1:] > 0)
    most_telling = int(are_near.sum())
    if most_telling < FEWEST_TELLING:
        return None
    lows, highs = np.empty(len(times)), np.empty(len(times))
    lows[0], highs[0] = tracker.span
    place, size, alone = 1, FEWEST_SIDE_BY_SIDE, ALONE
    while place < len(times):
        if tracker.contradicted > MOST_CONTRADICTED * most_telling:
            return None
        stop = min(place + size, len(times))
        if stop - place >= FEWEST_SIDE_BY_SIDE:
            began, span = place, (lows[place:stop], highs[place:stop])
            place += _follow_side_by_side(tracker, times[place - 1 : stop], moves[place:stop], span)
            is_worth_it = 2 * place > began + stop
            size = min(4 * size, MOST_SIDE_BY_SIDE) if is_worth_it else FEWEST_SIDE_BY_SIDE
            alone = ALONE if is_worth_it else min(2 * alone, MOST_ALONE)
        stop = min(place + alone, len(times) if alone > ALONE else stop)
        polls = times[place - 1 : stop].tolist(), moves[place:stop].tolist()
        lows[place:stop], highs[place:stop] = _follow_singly(tracker, *polls)
        place = stop
    is_known = tracker.is_even() and tracker.telling >= FEWEST_TELLING
    return (lows, highs) if is_known else None


def _follow_singly(
    tracker: RenewalTracker, times: list[float], moves: list[int]
) -> tuple[list[float], list[float]]:
    """Follow polls one by one; the first time is that of the poll before them."""
    lows, highs, before_s = list[float](), list[float](), times[0]
    for t_s, moved in zip(times[1:], moves, strict=True):
        tracker.follow(before_s, t_s, None if moved < 0 else moved > 0)
        low_s, high_s = tracker.carry(t_s)
        lows.append(low_s)
        highs.append(high_s)
        before_s = t_s
    return lows, highs


def _follow_side_by_side(
    tracker: RenewalTracker, times: Floats, moves: Any, span: tuple[Floats, Floats]
) -> int:
    """Follow polls in stretches of equal length, and enter their spans; returns how many.

    The first time is that of the poll before them. They end early at a poll that corrects the
    period, or that contradicts those before, where that makes it less sure.
    """
    (before_s, times), period_s = (times[:-1], times[1:]), tracker.period_s
    tells = (times - before_s < period_s) & (moves >= 0)
    places = np.flatnonzero(tells)
    length = min(max(int(math.sqrt(len(places)) / 2), SHORTEST), LONGEST)
    lanes = len(places) // length
    if not lanes:
        return 0
    used = places[: lanes * length]
    t_s, has_moved = times[used], moves[used] > 0
    low_s = np.where(has_moved, before_s[used], t_s - period_s) - tracker.slack_s
    high_s = np.where(has_moved, t_s, before_s[used]) + tracker.slack_s
    # One row a step, one column a stretch.
    rows = [each.reshape(lanes, length).T.copy() for each in (t_s, low_s, high_s)]
    states, apart = np.empty((2, length, lanes)), np.empty((length, lanes), np.bool_)
    active, begin = np.arange(lanes), np.stack((rows[0][0] - period_s, rows[0][0]))
    begin[:, 0] = tracker.span  # of the others nothing is known
    for turn in range(MOST_TURNS):
        ended = states[:, -1, active]
        state: Any = begin
        for step in range(length):
            at_s, *allowed = (row[step, active] for row in rows)
            *both, is_apart = _intersect(_carry(tracker, state, at_s), allowed, period_s)
            state = [np.where(is_apart, own, cut) for own, cut in zip(allowed, both, strict=True)]
            states[:, step, active], apart[step, active] = state, is_apart
        has_changed = (np.array(state) != ended).any(0) | (turn == 0)
        following = has_changed & (active < lanes - 1)
        begin, active = np.array(state)[:, following], active[following] + 1
        if not active.size:
            break
    known = int(active[0] if active.size else lanes) * length
    lows, highs = (each.T.reshape(-1)[:known] for each in states)
    contradictions = apart.T.reshape(-1)[:known]
    is_other = contradictions & (not tracker.is_fixed)
    if not tracker.is_settled:
        # The narrowest span so far is the anchor; with one as narrow, the period is corrected.
        anchors_s = np.minimum.accumulate(np.append(tracker.anchor_width_s, highs - lows))[:-1]
        is_other |= 0.5 * (anchors_s + highs - lows) <= ANCHORED * period_s
    if is_other.any():
        known = int(is_other.argmax())
        lows, highs, contradictions = lows[:known], highs[:known], contradictions[:known]
    end = int(places[known]) if known < len(places) else len(times)
    latest = np.cumsum(tells[:end]) - 1  # −1 before the first: the tracker's own, which is put last
    kept = [np.append(*pair)[latest] for pair in zip((lows, highs), tracker.span, strict=True)]
    span[0][:end], span[1][:end] = _carry(tracker, kept, times[:end])
    if known:
        narrowest = int((highs - lows).argmin())
        last, best = ((float(lows[i]), float(highs[i])) for i in (-1, narrowest))
        tracker.jump(last, best, int(has_moved[:known].sum()), int(contradictions.sum()))
    return end


def _carry(tracker: RenewalTracker, span: Any, t_s: Floats) -> tuple[Floats, Floats]:
    """``RenewalTracker.carry`` of many spans."""
    period_s, (low_s, high_s) = tracker.period_s, span
    passed_s = np.floor((t_s - low_s) / period_s) * period_s
    low_s = low_s + passed_s * (1 - tracker.drift)
    high_s = high_s + passed_s * (1 + tracker.drift)
    is_open = high_s - low_s >= period_s
    return np.where(is_open, t_s - period_s, low_s), np.where(is_open, t_s, high_s)


def _intersect(span: Any, other: Any, period_s: float) -> tuple[Floats, Floats, Flags]:
    """What ``RenewalTracker`` takes for both of many spans, and where no part of them is in both.

    Where there is none, the second span comes out.
    """
    (first_s, last_s), (earliest_s, latest_s) = span, other
    nearest = np.rint((earliest_s + latest_s - first_s - last_s) / (2 * period_s))
    is_one = last_s - first_s + latest_s - earliest_s < period_s
    low_s, high_s = earliest_s, latest_s
    parts: Any = 0
    for periods in (nearest, nearest - 1, nearest + 1):
        shift_s = periods * period_s
        part = np.maximum(first_s, earliest_s - shift_s), np.minimum(last_s, latest_s - shift_s)
        is_part = part[0] <= part[1]
        is_part = is_part if periods is nearest else is_part & ~is_one
        low_s, high_s = np.where(is_part, part[0], low_s), np.where(is_part, part[1], high_s)
        parts = parts + is_part
    is_narrower = last_s - first_s <= latest_s - earliest_s
    low_s = np.where(parts > 1, np.where(is_narrower, first_s, earliest_s), low_s)
    high_s = np.where(parts > 1, np.where(is_narrower, last_s, latest_s), high_s)
    return low_s, high_s, parts == 0


def _place_renewals(span: Any, pair: Any, period_s: float, slack_s: float) -> tuple[Floats, Floats]:
    """The last renewal of each phase before its poll, within what its own pair allows."""
    shift_s = np.floor((pair[1] + slack_s - 0.5 * (span[0] + span[1])) / period_s) * period_s
    low_s, high_s = span[0] + shift_s - slack_s, span[1] + shift_s + slack_s
    # Where the phase leaves open whether it has renewed just before the poll, the pair decides.
    is_sure = (high_s <= pair[1] + 3 * slack_s) & (low_s + period_s >= pair[1] - 3 * slack_s)
    low_s, high_s = np.maximum(low_s, pair[0]), np.minimum(high_s, pair[1])
    is_sure &= low_s <= high_s
    # All that is possible if the sensor drifts as far as it may; likely is the middle half.
    quarter_s = 0.25 * (high_s - low_s)
    return (
        np.where(is_sure, low_s + quarter_s, pair[0]),
        np.where(is_sure, high_s - quarter_s, pair[1]),
    )


def _part_renewals(
    spans: tuple[Floats, Floats], times: Floats, moves: Any, period_s: float
) -> tuple[Floats, Floats]:
    """The spans, none of them nearer to the next than a period.

    A poll about when a renewal was due may have read the value before it or after. If the next poll
    moved again at once, it was before: what it read was renewed a period earlier.
    """
    low_s, high_s = spans
    moved = np.flatnonzero(moves[1:] > 0) + 1
    lows, highs = low_s[moved], high_s[moved]
    has_room = (highs - lows < APART * period_s) & (lows - period_s >= times[moved - 1])
    for i in np.flatnonzero(has_room)[::-1].tolist():
        place, next_s = moved[i], high_s[moved[i + 1]] if i + 1 < len(moved) else math.inf
        if next_s - low_s[place] < APART * period_s:
            low_s[place] -= period_s
            high_s[place] -= period_s
    return low_s, high_s
