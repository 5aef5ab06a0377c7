"""What every meter must do, whatever it reads: NVIDIA, AMD, RAPL and the simulated sensor alike."""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from fakes.amdsmi_plugin import ScriptedAmd
from fakes.meter_benches import (
    AMD_GPUS,
    BROKEN_FROM_S,
    BROKEN_UNTIL_S,
    NVIDIA_GPUS,
    Bench,
    GpuBench,
    make_bench,
    open_files,
)
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Process, Scenario, Throttle
from fakes.power_shapes import Constant
from program import wbcbench
from wbcbench import Meter, registry
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.trace import Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import window_energy
from wbcbench.energy.uncertainty import with_uncertainty
from wbcbench.power.device import Device
from wbcbench.power.meter import MeterRequest, find_meters
from wbcbench.power.probing import probe, update_channels

METERS = ("nvml", "amd", "rapl", "simulated")
GPU_METERS = ("nvml", "amd")
SENSORS = ("nvml", "amd", "rapl")


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return make_bench(request.param, request, tmp_path)


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", names, indirect=True)


@each(*METERS)
def test_channels_are_named_after_their_meter_once_each_and_have_a_value_each(bench: Bench) -> None:
    with ExitStack() as stack:
        meters = [stack.enter_context(meter) for meter in bench.open()]
        channels = [channel for meter in meters for channel in meter.channels]
        assert len({channel.name for channel in channels}) == len(channels)
        for meter in meters:
            assert meter.name.partition("/")[0] == bench.name
            assert len(meter.read()) == len(meter.channels)
            assert all(channel.name.startswith(f"{meter.name}/") for channel in meter.channels)
            json.dumps(meter.describe(), allow_nan=False)


@each(*METERS)
def test_counters_are_joules_and_power_is_watts_of_the_true_load(bench: Bench) -> None:
    with ExitStack() as stack:
        meters = [stack.enter_context(meter) for meter in bench.open()]
        bench.clock.set_s(2.0)
        before = [meter.read() for meter in meters]
        bench.clock.set_s(3.0)
        after = [meter.read() for meter in meters]
    true_j = bench.true_energy_j(2.0, 3.0)
    for meter, old, new in zip(meters, before, after, strict=True):
        for channel, first, last in zip(meter.channels, old, new, strict=True):
            assert first is not None
            assert last is not None
            if channel.kind is Kind.COUNTER:
                assert (last - first) % (channel.wrap_j or 1e12) == pytest.approx(true_j, rel=0.12)
            else:
                assert 90.0 - 1.0 <= last <= 280.0 + 1.0


@each(*METERS)
def test_a_counter_grows_or_wraps_where_it_says(bench: Bench) -> None:
    with ExitStack() as stack:
        meters = [stack.enter_context(meter) for meter in bench.open()]
        rows = []
        for step in range(60):
            bench.clock.set_s(2.0 + 0.1 * step)
            rows.append([value for meter in meters for value in meter.read()])
    channels = [channel for meter in meters for channel in meter.channels]
    for channel, column in zip(channels, zip(*rows, strict=True), strict=True):
        values = [value for value in column if value is not None]
        if channel.kind is not Kind.COUNTER:
            continue
        falls = sum(late < early for early, late in pairwise(values))
        assert falls == 0 or channel.wrap_j is not None
        assert channel.wrap_j is None or max(values) <= channel.wrap_j


@each(*METERS)
def test_joules_of_a_known_load_are_right_within_their_uncertainty(bench: Bench) -> None:
    with ExitStack() as stack:
        (meter, *_) = [stack.enter_context(meter) for meter in bench.open()]
        cards = probe(meter, bench.clock)
        start_s = bench.clock.now_s() + 1.0
        times: list[float] = []
        rows = []
        for poll in range(140):
            bench.clock.set_s(start_s - 1.0 + 0.1 * poll)
            times.append(bench.clock.now_s())
            rows.append(meter.read())
    window = Window("load", start_s + 0.5, start_s + 10.5)
    true_j = bench.true_energy_j(window.start_s, window.end_s)
    channels = update_channels(meter.channels, cards)
    for channel, column in zip(channels, zip(*rows, strict=True), strict=True):
        trace = Trace(channel, times, column)
        energy = with_uncertainty(trace, window, window_energy(trace, window))
        assert energy.energy_j is not None
        assert energy.uncertainty_j is not None
        assert abs(energy.energy_j - true_j) <= energy.uncertainty_j
        assert energy.uncertainty_j < 0.1 * true_j


@each(*SENSORS)
def test_a_failed_read_is_unknown_and_neither_zero_nor_an_error(bench: Bench) -> None:
    with ExitStack() as stack:
        meters = [stack.enter_context(meter) for meter in bench.open()]
        bench.clock.set_s(BROKEN_FROM_S + 1.0)
        for meter in meters:
            assert tuple(meter.read()) == (None,) * len(meter.channels)
        bench.clock.set_s(BROKEN_UNTIL_S + 1.0)
        for meter in meters:
            assert None not in meter.read()


@each(*METERS)
def test_a_meter_opens_again_after_it_was_closed_and_leaves_nothing_open(bench: Bench) -> None:
    meters = bench.open()
    for meter in meters:  # the first opening may load a library, which stays
        with meter:
            names = [channel.name for channel in meter.channels]
    before = open_files()
    for _ in range(3):
        with ExitStack() as stack:
            for meter in meters:
                stack.enter_context(meter)
                assert None not in meter.read()
        assert [channel.name for channel in meters[-1].channels] == names
    assert open_files() == before


@each(*SENSORS)
def test_a_sensor_that_is_closed_reads_nothing(bench: Bench) -> None:
    for meter in bench.open():
        with meter:
            pass
        assert tuple(meter.read()) == (None,) * len(meter.channels)


@each(*GPU_METERS)
def test_one_that_is_closed_leaves_the_others_open(bench: Bench) -> None:
    first, second = bench.open()
    with second:
        with first:
            pass
        assert None not in second.read()


@each(*SENSORS)
def test_what_is_missing_is_an_error_with_the_way_out_and_prints_nothing(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.take_away()
    with pytest.raises(CannotMeasureError) as caught:
        bench.open()
    assert any(way in str(caught.value) for way in ("modprobe", "Install", "Check"))
    assert capfd.readouterr().out == ""


def test_a_machine_without_the_amd_library_says_so_and_prints_nothing(tmp_path: Path) -> None:
    ended = wbcbench(
        "monitor", "--meters", "amd", "--json", "--", "true", env={"ROCM_PATH": str(tmp_path)}
    )
    assert ended.code == CannotMeasureError.exit_code
    assert ended.out == ""
    assert "libamd_smi.so" in ended.err
    assert "ROCM_PATH" in ended.err


# What a GPU must do besides.


@each(*GPU_METERS)
def test_a_gpu_is_chosen_by_index_uuid_or_prefix(bench: GpuBench) -> None:
    first, second = bench.gpus
    for name in ("1", second.uuid, second.uuid[:6]):
        (meter,) = bench.open(gpus=(name,))
        assert meter.device is not None
        assert meter.device.gpu.uuid == second.uuid
        with meter:
            assert {channel.device for channel in meter.channels} == {second.uuid}
    both = [meter.device.gpu.uuid for meter in bench.open() if meter.device]
    assert both == [first.uuid, second.uuid]
    assert len(bench.open(one_gpu=True)) == 1


@each(*GPU_METERS)
def test_a_name_that_no_gpu_has_is_refused_with_the_list(bench: GpuBench) -> None:
    for name in ("7", "GPU-ffff", "banana"):
        with pytest.raises(UsageError, match="names no GPU") as caught:
            bench.open(gpus=(name,))
        assert all(gpu.uuid in str(caught.value) for gpu in bench.gpus)


@each(*GPU_METERS)
def test_gpus_that_the_environment_hides_are_not_measured(bench: GpuBench) -> None:
    first, second = bench.gpus
    bench.hide_all_but(second)
    assert [meter.device.gpu.uuid for meter in bench.open() if meter.device] == [second.uuid]
    assert len(bench.open(gpus=(first.uuid,))) == 1  # a name goes before the environment
    bench.hide_all()
    with pytest.raises(CannotMeasureError, match="hides every"):
        bench.open()


@each(*GPU_METERS)
def test_what_hides_the_other_gpus_from_a_program_names_this_one(
    bench: GpuBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for meter in bench.open():
        assert meter.device is not None
        monkeypatch.setenv(*meter.device.visible_as)
        assert [one.name for one in bench.open()] == [meter.name]
        monkeypatch.delenv(meter.device.visible_as[0])


def open_device(bench: GpuBench, gpu: FakeGpu) -> Device:
    bench.vendor.play(Scenario((gpu,)))
    (meter,) = bench.open()
    assert meter.device is not None
    return meter.device


@each(*GPU_METERS)
def test_telemetry_is_in_si_units(bench: GpuBench) -> None:
    gpu = FakeGpu(
        uuid=bench.gpus[0].uuid,
        bus=bench.gpus[0].bus,
        temperatures=((0.0, 61.0),),
        throttles=(Throttle(0x44),),
        utilization=75,
        memory_used=2 << 30,
        processes=(Process(4242),),
        limit_default_w=280.0,
    )
    with open_device(bench, gpu) as device:
        sample = device.read_telemetry()
    assert sample.temperature_c == 61.0
    assert sample.clock_sm_hz == 1.41e9
    assert sample.clock_memory_hz == 1.215e9
    assert sample.utilization == 0.75
    assert sample.memory_used_bytes == 2 << 30
    assert sample.power_limit_w == 280.0
    assert sample.reasons == ("sw_power_cap", "hw_thermal_slowdown")
    assert sample.pids == (4242,)


@each(*GPU_METERS)
def test_telemetry_that_fails_is_unknown(bench: GpuBench) -> None:
    (meter, _) = bench.open()
    assert meter.device is not None
    with meter.device as device:
        bench.clock.set_s(BROKEN_FROM_S + 1.0)
        sample = device.read_telemetry()
        assert {getattr(sample, name) for name in sample.__slots__} == {None}
        assert device.power_limit_w() is None
        assert device.power_limit_range_w() is None


@each(*GPU_METERS)
def test_a_power_limit_is_set_in_watts_or_refused_with_the_way_out(bench: GpuBench) -> None:
    gpu = FakeGpu(uuid=bench.gpus[0].uuid, bus=bench.gpus[0].bus)
    with open_device(bench, gpu) as device:
        assert device.power_limit_range_w() == (100.0, 300.0)
        with pytest.raises(CannotMeasureError, match="root"):
            device.set_power_limit(180.0)
    settable = FakeGpu(uuid=gpu.uuid, bus=gpu.bus, limit_settable=True)
    with open_device(bench, settable) as device:
        device.set_power_limit(180.0)
        assert device.power_limit_w() == 180.0
        assert device.read_telemetry().power_limit_w == 180.0


@each(*GPU_METERS)
def test_the_description_says_which_gpu_it_is(bench: GpuBench) -> None:
    (meter, _) = bench.open()
    with meter:
        facts = meter.describe()
        power_limit_w = facts["power_limit_enforced_w"]
    assert (facts["uuid"], facts["name"]) == (bench.gpus[0].uuid, bench.gpus[0].name)
    assert (facts["index"], power_limit_w) == (0, 300.0)
    assert str(facts["driver"]) == "580.95.05"
    assert facts["pci_bus_id"] == bench.gpus[0].bus


# What only AMD's GPUs can show.


@pytest.mark.parametrize(
    ("variables", "chosen"),
    [
        ({"HIP_VISIBLE_DEVICES": "0"}, [1]),  # HIP counts along the bus, the library does not
        ({"HIP_VISIBLE_DEVICES": "1,0"}, [0, 1]),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, [0]),  # HIP counts the rest
        ({"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "1"}, []),
        ({"ROCR_VISIBLE_DEVICES": "GPU-a1ff74a1"}, [0]),
    ],
)
def test_rocms_variables_hide_gpus_one_after_the_other(
    variables: dict[str, str],
    chosen: list[int],
    scripted_amd: ScriptedAmd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted_amd.play(Scenario(AMD_GPUS))
    for name, setting in variables.items():
        monkeypatch.setenv(name, setting)
    if chosen:
        meters = find_meters(("amd",), MeterRequest()).meters
        assert [meter.name for meter in meters] == [f"amd/gpu{index}" for index in chosen]
    else:
        with pytest.raises(CannotMeasureError, match="hides every AMD GPU"):
            find_meters(("amd",), MeterRequest())


def test_auto_does_not_list_a_vendor_whose_software_is_not_installed(
    tmp_path: Path,
) -> None:
    ended = wbcbench("monitor", "--json", "--", "true", env={"ROCM_PATH": str(tmp_path)})
    assert ended.code == 0, ended.err
    assert "libamd_smi" not in ended.out


def test_a_run_does_not_measure_a_gpu_that_it_cannot_train_on(scripted_amd: ScriptedAmd) -> None:
    scripted_amd.play(Scenario(AMD_GPUS))
    training = MeterRequest(for_training=True)
    with pytest.raises(CannotMeasureError, match="no ROCm build"):
        find_meters(("amd",), training)
    absent = {one.meter: one.reason for one in find_meters(("auto",), training).absent}
    assert "no ROCm build" in absent["amd"]


# Two vendors on one machine, and the whole command.


@pytest.fixture
def mixture(scripted_nvml: ScriptedNvml, scripted_amd: ScriptedAmd) -> None:
    watts = iter((100.0, 200.0, 300.0, 400.0))
    nvidia, amd = (
        tuple(FakeGpu(Constant(next(watts)), g.uuid, g.name, g.bus) for g in gpus)
        for gpus in (NVIDIA_GPUS, AMD_GPUS)
    )
    scripted_nvml.play(Scenario(nvidia))
    scripted_amd.play(Scenario(amd))


@pytest.mark.usefixtures("mixture")
def test_a_gpu_is_named_among_those_of_all_vendors() -> None:
    names = (NVIDIA_GPUS[1].uuid, AMD_GPUS[0].uuid)
    found = find_meters(("auto",), MeterRequest(gpus=names))
    assert [device.gpu.uuid for device in found.devices] == list(names)
    only = find_meters(("nvml", "amd"), MeterRequest(gpus=names[1:]))
    assert [device.gpu.uuid for device in only.devices] == [names[1]]
    with pytest.raises(UsageError, match="'7' names no GPU"):
        find_meters(("nvml", "amd"), MeterRequest(gpus=("0", "7")))


@pytest.mark.usefixtures("mixture")
def test_monitor_measures_two_amd_gpus() -> None:
    ended = wbcbench("monitor", "--meters", "amd", "--json", "--", "sleep", "1")
    assert ended.code == 0, ended.err
    energies = {channel["name"]: channel for channel in ended.json["channels"]}
    assert set(energies) == {
        "amd/gpu0/counter", "amd/gpu0/power", "amd/gpu1/counter", "amd/gpu1/power",
    }  # fmt: skip
    for index, power_w in ((0, 300.0), (1, 400.0)):
        true_j = power_w * ended.json["duration_s"]
        counter = energies[f"amd/gpu{index}/counter"]
        assert counter["origin"] == "measured"
        assert counter["energy_j"] == pytest.approx(true_j, abs=counter["uncertainty_j"])


@pytest.mark.usefixtures("mixture")
def test_monitor_measures_one_gpu_of_each_vendor_together() -> None:
    names = f"{NVIDIA_GPUS[0].uuid},{AMD_GPUS[1].uuid}"
    ended = wbcbench(
        "monitor", "--meters", "nvml,amd", "--gpus", names, "--json", "--", "sleep", "1"
    )
    assert ended.code == 0, ended.err
    counters = {c["name"]: c for c in ended.json["channels"] if c["kind"] == "counter"}
    assert set(counters) == {"nvml/gpu0/counter", "amd/gpu1/counter"}
    for name, power_w in (("nvml/gpu0/counter", 100.0), ("amd/gpu1/counter", 400.0)):
        true_j = power_w * ended.json["duration_s"]
        energy = counters[name]
        assert energy["energy_j"] == pytest.approx(true_j, abs=energy["uncertainty_j"])
    both = ended.json["energy"]
    true_j = 500.0 * ended.json["duration_s"]
    assert both["energy_j"] == pytest.approx(true_j, abs=both["uncertainty_j"])
    assert (both["channel"].count("+"), both["unread"]) == (1, [])


@pytest.mark.usefixtures("mixture")
def test_meter_measures_an_amd_gpu_in_a_program() -> None:
    with Meter(meters="amd", gpus=[AMD_GPUS[0].uuid]) as meter:
        pass
    energy = meter.energy
    assert energy.channel in ("amd/gpu0/counter", "amd/gpu0/power")  # as short as it is
    assert energy.status is Origin.MEASURED


def test_every_meter_of_the_registry_but_models_is_held_to_this() -> None:
    assert {*METERS, "codecarbon"} == set(registry.METERS)
