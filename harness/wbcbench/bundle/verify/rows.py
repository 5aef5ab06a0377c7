"""Runs, records, table: every row follows from its record, every record from its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache

from wbcbench import table
from wbcbench.bundle import layout
from wbcbench.bundle.runfiles import boamps_json, phases_csv
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.accounts import departures, differs_in_joules, judged_alone
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import Circumstances, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.table import derive
from wbcbench.table.column import Cell
from wbcbench.table.view import Run

_AFTER = frozenset(
    ("meters", "sampling", "shared", "watcher_cpu_s", "trainer_cpu_s", "trainer_rss_peak_bytes")
)
"""Circumstances that are known only when the run has ended."""


def check(bundle: Bundle) -> Outcome:
    """Hold table against records, and records against what lies in their folders."""
    errors, warnings = [*_table(bundle)], list[str]()
    licence = bundle.document.licence
    if bundle.is_same_source:
        errors += (said for run in bundle.finished for said in _boamps(bundle, run, licence))
    for run in (*bundle.finished, *(pilot for pilot in bundle.pilots if pilot.is_finished)):
        errors += _of_folder(run, bundle.digest_of(run))
        for path in departures(bundle, run):
            if not differs_in_joules(path):
                known = judged_alone(path) and not bundle.is_same_source
                (warnings if known else errors).append(f"{run.run_id}: {path}.")
    good = f"{len(bundle.finished)} records make the {len(bundle.finished)} rows of the table."
    return outcome(good, errors, warnings)


def _table(bundle: Bundle) -> Iterator[str]:
    """``runs.csv`` cell by cell; a later version may have added columns."""
    data = (bundle.study_dir / layout.RUNS_TABLE).read_bytes()
    made = table.to_csv(sorted(map(bundle.row, bundle.finished), key=_place))
    if data == made:
        return
    found, expected = _rows(data), _rows(made)
    yield from _cells(found, expected)
    if _header(data) == _header(made) and bundle.is_same_source:
        yield "The results table is not the one that its records make, byte for byte."


def _cells(
    found: Mapping[str, dict[str, str]], made: Mapping[str, dict[str, str]]
) -> Iterator[str]:
    for run_id in sorted(found.keys() | made.keys()):
        if run_id not in made:
            yield f"The table has a row {run_id} without a record."
        elif run_id not in found:
            yield f"The table has no row for {run_id}."
        else:
            common = found[run_id].keys() & made[run_id].keys()
            for name in sorted(common):
                if found[run_id][name] != made[run_id][name]:
                    yield (
                        f"{run_id}: the table says {name} = {found[run_id][name] or 'unknown'}, "
                        f"its record {made[run_id][name] or 'unknown'}."
                    )


def _rows(data: bytes) -> dict[str, dict[str, str]]:
    lines = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
    return {line["run_id"]: line for line in lines}


def _header(data: bytes) -> bytes:
    return data.partition(b"\n")[0]


def _boamps(bundle: Bundle, run: RunDir, licence: str) -> Iterator[str]:
    path = run.path / layout.BOAMPS
    made = _boamps_made(run, bundle.digest_of(run), licence)
    if (path.read_bytes() if path.is_file() else None) != made:
        yield f"{run.run_id}: {layout.BOAMPS} is not what the record makes."


@lru_cache(maxsize=4096)
def _boamps_made(run: RunDir, digest: str, licence: str) -> bytes | None:
    return boamps_json(Run(run.read_record(), run), licence)


def _place(row: Mapping[str, Cell]) -> tuple[str, ...]:
    """Where a row stands in the table."""
    return str(row["variant"]), f"{int(str(row['block'])):09d}", str(row["run_id"])


@lru_cache(maxsize=4096)
def _of_folder(run: RunDir, digest: str) -> tuple[str, ...]:
    record = run.read_own_record()
    return (*_folder(run, record), *_derived(run, record))


def _folder(run: RunDir, record: RunRecord) -> Iterator[str]:
    """What the folder said before the run says the same afterwards."""
    if record.run_id != run.run_id or record.spec != run.read_spec():
        yield f"{run.run_id}: the record is of another run than spec.json."
    began = run.read_began()
    if began is None:
        return
    for name in (each.name for each in fields(Circumstances) if each.name not in _AFTER):
        if getattr(record, name) != getattr(began, name):
            yield f"{run.run_id}: {name} differs between began.json and the record."
    if set(record.meters) != set(began.meters):
        yield f"{run.run_id}: other meters began than the record knows."


def _derived(run: RunDir, record: RunRecord) -> Iterator[str]:
    """What is made from the record for readers."""
    whole = run.read_record()
    made = {run.epochs_path.name: {derive.epochs_csv(each) for each in (record, whole)}}
    made[layout.PHASES] = {phases_csv(record)}
    for name, forms in made.items():
        path = run.path / name
        if path.is_file() and path.read_bytes() not in forms:
            yield f"{run.run_id}: {name} is not what the record makes."
