"""Plan kept: made before the first run, carried out in its order, nothing of it left out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.study.progress import loosely


def check(bundle: Bundle) -> Outcome:
    """Hold the runs against the plan; single runs have none."""
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
    document = json.loads((bundle.study_dir / plan.FILE_NAME).read_bytes())
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
    return {plan.from_json(path).sha256 for path in bundle.study_dir.glob("plan*.json")}


def _other_plans(bundle: Bundle) -> Iterator[str]:
    count = len(list(bundle.study_dir.glob("plan-*.json")))
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
