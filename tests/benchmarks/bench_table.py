"""How the results table grows, and how soon ``compare`` answers: seconds, memory and exponents.

    python tests/benchmarks/bench_table.py [--sizes 1000 10000 100000] [--epochs N]

``runs.csv`` of synthetic records is made in a process of its own. The alternative to hold it
against is ``json.load`` of the same files and nothing else. CPU seconds stand beside wall seconds,
because a busy machine stretches the second alone. Growth is the slope in log-log between the two
largest sizes: 1 is linear. Limits: 10,000 records in 10 s, no exponent above 1.15, and ``compare``
on 32 runs in 1.5 s of CPU after the interpreter has started.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.run import make_record, make_spec, save  # noqa: E402
from builders.study import draw  # noqa: E402
from builders.timeline import make_epochs  # noqa: E402
from wbcbench import table  # noqa: E402
from wbcbench.core import record  # noqa: E402

LIMIT_S, LIMIT_AT = 10.0, 10_000
LIMIT_EXPONENT = 1.15
LIMIT_COMPARE_S = 1.5
STUDY = "bench"
RUNS = ("table",)


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one step."""

    wall_s: float
    cpu_s: float
    rss_bytes: int


def write_records(study: Path, first: int, count: int, epochs: int) -> None:
    """Records as runs leave them, from one of which only names and seeds are changed."""
    spec = make_spec("leaky-dropout", seed=10_000_000, study=STUDY)
    accuracies = [0.9 - 0.6 / (1 + i) for i in range(epochs)]
    text = record.to_json(make_record(spec=spec, epochs=make_epochs(accuracies))).decode()
    for seed in range(10_000_001 + first, 10_000_001 + first + count):
        named = text.replace("10000000", str(seed))
        folder = study / spec.run_id.replace("10000000", str(seed))
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
        (folder / "record.json").write_text(named)


def timed(work: Callable[[], object]) -> Cost:
    """What ``work`` costs; memory is the process's highest so far."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(time.perf_counter() - wall_s, time.process_time() - cpu_s, peak)


def in_a_child(job: str, study: Path) -> Cost:
    """One step in a process of its own, so that memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--job", job, "--study", str(study)],
        check=True,
        capture_output=True,
        text=True,
    )
    return Cost(*json.loads(done.stdout))


def job(name: str, study: Path) -> None:
    """The child's side: print the cost."""
    work = {"table": lambda: table.write_table(study), "json": lambda: load_all(study)}[name]
    cost = timed(work)
    print(json.dumps([cost.wall_s, cost.cpu_s, cost.rss_bytes]))


def load_all(study: Path) -> None:
    """The named alternative: parse every record and keep none."""
    for path in study.glob("*/record.json"):
        with path.open(encoding="utf-8") as stream:
            json.load(stream)


def measure(size: int, epochs: int, folder: Path) -> dict[str, Cost]:
    """One study of ``size`` records: the table, and the alternative."""
    study = folder / f"{size}" / STUDY
    write_records(study, 0, size, epochs)
    costs = {"json.load": in_a_child("json", study), "table": in_a_child("table", study)}
    assert (study / "runs.csv").read_bytes().count(b"\n") == size + 1
    return costs


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope in log-log between the two largest sizes."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def tell_growth(sizes: list[int], found: list[dict[str, Cost]]) -> bool:
    """Print exponents; whether all are linear or better."""
    kept = True
    for step in RUNS:
        costs = [each[step] for each in found]
        seconds = exponent(sizes, [cost.cpu_s for cost in costs])
        memory = exponent(sizes, [cost.rss_bytes for cost in costs])
        kept &= seconds <= LIMIT_EXPONENT and memory <= LIMIT_EXPONENT
        print(f"  {step:12s} grows as n^{seconds:.2f} in CPU seconds, n^{memory:.2f} in memory")
    return kept


def bench_table(sizes: list[int], epochs: int) -> bool:
    """Every size; whether the limits are kept."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(size, epochs, Path(folder)))
        for step, cost in found[-1].items():
            seconds = f"{cost.wall_s:8.2f} s wall {cost.cpu_s:8.2f} s CPU"
            print(f"{size:7d} records  {step:12s} {seconds} {cost.rss_bytes / 1e6:7.0f} MB")
    kept = len(sizes) < 2 or tell_growth(sizes, found)
    if LIMIT_AT in sizes:
        table_s = found[sizes.index(LIMIT_AT)]["table"].cpu_s
        print(f"  {LIMIT_AT} records: {table_s:.1f} s CPU, limit {LIMIT_S:.0f} s")
        kept &= table_s <= LIMIT_S
    return kept


def bench_compare() -> bool:
    """``wbcbench compare`` on four variants in eight blocks, less an empty interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), *draw(8, study=STUDY))
        words = ["-m", "wbcbench", "compare", STUDY, "--results", folder]
        whole, empty = min_cpu_s(words), min_cpu_s(["-c", "pass"])
    spent_s = whole - empty
    print(f"compare on 32 runs: {spent_s:.2f} s CPU after start, limit {LIMIT_COMPARE_S} s")
    return spent_s <= LIMIT_COMPARE_S


def min_cpu_s(words: list[str]) -> float:
    """CPU seconds of a whole process, the least of five."""
    found = []
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # modules are compiled once
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=environment
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        job(asked.job, asked.study)
        return 0
    kept = [bench_compare(), bench_table(asked.sizes, asked.epochs)]
    print("limits kept" if all(kept) else "limits MISSED")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
