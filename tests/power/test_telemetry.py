"""Boards are looked at once a second, and losing that never touches a run."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest

from builders.machine import GPU
from fakes.nvml_scenario import FakeGpu, Scenario
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import MonotonicClock
from wbcbench.power.device import Gpu, TelemetrySample
from wbcbench.power.meter import MeterRequest, open_meters
from wbcbench.power.telemetry import TelemetryRecorder

SEEN = TelemetrySample(
    temperature_c=61.0,
    clock_sm_hz=1.4e9,
    clock_memory_hz=2.6e9,
    utilization=0.93,
    memory_used_bytes=7_000_000_000,
    power_limit_w=400.0,
    reasons=("sw_power_cap", "hw_slowdown"),
    pids=(os.getpid(), 1),
)


@dataclass
class ScriptedDevice:
    """A device that says ``seen``, or waits as a hanging driver does."""

    uuid: str = GPU
    seen: TelemetrySample = SEEN
    hangs: threading.Event | None = None
    looked: threading.Event = field(default_factory=threading.Event)

    @property
    def gpu(self) -> Gpu:
        return Gpu(0, self.uuid, "Test GPU", "")

    def read_telemetry(self) -> TelemetrySample:
        self.looked.set()
        if self.hangs:
            self.hangs.wait(30)
        return self.seen


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


def recorded(run, *boards):
    recorder = TelemetryRecorder(boards, run, MonotonicClock())
    recorder.start()
    for board in boards:
        assert board.looked.wait(10)
    recorder.stop()
    return recorder


def test_what_a_board_says_is_on_disk_when_the_recorder_stops(run):
    recorded(run, ScriptedDevice())
    [look] = run.read_telemetry()[GPU][:1]
    assert look.temperature_c == 61.0
    assert look.clock_sm_hz == 1.4e9
    assert look.utilization == 0.93
    assert look.memory_used_bytes == 7_000_000_000
    assert look.power_limit_w == 400.0
    assert look.reasons == ("sw_power_cap", "hw_slowdown")


def test_own_processes_are_separated_from_foreign_ones(run):
    recorded(run, ScriptedDevice())
    look = run.read_telemetry()[GPU][0]
    assert look.own == (os.getpid(),)
    assert look.foreign == (1,)


def test_a_driver_that_lists_nobody_differs_from_one_that_does_not_tell(run):
    nobody = ScriptedDevice("GPU-2", replace(SEEN, pids=()))
    silent = ScriptedDevice("GPU-3", replace(SEEN, pids=None, reasons=None))
    recorded(run, nobody, silent)
    looks = run.read_telemetry()
    assert looks["GPU-2"][0].own == ()
    assert looks["GPU-3"][0].own is None
    assert looks["GPU-3"][0].reasons is None


def test_a_board_that_hangs_delays_no_other_and_does_not_keep_the_run_from_ending(run):
    release = threading.Event()
    hanging = ScriptedDevice("GPU-2", hangs=release)
    try:
        recorded(run, hanging, ScriptedDevice())
        looks = run.read_telemetry()
        assert looks[GPU]
        assert looks["GPU-2"] == []
    finally:
        release.set()


def test_a_disk_that_cannot_be_written_ends_telemetry_and_nothing_else(run):
    run.telemetry_path(GPU).parent.write_text("in the way")
    board = ScriptedDevice()
    recorder = TelemetryRecorder([board], run, MonotonicClock())
    recorder.start()
    recorder.stop()
    assert not board.looked.is_set()


def test_a_run_without_boards_has_no_telemetry(run):
    recorded(run)
    assert run.read_telemetry() == {}


def test_only_meters_of_a_gpu_have_telemetry(scripted_nvml):
    scripted_nvml.play(Scenario((FakeGpu(),)))
    with ExitStack() as stack:
        found = open_meters(("nvml", "simulated"), MeterRequest(), stack)
        assert [meter.name for meter in found.meters] == ["nvml/gpu0", "simulated"]
        assert [device.gpu.uuid for device in found.devices] == [FakeGpu().uuid]
