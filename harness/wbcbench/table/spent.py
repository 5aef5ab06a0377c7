"""Joules and seconds that went into whole runs, the good ones and the wasted ones.

Joules of different status (measured, modelled, …) are kept apart: they are not added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from wbcbench.core.record import RunRecord
from wbcbench.energy.source import spoken_energy_j
from wbcbench.table.view import ABSENT, Run


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run cost from its first window to its last.

    Attributes:
        energy_j: Joules of the headline's channels over all windows that are known.
        status: Of these joules; ``absent`` when no meter worked.
        is_whole: Whether the joules of every window are known; if not, there were more.
        time_s: Wall-clock seconds, as far as the record tells.
    """

    energy_j: float | None
    status: str
    is_whole: bool
    time_s: float | None


@dataclass(frozen=True, slots=True)
class Sum:
    """Several runs together.

    Attributes:
        runs: How many.
        energy_j: Status → joules of the runs that know them.
        unknown: Runs whose joules are not known, or not wholly.
    """

    runs: int
    energy_j: dict[str, float]
    unknown: int


def spent(record: RunRecord) -> Spent:
    """What a run cost, as its record tells."""
    run = Run(record)
    who = run.headline
    parts = [spoken_energy_j(record, who, window.name) for window in run.phases]
    known = [part for part in parts if part is not None]
    return Spent(
        energy_j=sum(known) if known else None,
        status=who.status.value if who else ABSENT,
        is_whole=bool(parts) and len(known) == len(parts),
        time_s=_wall_s(record),
    )


def summed(runs: Iterable[Spent]) -> Sum:
    """Runs together, joules by status."""
    energy_j: dict[str, float] = {}
    count = unknown = 0
    for each in runs:
        count += 1
        unknown += not each.is_whole
        if each.energy_j is not None:
            energy_j[each.status] = energy_j.get(each.status, 0.0) + each.energy_j
    return Sum(count, energy_j, unknown)


def _wall_s(record: RunRecord) -> float | None:
    try:
        began, ended = map(datetime.fromisoformat, (record.started_utc, record.ended_utc))
    except ValueError:
        return None
    return max((ended - began).total_seconds(), 0.0)
