"""How long does a report take, and how does that grow? Limits of the project, in seconds and bytes.

    python tests/benchmarks/bench_report.py [--runs 1000] [--quick]

Studies of four variants, 25 epochs, 10 min of 10 Hz traces. Each report is a whole process,
interpreter start included; beside it stands a process that only reads the same records with
Python's ``json``, the least that any report has to do. Where other programs want the cores the wall
says nothing of this one: then seconds of processor time decide, and it is said.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.study import Size, write_study  # noqa: E402

USUAL = Size(blocks=8, epochs=25, epoch_s=22.0, validation_s=1.0, images=2487)
LIMIT_S, AGAIN_LIMIT_S, PAGE_LIMIT = 6.0, 1.0, 400_000
MANY_LIMIT_S, MANY_LIMIT_BYTES = 60.0, 1_000_000_000
GROWTH = (200, 400, 800)
GROWTH_LIMIT = 1.3  # exponent: 1 is proportional; a difference of two times is noisy
READ = (
    "import json, sys, pathlib\n"
    "for p in pathlib.Path(sys.argv[1]).glob('*/record.json'): json.loads(p.read_bytes())"
)


@dataclass(frozen=True)
class Took:
    """What one process took."""

    wall_s: float
    cpu_s: float
    rss_bytes: int

    def kept(self, limit_s: float) -> str:
        """``kept``, ``MISSED``, or that the machine was too busy to tell."""
        if self.wall_s <= limit_s:
            return "kept"
        if self.cpu_s <= limit_s:
            load = os.getloadavg()[0]
            return f"kept in processor time (load {load:.1f} on {os.cpu_count()} cores)"
        return "MISSED"


def timed(*words: str) -> Took:
    """Run a process to its end."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    cpu_s = used.ru_utime + used.ru_stime
    return Took(time.monotonic() - start, cpu_s, used.ru_maxrss * 1024)


def report(results: Path, study: str) -> Took:
    """The page of a study, as a user asks for it."""
    words = ("--results", str(results), "--out", str(results / "reports"), "--format", "html")
    return timed("-m", "wbcbench", "report", study, *words)


def told(what: str, took: Took, limit_s: float | None = None) -> bool:
    """Print one line; whether the limit was kept."""
    end = "" if limit_s is None else f"   limit {limit_s:g} s: {took.kept(limit_s)}"
    print(f"{what:<44} {took.wall_s:7.2f} s wall {took.cpu_s:7.2f} s cpu{end}", flush=True)
    return limit_s is None or took.kept(limit_s) != "MISSED"


def usual(results: Path) -> bool:
    """Thirty-two runs, then once more with nothing changed."""
    folder = write_study(results, USUAL, study="usual")
    alone = timed("-c", READ, str(folder))
    first = report(results, "usual")
    again = report(results, "usual")
    size = (results / "reports" / "usual" / "report.html").stat().st_size
    told("json alone, 32 records", alone)
    kept = told("report of 32 runs", first, LIMIT_S)
    print(f"{'':<44} {first.cpu_s / alone.cpu_s:7.1f} × the processor time of json alone")
    kept &= told("once more, nothing changed", again, AGAIN_LIMIT_S)
    fits = size <= PAGE_LIMIT
    print(f"{'page':<44} {size:>9,} bytes   limit {PAGE_LIMIT:,}: {'kept' if fits else 'MISSED'}")
    return kept and fits


def many(results: Path, runs: int) -> bool:
    """Many runs: seconds and memory."""
    folder = write_study(results, sized(runs), study=f"runs-{runs}")
    alone = timed("-c", READ, str(folder))
    took = report(results, folder.name)
    told(f"json alone, {runs} records", alone)
    kept = told(f"report of {runs} runs", took, MANY_LIMIT_S)
    fits = took.rss_bytes <= MANY_LIMIT_BYTES
    print(f"{'its memory':<44} {took.rss_bytes / 1e6:7.0f} MB   limit 1000 MB: "
          f"{'kept' if fits else 'MISSED'}")  # fmt: skip
    shutil.rmtree(folder)
    return kept and fits


def growth(results: Path) -> bool:
    """The exponent of processor time in runs; what every start costs drops out of differences."""
    taken = []
    for runs in GROWTH:
        folder = write_study(results, sized(runs), study=f"grown-{runs}")
        taken.append(report(results, folder.name))
        told(f"report of {runs} runs", taken[-1])
        shutil.rmtree(folder)
    small, middle, large = (each.cpu_s for each in taken)
    exponent = math.log2((large - middle) / (middle - small))
    fits = exponent <= GROWTH_LIMIT
    print(f"{'grows with runs to the power':<44} {exponent:7.2f}   limit {GROWTH_LIMIT}: "
          f"{'kept' if fits else 'MISSED'}")  # fmt: skip
    return fits


def sized(runs: int) -> Size:
    """The usual study with so many runs."""
    return Size(runs // 4, USUAL.epochs, USUAL.epoch_s, USUAL.validation_s, USUAL.images)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="32 runs only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        kept = usual(results)
        if not asked.quick:
            kept &= growth(results)
            kept &= many(results, asked.runs)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
