"""Sampling dense enough: MLPerf's sixty readings, no long gap, time that goes forward."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import TRAIN, is_consecutive
from wbcbench.energy import thresholds
from wbcbench.energy.source import headline_channel, spoken_gap_s, spoken_samples


def check(bundle: Bundle) -> Outcome:
    """Look at the training of every done run, and at the clock of every trace."""
    warnings, errors = list[str](), list[str]()
    for run in bundle.finished:
        record = bundle.record(run)
        errors += [*_clock(run, bundle.digest_of(run)), *_overlaps(record)]
        if record.status == "done":
            warnings += _sparse(record)
    least = thresholds.HEADLINE_SAMPLES
    return outcome(
        f"At least {least:.0f} readings in every training, no long gap.", errors, warnings
    )


def _sparse(record: RunRecord) -> Iterator[str]:
    who = headline_channel(record)
    samples, gap_s = spoken_samples(record, who, TRAIN), spoken_gap_s(record, who, TRAIN)
    train = record.window(TRAIN)
    if who is None or samples is None or train is None:
        yield f"{record.run_id}: nothing was read while it trained."
        return
    if samples < max(thresholds.HEADLINE_SAMPLES, train.duration_s * 0.9):
        yield f"{record.run_id}: {samples} readings in {train.duration_s:.0f} s of training."
    period_s = next((s.period_s for s in record.sampling if s.period_s), None) or 0.0
    least_s = max(thresholds.GAP_PERIODS * period_s, thresholds.GAP_LEAST_S)
    if gap_s is not None and gap_s > least_s:
        yield f"{record.run_id}: {gap_s:.1f} s without a reading while it trained."


@lru_cache(maxsize=4096)
def _clock(run: RunDir, digest: str) -> tuple[str, ...]:
    return tuple(
        f"{run.run_id}: time goes backwards on {trace.channel.name}."
        for trace in run.read_traces()
        if any(after <= before for before, after in pairwise(trace.t_s))
    )


def _overlaps(record: RunRecord) -> Iterator[str]:
    """Phases follow each other; epochs and validation passes lie inside ``train``."""
    phases = sorted(
        (w for w in record.windows if is_consecutive(w.name)), key=lambda each: each.start_s
    )
    for before, after in pairwise(phases):
        if after.start_s < before.end_s:
            yield f"{record.run_id}: {after.name} begins before {before.name} ends."
    if any(window.end_s < window.start_s for window in record.windows):
        yield f"{record.run_id}: a window ends before it begins."
