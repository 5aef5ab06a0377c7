"""Studies on a real Slurm: what a plan means there, and what is left of it after every accident."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fakes.scripted_trainer import Play, write_plays
from fakes.slurm_cluster import NODES, Cluster, wait_until
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.run.job import list_jobs

EXPERIMENT = """
study = "mine"
blocks = {blocks}
[run]
epochs = 2
idle_s = 0.0
inference_s = 0.0
warmup_steps = 0
meters = ["nvml"]
loops = 1
[factors]
variant = ["relu-dropout", "leaky-dropout"]
[analysis]
exploratory = true
[pauses]
rest_s = 0.0
[cluster]
cpus = 1
"""


class SweepProcess(subprocess.Popen[str]):
    """A sweep that ends with a test that fails."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


@dataclass
class Site:
    """A user's folder on the cluster."""

    cluster: Cluster
    python: Path
    folder: Path

    def plan(self, blocks: int, *plays: Play, more: str = "") -> None:
        (self.folder / "mine.toml").write_text(EXPERIMENT.format(blocks=blocks) + more)
        self.play(*plays)

    def play(self, *plays: Play) -> None:
        self.variables = write_plays(self.folder / "plays.json", *plays)

    def command(self, *words: str) -> list[str]:
        return [str(self.python.parent / "wbcbench"), *words, "--results", str(self.results)]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        locks = {"WBCBENCH_LOCK_DIR": str(self.folder)}
        return {**os.environ, **self.cluster.environment, **self.variables, **locks}

    def start(self, *words: str) -> SweepProcess:
        file = str(self.folder / "mine.toml")
        return SweepProcess(
            self.command("sweep", file, "--launcher", "slurm", *words),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sweep(self, *words: str) -> tuple[int, str]:
        with self.start(*words) as process:
            text, _ = process.communicate(timeout=300)
        return process.returncode, text

    @property
    def runs(self) -> list[RunDir]:
        return study_runs(self.results, "mine")

    def records(self) -> list[RunRecord]:
        return [run.read_record() for run in self.runs if run.is_finished]

    def wait_for(self, condition: Callable[[], object], what: str, within_s: float = 120) -> None:
        wait_until(condition, what, within_s=within_s)

    def is_training(self) -> bool:
        return any(
            '"train"' in (r.marks_path.read_text() if r.marks_path.exists() else "")
            for r in self.runs
            if not r.is_finished
        )

    def resume_nodes(self) -> None:
        """As an administrator would: Slurm drains a node whose job a killed controller forgot."""
        for node in NODES:
            words = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
            self.cluster.command(*words, check=False)

    def wait_until_queued_again(self) -> None:
        reasons = ("squeue", "-h", "-t", "PD", "-o", "%r")
        self.wait_for(
            lambda: "BeginTime" in self.cluster.command(*reasons), "the job, in the queue"
        )

    def jobs_of_slurm(self) -> list[str]:
        lines = self.cluster.command("squeue", "-h", "-o", "%A").split()
        return sorted(set(lines))


@pytest.fixture
def site(slurm_cluster: Cluster, scripted_python: Path, tmp_path: Path) -> Iterator[Site]:
    own = Site(slurm_cluster, scripted_python, tmp_path)
    own.resume_nodes()
    yield own
    for job in own.jobs_of_slurm():
        slurm_cluster.command("scancel", "--signal=KILL", job, check=False)
        slurm_cluster.command("scancel", job, check=False)
    own.wait_for(lambda: not own.jobs_of_slurm(), "an empty cluster")


def kill_tasks(site: Site) -> None:
    """End what a step runs, and leave Slurm's own processes: those it misses after minutes only."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes()
            variables = (path / "environ").read_bytes().split(b"\0")
            is_of_job = any(each.startswith(b"SLURM_STEP_ID=") for each in variables)
            where = f"SLURM_CONF={site.cluster.environment['SLURM_CONF']}".encode()
            if is_of_job and where in variables and b"python" in words.split(b"\0")[0]:
                os.kill(int(path.name), signal.SIGKILL)


def board(record: RunRecord) -> str:
    [channel, *_] = [c for c in record.channels if c.domain == "gpu"]
    return channel.device


def ends(records: list[RunRecord]) -> Counter[str]:
    return Counter(record.error.kind if record.error else record.status for record in records)


def require_no_overlap(records: list[RunRecord]) -> None:
    """No two runs that count were on one board at one time."""
    boards: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for record in records:
        if record.status == "done":
            boards[board(record)].append((record.started_utc, record.ended_utc, record.run_id))
    for spans in boards.values():
        spans.sort()
        for before, after in pairwise(spans):
            assert before[1] <= after[0], (before, after)


def test_a_study_is_carried_out_block_by_block_on_both_boards(site: Site) -> None:
    site.plan(4)
    code, text = site.sweep()
    assert code == 0, text
    records = site.records()
    assert ends(records) == {"done": 8}
    by_block: dict[int, set[str]] = defaultdict(set)
    for record in records:
        by_block[record.spec.block].add(board(record))
    assert all(len(boards) == 1 for boards in by_block.values())
    assert len({board(record) for record in records}) == 2
    require_no_overlap(records)
    for block in by_block:
        own = sorted(
            (r.started_utc, r.spec.order_in_block) for r in records if r.spec.block == block
        )
        assert [place for _, place in own] == [1, 2]
    code, text = site.sweep()
    assert code == 0
    assert "0 submitted now" in text


def test_a_job_that_has_a_whole_node_is_carried_out_once(site: Site) -> None:
    """With all processors of a node, ``srun`` would start a task for each."""
    site.plan(1, more='gres = ""\n')
    code, text = site.sweep()
    assert code == 0, text
    [job] = list_jobs(site.results / "mine", is_open=False)
    assert len(job.read_starts()) == 1
    assert ends(site.records()) == {"done": 2}


def test_how_often_a_training_is_repeated_is_told_by_a_node_before_the_plan_is_fixed(
    site: Site,
) -> None:
    site.plan(1)
    file = site.folder / "mine.toml"
    file.write_text(file.read_text().replace("loops = 1", 'loops = "auto"'))
    code, text = site.sweep("--detach")
    assert code == 0, text
    assert "times 2 trainings" in text
    plan = json.loads((site.results / "mine" / "plan.json").read_text())["plan"]
    assert [run["loops"] for run in plan["runs"]] == [1, 1]
    code, text = site.sweep()
    assert code == 0, text
    assert "times" not in text
    assert ends(site.records()) == {"done": 2}


def test_a_detached_study_is_picked_up_by_list_and_by_sweep(site: Site) -> None:
    site.plan(3)
    code, text = site.sweep("--detach", "--max-parallel", "2")
    assert code == 0, text
    assert "list mine --watch" in text
    watched = subprocess.run(
        site.command("list", "mine", "--watch"),
        env=site.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert watched.returncode == 0, watched.stderr
    assert ends(site.records()) == {"done": 4}
    assert "2 of 6 runs are not done" in watched.stderr
    code, text = site.sweep()
    assert code == 0, text
    assert ends(site.records()) == {"done": 6}


def test_a_killed_submitter_loses_nothing(site: Site) -> None:
    site.plan(3, Play(train_s=3.0))
    with site.start() as process:
        site.wait_for(site.is_training, "the first run")
        process.kill()
    code, text = site.sweep()
    assert code == 0, text
    assert ends(site.records()) == {"done": 6}
    assert len(site.runs) == 6


def test_a_second_sweep_of_a_study_is_refused_and_harms_nothing(site: Site) -> None:
    site.plan(2, Play(train_s=2.0))
    with site.start() as process:
        site.wait_for(site.is_training, "the first run")
        code, text = site.sweep()
        assert code == 2
        assert "Another sweep" in text
        process.communicate(timeout=200)
    assert process.returncode == 0
    assert len(site.runs) == 4


def test_a_killed_step_costs_the_run_in_progress_alone(site: Site) -> None:
    site.plan(1, Play(train_s=20.0, when={"order_in_block": 2}))
    with site.start() as process:

        def is_second_begun() -> bool:
            going = [r for r in site.runs if r.read_began() is not None and not r.is_finished]
            return any(run.read_spec().order_in_block == 2 for run in going)

        site.wait_for(is_second_begun, "the second run")
        site.wait_for(site.is_training, "its training")
        site.play()
        kill_tasks(site)
        text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    assert ends(site.records()) == {"done": 2, "recorder-died": 1}
    require_no_overlap(site.records())


def test_a_controller_that_is_away_concludes_nothing(site: Site) -> None:
    site.plan(2, Play(train_s=4.0))
    with site.start() as process:
        site.wait_for(site.is_training, "the first run")
        site.cluster.kill_controller()
        lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "does not answer" in line:
                break
        site.cluster.start_controller()
        site.resume_nodes()
        rest, _ = process.communicate(timeout=200)
    assert process.returncode == 0, rest
    assert "answers again" in rest
    assert ends(site.records()) == {"done": 4}
    assert len(site.runs) == 4


def test_cancelled_jobs_end_their_epoch_and_keep_their_records(site: Site) -> None:
    site.plan(4, Play(train_s=8.0))
    with site.start() as process:
        site.wait_for(site.is_training, "the first run")
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "jobs go on" in text
    code, text = site.sweep("--cancel")
    assert code == 0, text
    assert "4 jobs ended" in text
    assert set(ends(site.records())) == {"terminated"}
    assert all(record.epochs for record in site.records())
    assert not site.jobs_of_slurm()
    assert all(run.is_finished for run in site.runs)
    site.play()
    code, text = site.sweep()
    assert code == 0, text
    assert ends(site.records())["done"] == 8


def test_a_job_at_its_time_limit_ends_the_epoch_and_goes_on_when_it_is_started_again(
    site: Site,
) -> None:
    """As Slurm does: SIGUSR2 to every process of the step. The limit itself takes minutes."""
    site.plan(1, Play(train_s=8.0))
    with site.start() as process:
        site.wait_for(site.is_training, "the first run")
        [job] = site.jobs_of_slurm()
        site.play()
        node = site.cluster.command("squeue", "-h", "-o", "%N").strip()
        site.cluster.command("scancel", "--signal=USR2", job)
        site.wait_until_queued_again()
        # On the node that it has just left Slurm would refuse it at once.
        site.cluster.command("scontrol", "update", f"JobId={job}", f"ExcNodeList={node}")
        site.cluster.requeue_now(job)
        text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    assert ends(site.records()) == {"done": 2, "job-ends": 1}
    [ended] = [record for record in site.records() if record.error]
    assert len(ended.epochs) == 1
    [job_dir] = list_jobs(site.results / "mine", is_open=False)
    assert len(job_dir.read_starts()) == 2


def test_a_preempted_job_ends_its_run_and_goes_on_when_it_is_started_again(site: Site) -> None:
    site.plan(1, Play(train_s=8.0))
    with site.start("--cluster", "partition=low") as process:
        site.wait_for(site.is_training, "the first run")
        [job] = site.jobs_of_slurm()
        site.play()
        node = site.cluster.command("squeue", "-h", "-o", "%N").strip()
        words = ("sbatch", "--parsable", "--partition=main", "--gres=gpu:1", "--output=/dev/null")
        others = [
            site.cluster.command(*words, "--wrap", "srun sleep 300").strip() for _ in range(2)
        ]
        site.wait_until_queued_again()
        site.cluster.command("scancel", *others)
        site.cluster.command("scontrol", "update", f"JobId={job}", f"ExcNodeList={node}")
        site.cluster.requeue_now(job)
        text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    assert ends(site.records()) == {"done": 2, "terminated": 1}
    assert len(site.runs) == 3


def test_of_a_step_that_outlives_its_node_and_the_job_that_is_started_again_one_counts(
    site: Site,
) -> None:
    site.plan(1, Play(train_s=100.0, when={"repeat": 1, "order_in_block": 1}))
    with site.start() as process:
        site.wait_for(site.is_training, "the first run")
        [job] = site.jobs_of_slurm()
        node = site.cluster.command("squeue", "-h", "-o", "%N").strip()
        site.cluster.kill_node(node)
        site.wait_until_queued_again()
        site.cluster.requeue_now(job)
        text, _ = process.communicate(timeout=300)
    site.cluster.start_node(node)
    assert process.returncode == 0, text
    assert ends(site.records()) == {"done": 2, "superseded": 1}
    require_no_overlap(site.records())
    [late] = [record for record in site.records() if record.error]
    assert late.spec.repeat == 1
    assert any(energy.energy_j for energy in late.energies)
