"""Checks of the plan: followed, on one machine, without synthetic data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from wbcbench.bundle import layout
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.inspect import why_not_rebuilt
from wbcbench.bundle.verify.records import group_values
from wbcbench.bundle.verify.statements import compare_descriptions
from wbcbench.compare.analysis import ALWAYS, ENERGY, MACHINE
from wbcbench.core import study_folder
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import count_of
from wbcbench.core.trace import Origin
from wbcbench.energy.source import CODECARBON, is_codecarbon
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.study.progress import identity_without_images
from wbcbench.table.columns import Cell

_REQUIRED_EQUAL = (*ALWAYS, *ENERGY, *MACHINE, "gpu_uuid_hash", "gpu_power_limit_w", "lock_sha256")
_EXPECTED_EQUAL = ("wbcbench_version", "git_commit", "python_version", "os", "cpu_governor")

_MODELS = ("cpu_load", "tdp_load", "constant", "tdp")
"""CodeCarbon's names of models, which have no sensor."""


def check_plan(bundle: Bundle) -> Outcome:
    """Plan followed: written before the first run, run in its order, nothing left out."""
    the_plan = bundle.plan
    specs = [run.read_spec() for run in bundle.runs]
    records = sorted(bundle.records.values(), key=lambda r: (r.started_utc, r.run_id))
    errors = [*_find_missing_attempts(specs), *_check_dates(records)]
    if bundle.plan_digest is not None:
        errors += _compare_posted(bundle.plan_digest, the_plan)
    if the_plan is None:
        warning = "There is no plan, so the comparison was not fixed before the runs."
        return report_outcome("", errors, [warning])
    errors += [*_check_plan_date(bundle, records), *_compare_with_plan(the_plan, specs, records)]
    warnings = []
    there = set(map(_make_key, specs))
    planned = [spec for spec in the_plan.runs if spec.block <= the_plan.blocks]
    if missing := [spec for spec in planned if _make_key(spec) not in there]:
        warnings.append(f"{len(missing)} planned runs were not carried out.")
    firsts = [r.spec for r in records if r.spec.repeat == 1 and r.spec.block_attempt == 1]
    orders = [spec.order_global for spec in firsts]
    if orders != sorted(orders):
        warnings.append("The runs were not started in the order of the plan.")
    if count := len(list(bundle.study_dir.glob(study_folder.EARLIER_PLANS))):
        warnings.append(f"The plan was replaced {count} time(s); the bundle holds the old ones.")
    good = f"Plan {the_plan.sha256[:12]} of {the_plan.blocks} blocks, made before the first run."
    return report_outcome(good, errors, warnings)


def _compare_posted(digest: str, the_plan: Plan | None) -> Iterator[str]:
    """Whether the plan is the one whose digest was made public before the first run."""
    if the_plan is None:
        yield f"There is no plan, and one with the digest {digest[:12]} was posted."
    elif not the_plan.sha256.startswith(digest):
        yield f"The plan has the digest {the_plan.sha256[:12]}, not {digest[:12]} as posted."


def _find_missing_attempts(specs: Sequence[RunSpec]) -> Iterator[str]:
    """Numbers of repetitions have no gap, for a failed one is never removed."""
    repeats = group_values((repr(spec.identity), spec.repeat) for spec in specs)
    attempts = group_values((spec.block, spec.block_attempt) for spec in specs)
    for spec in specs:
        if missing := set(range(1, spec.repeat)) - repeats[repr(spec.identity)]:
            yield f"{spec.run_id} is repetition {spec.repeat}; number {min(missing)} is missing."
    for block, numbers in sorted(attempts.items()):
        if missing := set(range(1, max(numbers))) - numbers:
            yield f"Block {block} has {max(numbers)} attempts; attempt {min(missing)} is missing."


def _check_dates(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        if _parse_date(record.ended_utc) < _parse_date(record.started_utc):
            yield f"{record.run_id} ended before it began."
    known = [record for record in records if record.provenance.get("host_id") is not None]
    is_one_host = len({record.provenance["host_id"] for record in known}) == 1
    for before, after in pairwise(known):
        if is_one_host and _parse_date(after.started_utc) < _parse_date(before.ended_utc):
            yield f"{after.run_id} began before {before.run_id} ended, on the same machine."


def _parse_date(utc: str) -> datetime:
    return datetime.fromisoformat(utc)


def _check_plan_date(bundle: Bundle, records: Sequence[RunRecord]) -> Iterator[str]:
    saved_utc = json.loads((bundle.study_dir / study_folder.PLAN).read_bytes()).get("stored_utc")
    if saved_utc is None:
        yield "The plan has no date."
    elif records and _parse_date(saved_utc) > _parse_date(records[0].started_utc):
        yield f"The plan is of {saved_utc}, after the first run began ({records[0].started_utc})."
    digests = {plan.from_json(path).sha256 for path in bundle.study_dir.glob(study_folder.PLANS)}
    for record in records:
        sha256 = record.provenance.get("plan_sha256")
        if sha256 is not None and sha256 not in digests:
            yield f"{record.run_id} belongs to another plan, {str(sha256)[:12]}."


def _compare_with_plan(
    the_plan: Plan, specs: Sequence[RunSpec], records: Sequence[RunRecord]
) -> Iterator[str]:
    """Every run is in the plan at its place; none before the last that began is missing."""
    planned = {_make_key(spec): spec for spec in the_plan.runs}
    specs_by_key = {_make_key(spec): spec for spec in specs}
    last = max((spec.order_global for spec in specs), default=0)
    finished = {record.run_id for record in records}
    for spec in specs:
        match = planned.get(_make_key(spec))
        if match is None:
            yield f"{spec.run_id} is in no plan: its settings are others."
        elif (match.order_in_block, match.order_global) != (spec.order_in_block, spec.order_global):
            yield f"{spec.run_id} has another place than in the plan."
        if spec.order_global < last and spec.run_id not in finished:
            yield f"{spec.run_id} has no record, but later runs have one."
    for key, spec in planned.items():
        if spec.order_global < last and key not in specs_by_key:
            yield f"{spec.variant} of block {spec.block} was planned and is missing."


def _make_key(spec: RunSpec) -> str:
    return repr(identity_without_images(replace(spec, block_attempt=1)))


def check_machines(bundle: Bundle) -> Outcome:
    """Same machine: GPU, driver, limits and locked libraries of all runs that are compared."""
    done = [run.row for run in map(bundle.view, bundle.finished) if run.is_done]
    errors = list(_find_differing(done, _REQUIRED_EQUAL))
    if bundle.has(layout.LOCK):
        sha256 = hashlib.sha256(bundle.read(layout.LOCK)).hexdigest()
        locks = {str(row["lock_sha256"]) for row in done if row["lock_sha256"]}
        if locks and sha256 not in locks:
            wanted = min(locks)[:12]
            errors.append(f"{layout.LOCK} is not the runs' lock ({sha256[:12]}, not {wanted}).")
    if why_not_rebuilt(bundle) is None:
        names = (layout.RESOLVED, layout.ENVIRONMENT, layout.HOST, layout.GIT)
        errors += compare_descriptions(bundle, names)
    warnings = list(_find_differing(done, _EXPECTED_EQUAL))
    return report_outcome(
        f"{count_of(len(done), 'finished run')} on one machine with one lock file.",
        errors,
        warnings,
    )


def _find_differing(rows: Sequence[dict[str, Cell]], columns: Sequence[str]) -> Iterator[str]:
    for name in columns:
        counts = Counter(str(row.get(name)) for row in rows)
        if len(counts) > 1:
            values = ", ".join(f"{value} in {count}" for value, count in counts.most_common(3))
            yield f"{name} differs between the runs: {values}."


def check_purity(bundle: Bundle) -> Outcome:
    """Synthetic data declared: else real sensors and images; uncommitted changes are included."""
    records = bundle.records.values()
    errors = [problem for record in records for problem in _check_origins(record)]
    synthetic = [record for record in records if _is_synthetic(record)]
    declared = bundle.document.synthetic
    if synthetic and not declared:
        errors.append(
            f"{synthetic[0].run_id} used synthetic images or the simulated sensor, which the "
            "bundle does not say."
        )
    real = [record for record in records if record.status == "done" and not _is_synthetic(record)]
    if declared and real:
        errors.append(f"Synthetic runs are mixed with {len(real)} real ones.")
    errors += (
        f"{record.run_id} had uncommitted changes that are not in the bundle."
        for record in records
        if record.provenance.get("git_dirty") and not bundle.has(layout.DIFF)
    )
    unknown = sum(r.provenance.get("git_commit") is None for r in records)
    warnings = [f"The commit of {unknown} runs is unknown."] if unknown else []
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
