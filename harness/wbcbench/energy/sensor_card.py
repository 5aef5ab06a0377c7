"""How a sensor behaves, found by watching it closely for two seconds before a run.

Counters step and power readings are renewed at a pace that no interface tells; both bound what a
window's joules can be worth. The pace is seen only while the value moves: a card says what it
could not see, and why, instead of guessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median

from wbcbench.core.record import KindGuess, SensorCard
from wbcbench.core.trace import Channel, Kind, Trace

_FEWEST_MOVES = 8
_LOOSELY, _CLOSELY = 0.2, 0.05  # mean distance from whole renewals; by chance it is 0.25
_MOST_PARTS = 5
_ONE_JUMP = 0.5  # of the whole range within one update: the value is not a long running mean
_WIDE_RANGE = 0.1  # of the mean: less tells nothing of averaging


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
        kind_guess="counter" if is_counter else _kind(trace.channel, update_s, values, moves),
        probed_s=times[-1] - times[0] if times else 0.0,
        polls=len(times),
        reason="" if update_s is not None else _reason(len(times), len(moves)),
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
    for parts in range(1, _MOST_PARTS + 1):
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


def _kind(
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
    if span < _WIDE_RANGE * median(values):
        return "unknown"
    largest = max(abs(size) for _, size in moves)
    return "held" if largest >= _ONE_JUMP * span else "running_average"


def _reason(polls: int, moves: int) -> str:
    """Why no pace could be told."""
    if polls == 0:
        return "no reading succeeded"
    if moves >= _FEWEST_MOVES:
        return "the value moved at no even pace; probe while the device is idle or at steady work"
    return (
        f"the value moved {moves} times only, too few to tell its pace; probe while the device "
        "is at work"
    )
