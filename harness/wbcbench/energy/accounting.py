"""A run's folder → its record: marks and traces become windows and joules.

The watcher calls this when the trainer has ended, and the finaliser when it finds a folder whose
watcher died. Both read the same files, so a number cannot depend on who lived to tell it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wbcbench.core.quality import verdict
from wbcbench.core.record import Circumstances, Failure, RunRecord, Status
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Origin, Trace
from wbcbench.core.window import Window, utc_now
from wbcbench.energy.apart import budgets_alone, steps_alone
from wbcbench.energy.appraisal import Appraisal, appraise, telemetry
from wbcbench.energy.checks import Evidence, cautions
from wbcbench.energy.story import Story, told
from wbcbench.energy.thresholds import HEARTBEAT_S


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
    story = told(run.read_messages())
    cut = story.close_open(_trace_end_s(traces))
    appraisal = _apart(appraise(traces, story.windows), story.windows)
    evidence = replace(
        _evidence(run, seen, traces, story, appraisal),
        cut=cut,
        status=status,
        telemetry=tuple(telemetry(run.read_telemetry(), story.windows)),
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
    doubts = cautions(evidence)
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
        energies=steps_alone(found.energies, windows),
        budgets=budgets_alone(found.budgets, windows),
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
