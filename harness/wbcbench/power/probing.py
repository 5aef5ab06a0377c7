"""The pace of each sensor: found by reading it densely, or known from an earlier card.

Counters step and power readings are renewed at a pace that no interface states; both limit the
accuracy of a window's joules. A card says how often a sensor is renewed and by how much; the pace
shows only while the value moves, and of what is unknown it says why. It belongs to one board and
driver, and is kept in the user's cache folder for a day, and one that known loads have found
(``doctor --acceptance``) until driver or readings change. One that cannot be read, or is of
something else, is ignored, and so is one whose pace the sensor does not show again within some
renewals.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter

from wbcbench.core.cache import cache_root
from wbcbench.core.files import write_atomically
from wbcbench.core.record import KindGuess, SensorCard
from wbcbench.core.strict_json import read_document
from wbcbench.core.trace import Channel, Kind, Origin, Trace
from wbcbench.core.window import Clock
from wbcbench.energy.renewals import (
    FEWEST_EVEN_MOVES,
    FEWEST_MOVES,
    LOOSELY,
    Span,
    find_pace_s,
    list_moves,
    median_step_s,
    refine_pace,
)
from wbcbench.energy.uncertainty import JUMP_SHARE, WIDE_RANGE_SHARE
from wbcbench.power.meter import EnergyMeter

PROBE_S = 2.0
QUICK_S = 0.85
QUICK_POLL_S = 0.0005
MOST_PROBE_S = 8.0  # for a reading that moves slowly and has no counter beside it
POLL_S = 0.001  # NVML answers in tens of microseconds: the machine stays nearly idle
PATIENCE_S = 3.0  # a driver that hangs longer has no card; the sampler's handshake deals with it

OLDEST_CARD_S = 86_400.0
FEWEST_CONFIRMING, CONFIRMED = 4, 0.01  # moves, and how well they must tell the pace, as a share
CARD_ERROR = 0.001  # of its pace
SHARP = 3.0  # times the usual time between two polls
MOST_LEFT_OUT = 1.5  # times the usual time between moves: a longer pace leaves renewals out
_FOLDER, _ACTIVE = "sensor-cards", "active-"
_UUID = re.compile(r"[A-Za-z0-9-]{8,80}")


def probe_sensors(
    meters: Sequence[EnergyMeter],
    clock: Clock,
    *,
    is_quick: bool = False,
    uses_known: bool = False,
) -> tuple[SensorCard, ...]:
    """A card for each channel of a sensor, all meters at once; takes as long as one probe.

    What the cards say goes into the channels, and from there into every stated uncertainty. Models
    have no sensor, and a meter with a period of its own knows its sensor's pace.

    Args:
        meters: Entered meters; their sampler must not run yet.
        clock: Source of time.
        is_quick: End as soon as each pace is known.
        uses_known: Take the known cards of a board (``load_cards``) as soon as its sensors confirm
            them.
    """
    cards: dict[int, tuple[SensorCard, ...]] = {}

    def write_cards(place: int, meter: EnergyMeter) -> None:
        known = load_cards(meter) if uses_known else ()
        found = probe(meter, clock, most_s=MOST_PROBE_S, is_quick=is_quick, known=known)
        if found is not known:
            store_cards(meter, found)
        cards[place] = found

    threads = [
        threading.Thread(target=write_cards, args=(place, meter), name="probe", daemon=True)
        for place, meter in enumerate(meters)
        if meter.interval_s is None
        and any(channel.origin is Origin.MEASURED for channel in meter.channels)
    ]
    for thread in threads:
        thread.start()
    most_s = max((MOST_PROBE_S if _list_alone(meter) else PROBE_S for meter in meters), default=0.0)
    end_s = clock.now_s() + most_s + PATIENCE_S
    for thread in threads:
        thread.join(max(end_s - clock.now_s(), 0.0))
    return tuple(card for place in sorted(cards) for card in cards[place])


def probe(
    meter: EnergyMeter,
    clock: Clock,
    for_s: float = PROBE_S,
    most_s: float = 0.0,
    *,
    is_quick: bool = False,
    known: tuple[SensorCard, ...] = (),
) -> tuple[SensorCard, ...]:
    """Read an entered meter as fast as is sensible and write a card for each channel.

    Args:
        meter: Its sampler must not run yet.
        clock: Source of time.
        for_s: Length of the probe in seconds; a call that hangs makes it longer.
        most_s: Its length where a power without a counter beside it has moved by then, but too
            seldom to show a pace: one that stands still shows none, however long it is looked at.
        is_quick: End after ``QUICK_S`` where each counter, and each power without one, has moved
            often enough by then, and look more often: a pace must be right within a thousandth.
        known: Cards of an earlier probe, one a channel: they are returned once what is seen shows
            the same paces.
    """
    times: list[float] = []
    rows: list[Sequence[float | None]] = []
    alone = [meter.channels.index(channel) for channel in _list_alone(meter)]
    needed = [meter.channels.index(channel) for channel in _list_needed(meter)]
    moves_s: list[list[Span]] = [[] for _ in meter.channels]
    start_s = clock.now_s()
    while (now_s := clock.now_s()) < start_s + for_s or (
        now_s < start_s + most_s
        and any(0 < len(moves_s[place]) < FEWEST_EVEN_MOVES for place in alone)
    ):
        row = meter.read()
        for place, value in enumerate(row if rows else ()):
            if value != rows[-1][place]:
                moves_s[place].append((times[-1], clock.now_s()))
        if known and all(_confirms(moves_s[place], known[place].update_s) for place in needed):
            return known
        rows.append(row)
        times.append(now_s)
        is_enough = all(len(moves_s[place]) >= FEWEST_MOVES for place in needed)
        if is_quick and is_enough and now_s >= start_s + QUICK_S:
            break
        clock.sleep_until(now_s + (QUICK_POLL_S if is_quick else POLL_S))
    columns = zip(meter.channels, zip(*rows, strict=True), strict=True)
    return tuple(make_sensor_card(Trace(channel, times, values)) for channel, values in columns)


def list_usual(channels: Sequence[Channel]) -> list[Channel]:
    """Of every reading of a board those that a run has: the first counter and the first power."""
    first = dict[tuple[str, Kind], Channel]()
    for channel in channels:
        first.setdefault((channel.device or channel.name, channel.kind), channel)
    return [*first.values()]


def _list_alone(meter: EnergyMeter) -> list[Channel]:
    """Measured power of devices that have no counter: its sensor's pace and delay matter most."""
    counted = {c.device for c in meter.channels if c.kind is Kind.COUNTER}
    measured = (c for c in list_usual(meter.channels) if c.origin is Origin.MEASURED)
    return [channel for channel in measured if channel.device not in counted]


def _list_needed(meter: EnergyMeter) -> list[Channel]:
    """Those whose pace must be known: the sampler follows it."""
    counters = [channel for channel in meter.channels if channel.kind is Kind.COUNTER]
    return [*counters, *_list_alone(meter)]


def _confirms(moves_s: Sequence[Span], told_s: float | None) -> bool:
    """Whether moves, each between two times, are so many renewals of the pace that a card tells."""
    if not told_s or len(moves_s) < FEWEST_CONFIRMING:
        return False
    steps = [(after - before) / told_s for (_, before), (_, after) in pairwise(moves_s)]
    renewals = sum(map(round, steps))
    if abs(median(steps) - 1) > LOOSELY:
        return False
    shortest_s = (moves_s[-1][0] - moves_s[0][1]) / renewals
    longest_s = (moves_s[-1][1] - moves_s[0][0]) / renewals
    is_told_well = longest_s - shortest_s <= CONFIRMED * told_s
    error_s = CARD_ERROR * told_s
    return is_told_well and shortest_s - error_s <= told_s <= longest_s + error_s


def make_sensor_card(trace: Trace) -> SensorCard:
    """Card of one densely polled trace; pure."""
    times, values = trace.good
    moves = [i for i, has_moved in enumerate(list_moves(values)) if has_moved][1:]
    sizes = [values[i] - values[i - 1] for i in moves]
    update_s = _find_pace_s([(times[i - 1], times[i]) for i in moves], median_step_s(times))
    is_counter = trace.channel.kind is Kind.COUNTER
    rises = [size for size in sizes if size > 0]  # a reset among them does not count
    has_step = is_counter and rises and update_s is not None
    return SensorCard(
        channel=trace.channel.name,
        update_s=update_s,
        step_j=median(rises) if has_step else None,
        resolution=min(map(abs, sizes), default=None),
        kind_guess="counter" if is_counter else _guess_kind(trace.channel, update_s, values, sizes),
        probed_s=times[-1] - times[0] if times else 0.0,
        polls=len(times),
        reason="" if update_s is not None else _describe_no_pace(len(times), len(moves)),
        repeat_share=_find_repeat_share(times, len(moves), update_s or trace.channel.update_s),
    )


def _find_pace_s(moves_s: Sequence[Span], poll_s: float) -> float | None:
    """The pace by the moves that two polls enclose as closely as usual, where they are enough.

    On a busy machine others are seen late by a part of the period.
    """
    late_s = [0.5 * (before_s + after_s) for before_s, after_s in moves_s]
    sharp_s = [0.5 * (a + b) for a, b in moves_s if b - a <= SHARP * poll_s]
    pace_s = find_pace_s(sharp_s) if len(sharp_s) >= FEWEST_MOVES else None
    if pace_s is None or pace_s > MOST_LEFT_OUT * median_step_s(late_s):
        pace_s = find_pace_s(late_s)
    if pace_s is None or len(sharp_s) < FEWEST_EVEN_MOVES:
        return pace_s
    return refine_pace(sharp_s, pace_s)


def _find_repeat_share(times: Sequence[float], moves: int, update_s: float | None) -> float | None:
    """Share of renewals that left the value as it was; ``None`` if they cannot be counted."""
    if len(times) < 2 or (moves and not update_s):
        return None
    renewals = (times[-1] - times[0]) / update_s if update_s else math.inf
    return max(1.0 - moves / renewals, 1.0 / (renewals + 1)) if renewals >= 1 else None


def _guess_kind(
    channel: Channel, update_s: float | None, values: Sequence[float], moves: Sequence[float]
) -> KindGuess:
    if channel.averaging_s and channel.update_s and channel.averaging_s < channel.update_s:
        return "part_time"
    if update_s is None or not values:
        return "unknown"
    span = max(values) - min(values)
    if span < WIDE_RANGE_SHARE * median(values):
        return "unknown"
    return "held" if max(map(abs, moves)) >= JUMP_SHARE * span else "running_average"


def _describe_no_pace(polls: int, moves: int) -> str:
    """Why the pace is unknown."""
    if polls == 0:
        return "no reading succeeded"
    if moves >= FEWEST_MOVES:
        return "the value moved at no even pace; probe while the device is idle or at steady work"
    return f"the value moved {moves} times, too few to find its pace; probe while the device works"


def channels_of(meters: Iterable[EnergyMeter], cards: Iterable[SensorCard]) -> tuple[Channel, ...]:
    """All channels, with the pace that their cards found."""
    return update_channels((channel for meter in meters for channel in meter.channels), cards)


def update_channels(
    channels: Iterable[Channel], cards: Iterable[SensorCard]
) -> tuple[Channel, ...]:
    """The channels with what their cards tell of the sensors, and else as they were."""
    by_name = {card.channel: card for card in cards}
    return tuple(
        card.describe(channel) if (card := by_name.get(channel.name)) else channel
        for channel in channels
    )


@dataclass(frozen=True, slots=True)
class _StoredCards:
    """What is kept of one board: UUID, driver and readings, the wall clock, and the cards."""

    board: tuple[str, ...]
    probed_at_s: float
    cards: tuple[SensorCard, ...]


def load_cards(meter: EnergyMeter) -> tuple[SensorCard, ...]:
    """The known cards of a meter's board, one a channel; empty if there are none.

    Those that known loads have found come first, however old, then those of the last day.
    """
    return _load_cards(meter, _ACTIVE, math.inf) or _load_cards(meter, "", OLDEST_CARD_S)


def _load_cards(meter: EnergyMeter, kind: str, oldest_s: float) -> tuple[SensorCard, ...]:
    board, path = _identify_board(meter, kind)
    if path is None:
        return ()
    try:
        stored = read_document(_StoredCards, path.read_bytes())
    except (OSError, ValueError):
        return ()
    age_s = time.time() - stored.probed_at_s
    is_of_board = stored.board == board and len(stored.cards) == len(meter.channels)
    if not (is_of_board and 0.0 <= age_s < oldest_s):
        return ()
    pairs = zip(stored.cards, meter.channels, strict=True)
    return tuple(replace(card, channel=channel.name, age_s=age_s) for card, channel in pairs)


def store_cards(meter: EnergyMeter, cards: tuple[SensorCard, ...]) -> Path | None:
    """Keep the cards of a board for later runs, where all have a pace that need one.

    Active ones are kept beside those of the last day. Of a meter that was opened with every
    reading, those are kept that a run reads. Returns the file; ``None`` if there is none.
    """
    usual = list_usual(meter.channels)
    by_name = {card.channel: card for card in cards}
    kept = tuple(by_name[channel.name] for channel in usual if channel.name in by_name)
    is_active = bool(kept) and all(card.is_active for card in kept)
    board, path = _identify_board(meter, _ACTIVE if is_active else "")
    needed = {channel.name for channel in _list_needed(meter)}
    is_paced = all(card.update_s for card in kept if card.channel in needed)
    if path is None or len(kept) < len(usual) or not is_paced:
        return None
    stored = _StoredCards(board, time.time(), kept)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, TypeAdapter(_StoredCards).dump_json(stored, indent=1))
        return path
    return None


def _identify_board(meter: EnergyMeter, kind: str) -> tuple[tuple[str, ...], Path | None]:
    """UUID, driver and usual readings of a meter's board, and where its cards lie, if anywhere."""
    uuid = "" if meter.device is None else meter.device.gpu.uuid
    driver = str(meter.describe().get("driver") or "")
    is_known = bool(driver) and _UUID.fullmatch(uuid)
    path = cache_root() / _FOLDER / f"{kind}{uuid}.json" if is_known else None
    return (uuid, driver, *(channel.reading for channel in list_usual(meter.channels))), path
