"""What a GPU's driver can do wrong, through the real command line on a scripted driver.

Each fault strikes while ``wbcbench monitor`` measures a command. Whatever it is, joules are within
their ± of the truth or unknown, never zero, and the verdict says that something was wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.faulty_machine import HEALTHY, Make, Measured, measured
from fakes.nvml_scenario import FakeGpu, Fault, Process, Scenario, Sensor, Throttle
from wbcbench.core.run_folder import RunDir

COUNTER, POWER = "nvml/gpu0/counter", "nvml/gpu0/power"
HANG_S = 5.0
AT_ONCE = 4  # they mostly sleep


def one(**changes: object) -> Scenario:
    return Scenario((replace(HEALTHY, **changes),))


def counter(**changes: object) -> Scenario:
    return one(counter=replace(HEALTHY.counter, **changes))


def fault(kind: str, on: str, at_s: float, **fields: float) -> Scenario:
    return one(faults=(Fault(kind, on=on, at_s=at_s, **fields),))


def two_with_a_hang(at_s: float) -> Scenario:
    hang = Fault("hang", on="fields", at_s=at_s, until_s=at_s + HANG_S)
    other = FakeGpu(uuid="GPU-2", bus="00000000:5E:00.0", power=HEALTHY.power)
    return Scenario((replace(HEALTHY, faults=(hang,)), other))


SCENARIOS: Mapping[str, Make] = {
    "nothing": lambda _: one(),
    "counter unsupported": lambda _: counter(supported=False),
    "counter frozen": lambda t: counter(frozen_at_s=t),
    "counter reset": lambda t: counter(reset_at_s=t),
    "counter jumps": lambda t: counter(jump_at_s=t, jump_j=90_000.0),
    "power unsupported": lambda _: one(
        instant=Sensor(supported=False),
        average=Sensor(supported=False),
        usage=Sensor(supported=False),
    ),
    "power fails": lambda t: fault("unsupported", "power", t),
    "power zero": lambda t: fault("zero", "power", t),
    "power stuck": lambda t: fault("spike", "power", t, value=60.0),
    "power spike": lambda t: fault("spike", "power", t, until_s=t + 0.5, value=5000.0),
    "both unsupported": lambda t: fault("unsupported", "fields", t),
    "lost for a while": lambda t: fault("lost", "all", t, until_s=t + 1.5),
    "lost for good": lambda t: fault("lost", "all", t),
    "foreign process": lambda t: one(processes=(Process(pid=1, at_s=t),)),
    "throttled": lambda t: one(throttles=(Throttle(mask=0x40, at_s=t),)),
    "hang": two_with_a_hang,
}
MORE = {
    "hang": {"for_s": HANG_S + 2.0, "words": ("--interval", "0.5")},
    "counter frozen": {"for_s": 4.0},
    "throttled": {"for_s": 4.0},
    "foreign process": {"for_s": 4.0},
}


@pytest.fixture(scope="module")
def all_seen(
    nvml_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[Measured]]:
    folder = tmp_path_factory.mktemp("faults")
    pool = ThreadPoolExecutor(AT_ONCE)
    found = {
        name: pool.submit(
            measured, nvml_folder, folder / name.replace(" ", "-"), make, **MORE.get(name, {})
        )
        for name, make in SCENARIOS.items()
    }
    pool.shutdown(wait=False)
    return found


@pytest.fixture
def seen(request: pytest.FixtureRequest, all_seen: Mapping[str, Future[Measured]]) -> Measured:
    return all_seen[request.param].result()


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("seen", names, indirect=True)


FAULTS = [name for name in SCENARIOS if name not in ("nothing", "counter unsupported")]
SENSOR_CODES = {
    "counter-frozen", "counter-reset", "counter-jump", "counter-outlier", "power-zero",
    "power-stuck", "power-spike", "reads-failed", "readings-disagree", "foreign-process",
    "throttled", "energy-unknown", "fallback-source", "heartbeat-lost",
}  # fmt: skip


@of("nothing")
def test_without_a_fault_none_is_told(seen: Measured) -> None:
    assert not set(seen.codes) & SENSOR_CODES
    assert seen.primary["channel"] == COUNTER
    assert seen.primary["status"] == "measured"
    assert seen.states_the_truth()


@pytest.mark.parametrize("seen", SCENARIOS, indirect=True)
def test_no_fault_becomes_zero_or_negative_joules_or_ends_the_command(seen: Measured) -> None:
    assert seen.code == 0, seen.err
    assert seen.document["exit_status"] == 0
    assert seen.invents_nothing()


@pytest.mark.parametrize("seen", FAULTS, indirect=True)
def test_no_fault_ends_valid(seen: Measured) -> None:
    if seen.primary["channel"] == COUNTER and not set(seen.codes) & SENSOR_CODES:
        # Without a power reading there is no witness; that is no fault of the counter.
        assert [c["name"] for c in seen.document["channels"]] == [COUNTER]
        return
    assert seen.quality in ("suspect", "invalid")


@pytest.mark.parametrize("seen", [n for n in SCENARIOS if n != "lost for good"], indirect=True)
def test_joules_are_within_their_interval_of_the_truth_or_unknown(seen: Measured) -> None:
    assert seen.primary["energy_j"] is None or seen.states_the_truth()


@of("counter unsupported")
def test_without_a_counter_the_integral_is_the_headline(seen: Measured) -> None:
    assert [c["name"] for c in seen.document["channels"]] == [POWER]
    assert seen.primary["channel"] == POWER
    assert seen.states_the_truth()


@of("power unsupported")
def test_without_a_power_reading_the_counter_is_alone(seen: Measured) -> None:
    assert [c["name"] for c in seen.document["channels"]] == [COUNTER]
    assert seen.states_the_truth()


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        ("counter frozen", "counter-frozen"),
        ("counter reset", "counter-reset"),
        ("counter jumps", "counter-jump"),
    ],
    indirect=["seen"],
)
def test_a_counter_at_fault_is_told_and_counts_on_across_its_break(
    seen: Measured, code: str
) -> None:
    assert seen.codes[code] == "suspect"
    # More than half of the window bridged would be power's: a freeze lies about there.
    assert seen.primary["channel"] in ((POWER, COUNTER) if code == "counter-frozen" else (COUNTER,))
    assert seen.states_the_truth()


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        ("power zero", "power-zero"),
        ("power stuck", "power-stuck"),
        ("power spike", "power-spike"),
        ("power fails", "reads-failed"),
    ],
    indirect=["seen"],
)
def test_a_power_reading_at_fault_is_told_and_the_counter_speaks(seen: Measured, code: str) -> None:
    assert seen.codes[code] == "suspect"
    assert seen.primary["channel"] == COUNTER
    assert seen.states_the_truth()


@of("power spike")
def test_a_spike_stays_in_the_trace_and_is_no_peak(seen: Measured) -> None:
    traces = RunDir(Path(seen.document["run_dir"])).read_traces()
    [power] = [trace for trace in traces if trace.channel.name == "nvml/gpu0/power"]
    assert max(power.good[1]) == 5000.0
    assert seen.channel("gpu0/power")["peak_power_w"] < 1000.0


@of("lost for a while")
def test_a_gpu_lost_for_a_while_leaves_a_gap_that_is_told(seen: Measured) -> None:
    assert {"sampling-gap", "reads-failed"} <= set(seen.codes)
    assert seen.channel("gpu0/counter")["max_gap_s"] >= 1.4


@of("lost for good", "both unsupported")
def test_a_gpu_lost_for_good_has_unknown_joules(seen: Measured) -> None:
    assert seen.primary["energy_j"] is None
    assert seen.primary["status"] == "absent"
    assert seen.codes["energy-unknown"] == "invalid"


@of("foreign process")
def test_a_strangers_process_on_the_gpu_is_told(seen: Measured) -> None:
    assert seen.codes["foreign-process"] == "suspect"


@of("throttled")
def test_throttling_is_told(seen: Measured) -> None:
    assert seen.codes["throttled"] in ("suspect", "invalid")


@of("hang")
def test_a_call_that_hangs_for_five_seconds_leaves_other_channels_alone(seen: Measured) -> None:
    gaps = {c["name"]: c["max_gap_s"] for c in seen.document["channels"]}
    assert gaps[COUNTER] >= 0.5 * HANG_S  # a poll is stamped in the middle of its call
    assert gaps["nvml/gpu1/counter"] <= 2 * 0.5
    assert gaps["nvml/gpu1/power"] <= 2 * 0.5
    assert "sampling-gap" in seen.codes
