"""What watching costs in CPU seconds and memory, beside a plain loop and sleeping alone.

    python tests/benchmarks/bench_costs.py [--seconds S]

Everything that is compared runs at the same time, as children of this process on scripted boards,
so that the machine's mood is in all of it alike; CPU seconds are the kernel's, of each process with
its threads. Nothing here is a limit; wanted were, in CPU seconds per 1,000 s, 2.0 for the sampler
with a counter at 10 Hz, no more than the plain loop at 100 Hz without one, 3 in ``auto`` with
CodeCarbon; and 60 MB without it. How soon ``monitor`` starts is in ``bench_start.py``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_recording import (  # noqa: E402
    Machine,
    begin_again,
    children,
    cpu_ns,
    idling,
    machine,
    resident_mb,
)

from fakes.known_load import SENSORS  # noqa: E402
from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Scenario  # noqa: E402
from fakes.power_shapes import Sine  # noqa: E402

SLEEP = """
import sys, time
while True:
    time.sleep(float(sys.argv[1]))
"""
LOOP = """
import sys, time, pynvml
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(int(sys.argv[2]))
energy_j, last_s = 0.0, time.monotonic()
while True:
    power_w = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    now_s = time.monotonic()
    energy_j += power_w * (now_s - last_s)
    last_s = now_s
    time.sleep(float(sys.argv[1]))
"""
SAMPLER = """
import sys, time
from pathlib import Path
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import MonotonicClock
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.probing import channels_of, probe_sensors
from wbcbench.power.sampler import Sampler
run, clock = RunDir(Path(sys.argv[1])), MonotonicClock()
run.path.mkdir()
meters = open_meters(MeterRequest(gpus=(sys.argv[2],)))
with meters[0]:
    channels = channels_of(meters, probe_sensors(meters, clock))
    Sampler(meters, run, 0.1, clock, channels).start()
    time.sleep(1e6)
"""
WITH_COUNTER, ALONE = "0", "1"
SETTLING_S = 12.0  # imports, the longest probe


def boards() -> tuple[FakeGpu, FakeGpu]:
    """One with a counter, as most are, and one that has only power, renewed every 20 ms."""
    board = FakeGpu(
        power=Sine(180.0, 80.0, 1.3), instant=SENSORS["fast"], counter=Counter(step_s=0.1)
    )
    alone = replace(
        board, uuid="GPU-2", bus="00000000:22:00.0", name="Tesla P100-PCIE-16GB", architecture=4,
        counter=Counter(supported=False), instant=UNSUPPORTED, average=UNSUPPORTED,
        usage=SENSORS["fast"],
    )  # fmt: skip
    return board, alone


# --- CPU seconds -------------------------------------------------------------------------------


@contextmanager
def programs(where: Machine) -> Iterator[Mapping[str, Sequence[int]]]:
    """Everything that is compared, running: the process ids of each."""
    texts = {
        "sleeping alone, 10 Hz": (SLEEP, "0.1"),
        "plain loop, 10 Hz": (LOOP, "0.1", WITH_COUNTER),
        "plain loop, 100 Hz": (LOOP, "0.01", ALONE),
        "sampler, counter, 10 Hz": (SAMPLER, str(where.folder / "counter"), WITH_COUNTER),
        "sampler, no counter, 50 Hz": (SAMPLER, str(where.folder / "alone"), ALONE),
    }
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(subprocess.Popen([sys.executable, "-c", *words]))
            for name, words in texts.items()
        }
        for program in running.values():
            stack.callback(program.kill)
        recorder = stack.enter_context(idling(where.folder / "nvml", 1, "nvml"))
        automatic = stack.enter_context(idling(where.folder / "auto", 1, "auto"))
        pids = {name: (program.pid,) for name, program in running.items()}
        yield {
            **pids,
            "recorder, counter": (recorder,),
            "recorder, auto, CodeCarbon included": (automatic, *children(automatic)),
        }


def print_cpu(where: Machine, seconds: float) -> None:
    """CPU seconds per 1,000 s of each, as a ratio to the plain loop at 100 Hz, and its memory."""
    with programs(where) as running:
        time.sleep(SETTLING_S)
        before = {name: sum(map(cpu_ns, pids)) for name, pids in running.items()}
        began_s = time.monotonic()
        time.sleep(seconds)
        elapsed_s = time.monotonic() - began_s
        used_s = {
            name: (sum(map(cpu_ns, pids)) - before[name]) * 1e-9 * 1000 / elapsed_s
            for name, pids in running.items()
        }
        memory_mb = {name: sum(map(resident_mb, pids)) for name, pids in running.items()}
    print(f"\nCPU seconds per 1,000 s, seen for {seconds:.0f} s")
    print(f"  {'':38}{'CPU-s':>8}{'/ loop 100 Hz':>15}{'MB':>6}")
    for name, cpu_s in used_s.items():
        ratio = cpu_s / used_s["plain loop, 100 Hz"]
        print(f"  {name:38}{cpu_s:>8.2f}{ratio:>15.2f}{memory_mb[name]:>6.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        where = machine(Path(folder))
        begin_again()
        where.play(Scenario(boards()))
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print_cpu(where, asked.seconds)


if __name__ == "__main__":
    main()
