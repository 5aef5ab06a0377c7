"""Kill at random what carries out a study on a cluster, and look whether it comes out right.

    make cluster-kill        (or: .venv/bin/python tests/cluster/kill.py --kills 20 --seed 1)

A study of 24 runs with a scripted trainer goes on a real Slurm of two nodes with a board each,
while node daemons, job steps, the controller and the submitting command are ended by SIGKILL.
Whatever is needed to go on is started again after a while, as an administrator and a user would;
nothing else is done for the study. From the records follows then:

    lost       planned runs without a run that is done: 0
    twice      planned runs with more than one that is done: 0
    overlaps   pairs of counted runs that were on one board at one time: 0

Beside that it is told how often a counted run shared its board with an attempt that does not count,
as the step of a lost node, and whether each such run says so (``contaminated``); and that the
joules of the study are those of every attempt once.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from shutil import copy, copytree

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.scripted_trainer import Play, make_python, write_plays
from fakes.slurm_cluster import NODES, Cluster, Victims, start
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import study_runs
from wbcbench.core.window import RUN
from wbcbench.study.progress import identify_without_images

BLOCKS, VARIANTS = 8, 3
EXPERIMENT = f"""
study = "killed"
blocks = {BLOCKS}
[factors]
variant = ["relu-dropout", "leaky-dropout", "relu-batchnorm"]
[run]
epochs = 4
idle_s = 0.0
inference_s = 0.0
warmup_steps = 0
loops = 1
meters = ["nvml"]
[analysis]
exploratory = true
[pauses]
rest_s = 0.0
[cluster]
cpus = 1
attempts = 20
"""
AWAY_S = {"node": (5.0, 120.0), "controller": (5.0, 40.0), "submitter": (0.0, 20.0)}
"""How long each stays away: a node's daemon shorter and longer than Slurm waits for it."""
BETWEEN_S = (20.0, 100.0)  # two kills
LONGEST_S = 7200.0


@dataclass
class Trial:
    """A study and what befalls it."""

    cluster: Cluster
    python: Path
    folder: Path
    seed: int
    train_s: float
    kills: Counter[str] = field(default_factory=Counter)
    returns: dict[str, float] = field(default_factory=dict)  # what is away, and until when
    begun_s: float = field(default_factory=time.monotonic)
    exits: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        (self.folder / "killed.toml").write_text(EXPERIMENT)
        (self.folder / "locks").mkdir()
        plays = write_plays(self.folder / "plays.json", Play(train_s=self.train_s))
        self.environment = {
            **os.environ,
            **self.cluster.environment,
            **plays,
            "WBCBENCH_LOCK_DIR": str(self.folder / "locks"),
        }

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun_s:6.0f} s  {text}", flush=True)

    def submit(self) -> None:
        words = ("sweep", str(self.folder / "killed.toml"), "--launcher", "slurm", "--no-live")
        with (self.folder / "sweep.txt").open("ab") as out:
            self.submitter = subprocess.Popen(
                [str(self.python), "-m", "wbcbench", *words, "--results", str(self.results)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def carry_out(self, kills: int) -> None:
        """The study to its end, with so many kills; those that are left are no longer needed."""
        self.submit()
        next_s = time.monotonic() + self.draw.uniform(*BETWEEN_S)
        while time.monotonic() - self.begun_s < LONGEST_S:
            time.sleep(1.0)
            for name in [name for name, until in self.returns.items() if until < time.monotonic()]:
                self.restore(name)
            if self.submitter.poll() is not None and "submitter" not in self.returns:
                self.exits.append(self.submitter.returncode)
                self.say(f"the sweep ended with {self.submitter.returncode}")
                if self.submitter.returncode == 0:
                    break
                self.returns["submitter"] = time.monotonic() + 5.0
            self.resume_nodes()
            if self.kills.total() < kills and time.monotonic() > next_s:
                self.kill()
                next_s = time.monotonic() + self.draw.uniform(*BETWEEN_S)
        for name in list(self.returns):
            self.restore(name)

    def resume_nodes(self) -> None:
        """What the controller has drained is put back, as an administrator would."""
        if "controller" in self.returns:
            return
        words = ("sinfo", "-h", "-N", "-p", "main", "-t", "drain", "-o", "%N %E")
        for line in self.cluster.command(*words, check=False).splitlines():
            node, _, reason = line.partition(" ")
            if node not in self.returns:
                self.say(f"        {node} was drained, {reason}: resumed")
                self.cluster.command(
                    "scontrol", "update", f"nodename={node}", "state=resume", check=False
                )

    def kill(self) -> None:
        """End one of what is there; each kind as often as another."""
        there = [kind for kind in ("node", "step", "controller", "submitter") if self.victims(kind)]
        if not there:
            return
        kind = self.draw.choice(there)
        victim = self.draw.choice(self.victims(kind))
        self.kills[kind] += 1
        self.say(f"kill {self.kills.total()}: {kind} {victim * (victim != kind)}")
        if kind in AWAY_S:
            self.returns[victim] = time.monotonic() + self.draw.uniform(*AWAY_S[kind])
        match kind:
            case "node":
                self.cluster.kill_node(victim)
            case "step":
                self.kill_step(victim)
            case "controller":
                self.cluster.kill_controller()
            case "submitter":
                self.submitter.kill()
                self.submitter.wait()

    def victims(self, kind: str) -> list[str]:
        if kind == "node":
            return [node for node in NODES if node not in self.returns]
        if kind == "step":
            words = ("squeue", "-h", "-t", "running", "-o", "%A")
            return [] if "controller" in self.returns else self.cluster.command(*words).split()
        return [] if kind in self.returns else [kind]

    def kill_step(self, job: str) -> None:
        """Its tasks alone, its daemons alone, or all."""
        kinds: tuple[Victims, ...] = ("tasks", "daemons", "all")
        what = self.draw.choice(kinds)
        pids = self.cluster.kill_step(job, what)
        self.say(f"        {what}: {len(pids)} processes")

    def restore(self, name: str) -> None:
        del self.returns[name]
        self.say(f"        {name} again")
        if name == "submitter":
            self.submit()
        elif name == "controller":
            self.cluster.start_controller()
        else:
            self.cluster.start(name)


def time_on_board(record: RunRecord) -> tuple[str, float, float] | None:
    """Board, begin and end; on one machine, so that all runs have one monotonic clock."""
    whole = record.window(RUN)
    boards = {channel.device for channel in record.channels if channel.domain == "gpu"}
    return (boards.pop(), whole.start_s, whole.end_s) if whole and boards else None


def find_overlaps(records: list[RunRecord]) -> Iterator[tuple[RunRecord, RunRecord]]:
    spans = [(record, span) for record in records if (span := time_on_board(record))]
    for (one, a), (other, b) in combinations(spans, 2):
        if a[0] == b[0] and a[1] < b[2] and b[1] < a[2]:
            yield one, other


def judge(results: Path) -> bool:
    """Tell what the records say; whether it is as it must be."""
    runs = study_runs(results, "killed")
    records = [run.read_record() for run in runs if run.is_finished]
    done = [record for record in records if record.status == "done"]
    per_plan = Counter(identify_without_images(record.spec) for record in done)
    planned = BLOCKS * VARIANTS
    lost = planned - len(per_plan)
    twice = sum(count - 1 for count in per_plan.values())
    overlaps = [*find_overlaps(done)]
    mixed = [
        (one, other)
        for one, other in find_overlaps(records)
        if (one.status == "done") != (other.status == "done")
    ]
    counted = [one if one.status == "done" else other for one, other in mixed]
    unsaid = [r for r in counted if "contaminated" not in {w.code for w in r.warnings}]
    kinds = Counter(record.error.kind if record.error else record.status for record in records)
    blocks = defaultdict(set)
    for record in done:
        blocks[record.spec.block].add((time_on_board(record) or ("none",))[0])
    with (results / "killed" / "runs.csv").open() as stream:
        rows = Counter(row["status"] for row in csv.DictReader(stream))
    print(f"attempts: {len(runs)}, with a record {len(records)}: {dict(kinds)}; rows {dict(rows)}")
    print(f"blocks on more than one board: {sum(len(boards) > 1 for boards in blocks.values())}")
    print(f"counted runs beside an attempt that does not count: {len(mixed)}, unsaid {len(unsaid)}")
    for record in unsaid:
        print(f"    {record.run_id}")
    print(f"lost {lost}   twice {twice}   overlaps {len(overlaps)}")
    is_accounted = len(runs) == len(records) and rows.total() == len(records)
    return not (lost or twice or overlaps or unsaid) and is_accounted


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train-s", type=float, default=60.0, help="length of a training")
    parser.add_argument("--keep", type=Path, help="copy study and logs there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-") as room:
        folder = Path(room)
        python = make_python(folder / "python")
        cluster = start(folder / "cluster", parent=os.getpid())
        (folder / "study").mkdir()
        trial = Trial(cluster, python, folder / "study", arguments.seed, arguments.train_s)
        try:
            trial.carry_out(arguments.kills)
            print(f"kills: {dict(trial.kills)}, {trial.kills.total()} in all")
            is_right = judge(trial.results) and trial.kills.total() == arguments.kills
        finally:
            with suppress(OSError):
                trial.submitter.kill()
            cluster.stop()
            if arguments.keep:
                copytree(trial.folder, arguments.keep)
                for log in cluster.folder.glob("*.log"):
                    copy(log, arguments.keep)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
