"""Random small edits of every kind of file that a user can hand in.

    python tests/fuzz/fuzz.py [--edits 2000] [--seed 0] [--kind KIND ...] [--processes 2]

Each edit ends in a right answer, or in a documented exit code with a message: no traceback, no
hang, no lost run, no changed bundle that is verified. The same seed makes the same edits. Exits
with 1 when one edit does not; ``--kind KIND --seed N --edits 1`` makes it again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.commands import load_commands
from fuzz.kinds import KINDS
from fuzz.trials import Trial, make_worlds, plan_trials


def main() -> int:
    """Make the edits and print what came of them; returns 1 where one ended as none may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", nargs="*", default=[], metavar="KIND:SEED")
    parser.add_argument("--verbose", action="store_true", help="print every edit")
    given = parser.parse_args()
    names = given.kind or list(KINDS)
    load_commands()
    planned = plan_trials(given.edits, given.seed, names)
    planned += [(kind, int(seed)) for kind, seed in (word.split(":") for word in given.again)]
    shares = [planned[i :: given.processes] for i in range(given.processes)]
    started_s = time.monotonic()
    with multiprocessing.get_context("fork").Pool(given.processes) as pool:
        jobs = [(names, share, given.verbose) for share in shares]
        trials = [trial for done in pool.map(try_share, jobs) for trial in done]
    print_table(trials, time.monotonic() - started_s)
    return int(any(trial.problems for trial in trials))


def try_share(job: tuple[list[str], list[tuple[str, int]], bool]) -> list[Trial]:
    """One process's part."""
    names, planned, is_verbose = job
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        worlds = make_worlds(Path(folder), sorted({name for name, _ in planned}, key=names.index))
        for name, seed in planned:
            trial = worlds[name].try_edit(name, seed)
            trials.append(trial)
            if trial.problems or is_verbose:
                print(describe(trial), flush=True)
    return trials


def describe(trial: Trial) -> str:
    """A trial in a few lines."""
    head = f"[{trial.kind}, seed {trial.seed}] {trial.edit}"
    lines = [head, f"    wbcbench {' '.join(trial.words)} → {trial.code}"]
    lines += [f"    PROBLEM {problem}" for problem in trial.problems]
    lines += [f"    | {line[:160]}" for line in trial.err.splitlines()[-6:]]
    return "\n".join(lines)


def print_table(trials: list[Trial], elapsed_s: float) -> None:
    """How many edits of each kind ended how."""
    codes: dict[str, Counter[int]] = defaultdict(Counter)
    for trial in trials:
        codes[trial.kind][trial.code] += 1
    print(f"{'kind':<22} edits  exit codes")
    for kind, counts in codes.items():
        ends = ", ".join(f"{code}: {n}" for code, n in sorted(counts.items()))
        print(f"{kind:<22} {counts.total():>5}  {ends}")
    wrong = [trial for trial in trials if trial.problems]
    print(f"{len(trials)} edits in {elapsed_s:.0f} s, {len(wrong)} that ended as none may")
    for problem, count in Counter(p for t in wrong for p in t.problems).most_common(12):
        print(f"  {count:>4}  {problem}")


if __name__ == "__main__":
    sys.exit(main())
