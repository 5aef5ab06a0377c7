"""Processor time from ``/proc``: ours is ours and our children's, all else is others'."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.proc_folder import ProcFolder
from wbcbench.core.cpu_load import COLUMNS, CpuSample, summarise_load
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import Window
from wbcbench.power.cpu_time import CpuTimes


def times_of(proc: ProcFolder, root_pid: int = 10) -> CpuTimes:
    return CpuTimes(root_pid, proc.root)


def test_own_time_is_that_of_the_program_and_all_its_descendants(tmp_path: Path) -> None:
    proc = ProcFolder(tmp_path / "proc", cores=4)
    proc.machine(1000.0)
    proc.process(1, 0, 50.0)
    proc.process(10, 1, 5.0)
    proc.process(77, 1, 100.0)
    times = times_of(proc)
    assert times.read(0.0) == CpuSample(0.0, 1000.0, 0.0, 4)

    proc.machine(1004.0, steal_s=1.0)
    proc.process(10, 1, 5.5)
    proc.process(20, 10, 0.75)  # its child
    proc.process(31, 20, 0.25)  # and that one's
    proc.process(77, 1, 102.0)
    assert times.read(1.0) == CpuSample(1.0, 1005.0, 1.5, 4)


def test_a_child_that_ended_is_counted_once(tmp_path: Path) -> None:
    proc = ProcFolder(tmp_path / "proc")
    proc.machine(10.0)
    proc.process(10, 1, 1.0)
    proc.process(20, 10, 3.0)
    times = times_of(proc)
    times.read(0.0)
    proc.process(20, 10, 3.5)
    sample = times.read(1.0)
    assert sample and sample.own_s == pytest.approx(0.5)
    proc.end(20)
    proc.process(10, 1, 1.1, children_s=3.75)
    sample = times.read(2.0)
    assert sample and sample.own_s == pytest.approx(0.85)


def test_one_that_came_and_went_between_two_readings_is_its_parents(tmp_path: Path) -> None:
    proc = ProcFolder(tmp_path / "proc")
    proc.machine(10.0)
    proc.process(10, 1, 1.0)
    times = times_of(proc)
    times.read(0.0)
    proc.process(10, 1, 1.0, children_s=0.5)
    sample = times.read(1.0)
    assert sample and sample.own_s == pytest.approx(0.5)


def test_an_orphan_that_was_seen_stays_ours_and_takes_nothing_back(tmp_path: Path) -> None:
    proc = ProcFolder(tmp_path / "proc")
    proc.machine(10.0)
    proc.process(10, 1, 1.0)
    proc.process(20, 10, 2.0)
    times = times_of(proc)
    times.read(0.0)
    proc.process(20, 1, 2.5)
    sample = times.read(1.0)
    assert sample and sample.own_s == pytest.approx(0.5)
    proc.end(20)
    sample = times.read(2.0)
    assert sample and sample.own_s == pytest.approx(0.5)


def test_a_machine_that_does_not_tell_is_unknown(tmp_path: Path) -> None:
    assert CpuTimes(1, tmp_path / "none").read(0.0) is None
    proc = ProcFolder(tmp_path / "proc")
    proc.machine(0.0)  # some containers show zeros
    assert times_of(proc).read(0.0) is None
    load = summarise_load([], Window("train", 1.0, 2.0))
    assert load.others_share is None
    assert "does not tell" in load.reason


def test_a_real_child_is_counted() -> None:
    times = CpuTimes(os.getpid(), Path("/proc"))
    before = times.read(0.0)
    if before is None:
        pytest.skip("this machine does not tell its processor time")
    program = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
    after = times.read(1.0)
    assert after and after.own_s - before.own_s >= 0.28
    assert after.busy_s - before.busy_s >= 0.28


def totals(others: float, own: float, cores: int, length_s: int = 20) -> list[CpuSample]:
    """Constant numbers of cores in use, from 9.5 s on."""
    return [CpuSample(9.5 + t, 100 + (others + own) * t, own * t, cores) for t in range(length_s)]


@pytest.mark.parametrize(("cores", "others", "own"), [(2, 0.3, 1.5), (128, 9.6, 30.0), (2, 0, 2)])
def test_shares_are_of_all_cores(cores: int, others: float, own: float) -> None:
    load = summarise_load(totals(others, own, cores), Window("train", 10.0, 20.0))
    assert load.cores == cores
    assert load.others_share == pytest.approx(others / cores)


def test_edges_are_interpolated_and_what_is_not_covered_is_unknown() -> None:
    idle, busy = totals(0.0, 0.0, 2, 11), totals(2.0, 0.0, 2, 12)
    samples = [*idle, *(CpuSample(s.t_s + 10, s.busy_s, 0.0, 2) for s in busy[1:])]
    assert summarise_load(samples, Window("w", 17.5, 21.5)).others_share == pytest.approx(0.5)
    for window in (Window("w", 9.0, 12.0), Window("w", 12.0, 99.0)):
        load = summarise_load(samples, window)
        assert load.others_share is None
        assert load.reason


def test_ticks_that_do_not_fit_give_no_negative_share() -> None:
    samples = [CpuSample(0.0, 5.0, 0.0, 2), CpuSample(10.0, 6.0, 1.02, 2)]
    assert summarise_load(samples, Window("w", 1.0, 9.0)).others_share == 0.0


def test_a_log_is_read_back_but_for_a_torn_line(tmp_path: Path) -> None:
    run, samples = RunDir(tmp_path), totals(0.5, 1.0, 64, 3)
    assert run.read_cpu_time() is None
    run.cpu_time_path.parent.mkdir()
    for header, expected in ((",".join(COLUMNS) + "\n", samples), ("", []), ("t_s,bu", [])):
        lines = [*(sample.line for sample in expected), "12.0,3.0"]
        run.cpu_time_path.write_text(header + "\n".join(lines) if expected else header)
        assert run.read_cpu_time() == expected


def test_processes_that_seem_each_others_parents_are_not_ours(tmp_path: Path) -> None:
    proc = ProcFolder(tmp_path / "proc")
    proc.machine(10.0)
    proc.process(20, 21, 1.0)
    proc.process(21, 20, 1.0)
    sample = times_of(proc).read(0.0)
    assert sample and sample.own_s == 0.0
