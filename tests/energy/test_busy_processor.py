"""Other processes on the machine: whose joules they spoil, and what is said of them."""

from dataclasses import replace

import pytest

from builders.evidence import WINDOWS, counter, estimated_cpu, evidence, find_warnings, power
from builders.machine import RAPL_CHANNELS
from wbcbench.core.cpu_load import CpuLoad
from wbcbench.core.quality import Severity
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Domain, Trace
from wbcbench.energy import thresholds

CPU = RAPL_CHANNELS[0]


def rapl(idle_w: float = 20.0, load_w: float = 60.0) -> Trace:
    """A package: idle, but under load from 14.5 s to 96.5 s."""
    times = [9.0 + 0.1 * i for i in range(930)]
    loaded = [min(max(t - 14.5, 0.0), 82.0) for t in times]
    joules = [
        idle_w * (t - 9.0) + (load_w - idle_w) * s for t, s in zip(times, loaded, strict=True)
    ]
    return Trace(CPU, times, joules)


def loads(others: float, cores: int = 4, **windows: float) -> tuple[CpuLoad, ...]:
    """The share of others in ``train``, and in other windows."""
    shares = {window.name: 0.0 for window in WINDOWS} | {"train": others} | windows
    return tuple(CpuLoad(name, cores, share) for name, share in shares.items())


@pytest.mark.parametrize("cores", [2, 128])
@pytest.mark.parametrize("trace", [rapl(), estimated_cpu()], ids=["measured", "estimated"])
def test_others_make_the_processors_joules_suspect(cores: int, trace: Trace) -> None:
    warning = find_warnings(evidence(trace, cpu_loads=loads(0.25, cores)))["busy-processor"]
    assert warning.severity is Severity.SUSPECT
    assert warning.window == "train"
    assert f"25 % of the processor time in `train` ({0.25 * cores:.1f} of {cores} cores)" in (
        warning.detail
    )
    assert ("follows the load" in warning.detail) is (trace.channel.reading == "tdp_load")


@pytest.mark.parametrize("others", [(), (rapl(),), (estimated_cpu(),)])
def test_they_are_a_note_where_a_board_is_the_primary_component(others: tuple[Trace, ...]) -> None:
    whole = evidence(counter(), power(), *others, cpu_loads=loads(0.5))
    warning = find_warnings(whole)["busy-processor"]
    assert warning.severity is Severity.INFO
    assert "follows the load" not in warning.detail


def test_a_wall_meter_alone_is_spoiled_too() -> None:
    trace = rapl()
    wall = Trace(replace(trace.channel, domain=Domain.SYSTEM), trace.t_s, trace.value)
    warning = find_warnings(evidence(wall, cpu_loads=loads(0.5)))["busy-processor"]
    assert warning.severity is Severity.SUSPECT


def test_a_quiet_machine_and_an_unknown_one_have_no_warning() -> None:
    little = thresholds.OTHERS_CPU_SHARE - 0.001
    unknown = tuple(replace(load, others_share=None, reason="?") for load in loads(1.0))
    for quiet in (loads(little), unknown, ()):
        assert "busy-processor" not in find_warnings(evidence(rapl(), cpu_loads=quiet))


def test_others_in_another_window_are_a_note_about_that_window() -> None:
    warning = find_warnings(evidence(rapl(), cpu_loads=loads(0.01, idle_cold=0.4)))[
        "busy-processor"
    ]
    assert (warning.severity, warning.window) == (Severity.INFO, "idle_cold")
    assert "`train`" not in warning.detail


def test_less_than_nothing_above_idle_is_said_with_its_reason() -> None:
    busy = loads(0.0, idle_cold=0.4, idle_post=0.3)
    trace = rapl(idle_w=60.0, load_w=50.0)
    warning = find_warnings(evidence(trace, cpu_loads=busy))["above-idle-negative"]
    assert warning.severity is Severity.INFO
    assert "`train` drew 50.0 W, the idle windows 60.0 W" in warning.detail
    assert "Others were busy in idle_cold, idle_post" in warning.detail
    warning = find_warnings(evidence(trace, cpu_loads=loads(0.0)))["above-idle-negative"]
    assert "Others" not in warning.detail


def test_a_window_above_idle_has_no_such_warning() -> None:
    for whole in (evidence(rapl()), evidence(counter(), power()), evidence(estimated_cpu())):
        assert "above-idle-negative" not in find_warnings(whole)


def test_a_gpu_without_joules_stays_the_primary_component() -> None:
    absent = (AbsentMeter("nvml/gpu0", "does not answer", Domain.GPU),)
    whole = evidence(rapl(), absent=absent, cpu_loads=loads(0.5), device="/GPU:0")
    assert find_warnings(whole)["busy-processor"].severity is Severity.INFO
