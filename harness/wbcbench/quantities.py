"""Joules, watts and seconds as people read them; files always hold J, W and s."""

from __future__ import annotations

UNKNOWN = "–"

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))


def human_energy(energy_j: float | None) -> str:
    """``42.1 kJ``; a dash where unknown."""
    return _scaled(energy_j, "J")


def human_power(power_w: float | None) -> str:
    """``274 W``; a dash where unknown."""
    return _scaled(power_w, "W")


def human_duration(time_s: float | None) -> str:
    """``2 min 30 s``, ``1 h 45 min``, ``0.8 s``; a dash where unknown."""
    if time_s is None:
        return UNKNOWN
    if time_s < 60:
        return f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def human_share(share: float | None) -> str:
    """``0.814``; a dash where unknown."""
    return UNKNOWN if share is None else f"{share:.3f}"


def _scaled(value: float | None, unit: str) -> str:
    if value is None:
        return UNKNOWN
    for factor, prefix in _PREFIXES:
        # 999.6 would be written 1000 with three digits: it belongs to the next prefix.
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
