"""How commands grow with a study: 100, 1,000 and 10,000 runs.

    python tests/benchmarks/bench_scale.py [--sizes 100 1000 10000] [--write]

The runs come from a generator: four variants, four epochs, traces of a GPU and a processor, tested
on 400 images, each with a record of its own. Every command is a process of its own, children
included: CPU seconds, wall seconds and its peak of memory. A slope is that in log-log between the
two largest sizes; 1 is linear. ``--write`` puts the table into ``harness/RESULTS_TABLE.md``. Exits
with 1 when a limit is missed.

*first*: nothing is kept of the runs yet, as after they were copied from elsewhere. *a run more*:
the table of the study, when one more run has ended. *a sweep's run*: what a sweep takes beside a
run that takes nothing. *submit*: a study with all its evidence, its report left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign, bundle_study  # noqa: E402
from builders.study import VARIANTS, Size, write_study  # noqa: E402
from fakes.stand_in_launcher import StandIn  # noqa: E402
from program import command  # noqa: E402
from wbcbench import table  # noqa: E402
from wbcbench.bundle import write as bundles  # noqa: E402
from wbcbench.bundle.describe import SubmittedStudy  # noqa: E402
from wbcbench.core.run_folder import Local  # noqa: E402
from wbcbench.core.study_folder import PLAN  # noqa: E402
from wbcbench.run.recorder import Interrupts  # noqa: E402
from wbcbench.study.experiment import Pauses  # noqa: E402
from wbcbench.study.plan import from_json  # noqa: E402
from wbcbench.study.statement import Author  # noqa: E402
from wbcbench.study.sweep import Sweep, SweepSettings  # noqa: E402

PAGE = ROOT / "harness" / "RESULTS_TABLE.md"
BEGIN, END = "<!-- scale: begin -->", "<!-- scale: end -->"
STUDY = "runs"
SWEPT = len(VARIANTS)
MOST_SUBMITTED = 1_000  # ten thousand take an hour
LIMIT_SLOPE = 1.15
LIMITS = {  # CPU seconds and MB at 10,000 runs; ``None`` where there is none
    "export, first": (20.0, 500.0),  # on all processors at once: 10 s on two
    "export": (10.0, 500.0),
    "list": (10.0, 500.0),
    "show": (10.0, 500.0),
    "compare": (None, 500.0),
    "merge": (10.0, 500.0),
    "sweep --dry-run": (10.0, 500.0),
    "a run more": (10.0, 500.0),
    "a sweep's run": (10.0, 500.0),
    "submit": (None, 1000.0),
}


@dataclass(frozen=True)
class Cost:
    """Of one process and its children."""

    cpu_s: float
    wall_s: float
    memory_mb: float


def run(words: Sequence[str], cache: Path) -> Cost:
    """What a command costs; its output is dropped."""
    began_s = time.perf_counter()
    environment = {**os.environ, "WBCBENCH_CACHE": str(cache), "WBCBENCH_LOCK_DIR": str(cache)}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)} failed")
    wall_s = time.perf_counter() - began_s
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, 1.024e-3 * usage.ru_maxrss)


def measure_study(size: int, room: Path) -> Iterator[tuple[str, Cost]]:
    """Every step for a study of so many runs."""
    results, cache = room / "results", room / "cache"
    cache.mkdir()
    job = [sys.executable, __file__, "--room", str(room), "--job"]
    study = results / STUDY
    run([*job, "generate", "--sizes", str(size)], cache)  # elsewhere: a child begins as large as we
    a_run = next(path.name for path in sorted(study.iterdir()) if path.is_dir())
    out, here = str(room / "out.csv"), ("--results", str(results))
    yield "export, first", run(command("export", STUDY, "--out", out, *here), cache)
    yield "export", run(command("export", STUDY, "--out", out, *here), cache)
    yield "list", run(command("list", STUDY, *here), cache)
    yield "show", run(command("show", a_run, *here), cache)
    yield "compare", run(command("compare", STUDY, *here), cache)
    yield "merge", run(command("merge", STUDY, "--into", "merged", *here), cache)
    shutil.rmtree(results / "merged")
    plan = str(study / PLAN)
    yield "sweep --dry-run", run(command("sweep", plan, "--dry-run", *here), cache)
    aside = room / "aside"
    run([*job, "table"], cache)
    (study / a_run / "record.json").rename(aside)
    run([*job, "table"], cache)
    aside.rename(study / a_run / "record.json")
    yield "a run more", run([*job, "table"], cache)
    last = sorted(from_json(study / PLAN).runs, key=lambda spec: spec.order_global)[-SWEPT:]
    for spec in last:
        shutil.rmtree(study / spec.run_id)
    whole, empty = run([*job, "sweep"], cache), run([*job, "sweep"], cache)
    each = [
        (one - none) / SWEPT
        for one, none in zip((whole.cpu_s, whole.wall_s), (empty.cpu_s, empty.wall_s), strict=True)
    ]
    yield "a sweep's run", Cost(*each, whole.memory_mb)
    if size <= MOST_SUBMITTED:
        run([*job, "generate evidence", "--sizes", str(size)], cache)
        yield "submit", run([*job, "submit"], cache)


def do_job(name: str, room: Path, size: int) -> None:
    """The child's side of a step that is no command."""
    results = room / "results"
    if name == "generate":
        write_study(results, Size(blocks=size // SWEPT))
    elif name == "generate evidence":
        bundle_study(results, StudyDesign(study="evidence", blocks=size // SWEPT, epochs=1))
    elif name == "table":
        table.write_table(results / STUDY)
    elif name == "sweep":
        plan = replace(from_json(results / STUDY / PLAN), pauses=Pauses(rest_s=0.0))
        settings = SweepSettings(results, StandIn(), Local(plan_sha256=plan.sha256))
        Sweep(plan, plan.runs, settings, Interrupts(), lambda _: None).carry_out()
    else:
        submit_without_report(results, room / "bag")


def submit_without_report(results: Path, out: Path) -> None:
    """The bundle of a study, but for its report and the sentences of that."""

    class NoReport:
        claims = ()
        byline = "A"

    SubmittedStudy.report = NoReport()  # type: ignore[assignment]
    bundles.make_report = lambda *_: {}  # type: ignore[attr-defined]
    bundles.submit(bundles.Order(results, "evidence", (Author("A", None),), "MIT", out=out))


def find_slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope in log-log between the two largest sizes."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def format_table(found: Mapping[int, Mapping[str, Cost]]) -> str:
    """A line a step; CPU seconds, wall seconds and MB of each size, and the slopes."""
    heads = [f"{size:,} runs" for size in found]
    lines = [f"| | {' | '.join(heads)} | slope of CPU | of memory |"]
    lines.append("|---" * (len(found) + 3) + "|")
    for step in LIMITS:
        costs = {size: steps[step] for size, steps in found.items() if step in steps}
        cells = [
            f"{costs[size].cpu_s:.1f} s ({costs[size].wall_s:.1f}), {costs[size].memory_mb:.0f} MB"
            if size in costs
            else "–"
            for size in found
        ]
        slopes = ["–", "–"]
        if len(costs) > 1:
            values = ([c.cpu_s for c in costs.values()], [c.memory_mb for c in costs.values()])
            slopes = [f"{find_slope([*costs], each):.2f}" for each in values]
        lines.append(f"| {step} | {' | '.join(cells)} | {' | '.join(slopes)} |")
    return "\n".join(lines)


def find_missed(found: Mapping[int, Mapping[str, Cost]]) -> Iterator[str]:
    """Limits that are not kept at the largest size; they are made for ten thousand runs."""
    for step, cost in found[max(found)].items():
        most_s, most_mb = LIMITS[step]
        if most_s is not None and cost.cpu_s > most_s:
            yield f"{step}: {cost.cpu_s:.1f} s of processor, limit {most_s:.1f} s"
        if most_mb is not None and cost.memory_mb > most_mb:
            yield f"{step}: {cost.memory_mb:.0f} MB, limit {most_mb:.0f} MB"


def write(text: str) -> None:
    """Put the table into the page."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--room", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        do_job(asked.job, asked.room, asked.sizes[0])
        return 0
    found: dict[int, dict[str, Cost]] = {}
    for size in sorted(asked.sizes):
        found[size] = {}
        with tempfile.TemporaryDirectory() as room:
            for step, cost in measure_study(size, Path(room)):
                found[size][step] = cost
                print(f"{size:7,d} runs  {step:16s} {json.dumps(vars(cost))}", flush=True)
    text = format_table(found)
    print(text)
    if asked.write:
        write(text)
    missed = [*find_missed(found)]
    print("\n".join(missed) or "limits kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
