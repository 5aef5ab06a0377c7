"""A run's record, made once more from what is on disk: marks, traces, looks and predictions.

What was not kept is left as the record has it, and said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from wbcbench.core.record import Circumstances, RunRecord, Scores
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Trace
from wbcbench.energy.account import account
from wbcbench.energy.appraise import appraise


class Source(StrEnum):
    """Where a field of a record is worked out from."""

    SPEC = "spec.json"
    MARKS = "marks.jsonl"
    TRACES = "trace/*.csv"
    LOOKS = "telemetry/*.csv"
    PREDICTIONS = "predictions.parquet"


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
    "test_leak_free": (Source.PREDICTIONS,),
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
        Source.TRACES: _holds_lines(run.path / "trace") or not own.channels,
        Source.LOOKS: _holds_lines(run.path / "telemetry") or not own.telemetry,
        Source.PREDICTIONS: run.predictions_path.is_file() or own.test is None,
    }
    return frozenset(source for source, is_kept in there.items() if is_kept)


def _holds_lines(folder: Path) -> bool:
    return any(folder.glob("*.csv"))


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
        watcher_cpu_s=own.watcher_cpu_s,
        trainer_cpu_s=own.trainer_cpu_s,
        trainer_rss_peak_bytes=own.trainer_rss_peak_bytes,
        shared=began.shared if began else False,
        sensor_cards=own.sensor_cards,
    )


def _scores(run: RunDir, own: RunRecord) -> dict[str, Scores | None]:
    from wbcbench.table.answers import read_answers

    if own.test is None:
        return {}
    answers = read_answers(run.predictions_path, own.test.classes)
    grouped = own.test.photographs is not None
    clean = answers.unseen() if own.test_leak_free else None
    return {
        "test": answers.scores(grouped=grouped),
        "test_leak_free": clean.scores(grouped=grouped) if clean else None,
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
