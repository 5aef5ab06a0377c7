"""What does a queue cost beside its runs? On a real Slurm of two nodes, and on a scripted one.

    python tests/benchmarks/bench_cluster.py [--runs 500] [--planned 10000] [--write]

Three numbers, each with its limit. Overhead: from the end of a run to the beginning of the next on
the same board, engine and launcher together; what a run itself takes is left out. Resume: a study
of many finished runs, until the window is full again. Idle: processor time of a sweep whose jobs
all run, with the commands of Slurm that it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from statistics import mean, median

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fakes.scripted_queue import ScriptedQueue  # noqa: E402
from fakes.scripted_trainer import Play, make_python, write_plays  # noqa: E402
from fakes.slurm_cluster import Cluster, missing_programs, start  # noqa: E402
from fakes.stand_in_launcher import record_of  # noqa: E402
from wbcbench.core.run_folder import Local, RunDir, study_runs  # noqa: E402
from wbcbench.core.window import MonotonicClock  # noqa: E402
from wbcbench.run.launchers.cluster import ClusterSettings  # noqa: E402
from wbcbench.run.recorder import Interrupts  # noqa: E402
from wbcbench.study.experiment import Experiment, Pauses  # noqa: E402
from wbcbench.study.plan import Plan, make_plan  # noqa: E402
from wbcbench.study.queue import QueueSettings, QueueSweep  # noqa: E402
from wbcbench.study.sweep import SweepSettings  # noqa: E402

OVERHEAD_S, RESUME_S, IDLE_PCT = 1.5, 10.0, 0.5
IDLE_S = 60.0
VARIANTS = ("relu-dropout", "leaky-dropout", "relu-batchnorm", "leaky-batchnorm")

EXPERIMENT = """
study = "bench"
blocks = {blocks}
[run]
epochs = 1
idle_s = 0.0
inference_s = 0.0
warmup_steps = 0
meters = ["nvml"]
loops = 1
[factors]
variant = ["relu-dropout", "leaky-dropout", "relu-batchnorm", "leaky-batchnorm"]
[analysis]
exploratory = true
[pauses]
rest_s = 0.0
[cluster]
cpus = 1
"""


class OnSlurm:
    """Sweeps of the real command on a real Slurm, with a scripted trainer."""

    def __init__(self, room: Path, cluster: Cluster) -> None:
        python = make_python(room / "python")
        self._room, self._program = room, str(python.parent / "wbcbench")
        self._environment = {
            **os.environ,
            **cluster.environment,
            "WBCBENCH_LOCK_DIR": str(room),
        }

    def start(self, name: str, blocks: int, train_s: float) -> subprocess.Popen[str]:
        """Start a sweep into results of its own."""
        folder = self._room / name
        folder.mkdir()
        (folder / "bench.toml").write_text(EXPERIMENT.format(blocks=blocks))
        plays = write_plays(folder / "plays.json", Play(train_s=train_s))
        words = ["sweep", f"{folder}/bench.toml", "--results", f"{folder}/results"]
        with (folder / "sweep.log").open("w") as log:
            return subprocess.Popen(
                [self._program, *words, "--launcher", "slurm"],
                env=self._environment | plays,
                stdout=log,
                stderr=log,
                text=True,
            )

    def measure_overhead_s(self, runs: int) -> list[float]:
        """Seconds between the runs of each board, one for each run but the first."""
        with self.start("overhead", runs // len(VARIANTS), 1.0) as process:
            code = process.wait()
        if code:
            raise RuntimeError((self._room / "overhead" / "sweep.log").read_text()[-2000:])
        spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for run in study_runs(self._room / "overhead" / "results", "bench"):
            record, state = run.read_record(), run.read_state()
            assert record.status == "done", record.error
            assert state.running_utc is not None
            [device] = {c.device for c in record.channels if c.domain == "gpu"}
            began_s = datetime.fromisoformat(state.running_utc).timestamp()
            spans[device].append((began_s, run.record_path.stat().st_mtime))
        return [
            after[0] - before[1]
            for own in spans.values()
            for before, after in zip(sorted(own), sorted(own)[1:], strict=False)
        ]

    def measure_idle_pct(self) -> float:
        """Share of a core while nothing ends, once the launcher asks rarely."""
        with self.start("idle", 3, 600.0) as process:
            time.sleep(40.0)
            own = psutil.Process(process.pid)
            before = sum(own.cpu_times()[:4])
            time.sleep(IDLE_S)
            used_s = sum(own.cpu_times()[:4]) - before
            words = [self._program, "sweep", f"{self._room}/idle/bench.toml", "--results"]
            process.kill()
        cancel = [*words, f"{self._room}/idle/results", "--launcher", "slurm", "--cancel"]
        subprocess.run(cancel, env=self._environment, capture_output=True, check=False)
        return 100.0 * used_s / IDLE_S


def make_study(blocks: int) -> Plan:
    return make_plan(
        Experiment(
            study="bench",
            seeds=tuple(range(blocks)),
            blocks=blocks,
            factors={"variant": VARIANTS},
            run={"dataset_id": "x", "dataset_sha256": "ab" * 32},
            pauses=Pauses(rest_s=0.0),
        )
    )


class FullWindow(BaseException):
    """The window is full."""


def measure_resume_s(planned: int, room: Path) -> tuple[float, int]:
    """Seconds until a resumed sweep has filled its window, and how many jobs that took."""
    plan = make_study(planned // len(VARIANTS))
    window = 32
    local = Local(plan_sha256=plan.sha256)
    finished = [spec for spec in plan.runs if spec.block <= plan.most_blocks - 2 * window]
    for spec in finished:
        run = RunDir(room / "bench" / spec.run_id)
        run.create(spec, local)
        run.write_record(record_of(run, "done"))
    queue = ScriptedQueue(most_in_submission=1000)

    def stop() -> None:
        raise FullWindow

    queue.after_submit = stop
    for _ in range(2):  # the first makes the table's cache, as every finished sweep has done
        queue.submissions.clear()
        settings = SweepSettings(room, queue, local, clock=MonotonicClock())
        queued = QueueSettings("scripted", ClusterSettings(max_parallel=window))
        start_s = time.monotonic()
        sweep = QueueSweep(plan, plan.runs, settings, Interrupts(), lambda _: None, queued=queued)
        with contextlib.suppress(FullWindow):
            sweep.carry_out()
        took_s = time.monotonic() - start_s
        for each in (room / "bench" / ".jobs").iterdir():
            subprocess.run(["rm", "-rf", str(each)], check=True)
        for run in study_runs(room, "bench"):
            if not run.is_finished:
                run.delete()
    return took_s, sum(queue.submissions)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--planned", type=int, default=10_000)
    asked = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["WBCBENCH_LOCK_DIR"] = folder
        took_s, jobs = measure_resume_s(asked.planned, Path(folder) / "resume")
        print(f"resume of {asked.planned} planned runs: {took_s:.1f} s to {jobs} jobs", flush=True)
        missed |= took_s > RESUME_S
        if missing := missing_programs():
            print(f"no Slurm here ({', '.join(missing)}): overhead and idle were not measured")
            return int(missed)
        cluster = start(Path(folder) / "cluster", parent=os.getpid())
        try:
            on_slurm = OnSlurm(Path(folder), cluster)
            idle_pct = on_slurm.measure_idle_pct()
            print(f"idle launcher: {idle_pct:.2f} % of a core", flush=True)
            gaps_s = on_slurm.measure_overhead_s(asked.runs)
        finally:
            cluster.stop()
        print(
            f"between two of {asked.runs} runs on a board: mean {mean(gaps_s):.2f} s, median "
            f"{median(gaps_s):.2f} s, longest {max(gaps_s):.1f} s"
        )
        missed |= idle_pct > IDLE_PCT or mean(gaps_s) > OVERHEAD_S
    print(f"limits {OVERHEAD_S} s, {RESUME_S:g} s, {IDLE_PCT} %: {'MISSED' if missed else 'kept'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
