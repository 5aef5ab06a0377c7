"""What ``monitor`` and ``Meter`` keep: the study ``measured``, and what commands do with it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Scenario
from program import command, start, wait_for, wbcbench
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.provenance import hide_secrets
from wbcbench.core.run_folder import study_runs
from wbcbench.core.spec import MEASURED
from wbcbench.measure.command import PASSED_ON, monitor_command
from wbcbench.measure.program_run import create_run, describe_error, describe_exit
from wbcbench.power.session import MeteringRequest

SIMULATED = ("monitor", "--meters", "simulated")
INNER = (
    "import time\nfrom wbcbench import Meter\n"
    "with Meter('simulated') as m:\n    with m.window('train'): time.sleep(0.2)\n"
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a monitored program with a ``Meter`` in it, and of a command that fails."""
    results = tmp_path_factory.mktemp("kept") / "results"
    env = {"WBCBENCH_RESULTS": str(results)}
    ended = wbcbench(*SIMULATED, "--", sys.executable, "-c", INNER, env=env)
    assert ended.code == 0, ended.err
    assert "Saved in " in ended.err
    ended = wbcbench(*SIMULATED, "--json", "--", "sh", "-c", "exit 3", "--token=abc", env=env)
    assert ended.code == 3
    assert Path(ended.json["run_dir"]).name.startswith("sh-")
    return results


def test_a_monitored_program_and_the_meter_in_it_have_a_run_each(kept: Path) -> None:
    records = [run.read_record() for run in study_runs(kept, MEASURED)]
    windows = sorted([window.name for window in record.windows] for record in records)
    assert windows == [["command"], ["command"], ["train", "whole"]]
    assert {record.spec.variant for record in records} == {"python", "sh"}
    outer, inner = sorted(
        (record for record in records if record.spec.variant == "python"),
        key=lambda record: len(record.windows),
    )
    around, whole = outer.windows[0], inner.windows[1]
    assert around.start_s < whole.start_s < whole.end_s < around.end_s


def test_a_command_that_fails_is_a_failed_run_with_its_joules_and_without_its_secrets(
    kept: Path,
) -> None:
    (run,) = (run for run in study_runs(kept, MEASURED) if run.run_id.startswith("sh-"))
    record = run.read_record()
    assert (record.status, record.error and record.error.exit_status) == ("failed", 3)
    assert (record.energies[0].energy_j or 0) > 0
    assert record.provenance["command"] == ["sh", "-c", "exit 3", "--token=***"]
    assert all(b"abc" not in path.read_bytes() for path in run.path.rglob("*") if path.is_file())


def test_list_and_show_know_what_was_measured(kept: Path) -> None:
    listed = wbcbench("list", "measured", "--results", str(kept), "--json").json["runs"]
    assert {entry["program"]["window"] for entry in listed} == {"train", "command"}
    assert all(entry["program"]["board_uncertainty_j"] == 0.0 for entry in listed)  # simulated
    assert all(entry["program"]["energy_j"] > 0 and entry["row"] is None for entry in listed)
    in_words = " ".join(wbcbench("list", "--results", str(kept)).out.split())
    assert "run state window energy J time s" in in_words.replace("quality ", "")
    assert "train, GPU counter, simulated" in in_words
    assert "2 done, 1 failed" in in_words
    shown = wbcbench("show", "sh-", "--results", str(kept))
    assert "command, GPU counter, simulated" in shown.out
    assert "The command ended with status 3." in shown.out
    assert "epochs" not in shown.out
    assert wbcbench("show", "sh-", "--results", str(kept), "--json").json["row"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("report", "measured"),
        ("compare", "measured"),
        ("claims", "measured"),
        ("export", "measured"),
        ("submit", "measured"),
        ("merge", "measured", "--into", "more"),
        ("tensorboard", "measured"),
        ("explain", "sh-", "energy_gpu_train_j"),
        ("run", "--variant", "relu-dropout", "--study", "measured"),
    ],
    ids=lambda words: words[0],
)
def test_what_is_about_trainings_refuses_programs_in_one_sentence(
    words: tuple[str, ...], kept: Path
) -> None:
    ended = wbcbench(*words, "--results", str(kept))
    assert ended.code == 2, ended.out
    assert MEASURED in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (kept / MEASURED / "runs.csv").exists()


def test_a_wall_meters_log_is_attached_to_a_measured_program(kept: Path, tmp_path: Path) -> None:
    (run,) = (run for run in study_runs(kept, MEASURED) if run.run_id.startswith("sh-"))
    pair = run.read_record().provenance["clock_pair"]
    assert isinstance(pair, dict)
    begin_s = float(str(pair["utc_s"])) - 5
    log = tmp_path / "wall.csv"
    rows = (f"{begin_s + 0.5 * i:.3f},{80 + i % 2}" for i in range(60))
    log.write_text("\n".join(["time,power", *rows, ""]))
    ended = wbcbench("attach", str(run.path), "--wall-meter", str(log), "--results", str(kept))
    assert ended.code == 0, ended.err
    shown = wbcbench("show", str(run.path), "--results", str(kept))
    assert "system" in shown.out or "wall" in shown.out
    assert not (kept / MEASURED / "runs.csv").exists()


def test_commands_without_a_study_do_not_take_programs_for_runs(kept: Path) -> None:
    ended = wbcbench("compare", "--results", str(kept))
    assert ended.code == 2
    assert "There are no runs" in ended.err


def test_no_save_leaves_nothing_and_neither_does_what_is_refused(
    scripted_nvml: ScriptedNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    request = MeteringRequest(meters=("simulated",))
    done = monitor_command(request, ["true"])
    assert done.result.energy.energy_j is not None
    scripted_nvml.play(Scenario(init_error=9))
    request = MeteringRequest(meters=("nvml",))
    for results in (None, tmp_path / "results"):
        program = create_run(results, ["true"], request)
        with pytest.raises(CannotMeasureError):
            monitor_command(request, ["true"], program=program)
    assert not list(tmp_path.glob("wbcbench-*"))
    assert not (tmp_path / "results").exists()


def test_where_the_results_cannot_be_written_it_measures_and_says_that_nothing_is_kept(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    ended = wbcbench(*SIMULATED, "--results", str(tmp_path / "file"), "-q", "--", "true")
    assert ended.code == 0
    assert ended.err.startswith("Nothing of this measurement is kept. The results folder ")
    assert "energy" in ended.err


def test_however_often_ctrl_c_comes_after_the_command_nothing_is_lost(tmp_path: Path) -> None:
    monitor = start(*SIMULATED, "-q", "--results", str(tmp_path), "--", "echo", "over")
    assert monitor.stdout is not None
    monitor.stdout.readline()

    def has_record() -> bool:
        monitor.send_signal(signal.SIGINT)
        return all(run.is_finished for run in study_runs(tmp_path, MEASURED))

    wait_for(has_record, "the record")
    monitor.communicate(timeout=60)
    (run,) = study_runs(tmp_path, MEASURED)
    record = run.read_record()
    assert record.status in {"done", "interrupted"}  # it may end ``echo`` itself
    assert (record.energies[0].energy_j or 0) > 0


def test_signals_that_are_ignored_when_monitor_starts_are_ignored_by_it_and_by_the_command(
    tmp_path: Path,
) -> None:
    """`nohup` ignores SIGHUP, the `&` of a script SIGINT and SIGQUIT."""
    words = command(*SIMULATED, "-q", "--results", str(tmp_path), "--", "sh", "-c")
    kills = "; ".join(f"kill -{number:d} $$; kill -{number:d} $PPID" for number in PASSED_ON)
    pid = os.fork()
    if pid == 0:
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_IGN)
        os.execv(words[0], [*words, f"{kills}; sleep 0.1; touch {tmp_path}/lived"])
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (tmp_path / "lived").exists()


def test_ctrl_c_ends_the_measuring_of_a_machine_although_a_shell_ignores_it_in_the_background(
    tmp_path: Path,
) -> None:
    words = command(*SIMULATED, "-q", "--results", str(tmp_path))
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.execv(words[0], words)
    wait_for(lambda: any(run.read_messages() for run in study_runs(tmp_path, MEASURED)), "window")
    time.sleep(0.2)
    os.kill(pid, signal.SIGINT)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# Files of at most so many bytes stand for a disk that fills up: nothing can be written as the
# command begins, or the readings are cut short.
@pytest.mark.parametrize(
    ("limit_bytes", "save", "code"),
    [(0, (), 2), (1_000, ("--no-save",), 2), (6_000, (), 5), (6_000, ("--no-save",), 5)],
)
def test_a_disk_that_fills_up_costs_neither_the_result_nor_the_exit_status(
    limit_bytes: int, save: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    words = (*SIMULATED, "--interval", "0.01", "-q", "--results", str(tmp_path), *save, "--")
    ended = limited(limit_bytes, *command(*words, "sh", "-c", "sleep 1; exit 5"))
    assert (ended.returncode, ended.stdout) == (code, "")
    assert "Traceback" not in ended.stderr
    if code == 5:
        assert "energy unknown" in ended.stderr
        assert "trace-not-written" in ended.stderr
    else:
        assert "cannot be written" in ended.stderr
        assert "Nothing was measured." in ended.stderr


def test_a_disk_that_fills_up_does_not_end_a_program_with_a_meter(tmp_path: Path) -> None:
    program = (
        "import time\nfrom wbcbench import Meter\n"
        "with Meter('simulated', interval_s=0.01) as m: time.sleep(1)\n"
        "print(m.energy.energy_j, m.quality)"
    )
    ended = limited(4_000, sys.executable, "-c", program, WBCBENCH_RESULTS=str(tmp_path))
    assert ended.stdout == "None invalid\n", ended.stderr
    assert "record.json cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert wbcbench("list", MEASURED, "--results", str(tmp_path)).code == 0
    (run,) = study_runs(tmp_path, MEASURED)
    assert run.is_finished, "the next command writes the record"


def limited(limit_bytes: int, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Carry out a command that can write so many bytes into each file."""
    limits = (limit_bytes, limit_bytes)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python takes a file that is cut for whole
    return subprocess.run(
        words,
        env={**os.environ, **environment},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
        capture_output=True,
        text=True,
        check=False,
    )


def test_where_tmpdir_is_no_folder_another_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = (*SIMULATED, "--no-save", "-q", "--", "sh", "-c", "exit 6")
    ended = wbcbench(*words, env={"TMPDIR": str(tmp_path / "file")})
    assert ended.code == 6, ended.err
    assert "energy" in ended.err


def test_the_next_monitor_says_what_was_killed_before_it(tmp_path: Path) -> None:
    words = (*SIMULATED, "-q", "--results", str(tmp_path), "--")
    victim = start(*words, "sh", "-c", "exec >&- 2>&-; exec sleep 5")  # it outlives ``monitor``
    wait_for(lambda: any(run.read_messages() for run in study_runs(tmp_path, MEASURED)), "window")
    victim.kill()
    victim.communicate()
    (run,) = study_runs(tmp_path, MEASURED)
    ended = wbcbench(*words, "true")
    assert f"{run.path} was interrupted; it has its record now." in ended.err
    assert run.read_record().status == "interrupted"


@pytest.mark.parametrize(
    ("status", "ended", "kind"),
    [
        (None, "done", None),
        (0, "done", None),
        (1, "failed", "program-failed"),
        (128 + 9, "failed", "program-killed"),
        (128 + 2, "interrupted", "program-killed"),
        (255, "failed", "program-failed"),
    ],
)
def test_how_a_command_ended_follows_from_its_exit_status(
    status: int | None, ended: str, kind: str | None
) -> None:
    found, failure = describe_exit(status)
    assert (found, failure and failure.kind) == (ended, kind)


class UnprintableError(Exception):
    """An exception of a program that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "ended", "text"),
    [
        (None, "done", ""),
        (SystemExit(), "done", ""),
        (SystemExit(0), "done", ""),
        (SystemExit("0"), "failed", "SystemExit: 0."),
        (SystemExit([1]), "failed", "SystemExit: [1]."),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt."),
        (ValueError("a\udcffb"), "failed", "ValueError: a\\udcffb."),
        (ValueError("é" * 100_000), "failed", f"ValueError: {'é' * 988}…."),
        (UnprintableError(), "failed", "UnprintableError."),
    ],
    ids=repr,
)
def test_whatever_is_raised_in_a_block_is_described(
    error: BaseException | None, ended: str, text: str
) -> None:
    found, failure = describe_error(error)
    assert (found, failure.message if failure else "") == (
        ended,
        f"The measured block ended with {text}" if text else "",
    )


@pytest.mark.parametrize("save", [(), ("--no-save",)])
def test_a_command_whose_words_are_no_utf8_is_measured(
    save: tuple[str, ...], tmp_path: Path
) -> None:
    words = (*SIMULATED, "--results", str(tmp_path), *save, "--", "sh", "-c", "exit 5", "\udcff")
    ended = wbcbench(*words)
    assert ended.code == 5, ended.err
    for run in study_runs(tmp_path, MEASURED):
        assert run.read_record().provenance["command"] == ["sh", "-c", "exit 5", "\\udcff"]


def test_values_of_options_that_are_named_like_secrets_are_not_written_down() -> None:
    words = ("train", "--api-key", "k1", "--password=k2", "sh", "API_TOKEN=k3 go", "--tok", "4")
    assert " ".join(hide_secrets(words)) == (
        "train --api-key *** --password=*** sh API_TOKEN=*** go --tok 4"
    )
