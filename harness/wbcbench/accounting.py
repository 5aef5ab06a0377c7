"""A run's folder → its record: marks and traces become windows and joules.

The watcher calls this when the trainer has ended, and the finaliser when it finds a folder whose
watcher died. Both read the same files, so a number cannot depend on who lived to tell it.
"""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench import uncertainty
from wbcbench.checks import Evidence, cautions
from wbcbench.clock import utc_now
from wbcbench.energy import Origin, Trace, Window, WindowEnergy, window_energy
from wbcbench.records import Circumstances, Failure, RunRecord, Status
from wbcbench.rundir import RunDir
from wbcbench.story import Story, told
from wbcbench.verdict import verdict


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
    energies = tuple(_energies(traces, story.windows))
    spec = run.read_spec()
    evidence = Evidence(
        spec=spec,
        traces=tuple(traces),
        windows=tuple(story.windows),
        energies=energies,
        cut=cut,
        sampling=seen.sampling,
        absent=seen.absent,
        meters=seen.meters,
        trained=bool(story.epochs),
    )
    doubts = cautions(evidence)
    return RunRecord(
        run_id=run.run_id,
        spec=spec,
        status=status,
        started_utc=seen.started_utc,
        ended_utc=utc_now(),
        provenance=seen.provenance,
        synthetic=_is_synthetic(story, traces),
        dataset=story.dataset,
        model=story.model,
        channels=tuple(trace.channel for trace in traces),
        meters=seen.meters,
        absent=seen.absent,
        sampling=seen.sampling,
        windows=tuple(story.windows),
        energies=energies,
        epochs=tuple(story.epochs),
        test=story.scores.get("test"),
        test_leak_free=story.scores.get("test_leak_free"),
        inference=tuple(story.inference),
        watcher_cpu_s=seen.watcher_cpu_s,
        trainer_cpu_s=seen.trainer_cpu_s,
        trainer_rss_peak_bytes=seen.trainer_rss_peak_bytes,
        cautions=doubts,
        verdict=verdict(doubts),
        error=error or story.failure,
    )


def _energies(traces: Sequence[Trace], windows: Sequence[Window]) -> list[WindowEnergy]:
    return [
        uncertainty.stated(trace, window, window_energy(trace, window))
        for window in windows
        for trace in traces
    ]


def _trace_end_s(traces: Sequence[Trace]) -> float:
    """The last moment every trace still reaches; a window cut short ends there."""
    return min((trace.t_s[-1] for trace in traces if trace.t_s), default=0.0)


def _is_synthetic(story: Story, traces: Sequence[Trace]) -> bool:
    known_signal = any(trace.channel.origin is Origin.SYNTHETIC for trace in traces)
    return known_signal or bool(story.dataset and story.dataset.synthetic)
