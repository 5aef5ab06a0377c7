"""A run, ``monitor`` and ``Meter`` measure through one session: they leave the same files."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.faulty_machine import HEALTHY
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Scenario
from fakes.user_settings import noisy_python
from program import start, wait_for, wbcbench
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.lock import HOST, machine_lock
from wbcbench.core.record import Circumstances, RunRecord
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import MonotonicClock, Window
from wbcbench.measure.command import monitor_command
from wbcbench.measure.program_run import create_run
from wbcbench.measure.sampling_process import SideSampler
from wbcbench.measure.window_result import read_recording
from wbcbench.power.session import MeteringRequest, sampling

METERS = ("simulated", "nvml")
SPEC = RunSpec("leaky-dropout", seed=0, meters=METERS, idle_s=60.0)


def record_idle_run(results: Path) -> RunDir:
    """A run that is stopped while the machine is idle, before anything is trained."""
    run = RunDir(results / SPEC.run_id)
    run.create(SPEC, Local())
    process = start("work", str(run.path), "--quiet")
    wait_for(lambda: bool(run.read_messages()) and bool(run.read_telemetry()), "sampling")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return run


def monitor_and_copy(folder: Path) -> RunDir:
    """What lies in the folder of ``wbcbench monitor`` while the command goes on."""
    folder.mkdir()
    copied = folder / "copied"
    ended = wbcbench(
        "monitor", "--meters", ",".join(METERS), "--quiet", "--no-save", "--",
        "sh", "-c", f'cp -r "$TMPDIR"/wbcbench-* {copied}', env={"TMPDIR": str(folder)},
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return RunDir(copied)


def contents(run: RunDir) -> tuple[set[str], dict[str, str]]:
    """The channels that have a trace, and the first line of every log, by its file's name."""
    logs = {path.name: path.read_text().splitlines()[0] for path in run.path.glob("telemetry/*")}
    return {trace.channel.name for trace in run.read_traces() if trace.t_s}, logs


def channels(run: RunDir) -> list[dict[str, Any]]:
    """What the traces hold, but for what each probe measured anew."""
    stated: list[dict[str, Any]] = json.loads((run.path / "channels.json").read_bytes())
    probed = ("update_s", "repeat_share")
    return [channel | {name: channel[name] is not None for name in probed} for channel in stated]


def circumstances(seen: Circumstances | RunRecord | None) -> dict[str, Any]:
    """What does not depend on the moment."""
    assert seen is not None
    return {
        "meters": seen.meters,
        "absent": seen.absent,
        "cards": [(card.channel, card.kind_guess) for card in seen.sensor_cards],
        "sampling": [(each.meter, each.interval_s) for each in seen.sampling],
    }


def test_a_run_a_monitor_and_a_meter_leave_the_same_files(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((HEALTHY,)))
    run = record_idle_run(tmp_path / "results")
    monitored = monitor_and_copy(tmp_path / "monitor")
    request = MeteringRequest(METERS)
    program = create_run(tmp_path / "meter", ["program"], request)
    metered = program.run
    assert SideSampler(program, request).stop("done", None) is None

    measured, logs = contents(run)
    assert {name.partition("/")[0] for name in measured} == {"simulated", "nvml"}
    assert set(logs) == {f"{HEALTHY.uuid}.csv", "cpu.csv"}
    assert contents(monitored) == contents(metered) == (measured, logs)
    assert not (run.path / "trace").exists()
    assert all(any(folder.path.glob("trace/*.csv")) for folder in (monitored, metered))
    assert channels(monitored) == channels(metered) == channels(run)
    began = circumstances(run.read_began())
    assert len(began["cards"]) == 2
    assert began["sampling"] == []
    assert circumstances(monitored.read_began()) == began
    ended = circumstances(run.read_record())
    assert len(ended["sampling"]) == 2
    assert circumstances(metered.read_began()) == ended


WITH_CODECARBON = MeteringRequest(("nvml", "codecarbon"), options={"codecarbon.ram_power_w": "7"})


def test_beside_a_board_codecarbon_is_read_at_the_edges_of_what_is_measured(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((HEALTHY,)))
    run = RunDir(tmp_path)
    clock = MonotonicClock()
    with sampling(run, WITH_CODECARBON, clock) as session:
        session.rest()
        start_s = clock.now_s()
        clock.sleep_until(start_s + 3.0)
        whole = Window("whole", start_s, clock.now_s())
        session.rest()
    recording = read_recording(run)
    traces = {trace.channel.name: trace for trace in recording.traces}
    ram = traces["codecarbon/ram"]
    assert ram.channel.sparse
    assert len(ram.t_s) == 3  # before, after and at the end
    assert [each.meter for each in recording.circumstances.sampling] == ["nvml/gpu0"]
    result = recording.measure_window(whole)
    joules = {each.channel.name: each.energy.energy_j for each in result.readings}
    assert joules["codecarbon/ram"] == pytest.approx(7 * whole.duration_s, rel=0.15)
    assert joules["codecarbon/gpu"] == pytest.approx(result.energy.energy_j, rel=0.2)
    assert result.energy.channel == "nvml/gpu0/counter"
    part = recording.measure_window(Window("part", start_s + 1.0, start_s + 2.0), work=whole)
    reasons = {each.channel.name: each.energy.reason for each in part.readings}
    assert "edges of the run" in reasons["codecarbon/ram"]
    assert not reasons["nvml/gpu0/counter"]


def test_where_nothing_else_measures_codecarbon_does_so_every_second(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    clock = MonotonicClock()
    with sampling(run, MeteringRequest(("codecarbon",)), clock):
        clock.sleep_until(clock.now_s() + 3.5)
    trace = next(t for t in run.read_traces() if t.channel.name == "codecarbon/ram")
    assert not trace.channel.sparse
    assert trace.channel.update_s == 1.0
    assert len(set(trace.good[1])) >= 3


def test_a_codecarbon_that_does_not_start_is_absent_or_an_error_if_it_was_named(
    scripted_nvml: ScriptedNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_nvml.play(Scenario((HEALTHY,)))
    silenced = "wbcbench.power.codecarbon_process"
    monkeypatch.setattr(sys, "executable", noisy_python(tmp_path, silenced))
    done = monitor_command(MeteringRequest(), ["true"])
    absent = done.recording.circumstances.absent
    assert "does not measure here" in {each.meter: each.reason for each in absent}["codecarbon"]
    assert done.result.energy.status == "measured"
    with pytest.raises(CannotMeasureError, match="does not measure here"):
        monitor_command(WITH_CODECARBON, ["true"])


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_monitor_beside_another_harness_says_that_the_machine_is_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_shared: bool
) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))
    with machine_lock(HOST if is_shared else "another-machine", share=False):
        done = monitor_command(MeteringRequest(("simulated",)), ["true"])
    assert ("shared-machine" in {warning.code for warning in done.result.warnings}) is is_shared
