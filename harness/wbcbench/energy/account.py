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

from wbcbench.core.quality import verdict
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
    story = replay(run.read_messages())
    cut = story.close_open(_trace_end_s(traces))
    appraisal = _apart(appraise(traces, story.windows), story.windows)
    evidence = replace(
        _evidence(run, seen, traces, story, appraisal),
        cut=cut,
        status=status,
        telemetry=tuple(telemetry_by_window(run.read_telemetry(), story.windows)),
    )
    record = _record(run, status, seen, story, evidence)
    return replace(
        record,
        energies=appraisal.energies,
        budgets=appraisal.budgets,
        agreements=appraisal.agreements,
        error=error or story.failure,
    )


def _record(
    run: RunDir, status: Status, seen: Circumstances, story: Story, evidence: Evidence
) -> RunRecord:
    doubts = run_checks(evidence)
    return RunRecord(
        run_id=run.run_id,
        spec=run.read_spec(),
        status=status,
        started_utc=seen.started_utc,
        ended_utc=utc_now(),
        provenance=seen.provenance,
        synthetic=_is_synthetic(story, evidence.channels),
        dataset=story.dataset,
        model=story.model,
        channels=evidence.channels,
        meters=seen.meters,
        absent=seen.absent,
        sampling=seen.sampling,
        windows=evidence.windows,
        epochs=evidence.epochs,
        test=story.scores.get("test"),
        test_leak_free=story.scores.get("test_leak_free"),
        inference=tuple(story.inference),
        watcher_cpu_s=seen.watcher_cpu_s,
        trainer_cpu_s=seen.trainer_cpu_s,
        trainer_rss_peak_bytes=seen.trainer_rss_peak_bytes,
        cautions=doubts,
        verdict=verdict(doubts),
        telemetry=evidence.telemetry,
        sensor_cards=seen.sensor_cards,
    )


def _evidence(
    run: RunDir,
    seen: Circumstances,
    traces: Sequence[Trace],
    story: Story,
    appraisal: Appraisal,
) -> Evidence:
    model = story.model
    return Evidence(
        spec=run.read_spec(),
        traces=tuple(traces),
        windows=tuple(story.windows),
        energies=appraisal.energies,
        cut=(),
        sampling=seen.sampling,
        absent=seen.absent,
        meters=seen.meters,
        trained=bool(story.epochs),
        faults=appraisal.faults,
        agreements=appraisal.agreements,
        epochs=tuple(story.epochs),
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


def _is_synthetic(story: Story, channels: Sequence[Channel]) -> bool:
    known_signal = any(channel.origin is Origin.SYNTHETIC for channel in channels)
    return known_signal or bool(story.dataset and story.dataset.synthetic)


@dataclass
class Story:
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


def replay(messages: Iterable[Mapping[str, Any]]) -> Story:
    """The story of messages in their order."""
    story = Story()
    for message in messages:
        story.hear(message)
    return story


def _mark(story: Story, edge: str, message: Mapping[str, Any]) -> None:
    name, t_s = str(message["window"]), float(message["t_s"])
    if edge == "open":
        story.opened[name] = t_s
    elif name in story.opened:
        story.windows.append(Window(name, story.opened.pop(name), t_s))


def _epoch(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.epochs.append(_as(Epoch, content))


def _dataset(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.dataset = _as(DatasetFacts, content)


def _model(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.model = _as(ModelFacts, content)


def _scores(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    fields = dict(content)
    story.scores[str(fields.pop("name"))] = _as(Scores, fields)


def _inference(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.inference.append(_as(Inference, content))


def _failure(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.failure = _as(Failure, content)


def _progress(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.progress = dict(content)


def _end(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.end = str(content)


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
