"""Two `wbcbench run` of one study at the same instant: what becomes of the second?

    python tests/benchmarks/bench_double_start.py [--pairs N]

N pairs without `--share`: one run is done, the other is refused with exit 3 and leaves no folder.
N pairs with it: both are done, and both are marked as measured on a shared machine. Ends with 1 if
any pair ends otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from program import start, wbcbench  # noqa: E402
from wbcbench.core.run_folder import study_runs  # noqa: E402

PAIRS = 10
TIMEOUT_S = 300
SHORT = (
    "run", "--variant", "leaky-dropout", "--meters", "simulated", "--epochs", "1", "--idle", "0.5",
    "--inference", "0.2", "--warmup-steps", "1", "--batch-size", "32", "--quiet",
)  # fmt: skip
REFUSED = "one done, one refused without a folder"
BOTH_DONE = "both done and marked as shared"


@dataclass(frozen=True)
class Pair:
    """What two commands that began together left."""

    codes: tuple[int, ...]
    errors: tuple[str, ...]
    statuses: tuple[str, ...]
    shared: int
    folders: int

    @property
    def outcome(self) -> str:
        """In words; what is not foreseen is shown as it is."""
        whole = self.folders == len(self.statuses)
        if self.codes == (0, 3) and self.statuses == ("done",) and whole:
            return REFUSED
        if (
            self.codes == (0, 0)
            and self.statuses == ("done", "done")
            and whole
            and self.shared == 2
        ):
            return BOTH_DONE
        return (
            f"exit {self.codes}, records {self.statuses}, {self.folders} folders, "
            f"{self.shared} shared: {' | '.join(self.errors)}"
        )


def start_together(cells: Path, results: Path, *more: str) -> Pair:
    """Start two commands at once and wait for both."""
    words = (*SHORT, "--data", str(cells), "--results", str(results), *more)
    processes = [start(*words), start(*words)]
    errors = [process.communicate(timeout=TIMEOUT_S)[1].strip() for process in processes]
    runs = study_runs(results, "runs")
    records = [run.read_record() for run in runs if run.is_finished]
    return Pair(
        codes=tuple(sorted(process.returncode for process in processes)),
        errors=tuple(error for error in errors if error),
        statuses=tuple(record.status for record in records),
        shared=sum(any(c.code == "shared-machine" for c in r.warnings) for r in records),
        folders=sum(path.is_dir() for path in (results / "runs").iterdir()),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each kind")
    pairs = parser.parse_args().pairs
    began_s = time.monotonic()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["WBCBENCH_LOCK_DIR"] = os.environ["WBCBENCH_CACHE"] = name
        drawn = wbcbench("data", "synth", str(folder / "cells"), "--train", "160", "--test", "64")
        assert drawn.code == 0, drawn.err
        for wanted, more in ((REFUSED, ()), (BOTH_DONE, ("--share",))):
            outcomes = Counter(
                start_together(folder / "cells", folder / f"{len(more)}-{i}", *more).outcome
                for i in range(pairs)
            )
            print(f"{' '.join(('two at once', *more))}:")
            for outcome, count in outcomes.most_common():
                print(f"  {count} of {pairs}: {outcome}")
            failed += pairs - outcomes[wanted]
    print(
        f"{time.monotonic() - began_s:.0f} s; {'as promised' if failed == 0 else 'NOT as promised'}"
    )
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
