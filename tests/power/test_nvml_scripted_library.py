"""The scripted driver answers the real pynvml as a driver would, and its joules are right."""

from itertools import pairwise

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.clocks import FileClock
from fakes.known_load import Loaded
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import (
    FULL_TIME,
    PART_TIME,
    RUNNING_AVERAGE,
    UNSUPPORTED,
    Counter,
    Event,
    FakeGpu,
    Fault,
    Process,
    Rate,
    Scenario,
    Sensor,
    Throttle,
)
from fakes.nvml_session import first, opened, still
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
    Loaded(Square(40.0, 260.0, 0.7, 0.3), 3.3, start_s=1.1),
]


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


def counter_j(clock: FileClock, *times_s: float, index: int = 0) -> list[float]:
    """What the counter of a board says at these times."""
    handle, joules = pynvml.nvmlDeviceGetHandleByIndex(index), list[float]()
    for t_s in times_s:
        clock.set_s(t_s)
        joules.append(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)
    return joules


def instant_w(clock: FileClock, *times_s: float) -> list[float]:
    """What the instant reading of the first board says at these times."""
    watts = list[float]()
    for t_s in times_s:
        clock.set_s(t_s)
        (value,) = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT])
        assert value.nvmlReturn == 0
        watts.append(value.value.uiVal / 1e3)
    return watts


def test_a_counter_gains_and_loses_joules_as_often_as_told(scripted_nvml: ScriptedNvml) -> None:
    events = (Event(1.05, 80.0), Event(2.0, -30.0), Event(2.0, 5000.0), Event(9.0, 7.0))
    gpu = FakeGpu(power=Constant(100.0), counter=Counter(start_j=0.0, events=events))
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():  # a change shows at the next step of 0.1 s
        seen = counter_j(clock, 1.01, 1.07, 1.11, 1.91, 2.01, 8.91, 9.01)
    assert seen == pytest.approx([100.0, 100.0, 190.0, 270.0, 5250.0, 5940.0, 5957.0])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_a_counter_counts_at_another_rate_for_a_while_or_from_a_moment_on(
    shape: Shape, scripted_nvml: ScriptedNvml
) -> None:
    rates = (Rate(1.0, 2.5, 0.0), Rate(3.0, 4.0, 1.3), Rate(6.0, factor=0.88))
    counter = Counter(step_s=0.0, start_j=10.0, gain=1.1, rates=rates)
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((FakeGpu(power=shape, counter=counter),), clock=clock.path))
    joules = shape.energy_j
    with opened():
        seen = counter_j(clock, 1.0, 1.7, 2.5, 5.0, 9.0)
    before = 10.0 + 1.1 * joules(0.0, 1.0)
    five = before + 1.1 * (joules(2.5, 3.0) + 1.3 * joules(3.0, 4.0) + joules(4.0, 5.0))
    nine = five + 1.1 * (joules(5.0, 6.0) + 0.88 * joules(6.0, 9.0))
    assert seen == pytest.approx([before, before, before, five, nine], abs=2e-3)


def test_a_counter_may_count_whole_multiples_only(scripted_nvml: ScriptedNvml) -> None:
    counter = Counter(step_s=0.0, start_j=3.0, resolution_j=25.0)
    clock = scripted_nvml.clock()
    scripted_nvml.play(
        Scenario((FakeGpu(power=Constant(100.0), counter=counter),), clock=clock.path)
    )
    with opened():
        assert counter_j(clock, 0.0, 0.21, 0.23, 2.0) == [0.0, 0.0, 25.0, 200.0]


def test_a_reset_forgets_what_was_gained_before_it(scripted_nvml: ScriptedNvml) -> None:
    events = (Event(1.0, 500.0), Event(4.0, 20.0))
    counter = Counter(reset_at_s=3.0, events=events, rates=(Rate(2.0, 3.5, 2.0),))
    clock = scripted_nvml.clock()
    gpu = FakeGpu(power=Constant(100.0), counter=counter)
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        seen = counter_j(clock, 3.01, 3.51, 5.01)
    assert seen == pytest.approx([0.0, 100.0, 270.0])


def test_a_stuck_counter_catches_up_and_stuck_readings_show_their_last_value(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(
        power=Ramp(100.0, 200.0, 0.0, 10.0),
        instant=Sensor(update_s=0.1),
        average=Sensor(update_s=0.1, noise_w=3.0),
        counter=Counter(start_j=0.0),
        faults=(
            Fault("stuck", on="energy", at_s=2.05, until_s=4.0),
            Fault("stuck", on="instant", at_s=3.05, until_s=5.0),
        ),
    )
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        joules = counter_j(clock, 2.01, 3.0, 3.99, 4.01)
        watts = instant_w(clock, 2.95, 3.04, 3.5, 4.99, 5.02)
        averages = set()
        for t_s in (3.55, 4.05, 4.55):  # the other reading goes on
            clock.set_s(t_s)
            averages.add(pynvml.nvmlDeviceGetFieldValues(first(), [AVERAGE])[0].value.uiVal)
    assert joules == pytest.approx([220.0, 220.0, 220.0, 480.0])
    assert watts == pytest.approx([129.0, 130.0, 130.0, 130.0, 150.0])
    assert len(averages) == 3


def test_readings_are_scaled_or_absurd_for_a_while_and_for_single_calls(
    scripted_nvml: ScriptedNvml,
) -> None:
    faults = (
        Fault("scale", on="power", at_s=2.0, until_s=3.0, value=0.5),
        Fault("spike", on="instant", at_s=4.0, until_s=5.0, value=4e6),
        Fault("spike", on="instant", nth=3, count=2, value=1180.0),
    )
    clock = scripted_nvml.clock()
    gpu = FakeGpu(power=Constant(200.0), faults=faults)
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        watts = instant_w(clock, 1.0, 1.1, 1.2, 1.3, 1.4, 2.5, 3.5, 4.5, 5.5)
        clock.set_s(2.5)
        usage_mw = pynvml.nvmlDeviceGetPowerUsage(first())
    assert watts == [200.0, 200.0, 1180.0, 1180.0, 200.0, 100.0, 200.0, 4e6, 200.0]
    assert usage_mw == 100_000


@pytest.mark.parametrize("window_s", [0.0, 0.025, 3.0])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_a_sensor_lags_behind_by_any_time(
    shape: Shape, window_s: float, scripted_nvml: ScriptedNvml
) -> None:
    sensor = Sensor(update_s=0.25, window_s=window_s, lag_s=2.8, phase_s=0.06)
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((FakeGpu(power=shape, instant=sensor),), clock=clock.path))
    with opened():
        (seen,) = instant_w(clock, 0.06 + 36 * 0.25 + 0.1)
    until_s = 0.06 + 36 * 0.25 - 2.8
    true_w = (
        shape.energy_j(until_s - window_s, until_s) / window_s
        if window_s
        else shape.power_w(until_s)
    )
    assert seen == pytest.approx(true_w, abs=1e-3)


def test_readings_are_rounded_to_what_the_sensor_resolves(scripted_nvml: ScriptedNvml) -> None:
    sensor = Sensor(update_s=0.1, noise_w=4.0, resolution_w=5.0)
    clock = scripted_nvml.clock()
    gpu = FakeGpu(power=Constant(122.0), instant=sensor)
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        watts = instant_w(clock, *(0.05 + 0.1 * i for i in range(300)))
    assert {w % 5.0 for w in watts} == {0.0}
    assert len(set(watts)) > 3
    assert sum(watts) / len(watts) == pytest.approx(122.0, abs=1.0)


def test_renewals_come_early_and_late_but_keep_their_pace(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(
        power=Ramp(0.0, 1000.0, 0.0, 100.0),
        instant=Sensor(update_s=0.1, jitter=0.3, seed=5),
        counter=Counter(step_s=0.1, jitter=0.2, start_j=0.0, seed=6),
    )
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    moved_s: dict[str, list[float]] = {"power": [], "energy": []}
    last = {"power": -1.0, "energy": -1.0}
    with opened():
        for i in range(1000, 21_000):
            (watts,) = instant_w(clock, 0.001 * i)
            (joules,) = counter_j(clock, 0.001 * i)
            for name, value in (("power", watts), ("energy", joules)):
                if value != last[name]:
                    moved_s[name].append(0.001 * i)
                last[name] = value
    for name, share in (("power", 0.3), ("energy", 0.2)):
        steps = [b - a for a, b in pairwise(moved_s[name][1:])]
        off_s = [t - 0.1 * round(t / 0.1) for t in moved_s[name][1:]]
        assert len(steps) == pytest.approx(199, abs=1)
        assert max(map(abs, off_s)) <= share * 0.1 + 0.001
        assert max(steps) - min(steps) > share * 0.1  # they do come early and late
    assert watts == pytest.approx(10.0 * moved_s["power"][-1], abs=0.02)


@pytest.mark.parametrize("on", ["identity", "handle"])
def test_a_board_may_answer_nothing_from_the_start(on: str, scripted_nvml: ScriptedNvml) -> None:
    boards = FakeGpu(faults=(Fault("lost", on=on),)), FakeGpu(uuid="GPU-2")
    scripted_nvml.play(Scenario(boards, clock=scripted_nvml.clock().path))
    with opened():
        assert pynvml.nvmlDeviceGetCount() == 2
        with pytest.raises(pynvml.NVMLError_GpuIsLost):
            pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))
        assert pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(1)) == "GPU-2"
        if on == "handle":
            with pytest.raises(pynvml.NVMLError_GpuIsLost):
                pynvml.nvmlDeviceGetHandleByUUID(boards[0].uuid)


def test_a_call_may_fail_only_while_the_board_is_opened(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(
        power=Constant(100.0),
        counter=Counter(start_j=0.0),
        faults=(Fault("unknown", on="energy", nth=1, count=2),),
    )
    clock = scripted_nvml.clock(3.0)
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        for _ in range(2):
            with pytest.raises(pynvml.NVMLError_Unknown):
                pynvml.nvmlDeviceGetTotalEnergyConsumption(first())
        assert counter_j(clock, 4.0) == pytest.approx([400.0])


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


def test_a_counter_of_a_part_time_sensor_loses_what_it_does_not_count(
    scripted_nvml: ScriptedNvml,
) -> None:
    load = Square(50.0, 250.0, 0.7)
    sensor = Sensor(update_s=0.1, window_s=0.025, gain=1.05)
    counter = Counter(start_j=0.0, from_sensor=True, rates=(Rate(3.0, 5.0),), events=(Event(6, 9),))
    clock = scripted_nvml.clock()
    gpu = FakeGpu(power=load, instant=sensor, counter=counter)
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))

    def shown_j(first_tick: int, last_tick: int) -> float:
        ends = (0.1 * tick for tick in range(first_tick + 1, last_tick + 1))
        return sum(1.05 * 0.1 * load.energy_j(t - 0.025, t) / 0.025 for t in ends)

    with opened():
        seen = counter_j(clock, 2.95, 8.95, 2.95)  # time may go back, too
    assert seen[0] == seen[2] == pytest.approx(shown_j(0, 29))
    assert seen[1] == pytest.approx(shown_j(0, 30) + shown_j(50, 89) + 9.0)


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
