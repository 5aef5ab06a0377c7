"""SIGKILLs at random moments, twenty each: ``monitor``, a program with a ``Meter``, the recorder,
the launcher. How many windows were lost without a word, or have wrong joules? None may be.

The first two run on a scripted GPU of constant power, whose joules are known; every third program
is killed with the process that samples for it. The others train, as
``tests/run/test_faults_by_kill.py`` has it. Minutes; ``WBCBENCH_TEST_KILLS`` says how many.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from fakes.nvml_plugin import build_library  # noqa: E402
from killed_programs import Place, kill_after, list_losses, make_place  # noqa: E402

KILLS = int(os.environ.get("WBCBENCH_TEST_KILLS", "20"))
LONGEST_S = {"monitor": 7.0, "program": 7.5}  # a little more than one takes
AT_ONCE = 3


def describe(place: Place) -> str:
    """How far the victim was when it was killed, from what it left."""
    if not place.runs:
        return "killed before anything began"
    (record,) = (run.read_record() for run in place.runs)
    if record.status == "done":
        return "was faster"
    if not record.windows:
        return "killed before a window began: told"
    known = [energy.energy_j is not None for energy in record.energies]
    if not any(known):
        return "killed before a poll of its window was on disk: told"
    is_cut = any(warning.code == "window-truncated" for warning in record.warnings)
    return (
        "killed in a window: cut at the last poll" if is_cut else "killed after its windows: whole"
    )


def kill_programs(library: Path, folder: Path, what: str) -> list[str]:
    """Kill so many at random moments; prints what was found, returns what was lost or wrong."""
    moments = random.Random(what)

    def kill_one(number: int, after_s: float) -> tuple[str, list[str]]:
        place = make_place(library, folder / f"{what}-{number}")
        victim = place.monitor() if what == "monitor" else place.program()
        kill_after(place, victim, after_s, with_sampler=number % 3 == 2)
        return f"{what}: {describe(place)}" if not (lost := list_losses(place)) else "lost", lost

    with ThreadPoolExecutor(AT_ONCE) as pool:
        times = [moments.uniform(0.1, LONGEST_S[what]) for _ in range(KILLS)]
        ends = list(pool.map(kill_one, range(KILLS), times))
    for end, count in sorted(Counter(end for end, _ in ends).items()):
        print(f"{count:4} {end}", flush=True)
    return [loss for _, losses in ends for loss in losses]


def main() -> int:
    """Kill all four; the status says whether anything was lost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build_library(folder)
        losses = [loss for what in LONGEST_S for loss in kill_programs(library, folder, what)]
    print(f"lost without a word, or wrong: {len(losses)}", *losses, sep="\n  ", flush=True)
    os.environ["WBCBENCH_TEST_KILLS"] = str(2 * KILLS)
    os.environ["WBCBENCH_TEST_VICTIMS"] = "watcher,launcher"
    status = pytest.main(["-q", str(TESTS / "run" / "test_faults_by_kill.py")])
    return int(bool(losses)) or int(status)


if __name__ == "__main__":
    sys.exit(main())
