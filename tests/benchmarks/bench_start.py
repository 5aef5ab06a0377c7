"""How soon ``--help`` answers and ``monitor -- true`` is done: no limits, no asserts.

    python tests/benchmarks/bench_start.py [--repeats N]

``--help`` and an empty Python start are whole processes, started in turns; medians of wall time.
``monitor`` measures a scripted board with a counter of 100 ms: the first time it probes, later the
board's card is known. Memory is the most of the whole process that measures, CodeCarbon's apart.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fakes.nvml_plugin import SONAME  # noqa: E402
from fakes.nvml_scenario import VARIABLE, FakeGpu, Scenario  # noqa: E402

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


def scripted_machine(folder: Path) -> dict[str, str]:
    """The environment of a machine with one scripted board, locks and cache of its own."""
    sources = [str(path) for path in sorted((HERE.parent / "fakes").glob("nvml*.c"))]
    options = ["-O2", "-fPIC", "-shared", f"-Wl,-soname,{SONAME}", "-o", str(folder / SONAME)]
    subprocess.run(["cc", *options, *sources, "-lm", "-lpthread"], check=True)
    scenario = Scenario((FakeGpu(),)).write(folder)
    return os.environ | {
        VARIABLE: str(scenario),
        "LD_LIBRARY_PATH": str(folder),
        "WBCBENCH_LOCK_DIR": str(folder),
        "WBCBENCH_CACHE": str(folder / "cache"),
    }


def time_monitor(env: dict[str, str], *words: str) -> tuple[float, float]:
    """Wall and CPU seconds of ``monitor WORDS -- true``, its processes included."""
    command = [sys.executable, "-m", "wbcbench", "monitor", "-q", "--no-save", *words]
    command += ["--", "true"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=env, stderr=subprocess.DEVNULL)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s


def peak_memory_mb(env: dict[str, str]) -> float:
    """The most resident memory of ``monitor`` while a command goes on."""
    command = [sys.executable, "-m", "wbcbench", "monitor", "-q", "--no-save"]
    with subprocess.Popen(
        [*command, "--meters", "nvml", "--", "sh", "-c", "echo; sleep 5"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(4.0)
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def report_monitor(repeats: int) -> None:
    """Print how long ``monitor -- true`` takes, with and without CodeCarbon, and its memory."""
    with tempfile.TemporaryDirectory(prefix="wbcbench-bench-") as folder:
        env = scripted_machine(Path(folder))
        probed = [time_monitor(env | {"WBCBENCH_CACHE": f"{folder}/{i}"}, "--meters", "nvml")
                  for i in range(repeats)]  # fmt: skip
        known = [time_monitor(env, "--meters", "nvml") for _ in range(repeats + 1)][1:]
        auto = [time_monitor(env) for _ in range(repeats)]
        for name, rows, wanted in (
            ("probed", probed, "2.5"),
            ("card known", known, "2.5"),
            ("auto", auto, "3"),
        ):
            wall_s, cpu_s = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"monitor -- true, {name:<11} {wall_s:5.2f} s   {cpu_s:5.2f} CPU-s   "
                  f"(wanted: <= {wanted} s)")  # fmt: skip
        print(f"memory of monitor {peak_memory_mb(env):.0f} MB   (wanted: <= 60 MB)")


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
    report_monitor(repeats)


if __name__ == "__main__":
    main()
