"""One GPU's energy counter and power reading, with as few driver calls a poll as it allows.

Which reading a board offers is found out once, when it is opened, and kept: a trace never mixes
two of them. Field values come in one call that reuses its buffer; a driver or board without them
is asked by the older calls. A read that fails is ``None``.

Power: ``power_instant`` is preferred. ``power_usage`` is a one-second average on Ampere and newer
(GA100 excepted) and instantaneous before; ``power_average`` is the same average under its name.
Source: NVML API reference, ``nvmlDeviceGetPowerUsage`` and ``nvmlFieldValueEnums``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pynvml

from wbcbench.core.units import j_from_mj, w_from_mw
from wbcbench.power import nvml_library as nvml

ENERGY = "total_energy"
POWER_READINGS = ("power_instant", "power_average", "power_usage")

_FIELDS = {
    ENERGY: pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    "power_instant": pynvml.NVML_FI_DEV_POWER_INSTANT,
    "power_average": pynvml.NVML_FI_DEV_POWER_AVERAGE,
}
_CALLS: dict[str, Callable[[Any], int]] = {
    ENERGY: pynvml.nvmlDeviceGetTotalEnergyConsumption,
    "power_usage": pynvml.nvmlDeviceGetPowerUsage,
}
_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
_TRIES = 3  # a driver that stumbles once while it is asked what it can do is asked again


class BoardPower:
    """What one board offers, ready to be polled.

    Attributes:
        readings: What ``read`` returns, in its order: at most ``total_energy`` and one of
            ``POWER_READINGS``; empty if the board offers neither.
    """

    def __init__(self, handle: Any) -> None:
        """Find out what the board offers; ``handle`` is NVML's, in an open session."""
        self._handle = handle
        found = (_way(handle, ENERGY), _first_way(handle, POWER_READINGS))
        ways = [way for way in found if way is not None]
        self.readings = tuple(reading for reading, _ in ways)
        self.ways = {reading: "call" if call else "field" for reading, call in ways}
        self._fields = _FieldBuffer(handle, [reading for reading, call in ways if call is None])
        self._calls = [(reading, call) for reading, call in ways if call is not None]

    def read(self) -> tuple[float | None, ...]:
        """Joules since the driver was loaded and watts, as far as offered; ``None`` on failure."""
        raw = self._fields.read()
        for reading, call in self._calls:
            raw[reading] = nvml.ask(call, self._handle)
        return tuple(_in_si(reading, raw.get(reading)) for reading in self.readings)


class _FieldBuffer:
    """One ``nvmlDeviceGetFieldValues`` call for several readings, its buffer kept."""

    def __init__(self, handle: Any, readings: list[str]) -> None:
        self._readings = readings
        self._values = (pynvml.c_nvmlFieldValue_t * len(readings))()
        for value, reading in zip(self._values, readings, strict=True):
            value.fieldId = _FIELDS[reading]
        self._fill = getattr(pynvml.nvmlLib, "nvmlDeviceGetFieldValues", None)
        self._arguments = (handle, ctypes.c_int(len(readings)), ctypes.byref(self._values))

    def read(self) -> dict[str, float | None]:
        """Vendor units by reading; empty if the call fails as a whole."""
        if not self._readings or self._fill is None:
            return {}
        if self._fill(*self._arguments) != pynvml.NVML_SUCCESS:
            return {}
        return {r: _number(v) for r, v in zip(self._readings, self._values, strict=True)}


def _number(value: Any) -> float | None:
    """What a field value holds, by its own return code and type; ``None`` if it holds nothing."""
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    member = _MEMBERS.get(value.valueType)
    return None if member is None else getattr(value.value, member)


def _in_si(reading: str, raw: float | None) -> float | None:
    if raw is None:
        return None
    return j_from_mj(raw) if reading == ENERGY else w_from_mw(raw)


_Way = tuple[str, Callable[[Any], int] | None]


def _first_way(handle: Any, readings: tuple[str, ...]) -> _Way | None:
    ways = (_way(handle, reading) for reading in readings)
    return next((way for way in ways if way is not None), None)


def _way(handle: Any, reading: str) -> _Way | None:
    """How a reading can be had: by field (``None`` as its call), by call, or not at all."""
    for _ in range(_TRIES):
        if reading in _FIELDS and _FieldBuffer(handle, [reading]).read().get(reading) is not None:
            return reading, None
        call = _CALLS.get(reading)
        if call is not None and nvml.ask(call, handle) is not None:
            return reading, call
    return None
