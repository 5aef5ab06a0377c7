"""A close look at every sensor of its own before anything is measured; all meters at once.

What the cards say goes into the channels, and from there into every stated uncertainty.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from wbcbench.core.record import SensorCard
from wbcbench.core.trace import Channel, Origin, Trace
from wbcbench.core.window import Clock
from wbcbench.energy.uncertainty import card_of, informed
from wbcbench.power.meters import EnergyMeter

PROBE_S = 2.0
POLL_S = 0.001  # NVML answers in tens of microseconds: the machine stays nearly idle
PATIENCE_S = 3.0  # a driver that hangs longer has no card; the sampler's handshake deals with it


def sensor_cards(meters: Sequence[EnergyMeter], clock: Clock) -> tuple[SensorCard, ...]:
    """Probe every meter that reads a sensor; takes as long as one probe.

    Models have no sensor, and a meter with a period of its own knows its sensor's pace.

    Args:
        meters: Entered meters; their sampler must not run yet.
        clock: Source of time.
    """
    found: dict[int, tuple[SensorCard, ...]] = {}

    def look(place: int, meter: EnergyMeter) -> None:
        found[place] = probe(meter, clock)

    threads = [
        threading.Thread(target=look, args=each, name=f"probe {each[1].name}", daemon=True)
        for each in enumerate(meters)
        if _has_sensor(each[1])
    ]
    for thread in threads:
        thread.start()
    end_s = clock.now_s() + PROBE_S + PATIENCE_S
    for thread in threads:
        thread.join(max(end_s - clock.now_s(), 0.0))
    return tuple(card for _, cards in sorted(found.items()) for card in cards)


def probe(meter: EnergyMeter, clock: Clock, for_s: float = PROBE_S) -> tuple[SensorCard, ...]:
    """Read an entered meter as fast as is sensible and write a card for each channel.

    Args:
        meter: Its sampler must not run yet.
        clock: Source of time.
        for_s: Length of the probe in seconds; a call that hangs makes it longer.
    """
    times: list[float] = []
    rows: list[Sequence[float | None]] = []
    end_s = clock.now_s() + for_s
    while (now_s := clock.now_s()) < end_s:
        rows.append(meter.read())
        times.append(now_s)
        clock.sleep_until(now_s + POLL_S)
    columns = zip(*rows, strict=True)
    pairs = zip(meter.channels, columns, strict=True)
    return tuple(card_of(Trace(channel, times, column)) for channel, column in pairs)


def channels_of(meters: Iterable[EnergyMeter], cards: Iterable[SensorCard]) -> tuple[Channel, ...]:
    """All channels, with the pace that their cards found."""
    return informed((channel for meter in meters for channel in meter.channels), cards)


def _has_sensor(meter: EnergyMeter) -> bool:
    is_measured = any(channel.origin is Origin.MEASURED for channel in meter.channels)
    return is_measured and meter.interval_s is None
