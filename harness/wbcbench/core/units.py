"""Units of vendors and of readers to SI and back: the only module that holds their factors.

Inside wbcbench energy is in joules, power in watts, time in seconds, carbon in grams, sizes in
bytes. Shares become per cent where they are printed; ``core.text`` chooses prefixes for people.
"""

from __future__ import annotations

import re

_MILLI = 1e-3
_MICRO = 1e-6
_MEGA = 1e6
_GIGA = 1e9
_KIBI = 1024
_J_PER_KWH = 3.6e6
_G_PER_KG = 1e3
_PER_CENT = 100.0

# Watts or joules in one unit of an external meter. Milliwatts and megawatts differ by case alone.
POWER_W = {
    "W": 1.0, "watt": 1.0, "watts": 1.0, "mW": _MILLI, "kW": 1e3, "kilowatt": 1e3,
    "kilowatts": 1e3, "milliwatt": _MILLI, "milliwatts": _MILLI,
}  # fmt: skip
ENERGY_J = {
    "J": 1.0, "joule": 1.0, "joules": 1.0, "kJ": 1e3, "MJ": _MEGA, "Ws": 1.0, "Wmin": 60.0,
    "mWh": 3.6, "Wh": 3600.0, "kWh": _J_PER_KWH, "kWhs": _J_PER_KWH, "MWh": 3.6e9,
}  # fmt: skip
TIME_S = {"ns": 1e-9, "us": _MICRO, "ms": _MILLI, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def j_from_mj(energy_mj: float) -> float:
    """Millijoules (NVML's energy counter) to joules."""
    return energy_mj * _MILLI


def j_from_uj(energy_uj: float) -> float:
    """Microjoules (powercap's ``energy_uj``) to joules."""
    return energy_uj * _MICRO


def s_from_us(time_us: float) -> float:
    """Microseconds (NVML's time stamps) to seconds."""
    return time_us * _MICRO


def us_from_ns(time_ns: int) -> int:
    """Nanoseconds (the system's clocks) to whole microseconds."""
    return time_ns // 1000


def w_from_mw(power_mw: float) -> float:
    """Milliwatts (NVML's power readings) to watts."""
    return power_mw * _MILLI


def mw_from_w(power_w: float) -> float:
    """Watts to milliwatts, for NVML's power limits."""
    return power_w / _MILLI


def w_from_uw(power_uw: float) -> float:
    """Microwatts (powercap's and AMD's power limits) to watts."""
    return power_uw * _MICRO


def uw_from_w(power_w: float) -> float:
    """Watts to microwatts, for AMD's power limits."""
    return power_w / _MICRO


def j_from_kwh(energy_kwh: float) -> float:
    """Kilowatt-hours (CodeCarbon) to joules."""
    return energy_kwh * _J_PER_KWH


def kwh_from_j(energy_j: float) -> float:
    """Joules to kilowatt-hours, for grid intensities stated per kWh."""
    return energy_j / _J_PER_KWH


def g_from_kg(mass_kg: float) -> float:
    """Kilograms (CodeCarbon's emissions) to grams."""
    return mass_kg * _G_PER_KG


def kg_from_g(mass_g: float) -> float:
    """Grams to kilograms, for people who think of emissions in kilograms."""
    return mass_g / _G_PER_KG


def s_from_ms(time_ms: float) -> float:
    """Milliseconds to seconds."""
    return time_ms * _MILLI


def ms_from_s(time_s: float) -> float:
    """Seconds to milliseconds."""
    return time_s / _MILLI


def hz_from_mhz(frequency_mhz: float) -> float:
    """Megahertz (NVML's clocks) to hertz."""
    return frequency_mhz * _MEGA


def mhz_from_hz(frequency_hz: float) -> float:
    """Hertz to megahertz."""
    return frequency_hz / _MEGA


def mb_from_bytes(size_bytes: float) -> float:
    """Bytes to megabytes, for people."""
    return size_bytes / _MEGA


def gb_from_bytes(size_bytes: float) -> float:
    """Bytes to gigabytes, for people."""
    return size_bytes / _GIGA


def bytes_from_mib(size_mib: int) -> int:
    """Mebibytes (AMD's device memory) to bytes."""
    return size_mib * _KIBI * _KIBI


def bytes_from_kib(size_kib: int) -> int:
    """Kibibytes (Linux's ``ru_maxrss``) to bytes."""
    return size_kib * _KIBI


def millions(count: float) -> float:
    """A count in millions."""
    return count / _MEGA


def billions(count: float) -> float:
    """A count in thousands of millions."""
    return count / _GIGA


def j_from_text(text: str) -> float:
    """Joules of ``0.5kWh``, ``300 kJ``, ``1.8MJ``, ``200Wh`` or ``5000J``.

    Raises:
        ValueError: It is no amount of energy.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(kWh|Wh|MJ|kJ|J)\s*", text)
    if match is None:
        raise ValueError(f"'{text}' is not an amount of energy such as 0.5kWh or 300kJ")
    return float(match[1]) * ENERGY_J[match[2]]


def share_from_pct(percent: float) -> float:
    """Per cent (NVML's loads) to a share in [0, 1]."""
    return percent / _PER_CENT


def pct_from_share(share: float) -> float:
    """A share in [0, 1] to per cent."""
    return share * _PER_CENT
