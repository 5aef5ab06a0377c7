"""Whether the stated ± holds what is true, and whether a wrong number is ever stated silently.

    python tests/benchmarks/bench_windows.py [--quick] [--seed N] [--only CLASS] [--check]

Seeded windows of 3 to 60 s on the boards of ``fakes.sensor_classes`` with constant, periodic and
random loads: in virtual time through the real meter, sampler and energy code, and a tenth of them
in real time, eight boards at once. For each class: the share of windows whose truth lies within the
stated ± (then: within at least one step of the counter), the median half-width and the rms error,
both in per cent of the truth, their ratio, and how many windows have a warning that a fault-free
one should not have. Then the mean error of short windows, each with a load of its own length, and
the faulty windows of ``faulty_windows.py``. With ``--check`` a goal that
is missed makes an exit status of 1. Another ``--seed`` draws other windows.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_recording import Machine, machine  # noqa: E402
from faulty_windows import COUNT as FAULTY_COUNT  # noqa: E402
from faulty_windows import print_rows as print_faulty_rows  # noqa: E402
from faulty_windows import run_faulty  # noqa: E402

from fakes.known_load import WINDOW_AT_S, Bench  # noqa: E402
from fakes.nvml_plugin import SONAME  # noqa: E402
from fakes.nvml_scenario import Scenario  # noqa: E402
from fakes.sensor_classes import CLASSES, Case, draw_case, draw_short_case  # noqa: E402
from wbcbench.core.run_folder import RunDir  # noqa: E402
from wbcbench.core.window import MonotonicClock, Window  # noqa: E402
from wbcbench.measure.window_result import Recording, read_recording  # noqa: E402
from wbcbench.power.session import MeteringRequest, MeteringSession  # noqa: E402

COUNT, QUICK_COUNT = 300, 40
LIVE_SHARE, LIVE_BOARDS, LIVE_FROM_S = 0.1, 8, 16.0
SHORT_KINDS, SHORT_S, SHORT_SHARE = (
    ("counter 20 ms", "counter 100 ms", "part-time"),
    (0.3, 0.5, 1.0),
    0.2,
)
MOST_MEAN_PCT = 1.0  # error of short windows, without a part-time sensor
COVERED_PCT, MOST_RATIO, MOST_ALARMS_PCT = (93.0, 99.0), 2.5, 1.0

CLASS = {each.name: each for each in CLASSES}

# What a sound window may be told: that it is short, and how deep its readings could be checked.
HARMLESS = {"short-window", "few-samples", "wide-interval", "check-depth", "meter-absent"}


@dataclass(frozen=True)
class Outcome:
    """What was stated of one window; joules are ``None`` where none were."""

    kind: str
    load: str
    true_j: float
    energy_j: float | None
    uncertainty_j: float
    step_j: float
    alarms: tuple[str, ...]

    @property
    def error(self) -> float:
        """Relative to the truth."""
        return math.inf if self.energy_j is None else self.energy_j / self.true_j - 1

    def is_covered(self, floor_j: float = 0.0) -> bool:
        return abs(self.error) * self.true_j <= max(self.uncertainty_j, floor_j) + 1e-9


# --- windows -----------------------------------------------------------------------------------


def judge(kind: str, case: Case, recording: Recording) -> Outcome:
    """Have one window stated from what was recorded of its board."""
    window = Window("command", case.start_s, case.end_s)
    result = recording.measure_window(window, work=Window("whole", *case.work_s))
    expected = CLASS[kind].expected
    counter = case.gpu.counter
    power_w = case.true_j / (case.end_s - case.start_s)
    return Outcome(
        kind,
        case.load,
        case.true_j,
        result.energy.energy_j,
        result.energy.uncertainty_j or 0.0,
        counter.step_s * power_w if counter.supported else 0.0,
        tuple(sorted({str(warning.code) for warning in result.warnings} - HARMLESS - expected)),
    )


def measure_virtual(job: tuple[Machine, str, str]) -> Outcome:
    """One window in virtual time."""
    where, kind, seed = job
    return record(where, kind, draw_case(CLASS[kind], seed, WINDOW_AT_S))


def measure_short(job: tuple[Machine, str, str, float]) -> Outcome:
    """A window of so many seconds in virtual time."""
    where, kind, seed, length_s = job
    case = draw_short_case(CLASS[kind], seed, length_s, WINDOW_AT_S)
    return replace(record(where, kind, case), kind=f"{kind}, {length_s:g} s")


def record(where: Machine, kind: str, case: Case) -> Outcome:
    """Record a case in virtual time and have its window stated."""
    with tempfile.TemporaryDirectory(dir=where.folder) as folder:
        own = replace(where, folder=Path(folder))
        recording = Bench(own, own.folder).record([case.gpu], case.work_s[1] - WINDOW_AT_S)
    return judge(kind, case, recording)


def measure_live(job: tuple[Machine, list[tuple[str, Case]]]) -> list[Outcome]:
    """Windows in real time, on boards of one machine."""
    where, cases = job
    gpus = tuple(
        replace(case.gpu, uuid=f"GPU-{place:08}", bus=f"00000000:{place + 16:02X}:00.0")
        for place, (_, case) in enumerate(cases)
    )
    clock = MonotonicClock()
    with tempfile.TemporaryDirectory(dir=where.folder) as folder, ExitStack() as stack:
        began_s = clock.now_s()
        replace(where, folder=Path(folder)).play(Scenario(gpus, epoch_s=began_s))
        run = RunDir(Path(folder) / "run")
        run.path.mkdir()
        session = MeteringSession(run, clock, stack)
        request = MeteringRequest(("nvml",))
        session.open(request.meters, request.request)
        session.probe()
        session.start(request.interval_s, provenance={})
        session.rest()
        clock.sleep_until(began_s + max(case.work_s[1] for _, case in cases))
        session.rest()
        run.write_began(session.stop())
        recording = read_recording(run)
    return [
        judge(
            kind,
            case.at(began_s),
            replace(
                recording,
                traces=tuple(t for t in recording.traces if t.channel.device == gpu.uuid),
            ),
        )
        for gpu, (kind, case) in zip(gpus, cases, strict=True)
    ]


def group_live(kinds: Sequence[str], seed: int, count: int) -> Iterator[list[tuple[str, Case]]]:
    """The cases of the real time, in groups of about equal length."""
    cases = [
        (each.name, draw_case(each, f"live {seed} {place}", LIVE_FROM_S))
        for each in CLASSES
        if each.name in kinds
        for place in range(count)
    ]
    cases.sort(key=lambda named: named[1].work_s[1])
    yield from (cases[i : i + LIVE_BOARDS] for i in range(0, len(cases), LIVE_BOARDS))


# --- the table ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What was stated of the windows of one class."""

    name: str
    outcomes: tuple[Outcome, ...]

    def covered_pct(self, *, with_step: bool = False) -> float:
        floors = ((each, each.step_j if with_step else 0.0) for each in self.outcomes)
        return 100 * fmean(each.is_covered(floor_j) for each, floor_j in floors)

    @property
    def width_pct(self) -> float:
        return 100 * median(each.uncertainty_j / each.true_j for each in self.outcomes)

    @property
    def rms_pct(self) -> float:
        return 100 * math.sqrt(fmean(each.error**2 for each in self.outcomes))

    @property
    def alarms_pct(self) -> float:
        return 100 * fmean(bool(each.alarms) for each in self.outcomes)

    def misses(self) -> list[str]:
        """The goals that are missed, in words."""
        low, high = COVERED_PCT
        problems = []
        if not low <= self.covered_pct() <= high:
            problems.append(f"coverage {self.covered_pct():.1f} %, wanted {low:.0f} to {high:.0f}")
        if self.width_pct > MOST_RATIO * self.rms_pct:
            problems.append(f"± is {self.width_pct / self.rms_pct:.1f} × the rms error")
        if self.alarms_pct > MOST_ALARMS_PCT:
            problems.append(f"false alarms in {self.alarms_pct:.1f} %")
        return problems

    def __str__(self) -> str:
        codes = Counter(code for each in self.outcomes for code in each.alarms)
        return (
            f"{self.name:<26}{len(self.outcomes):>5}{self.covered_pct():>8.1f}"
            f"{self.covered_pct(with_step=True):>8.1f}{self.width_pct:>9.3f}{self.rms_pct:>9.3f}"
            f"{self.width_pct / self.rms_pct:>7.2f}{self.alarms_pct:>7.1f}  "
            + ", ".join(f"{code} {count}" for code, count in codes.most_common())
        )


def print_rows(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Print one line a class; returns the goals that are missed."""
    print(f"\n{title}\n{'class':<26}    n  inside  w.step  ± med %  rms %  ratio alarms %")
    misses = list[str]()
    for name in dict.fromkeys(each.kind for each in outcomes):
        row = Row(name, tuple(each for each in outcomes if each.kind == name))
        print(row, flush=True)
        misses += [f"{name}: {problem}" for problem in row.misses()]
    return misses


def print_short_rows(outcomes: Sequence[Outcome]) -> list[str]:
    """Print the mean error of each class and length; returns the goals that are missed."""
    print(f"\nShort windows, virtual time\n{'class':<26}    n  mean %   ± 95 %  rms %  inside")
    misses = list[str]()
    for name in dict.fromkeys(each.kind for each in outcomes):
        row = Row(name, tuple(each for each in outcomes if each.kind == name))
        mean_pct = 100 * fmean(each.error for each in row.outcomes)
        sure_pct = 1.96 * math.sqrt((row.rms_pct**2 - mean_pct**2) / len(row.outcomes))
        print(
            f"{name:<26}{len(row.outcomes):>5}{mean_pct:>+8.2f}{sure_pct:>9.2f}{row.rms_pct:>7.2f}"
            f"{row.covered_pct():>8.1f}",
            flush=True,
        )
        if abs(mean_pct) > MOST_MEAN_PCT and not name.startswith("part-time"):
            misses.append(f"{name}: {mean_pct:+.2f} % off on average")
    return misses


def main() -> int:
    """Run and print; with ``--check`` the exit status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_COUNT} windows a class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=[each.name for each in CLASSES])
    parser.add_argument("--lanes", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument("--no-live", action="store_true", help="nothing in real time")
    parser.add_argument("--no-faulty", action="store_true", help="no faulty windows")
    parser.add_argument("--check", action="store_true", help="fail where a goal is missed")
    options = parser.parse_args()
    kinds = options.only or [each.name for each in CLASSES]
    count = QUICK_COUNT if options.quick else COUNT
    began_s = time.monotonic()
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        where = machine(Path(folder))
        ctypes.CDLL(str(where.folder / SONAME), mode=ctypes.RTLD_GLOBAL)
        jobs = [(where, kind, f"{options.seed} {i}") for kind in kinds for i in range(count)]
        groups = group_live(kinds, options.seed, max(round(LIVE_SHARE * count), 1))
        with multiprocessing.get_context("fork").Pool(options.lanes, maxtasksperchild=50) as pool:
            virtual = list(pool.imap(measure_virtual, jobs, chunksize=8))
            misses = print_rows("Virtual time", virtual)
            short = [
                (where, kind, f"{options.seed} {i}", length_s)
                for kind in SHORT_KINDS
                if kind in kinds
                for length_s in SHORT_S
                for i in range(round(SHORT_SHARE * count))
            ]
            misses += print_short_rows(list(pool.imap(measure_short, short, chunksize=8)))
            live = (
                [] if options.no_live else pool.map(measure_live, [(where, g) for g in groups], 1)
            )
        faulty_count = 0 if options.no_faulty else 2 if options.quick else FAULTY_COUNT
        faulty = run_faulty(where, FAULTY_COUNT * options.seed, faulty_count)
    if live:
        missed = print_rows("Real time", [each for group in live for each in group])
        misses += [f"in real time, {problem}" for problem in missed]
    if faulty_count:
        print("\nFaulty boards, virtual time")
        silent = print_faulty_rows(faulty)
        misses += [f"{silent} faulty windows are silently wrong"] if silent else []
    print("\n" + ("\n".join(misses) or "Every goal is met."))
    print(f"{time.monotonic() - began_s:.0f} s")
    return 1 if options.check and misses else 0


if __name__ == "__main__":
    sys.exit(main())
