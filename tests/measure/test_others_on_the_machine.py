"""Who else used the processor while a command, a block or the whole machine was measured."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.proc_folder import ProcFolder
from program import start, wbcbench
from wbcbench import Meter

SIMULATED = ("monitor", "--meters", "simulated", "--json")


@contextmanager
def busy_machine(root: Path, cores_busy: float, pid: int = 1) -> Iterator[dict[str, str]]:
    """A machine of two cores, some in use by a process; the environment that shows it."""
    proc, should_stop = ProcFolder(root), threading.Event()
    start_s = time.monotonic()

    def show() -> None:
        busy_s = cores_busy * (time.monotonic() - start_s)
        proc.process(pid, 0, busy_s)
        proc.machine(100.0 + busy_s)

    def run() -> None:
        while not should_stop.wait(0.05):
            show()

    show()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield {"WBCBENCH_PROC_ROOT": str(root)}
    finally:
        should_stop.set()
        thread.join()


def test_monitor_tells_of_others_beside_its_command(tmp_path: Path) -> None:
    with busy_machine(tmp_path, 0.8) as environment:
        ended = wbcbench(*SIMULATED, "--", "sleep", "2", env=environment)
    [warning] = [w for w in ended.json["warnings"] if w["code"] == "busy-processor"]
    assert warning["severity"] == "info"  # the primary energy is that of a board
    share_pct = float(warning["detail"].split(" took ")[1].split(" %")[0])
    assert share_pct == pytest.approx(40.0, abs=8.0)


def test_monitor_of_the_whole_machine_has_no_others(tmp_path: Path) -> None:
    with busy_machine(tmp_path, 2.0) as environment:
        monitor = start("monitor", "--meters", "simulated", env=environment)
        assert monitor.stderr is not None
        monitor.stderr.readline()
        monitor.send_signal(signal.SIGINT)
        out, _ = monitor.communicate(timeout=60)
    assert monitor.returncode == 0
    assert "busy-processor" not in out


@pytest.mark.parametrize("is_own", [True, False])
def test_of_a_meter_the_measured_program_is_no_other(
    is_own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.getpid() if is_own else 1
    with busy_machine(tmp_path, 1.0, pid) as environment:
        monkeypatch.setenv(*next(iter(environment.items())))
        with Meter("simulated") as meter:
            time.sleep(1.5)
    codes = {warning.code for warning in meter.warnings}
    assert ("busy-processor" in codes) is not is_own
