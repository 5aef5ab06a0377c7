"""One cell of the results table, traced back: formula, inputs, the record made once more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from wbcbench import table
from wbcbench.core import run_folder
from wbcbench.core.record import Circumstances, RunRecord, Scores
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Domain, Trace
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_validation
from wbcbench.energy.account import account
from wbcbench.energy.appraise import appraise
from wbcbench.energy.source import EnergySource
from wbcbench.table.column import Cell, Column
from wbcbench.table.explain_reading import Reading, explain_readings, read_test_predictions
from wbcbench.table.view import Run

_NAME = re.compile(r"\{(\w+)\}")

# Parts of a record whose own fields are worth naming.
_NESTED = frozenset({"spec", "dataset", "model", "test", "test_leakage_free"})


class RecountState(StrEnum):
    """What came of working a cell out again."""

    EQUAL = "equal"
    DIFFERS = "differs"
    NOT_KEPT = "not kept"  # what it is worked out from is not on disk
    SEEN_ONCE = "seen once"  # a fact of the record that nothing else on disk can tell


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a cell came about.

    Attributes:
        run_id, path: The run.
        column: Of the results table.
        value: The cell as the record gives it.
        formula: How it is worked out; names in braces are in ``inputs``.
        inputs: Values of the formula's columns and terms.
        fields: Fields of the record that were read.
        energy_sources: Who spoke for the run or the part of the machine.
        readings: The joules it rests on.
        spans: Windows whose length it rests on; those of ``train`` with its validation passes.
        again: The cell worked out anew; means something where ``state`` is equal or differs.
        state: Whether the two agree.
        sources: Files it was worked out from.
        missing: Files that it takes and that were not kept.
    """

    run_id: str
    path: str
    column: Column
    value: Cell
    formula: str
    inputs: dict[str, Cell]
    fields: tuple[str, ...]
    energy_sources: tuple[EnergySource, ...]
    readings: tuple[Reading, ...]
    spans: tuple[Window, ...]
    again: Cell
    state: RecountState
    sources: tuple[Source, ...]
    missing: tuple[Source, ...]

    @property
    def formula_with_values(self) -> str:
        """The formula with values put in."""
        return _NAME.sub(lambda found: _plain(self.inputs[found[1]]), self.formula)


def explain(found: Recount, column: Column) -> Explanation:
    """Explain one cell of a run that was counted again."""
    record = found.recorded
    value, notes = _listen_to(record, column)
    sources = _sources(notes)
    missing = tuple(source for source in sources if source not in found.kept)
    again = column.value(Run(found.again))
    return Explanation(
        run_id=record.run_id,
        path=str(found.path),
        column=column,
        value=value,
        formula=column.formula or _read_only(notes),
        inputs=_inputs(record, column),
        fields=tuple(notes.fields),
        energy_sources=tuple(notes.energy_sources),
        readings=_readings(found, notes),
        spans=tuple(_spans(record, notes)),
        again=again,
        state=_state(value, again, sources, missing),
        sources=sources,
        missing=missing,
    )


def _state(
    value: Cell, again: Cell, sources: tuple[Source, ...], missing: tuple[Source, ...]
) -> RecountState:
    if not sources:
        return RecountState.SEEN_ONCE
    if missing:
        return RecountState.NOT_KEPT
    return RecountState.EQUAL if again == value else RecountState.DIFFERS


def _sources(notes: Notes) -> tuple[Source, ...]:
    """The files that what was read is worked out from."""
    fields = {path.split(".", maxsplit=1)[0] for path in notes.fields}
    if notes.energies or notes.energy_sources:
        fields.add("energies")
    used = {source for name in fields for source in SOURCES.get(name, ())}
    return tuple(source for source in Source if source in used)


def _read_only(notes: Notes) -> str:
    names = ", ".join(notes.fields) or "a constant of this version"
    return f"read as it stands: {names}"


def _inputs(record: RunRecord, column: Column) -> dict[str, Cell]:
    run = Run(record)
    named = {each.name: each for each in table.COLUMNS}
    names = dict.fromkeys(_NAME.findall(column.formula))
    return {
        name: column.terms[name](run) if name in column.terms else named[name].value(run)
        for name in names
    }


def _readings(found: Recount, notes: Notes) -> tuple[Reading, ...]:
    has_traces = {Source.TRACES, Source.MARKS} <= found.kept
    return explain_readings(
        list(notes.energies),
        found.recorded,
        found.again if has_traces else None,
        found.traces if has_traces else {},
    )


def _spans(record: RunRecord, notes: Notes) -> Iterable[Window]:
    names = set(notes.windows)
    for window in record.windows:
        is_pass = is_validation(window.name)
        if window.name in names or (is_pass and TRAIN in names):
            yield window


def _plain(cell: Cell) -> str:
    if cell is None:
        return "unknown"
    return f"{cell:.12g}" if isinstance(cell, float) else str(cell)


# A run's record is made once more from what is on disk: marks, traces, telemetry and predictions.
# What was not kept is left as the record has it, and said.
class Source(StrEnum):
    """Where a field of a record is worked out from."""

    SPEC = run_folder.SPEC
    MARKS = run_folder.MARKS
    TRACES = run_folder.TRACES
    LOOKS = f"{run_folder.TELEMETRY}/*.csv"
    PREDICTIONS = run_folder.PREDICTIONS


_JOULES = (Source.TRACES, Source.MARKS)
SOURCES: Mapping[str, tuple[Source, ...]] = {
    "spec": (Source.SPEC,),
    "synthetic": (Source.MARKS,),
    "energies": _JOULES,
    "budgets": _JOULES,
    "agreements": _JOULES,
    "cautions": _JOULES,
    "verdict": _JOULES,
    "windows": (Source.MARKS,),
    "epochs": (Source.MARKS,),
    "dataset": (Source.MARKS,),
    "model": (Source.MARKS,),
    "inference": (Source.MARKS,),
    "telemetry": (Source.LOOKS, Source.MARKS),
    "test": (Source.PREDICTIONS,),
    "test_leakage_free": (Source.PREDICTIONS,),
}
"""Fields that can be worked out again. Every other was seen once, by the watcher."""


@dataclass(frozen=True, slots=True)
class Recount:
    """A record, and the same made again.

    Attributes:
        path: The run's folder.
        recorded: The record as it stands, with what was attached later.
        again: Fields whose sources were kept are new, the others the record's own.
        kept: Which sources are on disk, or have nothing to hold.
        traces: Every poll, by name of the channel.
    """

    path: Path
    recorded: RunRecord
    again: RunRecord
    kept: frozenset[Source]
    traces: Mapping[str, Trace]


def recount(run: RunDir) -> Recount:
    """Make the record of a finished run again.

    Raises:
        UsageError: The record, or a file it is made from, is damaged.
    """
    own = run.read_own_record()
    kept = _kept(run, own)
    again = replace(own, **_retold(run, own, kept))
    attached = run.read_attached_trace()
    traces = [*run.read_traces(), *([attached] if attached else [])]
    return Recount(
        path=run.path,
        recorded=run.read_record(),
        again=_with_attached(again, attached) if attached else again,
        kept=kept,
        traces={trace.channel.name: trace for trace in traces},
    )


def _kept(run: RunDir, own: RunRecord) -> frozenset[Source]:
    there = {
        Source.SPEC: True,
        Source.MARKS: run.marks_path.is_file() or not own.windows,
        Source.TRACES: run.has_traces or not own.channels,
        Source.LOOKS: run.has_telemetry or not own.telemetry,
        Source.PREDICTIONS: run.predictions_path.is_file() or own.test is None,
    }
    return frozenset(source for source, is_kept in there.items() if is_kept)


def _retold(run: RunDir, own: RunRecord, kept: frozenset[Source]) -> dict[str, Any]:
    """The fields that can be worked out again, by name."""
    fields: dict[str, Any] = {}
    if run.marks_path.is_file():
        told = account(run, _circumstances(run, own), own.status, own.error)
        fields |= {name: getattr(told, name) for name in SOURCES}
    if run.predictions_path.is_file():
        fields |= _scores(run, own)
    if own.status != "done" and Source.TRACES not in kept:
        fields.pop("windows", None)  # those that were cut end where the trace did
    return {name: value for name, value in fields.items() if kept.issuperset(SOURCES[name])}


def _circumstances(run: RunDir, own: RunRecord) -> Circumstances:
    """What only the watcher saw, from the record; that others ran beside it, from its beginning."""
    began = run.read_began()
    return Circumstances(
        started_utc=own.started_utc,
        provenance=own.provenance,
        meters=own.meters,
        absent=own.absent,
        sampling=own.sampling,
        recorder_cpu_s=own.recorder_cpu_s,
        trainer_cpu_s=own.trainer_cpu_s,
        trainer_rss_peak_bytes=own.trainer_rss_peak_bytes,
        shared=began.shared if began else False,
        sensor_cards=own.sensor_cards,
    )


def _scores(run: RunDir, own: RunRecord) -> dict[str, Scores | None]:
    if own.test is None:
        return {}
    answers = read_test_predictions(run.predictions_path, own.test.classes)
    grouped = own.test.photographs is not None
    clean = answers.unseen() if own.test_leakage_free else None
    return {
        "test": answers.scores(grouped=grouped),
        "test_leakage_free": clean.scores(grouped=grouped) if clean else None,
    }


def _with_attached(record: RunRecord, trace: Trace) -> RunRecord:
    """The record with an external meter's joules, from its own polls."""
    found = appraise([trace], record.windows)
    return replace(
        record,
        channels=(*record.channels, trace.channel),
        energies=(*record.energies, *found.energies),
        budgets=(*record.budgets, *found.budgets),
    )


@dataclass
class Notes:
    """What was read, in order, each once.

    Attributes:
        fields: Of the record, by dotted path.
        energies: Window and channel of each number of joules.
        windows: Whose length was asked for.
        energy_sources: Who spoke for the run or for a part of the machine.
    """

    fields: dict[str, None] = field(default_factory=dict)
    energies: dict[tuple[str, str], None] = field(default_factory=dict)
    windows: dict[str, None] = field(default_factory=dict)
    energy_sources: dict[EnergySource, None] = field(default_factory=dict)


def _listen_to(record: RunRecord, column: Column) -> tuple[Cell, Notes]:
    """The cell, and what it was made from."""
    notes = Notes()
    run = _ListeningRun(record, notes)
    cell = column.value(run)
    for term in column.terms.values():
        term(run)
    return cell, notes


class _ListeningRun(Run):
    """The view that columns read; who speaks is settled before it listens."""

    def __init__(self, record: RunRecord, notes: Notes) -> None:
        settled = Run(record)
        self._settled, self._notes = settled, notes
        super().__init__(cast("RunRecord", _Noted(record, notes)))

    @property
    def primary(self) -> EnergySource | None:
        """Who speaks for the run."""
        return self._noted(self._settled.primary)

    def source(self, domain: Domain) -> EnergySource | None:
        """Who speaks for one part of the machine."""
        return self._noted(self._settled.source(domain))

    def fact(self, name: str) -> str | int | float | bool | None:
        """One plain value of the provenance."""
        self._notes.fields[f"provenance.{name}"] = None
        return self._settled.fact(name)

    def meter_fact(self, meter: str, *path: str) -> str | None:
        """One word of what a meter said of itself."""
        self._notes.fields[".".join(("meters", meter, *path))] = None
        return self._settled.meter_fact(meter, *path)

    def duration_s(self, window: str) -> float | None:
        """Length of a window."""
        self._notes.windows[window] = None
        return super().duration_s(window)

    def _noted(self, who: EnergySource | None) -> EnergySource | None:
        if who is not None:
            self._notes.energy_sources[who] = None
        return who


class _Noted:
    """A record, or a part of one, that notes which fields are read."""

    def __init__(self, value: Any, notes: Notes, path: str = "") -> None:
        self._value, self._notes, self._path = value, notes, path

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._value, name)
        path = f"{self._path}{name}"
        if callable(value):
            return value
        if path in _NESTED and value is not None:
            return _Noted(value, self._notes, f"{path}.")
        self._notes.fields[path] = None
        return value

    def energy(self, window: str, channel: str) -> WindowEnergy | None:
        """The joules of one window on one channel."""
        self._notes.energies[(window, channel)] = None
        found: WindowEnergy | None = self._value.energy(window, channel)
        return found

    def window(self, name: str) -> Window | None:
        """The window of that name."""
        self._notes.fields["windows"] = None
        found: Window | None = self._value.window(name)
        return found
