"""Training plausible: networks learnt more than the commonest class, and no loss was lost."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord


def check(bundle: Bundle) -> Outcome:
    """Look at the last epochs and the test of every done run."""
    warnings = list[str]()
    done = [record for record in bundle.records.values() if record.status == "done"]
    for record in done:
        warnings += _doubts(record)
    return outcome(f"{len(done)} done runs beat the commonest class.", [], warnings)


def _doubts(record: RunRecord) -> Iterator[str]:
    if any(epoch.loss is None for epoch in record.epochs):
        yield f"{record.run_id}: the loss of an epoch was not finite."
    if len(record.epochs) < record.spec.epochs:
        yield f"{record.run_id}: {len(record.epochs)} of {record.spec.epochs} epochs."
    if record.test is None:
        yield f"{record.run_id}: was not tested."
        return
    commonest = max(sum(row) for row in record.test.confusion) / max(record.test.images, 1)
    if record.test.accuracy <= commonest:
        yield (
            f"{record.run_id}: accuracy {record.test.accuracy:.3f} is not above the share of the "
            f"commonest class ({commonest:.3f})."
        )
    best = max((e.val_accuracy for e in record.epochs if e.val_accuracy is not None), default=None)
    if best is not None and best <= commonest:
        yield f"{record.run_id}: no epoch validated above the commonest class."
