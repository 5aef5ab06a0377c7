"""The nvml meter on scripted GPUs: which readings it takes, what it says, how it fails."""

import subprocess
import sys
from contextlib import ExitStack

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import (
    FULL_TIME,
    UNSUPPORTED,
    Counter,
    FakeGpu,
    Fault,
    Process,
    Scenario,
    Sensor,
    Throttle,
)
from fakes.power_shapes import Constant, Ramp
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.trace import Domain, Kind, Origin
from wbcbench.power.device import GpuMeter
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import decode_throttle_reasons, open_meters

NO_COUNTER = Counter(supported=False)


def only_meter(request: MeterRequest | None = None) -> GpuMeter:
    (meter,) = open_meters(request or MeterRequest())
    assert isinstance(meter, GpuMeter)
    return meter


def test_a_modern_board_has_a_counter_and_an_instant_power_channel(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(limit_default_w=250.0)
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        counter, power = meter.channels
    assert (counter.name, power.name) == ("nvml/gpu0/counter", "nvml/gpu0/power")
    assert (counter.kind, power.kind) == (Kind.COUNTER, Kind.SAMPLED)
    assert (counter.reading, power.reading) == ("total_energy", "power_instant")
    for channel in (counter, power):
        assert channel.origin is Origin.MEASURED
        assert channel.domain is Domain.GPU
        assert channel.device == gpu.uuid
        assert channel.limit_w == 250.0


def test_both_readings_come_from_one_driver_call_in_joules_and_watts(
    scripted_nvml: ScriptedNvml,
) -> None:
    ramp = Ramp(50.0, 250.0, 0.0, 10.0)
    gpu = FakeGpu(power=ramp, counter=Counter(step_s=0.0, start_j=0.0), instant=Sensor(update_s=0))
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with only_meter() as meter:
        for now_s in (1.0, 5.0, 9.0):
            clock.set_s(now_s)
            calls_before = scripted_nvml.calls()
            energy_j, power_w = meter.read()
            assert scripted_nvml.calls() == calls_before + 1
            assert energy_j == pytest.approx(ramp.energy_j(0.0, now_s), abs=2e-3)
            assert power_w == pytest.approx(ramp.power_w(now_s), abs=2e-3)


@pytest.mark.parametrize(
    ("gpu", "readings", "ways"),
    [
        (FakeGpu(instant=UNSUPPORTED), ("total_energy", "power_average"), ("field", "field")),
        (
            FakeGpu(instant=UNSUPPORTED, average=UNSUPPORTED),
            ("total_energy", "power_usage"),
            ("field", "call"),
        ),
        (
            FakeGpu(faults=(Fault("unsupported", on="fields"),)),
            ("total_energy", "power_usage"),
            ("call", "call"),
        ),
        (FakeGpu(counter=NO_COUNTER), ("power_instant",), ("field",)),
        (
            FakeGpu(instant=UNSUPPORTED, average=UNSUPPORTED, usage=UNSUPPORTED),
            ("total_energy",),
            ("field",),
        ),
    ],
)
def test_a_board_is_read_by_the_best_way_it_offers_and_says_which(
    gpu: FakeGpu,
    readings: tuple[str, ...],
    ways: tuple[str, ...],
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        assert tuple(channel.reading for channel in meter.channels) == readings
        facts = meter.describe()
        assert facts["read_by"] == dict(zip(readings, ways, strict=True))
        values = dict(zip(readings, meter.read(), strict=True))
    assert all(value is not None for value in values.values())
    assert all(values[r] == pytest.approx(200.0) for r in readings if r.startswith("power"))


def test_a_driver_that_stumbles_once_at_the_start_does_not_lose_the_better_reading(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(faults=(Fault("unknown", on="instant", nth=1),))
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        assert [channel.reading for channel in meter.channels] == ["total_energy", "power_instant"]


@pytest.mark.parametrize("on", ["energy", "instant", "identity"])
def test_a_driver_that_stumbles_longer_at_the_start_is_asked_again(
    on: str, scripted_nvml: ScriptedNvml
) -> None:
    gpu = FakeGpu(faults=(Fault("unknown", on=on, nth=1, count=9),))
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        assert [channel.reading for channel in meter.channels] == ["total_energy", "power_instant"]
        assert meter.describe()["tried_in_vain"] == {}


def test_what_a_board_was_asked_for_in_vain_is_recorded(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(counter=NO_COUNTER, instant=UNSUPPORTED)
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        assert meter.describe()["tried_in_vain"] == {
            "total_energy": "Not Supported",
            "power_instant": "Not Supported",
        }


def test_a_power_channel_never_changes_its_reading_when_that_one_fails(
    scripted_nvml: ScriptedNvml,
) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(faults=(Fault("unsupported", on="instant", at_s=1.0, until_s=2.0),))
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    seen = []
    with only_meter() as meter:
        for now_s in (0.5, 1.5, 2.5):
            clock.set_s(now_s)
            seen.append(tuple(value is not None for value in meter.read()))
    assert seen == [(True, True), (True, False), (True, True)]


def test_a_lost_gpu_is_a_gap_and_not_an_error_or_a_zero(scripted_nvml: ScriptedNvml) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(faults=(Fault("lost", at_s=1.0, until_s=2.0),))
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with only_meter() as meter:
        clock.set_s(1.5)
        assert tuple(meter.read()) == (None, None)
        sample = meter.device.read_telemetry()
        assert sample.temperature_c is None
        assert sample.pids is None
        clock.set_s(2.5)
        assert None not in meter.read()


def test_a_board_without_any_reading_cannot_be_measured(scripted_nvml: ScriptedNvml) -> None:
    none = FakeGpu(instant=UNSUPPORTED, average=UNSUPPORTED, usage=UNSUPPORTED, counter=NO_COUNTER)
    scripted_nvml.play(Scenario((none,)))
    with pytest.raises(CannotMeasureError, match="neither an energy counter"), only_meter():
        pass


@pytest.mark.parametrize(
    ("code", "way_out"),
    [(9, "modprobe"), (4, "/dev/nvidiactl"), (18, "Reboot"), (999, "nvidia-smi")],
)
def test_a_driver_that_does_not_open_is_told_with_the_way_out(
    code: int, way_out: str, scripted_nvml: ScriptedNvml
) -> None:
    scripted_nvml.play(Scenario(init_error=code))
    with pytest.raises(CannotMeasureError, match=way_out):
        open_meters(MeterRequest())


def test_a_machine_without_the_library_is_told_with_the_way_out() -> None:
    # In a process of its own: this one may have the scripted library loaded already.
    program = (
        "from wbcbench.power.meter import MeterRequest\n"
        "from wbcbench.power.nvml import open_meters\n"
        "from wbcbench.core.errors import CannotMeasureError\n"
        "import ctypes\n"
        "try:\n    ctypes.CDLL('libnvidia-ml.so.1')\n"
        "except OSError:\n    pass\n"
        "else:\n    raise SystemExit('has a driver')\n"
        "try:\n    open_meters(MeterRequest())\n"
        "except CannotMeasureError as error:\n    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if "has a driver" in told.stderr:
        pytest.skip("this machine has a real libnvidia-ml.so.1")
    assert "libnvidia-ml.so.1 was not found" in told.stdout
    assert "Install the NVIDIA driver" in told.stdout


def test_every_gpu_has_its_own_meter_and_its_own_joules(scripted_nvml: ScriptedNvml) -> None:
    gpus = tuple(
        FakeGpu(
            power=Constant(100.0 * (i + 1)), uuid=f"GPU-{i}{i}", bus=f"00000000:{9 - i:02X}:00.0"
        )
        for i in range(3)
    )
    scripted_nvml.play(Scenario(gpus))
    with ExitStack() as stack:
        meters = [stack.enter_context(meter) for meter in open_meters(MeterRequest())]
        powers = [meter.read()[1] for meter in meters]
    assert [meter.name for meter in meters] == ["nvml/gpu0", "nvml/gpu1", "nvml/gpu2"]
    assert powers == pytest.approx([100.0, 200.0, 300.0])


def test_the_description_holds_identity_driver_limits_and_modes(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(ecc=True, persistence=False, limit_default_w=280.0, limit_min_w=120.0)
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        facts = meter.describe()
    expected = {
        "name": gpu.name,
        "uuid": gpu.uuid,
        "pci_bus_id": gpu.bus,
        "serial": gpu.serial,
        "driver": "580.95.05",
        "nvml": "13.580.95.05",
        "cuda": "13.0",
        "architecture": "Ampere",
        "persistence_mode": False,
        "ecc_mode": True,
        "mig_mode": False,
        "power_limit_enforced_w": 280.0,
        "power_limit_default_w": 280.0,
        "power_limit_min_w": 120.0,
        "power_limit_max_w": 300.0,
        "readings": {
            "nvml/gpu0/counter": "total_energy",
            "nvml/gpu0/power": "power_instant",
        },
    }
    assert {key: facts[key] for key in expected} == expected


def test_text_that_is_not_utf_8_is_unknown_and_the_board_is_measured(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(name="Test \udcff", serial="\udcfe", bus="0000\udcff:3B:00.0")
    scripted_nvml.play(Scenario((gpu,), driver="\udcff", nvml="1\udcff"))
    with only_meter() as meter:
        facts = meter.describe()
        assert None not in meter.read()
    unknown = {"serial": None, "driver": None, "nvml": None, "name": "", "pci_bus_id": ""}
    assert {key: facts[key] for key in unknown} == unknown
    assert facts["uuid"] == gpu.uuid


def test_a_board_whose_uuid_is_no_text_says_so(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FakeGpu(uuid="GPU-\udcff"),)))
    assert "its UUID is not text" in only_meter().find_problem()


def test_an_error_that_the_driver_cannot_say_is_one_of_the_same_kind(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(faults=(Fault("error", code=1234),)),)))
    assert only_meter().find_problem().startswith("GPU 0")


@pytest.mark.parametrize("limit_w", [0.0, 4_294_967.295])
def test_a_power_limit_that_no_board_has_is_unknown(
    limit_w: float, scripted_nvml: ScriptedNvml
) -> None:
    gpu = FakeGpu(limit_default_w=limit_w, limit_min_w=0.0, limit_max_w=limit_w)
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        facts, sample = meter.describe(), meter.device.read_telemetry()
        assert meter.device.power_limit_w() is None
        assert meter.device.power_limit_range_w() is None
    assert {channel.limit_w for channel in meter.channels} == {None}
    assert {facts[f"power_limit_{which}_w"] for which in ("enforced", "default", "max")} == {None}
    assert sample.power_limit_w is None


def test_telemetry_tells_heat_clocks_load_memory_throttling_and_guests(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(
        temperatures=((0.0, 61.0),),
        throttles=(Throttle(0x48),),
        utilization=75,
        memory_used=2 << 30,
        processes=(Process(4242, memory_bytes=1 << 30), Process(77, kind="graphics")),
        instant=FULL_TIME,
    )
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        sample = meter.device.read_telemetry()
    assert sample.temperature_c == 61.0
    assert sample.clock_sm_hz == 1.41e9
    assert sample.clock_memory_hz == 1.215e9
    assert sample.reasons == ("hw_slowdown", "hw_thermal_slowdown")
    assert sample.utilization == 0.75
    assert sample.memory_used_bytes == 2 << 30
    assert sample.power_limit_w == 300.0
    assert sample.pids == (4242, 77)


def test_telemetry_of_a_board_that_tells_nothing_is_unknown_and_not_zero(
    scripted_nvml: ScriptedNvml,
) -> None:
    groups = ("temperature", "clocks", "utilization", "memory", "throttle", "processes", "limits")
    gpu = FakeGpu(faults=tuple(Fault("unsupported", on=group) for group in groups))
    scripted_nvml.play(Scenario((gpu,)))
    with only_meter() as meter:
        sample = meter.device.read_telemetry()
    names = sample.__slots__
    assert {name: getattr(sample, name) for name in names} == dict.fromkeys(names)


def test_bits_of_newer_drivers_are_named_by_their_number() -> None:
    assert decode_throttle_reasons(0x1004) == ("sw_power_cap", "bit_0x1000")
    assert decode_throttle_reasons(0) == ()
