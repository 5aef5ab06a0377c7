"""``kill -9`` of trainer, watcher, launcher and sets of them at random moments.

Nothing finished is harmed, and the next command accounts for everything that was not.
"""

from __future__ import annotations

import csv
import itertools
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from program import processes_of, start, wait_for, wbcbench
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import study_runs
from wbcbench.energy.account import replay

pytestmark = pytest.mark.tensorflow

# One of each set of victims; ``make bench`` kills watcher and launcher twenty times each.
MOMENTS = int(os.environ.get("WBCBENCH_TEST_KILLS", "5"))
VICTIMS = {
    "trainer": ("wbcbench.train.trainer",),
    "watcher": ("work",),
    "both": ("wbcbench.train.trainer", "work"),
    "all three": ("wbcbench.train.trainer", "work", "launcher"),
    "launcher": ("launcher",),
}
CHOSEN = os.environ.get("WBCBENCH_TEST_VICTIMS", ",".join(VICTIMS)).split(",")
EXPECTED = {"done": {0}, "failed": {7}, "interrupted": {130}}


def words(cells: Path, results: Path, seed: int) -> list[str]:
    return [
        "run", "--variant", "leaky-dropout", "--data", str(cells), "--results", str(results),
        "--meters", "simulated", "--epochs", "2", "--idle", "0.3", "--inference", "0.2",
        "--warmup-steps", "1", "--batch-size", "32", "--seed", str(seed), "-q",
    ]  # fmt: skip


@dataclass(frozen=True)
class Killed:
    """One run that somebody killed, or that was faster."""

    seed: int
    who: str
    code: int
    err: str


@dataclass(frozen=True)
class Aftermath:
    """All runs, after the next command has accounted for them."""

    results: Path
    killed: tuple[Killed, ...]
    first_record: bytes
    records: dict[int, RunRecord]


def strike(results: Path, launcher: int, who: str) -> None:
    """Kill what is there of the victims in the newest run; the launcher if there is no run yet."""
    runs = [run for run in study_runs(results, "runs") if not run.is_finished]
    pids = [pid for run in runs for word in VICTIMS[who] for pid in processes_of(run, word)]
    if "launcher" in VICTIMS[who] or not pids:
        pids.append(launcher)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def killed_once(cells: Path, results: Path, seed: int, after_s: float, who: str) -> Killed:
    process = start(*words(cells, results, seed))
    time.sleep(after_s)
    strike(results, process.pid, who)
    _, err = process.communicate(timeout=120)
    runs = study_runs(results, "runs")
    wait_for(
        lambda: not any(processes_of(run, word) for run in runs for word in VICTIMS["both"]),
        "the end of the orphans",
    )
    return Killed(seed, who, process.returncode, err)


@pytest.fixture(scope="module")
def aftermath(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    results = tmp_path_factory.mktemp("killed")
    began_s = time.monotonic()
    ended = wbcbench(*words(cells, results, seed=0))
    assert ended.code == 0, ended.err
    whole_s = time.monotonic() - began_s
    (first,) = study_runs(results, "runs")
    first_record = first.record_path.read_bytes()
    rng = random.Random("moments")
    victims = itertools.cycle(CHOSEN)
    killed = [
        killed_once(cells, results, seed, rng.uniform(0.1, 1.0) * whole_s, next(victims))
        for seed in range(1, MOMENTS + 1)
    ]
    again = wbcbench(*words(cells, results, seed=0))
    assert again.code == 0, again.err
    records = {run.read_spec().seed: run.read_record() for run in study_runs(results, "runs")}
    assert first.record_path.read_bytes() == first_record
    return Aftermath(results, tuple(killed), first_record, records)


def test_every_run_is_accounted_for(aftermath: Aftermath) -> None:
    assert len(aftermath.records) >= 1 + MOMENTS // 2  # the others had not begun
    assert {record.status for record in aftermath.records.values()} >= {"done", "interrupted"}
    with (aftermath.results / "runs" / "runs.csv").open() as stream:
        rows = {int(row["seed"]): row for row in csv.DictReader(stream)}
    assert set(rows) == set(aftermath.records)


def test_a_finished_run_is_whole(aftermath: Aftermath) -> None:
    for record in aftermath.records.values():
        if record.status == "done":
            assert len(record.epochs) == 2
            assert record.test is not None
            assert all((each.energy_j or 0) > 0 for each in record.energies)


def test_an_unfinished_run_says_why_and_is_never_valid(aftermath: Aftermath) -> None:
    for record in aftermath.records.values():
        if record.status != "done":
            assert record.error is not None
            assert record.quality == "invalid"
            for each in record.energies:
                assert each.reason if each.energy_j is None else each.energy_j > 0


def test_no_window_is_lost_without_a_word(aftermath: Aftermath) -> None:
    for run in study_runs(aftermath.results, "runs"):
        events, record = replay(run.read_messages()), run.read_record()
        begun = {*events.opened, *(window.name for window in events.windows)}
        assert begun <= {window.name for window in record.windows}


def test_a_killed_launcher_is_not_taken_for_the_user(aftermath: Aftermath) -> None:
    for each in aftermath.killed:
        record = aftermath.records.get(each.seed)
        if record is not None and each.who == "launcher" and record.status == "interrupted":
            assert record.error is not None
            assert record.error.kind in {"launcher-died", "recorder-died", "never-began"}


def test_the_exit_code_tells_how_the_run_ended(aftermath: Aftermath) -> None:
    for each in aftermath.killed:
        record = aftermath.records.get(each.seed)
        if record is not None and each.code >= 0:
            assert each.code in EXPECTED[record.status], each.err
        assert "Traceback" not in each.err


def test_nothing_half_written_is_left(aftermath: Aftermath) -> None:
    for run in study_runs(aftermath.results, "runs"):
        assert run.is_finished
        assert run.read_record().run_id == run.run_id
