"""How long do handing a study of 32 runs in and checking it take, and how large is the bundle?

    python tests/benchmarks/bench_bundle.py [--blocks N] [--epochs N]

The runs are made without training but with everything a real one leaves: traces of 25 epochs, 2,487
predictions each. `submit` and `verify` run as users run them, each in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign, bundle_study  # noqa: E402
from wbcbench.cli import COMMANDS  # noqa: E402

LIMIT_S, LIMIT_MB = 20.0, 500.0


@dataclass(frozen=True)
class Cost:
    """Of one process: wall clock, processor time, most memory."""

    wall_s: float
    cpu_s: float
    memory_mb: float

    @property
    def is_kept(self) -> bool:
        return self.wall_s <= LIMIT_S and self.memory_mb <= LIMIT_MB

    def __str__(self) -> str:
        kept = "kept" if self.is_kept else "MISSED"
        spent = f"{self.wall_s:5.1f} s ({self.cpu_s:.1f} s of processor)"
        return f"{spent}, {self.memory_mb:.0f} MB: {kept}"


def cost(*words: str) -> Cost:
    """Run one command and see what it took."""
    began_s = time.monotonic()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "wbcbench", *words],
        dict(os.environ),
        file_actions=silent,
    )
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"wbcbench {' '.join(words)} failed")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - began_s, cpu_s, usage.ru_maxrss / 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=25)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        made = StudyDesign(blocks=asked.blocks, epochs=asked.epochs, published=True)
        study = bundle_study(here / "results", made)
        print(f"{4 * asked.blocks} runs; one-minute load {os.getloadavg()[0]:.1f}")
        words = ("submit", "study", "--results", str(study.parent), "--author", "A")
        words = (*words, "--licence", "MIT", "--no-verify", "--out")
        costs = [cost(*words, str(here / name)) for name in ("one.zip", "two.zip")]
        first, second = ((here / name).read_bytes() for name in ("one.zip", "two.zip"))
        print(f"submit, zip     {costs[0]}")
        same = hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
        told = "the same bytes" if same else "OTHER BYTES"
        print(f"size            {len(first) / 1e6:.1f} MB; built twice: {told}")
        if "verify" in COMMANDS:
            costs.append(cost("verify", str(here / "one.zip")))
            print(f"verify          {costs[-1]}")
    print(f"limits          {LIMIT_S:.0f} s, {LIMIT_MB:.0f} MB each")
    return 0 if same and all(each.is_kept for each in costs) else 1


if __name__ == "__main__":
    sys.exit(main())
