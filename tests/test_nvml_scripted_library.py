"""The scripted driver answers the real pynvml as a driver would, and its joules are right."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import (
    FULL_TIME,
    PART_TIME,
    RUNNING_AVERAGE,
    UNSUPPORTED,
    Counter,
    FakeGpu,
    Fault,
    Process,
    Scenario,
    Sensor,
    Throttle,
)
from fakes.power_shapes import Constant, Knots, Ramp, Shape, Sine, Square, Telegraph

ENERGY = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
AVERAGE = pynvml.NVML_FI_DEV_POWER_AVERAGE
INSTANT = pynvml.NVML_FI_DEV_POWER_INSTANT

SHAPES: list[Shape] = [
    Constant(213.7),
    Square(40.0, 260.0, 0.7, 0.3),
    Ramp(50.0, 250.0, 2.0, 7.5),
    Sine(150.0, 90.0, 1.3),
    Knots((0.0, 1.0, 4.0, 5.5), (60.0, 200.0, 80.0, 120.0)),
    Telegraph(35.0, 280.0, 0.4, seed=7),
]


@contextmanager
def opened() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def first() -> object:
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def still(nvml: ScriptedNvml, gpu: FakeGpu, at_s: float = 0.0) -> None:
    """Play one GPU at a moment that does not pass."""
    nvml.play(Scenario((gpu,), clock=nvml.clock(at_s).path))


def numeric_j(shape: Shape, start_s: float, end_s: float, steps: int = 40_000) -> float:
    """Midpoint rule, fine enough for every shape here."""
    width_s = (end_s - start_s) / steps
    return width_s * sum(shape.power_w(start_s + (i + 0.5) * width_s) for i in range(steps))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_the_truth_of_every_shape_agrees_with_numeric_integration(shape: Shape) -> None:
    for start_s, end_s in [(0.0, 9.0), (0.31, 4.77), (3.0, 3.4)]:
        assert shape.energy_j(start_s, end_s) == pytest.approx(
            numeric_j(shape, start_s, end_s), rel=2e-3
        )


@given(
    edges=st.lists(st.floats(0.0, 100.0), min_size=3, max_size=3).map(sorted),
    shape=st.sampled_from(SHAPES),
)
def test_the_truth_of_adjacent_intervals_adds_up(edges: list[float], shape: Shape) -> None:
    a, b, c = edges
    whole = shape.energy_j(a, c)
    assert shape.energy_j(a, b) + shape.energy_j(b, c) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_the_counter_counts_the_joules_that_were_drawn(
    shape: Shape, scripted_nvml: ScriptedNvml
) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(power=shape, counter=Counter(step_s=0.0, start_j=50.0))
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        for now_s in (0.0, 0.31, 4.77, 60.0):
            clock.set_s(now_s)
            energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(first())
            assert energy_mj / 1e3 == pytest.approx(50.0 + shape.energy_j(0.0, now_s), abs=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@pytest.mark.parametrize("sensor", [FULL_TIME, PART_TIME, RUNNING_AVERAGE])
def test_a_sensor_shows_the_mean_of_its_last_window(
    shape: Shape, sensor: Sensor, scripted_nvml: ScriptedNvml
) -> None:
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((FakeGpu(power=shape, instant=sensor),), clock=clock.path))
    with opened():
        for tick in (20, 47):
            renewed_s = tick * sensor.update_s
            true_j = shape.energy_j(renewed_s - sensor.window_s, renewed_s)
            for into_s in (0.001, 0.5 * sensor.update_s):
                clock.set_s(renewed_s + into_s)
                (value,) = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT])
                assert value.value.uiVal / 1e3 == pytest.approx(true_j / sensor.window_s, abs=1e-3)


def test_a_sensor_has_gain_offset_and_repeatable_noise(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(
        power=Constant(100.0),
        instant=Sensor(gain=1.05, offset_w=3.0),
        average=Sensor(noise_w=5.0, seed=3),
    )
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    seen = []
    with opened():
        for tick in range(400):
            clock.set_s(0.1 * tick + 0.05)
            instant, average = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT, AVERAGE])
            again = pynvml.nvmlDeviceGetFieldValues(first(), [AVERAGE])[0]
            assert instant.value.uiVal == 108_000
            assert again.value.uiVal == average.value.uiVal
            seen.append(average.value.uiVal / 1e3)
    mean = sum(seen) / len(seen)
    spread = (sum((w - mean) ** 2 for w in seen) / len(seen)) ** 0.5
    assert mean == pytest.approx(100.0, abs=1.0)
    assert spread == pytest.approx(5.0, abs=0.7)


def test_a_counter_freezes_jumps_resets_and_steps_as_told(scripted_nvml: ScriptedNvml) -> None:
    counters = [
        Counter(step_s=0.5, start_j=0.0),
        Counter(start_j=0.0, frozen_at_s=2.0),
        Counter(start_j=0.0, jump_at_s=2.0, jump_j=5000.0),
        Counter(start_j=900.0, reset_at_s=2.0),
        Counter(supported=False),
    ]
    gpus = tuple(
        FakeGpu(power=Constant(100.0), uuid=f"GPU-{i}", counter=counter)
        for i, counter in enumerate(counters)
    )
    scripted_nvml.play(Scenario(gpus, clock=scripted_nvml.clock(3.4).path))
    with opened():
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(5)]
        joules = [pynvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3 for h in handles[:4]]
        with pytest.raises(pynvml.NVMLError_NotSupported):
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handles[4])
    assert joules == pytest.approx([300.0, 200.0, 5340.0, 140.0])


def test_a_counter_may_inherit_the_blind_spots_of_the_sensor(scripted_nvml: ScriptedNvml) -> None:
    # High only in the 75 ms of each 100 ms that a part-time sensor does not look at.
    gpu = FakeGpu(
        power=Square(50.0, 250.0, 0.1, duty=0.75),
        instant=PART_TIME,
        counter=Counter(start_j=0.0, from_sensor=True),
    )
    still(scripted_nvml, gpu, at_s=10.0001)
    with opened():
        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(first()) / 1e3 == pytest.approx(500.0)


def test_every_field_carries_its_own_return_code_type_and_value(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(power=Constant(123.456), instant=UNSUPPORTED, counter=Counter(start_j=5e9))
    still(scripted_nvml, gpu, at_s=1.0)
    with opened():
        scoped = (AVERAGE, pynvml.NVML_POWER_SCOPE_MODULE)
        values = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT, ENERGY, AVERAGE, 7, scoped])
    codes = [value.nvmlReturn for value in values]
    assert codes == [3, 0, 0, 3, 3]
    assert values[1].valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    assert values[1].value.ullVal == 5_000_000_123_456  # more than 32 bits hold
    assert values[2].valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    assert values[2].value.uiVal == 123_456


def test_identity_modes_and_limits_come_through_pynvmls_structures(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(bus="0000AB12:C4:1F.0", ecc=True, persistence=False, mig=0)
    still(scripted_nvml, gpu)
    with opened():
        handle = first()
        pci = pynvml.nvmlDeviceGetPciInfo(handle)
        assert (pci.domain, pci.bus, pci.device) == (0xAB12, 0xC4, 0x1F)
        assert pci.busId == "0000AB12:C4:1F.0"
        assert pci.pciDeviceId == 0x20B010DE
        assert pci.pciSubSystemId == 0x145F10DE
        assert pynvml.nvmlDeviceGetName(handle) == gpu.name
        assert pynvml.nvmlDeviceGetUUID(handle) == gpu.uuid
        assert pynvml.nvmlDeviceGetSerial(handle) == gpu.serial
        assert pynvml.nvmlDeviceGetIndex(handle) == 0
        assert pynvml.nvmlDeviceGetEccMode(handle) == [1, 1]
        assert pynvml.nvmlDeviceGetPersistenceMode(handle) == 0
        assert pynvml.nvmlDeviceGetMigMode(handle) == [0, 0]
        assert pynvml.nvmlDeviceGetArchitecture(handle) == pynvml.NVML_DEVICE_ARCH_AMPERE
        assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle) == [100_000, 300_000]
        assert pynvml.nvmlSystemGetDriverVersion() == "580.95.05"
        assert pynvml.nvmlSystemGetNVMLVersion() == "13.580.95.05"
        assert pynvml.nvmlSystemGetCudaDriverVersion_v2() == 13000
        by_uuid = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        assert pynvml.nvmlDeviceGetIndex(by_uuid) == 0


def test_both_versions_of_the_memory_call_agree_with_their_layouts(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(memory_total=40 << 30, memory_used=3 << 30, memory_reserved=1 << 30)
    still(scripted_nvml, gpu)
    with opened():
        old = pynvml.nvmlDeviceGetMemoryInfo(first())
        new = pynvml.nvmlDeviceGetMemoryInfo(first(), pynvml.nvmlMemory_v2)
        with pytest.raises(pynvml.NVMLError_ArgumentVersionMismatch):
            pynvml.nvmlDeviceGetMemoryInfo(first(), 0x03000028)
    assert (old.total, old.used, old.free) == (40 << 30, 4 << 30, 36 << 30)
    assert (new.total, new.used, new.free) == (40 << 30, 3 << 30, 36 << 30)
    assert new.reserved == 1 << 30


def test_telemetry_follows_the_scenario(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(
        temperatures=((0.0, 30.0), (10.0, 80.0)),
        throttles=(Throttle(0x4), Throttle(0x40, at_s=4.0, until_s=6.0)),
        utilization=93,
        utilization_memory=41,
    )
    still(scripted_nvml, gpu, at_s=5.0)
    with opened():
        handle, sensor = first(), pynvml.NVML_TEMPERATURE_GPU
        assert pynvml.nvmlDeviceGetTemperature(handle, sensor) == 55
        assert pynvml.nvmlDeviceGetTemperatureV(handle, sensor) == 55
        assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle) == 0x44
        assert pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) == 0x44
        assert pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) == 1410
        assert pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM) == 1215
        load = pynvml.nvmlDeviceGetUtilizationRates(handle)
        assert (load.gpu, load.memory) == (93, 41)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_processes_come_and_go_with_their_memory(version: str, scripted_nvml: ScriptedNvml) -> None:
    guests = tuple(Process(1000 + i, memory_bytes=(5 << 30) + i, at_s=2.0) for i in range(3))
    gpu = FakeGpu(processes=(*guests, Process(77, kind="graphics", memory_bytes=9, until_s=3.0)))
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        compute = getattr(pynvml, f"nvmlDeviceGetComputeRunningProcesses_{version}")
        graphics = getattr(pynvml, f"nvmlDeviceGetGraphicsRunningProcesses_{version}")
        assert compute(first()) == []
        clock.set_s(2.5)
        found = [(each.pid, each.usedGpuMemory) for each in compute(first())]
        assert found == [(1000 + i, (5 << 30) + i) for i in range(3)]
        assert [each.pid for each in graphics(first())] == [77]
        clock.set_s(3.0)
        assert graphics(first()) == []


def test_a_power_limit_that_was_set_is_seen_by_another_process(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(limit_settable=True),)))
    program = (
        "import pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0);"
        "print(n.nvmlDeviceGetEnforcedPowerLimit(h), n.nvmlDeviceGetPowerManagementLimit(h),"
        "n.nvmlDeviceGetPowerManagementDefaultLimit(h))"
    )
    with opened():
        pynvml.nvmlDeviceSetPowerManagementLimit(first(), 180_000)
        told = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        with pytest.raises(pynvml.NVMLError_InvalidArgument):
            pynvml.nvmlDeviceSetPowerManagementLimit(first(), 90_000)
    assert told.stdout.split() == ["180000", "180000", "300000"]


def test_a_power_limit_may_not_be_permitted(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario())
    with opened(), pytest.raises(pynvml.NVMLError_NoPermission):
        pynvml.nvmlDeviceSetPowerManagementLimit(first(), 180_000)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("lost", pynvml.NVMLError_GpuIsLost),
        ("unknown", pynvml.NVMLError_Unknown),
        ("unsupported", pynvml.NVMLError_NotSupported),
    ],
)
def test_a_call_fails_only_while_its_fault_holds(
    kind: str, error: type[Exception], scripted_nvml: ScriptedNvml
) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(faults=(Fault(kind, at_s=2.0, until_s=3.0),))
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        pynvml.nvmlDeviceGetPowerUsage(first())
        clock.set_s(2.5)
        with pytest.raises(error):
            pynvml.nvmlDeviceGetPowerUsage(first())
        with pytest.raises(error):
            pynvml.nvmlDeviceGetFieldValues(first(), [ENERGY])
        clock.set_s(3.0)
        assert pynvml.nvmlDeviceGetPowerUsage(first()) == 200_000


def test_a_fault_can_strike_the_nth_call_of_one_reading(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(faults=(Fault("unknown", on="energy", nth=3, count=2),))
    still(scripted_nvml, gpu)
    with opened():
        pairs = [pynvml.nvmlDeviceGetFieldValues(first(), [ENERGY, INSTANT]) for _ in range(6)]
    assert [pair[0].nvmlReturn for pair in pairs] == [0, 0, 999, 999, 0, 0]
    assert [pair[1].nvmlReturn for pair in pairs] == [0] * 6


def test_zero_and_spike_replace_a_value_and_not_the_call(scripted_nvml: ScriptedNvml) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(
        faults=(
            Fault("zero", on="power", at_s=1.0, until_s=2.0),
            Fault("spike", on="instant", at_s=3.0, until_s=4.0, value=9000.0),
        )
    )
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    seen = []
    with opened():
        for now_s in (0.5, 1.5, 2.5, 3.5):
            clock.set_s(now_s)
            values = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT, AVERAGE])
            seen.append(tuple(value.value.uiVal // 1000 for value in values))
    assert seen == [(200, 200), (0, 0), (200, 200), (9000, 200)]


def test_a_hanging_call_on_one_gpu_does_not_hold_up_another(scripted_nvml: ScriptedNvml) -> None:
    hanging = FakeGpu(uuid="GPU-a", faults=(Fault("hang", on="fields", nth=1, value=0.5),))
    scripted_nvml.play(Scenario((hanging, FakeGpu(uuid="GPU-b"))))
    order: list[int] = []
    calls_before = scripted_nvml.calls()

    def poll(index: int) -> None:
        pynvml.nvmlDeviceGetFieldValues(pynvml.nvmlDeviceGetHandleByIndex(index), [ENERGY])
        order.append(index)

    with opened():
        slow = threading.Thread(target=poll, args=(0,))
        slow.start()
        while scripted_nvml.calls() == calls_before:
            time.sleep(0.001)
        poll(1)
        slow.join()
    assert order == [1, 0]


def test_time_is_shared_with_children_and_can_run_faster(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(power=Constant(1000.0), counter=Counter(step_s=0.0, start_j=0.0))
    epoch_s = time.monotonic()
    scripted_nvml.play(Scenario((gpu,), epoch_s=epoch_s, scale=50.0))
    program = (
        "import pynvml as n, time; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0);"
        "print(time.monotonic(), n.nvmlDeviceGetTotalEnergyConsumption(h), time.monotonic())"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    before_s, energy_mj, after_s = (float(word) for word in told.stdout.split())
    scenario_s = energy_mj / 1e6
    assert (before_s - epoch_s) * 50 - 1e-3 <= scenario_s <= (after_s - epoch_s) * 50 + 1e-3


def test_without_a_scenario_the_driver_is_not_loaded(scripted_nvml: ScriptedNvml) -> None:
    assert "WBCBENCH_FAKE_NVML" not in os.environ
    with pytest.raises(pynvml.NVMLError_DriverNotLoaded):
        pynvml.nvmlInit()


def test_a_scenario_line_that_is_not_understood_is_an_error(
    scripted_nvml: ScriptedNvml, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = scripted_nvml.play(Scenario())
    path.write_text(path.read_text() + "nonsense here=1\n")
    with pytest.raises(pynvml.NVMLError_Unknown):
        pynvml.nvmlInit()
    assert "is not understood" in capfd.readouterr().err
