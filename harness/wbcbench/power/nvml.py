"""NVIDIA GPUs: energy counter and power reading of each board, measured by its own sensor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.power import nvml_library as library
from wbcbench.power.board_power import ENERGY, BoardPower
from wbcbench.power.facts import architecture, enforced_limit_w, gpu_facts
from wbcbench.power.identity import Gpu, choose, list_gpus
from wbcbench.power.known_sensors import KnownSensor, known_sensor
from wbcbench.power.meters import EnergyMeter, MeterRequest

# Manufacturers state ±5 %; cards of one model were found −9.5 … +6.4 % off (arXiv 2312.02741).
GAIN_ERROR = 0.05


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """One meter for each GPU asked for, or for each visible one.

    Raises:
        CannotMeasureError: No library, no driver, no GPU, a MIG instance, or a board without any
            energy or power reading; the message says which and the way out.
        UsageError: ``request.gpus`` names no GPU of this machine, or several.
    """
    with library.session():
        gpus = choose(request.gpus, list_gpus(), os.environ, first_visible=request.one_gpu)
        return [NvmlMeter(gpu, BoardPower(library.device(gpu.uuid)).readings) for gpu in gpus]


class NvmlMeter:
    """One GPU; holds its handle from ``__enter__`` to ``__exit__``."""

    interval_s: float | None = None

    def __init__(self, gpu: Gpu, readings: Sequence[str]) -> None:
        """Watch ``gpu``, which offers ``readings``.

        Raises:
            CannotMeasureError: It offers none.
        """
        if not readings:
            raise CannotMeasureError(
                f"GPU {gpu.index} ({gpu.name}) gives neither an energy counter nor a power "
                "reading, so its energy cannot be measured. Virtual GPUs and some laptop boards "
                "are like that: use another GPU, or leave the nvml meter out."
            )
        self.gpu = gpu
        self.name = f"nvml/gpu{gpu.index}"
        self.channels = tuple(_channel(gpu, reading, KnownSensor(), None) for reading in readings)
        self._board: BoardPower | None = None
        self._held = ExitStack()
        self._facts: dict[str, JsonValue] = {}

    def __enter__(self) -> Self:
        """Take the handle and find out what the board offers; raises ``CannotMeasureError``."""
        with ExitStack() as stack:
            self._look(stack.enter_context(library.board(self.gpu.uuid)))
            self._held = stack.pop_all()
        return self

    def _look(self, handle: Any) -> None:
        board = BoardPower(handle)
        if not board.readings:
            raise CannotMeasureError(
                f"GPU {self.gpu.index} ({self.gpu.name}) gives no reading any more. "
                "Check `nvidia-smi`; a GPU that fell off the bus needs a reset or a reboot."
            )
        limit_w, generation = enforced_limit_w(handle), architecture(handle)
        self.channels = tuple(
            _channel(self.gpu, each, known_sensor(self.gpu.name, generation, each), limit_w)
            for each in board.readings
        )
        named = zip(self.channels, board.readings, strict=True)
        self._facts = gpu_facts(self.gpu, handle) | {
            "readings": {channel.name: reading for channel, reading in named},
            "read_by": dict(board.ways),
        }
        self._board = board

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the handle go."""
        self._board = None
        self._held.close()

    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts, in the order of ``channels``."""
        return self._board.read() if self._board else (None,) * len(self.channels)

    def describe(self) -> dict[str, JsonValue]:
        """Identity, driver, limits, modes, and which reading each channel holds."""
        return self._facts


def _channel(gpu: Gpu, reading: str, sensor: KnownSensor, limit_w: float | None) -> Channel:
    is_counter = reading == ENERGY
    return Channel(
        name=f"nvml/gpu{gpu.index}/{'counter' if is_counter else 'power'}",
        kind=Kind.COUNTER if is_counter else Kind.SAMPLED,
        origin=Origin.MEASURED,
        domain=Domain.GPU,
        reading=reading,
        gain_error=GAIN_ERROR,
        limit_w=limit_w,
        device=gpu.uuid,
        update_s=sensor.update_s,
        averaging_s=sensor.averaging_s,
    )
