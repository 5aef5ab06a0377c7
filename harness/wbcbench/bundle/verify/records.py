"""Checks of the records: rows, accounts worked out anew, seeds and identities."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

from pydantic import JsonValue

from wbcbench import table
from wbcbench.bundle import layout
from wbcbench.bundle.run_files import boamps_json, phases_csv
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core import run_folder
from wbcbench.core.record import Circumstances, RunRecord, to_json
from wbcbench.core.run_folder import RunDir
from wbcbench.energy.account import account
from wbcbench.table import derive
from wbcbench.table.column import Cell
from wbcbench.table.view import Run

_AFTER = frozenset(
    ("meters", "sampling", "shared", "recorder_cpu_s", "trainer_cpu_s", "trainer_rss_peak_bytes")
)
"""Circumstances that are known only when the run has ended."""

_TOLERANCE = 1e-9
_SHARED = "shared-machine"

_JUDGED = ("cautions", "verdict", "budgets", "agreements")

_MEASURED = ("energies", "budgets", "windows", "channels", "agreements", "telemetry")

_UNIQUE = (run_folder.MARKS, run_folder.PREDICTIONS, run_folder.TRACES)


def check_rows(bundle: Bundle) -> Outcome:
    """Runs, records, table: every row follows from its record, every record from its folder."""
    errors, warnings = [*_table(bundle)], list[str]()
    licence = bundle.document.licence
    if bundle.is_same_source:
        errors += (said for run in bundle.finished for said in _boamps(bundle, run, licence))
    for run in (*bundle.finished, *(pilot for pilot in bundle.pilots if pilot.is_finished)):
        errors += _of_folder(run, bundle.digest_of(run))
        for path in record_departures(bundle, run):
            if not differs_in_joules(path):
                known = _judged_alone(path) and not bundle.is_same_source
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


_SEEN = tuple(each.name for each in fields(Circumstances) if each.name != "shared")
"""What another version may judge otherwise; the joules it must find again."""


def record_departures(bundle: Bundle, run: RunDir) -> tuple[str, ...]:
    """Where a run's record says other than its folder, as paths with both values."""
    return _departures(run, bundle.digest_of(run))


@lru_cache(maxsize=4096)
def _departures(run: RunDir, digest: str) -> tuple[str, ...]:
    record = run.read_own_record()
    return tuple(differences(_plain(record), _plain(remade_record(run, record))))


def remade_record(run: RunDir, record: RunRecord) -> RunRecord:
    """The record of a run as its folder has it; what only the watcher saw is taken on trust.

    Whether another harness was measuring is in no file but as a doubt of the record.
    """
    seen = Circumstances(
        **{name: getattr(record, name) for name in _SEEN},
        shared=any(warning.code == _SHARED for warning in record.warnings),
    )
    made = account(run, seen, record.status, record.error)
    return replace(made, ended_utc=record.ended_utc)


def differs_in_joules(path: str) -> bool:
    """Whether a difference is one of what the meters said."""
    return _field(path) in _MEASURED


def _judged_alone(path: str) -> bool:
    """Whether a difference is one of judgement."""
    return _field(path) in _JUDGED


def _field(path: str) -> str:
    return path.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]


def _plain(record: RunRecord) -> Any:
    return json.loads(to_json(record))


def differences(said: JsonValue, found: JsonValue, at: str = "") -> Iterator[str]:
    """Where two plain values differ; numbers by more than one part in 10⁹."""
    if isinstance(said, dict) and isinstance(found, dict):
        for name in sorted(said.keys() | found.keys()):
            path = f"{at}.{name}" if at else name
            yield from differences(said.get(name), found.get(name), path)
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for i, (one, other) in enumerate(zip(said, found, strict=True)):
            yield from differences(one, other, f"{at}[{i}]")
    elif not _equal(said, found):
        yield f"{at}: {_short(said)}, but its folder says {_short(found)}"


def _equal(said: JsonValue, found: JsonValue) -> bool:
    if _is_number(said) and _is_number(found):
        one, other = float(str(said)), float(str(found))
        return abs(one - other) <= _TOLERANCE * max(abs(one), abs(other))
    return type(said) is type(found) and said == found


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def check_seeds(bundle: Bundle) -> Outcome:
    """Seeds and identities: a run is what its id says, seeds pair in blocks, none stands twice."""
    errors = [*_identities(bundle), *_blocks(bundle), *_twice(bundle)]
    seeds = {run.read_spec().seed for run in bundle.runs}
    return outcome(
        f"{len(bundle.runs)} runs with {len(seeds)} seeds; ids follow from specs.", errors
    )


def _identities(bundle: Bundle) -> Iterator[str]:
    for run in bundle.runs:
        spec = run.read_spec()
        if spec.run_id != run.run_id:
            yield f"{run.run_id} is asked what {spec.run_id} would be: its spec was changed."
        if spec.study != bundle.document.study:
            yield f"{run.run_id} belongs to the study {spec.study}."


def _blocks(bundle: Bundle) -> Iterator[str]:
    """One seed a block, another seed in every block."""
    seeds, blocks = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for run in bundle.runs:
        spec = run.read_spec()
        if spec.block:
            seeds[spec.block].add(spec.seed)
            blocks[spec.seed].add(spec.block)
    for block, found in sorted(seeds.items()):
        if len(found) > 1:
            yield f"Block {block} has the seeds {_listed(found)}: its runs are no pairs."
    for seed, found in sorted(blocks.items()):
        if len(found) > 1:
            yield f"Seed {seed} stands in the blocks {_listed(found)}: they are one block."


def _twice(bundle: Bundle) -> Iterator[str]:
    """What was measured is never the same twice: equal traces are one run under two names.

    Equal predictions are, of networks that should differ; a repetition may give them again.
    """
    first = dict[str, RunDir]()
    for run in (*bundle.runs, *bundle.pilots):
        for digest, name in sorted(_measured(bundle, run.path.relative_to(bundle.root).as_posix())):
            before = first.setdefault(digest, run)
            again = name == run_folder.PREDICTIONS and _network(before) == _network(run)
            if before != run and not again:
                yield f"{run.run_id} has the {name} of {before.run_id}: one run stands twice."


def _network(run: RunDir) -> tuple[str, int]:
    spec = run.read_spec()
    return spec.variant, spec.seed


def _measured(bundle: Bundle, folder: str) -> Iterator[tuple[str, str]]:
    start = f"{folder}/"
    for name, digest in bundle.digests.items():
        inside = name.removeprefix(start)
        is_measured = name.startswith(start) and inside.startswith(_UNIQUE)
        if is_measured and (bundle.root / name).stat().st_size:
            yield digest, inside


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
