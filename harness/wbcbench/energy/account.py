"""A run's folder → its record: messages become windows and epochs, traces become joules.

The recorder calls this when the trainer has ended, and the finaliser when it finds a folder whose
recorder died. Both read the same files, so a number cannot depend on which of them worked it out.
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
from wbcbench.core.trace import Origin, Trace
from wbcbench.core.window import TRAIN, Window, utc_now
from wbcbench.energy.appraise import (
    appraise,
    cpu_loads_by_window,
    remove_validation,
    remove_validation_from_budgets,
    telemetry_by_window,
)
from wbcbench.energy.checks import Evidence, run_checks
from wbcbench.energy.thresholds import HEARTBEAT_S

T = TypeVar("T")


def account(
    run: RunDir, circumstances: Circumstances, status: Status, error: Failure | None = None
) -> RunRecord:
    """Work out the record of a run from its folder.

    Args:
        run: The folder; its traces and marks are read from disk.
        circumstances: What the recorder knows besides.
        status: How the run ended.
        error: Why it did not end well.
    """
    traces = run.read_traces()
    events = replay(run.read_messages())
    cut = events.close_open(_find_trace_end_s(traces))
    appraisal = appraise(traces, events.windows)
    model = events.model
    evidence = Evidence(
        spec=run.read_spec(),
        window_name=TRAIN,
        traces=tuple(traces),
        windows=tuple(events.windows),
        energies=remove_validation(appraisal.energies, events.windows),
        cut=cut,
        sampling=circumstances.sampling,
        absent=circumstances.absent,
        meters=circumstances.meters,
        trained=bool(events.epochs),
        budgets=remove_validation_from_budgets(appraisal.budgets, events.windows),
        faults=appraisal.faults,
        agreements=appraisal.agreements,
        telemetry=tuple(telemetry_by_window(run.read_telemetry(), events.windows)),
        cpu_loads=cpu_loads_by_window(run.read_cpu_time(), events.windows),
        epochs=tuple(events.epochs),
        steps_per_epoch=model.steps_per_epoch if model else None,
        device=model.device if model else "",
        device_bus=model.device_pci_bus_id if model else None,
        shared=circumstances.shared,
        status=status,
    )
    record = _build_record(run, circumstances, events, evidence)
    return replace(record, error=error or events.failure)


def _build_record(
    run: RunDir, circumstances: Circumstances, events: RunEvents, evidence: Evidence
) -> RunRecord:
    is_simulated = any(channel.origin is Origin.SIMULATED for channel in evidence.channels)
    warnings = run_checks(evidence)
    return RunRecord(
        run_id=run.run_id,
        spec=run.read_spec(),
        status=evidence.status,
        started_utc=circumstances.started_utc,
        ended_utc=utc_now(),
        provenance=circumstances.provenance,
        synthetic=is_simulated or bool(events.dataset and events.dataset.synthetic),
        dataset=events.dataset,
        model=events.model,
        channels=evidence.channels,
        meters=evidence.meters,
        absent=evidence.absent,
        sampling=evidence.sampling,
        windows=evidence.windows,
        energies=evidence.energies,
        budgets=evidence.budgets,
        agreements=evidence.agreements,
        epochs=evidence.epochs,
        test=events.scores.get("test"),
        test_leakage_free=events.scores.get("test_leakage_free"),
        inference=tuple(events.inference),
        recorder_cpu_s=circumstances.recorder_cpu_s,
        trainer_cpu_s=circumstances.trainer_cpu_s,
        trainer_rss_peak_bytes=circumstances.trainer_rss_peak_bytes,
        warnings=warnings,
        quality=worst_quality(warnings),
        telemetry=evidence.telemetry,
        cpu_loads=evidence.cpu_loads,
        sensor_cards=circumstances.sensor_cards,
    )


def _find_trace_end_s(traces: Sequence[Trace]) -> float:
    """The last moment every living trace still reaches; a truncated window ends there.

    A channel that was lost long before the others does not truncate theirs.
    """
    ends = [trace.good[0][-1] for trace in traces if trace.good[0]]
    latest_s = max(ends, default=0.0)
    return min((end for end in ends if end >= latest_s - HEARTBEAT_S), default=0.0)


@dataclass
class RunEvents:
    """What a run has reported so far; grows with each message."""

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

    def apply(self, message: Mapping[str, Any]) -> None:
        """Enter one message; a kind this version does not know is ignored."""
        for kind, content in message.items():
            match kind:
                case "mark":
                    self._enter_mark(content, str(message["window"]), float(message["t_s"]))
                case "epoch":
                    self.epochs.append(_parse(Epoch, content))
                case "dataset":
                    self.dataset = _parse(DatasetFacts, content)
                case "model":
                    self.model = _parse(ModelFacts, content)
                case "scores":
                    scores = {key: value for key, value in content.items() if key != "name"}
                    self.scores[str(content["name"])] = _parse(Scores, scores)
                case "inference":
                    self.inference.append(_parse(Inference, content))
                case "failure":
                    self.failure = _parse(Failure, content)
                case "progress":
                    self.progress = dict(content)
                case "end":
                    self.end = str(content)

    def _enter_mark(self, edge: str, name: str, t_s: float) -> None:
        if edge == "open":
            self.opened[name] = t_s
        elif name in self.opened:
            self.windows.append(Window(name, self.opened.pop(name), t_s))

    def close_open(self, end_s: float) -> tuple[str, ...]:
        """Close every open window at ``end_s``, where the trace ends; returns their names.

        Open windows mean a kill. It may fall between a mark and the poll after it: windows that
        were closed in that moment end with the trace, too.
        """
        cut = tuple(name for name, start_s in self.opened.items() if start_s < end_s)
        if cut:
            self.windows = [
                replace(window, end_s=min(window.end_s, end_s))
                for window in self.windows
                if window.start_s < end_s
            ]
        self.windows += [Window(name, self.opened[name], end_s) for name in cut]
        self.opened.clear()
        return cut


def replay(messages: Iterable[Mapping[str, Any]]) -> RunEvents:
    """What a run reported, from its messages in their order."""
    events = RunEvents()
    for message in messages:
        events.apply(message)
    return events


# Building an adapter costs milliseconds; there are six kinds.
_adapter: Any = cache(TypeAdapter)


def _parse(kind: type[T], content: Any) -> T:
    adapter: TypeAdapter[T] = _adapter(kind)
    return adapter.validate_python(content)
