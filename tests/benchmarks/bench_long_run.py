"""What a long run costs to account for, to pack and to verify: CPU seconds, memory and exponents.

    python tests/benchmarks/bench_long_run.py [--hours 1 6 24] [--boards N]

The folder of a run that has just ended: ``--boards`` boards with counter, power and telemetry and
the counters of two processors, polled at 10 Hz; an epoch with its validation takes seven minutes.
It is accounted for (``account``: CSV → record; ``finalise``: as if the recorder was killed), its
traces are packed (``pack``: CSV → Parquet), and its record is made again (``recount``: Parquet →
record), each in a process of its own. Growth is the slope in log-log between the two longest: 1 is
linear. Limits at 24 h: 20 s of CPU and 500 MB for each; no exponent of CPU seconds above 1.15.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from builders.folder import messages, write_cpu_time, write_end, write_messages
from builders.machine import COUNTER, POWER, PROVENANCE, RAPL_CHANNELS
from builders.run import make_spec
from builders.timeline import make_epochs, make_windows
from wbcbench.core.board_state import COLUMNS
from wbcbench.core.record import Circumstances
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.trace import Channel
from wbcbench.run.finalise import RECORDER_DIED, account_from_disk
from wbcbench.table.recount import recount

LIMIT_AT_H, LIMIT_CPU_S, LIMIT_MB, LIMIT_EXPONENT = 24, 20.0, 500.0, 1.15
EPOCH_S, VALIDATION_S, POLL_S = 400.0, 30.0, 0.1
LOOK = "{t!r},{c!r},1410000000.0,1215000000.0,{u!r},42000000000.0,400.0,-,4711,-"


def write_run(results: Path, hours: float, boards: int) -> RunDir:
    """A run of so many hours that has ended and has no record yet."""
    rng = np.random.default_rng(1)
    count = max(round(hours * 3600 / (EPOCH_S + VALIDATION_S)), 2)
    accuracies = [0.9 - 0.6 / (1 + i) for i in range(count)]
    epochs = make_epochs(accuracies, epoch_s=EPOCH_S, validation_s=VALIDATION_S)
    windows = make_windows(epochs)
    spec = make_spec(study="bench", epochs=count)
    run = RunDir(results / spec.study / spec.run_id)
    run.create(spec, Local())
    start_s, end_s = windows[0].start_s - 2.0, windows[-1].end_s + 2.0
    meters = list[list[Channel]]()
    for place in range(boards):
        device = f"GPU-{place:08}"
        counter, power = (
            replace(c, name=c.name.replace("gpu0", f"gpu{place}"), device=device, update_s=POLL_S)
            for c in (COUNTER, POWER)
        )
        meters.append([counter, replace(power, averaging_s=0.025)])
        write_looks(run, device, np.arange(start_s, end_s, 1.0), rng)
    meters.append([replace(c, wrap_j=262143.328850, update_s=0.001) for c in RAPL_CHANNELS[:2]])
    for channels in meters:
        write_polls(run, channels, start_s, end_s, rng)
    run.write_channels([channel for channels in meters for channel in channels])
    write_cpu_time(run, start_s, end_s)
    write_messages(run, messages(windows, epochs))
    began = Circumstances("2026-03-01T10:00:00Z", PROVENANCE)
    run.write_began(began)
    write_end(run, began)
    return run


def write_polls(
    run: RunDir, channels: Sequence[Channel], start_s: float, end_s: float, rng: np.random.Generator
) -> None:
    """Polls after each renewal, now sooner, now later, of a load that wanders and is noisy."""
    renewed_s = np.arange(start_s, end_s, POLL_S)
    late_s = 0.02 + 0.015 * np.sin(renewed_s / 40.0) + rng.exponential(5e-5, len(renewed_s))
    is_loaded = (renewed_s > start_s + 20.0) & (renewed_s < end_s - 6.0)
    columns = list[list[str]]()
    for channel in channels:
        wander_w = 20.0 * np.sin(renewed_s / 7.0) + rng.normal(0.0, 6.0, len(renewed_s))
        power_w = np.round(np.where(is_loaded, 300.0, 60.0) + wander_w, 3)
        joules = 1e5 + np.round(np.cumsum(power_w) * POLL_S, 3)
        values = joules % (channel.wrap_j or math.inf) if channel.kind == "counter" else power_w
        columns.append(list(map(repr, values.tolist())))
    meter = channels[0].name.rpartition("/")[0] if channels[0].device else "rapl"
    with run.trace_path(meter).open("w", encoding="ascii") as stream:
        stream.write(",".join(["t_s", *(channel.name for channel in channels)]) + "\n")
        times = (f"{t_s:.6f}" for t_s in (renewed_s + late_s).tolist())
        stream.writelines(",".join(row) + "\n" for row in zip(times, *columns, strict=True))


def write_looks(run: RunDir, device: str, times: np.ndarray, rng: np.random.Generator) -> None:
    """A look a second at a board that runs as it should."""
    path = run.telemetry_path(device)
    path.parent.mkdir(exist_ok=True)
    warm_c = rng.integers(55, 65, len(times)).astype(float).tolist()
    used = rng.integers(90, 100, len(times)).tolist()
    rows = zip(times.tolist(), warm_c, used, strict=True)
    lines = (LOOK.format(t=t, c=c, u=u / 100) for t, c, u in rows)
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="ascii")


def account(run: RunDir) -> None:
    """CSV → record, as the recorder does at its end."""
    run.write_record(account_from_disk(run, "done", None), pack=False)


def finalise(run: RunDir) -> None:
    """The same for a recorder that was killed: where its traces end is to be found out first."""
    account_from_disk(run, "interrupted", RECORDER_DIED)


JOBS: dict[str, Callable[[RunDir], object]] = {
    "account": account,
    "finalise": finalise,
    "pack": RunDir.pack_traces,
    "recount": recount,
}


def measure(job: str, run: RunDir) -> tuple[float, float]:
    """CPU seconds and highest memory in MB of a job in a process of its own, imports included."""
    words = [sys.executable, __file__, "--job", job, "--run", str(run.path)]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return said["cpu_s"], said["peak_mb"]


def bench(hours: Sequence[float], boards: int) -> bool:
    """Print the cost of each job at each length; whether the limits are kept."""
    costs = list[dict[str, tuple[float, float]]]()
    kept = True
    print(f"{boards} boards with counter, power and telemetry; two processors; 10 Hz\n")
    print(f"{'hours':>6} {'polls':>11}  {'job':8} {'CPU-s':>7} {'MB':>6}")
    for length_h in hours:
        with tempfile.TemporaryDirectory() as folder:
            run = write_run(Path(folder), length_h, boards)
            costs.append({job: measure(job, run) for job in JOBS})
        polls = round(length_h * 3600 / POLL_S) * 2 * (boards + 1)
        for job, (cpu_s, peak_mb) in costs[-1].items():
            print(f"{length_h:>6g} {polls:>11,}  {job:8} {cpu_s:>7.1f} {peak_mb:>6.0f}", flush=True)
            if length_h >= LIMIT_AT_H:
                kept &= cpu_s <= LIMIT_CPU_S and peak_mb <= LIMIT_MB
    for job in JOBS if len(hours) > 1 else ():
        longer = math.log(hours[-1] / hours[-2])
        slopes = [math.log(costs[-1][job][i] / costs[-2][job][i]) / longer for i in (0, 1)]
        print(f"{job} grows as hours^{slopes[0]:.2f} in CPU seconds, hours^{slopes[1]:.2f} in MB")
        kept &= slopes[0] <= LIMIT_EXPONENT
    return kept


def main() -> int:
    """Measure and print; the exit status is 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 6, 24])
    parser.add_argument("--boards", type=int, default=8)
    parser.add_argument("--job", choices=[*JOBS], help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        JOBS[asked.job](RunDir(asked.run))
        status = Path("/proc/self/status").read_text()
        (peak_kb,) = (row.split()[1] for row in status.splitlines() if row.startswith("VmHWM"))
        print(json.dumps({"cpu_s": time.process_time(), "peak_mb": int(peak_kb) * 1024 / 1e6}))
        return 0
    kept = bench(asked.hours, asked.boards)
    print("limits kept" if kept else "limits MISSED")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
