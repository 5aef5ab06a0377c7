"""Machine the same: GPU, driver, limits and locked libraries of all runs that are compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from wbcbench.bundle import layout
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.remade import changed
from wbcbench.bundle.verify.standing import fallen
from wbcbench.compare.eligible import ALWAYS, ENERGY, MACHINE
from wbcbench.table.column import Cell

_MORE = ("gpu_uuid_hash", "gpu_power_limit_w", "lock_sha256")
_SAID = (layout.RESOLVED, layout.ENVIRONMENT, layout.HOST)
_TOLD = ("wbcbench_version", "git_commit", "python_version", "os", "cpu_governor")


def check(bundle: Bundle) -> Outcome:
    """Compare the done runs field by field."""
    rows = [bundle.row(run) for run in bundle.finished]
    done = [row for row in rows if row["status"] == "done"]
    errors = [*_differing(done, (*ALWAYS, *ENERGY, *MACHINE, *_MORE)), *_lock(bundle, done)]
    if bundle.is_same_source and fallen(bundle) is None:
        errors += (f"{name} is not what the runs say." for name in changed(bundle, *_SAID))
    warnings = [*_differing(done, _TOLD)]
    return outcome(f"{len(done)} done runs on one machine with one lock.", errors, warnings)


def _differing(rows: Sequence[dict[str, Cell]], fields: Sequence[str]) -> Iterator[str]:
    for name in fields:
        counts = Counter(str(row.get(name)) for row in rows)
        if len(counts) > 1:
            told = ", ".join(f"{value} in {count}" for value, count in counts.most_common(3))
            yield f"{name} differs between the runs: {told}."


def _lock(bundle: Bundle, rows: Sequence[dict[str, Cell]]) -> Iterator[str]:
    """The lock in the bundle is the one that the runs had."""
    if not bundle.has(layout.LOCK):
        return
    found = hashlib.sha256(bundle.read(layout.LOCK)).hexdigest()
    said = {str(row["lock_sha256"]) for row in rows if row["lock_sha256"]}
    if said and found not in said:
        yield f"{layout.LOCK} is not the lock of the runs ({found[:12]}, not {min(said)[:12]})."
