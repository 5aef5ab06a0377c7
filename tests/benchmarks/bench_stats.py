"""Are the statistics right? Simulated studies of known truth through the code that `compare` runs.

    python tests/benchmarks/bench_stats.py [--studies N] [--processes N] [--write]

``benchmarks.simulated_studies`` draws the studies; here is counted how often ``compare`` is right
about them. A few are also written to disk as records and compared through the command line; both
must give the same numbers. Seeds are fixed: the same N gives the same table. ``--write`` puts the
table into ``harness/STATISTICS.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks import simulated_claims  # noqa: E402
from benchmarks.simulated_stopping import (  # noqa: E402
    WIDTHS,
    Stopping,
    compare_in_two_stages,
    count_stopped,
    stop_at_first_sight,
    stop_in_two_stages,
)
from benchmarks.simulated_studies import (  # noqa: E402
    DESIGNS,
    ENERGY,
    Design,
    Truth,
    World,
    compare_on_disk,
    exponential,
    find_primary,
    lognormal,
    normal,
    outliers,
    simulate,
    student_t2,
)
from benchmarks.stats_table import (  # noqa: E402
    PAGE,
    Found,
    Group,
    make_tables,
    percent,
    write_page,
)
from wbcbench.compare.metric import Settings, parse_threshold  # noqa: E402
from wbcbench.stats.tests import (  # noqa: E402
    ALPHA,
    FIRST,
    INTERACTION,
    SECOND,
    TARGET_POWER,
    compute_equivalence_power,
    compute_power,
    find_detectable_effect,
)

MOST_ERRORS = 0.06
COVERAGE = (0.93, 0.98)
REGION_LOG_J, REGION_SHARE = math.log(1.02), 0.01  # the borders of the default regions

NOTHING = Group(
    "No difference: studies that call one (95 % intervals that hold the truth)", "≤ 6 (93–98)"
)
UNEQUAL = Group("… in which a note warns of unequal spreads")
DRIFTING = Group("… in which a note warns of a drift over an unbalanced order")
POWER = Group("A difference in joules: found (what the plan promises)", "promise ± 3")
BORDER = Group(
    "Contrasts on the border of their region: studies that call one equivalent", "≤ 5 + 2 s.e."
)
LIMIT = Group("A difference on the limit of a threshold", "≤ 2.5 + 2 s.e.")
EQUAL = Group(
    "Equal joules, whose differences scatter by so many half-widths of the region: called "
    "equivalent (what the plan promises)",
    "promise ± 3",
)
DISK = Group("Records on disk through `wbcbench compare --json`: largest deviation", "≤ 1e-9")
STOPPING = Group(
    "Stopping at a stated width: 95 % intervals that hold the truth (mean blocks)", "94–96", table=1
)
CLAIMS = Group("Claims on their border", "≤ 5 + 2 s.e.", table=2)

DRIFT = World(drift=1.5)
WIDE = {
    f"baseline 5 × as wide, {noise.__name__}": World(noise, wide=5.0)
    for noise in (normal, exponential, lognormal)
}
WITHOUT_DIFFERENCE = {
    "normal": World(),
    "lognormal": World(lognormal),
    "Student's t with 2 degrees of freedom": World(student_t2),
    "5 % outliers, ten times as far off": World(outliers),
    "ties: rounded to 1.5 s.d.": World(step=1.5),
    "drift, fixed order": replace(DRIFT, order="fixed"),
    "drift, shuffled": replace(DRIFT, order="shuffled"),
    "drift, balanced": DRIFT,
    "warm-up, balanced": World(warm_up=3.0),
    **WIDE,
}
LIMITS = (
    "drift, fixed order",
    "baseline 5 × as wide, exponential",
    "baseline 5 × as wide, lognormal",
)
"""Worlds in which more errors are known and said."""

WARNINGS = {
    UNEQUAL: ("Unequal spreads", ("normal", "lognormal", *WIDE)),
    DRIFTING: (
        "The order is unbalanced",
        ("normal", "drift, fixed order", "drift, shuffled", "drift, balanced"),
    ),
}
"""How a note begins, and in which worlds it is counted."""

STOPPING_RULES: dict[str, tuple[Stopping, World, bool]] = {
    "two stages, normal": (stop_in_two_stages, World(), False),
    "two stages, exponential": (stop_in_two_stages, World(exponential), True),
    "two stages, baseline 5 × as wide, exponential": (
        stop_in_two_stages, World(exponential, wide=5.0), True,
    ),
    "for comparison, at first sight, normal": (stop_at_first_sight, World(), True),
    "for comparison, at first sight, exponential": (
        stop_at_first_sight, World(exponential), True,
    ),
}  # fmt: skip
"""What it is called → rule, world, and whether intervals are known to be worth something else."""

CHECKED = 3
"""Studies that are compared twice, to see that both ways give the same numbers."""

PROMISED, STOPPED = 2, 5
"""Studies of a promise, and of a stopping rule, for each other one: few points either way hold."""

Task = Callable[[], list[Found]]


def make_seed(*names: object) -> int:
    """A seed of these names: another row beside them changes nothing."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:8])


def allow(share: float, studies: int) -> float:
    """Two Monte Carlo standard errors above a share."""
    return share + 2 * math.sqrt(share * (1 - share) / studies)


def count_errors(what: str, design: Design, studies: int) -> list[Found]:
    """Family-wise errors, coverage and warnings where nothing differs."""
    alarms = covered = 0
    warned = Counter[str]()
    for found in simulate(WITHOUT_DIFFERENCE[what], design, studies, make_seed(what, design.name)):
        effects = find_primary(found)
        alarms += any(effect.result == "different" for effect in effects)
        covered += sum(not effect.interval.excludes(0.0) for effect in effects)
        for group, (words, _) in WARNINGS.items():
            warned[group] += any(note.startswith(words) for note in found.notes)
    errors, coverage = alarms / studies, covered / studies / design.tests
    holds = errors <= MOST_ERRORS and COVERAGE[0] <= coverage <= COVERAGE[1]
    text = f"{percent(errors)} ({percent(coverage)})"
    cells = [Found(NOTHING, what, design.name, text, holds, what in LIMITS)]
    for group, (_, worlds) in WARNINGS.items():
        if what in worlds:
            cells.append(Found(group, what, design.name, percent(warned[group] / studies), True))
    return cells


def make_truth(design: Design, log_j: Sequence[float], share: Sequence[float] = ()) -> Truth:
    """The truth in which the primary contrasts have these sizes, in their order."""
    weights = np.array([FIRST, SECOND, INTERACTION])[:, 1:]
    if design.family == "baseline":
        weights = np.eye(design.size - 1)
    solved = (np.linalg.solve(weights, sizes or [0.0] * len(weights)) for sizes in (log_j, share))
    return Truth(*(tuple(sizes.tolist()) for sizes in solved))


def alone(design: Design, size: float, others: float = 0.0) -> list[float]:
    """The first contrast has a size, the others another one."""
    return [size] + [others] * (design.tests // 2 - 1)


def compute_spread(design: Design) -> float:
    """The standard deviation of a within-block difference, in that of a run."""
    return 1.0 if design.family == "factors" else math.sqrt(2)


def find_power(what: str, size: float | None, design: Design, studies: int) -> list[Found]:
    """How often a true difference is called, against what a plan promises.

    ``size`` is in standard deviations of the within-block differences; ``None`` stands for the
    least that a plan calls detectable.
    """
    effect = size or find_detectable_effect(design.blocks, design.tests)
    assert effect is not None
    world = World()
    truth = make_truth(design, alone(design, effect * world.sd * compute_spread(design)))
    hits = sum(
        find_primary(found)[0].result == "different"
        for found in simulate(world, design, studies, make_seed(what, design.name), truth)
    )
    share, promise = hits / studies, compute_power(effect, design.blocks, design.tests)
    text = f"{percent(share)} ({percent(promise)})"
    return [Found(POWER, what, design.name, text, abs(share - promise) <= 0.03)]


def find_equal(what: str, spread: float, design: Design, studies: int) -> list[Found]:
    """How often equal joules are called equivalent, against what a plan promises.

    Nothing else is equal, so that nothing helps. ``spread`` is that of the within-block
    differences, in half-widths of the region.
    """
    world = World(sd=spread * REGION_LOG_J / compute_spread(design))
    truth = make_truth(design, alone(design, 0.0, 0.2), alone(design, 0.1, 0.1))
    hits = sum(
        find_primary(found)[0].result == "equivalent"
        for found in simulate(world, design, studies, make_seed(what, design.name), truth)
    )
    share = hits / studies
    promise = compute_equivalence_power(spread, design.blocks, design.tests)
    text = f"{percent(share)} ({percent(promise)})"
    return [Found(EQUAL, what, design.name, text, abs(share - promise) <= 0.03)]


def stand_on_border(what: str, is_single: bool, design: Design, studies: int) -> list[Found]:
    """Every contrast on the edge of its region, or one and the others inside; and on a limit."""
    sizes = alone(design, 1.0, 0.0 if is_single else 1.0)
    borders = (REGION_LOG_J, REGION_SHARE)
    truth = make_truth(design, *([border * size for size in sizes] for border in borders))
    settings = Settings(family=design.family, thresholds=(parse_threshold(f"{ENERGY} > +2%"),))
    equivalent, outcomes = 0, Counter[str]()
    seed = make_seed(what, design.name)
    for found in simulate(World(sd=0.004), design, studies, seed, truth, settings):
        effects = find_primary(found)[: 2 if is_single else None]
        equivalent += any(effect.result == "equivalent" for effect in effects)
        outcomes[found.thresholds[int(np.argmax(truth.log_j))].outcome.value] += 1
    share = equivalent / studies
    cells = [Found(BORDER, what, design.name, percent(share), share <= allow(ALPHA, studies))]
    for word in ("worse", "not worse") if is_single else ():
        share = outcomes[word] / studies
        holds = share <= allow(ALPHA / 2, studies)
        cells.append(Found(LIMIT, f"decided “{word}”", design.name, percent(share), holds))
    return cells


def count_stopping(what: str, wanted: int, studies: int) -> list[Found]:
    """What the intervals of a stopping rule are worth, and how many blocks it carries out."""
    rule, world, is_limit = STOPPING_RULES[what]
    stopped = count_stopped(rule, world, wanted, studies, make_seed(what, wanted))
    text = f"{percent(stopped.coverage)} ({stopped.blocks:.0f})"
    holds = 0.94 <= stopped.coverage <= 0.96
    return [Found(STOPPING, what, f"width of {wanted} blocks", text, holds, is_limit)]


def check_stopping(what: str, wanted: int) -> list[Found]:
    """Whether ``compare`` gives the interval of two stages that is counted here."""
    worst = max(compare_in_two_stages(wanted, make_seed(what, n)) for n in range(CHECKED))
    return [Found(STOPPING, what, f"width of {wanted} blocks", f"{worst:.1g}", worst <= 1e-9)]


def check_disk(what: str, design: Design) -> list[Found]:
    """The same studies in memory and as records on disk."""
    worst = max(compare_on_disk(design, make_seed("disk", n)) for n in range(CHECKED))
    return [Found(DISK, what, design.name, f"{worst:.1g}", worst <= 1e-9)]


def count_claims(studies: int) -> list[Found]:
    """What is said of claims whose truth lies on a limit: the published ones, and planned ones."""
    return [
        Found(CLAIMS, f"{border.claim}: {border.check}", word, percent(share), share <= border.most)
        for border in simulated_claims.iterate_borders(studies, make_seed("claims"))
        for word, share in (
            ("supported", border.supported),
            ("not supported", border.not_supported),
        )
    ]


def list_tasks(studies: int) -> Iterator[Task]:
    """Everything that is counted, each by itself; what takes longest goes first."""
    yield partial(count_claims, studies)
    for what in WITHOUT_DIFFERENCE:
        yield from (partial(count_errors, what, design, studies) for design in DESIGNS)
    twelve = [replace(design, blocks=12) for design in DESIGNS]
    for blocks, designs in (("", DESIGNS), (", 12 blocks", twelve)):
        for what, size in (("the least detectable one", None), ("1.3 s.d. between blocks", 1.3)):
            for design in designs:
                yield partial(find_power, what + blocks, size, design, PROMISED * studies)
    for what, is_single in (("all are on it", False), ("one is, the others lie inside", True)):
        yield from (partial(stand_on_border, what, is_single, each, studies) for each in DESIGNS)
    for what, spread in (("0.6 ×", 0.6), ("1 ×", 1.0)):
        for design in DESIGNS:
            yield partial(find_equal, what, spread, design, PROMISED * studies)
    yield from (partial(check_disk, f"{CHECKED} studies", design) for design in DESIGNS)
    for what in STOPPING_RULES:
        yield from (partial(count_stopping, what, n, STOPPED * studies) for n in WIDTHS)
    what = f"{CHECKED} studies in two stages through `compare`: largest deviation of an end"
    yield from (partial(check_stopping, what, n) for n in WIDTHS)


def describe_counts(studies: int) -> str:
    """How many studies the tables rest on, and how sure they therefore are."""
    errors = [
        percent(math.sqrt(share * (1 - share) / n))
        for share, n in ((ALPHA, studies), (TARGET_POWER, PROMISED * studies))
    ]
    return (
        f"{studies:,} simulated studies a cell, {PROMISED * studies:,} beside promises, "
        f"{STOPPED * studies:,} of stopping rules; in per cent. A Monte Carlo standard error is "
        f"{errors[0]} points at 5 %, {errors[1]} of a promise of 80 %. Bold is what is not as "
        "wanted. Made by `make bench-stats`."
    )


def carry_out(tasks: Sequence[Task], processes: int) -> list[Found]:
    """Every cell, in the order of the tasks; says on stderr how far it is."""
    start = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(task) for task in tasks]
        for number, future in enumerate(as_completed(futures), start=1):
            passed = f"{time.perf_counter() - start:5.0f} s  {number:3} of {len(tasks)}"
            for cell in future.result():
                print(f"{passed}  {cell.what}, {cell.column}: {cell.text}", file=sys.stderr)
    return [cell for future in futures for cell in future.result()]


def main() -> int:
    """Print the table; returns 1 if a row does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args()
    found = carry_out(list(list_tasks(options.studies)), options.processes)
    text = describe_counts(options.studies) + "\n\n" + make_tables(found)
    print(text)
    if options.write:
        write_page(text)
    return int(not all(cell.holds or cell.is_limit for cell in found))


if __name__ == "__main__":
    sys.exit(main())
