"""One cell of the results table, explained: formula, what it rests on, and whether it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from wbcbench import table
from wbcbench.core.record import RunRecord
from wbcbench.core.window import TRAIN, Window, is_validation
from wbcbench.energy.source import Speaker
from wbcbench.table.column import Cell, Column
from wbcbench.table.listening import Notes, listen_to
from wbcbench.table.reading import Reading, readings
from wbcbench.table.recount import SOURCES, Recount, Source
from wbcbench.table.view import Run

_NAME = re.compile(r"\{(\w+)\}")


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
        speakers: Who spoke for the run or the part of the machine.
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
    speakers: tuple[Speaker, ...]
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
    value, notes = listen_to(record, column)
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
        speakers=tuple(notes.speakers),
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
    if notes.energies or notes.speakers:
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
    return readings(
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
