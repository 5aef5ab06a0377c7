"""What does a sweep cost beside its runs? At most a second a run, apart from the rests it is asked.

    python tests/benchmarks/bench_sweep.py [--blocks N]

The runs end at once, each with a full record, so that all time is the sweep's own: folders, states,
table, forecast. That of the last runs is told apart, for it grows with the study.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fakes.stand_in_launcher import StandIn  # noqa: E402
from wbcbench.core.run_folder import Local  # noqa: E402
from wbcbench.run.recorder import Interrupts  # noqa: E402
from wbcbench.study.experiment import Experiment, Pauses  # noqa: E402
from wbcbench.study.plan import make_plan  # noqa: E402
from wbcbench.study.sweep import Sweep, SweepSettings  # noqa: E402

LIMIT_S = 1.0


class Timed(StandIn):
    """A stand-in that notes when its runs begin and end."""

    def __init__(self) -> None:
        super().__init__()
        self.began_s: list[float] = []
        self.ended_s: list[float] = []

    def __call__(
        self, run_dirs: Sequence[Path], options: Sequence[str], host_lock: int | None = None
    ) -> Iterator[Path]:
        self.began_s.append(time.monotonic())
        found = list(super().__call__(run_dirs, options, host_lock))
        self.ended_s.append(time.monotonic())
        yield from found


def between_runs_s(blocks: int, results: Path) -> list[float]:
    """Seconds from the end of each run to the beginning of the next."""
    asked = Experiment(
        study="bench",
        seeds=tuple(range(blocks)),
        blocks=blocks,
        factors={"variant": ("relu-dropout", "leaky-dropout", "relu-batchnorm", "leaky-batchnorm")},
        pauses=Pauses(rest_s=0.0),
    )
    made, launcher = make_plan(asked), Timed()
    setting = SweepSettings(results, launcher, Local(plan_sha256=made.sha256))
    Sweep(made, made.runs, setting, Interrupts(), lambda _: None).carry_out()
    pairs = zip(launcher.ended_s, launcher.began_s[1:], strict=False)
    return [began - ended for ended, began in pairs]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=8)
    blocks = parser.parse_args().blocks
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WBCBENCH_LOCK_DIR"] = folder
        gaps = between_runs_s(blocks, Path(folder) / "results")
    mean_s, last_s = sum(gaps) / len(gaps), sum(gaps[-4:]) / 4
    print(f"sweep, between two of {4 * blocks} runs: {mean_s:.2f} s, last four {last_s:.2f} s")
    print(f"limit {LIMIT_S:.0f} s a run: {'kept' if mean_s <= LIMIT_S else 'MISSED'}")
    return 0 if mean_s <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
