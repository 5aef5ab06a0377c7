"""A record says what ended its run: the user, a signal, the terminal, the launcher, the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from program import command, processes_of, wait_for
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.run.trainer_process import Exit, count_memory_kills

SPEC = RunSpec("leaky-dropout", meters=("simulated",), idle_s=60.0)


LAUNCH = (
    "import sys; from pathlib import Path\n"
    "from wbcbench.run.launchers.local import launch\n"
    "list(launch([Path(sys.argv[1])], ['--quiet']))"
)


def idle_run(folder: Path) -> tuple[RunDir, subprocess.Popen[bytes]]:
    """A recorder on its leash that measures idle power, before anything is trained."""
    run = RunDir(folder / SPEC.run_id)
    run.create(SPEC, Local())
    words = command("work", str(run.path), "--quiet", "--leash")
    recorder = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(run.read_messages()) > 1, "the first idle window")
    return run, recorder


def interrupt_twice(recorder: subprocess.Popen[bytes]) -> None:
    recorder.send_signal(signal.SIGINT)
    recorder.send_signal(signal.SIGTERM)  # too late to be the cause


def lose_launcher(recorder: subprocess.Popen[bytes]) -> None:
    assert recorder.stdin is not None
    recorder.stdin.close()


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (interrupt_twice, "interrupted"),
        (lambda recorder: recorder.send_signal(signal.SIGTERM), "terminated"),
        (lambda recorder: recorder.send_signal(signal.SIGHUP), "terminal-closed"),
        (lose_launcher, "launcher-died"),
    ],
    ids=["user", "SIGTERM", "SIGHUP", "launcher"],
)
def test_the_record_tells_who_ended_the_run(
    end: Callable[[subprocess.Popen[bytes]], None], kind: str, tmp_path: Path
) -> None:
    run, recorder = idle_run(tmp_path)
    end(recorder)
    assert recorder.wait(60) == 0
    record = run.read_record()
    assert (record.status, record.error and record.error.kind) == ("interrupted", kind)
    assert "user" not in record.error.message or kind in {"interrupted", "terminated"}
    assert {window.name for window in record.windows} == {"idle_cold", "whole_run"}


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGKILL, "launcher-died"),
        (signal.SIGHUP, "terminal-closed"),
        (signal.SIGTERM, "terminated"),
    ],
)
def test_what_ends_the_launcher_is_not_taken_for_the_user(
    number: signal.Signals, kind: str, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / SPEC.run_id)
    run.create(SPEC, Local())
    words = [sys.executable, "-c", LAUNCH, str(run.path)]
    launcher = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(run.read_messages()) > 1, "the first idle window")
    launcher.send_signal(number)
    launcher.wait(60)
    wait_for(lambda: run.is_finished, "the record")
    error = run.read_record().error
    assert error is not None
    assert error.kind == kind


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_as_a_run_starts_does_not_end_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    """`nohup` ignores SIGHUP, the `&` of a script SIGINT; so do launcher and recorder."""
    run = RunDir(tmp_path / SPEC.run_id)
    run.create(SPEC, Local())
    program = LAUNCH.replace("import sys", f"import signal, sys; signal.signal({number:d}, SIG)", 1)
    words = [sys.executable, "-c", program.replace("SIG)", "signal.SIG_IGN)"), str(run.path)]
    launcher = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(run.read_messages()) > 1, "the first idle window")
    (recorder,) = processes_of(run, "work")
    for pid in (launcher.pid, recorder):
        os.kill(pid, number)
        os.kill(pid, number)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(60) == 0
    assert run.read_record().error.kind == "terminated"


def test_a_trainer_that_the_kernel_killed_is_told_from_one_that_somebody_killed(
    tmp_path: Path,
) -> None:
    assert "want of memory" in Exit(-9, 1.0, 1, was_memory_short=True).describe()
    assert Exit(-9, 1.0, 1).describe() == "was ended by signal 9 (Killed), by somebody else"
    assert Exit(-11, 1.0, 1).describe() == "was ended by signal 11 (Segmentation fault)"
    assert Exit(3, 1.0, 1).describe() == "ended with status 3"
    assert count_memory_kills(tmp_path) == 0
    (tmp_path / "vmstat").write_text("nr_free_pages 17\noom_kill 4\npgfault 2\n")
    assert count_memory_kills(tmp_path) == 4
