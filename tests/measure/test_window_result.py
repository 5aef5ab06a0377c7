"""A window is judged as the training of a run is, whatever its name."""

import csv
import io
from dataclasses import asdict, replace

import pytest

from wbcbench.core.board_state import BoardSample
from wbcbench.core.record import Circumstances
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.measure.command import Monitored, write_polls
from wbcbench.measure.window_result import Recording

GPU = "GPU-1"
COUNTER = Channel(
    "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy",
    limit_w=400.0, device=GPU,
)  # fmt: skip
POWER = replace(COUNTER, name="nvml/gpu0/power", kind=Kind.SAMPLED, reading="power_instant")
TIMES = [0.1 * i for i in range(1000)]
CIRCUMSTANCES = Circumstances(started_utc="", provenance={})

# A name that is nothing to a run, and names that mean something in one.
NAMES = ("my work", "train", "idle_cold", "idle_post", "validate-1", "warmup", "evaluate")


def counter(change=lambda t_s, energy_j: energy_j):
    return Trace(COUNTER, TIMES, [change(t, 200.0 * t) for t in TIMES])


def power(change=lambda t_s, power_w: power_w):
    ripple = [200.0 + (i % 2) for i in range(len(TIMES))]
    return Trace(POWER, TIMES, [change(t, w) for t, w in zip(TIMES, ripple, strict=True)])


def torn(trace, start_s, end_s):
    kept = [i for i, t in enumerate(TIMES) if not start_s < t < end_s]
    return Trace(trace.channel, [TIMES[i] for i in kept], [trace.value[i] for i in kept])


def busy_board(**what):
    return {
        GPU: [
            BoardSample(float(t), 30.0 + t / 2, utilization=0.9, own=(1,), **what)
            for t in range(100)
        ]
    }


QUIET = {}
LONG, SHORT = (10.0, 90.0), (50.0, 53.0)


def measure(name, traces, samples=QUIET, edges=LONG, *, is_cut=False):
    recording, window = Recording(tuple(traces), samples, CIRCUMSTANCES), Window(name, *edges)
    evidence = recording.collect_evidence([window], cut=(name,) if is_cut else ())
    return recording.judge_window(evidence, window)


CASES = {
    "window-truncated": ([counter(), power()], QUIET, LONG, True, "invalid"),
    "short-window": ([power()], QUIET, SHORT, False, "info"),
    "few-samples": ([counter(), power()], QUIET, SHORT, False, "info"),
    "energy-unknown": ([torn(power(), 80.0, 200.0)], QUIET, LONG, False, "invalid"),
    "fallback-source": (
        [counter(lambda t, j: j if t < 40 else 1e4), power()], QUIET, LONG, False, "suspect",
    ),
    "sampling-gap": ([torn(power(), 15.0, 85.0)], QUIET, LONG, False, "invalid"),
    "reads-failed": (
        [counter(lambda t, j: None if 30 < t < 31 else j), power()], QUIET, LONG, False, "suspect",
    ),
    "readings-disagree": ([counter(), power(lambda t, w: 1.3 * w)], QUIET, LONG, False, "invalid"),
    "throttled": (
        [counter(), power()], busy_board(reasons=("hw_slowdown",)), LONG, False, "invalid",
    ),
    "power-capped": (
        [counter(), power()], busy_board(reasons=("sw_power_cap",)), LONG, False, "info",
    ),
    "cold-start": ([counter(), power()], busy_board(), LONG, False, "info"),
    "foreign-process": (
        [counter(), power()], busy_board(foreign=(77,)), LONG, False, "suspect",
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_a_window_has_the_same_warnings_under_any_name(code, name):
    traces, samples, edges, is_cut, severity = CASES[code]
    found = measure(name, traces, samples, edges, is_cut=is_cut)
    (warning,) = (each for each in found.warnings if each.code == code)
    assert (warning.severity, warning.window) == (severity, name)
    plain = measure("a window", traces, samples, edges, is_cut=is_cut)
    assert repr(asdict(found)) == repr(asdict(plain)).replace("a window", name)


@pytest.mark.parametrize("code", CASES)
def test_no_warning_about_a_window_mentions_training(code):
    traces, samples, edges, is_cut, _ = CASES[code]
    for warning in measure("my work", traces, samples, edges, is_cut=is_cut).warnings:
        assert "`train`" not in warning.detail + warning.advice
        assert " train." not in warning.detail
        assert "Train" not in warning.advice
        assert "epoch" not in warning.advice


def test_the_advice_names_the_window():
    (warning,) = (
        each for each in measure("my work", [power()], edges=SHORT).warnings
        if each.code == "short-window"
    )  # fmt: skip
    assert "`my work` lasted 3.0 s" in warning.detail
    assert "at least a minute" in warning.advice


def list_polls(*traces):
    """Rows of ``monitor --csv`` by channel, and what was stated of the window."""
    recording, window = Recording(tuple(traces), QUIET, CIRCUMSTANCES), Window("command", *LONG)
    result, stream = recording.measure_window(window), io.StringIO()
    write_polls(stream, Monitored(result, 0, recording, program=None))
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    return [[row for row in rows if row["channel"] == t.channel.name] for t in traces], result


def test_polls_of_a_counter_that_broke_end_with_the_stated_joules_or_have_none():
    """With a power reading beside it its break is bridged; without one nothing is known."""
    broken = counter(lambda t, j: j if t < 50.0 else j - 5_000.0)
    (bridged, _), stated = list_polls(broken, power())
    energy_j = stated.readings[0].energy.energy_j
    assert float(bridged[-1]["energy_j"]) == pytest.approx(energy_j, rel=0.01)
    (alone,), stated = list_polls(broken)
    assert stated.readings[0].energy.energy_j is None
    assert {row["energy_j"] for row in alone} == {""}
    powers_w = [float(row["power_w"]) for row in alone if row["power_w"]]
    assert 0 < len(alone) - len(powers_w) < 10
    assert min(powers_w) > 0.0
