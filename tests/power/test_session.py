"""A run, ``monitor`` and ``Meter`` measure through one session: they leave the same files."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from fakes.faulty_machine import HEALTHY
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Scenario
from program import start, wait_for, wbcbench
from wbcbench.core.lock import HOST, machine_lock
from wbcbench.core.record import Circumstances, RunRecord
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.measure.command import monitor_command
from wbcbench.measure.sampling_process import SideSampler
from wbcbench.power.session import MeteringRequest

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
        "monitor", "--meters", ",".join(METERS), "--quiet", "--",
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
    (tmp_path / "meter").mkdir()
    metered = RunDir(tmp_path / "meter")
    assert SideSampler(metered.path, MeteringRequest(METERS)).stop() is None

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


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_monitor_beside_another_harness_says_that_the_machine_is_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_shared: bool
) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))
    with machine_lock(HOST if is_shared else "another-machine", share=False):
        done = monitor_command(MeteringRequest(("simulated",)), ["true"])
    assert ("shared-machine" in {warning.code for warning in done.result.warnings}) is is_shared
