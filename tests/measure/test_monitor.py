"""``wbcbench monitor``: other people's commands, measured and left alone."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Counter, FakeGpu, Fault, Process, Scenario
from fakes.power_shapes import Constant
from program import command, start, wbcbench
from wbcbench.cli import COMMANDS, build_app
from wbcbench.commands.monitor import build_document
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import MonotonicClock, Window
from wbcbench.energy.appraise import review_traces
from wbcbench.measure.command import (
    ChildCommand,
    CommandNotFoundError,
    CommandNotRunnableError,
    Monitored,
    check,
    monitor_command,
    write_polls,
)
from wbcbench.measure.window_result import peak_power_w
from wbcbench.power.meter import MeterRequest
from wbcbench.power.session import MeteringRequest
from wbcbench.power.simulated import SimulatedMeter, open_meters

app = build_app(COMMANDS)

APP = build_app(["monitor", "work"])  # with one command alone its name would be left out
SIMULATED = ("monitor", "--meters", "simulated")
CHANNEL_KEYS = {
    "name",
    "domain",
    "kind",
    "origin",
    "energy_j",
    "uncertainty_j",
    "mean_power_w",
    "peak_power_w",
    "samples",
    "max_gap_s",
}


def measured(*words: str, meter: str = "simulated") -> Monitored:
    return monitor_command(MeteringRequest(meters=(meter,)), words)


def told(done: Monitored) -> dict[str, Any]:
    return build_document(done)


def codes(done: Monitored) -> set[str]:
    return {warning.code for warning in done.result.warnings}


@pytest.fixture(scope="module")
def slept() -> Monitored:
    return measured("sleep", "1.3")


def test_the_document_has_the_promised_shape_and_the_commands_own_words_stay_out_of_it() -> None:
    ended = wbcbench(*SIMULATED, "--json", "--", "sh", "-c", "echo mine; echo err >&2; exit 7")
    assert ended.code == 7
    found = json.loads(ended.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert list(found) == [
        "schema",
        "duration_s",
        "energy",
        "channels",
        "quality",
        "warnings",
        "exit_status",
        "run_dir",
    ]
    assert found["schema"] == "wbcbench.monitor/2"
    assert found["exit_status"] == 7
    keys = {"energy_j", "uncertainty_j", "board_uncertainty_j"}
    keys |= {"status", "channel", "method", "unread", "unrated"}
    assert set(found["energy"]) == keys
    assert found["energy"]["status"] == "simulated"
    assert all(set(channel) == CHANNEL_KEYS for channel in found["channels"])
    assert all(set(c) == {"code", "severity", "detail", "advice"} for c in found["warnings"])
    assert ended.err == "mine\nerr\n"


def test_without_json_the_commands_output_is_untouched_and_the_cost_is_told_on_stderr() -> None:
    ended = wbcbench(*SIMULATED, "--", "printf", "a\\nb")
    assert (ended.code, ended.out) == (0, "a\nb")
    assert "simulated/counter" in ended.err
    assert "short-window" in ended.err


def test_a_command_under_a_second_is_flagged_and_its_joules_lie_within_their_interval() -> None:
    done = measured("sleep", "0.4")
    window, energy = done.result.window, done.result.energy
    (meter,) = open_meters(MeterRequest())
    assert isinstance(meter, SimulatedMeter)
    truth_j = meter.signal.true_energy_j(window.start_s, window.end_s)
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    assert window.duration_s >= 0.4
    assert abs(energy.energy_j - truth_j) <= energy.uncertainty_j
    assert {"short-window", "few-samples"} <= codes(done)
    assert done.result.quality == "suspect"


def test_even_a_command_that_ends_at_once_by_a_signal_never_costs_nothing() -> None:
    done = measured("sh", "-c", "kill -9 $$")
    assert done.result.energy.energy_j is not None
    assert done.result.energy.energy_j > 0
    assert done.result.energy.uncertainty_j is not None
    assert done.result.energy.uncertainty_j > 0
    assert done.result.quality != "valid"
    assert done.exit_status == 128 + 9


def test_a_command_that_does_not_exist_is_127_and_nothing_is_measured() -> None:
    result = CliRunner().invoke(APP, [*SIMULATED, "--", "no-such-command-here"])
    assert isinstance(result.exception, CommandNotFoundError)
    assert result.exception.exit_code == 127
    assert "'no-such-command-here'" in str(result.exception)


def test_a_file_that_may_not_be_executed_is_126(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    with pytest.raises(CommandNotRunnableError, match="chmod"):
        check([str(script)])
    script.chmod(0o755)
    with pytest.raises(CommandNotRunnableError) as caught:
        ChildCommand([str(script)], MonotonicClock(), None)
    assert caught.value.exit_code == 126


def test_a_meter_that_does_not_work_here_stops_it_before_the_command(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario(init_error=9))
    touched = tmp_path / "touched"
    with pytest.raises(CannotMeasureError, match="driver is not loaded"):
        measured("touch", str(touched), meter="nvml")
    assert not touched.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--meters", "sinthetic"),
        ("--meters", ","),
        ("--interval", "0"),
        ("--interval", "nan"),
        ("--csv", "/no/folder/x.csv"),
    ],
)
def test_what_cannot_be_measured_with_is_refused_before_the_command(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(APP, [*SIMULATED, *words, "--", "false"])
    assert isinstance(result.exception, UsageError)


def test_the_csv_holds_every_reading_and_its_joules_end_below_the_energy(
    slept: Monitored,
) -> None:
    stream = io.StringIO()
    write_polls(stream, slept)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    for channel in told(slept)["channels"]:
        mine = [row for row in rows if row["channel"] == channel["name"]]
        assert len(mine) == channel["samples"]
        joules = [float(row["energy_j"]) for row in mine]
        assert joules == sorted(joules)
        assert 0 < joules[-1] < channel["energy_j"]
    powers = [float(row["power_w"]) for row in rows if row["channel"] == "simulated/power"]
    (channel,) = (c for c in told(slept)["channels"] if c["kind"] == "sampled")
    assert channel["peak_power_w"] == max(powers)


def test_the_trace_reaches_a_second_past_both_edges_of_the_command(slept: Monitored) -> None:
    window = slept.result.window
    for trace in slept.recording.traces:
        assert trace.t_s[0] <= window.start_s - 0.9
        assert trace.t_s[-1] >= window.end_s + 0.8


def test_a_command_has_no_warnings_that_only_a_training_run_can_have(slept: Monitored) -> None:
    of_any_window = {"few-samples", "short-window", "wide-interval", "sensor-simulated"}
    # On a machine that is busy with other work polls may come late, and are said to.
    assert codes(slept) <= of_any_window | {"polls-missed"}
    assert "short-window" in codes(slept)


def test_an_interrupt_goes_to_the_command_which_decides_and_its_joules_are_told() -> None:
    program = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    monitor = start(*SIMULATED, "--", "sh", "-c", program)
    assert monitor.stdout is not None
    assert monitor.stdout.readline() == "ready\n"
    monitor.send_signal(signal.SIGINT)
    out, err = monitor.communicate(timeout=60)
    assert out == "caught\n"
    assert "simulated/counter" in err
    assert monitor.returncode == 5


def test_the_third_interrupt_ends_a_command_that_will_not_end(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    heard.touch()
    program = f"trap 'echo no >> {heard}' INT; echo ready >> {heard}; while :; do sleep 0.02; done"
    child = ChildCommand(["sh", "-c", program], MonotonicClock(), None)
    for lines in (1, 2, 3):
        while len(heard.read_text().splitlines()) < lines:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
    assert child.ended.wait(30)
    assert child.exit_status == 128 + 9


def test_on_a_terminal_the_commands_group_hears_ctrl_c_once() -> None:
    """The terminal tells the whole group; a second, passed-on signal would be one too many."""
    program = (
        "import signal, time; heard = []\n"
        "signal.signal(signal.SIGINT, lambda *_: heard.append(1))\n"
        "print('ready', flush=True)\n"
        "while not heard: time.sleep(0.01)\n"
        "time.sleep(0.5)  # for a second one, if there were any\n"
        "print('heard', len(heard), 'in all', flush=True)\n"
    )
    words = command(*SIMULATED, "-q", "--", sys.executable, "-c", program)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    seen = b""
    try:
        while b"ready" not in seen:
            seen += os.read(terminal, 1024)
        os.write(terminal, b"\x03")
        while b"in all" not in seen:
            seen += os.read(terminal, 1024)
    finally:
        drained = threading.Thread(target=_drain, args=(terminal,), daemon=True)
        drained.start()
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert b"heard 1 in all" in seen
    assert os.waitstatus_to_exitcode(status) == 0


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 1024):
            pass
    except OSError:
        return  # the other end is closed


def test_without_a_command_it_measures_until_ctrl_c_and_ends_well() -> None:
    monitor = start(*SIMULATED)
    assert monitor.stderr is not None
    monitor.stderr.readline()  # the first of the log's lines
    time.sleep(0.5)
    monitor.send_signal(signal.SIGINT)
    time.sleep(0.1)
    monitor.send_signal(signal.SIGINT)  # an impatient second one loses nothing
    out, _ = monitor.communicate(timeout=60)
    assert out.startswith("machine: ")
    assert "simulated/counter" in out
    assert monitor.returncode == 0


def test_a_measured_gpu_is_the_primary_energy_and_its_truth_lies_within_the_interval(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(power=Constant(200.0), processes=(Process(pid=1),)),)))
    done = measured("sleep", "1.5", meter="nvml")
    energy = done.result.energy
    assert energy.status == "measured"
    # The steps of the counter are coarse for so short a window.
    assert energy.channel in ("nvml/gpu0/counter", "nvml/gpu0/power")
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    truth_j = 200.0 * done.result.window.duration_s
    assert abs(energy.energy_j - truth_j) <= energy.uncertainty_j
    peaks = [channel["peak_power_w"] for channel in told(done)["channels"]]
    assert peaks == pytest.approx([200, 200], rel=0.2)
    assert "foreign-process" in codes(done), "somebody else's process is on the GPU"


def test_a_frozen_counter_gives_way_to_its_witness_and_is_never_zero(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(power=Constant(200.0), counter=Counter(frozen_at_s=0.0))
    scripted_nvml.play(Scenario((gpu,)))
    done = measured("sleep", "1.5", meter="nvml")
    assert done.result.energy.channel == "nvml/gpu0/power"
    truth_j = 200.0 * done.result.window.duration_s
    assert done.result.energy.energy_j == pytest.approx(truth_j, rel=0.05)
    assert told(done)["channels"][0]["energy_j"] is None
    assert done.result.quality == "suspect"


def test_a_lost_gpu_has_unknown_joules_and_no_valid_quality(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FakeGpu(faults=(Fault("lost", at_s=1.5),)),)))
    done = measured("sleep", "1.5", meter="nvml")
    assert told(done)["energy"] == {
        "energy_j": None,
        "uncertainty_j": None,
        "board_uncertainty_j": None,
        "status": "absent",
        "channel": "nvml/gpu0/counter",
        "method": "counter",
        "unread": ("nvml/gpu0",),
        "unrated": (),
    }
    assert done.result.quality == "invalid"


def test_a_bad_request_is_refused_in_words() -> None:
    for asked in ({"interval_s": 0.0}, {"interval_s": float("nan")}, {"meters": ()}):
        with pytest.raises(UsageError):
            MeteringRequest(**asked)  # type: ignore[arg-type]


def test_a_counters_peak_is_over_a_second_and_unknown_for_less() -> None:
    channel = Channel("c", Kind.COUNTER, Origin.MEASURED, Domain.GPU)
    times = [i / 10 for i in range(61)]
    # 100 W, and 300 W from 2 s to 4 s.
    joules = [100 * t + 200 * min(max(t - 2, 0), 2) for t in times]
    (trace,) = review_traces([Trace(channel, times, joules)], []).traces
    assert peak_power_w(trace, Window("w", 0.05, 5.95)) == pytest.approx(300)
    assert peak_power_w(trace, Window("w", 0.05, 1.05)) == pytest.approx(100)
    assert peak_power_w(trace, Window("w", 0.05, 0.95)) is None
