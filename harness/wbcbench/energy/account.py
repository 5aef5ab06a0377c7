"""A run's folder → its record: messages become windows and epochs, traces become joules.

The recorder calls this when the trainer has ended, and the finaliser when it finds a folder whose
recorder died. Both read the same files, so a number cannot depend on which of them worked it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from wbcbench.core.board_state import BoardSample
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.quality import QualityWarning, worst_quality
from wbcbench.core.record import (
    Attachment,
    Circumstances,
    DatasetFacts,
    Epoch,
    Failure,
    Inference,
    ModelFacts,
    RunRecord,
    Scores,
    Status,
    TrainingLoop,
)
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Origin, Trace
from wbcbench.core.window import CUT_LOOP, TRAIN, Window, find_main, is_for_bill, utc_now
from wbcbench.energy.appraise import (
    Appraisal,
    appraise_parts,
    appraise_run,
    cpu_loads_by_window,
    state_one_training,
    telemetry_by_window,
)
from wbcbench.energy.checks import Evidence, run_checks
from wbcbench.energy.thresholds import HEARTBEAT_S
from wbcbench.energy.warnings import make_warning

T = TypeVar("T")

SHARED_MACHINE, SHARED_PROCESSOR = SHARING = ("shared-machine", "shared-processor")
"""Warnings of a run beside which another one went on."""

ABANDONED = frozenset({"recorder-died", "finalised-by-force"})
"""Kinds of failures after which the last polls may be missing, also of windows that had ended."""


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
    spec, channels = run.read_spec(), run.list_traced()
    events = replay(run.read_messages())
    is_abandoned = error is not None and error.kind in ABANDONED
    cut: tuple[str, ...] = ()
    if events.opened or is_abandoned:
        cut = events.close_open(_find_trace_end_s(run.iterate_parts()), is_abandoned=is_abandoned)
    if TRAIN in cut and events.cut_loops(spec.epochs):
        cut = tuple(name for name in cut if name != TRAIN)
    loops = tuple(events.loops.values())
    appraisal = appraise_parts(run.iterate_parts(), events.windows, channels, loops)
    appraisal = state_one_training(appraisal, events.windows, spec, loops)
    # A bundle names boards by hashes, whose order is another than that of the boards.
    order = {channel.device: place for place, channel in enumerate(reversed(channels))}
    boards = sorted(run.list_boards(), key=lambda device: -order.get(device, 0))
    telemetry = ((device, run.read_samples(device)) for device in boards)
    # What goes wrong in the rest of a bill spoils no measurement.
    judged = [w for w in events.windows if spec.is_program or not is_for_bill(w.name)]
    names = {"", *(window.name for window in judged)}
    cut = tuple(name for name in cut if name in names)
    read = circumstances, judged, telemetry, run.read_cpu_time()
    evidence = build_evidence(_choose_windows(appraisal, names), *read, cut=cut)
    if not spec.is_program:  # how a program ends says nothing of its joules
        model = events.model
        evidence = replace(
            evidence,
            spec=spec,
            window_name=TRAIN,
            trained=bool(events.epochs),
            epochs=tuple(events.epochs),
            steps_per_epoch=model.steps_per_epoch if model else None,
            test=events.scores.get("test"),
            device=model.device if model else "",
            device_bus=model.device_pci_bus_id if model else None,
            status=status,
        )
    record = _build_record(run, circumstances, events, evidence)
    return replace(
        record,
        windows=tuple(events.windows),
        energies=appraisal.energies,
        budgets=appraisal.budgets,
        status=status,
        error=error or events.failure,
    )


def _choose_windows(appraisal: Appraisal, names: Collection[str]) -> Appraisal:
    """What was stated of some windows."""
    return replace(
        appraisal,
        energies=tuple(energy for energy in appraisal.energies if energy.window in names),
        budgets=tuple(budget for budget in appraisal.budgets if budget.window in names),
        agreements=tuple(check for check in appraisal.agreements if check.window in names),
    )


def remake_record(run: RunDir, record: RunRecord) -> RunRecord:
    """The record that a run's folder gives.

    What the recorder knew at the end is its last message; older ones wrote none, and what they
    observed is taken from ``record``: whether others measured, by its warnings.
    """
    codes = {warning.code for warning in record.warnings}
    seen: dict[str, Any] = {f.name: getattr(record, f.name, None) for f in fields(Circumstances)}
    seen |= {"shared": SHARED_MACHINE in codes, "cpu_shared": SHARED_PROCESSOR in codes}
    circumstances = Circumstances(**(seen | run.read_end()))
    remade = account(run, circumstances, record.status, record.error)
    return replace(remade, ended_utc=record.ended_utc, schema=record.schema)


def remake_attachment(run: RunDir, record: RunRecord) -> Attachment | None:
    """An external meter's joules from its polls; ``None`` if none was attached."""
    attachment, trace = run.read_attachment(), run.read_attached_trace()
    if attachment is None or trace is None:
        return None
    appraisal = appraise_run([trace], record)
    return replace(attachment, energies=appraisal.energies, budgets=appraisal.budgets)


def build_evidence(
    appraisal: Appraisal,
    circumstances: Circumstances,
    windows: Sequence[Window],
    telemetry: Iterable[tuple[str, Sequence[BoardSample]]],
    cpu_samples: Sequence[CpuSample] | None,
    *,
    cut: tuple[str, ...] = (),
) -> Evidence:
    """What the checks read of a program that was measured.

    Args:
        appraisal: The joules of its windows.
        circumstances: What the recorder knows besides.
        windows: The spans to judge.
        telemetry: What each board did, by device.
        cpu_samples: The processor's time; ``None`` where everything on the machine is measured.
        cut: Names of windows that were still open when the trace ended.
    """
    return Evidence(
        spec=None,
        window_name=find_main([window.name for window in windows]),
        traces=appraisal.traces,
        windows=tuple(windows),
        energies=appraisal.energies,
        cut=cut,
        sampling=circumstances.sampling,
        absent=circumstances.absent,
        meters=circumstances.meters,
        trained=bool(windows),
        budgets=appraisal.budgets,
        faults=appraisal.faults,
        agreements=appraisal.agreements,
        reviewed=appraisal.reviewed,
        telemetry=tuple(telemetry_by_window(telemetry, windows)),
        cpu_loads=tuple(cpu_loads_by_window(cpu_samples, windows)),
        shared=circumstances.shared,
        cpu_shared=circumstances.cpu_shared,
        provenance=circumstances.provenance,
    )


def narrow_evidence(evidence: Evidence, window: Window) -> Evidence:
    """What the checks read of one window of a program, which is judged alone."""
    name = window.name
    return replace(
        evidence,
        window_name=name,
        windows=(window,),
        energies=tuple(energy for energy in evidence.energies if energy.window == name),
        budgets=tuple(budget for budget in evidence.budgets if budget.window == name),
        agreements=tuple(pair for pair in evidence.agreements if pair.window in {"", name}),
        telemetry=tuple(state for state in evidence.telemetry if state.window == name),
        cpu_loads=tuple(load for load in evidence.cpu_loads if load.window == name),
        cut=(name,) if name in evidence.cut else (),
    )


def _build_record(
    run: RunDir, circumstances: Circumstances, events: RunEvents, evidence: Evidence
) -> RunRecord:
    is_simulated = any(channel.origin is Origin.SIMULATED for channel in evidence.channels)
    warnings = _check_program(evidence) if evidence.spec is None else run_checks(evidence)
    judged = [w for w in warnings if evidence.spec or w.window in {"", evidence.window_name}]
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
        loops=tuple(events.loops.values()),
        recorder_cpu_s=circumstances.recorder_cpu_s,
        trainer_cpu_s=circumstances.trainer_cpu_s,
        trainer_rss_peak_bytes=circumstances.trainer_rss_peak_bytes,
        warnings=warnings,
        quality=worst_quality(judged),
        telemetry=evidence.telemetry,
        cpu_loads=evidence.cpu_loads,
        sensor_cards=circumstances.sensor_cards,
    )


def _check_program(evidence: Evidence) -> tuple[QualityWarning, ...]:
    """Every warning about any window of a program, each judged alone, as its user sees it."""
    if not evidence.windows:
        return (make_warning("not-finished", "It ended before measuring began: nothing was read."),)
    alone = (narrow_evidence(evidence, window) for window in evidence.windows)
    return tuple(dict.fromkeys(warning for each in alone for warning in run_checks(each)))


def _find_trace_end_s(parts: Iterable[Sequence[Trace]]) -> float:
    """The last moment every living trace still reaches; a truncated window ends there.

    A channel that was lost long before the others does not truncate theirs.
    """
    sampled = (trace for traces in parts for trace in traces if not trace.channel.sparse)
    ends = [trace.good[0][-1] for trace in sampled if trace.good[0]]
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
    planned_loops: int = 1
    loops: dict[int, TrainingLoop] = field(default_factory=dict)
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
                case "loops":
                    self.planned_loops = int(content)
                case "loop":  # sent again once it is scored
                    loop = _parse(TrainingLoop, content)
                    self.loops[loop.index] = loop
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

    def close_open(self, end_s: float, *, is_abandoned: bool = False) -> tuple[str, ...]:
        """Close every open window at ``end_s``, where the trace ends; returns the names of the cut.

        Open windows mean a kill. It may fall between a mark and the poll after it: windows that
        were closed in that moment end with the trace, too. ``is_abandoned``: the recorder was
        killed, and its last polls may be missing; what had ended after the others is cut as well.
        A window that began after the last poll has no length, and its joules are unknown.
        """
        cut = list(self.opened)
        if cut or is_abandoned:
            for place, window in enumerate(self.windows):
                ended_s = min(window.end_s, max(end_s, window.start_s))
                if is_abandoned and ended_s < window.end_s:
                    cut.append(window.name)
                self.windows[place] = replace(window, end_s=ended_s)
        for name, start_s in self.opened.items():
            self.windows.append(Window(name, start_s, max(start_s, end_s)))
        self.opened.clear()
        return tuple(cut)

    def cut_loops(self, epochs: int) -> bool:
        """After a kill among the loops, let ``train`` be the first; return whether it was whole.

        How far the others got is not known: they are a window of their own.
        """
        self.loops.clear()
        place = next(i for i, each in enumerate(self.windows) if each.name == TRAIN)
        train = self.windows[place]
        if self.planned_loops == 1 or len(self.epochs) < epochs:
            return False
        end_s = self.epochs[-1].evaluate_end_s
        if end_s >= train.end_s:
            return False
        self.windows[place] = replace(train, end_s=end_s)
        self.windows.append(Window(CUT_LOOP, end_s, train.end_s))
        return True


def replay(messages: Iterable[Mapping[str, Any]]) -> RunEvents:
    """What a run reported, from its messages in their order; a damaged one is left out."""
    events = RunEvents()
    for message in messages:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            events.apply(message)
    return events


# Building an adapter costs milliseconds; there are six kinds.
_adapter: Any = cache(TypeAdapter)


def _parse(kind: type[T], content: Any) -> T:
    adapter: TypeAdapter[T] = _adapter(kind)
    return adapter.validate_python(content)
