"""Whether any wrong number is stated without a word, on boards of which something is wrong.

    python tests/benchmarks/faulty_windows.py [--count N] [--only KIND] [--seed N] [--check]

Seeded windows of every kind in ``fakes.faulty_boards``, in virtual time through the real meters,
sampler and energy code. A number is silently wrong if it lies further off the truth than half again
its ± and no warning names the fault. ``--only`` and ``--seed`` repeat one of them; with ``--check``
silent ones make an exit status of 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_recording import Machine, machine  # noqa: E402

from fakes.faulty_boards import KINDS, Verdict, draw_window, play_window  # noqa: E402
from fakes.known_load import Bench  # noqa: E402

COUNT = 12


@dataclass(frozen=True)
class Row:
    """What was stated of the windows of one kind."""

    kind: str
    verdicts: tuple[Verdict, ...]

    def count(self, *outcomes: str) -> int:
        return sum(verdict.outcome in outcomes for verdict in self.verdicts)

    @property
    def doubted(self) -> int:
        """Windows with a number that is suspect or invalid."""
        results = [v.result for v in self.verdicts if v.result and v.energy_j is not None]
        return sum(result.quality != "valid" for result in results)

    @property
    def silent(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.outcome == "silent"]

    def worst_pct(self, outcome: str) -> float:
        """The largest error of one outcome, in per cent of the truth."""
        errors = [abs(v.error_pct) for v in self.verdicts if v.outcome == outcome]
        return max(errors, default=0.0)


def run_faulty(
    where: Machine,
    seed: int,
    count: int,
    kinds: Iterable[str] = KINDS,
    *,
    parts: int = 0,
    alone: bool = False,
    verbose: bool = False,
) -> list[Row]:
    """Measure ``count`` windows of each kind, from ``seed`` on, and as many parts of each."""
    environment: dict[str, str] = os.environ  # type: ignore[assignment]
    rows = []
    for kind in kinds:
        verdicts = list[Verdict]()
        for place in range(seed, seed + count):
            drawn = draw_window(kind, place, alone=alone)
            with tempfile.TemporaryDirectory(dir=where.folder) as folder:
                of_window = play_window(Bench(where, Path(folder)), drawn, environment, parts)
            verdicts += of_window
            for verdict in of_window if verbose else ():
                print(f"{verdict.outcome:<7}{verdict}", flush=True)
        rows.append(Row(kind, tuple(verdicts)))
    return rows


def print_rows(rows: Sequence[Row]) -> int:
    """Print one line a kind, and every silent wrong number; returns how many there are."""
    outcomes = ("told", "shallow", "silent")
    heads = (
        "n",
        "right",
        "near",
        "none",
        "doubted",
        *(word for o in outcomes for word in (o, "worst")),
    )
    print(f"{'kind':<38}", *(f"{head:>7}" for head in heads))
    for row in rows:
        cells = [len(row.verdicts), *map(row.count, ("right", "near", "none")), row.doubted]
        for outcome in outcomes:
            cells += [row.count(outcome), f"{row.worst_pct(outcome):.1f}%"]
        print(f"{row.kind:<38}", *(f"{cell:>7}" for cell in cells))
    silent = [verdict for row in rows for verdict in row.silent]
    windows = sum(len(row.verdicts) for row in rows)
    print(f"{windows} faulty windows, {len(silent)} silently wrong")
    for verdict in silent:
        print(f"  {verdict}")
    return len(silent)


def main() -> int:
    """Run, print; with ``--check`` the exit status is 1 where a number is silently wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT, help="windows of each kind")
    parser.add_argument("--only", action="append", choices=[*KINDS], help="this kind alone")
    parser.add_argument("--seed", type=int, help="this window alone")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--parts", type=int, default=0, help="windows inside of each")
    parser.add_argument("--alone", action="store_true", help="the faulty board without others")
    parser.add_argument("--check", action="store_true", help="fail where one is silently wrong")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every window")
    options = parser.parse_args()
    shared_memory = Path("/dev/shm")
    place = shared_memory if shared_memory.is_dir() else None
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place) as folder:
        where = machine(Path(folder))
        restart_with(where)
        seed, count = (options.first, options.count) if options.seed is None else (options.seed, 1)
        rows = run_faulty(
            where,
            seed,
            count,
            options.only or KINDS,
            parts=options.parts,
            alone=options.alone,
            verbose=options.verbose,
        )
    silent = print_rows(rows)
    print(f"{time.monotonic() - began_s:.0f} s")
    return 1 if options.check and silent else 0


def restart_with(where: Machine) -> None:
    """Open the scripted library once: a library of its name is then taken as already loaded."""
    import ctypes

    ctypes.CDLL(str(where.folder / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)


if __name__ == "__main__":
    sys.exit(main())
