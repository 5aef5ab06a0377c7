"""Checks of the records: rows, records made again from their folders, seeds and identities."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import fields
from typing import TypeVar

from wbcbench.bundle import layout
from wbcbench.bundle.bounds import quote
from wbcbench.bundle.make import make_tables
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.form import find_unread
from wbcbench.bundle.verify.likeness import compare_files, find_differences
from wbcbench.core import run_folder
from wbcbench.core.record import AT_END, RECORD_SCHEMA, Circumstances, RunRecord, to_json
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.energy.account import remake_record
from wbcbench.table import derive

_MEASURED = (
    "energies", "budgets", "windows", "channels", "agreements", "telemetry", "cpu_loads",
)  # fmt: skip

_UNIQUE = (run_folder.MARKS, run_folder.PREDICTIONS, run_folder.TRACES)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


def check_rows(bundle: Bundle) -> Outcome:
    """Runs, records, table: every row follows from its record, every record from its folder."""
    made = make_tables(bundle.study, bundle.document.licence)
    errors, _ = compare_files(bundle, made)
    errors += (
        f"{name} does not follow from a record."
        for name in bundle.list_names(f"{layout.study_dir(bundle.document.study)}/")
        if name.endswith((f"/{layout.PHASES}", f"/{layout.BOAMPS}")) and name not in made
    )
    for run in bundle.finished_and_pilots:
        errors += _check_folder(bundle, run)
        errors += (
            f"{run.run_id}: {difference}."
            for difference in compare_records(bundle, run)
            if not is_measured(difference)
        )
    good = f"The table follows from {count_of(len(bundle.finished), 'record')}."
    return report_outcome(good, errors)


@cache_by_files
def _check_folder(run: RunDir) -> tuple[str, ...]:
    record = run.read_own_record()
    return tuple(
        f"{run.run_id}: {problem}."
        for problem in (
            *find_unread(run, record),
            *_compare_start(run, record),
            *_check_derived(run, record),
        )
    )


def _compare_start(run: RunDir, record: RunRecord) -> Iterator[str]:
    """Files from before the run agree with the record."""
    if _parse_version(record.schema) > _parse_version(RECORD_SCHEMA):
        yield f"the record is of a later format, {quote(record.schema)}"
    if record.spec != run.read_spec():
        yield "the record belongs to another run than spec.json"
    if has_evidence(record) and record.status == "done" and not run.read_end():
        yield "the recorder's last message is missing"
    began = run.read_began()
    if began is None:
        return
    for name in (field.name for field in fields(Circumstances) if field.name not in AT_END):
        if getattr(record, name) != getattr(began, name):
            yield f"{name} differs between began.json and the record"
    if set(record.meters) != set(began.meters):
        yield "began.json names other meters than the record"


def has_evidence(record: RunRecord) -> bool:
    """Whether its version wrote the recorder's last message and the digests of what was trained."""
    return _parse_version(record.schema) >= (2, 2)


def _parse_version(schema: str) -> tuple[int, ...]:
    return tuple(map(int, schema.split(".")))


def _check_derived(run: RunDir, record: RunRecord) -> Iterator[str]:
    """``epochs.csv`` is made from the record, with or without its attachment."""
    path = run.epochs_path
    made = map(derive.format_epochs_csv, (record, run.read_record()))
    if path.is_file() and path.read_bytes() not in made:
        yield f"{path.name} does not follow from the record"


@cache_by_files
def compare_records(run: RunDir) -> tuple[str, ...]:
    """Where a run's record differs from its folder, as paths with both values."""
    record = run.read_own_record()
    expected = remake_record(run, record)
    if record == expected:
        return ()
    stated, remade = (json.loads(to_json(r)) for r in (record, expected))
    return tuple(find_differences(stated, remade))


def is_measured(difference: str) -> bool:
    """Whether a difference is one of the meters' readings."""
    return _get_field(difference) in _MEASURED


def _get_field(difference: str) -> str:
    return re.split(r"[:.\[]", difference, maxsplit=1)[0]


def group_values(pairs: Iterable[tuple[K, V]]) -> dict[K, set[V]]:
    """The different values of each key."""
    groups = defaultdict[K, set[V]](set)
    for key, value in pairs:
        groups[key].add(value)
    return groups


def check_seeds(bundle: Bundle) -> Outcome:
    """Seeds and identities: ids follow from specs, seeds pair in blocks, no run occurs twice."""
    specs = {run.run_id: run.read_spec() for run in bundle.runs}
    errors = list[str]()
    deleted = ((run.run_id, run.spec) for run in bundle.study.deleted)
    for run_id, spec in (*specs.items(), *deleted):
        if spec.run_id != run_id:
            errors.append(f"{run_id} has the spec of {spec.run_id}: its spec was changed.")
    # Runs of several plans may have been merged; each plan has seeds of its own.
    plans = {r.run_id: r.provenance.get("plan_sha256") for r in bundle.records}
    pairs = {
        (spec.study, plans.get(run_id), spec.block, spec.seed)
        for run_id, spec in specs.items()
        if spec.block
    }
    blocks = group_values(((study, sha256, block), seed) for study, sha256, block, seed in pairs)
    for (_, _, block), seeds in sorted(blocks.items(), key=repr):
        if len(seeds) > 1:
            errors.append(f"Block {block} has the seeds {_join(seeds)}: its runs are not paired.")
    seeds_ = group_values(((study, sha256, seed), block) for study, sha256, block, seed in pairs)
    for (_, _, seed), numbers in sorted(seeds_.items(), key=repr):
        if len(numbers) > 1:
            errors.append(f"Seed {seed} occurs in the blocks {_join(numbers)}.")
    errors += _find_copies(bundle)
    count = len({spec.seed for spec in specs.values()})
    merged = sorted({spec.study for spec in specs.values()} - {bundle.document.study})
    return report_outcome(
        f"{count_of(len(specs), 'run')} with {count_of(count, 'seed')}; ids follow from specs.",
        errors,
        [f"Runs were merged from the study {quote(name)}." for name in merged],
    )


def _join(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _find_copies(bundle: Bundle) -> Iterator[str]:
    """Measurements are never equal: equal traces are one run under two names.

    The same holds for predictions of networks that should differ; a repetition may give them again.
    """
    first = dict[str, RunDir]()
    for run in (*bundle.runs, *bundle.pilots):
        start = f"{bundle.name_of(run)}/"
        measured = (
            (bundle.digests[f"{layout.PAYLOAD}/{name}"], name.removeprefix(start))
            for name in bundle.list_names(start)
            if name.startswith(tuple(start + unique for unique in _UNIQUE))
            and (bundle.data / name).stat().st_size
        )
        for digest, name in sorted(measured):
            other = first.setdefault(digest, run)
            networks = {(spec.variant, spec.seed) for spec in (other.read_spec(), run.read_spec())}
            # Weights that are no numbers predict the same of every image, whatever network it is.
            test = bundle.record(run).test if run.is_finished else None
            is_diverged = test is not None and test.loss is None
            is_repeated = name == run_folder.PREDICTIONS and (len(networks) == 1 or is_diverged)
            if other != run and not is_repeated:
                yield f"{run.run_id} has the {name} of {other.run_id}: one run occurs twice."
