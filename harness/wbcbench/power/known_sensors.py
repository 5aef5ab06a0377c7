"""What is known of the boards' power sensors without probing them, each with its source.

Unknown stays ``None``: a guess about a sensor would enter every uncertainty stated from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# "nvmlDeviceGetPowerUsage: On Ampere (except GA100) or newer GPUs, the API returns power averaged
# over 1 sec interval." NVML API reference.
_AVERAGE_S = 1.0
_AVERAGING_ARCHITECTURES = ("Ampere", "Ada", "Hopper", "Blackwell")

# A100 and H100 renew their reading every 100 ms and look at 25 ms of them: "Part-time Power
# Measurements", SC'24, arXiv 2312.02741. A30 and A100 carry the same GA100 chip.
_PART_TIME = re.compile(r"\b(A100|A30|A800|H100|H200|H800)\b", re.IGNORECASE)
_PART_TIME_UPDATE_S = 0.1
_PART_TIME_LOOK_S = 0.025
_GA100 = re.compile(r"\b(A100|A30|A800)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KnownSensor:
    """Pace of one power reading; ``None`` is unknown.

    Attributes:
        update_s: How often the value is renewed.
        averaging_s: The time one value is the mean of; below ``update_s`` it is blind in between.
    """

    update_s: float | None = None
    averaging_s: float | None = None


def known_sensor(name: str, architecture: str | None, reading: str) -> KnownSensor:
    """What is known of ``reading`` (a name of ``board_power``) on a board.

    Args:
        name: Product name, as the driver tells it.
        architecture: Generation of the chip, e.g. ``"Ampere"``; ``None`` if unknown.
        reading: ``power_instant``, ``power_average``, ``power_usage`` or ``total_energy``.
    """
    is_mean = reading == "power_average" or (
        reading == "power_usage"
        and architecture in _AVERAGING_ARCHITECTURES
        and not _GA100.search(name)
    )
    if is_mean:
        return KnownSensor(averaging_s=_AVERAGE_S)
    if reading.startswith("power") and _PART_TIME.search(name):
        return KnownSensor(_PART_TIME_UPDATE_S, _PART_TIME_LOOK_S)
    return KnownSensor()
