"""How right watching is: wbcbench, CodeCarbon and a plain loop side by side, on scripted GPUs.

    python tests/benchmarks/bench_recording.py [--length S] [--rounds N]

Error is against the joules that the scripted GPU truly drew, over a window of ``--length`` seconds
that begins and ends with a step of the load: ours through the real meter and sampler, CodeCarbon
through its own tracker, started and stopped at the edges, and a loop that reads
``nvmlDeviceGetPowerUsage`` every 10 ms. Nothing here is a limit; it prints what it sees. What
watching costs is in ``bench_costs.py``.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fakes.clocks import FileClock  # noqa: E402
from fakes.known_load import AFTER_S, LOAD_AT_S, LOADS, SENSORS, Bench, Loaded  # noqa: E402
from fakes.nvml_plugin import SONAME  # noqa: E402
from fakes.nvml_scenario import VARIABLE, FakeGpu, Fault, Scenario  # noqa: E402

# --- the machine -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """Scripted GPUs for this process and its children."""

    folder: Path

    def play(self, scenario: Scenario, name: str = "scenario.txt") -> Path:
        """Make the scenario the truth from the next opening of the driver on."""
        _close_driver()
        path = scenario.write(self.folder, name)
        os.environ[VARIABLE] = str(path)
        return path


def _close_driver() -> None:
    """Give back every session, so that the next one reads its own scenario."""
    import pynvml

    try:
        while True:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return


def machine(folder: Path) -> Machine:
    """Build the library and begin again with it on the loader's path."""
    sources = [str(path) for path in sorted((HERE.parent / "fakes").glob("nvml*.c"))]
    options = ["-O2", "-fPIC", "-shared", f"-Wl,-soname,{SONAME}"]
    built = folder / SONAME
    subprocess.run(["cc", *options, "-o", str(built), *sources, "-lm", "-lpthread"], check=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    os.environ["LD_LIBRARY_PATH"] = str(folder)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    os.environ["WBCBENCH_LOCK_DIR"] = os.environ["TMPDIR"] = str(folder)
    os.environ["WBCBENCH_CACHE"] = str(folder)
    return Machine(folder)


# --- processes ---------------------------------------------------------------------------------


def cpu_ns(pid: int) -> int:
    """Nanoseconds on a processor, threads that have ended included."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # Linux: a process's clock, in nanoseconds


def resident_mb(pid: int) -> float:
    """Resident memory of one process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (rss_kb,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(rss_kb) * 1024 / 1e6


@contextmanager
def idling(results: Path, gpus: int, meters: str) -> Iterator[int]:
    """A run in its first idle window; yields the watcher's process id."""
    words = ["run", "--variant", "leaky-dropout", "--results", str(results), "--idle", "3600"]
    words += ["--meters", meters, "--gpus", ",".join(map(str, range(gpus))), "--share", "-q"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    launcher = subprocess.Popen([sys.executable, "-m", "wbcbench", *words], **quiet)
    try:
        yield _watcher(results, launcher)
    finally:
        launcher.send_signal(signal.SIGTERM)
        launcher.wait(60)


def _watcher(results: Path, launcher: subprocess.Popen[bytes]) -> int:
    while not any("idle_cold" in path.read_text() for path in results.glob("*/*/marks.jsonl")):
        if launcher.poll() is not None:
            raise SystemExit("the run to be watched did not begin")
        time.sleep(0.1)
    time.sleep(1.0)
    (child,) = children(launcher.pid)
    return child


def children(pid: int) -> list[int]:
    """Process ids of the children of one process."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for path in found for word in path.read_text().split()]


# --- error -------------------------------------------------------------------------------------

BOARDS: dict[str, dict[str, object]] = {
    "full-time": {"instant": SENSORS["full-time"]},
    "part-time": {"instant": SENSORS["part-time"], "usage": SENSORS["part-time"]},
}


def cases(length_s: float) -> Iterator[tuple[str, FakeGpu]]:
    """Loads on boards, then faults in the middle of a window."""
    for sensor, readings in BOARDS.items():
        for name, load in LOADS.items():
            board = FakeGpu(power=load, name="NVIDIA A100-SXM4-40GB", **readings)
            yield f"{name}, {sensor} sensor", board
    plain = FakeGpu(power=LOADS["square"], instant=SENSORS["full-time"])
    middle_s = LOAD_AT_S + 0.5 * length_s
    counter = plain.counter
    lost = Fault("lost", at_s=middle_s, until_s=middle_s + 1.0)
    yield "counter frozen", replace(plain, counter=replace(counter, frozen_at_s=middle_s))
    yield "counter reset", replace(plain, counter=replace(counter, reset_at_s=middle_s))
    yield (
        "counter jumps 90 kJ",
        replace(plain, counter=replace(counter, jump_at_s=middle_s, jump_j=90_000.0)),
    )
    yield "no counter", replace(plain, counter=replace(counter, supported=False))
    yield "GPU lost for 1 s", replace(plain, faults=(lost,))


HEADS = ("stated", "± stated", "counter", "integral", "codecarbon", "10 ms loop")


def print_errors(where: Machine, length_s: float, rounds: int) -> None:
    """One line a case: the root mean square of everybody's relative error."""
    logging.disable(logging.CRITICAL)
    print(f"\nError of {length_s:.0f} s between two steps of the load, % of the true joules;")
    print(f"root mean square of {rounds} rounds with sensors at random phases")
    print(f"  {'':30}" + "".join(f"{head:>12}" for head in HEADS))
    for name, gpu in cases(length_s):
        rng = random.Random(name)
        seen = [errors(where, _shifted(gpu, rng), length_s) for _ in range(rounds)]
        cells = (_rms(column) for column in zip(*seen, strict=True))
        print(f"  {name:30}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def _shifted(gpu: FakeGpu, rng: random.Random) -> FakeGpu:
    """The board with its sensors at phases that nobody knows."""
    phase_s, own_s = rng.random() * gpu.instant.update_s, rng.random() * gpu.counter.step_s
    return replace(
        gpu,
        instant=replace(gpu.instant, phase_s=phase_s),
        usage=replace(gpu.usage, phase_s=phase_s),
        counter=replace(gpu.counter, phase_s=own_s),
    )


def errors(where: Machine, gpu: FakeGpu, length_s: float) -> tuple[float | None, ...]:
    """Everybody's relative error in one round, in the order of ``HEADS``."""
    load = Loaded(gpu.power, length_s)
    loaded = replace(gpu, power=load)
    true_j = load.energy_j(LOAD_AT_S, load.end_s)
    primary, u_j, *ours = our_joules(Bench(where, where.folder), loaded, load.end_s)
    clock = FileClock(where.folder / "clock", LOAD_AT_S)
    where.play(Scenario((loaded,), clock=clock.path))
    others = (codecarbon_joules(clock, load.end_s), loop_joules(clock, load.end_s))
    joules = (primary, None if u_j is None else true_j + u_j, *ours, *others)
    return tuple(None if j is None else j / true_j - 1 for j in joules)


def _rms(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "unknown"
    return f"{100 * math.sqrt(fmean(value**2 for value in known)):.2f}"


def our_joules(bench: Bench, gpu: FakeGpu, end_s: float) -> tuple[float | None, ...]:
    """What would be stated, its ±, and what counter and integral say each."""
    from wbcbench.core.trace import Kind
    from wbcbench.core.window import Window
    from wbcbench.energy.appraise import appraise

    traces = list(bench.traces(gpu, end_s + AFTER_S).values())
    found = appraise(traces, [Window("train", LOAD_AT_S, end_s)])
    said = dict(zip((trace.channel.kind for trace in traces), found.energies, strict=True))
    counter, integral = said.get(Kind.COUNTER), said.get(Kind.SAMPLED)
    known = [each for each in (counter, integral) if each and each.energy_j is not None]
    best = known[0] if known else None
    return (
        best.energy_j if best else None,
        best.uncertainty_j if best else None,
        counter.energy_j if counter else None,
        integral.energy_j if integral else None,
    )


def codecarbon_joules(clock: FileClock, end_s: float) -> float | None:
    """What CodeCarbon's tracker says of the GPU between its start and its stop."""
    from codecarbon import OfflineEmissionsTracker

    clock.set_s(LOAD_AT_S)
    tracker = OfflineEmissionsTracker(
        country_iso_code="DEU", measure_power_secs=3600, save_to_file=False, log_level="critical",
        allow_multiple_runs=True, gpu_ids=[0], force_cpu_power=1, force_ram_power=1,
    )  # fmt: skip
    tracker.start_task("train")  # unlike stop(), the end of a task always measures
    clock.set_s(end_s)
    return 3.6e6 * tracker.stop_task("train").gpu_energy


def loop_joules(clock: FileClock, end_s: float) -> float | None:
    """A loop that reads the power every 10 ms and adds it up."""
    import pynvml

    clock.set_s(LOAD_AT_S)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    energy_j, last_s = 0.0, clock.now_s()
    while clock.now_s() < end_s:
        clock.sleep_until(last_s + 0.01)
        try:
            watts = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
        except pynvml.NVMLError:
            watts = 0.0
        energy_j += watts * (clock.now_s() - last_s)
        last_s = clock.now_s()
    pynvml.nvmlShutdown()
    return energy_j


def begin_again() -> None:
    """Start this program anew, once: the loader reads its path at program start only."""
    if "WBCBENCH_BENCH_AGAIN" not in os.environ:
        again = {**os.environ, "WBCBENCH_BENCH_AGAIN": "1"}
        sys.exit(subprocess.call([sys.executable, *sys.argv], env=again))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        where = machine(Path(folder))
        begin_again()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print_errors(where, asked.length, asked.rounds)


if __name__ == "__main__":
    main()
