"""What `submit` says when it is done: what was taken out, where the bundle is, what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wbcbench.bundle.document import EnergyTotals, RunCounts, Submission
from wbcbench.bundle.writing import Written
from wbcbench.core.text import count_of
from wbcbench.core.units import kwh_from_j


def as_lines(made: Written) -> Iterator[str]:
    """For a terminal."""
    yield _redacted(made.submission)
    said = made.submission
    parts = [count_of(_runs(said.n_runs), "run"), *_energy(said.energy_total_j)]
    spoiled = said.n_runs.failed + said.n_runs.interrupted + said.n_runs.invalid
    waste = f"; {count_of(spoiled, 'spoiled run')} counted as waste" if spoiled else ""
    yield f"{made.path}   {_megabytes(made.size_bytes)}   ({', '.join(parts)}{waste})"
    if said.git.note:
        yield f"Note: {said.git.note}"
    if said.dataset is not None and not said.dataset.complete:
        yield (
            "Note: the list of images holds the tested ones alone; with --data FOLDER it holds "
            "every image's digest."
        )
    yield f"Check it: wbcbench verify {made.path}"


def as_document(made: Written) -> dict[str, Any]:
    """For programs."""
    said = made.submission
    return {
        "path": str(made.path),
        "bytes": made.size_bytes,
        "files": made.files,
        "study": said.study,
        "created_utc": said.created_utc,
        "n_runs": asdict(said.n_runs),
        "energy_total_j": asdict(said.energy_total_j),
        "claims": len(said.claims),
        "redaction": asdict(said.redaction),
        "git": asdict(said.git),
    }


def _redacted(said: Submission) -> str:
    if not said.redaction.applied:
        return "Nothing was redacted: paths, names, serial numbers and UUIDs are in the bundle."
    found = [
        kind if count == 1 else f"{count} {_plural(kind)}"
        for kind, count in said.redaction.counts.items()
    ]
    kept = f" Kept, as part of a run's identity: {', '.join(said.redaction.kept)}."
    return f"Redacted: {', '.join(found) or 'nothing'}" + (
        f".{kept}" if said.redaction.kept else ""
    )


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _runs(counts: RunCounts) -> int:
    return counts.done + counts.failed + counts.interrupted + counts.invalid


def _energy(totals: EnergyTotals) -> Iterator[str]:
    for status, energy_j in sorted(totals.study.items()):
        yield f"{kwh_from_j(energy_j):.3g} kWh {status}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
