"""A close look at every sensor of its own before anything is measured; all meters at once.

What the cards say goes into the channels, and from there into every stated uncertainty.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from wbcbench.clock import Clock
from wbcbench.energy import Channel, Origin
from wbcbench.meters import Meter
from wbcbench.sensor_card import PROBE_S, SensorCard, informed, probe

PATIENCE_S = 3.0  # a driver that hangs longer has no card; the sampler's handshake deals with it


def sensor_cards(meters: Sequence[Meter], clock: Clock) -> tuple[SensorCard, ...]:
    """Probe every meter that reads a sensor; takes as long as one probe.

    Models have no sensor, and a meter with a period of its own knows its sensor's pace.

    Args:
        meters: Entered meters; their sampler must not run yet.
        clock: Source of time.
    """
    found: dict[int, tuple[SensorCard, ...]] = {}

    def look(place: int, meter: Meter) -> None:
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


def channels_of(meters: Iterable[Meter], cards: Iterable[SensorCard]) -> tuple[Channel, ...]:
    """All channels, with the pace that their cards found."""
    return informed((channel for meter in meters for channel in meter.channels), cards)


def _has_sensor(meter: Meter) -> bool:
    is_measured = any(channel.origin is Origin.MEASURED for channel in meter.channels)
    return is_measured and meter.interval_s is None
