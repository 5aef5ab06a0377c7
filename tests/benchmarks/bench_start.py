"""How soon ``wbcbench --help`` answers, against an empty Python start: no limits, no asserts.

    python tests/benchmarks/bench_start.py [--repeats N]

Both are whole processes, started in turns; medians of wall time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

HEAVY = ("tensorflow", "keras", "numpy", "cv2", "pandas", "matplotlib", "scipy", "pyarrow",
         "pynvml", "codecarbon", "pydantic")  # fmt: skip


def seconds(*words: str) -> float:
    """Return the wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def heavy_imports() -> list[str]:
    """Return the heavy libraries that ``--help`` imports; there should be none."""
    program = (
        "import sys; import wbcbench.cli; "
        f"print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    empty, helped = [], []
    for _ in range(repeats):
        empty.append(seconds("-c", "pass"))
        helped.append(seconds("-m", "wbcbench", "--help"))
    base, ours = statistics.median(empty), statistics.median(helped)
    print(f"empty python        {base:6.3f} s")
    print(f"wbcbench --help     {ours:6.3f} s   {ours / base:4.1f} x   (wanted: <= 0.35 s, <= 8 x)")
    print(f"heavy libraries imported by it: {' '.join(heavy_imports()) or 'none'}")


if __name__ == "__main__":
    main()
