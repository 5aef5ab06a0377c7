"""Checks of when the runs were: clocks that agree, runs that follow each other, none removed.

A wall clock may be wrong, be set while a run goes on, or stand in another time zone; a machine may
be suspended. So dates that differ by hours are warned of, and what no clock does is an error.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.records import has_evidence
from wbcbench.core.record import AFTER_RUN, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.core.window import unix_s
from wbcbench.stats.order import draw_orders
from wbcbench.study.plan import Plan
from wbcbench.study.text import describe_sum
from wbcbench.table.deleted import DeletedRun
from wbcbench.table.derive import sum_spent

_ASIDE_S = 600.0  # a clock is no further off unless it was set or the machine suspended
_SET_S = 93_600.0  # 26 hours: further than two time zones can lie apart
_LOG_BYTES = 1_000_000
_LOG_DATE = re.compile(
    rb"^(?:[IWEF]\d{4} \d\d:\d\d:(\d{9,11})\.\d+ |(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+: [IWEF] )",
    re.MULTILINE,
)
"""How TensorFlow and its libraries date a line: seconds since 1970, or local time."""


def check_history(bundle: Bundle) -> Outcome:
    """Runs follow each other: clocks agree with dates, no run is removed, the order is the drawn.

    Runs that share a boot of one machine are ordered by its monotonic clock, which nobody can set.
    """
    errors, warnings = list[str](), list[str]()
    for run in bundle.finished_and_pilots:
        early, late = _check_clocks(bundle, run)
        errors += early
        warnings += late
    errors += _check_boots(map(bundle.record, bundle.finished_and_pilots))
    deleted, pilots = bundle.study.deleted, bundle.study.deleted_pilots
    warnings += _describe_deleted(deleted, pilots)
    errors += [
        f"{each.run_id} was deleted before it began."
        for each in (*deleted, *pilots)
        if unix_s(each.deleted_utc) < unix_s(each.started_utc)
    ]
    warnings += [*_find_unnamed(bundle.runs, deleted), *_find_unnamed(bundle.pilots, pilots)]
    # Single runs lie where they happened to be made, and people tidy up there; merged ones may
    # have another name than where they were made.
    removed = [
        *(
            f"{each.run_id} was deleted, and it was {each.status}."
            for each in deleted
            if each.has_result
        ),
        *_find_removed(bundle.runs, deleted),
        *_find_removed(bundle.pilots, pilots),
    ]
    planned = {record.provenance.get("plan_sha256") for record in bundle.records}
    is_own = bundle.plan is not None and planned == {bundle.plan.sha256}
    (errors if is_own else warnings).extend(removed)
    if bundle.plan is not None and any(map(has_evidence, bundle.records)):
        errors += _check_drawn_order(bundle.plan)  # earlier versions drew others
    count = count_of(len(bundle.finished), "run")
    return report_outcome(
        f"The clocks of {count} agree, and none is missing that a later run names.",
        errors,
        warnings,
    )


class _BootedRun(NamedTuple):
    """When a run's clock was read, of which boot, and after which run it began."""

    monotonic_s: float
    run_id: str
    utc_s: float
    study: str
    after: str


class _Begun(NamedTuple):
    """Where and when a run began, there or deleted, and after which one."""

    run_id: str
    host_id: str | None
    began_s: float
    after: str | None


@cache_by_files
def _check_clocks(run: RunDir) -> tuple[list[str], list[str]]:
    """Where a run's dates, its clock and its log contradict each other; errors and warnings."""
    record = run.read_own_record()
    pair, windows = _read_clock(record), record.windows
    if pair is None:
        return [], []
    utc_s, monotonic_s = pair
    began_s, ended_s = unix_s(record.started_utc), unix_s(record.ended_utc)
    errors, warnings = list[str](), list[str]()
    if abs(began_s - utc_s) > _ASIDE_S:
        errors.append(f"is dated {record.started_utc}, but its clock stood at {_date(utc_s)}")
    last_s = max((window.end_s for window in windows), default=monotonic_s)
    if windows and not 0 <= min(w.start_s for w in windows) - monotonic_s <= _ASIDE_S * 6:
        errors.append("its windows do not begin where its clock was read")
    end_s = utc_s + last_s - monotonic_s
    over_s = ended_s - end_s
    # One whose recorder died is dated when somebody wrote its record.
    if over_s < -_SET_S:
        errors.append(f"ended {record.ended_utc}, but by its clock {_date(end_s)}")
    elif over_s < -_ASIDE_S or (over_s > _ASIDE_S and record.status == "done"):
        warnings.append(f"its dates and its clock differ by {abs(over_s):,.0f} s")
    log_s = _read_log_date(run)
    if log_s is not None and not utc_s - _SET_S <= log_s <= end_s + _SET_S:
        errors.append(f"is dated {record.started_utc}, but its log {_date(log_s)}")
    cores, length_s = record.provenance.get("cpu_count"), last_s - monotonic_s
    most_s = 1.02 * length_s * cores + 5.0 if isinstance(cores, int) else None
    used_s = record.trainer_cpu_s
    if most_s is not None and used_s is not None and record.status == "done" and used_s > most_s:
        errors.append(f"took {used_s:,.0f} s of {cores} processors in {length_s:,.0f} s")
    return (
        [f"{run.run_id}: {problem}." for problem in errors],
        [f"{run.run_id}: {problem}." for problem in warnings],
    )


def _read_clock(record: RunRecord) -> tuple[float, float] | None:
    """One moment by the wall clock and by the monotonic one; older records have none."""
    pair = record.provenance.get("clock_pair")
    times = [pair.get(name) for name in ("utc_s", "monotonic_s")] if isinstance(pair, dict) else []
    numbers = [float(time) for time in times if isinstance(time, int | float)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _date(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="seconds")


def _read_log_date(run: RunDir) -> float | None:
    """When the first dated line of a run's log was written, as its trainer starts."""
    if not run.log_path.is_file():
        return None
    with run.log_path.open("rb") as stream:
        found = _LOG_DATE.search(stream.read(_LOG_BYTES))
    if found is None:
        return None
    return float(found[1]) if found[1] else unix_s(found[2].decode())


def _check_boots(records: Iterable[RunRecord]) -> Iterator[str]:
    """Within one boot of a machine, dates go forward with its clock, and so do the runs named."""
    boots = defaultdict[tuple[str, str], list[_BootedRun]](list)
    for record in records:
        facts, pair = record.provenance, _read_clock(record)
        if pair is not None and facts.get("boot_id") is not None:
            place = str(facts.get("host_id")), str(facts["boot_id"])
            after = str(facts.get(AFTER_RUN))
            boots[place].append(
                _BootedRun(pair[1], record.run_id, pair[0], record.spec.study, after)
            )
    for boot in boots.values():
        boot.sort()
        for before, after_it in pairwise(boot):
            if after_it.utc_s < before.utc_s - _SET_S:
                yield (
                    f"{after_it.run_id} followed {before.run_id} by the clock of their machine, "
                    f"but is dated {_date(after_it.utc_s)}, before {_date(before.utc_s)}."
                )
        began_s = {(run.study, run.run_id): run.monotonic_s for run in boot}
        for run in boot:
            if began_s.get((run.study, run.after), 0.0) > run.monotonic_s + _ASIDE_S:
                yield f"{run.run_id} began after {run.after}, which began later."


def _describe_deleted(deleted: Sequence[DeletedRun], pilots: Sequence[DeletedRun]) -> Iterator[str]:
    """What may be deleted, and what it cost, which only the list of deleted runs says."""
    if gone := [each.spent for each in deleted if not each.has_result]:
        yield f"Deleted after they failed or were interrupted: {describe_sum(sum_spent(gone))}."
    if gone := [each.spent for each in pilots]:
        yield f"Deleted pilots: {describe_sum(sum_spent(gone))}."


def _find_removed(runs: Sequence[RunDir], deleted: Sequence[DeletedRun]) -> Iterator[str]:
    """Runs after which another one of their folder began, and of which nothing tells."""
    there = {run.run_id for run in runs} | {each.run_id for each in deleted}
    for run in _list_begun(runs, deleted):
        if run.after is not None and run.after not in there:
            yield f"{run.run_id} began after {run.after}, which is missing."


def _find_unnamed(runs: Sequence[RunDir], deleted: Sequence[DeletedRun]) -> Iterator[str]:
    """Deleted runs that no run names which began after them, while they were there."""
    begun = _list_begun(runs, deleted) if deleted else []
    named = {each.after for each in begun}
    for run in deleted:
        began_s, deleted_s = unix_s(run.started_utc), unix_s(run.deleted_utc)
        if run.run_id not in named and any(
            each.host_id == run.host_id and began_s < each.began_s < deleted_s for each in begun
        ):
            yield f"{run.run_id} is said to have been deleted, but the run after it names another."


def _list_begun(runs: Sequence[RunDir], deleted: Sequence[DeletedRun]) -> list[_Begun]:
    """Runs of which it is known where they began, and after which."""
    begun = [
        _Begun(each.run_id, each.host_id, unix_s(each.started_utc), each.after_run)
        for each in deleted
    ]
    for run in runs:
        if (began := run.read_began()) is not None and AFTER_RUN in began.provenance:
            host_id, after = (began.provenance.get(name) for name in ("host_id", AFTER_RUN))
            after_run = None if after is None else str(after)
            begun.append(_Begun(run.run_id, str(host_id), unix_s(began.started_utc), after_run))
    return begun


def _check_drawn_order(plan: Plan) -> Iterator[str]:
    """A plan has each combination once a block, all with one seed, in the order that is drawn."""
    first = [plan.levels(run) for run in plan.block(1)]
    if not first or len(first) * plan.most_blocks != len(plan.runs):
        yield "The plan's blocks do not have the same runs."
        return
    levels = sorted(first, key=lambda combination: json.dumps(combination, sort_keys=True))
    orders = draw_orders(len(levels), plan.most_blocks, plan.order_seed)
    drawn = [(block, levels[i]) for block, order in enumerate(orders, 1) for i in order]
    for place, (run, (block, expected)) in enumerate(zip(plan.runs, drawn, strict=True), 1):
        if (run.block, run.order_global, plan.levels(run)) != (block, place, expected):
            yield f"The plan's order is not the one that its seed {plan.order_seed} draws."
            return
    unplaced = {
        replace(run, seed=0, block=0, order_in_block=0, order_global=0) for run in plan.runs
    }
    if len(unplaced) > len(levels):
        yield "The plan's blocks have other settings than each other."
    seeds = {(run.block, run.seed) for run in plan.runs}
    if not len(seeds) == len({seed for _, seed in seeds}) == plan.most_blocks:
        yield "The plan's blocks do not have one seed each."
