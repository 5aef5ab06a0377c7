"""One bench a meter: the same known load behind each meter's own edge of the outside world.

A bench opens its meters through ``registry``, moves their time, breaks their readings and takes
their library away. What every meter must do is in ``tests/power/test_meter_conformance.py``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakes.amdsmi_plugin import AMD_GPU, SECOND_AMD_GPU, ScriptedAmd
from fakes.clocks import FileClock
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Scenario
from fakes.power_shapes import Square
from fakes.powercap import PowercapTree
from wbcbench import registry
from wbcbench.power.meter import EnergyMeter, MeterRequest
from wbcbench.power.simulated import Signal, SimulatedMeter

LOAD = Square(90.0, 280.0, 1.73)
START_S = 1.0  # the scenario's time when a test begins
BROKEN_FROM_S, BROKEN_UNTIL_S = 100.0, 200.0  # every read fails between them
RAPL_RANGE_UJ = 700_000_000  # wraps within seconds of the load
RAPL_PARTS = ("package-0", "package-1")

NVIDIA_GPUS = (
    FakeGpu(uuid="GPU-aaaa1111-0000", bus="00000000:3B:00.0"),
    FakeGpu(uuid="GPU-bbbb2222-0000", bus="00000000:5E:00.0"),
)
AMD_GPUS = (AMD_GPU, SECOND_AMD_GPU)


class Bench(ABC):
    """One kind of meter under the known load."""

    name: str
    clock: FileClock

    def open(self, **request: object) -> list[EnergyMeter]:
        """The meters as the package opens them, not yet entered."""
        meters: list[EnergyMeter] = registry.load_part("meter", self.name)(self.request(**request))
        return meters

    def request(self, **request: object) -> MeterRequest:
        return replace(MeterRequest(), **request)  # type: ignore[arg-type]

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        return LOAD.energy_j(start_s, end_s)

    @abstractmethod
    def take_away(self) -> None:
        """Leave the machine without what the meter reads."""


class GpuBench(Bench):
    """Two scripted boards of one vendor."""

    gpus: tuple[FakeGpu, ...]
    hiding_variable: str

    def __init__(self, vendor: ScriptedNvml | ScriptedAmd) -> None:
        self.vendor, self.clock = vendor, vendor.clock(START_S)
        fault = Fault("lost", at_s=BROKEN_FROM_S, until_s=BROKEN_UNTIL_S)
        loaded = (replace(gpu, power=LOAD, faults=(fault,)) for gpu in self.gpus)
        vendor.play(Scenario(tuple(loaded), clock=self.clock.path))

    def take_away(self) -> None:
        self.vendor.play(Scenario(init_error=9))

    def hide_all_but(self, gpu: FakeGpu) -> None:
        """Set the vendor's variable as a user does who wants a program to see one GPU."""
        self.vendor.monkeypatch.setenv(self.hiding_variable, gpu.uuid)

    def hide_all(self) -> None:
        self.vendor.monkeypatch.setenv(self.hiding_variable, "-1")


class NvmlBench(GpuBench):
    name, gpus, hiding_variable = "nvml", NVIDIA_GPUS, "CUDA_VISIBLE_DEVICES"


class AmdBench(GpuBench):
    name, gpus, hiding_variable = "amd", AMD_GPUS, "ROCR_VISIBLE_DEVICES"

    def hide_all_but(self, gpu: FakeGpu) -> None:
        self.vendor.monkeypatch.setenv(self.hiding_variable, f"GPU-{gpu.uuid[:8]}")  # ROCr's UUID


class CountingClock(FileClock):
    """A clock that counts the load into the powercap tree as it moves."""

    def __init__(self, path: Path, start_s: float, counters: list[Path]) -> None:
        self._counters = counters
        super().__init__(path, start_s)
        self.set_s(start_s)

    def set_s(self, now_s: float) -> None:
        super().set_s(now_s)
        broken = BROKEN_FROM_S <= now_s < BROKEN_UNTIL_S
        energy_uj = round(LOAD.energy_j(0.0, now_s) * 1e6) % RAPL_RANGE_UJ
        for counter in self._counters:
            counter.write_text("" if broken else f"{energy_uj}\n")


class RaplBench(Bench):
    """Two sockets under the load each."""

    name = "rapl"

    def __init__(self, folder: Path) -> None:
        tree = PowercapTree(folder / "rapl")
        zones = [
            tree.zone(f"intel-rapl:{place}", name, range_uj=RAPL_RANGE_UJ)
            for place, name in enumerate(RAPL_PARTS)
        ]
        self.root = tree.root
        self.clock = CountingClock(folder / "clock", START_S, [z / "energy_uj" for z in zones])

    def request(self, **request: object) -> MeterRequest:
        return replace(super().request(**request), powercap_root=self.root)

    def take_away(self) -> None:
        self.root = self.root / "nothing-here"


@dataclass
class SimulatedBench(Bench):
    """The simulated sensor, played by the bench's clock; it cannot fail and has no library."""

    clock: FileClock
    name = "simulated"
    signal = Signal(idle_w=90.0, load_w=190.0, period_s=2.0, shape="square")

    def open(self, **request: object) -> list[EnergyMeter]:
        super().open(**request)  # it opens here as everywhere
        return [SimulatedMeter(self.signal, self.clock)]

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        return self.signal.true_energy_j(start_s, end_s)

    def take_away(self) -> None:
        raise NotImplementedError


def make_bench(name: str, request: pytest.FixtureRequest, folder: Path) -> Bench:
    """The bench of the meter ``name``; what its edge of the world needs is a fixture."""
    if name == "nvml":
        return NvmlBench(request.getfixturevalue("scripted_nvml"))
    if name == "amd":
        return AmdBench(request.getfixturevalue("scripted_amd"))
    if name == "rapl":
        return RaplBench(folder)
    return SimulatedBench(FileClock(folder / "clock", START_S))


def open_files() -> set[str]:
    """What this process holds open, by what it is."""
    links = []
    for handle in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            links.append(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: PTH115
        except OSError:
            continue  # the listing's own
    return {link for link in links if link.startswith("/")}
