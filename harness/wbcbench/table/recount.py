"""A run's record, made once more from its marks, traces, telemetry and predictions.

What is not on disk stays as the record has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from wbcbench.core import run_folder
from wbcbench.core.errors import UsageError
from wbcbench.core.record import RunRecord, Scores
from wbcbench.core.run_folder import RunDir
from wbcbench.energy.account import remake_record
from wbcbench.energy.appraise import ReviewedTrace, appraise_run, review_traces
from wbcbench.train.scores import score


class Source(StrEnum):
    """Files from which a field of a record is computed."""

    SPEC = run_folder.SPEC
    MARKS = run_folder.MARKS
    TRACES = run_folder.TRACES
    TELEMETRY = f"{run_folder.TELEMETRY}/*.csv"
    PREDICTIONS = run_folder.PREDICTIONS


_ENERGY = (Source.TRACES, Source.MARKS)
SOURCES: Mapping[str, tuple[Source, ...]] = {
    "spec": (Source.SPEC,),
    "synthetic": (Source.MARKS,),
    "energies": _ENERGY,
    "budgets": _ENERGY,
    "agreements": _ENERGY,
    "warnings": _ENERGY,
    "quality": _ENERGY,
    "windows": (Source.MARKS,),
    "epochs": (Source.MARKS,),
    "dataset": (Source.MARKS,),
    "model": (Source.MARKS,),
    "inference": (Source.MARKS,),
    "telemetry": (Source.TELEMETRY, Source.MARKS),
    "cpu_loads": (Source.TELEMETRY, Source.MARKS),
    "test": (Source.PREDICTIONS,),
    "test_leakage_free": (Source.PREDICTIONS,),
}
"""Fields that can be computed again. All others were observed once, by the recorder."""


@dataclass(frozen=True, slots=True)
class Recount:
    """A record, and the same made again.

    Attributes:
        path: The run's folder.
        recorded: The record as it stands, with what was attached later.
        again: Fields whose sources are on disk are new, the others the record's own.
        available: Which sources are on disk, or have nothing to hold.
        attached: What an external meter's joules are worked out from, if one was attached.
    """

    path: Path
    recorded: RunRecord
    again: RunRecord
    available: frozenset[Source]
    attached: tuple[ReviewedTrace, ...] = ()
    _reviewed: dict[str, ReviewedTrace] = field(default_factory=dict)  # of one part alone

    def review(self, name: str) -> ReviewedTrace | None:
        """What the joules of a channel are worked out from; ``None`` without polls of it."""
        if name not in self._reviewed:
            traces = RunDir(self.path).read_part(name)
            part = (*self.attached, *review_traces(traces, self.again.windows).traces)
            self._reviewed.clear()
            self._reviewed.update({each.trace.channel.name: each for each in part})
        return self._reviewed.get(name)


def recount(run: RunDir) -> Recount:
    """Make the record of a finished run again.

    Raises:
        UsageError: The record, or a file it is made from, is damaged.
    """
    own = run.read_own_record()
    is_available = {
        Source.SPEC: True,
        Source.MARKS: run.marks_path.is_file() or not own.windows,
        Source.TRACES: run.has_traces or not own.channels,
        Source.TELEMETRY: run.has_telemetry or not (own.telemetry or own.cpu_loads),
        Source.PREDICTIONS: run.predictions_path.is_file() or own.test is None,
    }
    available = frozenset(source for source in Source if is_available[source])
    again = replace(own, **_compute_fields(run, own, available))
    attached = run.read_attached_trace()
    reviewed: tuple[ReviewedTrace, ...] = ()
    if attached:
        appraisal = appraise_run([attached], again)
        again = replace(
            again,
            channels=(*again.channels, attached.channel),
            energies=(*again.energies, *appraisal.energies),
            budgets=(*again.budgets, *appraisal.budgets),
        )
        reviewed = appraisal.reviewed
    return Recount(
        path=run.path,
        recorded=run.read_record(),
        again=again,
        available=available,
        attached=reviewed,
    )


def _compute_fields(run: RunDir, own: RunRecord, available: frozenset[Source]) -> dict[str, Any]:
    """The fields that can be computed again, by name."""
    fields: dict[str, Any] = {}
    if run.marks_path.is_file():
        accounted = remake_record(run, own)
        fields |= {name: getattr(accounted, name) for name in SOURCES}
    if own.test and run.predictions_path.is_file():
        fields |= _compute_scores(run.predictions_path, own, own.test)
    if own.status != "done" and Source.TRACES not in available:
        fields.pop("windows", None)  # those that were cut end where the trace did
    return {name: value for name, value in fields.items() if available.issuperset(SOURCES[name])}


def _compute_scores(path: Path, own: RunRecord, test: Scores) -> dict[str, Scores | None]:
    """The scores on all test images and on the leakage-free ones.

    Raises:
        UsageError: The predictions are damaged, or are of other classes.
    """
    import numpy as np
    import pyarrow.parquet as pq

    classes = test.classes
    try:
        with path.open("rb") as stream:
            table = pq.read_table(stream)
        names = ["p_unused", *(f"p_{name.lower()}" for name in classes)]
        probabilities = np.column_stack([table[name].to_numpy() for name in names])
        labels = np.array([classes.index(name) for name in table["y_true"].to_pylist()], np.int64)
        originals = table["original_id"].to_pylist()
        is_unseen = ~table["also_in_train"].to_numpy().astype(bool)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as predictions ({error}), so the scores cannot be computed "
            "again. Restore the file from the study it came with."
        ) from error
    if not np.isfinite(probabilities).all():
        raise UsageError(f"{path} holds a probability that is no number. Restore the file.")
    photographs = np.array([-1 if name is None else name for name in originals], np.int64)

    def score_subset(chosen: Any) -> Scores:
        grouped = photographs[chosen] if test.photographs is not None else None
        return score(probabilities[chosen], labels[chosen], grouped, classes)

    has_subset = own.test_leakage_free is not None and is_unseen.any()
    return {
        "test": score_subset(np.ones(len(labels), dtype=bool)),
        "test_leakage_free": score_subset(is_unseen) if has_subset else None,
    }
