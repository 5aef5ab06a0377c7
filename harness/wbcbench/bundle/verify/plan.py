"""Checks of the plan: followed, on one machine, without synthetic data."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from wbcbench.bundle import layout
from wbcbench.bundle.bounds import quote
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.form import find_unknown
from wbcbench.bundle.verify.inspect import why_not_rebuilt
from wbcbench.bundle.verify.records import group_values
from wbcbench.bundle.verify.statements import compare_descriptions
from wbcbench.compare.analysis import ALWAYS, BOARD, ENERGY, MACHINE
from wbcbench.compare.boards import is_spread, name_board, why_not_one_board
from wbcbench.core import study_folder
from wbcbench.core.lazy import LazySequence
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.strict_json import parse_json
from wbcbench.core.text import count_of
from wbcbench.core.trace import Domain, Origin
from wbcbench.energy.account import ABANDONED, SHARED_MACHINE, SHARING
from wbcbench.energy.source import CODECARBON, is_codecarbon
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.study.progress import identify_without_images
from wbcbench.table.columns import Cell
from wbcbench.table.deleted import DeletedRun, format_deleted, read_deleted
from wbcbench.table.view import Run

_EXPECTED_EQUAL = (
    *ALWAYS, *ENERGY, *BOARD, *MACHINE, "lock_sha256",
    "wbcbench_version", "git_commit", "python_version", "os", "cpu_governor",
)  # fmt: skip

_MODELS = ("cpu_load", "tdp_load", "constant", "tdp")
"""CodeCarbon's names of models, which have no sensor."""


def check_plan(bundle: Bundle) -> Outcome:
    """Plan followed: written before the first run, run in its order, nothing left out."""
    the_plan = bundle.plan
    specs, deleted = [run.read_spec() for run in bundle.runs], bundle.study.deleted
    runs = zip(bundle.records, bundle.finished, strict=True)
    begun = sorted((record.started_utc, record.run_id, run) for record, run in runs)
    records = LazySequence[RunRecord](bundle.record, [run for *_, run in begun])
    errors = [
        *_find_missing_attempts([*specs, *(run.spec for run in deleted)]),
        *_check_dates(records),
        *_find_unread_of_deleted(bundle),
    ]
    if bundle.plan_digest is not None:
        errors += _compare_posted(bundle.plan_digest, the_plan)
    if the_plan is None:
        warning = "There is no plan, so the comparison was not fixed before the runs."
        return report_outcome("", errors, [warning])
    plans = _read_plans(bundle)
    errors += _find_unread(bundle)
    named = [(r.run_id, _name_plan(r)) for r in records]
    jobs = {r.run_id: job_id for r in records if (job_id := _find_job(r)) is not None}
    foreign = [each for each in named if each[1] not in {None, *(p.sha256 for p, _ in plans)}]
    if foreign and not any(digest == the_plan.sha256 for _, digest in named):
        run_id, digest = foreign[0]
        errors.append(f"{run_id} and all others belong to another plan, {str(digest)[:12]}.")
    errors += _compare_with_plans(the_plan, plans, specs, records, deleted, jobs)
    warnings = list[str]()
    there = set(map(_make_key, specs))
    gone = {key: run.run_id for run in deleted if (key := _make_key(run.spec)) not in there}
    warnings += [f"{run_id} was deleted, and none is in its place." for run_id in gone.values()]
    there |= gone.keys()
    planned = [spec for spec in the_plan.runs if spec.block <= the_plan.blocks]
    if missing := [spec for spec in planned if _make_key(spec) not in there]:
        warnings.append(f"{len(missing)} planned runs were not carried out.")
    own = [r.spec for r in records if _name_plan(r) == the_plan.sha256]
    # Jobs of a cluster carry out blocks in any order and side by side.
    first = [s for s in own if s.repeat == 1 and s.block_attempt == 1]
    orders = [s.order_global for s in sorted(first, key=lambda s: s.block if jobs else 0)]
    if orders != sorted(orders):
        of_block = " of a block" if jobs else ""
        warnings.append(f"The runs{of_block} were not started in the order of the plan.")
    if len(plans) > 1:
        warnings.append(
            f"The plan was replaced {len(plans) - 1} time(s); the bundle holds the old ones."
        )
    if foreign:
        warnings.append(f"{count_of(len(foreign), 'run')} of a plan that is not in the bundle.")
    good = f"Plan {the_plan.sha256[:12]} of {the_plan.blocks} blocks, made before the first run."
    return report_outcome(good, errors, warnings)


def _compare_posted(digest: str, the_plan: Plan | None) -> Iterator[str]:
    """Whether the plan is the one whose digest was made public before the first run."""
    if the_plan is None:
        yield f"There is no plan, and one with the digest {digest[:12]} was posted."
    elif the_plan.sha256 != digest:
        yield f"The plan has the digest {the_plan.sha256[:12]}, not {digest[:12]} as posted."


def _find_missing_attempts(specs: Sequence[RunSpec]) -> Iterator[str]:
    """Numbers of repetitions have no gap, deleted ones included."""
    repeats = group_values((repr(spec.identity), spec.repeat) for spec in specs)
    attempts = group_values((spec.block, spec.block_attempt) for spec in specs)
    for spec in specs:
        if missing := set(range(1, spec.repeat)) - repeats[repr(spec.identity)]:
            yield f"{spec.run_id} is repetition {spec.repeat}; number {min(missing)} is missing."
    for block, numbers in sorted(attempts.items()):
        if missing := set(range(1, max(numbers))) - numbers:
            yield f"Block {block} has {max(numbers)} attempts; attempt {min(missing)} is missing."


def _check_dates(records: Sequence[RunRecord]) -> Iterator[str]:
    """Runs end after they begin, and none begins on a board that another one still has."""
    running = list[_RunSpan]()
    for record in records:
        if _parse_date(record.ended_utc) < _parse_date(record.started_utc):
            yield f"{record.run_id} ended before it began."
        place = _RunSpan.of_record(record)
        if place.is_abandoned or not place.has_measured:
            continue
        running = [before for before in running if before.ended > place.began]
        for before in running:
            if where := before.find_shared(place):
                yield f"{place.run_id} began before {before.run_id} ended, on the same {where}."
        running.append(place)


class _RunSpan(NamedTuple):
    """Where and when a run was, and whether another one could be there at once.

    Runs on different boards may go side by side, and those that were allowed to share; each is
    warned of. The record of one whose recorder died is dated when somebody wrote it.
    """

    run_id: str
    machine: tuple[JsonValue, JsonValue]  # nodes of a cluster may be copies, with one host_id
    boards: frozenset[str]
    began: datetime
    ended: datetime
    warned: frozenset[str]
    is_abandoned: bool
    has_measured: bool

    @classmethod
    def of_record(cls, record: RunRecord) -> _RunSpan:
        """From its record."""
        return cls(
            record.run_id,
            (record.provenance.get("host_id"), record.provenance.get("boot_id")),
            frozenset(c.device for c in record.channels if c.domain is Domain.GPU and c.device),
            _parse_date(record.started_utc),
            _parse_date(record.ended_utc),
            frozenset(warning.code for warning in record.warnings) & set(SHARING),
            record.error is not None and record.error.kind in ABANDONED,
            bool(record.channels) and record.provenance.get("host_id") is not None,
        )

    def find_shared(self, other: _RunSpan) -> str:
        """What the two would have shared: a board, a machine; empty where they could."""
        warned = self.warned | other.warned
        if self.boards and other.boards:
            is_shared = bool(self.boards & other.boards) and SHARED_MACHINE not in warned
            return "board" if is_shared else ""
        return "machine" if self.machine == other.machine and not warned else ""


def _parse_date(utc: str) -> datetime:
    return datetime.fromisoformat(utc)


def _read_plans(bundle: Bundle) -> list[tuple[Plan, str | None]]:
    """The plan and those it replaced, with their dates."""
    paths = sorted(bundle.study_dir.glob(study_folder.PLANS))
    plans = ((path, plan.from_json(path)) for path in paths)
    return [(each, plan.read_stored_utc(path, each)) for path, each in plans]


def _find_unread(bundle: Bundle) -> Iterator[str]:
    """What in the plans nothing reads: other names, and what is said of a submission."""
    for path in sorted(bundle.data.glob(f"{layout.RESULTS}/*/{study_folder.PLANS}")):
        stated, read = parse_json(path.read_bytes()), plan.from_json(path)
        if read.submission.given:
            yield f"{path.name} says who submits or answers for it; a plan in a bundle does not."
        again = parse_json(plan.to_json(read, ""))
        for name in find_unknown(stated, again):
            yield f"{path.name} has {quote(name)}, which no plan has."


def _find_unread_of_deleted(bundle: Bundle) -> Iterator[str]:
    """The same of the lists of deleted runs."""
    for path in sorted(bundle.data.glob(f"{layout.RESULTS}/*/{layout.DELETED_RUNS}")):
        again = parse_json(format_deleted(read_deleted(path.parent)))
        for name in find_unknown(parse_json(path.read_bytes()), again):
            yield f"{path.name} has {quote(name)}, which no list of deleted runs has."


def _name_plan(record: RunRecord) -> JsonValue:
    """The digest of the plan that a run was carried out under; ``None`` for a single run."""
    return record.provenance.get("plan_sha256")


def _compare_with_plans(
    the_plan: Plan,
    plans: Sequence[tuple[Plan, str | None]],
    specs: Sequence[RunSpec],
    records: Sequence[RunRecord],
    deleted: Sequence[DeletedRun],
    jobs: Mapping[str, str],
) -> Iterator[str]:
    """Every run is in its plan, at its place and later; none before the last one is missing.

    Of jobs on a cluster none before the last of its block is, and of blocks whose every run was a
    job of its own nothing can be told. Single runs may lie beside a plan, and so may runs of
    another plan that were merged into it.
    """
    keys = {each.sha256: {_make_key(spec): spec for spec in each.runs} for each, _ in plans}
    dates = {each.sha256: stored_utc for each, stored_utc in plans}
    if None in dates.values():
        yield "The plan has no date."
    begun = [(r.spec, _name_plan(r), r.started_utc) for r in records if r.provenance]
    begun += [(each.spec, each.plan_sha256, each.started_utc) for each in deleted]
    for spec, named, started_utc in begun:
        if spec.block == 0 or named not in {None, *keys}:
            continue
        sha256 = the_plan.sha256 if named is None else str(named)
        match, stored_utc = keys[sha256].get(_make_key(spec)), dates[sha256]
        if match is None:
            yield f"{spec.run_id} is in no plan: its settings are others."
        elif (match.order_in_block, match.order_global) != (spec.order_in_block, spec.order_global):
            yield f"{spec.run_id} has another place than in the plan."
        if stored_utc and _parse_date(stored_utc) > _parse_date(started_utc):
            yield f"The plan is of {stored_utc}, after {spec.run_id} began ({started_utc})."
    own = {r.run_id for r in records if _name_plan(r) in {None, the_plan.sha256}}
    last = _find_last([spec for spec in specs if spec.run_id in own], jobs)
    finished = {record.run_id for record in records}
    there = {_make_key(spec) for spec in (*specs, *(run.spec for run in deleted))}
    for spec in specs:
        if 0 < spec.order_global < last(spec.block) and spec.run_id not in finished:
            yield f"{spec.run_id} has no record, but later runs have one."
    for key, spec in keys[the_plan.sha256].items():
        if spec.order_global < last(spec.block) and key not in there:
            yield f"{spec.variant} of block {spec.block} was planned and is missing."


def _find_last(specs: Sequence[RunSpec], jobs: Mapping[str, str]) -> Callable[[int], int]:
    """Block → the place in the order before which none of its runs may be missing."""
    overall = max((spec.order_global for spec in specs), default=0)
    if not jobs:
        return lambda _: overall
    blocks = defaultdict[int, list[RunSpec]](list)
    for spec in specs:
        blocks[spec.block].append(spec)
    ends = {
        block: max(spec.order_global for spec in own)
        for block, own in blocks.items()
        if len(own) == 1 or len({jobs.get(spec.run_id) for spec in own}) < len(own)
    }
    return lambda block: ends.get(block, 0)


def _find_job(record: RunRecord) -> str | None:
    job = record.provenance.get("job")
    return str(job.get("id")) if isinstance(job, dict) else None


def _make_key(spec: RunSpec) -> str:
    return repr(identify_without_images(spec))


def check_machines(bundle: Bundle) -> Outcome:
    """Same machine: GPU, driver, limits and locked libraries of all runs that are compared."""
    done = [run.row for run in bundle.study.done]
    errors = list[str]()
    if bundle.has(layout.LOCK):
        sha256 = hashlib.sha256(bundle.read(layout.LOCK)).hexdigest()
        locks = {str(row["lock_sha256"]) for row in done if row["lock_sha256"]}
        if locks and sha256 not in locks:
            wanted = min(locks)[:12]
            errors.append(f"{layout.LOCK} is not the runs' lock ({sha256[:12]}, not {wanted}).")
    if why_not_rebuilt(bundle) is None:
        names = (layout.RESOLVED, layout.ENVIRONMENT, layout.HOST, layout.GIT)
        errors += compare_descriptions(bundle, names)
    # Runs of two machines are honest: `compare` refuses them together, or the report says it.
    good, expected = "on one machine", list(_EXPECTED_EQUAL)
    warnings = list[str]()
    boards = {name_board(run) for run in bundle.study.done}
    if len(boards) > 1 and all(run.spec.block for run in bundle.study.done):
        good = f"on {len(boards)} boards of one model, each block on one of them,"
        expected = [name for name in _EXPECTED_EQUAL if name not in BOARD]
        warnings += _find_unpaired(bundle.study.done)
    warnings += _find_differing(done, expected)
    return report_outcome(
        f"{count_of(len(done), 'finished run')} {good} with one lock file.",
        errors,
        warnings,
    )


def _find_unpaired(done: Sequence[Run]) -> Iterator[str]:
    """Blocks whose runs come from several boards."""
    blocks = defaultdict[tuple[int, str, int], list[Run]](list)
    for run in done:
        blocks[run.spec.block, run.spec.study, run.spec.block_attempt].append(run)
    apart = {key[0]: why for key, own in blocks.items() if (why := why_not_one_board(own))}
    if is_spread(list(blocks.values())):
        yield (
            f"{len(apart)} of {count_of(len(blocks), 'block')} were spread over boards: joules and "
            "seconds are not paired."
        )
    else:
        yield from (f"Block {block} is not paired: {why}." for block, why in apart.items())


def _find_differing(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str]) -> Iterator[str]:
    for name in columns:
        counts = Counter(str(row.get(name)) for row in rows)
        if len(counts) > 1:
            values = ", ".join(f"{value} in {count}" for value, count in counts.most_common(3))
            yield f"{name} differs between the runs: {values}."


def check_purity(bundle: Bundle) -> Outcome:
    """Synthetic data declared: else real sensors and images; uncommitted changes are included."""
    records = bundle.records
    errors = [problem for record in records for problem in _check_origins(record)]
    synthetic = [record.run_id for record in records if _is_synthetic(record)]
    declared = bundle.document.synthetic
    if synthetic and not declared:
        errors.append(
            f"{synthetic[0]} used synthetic images or the simulated sensor, which the "
            "bundle does not say."
        )
    real = sum(record.status == "done" and not _is_synthetic(record) for record in records)
    if declared and real:
        errors.append(f"Synthetic runs are mixed with {real} real ones.")
    warnings = [  # committed or undone since, as `code/git.json` says
        f"{record.run_id} had uncommitted changes that are not in the bundle."
        for record in records
        if record.provenance.get("git_dirty") and not bundle.has(layout.DIFF)
    ]
    unknown = sum(r.provenance.get("git_commit") is None for r in records)
    warnings += [f"The commit of {unknown} runs is unknown."] if unknown else []
    good = "No run is synthetic; the code of every run is known."
    if declared:
        good = "Every run is synthetic, as the bundle says: synthetic images or simulated sensor."
    remark = "synthetic: practice, no result to quote" if declared else ""
    return replace(report_outcome(good, errors, warnings), remark=remark)


def _is_synthetic(record: RunRecord) -> bool:
    is_simulated = any(channel.origin is Origin.SIMULATED for channel in record.channels)
    return is_simulated or record.synthetic or bool(record.dataset and record.dataset.synthetic)


def _check_origins(record: RunRecord) -> Iterator[str]:
    """CodeCarbon states how it obtains the energy of each part; a model never becomes a sensor."""
    parts = getattr(record.meters.get(CODECARBON), "get", lambda _: None)("parts")
    for channel in record.channels:
        part = channel.name.partition("/")[2]
        method = (
            parts.get(part) if isinstance(parts, dict) and is_codecarbon(channel.name) else None
        )
        mode = method.get("mode") if isinstance(method, dict) else None
        is_model = mode in _MODELS or channel.reading in _MODELS
        if is_model and not channel.origin.is_estimated:
            yield f"{record.run_id}: {channel.name} is a model but labelled {channel.origin}."
