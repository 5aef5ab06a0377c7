"""Checks of the records: rows, records made again from their folders, seeds and identities."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TypeVar

from pydantic import JsonValue

from wbcbench import table
from wbcbench.bundle import layout
from wbcbench.bundle.bounds import quote
from wbcbench.bundle.crate import format_boamps, format_phases
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.core import run_folder
from wbcbench.core.record import AT_END, Circumstances, RunRecord, to_json
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.energy.account import remake_record
from wbcbench.table import derive

_TOLERANCE = 1e-9

# Another version must compute the same energies, but may appraise them differently.
_APPRAISED = ("warnings", "quality", "budgets", "agreements")
_MEASURED = (
    "energies", "budgets", "windows", "channels", "agreements", "telemetry", "cpu_loads",
)  # fmt: skip

_UNIQUE = (run_folder.MARKS, run_folder.PREDICTIONS, run_folder.TRACES)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

Cells = Mapping[str, Mapping[str, str]]
"""Rows of a CSV file by their key, then by column."""


def check_rows(bundle: Bundle) -> Outcome:
    """Runs, records, table: every row follows from its record, every record from its folder."""
    errors, warnings = [*_check_table(bundle)], list[str]()
    licence = bundle.document.licence
    for run in bundle.finished if bundle.is_same_source else ():
        path = run.path / layout.BOAMPS
        boamps = format_boamps(bundle.view(run), licence)
        if (path.read_bytes() if path.is_file() else None) != boamps:
            errors.append(f"{run.run_id}: {layout.BOAMPS} does not follow from the record.")
    for run in bundle.finished_and_pilots:
        errors += _check_folder(bundle, run)
        for difference in compare_records(bundle, run):
            if not is_measured(difference):
                is_warning = _get_field(difference) in _APPRAISED and not bundle.is_same_source
                (warnings if is_warning else errors).append(f"{run.run_id}: {difference}.")
    good = f"The table follows from {count_of(len(bundle.finished), 'record')}."
    return report_outcome(good, errors, warnings)


def _check_table(bundle: Bundle) -> Iterator[str]:
    """``runs.csv`` cell by cell; a later version may have added columns."""
    data = (bundle.study_dir / layout.RUNS_TABLE).read_bytes()
    runs = sorted(map(bundle.view, bundle.finished), key=lambda run: run.place)
    rebuilt = table.to_csv([run.row for run in runs])
    if data == rebuilt:
        return
    stated, expected = (read_rows(text.decode("utf-8"), "run_id") for text in (data, rebuilt))
    yield from compare_rows(layout.RUNS_TABLE, stated, expected, str.__eq__)
    if bundle.is_same_source and data.partition(b"\n")[0] == rebuilt.partition(b"\n")[0]:
        yield f"{layout.RUNS_TABLE} differs from the table that its records give."


def read_rows(text: str, *key: str) -> Cells:
    """The rows of a CSV file by the cells of their key."""
    lines = csv.DictReader(io.StringIO(text, newline=""))
    return {" ".join(line[column] for column in key): line for line in lines}


def compare_rows(
    name: str, stated: Cells, expected: Cells, is_equal: Callable[[str, str], bool]
) -> Iterator[str]:
    """Where a table differs from the one that the records give, in the columns of both."""
    for key in sorted(stated.keys() | expected.keys()):
        if key not in expected:
            yield f"{name} has a row {key} without records."
        elif key not in stated:
            yield f"{name} has no row {key}."
        else:
            old, new = stated[key], expected[key]
            for column in sorted(old.keys() & new.keys()):
                if not is_equal(old[column], new[column]):
                    yield (
                        f"{name}, row {key}: {column} = {old[column] or 'unknown'}; the records "
                        f"give {new[column] or 'unknown'}."
                    )


@cache_by_files
def _check_folder(run: RunDir) -> tuple[str, ...]:
    record = run.read_own_record()
    return tuple(
        f"{run.run_id}: {problem}."
        for problem in (*_compare_start(run, record), *_check_derived(run, record))
    )


def _compare_start(run: RunDir, record: RunRecord) -> Iterator[str]:
    """Files from before the run agree with the record."""
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
    return tuple(map(int, record.schema.split("."))) >= (2, 2)


def _check_derived(run: RunDir, record: RunRecord) -> Iterator[str]:
    """Files that are made from the record, with or without its attachment."""
    records = (record, run.read_record())
    for name, contents in (
        (run_folder.EPOCHS, map(derive.format_epochs_csv, records)),
        (layout.PHASES, [format_phases(record)]),
    ):
        path = run.path / name
        if path.is_file() and path.read_bytes() not in contents:
            yield f"{name} does not follow from the record"


@cache_by_files
def compare_records(run: RunDir) -> tuple[str, ...]:
    """Where a run's record differs from its folder, as paths with both values."""
    record = run.read_own_record()
    stated, remade = (json.loads(to_json(r)) for r in (record, remake_record(run, record)))
    return tuple(find_differences(stated, remade))


def is_measured(difference: str) -> bool:
    """Whether a difference is one of the meters' readings."""
    return _get_field(difference) in _MEASURED


def _get_field(difference: str) -> str:
    return re.split(r"[:.\[]", difference, maxsplit=1)[0]


def find_differences(stated: JsonValue, expected: JsonValue, path: str = "") -> Iterator[str]:
    """Where two plain values differ; numbers by more than one part in 10⁹."""
    if isinstance(stated, dict) and isinstance(expected, dict):
        for name in sorted(stated.keys() | expected.keys()):
            inner = f"{path}.{name}" if path else name
            yield from find_differences(stated.get(name), expected.get(name), inner)
    elif isinstance(stated, list) and isinstance(expected, list) and len(stated) == len(expected):
        for i, (old, new) in enumerate(zip(stated, expected, strict=True)):
            yield from find_differences(old, new, f"{path}[{i}]")
    elif not _is_equal(stated, expected):
        old_text, new_text = (
            text if len(text) <= 60 else f"{text[:57]}…"
            for text in (json.dumps(value, ensure_ascii=False) for value in (stated, expected))
        )
        yield f"{path}: {old_text}, but the files give {new_text}"


def _is_equal(stated: JsonValue, expected: JsonValue) -> bool:
    if type(stated) in {int, float} and type(expected) in {int, float}:
        return is_close(float(str(stated)), float(str(expected)))
    return type(stated) is type(expected) and stated == expected


def group_values(pairs: Iterable[tuple[K, V]]) -> dict[K, set[V]]:
    """The different values of each key."""
    groups = defaultdict[K, set[V]](set)
    for key, value in pairs:
        groups[key].add(value)
    return groups


def is_close(stated: float, expected: float) -> bool:
    """Whether two numbers are equal to one part in 10⁹."""
    return math.isclose(stated, expected, rel_tol=_TOLERANCE)


def check_seeds(bundle: Bundle) -> Outcome:
    """Seeds and identities: ids follow from specs, seeds pair in blocks, no run occurs twice."""
    specs = {run.run_id: run.read_spec() for run in bundle.runs}
    errors = list[str]()
    for run_id, spec in specs.items():
        if spec.run_id != run_id:
            errors.append(f"{run_id} has the spec of {spec.run_id}: its spec was changed.")
    # Runs of several plans may have been merged; each plan has seeds of its own.
    plans = {run_id: r.provenance.get("plan_sha256") for run_id, r in bundle.records.items()}
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
        start = f"{layout.PAYLOAD}/{bundle.name_of(run)}/"
        measured = (
            (digest, name.removeprefix(start))
            for name, digest in bundle.digests.items()
            if name.startswith(tuple(start + unique for unique in _UNIQUE))
            and (bundle.root / name).stat().st_size
        )
        for digest, name in sorted(measured):
            other = first.setdefault(digest, run)
            networks = {(spec.variant, spec.seed) for spec in (other.read_spec(), run.read_spec())}
            is_repeated = name == run_folder.PREDICTIONS and len(networks) == 1
            if other != run and not is_repeated:
                yield f"{run.run_id} has the {name} of {other.run_id}: one run occurs twice."
