"""Checks of the plan: kept as planned, on one machine, nothing made up."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from wbcbench.bundle import layout
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.inspect import why_not_rebuilt
from wbcbench.bundle.verify.statements import changed_papers
from wbcbench.compare.analysis import ALWAYS, ENERGY, MACHINE
from wbcbench.core import study_folder
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Origin
from wbcbench.energy.source import CODECARBON, is_codecarbon
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.study.progress import loosely
from wbcbench.table.column import Cell

_MORE = ("gpu_uuid_hash", "gpu_power_limit_w", "lock_sha256")
_SAID = (layout.RESOLVED, layout.ENVIRONMENT, layout.HOST)
_TOLD = ("wbcbench_version", "git_commit", "python_version", "os", "cpu_governor")

_MODELS = ("cpu_load", "tdp_load", "constant", "tdp")
"""How CodeCarbon calls what has no sensor."""


def check_plan(bundle: Bundle) -> Outcome:
    """Plan kept: made before the first run, carried out in its order, nothing of it left out."""
    made = bundle.plan
    specs = [run.read_spec() for run in bundle.runs]
    records = sorted(
        bundle.records.values(), key=lambda record: (record.started_utc, record.run_id)
    )
    errors = [*_repeats(specs), *_dates(records)]
    if made is None:
        return outcome("", errors, ["There is no plan: what would be compared was not fixed."])
    errors += [*_kept(bundle, records), *_asked(made, specs), *_left_out(made, specs, records)]
    warnings = [*_open(made, specs), *_order(made, records), *_other_plans(bundle)]
    good = f"Plan {made.sha256[:12]} of {made.blocks} blocks, made before the first run."
    return outcome(good, errors, warnings)


def _kept(bundle: Bundle, records: Sequence[RunRecord]) -> Iterator[str]:
    document = json.loads((bundle.study_dir / study_folder.PLAN).read_bytes())
    kept = document.get("kept_utc")
    if kept is None:
        yield "The plan does not say since when it is kept with the study."
    elif records and _moment(kept) > _moment(records[0].started_utc):
        yield (
            f"The plan is kept since {kept}, after the first run began "
            f"({records[0].started_utc}): it was made knowing results."
        )
    known = _digests(bundle)
    for record in records:
        said = record.provenance.get("plan_sha256")
        if said is not None and said not in known:
            yield f"{record.run_id} was carried out under the plan {str(said)[:12]}, another one."


def _digests(bundle: Bundle) -> set[str]:
    return {plan.from_json(path).sha256 for path in bundle.study_dir.glob(study_folder.PLANS)}


def _other_plans(bundle: Bundle) -> Iterator[str]:
    count = len(list(bundle.study_dir.glob(study_folder.EARLIER_PLANS)))
    if count:
        yield f"The plan was replaced {count} time(s); the earlier ones are in the bundle."


def _dates(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        if _moment(record.ended_utc) < _moment(record.started_utc):
            yield f"{record.run_id} ended before it began."
    one_host = len({record.provenance.get("host_id") for record in records}) == 1
    for before, after in pairwise(records):
        if one_host and _moment(after.started_utc) < _moment(before.ended_utc):
            yield f"{after.run_id} began before {before.run_id} had ended, on the same machine."


def _repeats(specs: Sequence[RunSpec]) -> Iterator[str]:
    """Numbers of carryings-out have no gap: a failed one is never taken away."""
    repeats, attempts = defaultdict[str, set[int]](set), defaultdict[int, set[int]](set)
    for spec in specs:
        repeats[repr(spec.identity)].add(spec.repeat)
        attempts[spec.block].add(spec.block_attempt)
    for spec in specs:
        missing = set(range(1, spec.repeat)) - repeats[repr(spec.identity)]
        if missing:
            yield f"{spec.run_id} is carrying-out {spec.repeat}; number {min(missing)} is missing."
    for block, found in sorted(attempts.items()):
        missing = set(range(1, max(found))) - found
        if missing:
            yield f"Block {block} was begun {max(found)} times; time {min(missing)} is missing."


def _asked(made: Plan, specs: Sequence[RunSpec]) -> Iterator[str]:
    """Every run stands in the plan, at its place."""
    places = {_key(spec): (spec.order_in_block, spec.order_global) for spec in made.runs}
    for spec in specs:
        place = places.get(_key(spec))
        if place is None:
            yield f"{spec.run_id} is in no plan: something else was asked of it."
        elif place != (spec.order_in_block, spec.order_global):
            yield f"{spec.run_id} stands at another place than in the plan."


def _key(spec: RunSpec) -> str:
    return repr(loosely(replace(spec, block_attempt=1)))


def _left_out(made: Plan, specs: Sequence[RunSpec], records: Sequence[RunRecord]) -> Iterator[str]:
    """A planned run before one that was carried out has been carried out, too."""
    there = {_key(spec) for spec in specs}
    last = max((spec.order_global for spec in specs), default=0)
    for spec in made.runs:
        if spec.order_global < last and _key(spec) not in there:
            yield f"{spec.variant} of block {spec.block} was planned and is missing."
    known = {record.run_id for record in records}
    for spec in specs:
        if spec.order_global < last and spec.run_id not in known:
            yield f"{spec.run_id} has no record, though later runs have one."


def _open(made: Plan, specs: Sequence[RunSpec]) -> Iterator[str]:
    there = {_key(spec) for spec in specs}
    missing = [s for s in made.runs if s.block <= made.blocks and _key(s) not in there]
    if missing:
        yield f"{len(missing)} planned runs were not carried out."


def _order(made: Plan, records: Sequence[RunRecord]) -> Iterator[str]:
    """First carryings-out, in the order they began."""
    firsts = [r.spec for r in records if r.spec.repeat == 1 and r.spec.block_attempt == 1]
    orders = [spec.order_global for spec in firsts]
    if orders != sorted(orders):
        yield "The runs were not begun in the order of the plan."


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def check_machines(bundle: Bundle) -> Outcome:
    """Machine the same: GPU, driver, limits and locked libraries of all runs that are compared."""
    rows = [bundle.row(run) for run in bundle.finished]
    done = [row for row in rows if row["status"] == "done"]
    errors = [*_differing(done, (*ALWAYS, *ENERGY, *MACHINE, *_MORE)), *_lock(bundle, done)]
    if bundle.is_same_source and why_not_rebuilt(bundle) is None:
        errors += (f"{name} is not what the runs say." for name in changed_papers(bundle, *_SAID))
    warnings = [*_differing(done, _TOLD)]
    return outcome(f"{len(done)} done runs on one machine with one lock.", errors, warnings)


def _differing(rows: Sequence[dict[str, Cell]], fields: Sequence[str]) -> Iterator[str]:
    for name in fields:
        counts = Counter(str(row.get(name)) for row in rows)
        if len(counts) > 1:
            told = ", ".join(f"{value} in {count}" for value, count in counts.most_common(3))
            yield f"{name} differs between the runs: {told}."


def _lock(bundle: Bundle, rows: Sequence[dict[str, Cell]]) -> Iterator[str]:
    """The lock in the bundle is the one that the runs had."""
    if not bundle.has(layout.LOCK):
        return
    found = hashlib.sha256(bundle.read(layout.LOCK)).hexdigest()
    said = {str(row["lock_sha256"]) for row in rows if row["lock_sha256"]}
    if said and found not in said:
        yield f"{layout.LOCK} is not the lock of the runs ({found[:12]}, not {min(said)[:12]})."


def check_purity(bundle: Bundle) -> Outcome:
    """Nothing made up: no synthetic signal or image, no change to the code that is not here."""
    errors, warnings = list[str](), list[str]()
    for record in bundle.records.values():
        errors += [*_made_up(record), *_relabelled(record)]
        if record.provenance.get("git_dirty") and not bundle.has(layout.DIFF):
            errors.append(
                f"{record.run_id} was made with uncommitted changes that are not in the bundle."
            )
    unknown = sum(r.provenance.get("git_commit") is None for r in bundle.records.values())
    if unknown:
        warnings.append(f"The commit of {unknown} runs is not known.")
    return outcome("No run is synthetic; the code of every run is known.", errors, warnings)


def _relabelled(record: RunRecord) -> Iterator[str]:
    """CodeCarbon says of each part how it got its joules; a model never becomes a sensor."""
    parts = getattr(record.meters.get(CODECARBON), "get", lambda _: None)("parts")
    for channel in record.channels:
        part = channel.name.partition("/")[2]
        how = parts.get(part) if isinstance(parts, dict) and is_codecarbon(channel.name) else None
        mode = how.get("mode") if isinstance(how, dict) else None
        is_estimated = mode in _MODELS or channel.reading in _MODELS
        if is_estimated and not channel.origin.is_estimated:
            yield f"{record.run_id}: {channel.name} is a model and is said to be {channel.origin}."


def _made_up(record: RunRecord) -> Iterator[str]:
    signal = any(channel.origin is Origin.SIMULATED for channel in record.channels)
    drawn = record.dataset is not None and record.dataset.synthetic
    if signal or drawn or record.synthetic:
        what = "a made-up signal" if signal else "drawn images"
        yield f"{record.run_id} used {what}: no result about real cells."
