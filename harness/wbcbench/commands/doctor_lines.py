"""The checks of ``doctor`` as lines of a terminal, and as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from wbcbench.doctor import Groups, Line, Requirement

_NAME, _STATE = 13, 6
# What a check is called for people: by its group and name, or by its group.
_LABELS = {
    "device/gpu": "Device",
    "meters/gpu": "GPU energy",
    "meters/cpu": "CPU energy",
    "meters/dram": "DRAM",
    "meters/system": "Machine",
    "quiet machine/idle": "Idle",
    "storage and time/results": "Disk",
    "storage and time/temporary": "Disk",
    "storage and time/clock": "Clock",
    "device": "Device",
    "meters": "Meters",
    "quiet machine": "Machine",
    "packages": "Packages",
    "data": "Data",
    "engine": "Engine",
    "limits": "Limits",
    "job": "Job",
    "node": "Node",
}
# Checks whose text says by itself what they are about.
_LABELLED = (
    "gpu", "cpu", "dram", "system", "idle", "results", "temporary", "clock", "python", "packages",
    "load", "virtual", "governor", "data", "processes", "persistence", "engine", "request", "job",
    "time", "own-jobs", "jobs", "array", "kill", "accounting", "clock-difference", "shared",
    "links", "gpus", "boards", "processors", "training", "version",
)  # fmt: skip


def list_groups(groups: Groups) -> dict[str, Any]:
    """The checks as plain values, and how many are bad."""
    from wbcbench.doctor import State, count_lines

    return {
        "groups": [
            {"name": name, "lines": [asdict(line) for line in lines]}
            for name, lines in groups.items()
        ],
        "warnings": count_lines(groups, State.WARN),
        "failures": count_lines(groups, State.FAIL),
    }


def print_lines(groups: Groups, *, verbose: bool) -> None:
    """Every check, with a fix that came before named once."""
    known_fixes: set[str] = set()
    for name, lines in groups.items():
        for line in lines:
            own = replace(line, fix="as above") if line.fix in known_fixes else line
            typer.echo("\n".join(_format_line(name, own, verbose=verbose)))
            known_fixes |= {line.fix} - {""}


def print_end(text: str, groups: Groups, requirements: Sequence[Requirement]) -> bool:
    """The primary energy, and what is not as it must be; whether nothing is."""
    from wbcbench.core.terminal import fill
    from wbcbench.core.text import count_of
    from wbcbench.doctor import State, count_lines

    warnings, failures = count_lines(groups, State.WARN), count_lines(groups, State.FAIL)
    counts = f"{count_of(warnings, 'warning')}, {count_of(failures, 'failure')}"
    typer.echo("\n" + fill(f"{text}     {counts}", rest="  "))
    unmet = [item for item in requirements if not item.is_met]
    for item in unmet:
        text = f"{item.domain} is '{item.status}', required '{item.required}' (fix above)"
        typer.echo(fill(text, "FAIL  ", " " * 6))
    return not (failures or unmet)


def _format_line(group: str, line: Line, *, verbose: bool) -> Iterator[str]:
    """``GPU energy  ok    measured: …``, and below it the fix."""
    from wbcbench.core.terminal import fill
    from wbcbench.core.text import printable

    name = _LABELS.get(f"{group}/{line.name}") or _LABELS.get(group) or line.name
    is_named = name == line.name or line.name in _LABELLED
    text = line.text if is_named else f"{line.name}: {line.text}"
    head = f"{name:<{_NAME}}{line.state:<{_STATE}}"
    yield from fill(printable(text), printable(head), " " * (_NAME + _STATE)).splitlines()
    reasons = [("why", line.why)] * verbose + [("fix", line.fix), ("undo", line.undo)]
    for word, text in reasons:
        if text:
            first = f"{'':<{_NAME + _STATE}}{word}: "
            yield from fill(printable(text), first, " " * len(first)).splitlines()
