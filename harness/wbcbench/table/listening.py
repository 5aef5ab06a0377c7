"""A run that notes what is read from it: which fields, windows, joules and speakers a cell uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from wbcbench.core.record import RunRecord
from wbcbench.core.trace import Domain
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.source import Speaker
from wbcbench.table.column import Cell, Column
from wbcbench.table.view import Run

# Parts of a record whose own fields are worth naming.
_NESTED = frozenset({"spec", "dataset", "model", "test", "test_leak_free"})


@dataclass
class Notes:
    """What was read, in order, each once.

    Attributes:
        fields: Of the record, by dotted path.
        energies: Window and channel of each number of joules.
        windows: Whose length was asked for.
        speakers: Who spoke for the run or for a part of the machine.
    """

    fields: dict[str, None] = field(default_factory=dict)
    energies: dict[tuple[str, str], None] = field(default_factory=dict)
    windows: dict[str, None] = field(default_factory=dict)
    speakers: dict[Speaker, None] = field(default_factory=dict)


def listen_to(record: RunRecord, column: Column) -> tuple[Cell, Notes]:
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
    def headline(self) -> Speaker | None:
        """Who speaks for the run."""
        return self._noted(self._settled.headline)

    def speaker(self, domain: Domain) -> Speaker | None:
        """Who speaks for one part of the machine."""
        return self._noted(self._settled.speaker(domain))

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

    def _noted(self, who: Speaker | None) -> Speaker | None:
        if who is not None:
            self._notes.speakers[who] = None
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
