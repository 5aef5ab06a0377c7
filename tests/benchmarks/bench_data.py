"""How fast a data set is read, as ratios measured in one process tree: no limits, no asserts.

    python tests/benchmarks/bench_data.py [--data PATH] [--repeats N]

Compares a plain serial ``cv2.imread`` + ``cv2.resize`` loop, the first load (which also hashes and
checks every file and fills the cache) and the second start (from the cache), each in a fresh
process whose imports are not counted, in alternating order. Uses the published set where it is
given or found, otherwise synthetic cells.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SERIAL = """
import json, sys, time, cv2, numpy as np
from pathlib import Path
from wbcbench.data.read import find_root, list_files
files = list_files(find_root(Path(sys.argv[1])))
start = time.perf_counter()
images = np.empty((len(files), 80, 80, 3), np.uint8)
for i, file in enumerate(files):
    images[i] = cv2.cvtColor(cv2.resize(cv2.imread(file.path), (80, 80)), cv2.COLOR_BGR2RGB)
print(json.dumps([time.perf_counter() - start, len(files)]))
"""
LOAD = """
import json, sys, time, cv2, numpy
from pathlib import Path
from wbcbench.data import load
start = time.perf_counter()
dataset = load(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))
print(json.dumps([time.perf_counter() - start, len(dataset.train) + len(dataset.test)]))
"""


def timed(program: str, *arguments: Path) -> tuple[float, int]:
    """Return the seconds and the number of images that ``program`` reports."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds, images = json.loads(done.stdout)
    return seconds, images


def default_data(scratch: Path) -> Path:
    """Return the published set where the tests would find it, else newly drawn cells."""
    given = os.environ.get("WBCBENCH_TEST_DATA")
    beside = Path(given or Path(__file__).resolve().parents[3] / "shared" / "data" / "wbc")
    if beside.is_dir():
        return beside
    from wbcbench.data.synthetic import Recipe, write_cells

    return write_cells(scratch / "cells", Recipe())


def measure(data: Path, scratch: Path, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every repeat of each way to get the images."""
    seconds: dict[str, list[float]] = {"serial loop": [], "first load": [], "second start": []}
    cache = scratch / "cache"
    images = timed(SERIAL, data)[1]  # also brings the files into memory for all that follow
    print(f"{images} images in {data}, {os.cpu_count()} cores, {repeats} repeats")
    for repeat in range(repeats):
        ways = ["serial loop", "first load"]
        for way in ways if repeat % 2 == 0 else reversed(ways):
            shutil.rmtree(cache, ignore_errors=True) if way == "first load" else None
            program = SERIAL if way == "serial loop" else LOAD
            seconds[way].append(timed(program, data, cache)[0])
        seconds["second start"].append(timed(LOAD, data, cache)[0])
    return seconds


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wbcbench-bench-") as folder:
        scratch = Path(folder)
        seconds = measure(options.data or default_data(scratch), scratch, options.repeats)
    median = {way: statistics.median(found) for way, found in seconds.items()}
    for way, found in seconds.items():
        print(f"{way:<13} {median[way]:7.3f} s   ({min(found):.3f} … {max(found):.3f})")
    print(f"first load is {median['serial loop'] / median['first load']:.2f} × the serial loop")
    print(f"second start is {median['first load'] / median['second start']:.1f} × the first load")


if __name__ == "__main__":
    main()
