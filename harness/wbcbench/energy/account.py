"""A run's folder → its record: messages become windows and epochs, traces become joules.

The recorder calls this when the trainer has ended, and the finaliser when it finds a folder whose
recorder died. Both read the same files, so a number cannot depend on who worked it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from wbcbench.core.quality import worst_quality
from wbcbench.core.record import (
    Circumstances,
    DatasetFacts,
    Epoch,
    Failure,
    Inference,
    ModelFacts,
    RunRecord,
    Scores,
    Status,
)
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Origin, Trace
from wbcbench.core.window import Window, utc_now
from wbcbench.energy.appraise import (
    Appraisal,
    appraise,
    budgets_without_validation,
    telemetry_by_window,
    without_validation,
)
from wbcbench.energy.checks import Evidence, run_checks
from wbcbench.energy.thresholds import HEARTBEAT_S

T = TypeVar("T")


def account(
    run: RunDir, seen: Circumstances, status: Status, error: Failure | None = None
) -> RunRecord:
    """Work out the record of a run from its folder.

    Args:
        run: The folder; its traces and marks are read from disk.
        seen: What the watcher saw.
        status: How the run ended.
        error: Why it did not end well.
    """
    traces = run.read_traces()
    events = replay(run.read_messages())
    cut = events.close_open(_trace_end_s(traces))
    appraisal = _apart(appraise(traces, events.windows), events.windows)
    evidence = replace(
        _evidence(run, seen, traces, events, appraisal),
        cut=cut,
        status=status,
        telemetry=tuple(telemetry_by_window(run.read_telemetry(), events.windows)),
    )
    record = _record(run, status, seen, events, evidence)
    return replace(
        record,
        energies=appraisal.energies,
        budgets=appraisal.budgets,
        agreements=appraisal.agreements,
        error=error or events.failure,
    )


def _record(
    run: RunDir, status: Status, seen: Circumstances, events: RunEvents, evidence: Evidence
) -> RunRecord:
    doubts = run_checks(evidence)
    return RunRecord(
        run_id=run.run_id,
        spec=run.read_spec(),
        status=status,
        started_utc=seen.started_utc,
        ended_utc=utc_now(),
        provenance=seen.provenance,
        synthetic=_is_synthetic(events, evidence.channels),
        dataset=events.dataset,
        model=events.model,
        channels=evidence.channels,
        meters=seen.meters,
        absent=seen.absent,
        sampling=seen.sampling,
        windows=evidence.windows,
        epochs=evidence.epochs,
        test=events.scores.get("test"),
        test_leakage_free=events.scores.get("test_leakage_free"),
        inference=tuple(events.inference),
        recorder_cpu_s=seen.recorder_cpu_s,
        trainer_cpu_s=seen.trainer_cpu_s,
        trainer_rss_peak_bytes=seen.trainer_rss_peak_bytes,
        warnings=doubts,
        quality=worst_quality(doubts),
        telemetry=evidence.telemetry,
        sensor_cards=seen.sensor_cards,
    )


def _evidence(
    run: RunDir,
    seen: Circumstances,
    traces: Sequence[Trace],
    events: RunEvents,
    appraisal: Appraisal,
) -> Evidence:
    model = events.model
    return Evidence(
        spec=run.read_spec(),
        traces=tuple(traces),
        windows=tuple(events.windows),
        energies=appraisal.energies,
        cut=(),
        sampling=seen.sampling,
        absent=seen.absent,
        meters=seen.meters,
        trained=bool(events.epochs),
        faults=appraisal.faults,
        agreements=appraisal.agreements,
        epochs=tuple(events.epochs),
        steps_per_epoch=model.steps_per_epoch if model else None,
        device=model.device if model else "",
        device_bus=model.device_pci_bus_id if model else None,
        shared=seen.shared,
    )


def _apart(found: Appraisal, windows: Sequence[Window]) -> Appraisal:
    return replace(
        found,
        energies=without_validation(found.energies, windows),
        budgets=budgets_without_validation(found.budgets, windows),
    )


def _trace_end_s(traces: Sequence[Trace]) -> float:
    """The last moment every living trace still reaches; a window cut short ends there.

    A channel that was lost long before the others does not cut them short too.
    """
    ends = [trace.good[0][-1] for trace in traces if trace.good[0]]
    latest_s = max(ends, default=0.0)
    return min((end for end in ends if end >= latest_s - HEARTBEAT_S), default=0.0)


def _is_synthetic(events: RunEvents, channels: Sequence[Channel]) -> bool:
    known_signal = any(channel.origin is Origin.SIMULATED for channel in channels)
    return known_signal or bool(events.dataset and events.dataset.synthetic)


@dataclass
class RunEvents:
    """A run as told so far; grows with ``hear``."""

    windows: list[Window] = field(default_factory=list)
    opened: dict[str, float] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    dataset: DatasetFacts | None = None
    model: ModelFacts | None = None
    scores: dict[str, Scores] = field(default_factory=dict)
    inference: list[Inference] = field(default_factory=list)
    failure: Failure | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    end: str | None = None

    def hear(self, message: Mapping[str, Any]) -> None:
        """Enter one message; a kind this version does not know is passed over."""
        for kind, content in message.items():
            listener = _LISTENERS.get(kind)
            if listener:
                listener(self, content, message)

    def close_open(self, end_s: float) -> tuple[str, ...]:
        """Close every open window at ``end_s``, where the trace ends; returns their names.

        Open windows mean a kill. It may fall between a mark and the poll after it: windows that
        were closed in that moment end with the trace, too.
        """
        cut = tuple(name for name, start_s in self.opened.items() if start_s < end_s)
        if cut:
            self.windows = [_until(w, end_s) for w in self.windows if w.start_s < end_s]
        for name in cut:
            self.windows.append(Window(name, self.opened[name], end_s))
        self.opened.clear()
        return cut


def _until(window: Window, end_s: float) -> Window:
    return replace(window, end_s=min(window.end_s, end_s))


def replay(messages: Iterable[Mapping[str, Any]]) -> RunEvents:
    """The story of messages in their order."""
    events = RunEvents()
    for message in messages:
        events.hear(message)
    return events


def _mark(events: RunEvents, edge: str, message: Mapping[str, Any]) -> None:
    name, t_s = str(message["window"]), float(message["t_s"])
    if edge == "open":
        events.opened[name] = t_s
    elif name in events.opened:
        events.windows.append(Window(name, events.opened.pop(name), t_s))


def _epoch(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.epochs.append(_as(Epoch, content))


def _dataset(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.dataset = _as(DatasetFacts, content)


def _model(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.model = _as(ModelFacts, content)


def _scores(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    fields = dict(content)
    events.scores[str(fields.pop("name"))] = _as(Scores, fields)


def _inference(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.inference.append(_as(Inference, content))


def _failure(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.failure = _as(Failure, content)


def _progress(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.progress = dict(content)


def _end(events: RunEvents, content: Any, _: Mapping[str, Any]) -> None:
    events.end = str(content)


_LISTENERS = {
    "mark": _mark,
    "epoch": _epoch,
    "dataset": _dataset,
    "model": _model,
    "scores": _scores,
    "inference": _inference,
    "failure": _failure,
    "progress": _progress,
    "end": _end,
}

# Building an adapter costs milliseconds; there are six kinds.
_adapter: Any = cache(TypeAdapter)


def _as(kind: type[T], content: Any) -> T:
    adapter: TypeAdapter[T] = _adapter(kind)
    return adapter.validate_python(content)
