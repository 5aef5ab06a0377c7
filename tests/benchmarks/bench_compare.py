"""How soon ``compare`` answers: CPU seconds on 32 runs, less those of an empty interpreter.

    python tests/benchmarks/bench_compare.py

Four variants in eight blocks, the least of five. The limit is 1.5 s; how it grows with the study
says ``bench_scale.py``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.run import save  # noqa: E402
from builders.study import draw  # noqa: E402

LIMIT_S = 1.5
STUDY = "bench"


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
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), *draw(8, study=STUDY))
        words = ["-m", "wbcbench", "compare", STUDY, "--results", folder]
        spent_s = min_cpu_s(words) - min_cpu_s(["-c", "pass"])
    print(f"compare on 32 runs: {spent_s:.2f} s CPU after start, limit {LIMIT_S} s")
    return 0 if spent_s <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
