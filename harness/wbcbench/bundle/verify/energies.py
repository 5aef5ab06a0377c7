"""Checks of the energy: integrated again from every trace, sampled densely enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

from wbcbench.bundle.document import to_plain
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.likeness import find_differences
from wbcbench.bundle.verify.records import compare_records, is_measured
from wbcbench.core import run_folder
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.core.trace import Channel, Kind
from wbcbench.core.window import (
    TRAIN,
    WindowEnergy,
    epoch,
    is_consecutive,
    is_validation,
)
from wbcbench.energy import thresholds
from wbcbench.energy.account import remake_attachment
from wbcbench.energy.appraise import ReviewedTrace, TraceReview, review_traces
from wbcbench.energy.faults import Flaw
from wbcbench.energy.phase import are_among
from wbcbench.energy.source import primary_source, source_gap_s, source_samples

_TOLERANCE = 0.02
_FEWEST_SAMPLES = 10
_CROSS_CHECK_PCT = 5.0
_LIMIT_TOLERANCE = 1.2
_KEPT = (Flaw.HIGH, Flaw.LATE)  # told, with a ± that holds them, and integrated as they were read

Curve = tuple[np.ndarray, np.ndarray]
"""Times in seconds, and joules since the first of them."""


@dataclass(frozen=True, slots=True)
class TraceCheck:
    """Results of reading a run's traces once.

    Attributes:
        channels: Names of the channels that have a trace.
        differences: Energies of the record that plain arithmetic does not confirm.
        disorder: Channels whose time goes backwards.
        faults: Stretches left out or bridged, where plain arithmetic follows wbcbench.
    """

    channels: tuple[str, ...]
    differences: tuple[str, ...]
    disorder: tuple[str, ...]
    faults: int


@cache_by_files
def check_traces(run: RunDir) -> TraceCheck:
    """Read a run's traces, integrate them, and look for disorder."""
    record, traces = run.read_own_record(), run.read_traces()
    review = review_traces(traces, record.windows)
    return TraceCheck(
        channels=tuple(trace.channel.name for trace in traces),
        differences=tuple(_integrate_again(record, review)),
        disorder=tuple(
            f"{run.run_id}: time goes backwards on {trace.channel.name}."
            for trace in traces
            if any(after <= before for before, after in pairwise(trace.t_s))
        ),
        faults=sum(fault.flaw not in _KEPT for fault in review.faults),
    )


def check_energies(bundle: Bundle) -> Outcome:
    """Energy integrated again: from every trace, by wbcbench and by plain trapezoids."""
    errors, warnings, windows, faults = list[str](), list[str](), 0, 0
    for run in bundle.finished_and_pilots:
        record = bundle.record(run)
        windows += len(record.energies)
        faults += check_traces(bundle, run).faults
        changed = [f"{run.run_id}: {d}." for d in compare_records(bundle, run) if is_measured(d)]
        errors += changed
        errors += check_traces(bundle, run).differences
        errors += [*_check_plausible(record), *_check_attachment(run, record)]
        warnings += _check_agreement(record)
    good = f"{windows} energies computed again from their traces."
    if faults:
        good += f" At {count_of(faults, 'sensor fault')}, plain arithmetic follows wbcbench."
    return report_outcome(good, errors, warnings)


def _integrate_again(record: RunRecord, review: TraceReview) -> Iterator[str]:
    curves = {each.trace.channel: _add_up(each) for each in review.traces}
    channels = {channel.name: channel for channel in curves}
    for energy in record.energies:
        if energy.energy_j is None or energy.samples < _FEWEST_SAMPLES:
            continue
        channel = channels.get(energy.channel)
        energy_j = _compute_energy(curves[channel], energy.window, record) if channel else None
        if energy_j is None:
            yield f"{record.run_id}: {energy.window} has energy on {energy.channel} but no trace."
            continue
        edges_j = _find_edges_j(curves[channel], energy, record, channel) if channel else 0.0
        allowed_j = max(_TOLERANCE * abs(energy_j), energy.uncertainty_j or 0.0, edges_j)
        if abs(energy.energy_j - energy_j) > allowed_j:
            yield (
                f"{record.run_id}: {energy.window} on {energy.channel} has {energy.energy_j:.1f} J "
                f"in the record; its trace gives {energy_j:.1f} J."
            )


def _find_edges_j(curve: Curve, energy: WindowEnergy, record: RunRecord, channel: Channel) -> float:
    """Joules that may lie on the other side of a window's edges, as late as a reading may be.

    A load often begins or ends at an edge: what one side drew says nothing of the other.
    """
    window, edge_s = record.window(energy.window), _edge_s(channel, energy)
    edges_s = (window.start_s, window.end_s) if window else ()
    beside = [np.interp((t_s - edge_s, t_s, t_s + edge_s), *curve) for t_s in edges_s]
    mean_j = 2 * abs(energy.mean_power_w or 0.0) * edge_s
    return max(mean_j, sum(float(np.abs(np.diff(read_j)).max()) for read_j in beside))


def _edge_s(channel: Channel | None, energy: WindowEnergy) -> float:
    """How far from a window's edge a reading may be: one poll, one update, one average."""
    periods_s = (channel.update_s, channel.averaging_s) if channel else ()
    return (energy.max_gap_s or 0.0) + sum(period_s or 0.0 for period_s in periods_s)


def _compute_energy(curve: Curve, name: str, record: RunRecord) -> float | None:
    """Energy of a window by numpy only, of several loops the mean.

    That of ``train`` is without the validation passes.
    """
    window = record.window(name)
    if window is None or len(curve[0]) < 2:
        return None
    passes = [w for w in record.windows if name == TRAIN and is_validation(w.name)]
    spans = [
        span for loop in record.loops for k, span in enumerate(loop.spans_s, 1) if epoch(k) == name
    ] or [(window.start_s, window.end_s)]
    counted_j = np.diff(np.interp(spans, *curve)).sum()
    passes_j = np.diff(np.interp([(w.start_s, w.end_s) for w in passes], *curve)).sum()
    shared_by = record.loop_count if name == TRAIN else len(spans)
    return float((counted_j - passes_j) / shared_by)


# Where a sensor was wrong is found by this program's own review, for plain arithmetic cannot know:
# readings that are none are left out, and across a counter's breaks the power beside it is added.
def _add_up(reviewed: ReviewedTrace) -> Curve:
    """Times of the readings, and joules since the first, by differences or trapezoids alone."""
    channel, curve = reviewed.trace.channel, reviewed.curve
    times, values = (np.asarray(series, dtype=np.float64) for series in reviewed.trace.good)
    is_believed = ~are_among(times, curve.strays_s)
    times, values = times[is_believed], values[is_believed]
    steps_j = np.diff(values, prepend=values[:1])
    if channel.kind is Kind.SAMPLED:
        return times, np.cumsum((values - 0.5 * steps_j) * np.diff(times, prepend=times[:1]))
    if channel.wrap_j:
        steps_j = np.where(steps_j < 0, steps_j + channel.wrap_j, steps_j)
    beside_j = np.zeros(len(times))
    if reviewed.pair and reviewed.pair.good[0]:
        beside_j = np.interp(times, *_add_up(replace(reviewed, trace=reviewed.pair)))
    for gap in (*curve.breaks, *curve.bridges):
        # A move belongs to the poll that saw it, which came up to a renewal after it.
        first, last = np.searchsorted(times, (gap.before_s, gap.after_s))
        across = slice(max(first - 1, 0), last + 2)
        steps_j[across] = np.diff(beside_j, prepend=beside_j[:1])[across]
    return times, np.cumsum(steps_j)


def _check_plausible(record: RunRecord) -> Iterator[str]:
    """Power above the part's limit, or training without energy.

    A counter that is updated once a second may put the energy of that second into a shorter window.
    """
    channels = {channel.name: channel for channel in record.channels}
    for energy in record.energies:
        channel, mean_w = channels.get(energy.channel), energy.mean_power_w
        limit_w = channel.limit_w if channel else None
        if limit_w and mean_w and energy.energy_j:
            length_s = energy.energy_j / mean_w + 2 * _edge_s(channel, energy)
            if energy.energy_j > _LIMIT_TOLERANCE * limit_w * length_s:
                yield (
                    f"{record.run_id}: {energy.window} drew {mean_w:.0f} W on {energy.channel}, "
                    f"whose limit is {limit_w:.0f} W."
                )
        if energy.window == TRAIN and energy.energy_j is not None and energy.energy_j <= 0:
            yield f"{record.run_id}: training used {energy.energy_j:g} J on {energy.channel}."


def _check_agreement(record: RunRecord) -> Iterator[str]:
    for agreement in record.agreements:
        is_counter = agreement.status not in {"cross-check", "inconclusive"}
        difference_pct = agreement.difference_pct
        if agreement.window == TRAIN and is_counter and abs(difference_pct) > _CROSS_CHECK_PCT:
            yield (
                f"{record.run_id}: counter and integral of {TRAIN} differ by "
                f"{difference_pct:.1f} %, more than {_CROSS_CHECK_PCT:g} %."
            )


def _check_attachment(run: RunDir, record: RunRecord) -> Iterator[str]:
    """An external meter's energy from its polls."""
    if not run.has_attachment:
        return
    path = run.path / run_folder.ATTACHED_TRACE
    if not path.is_file():
        yield f"{run.run_id}: an external meter is attached without its polls."
        return
    sides = run.read_attachment(), remake_attachment(run, record)
    stated, again = (
        to_plain([*map(asdict, side.energies), *map(asdict, side.budgets)])
        for side in sides
        if side
    )
    for difference in find_differences(stated, again):
        yield f"{run.run_id}: attached{difference}."


def check_samples(bundle: Bundle) -> Outcome:
    """Sampling dense enough: MLPerf's sixty readings, no long gap, increasing timestamps."""
    warnings, errors = list[str](), list[str]()
    for run in bundle.finished:
        record = bundle.record(run)
        errors += [*check_traces(bundle, run).disorder, *_check_overlaps(record)]
        if record.status == "done":
            warnings += _check_density(record)
    good = f"At least {thresholds.PRIMARY_SAMPLES:.0f} readings in every training, no long gap."
    return report_outcome(good, errors, warnings)


def _check_density(record: RunRecord) -> Iterator[str]:
    source = primary_source(record)
    samples = source_samples(record, source, TRAIN)
    gap_s = source_gap_s(record, source, TRAIN)
    train = record.window(TRAIN)
    if source is None or samples is None or train is None:
        yield f"{record.run_id}: no energy was read during training."
        return
    if samples < max(thresholds.PRIMARY_SAMPLES, train.duration_s * 0.9):
        yield f"{record.run_id}: {samples} readings in {train.duration_s:.0f} s of training."
    period_s = next((s.period_s for s in record.sampling if s.period_s), None) or 0.0
    longest_s = max(thresholds.GAP_PERIODS * period_s, thresholds.GAP_LEAST_S)
    if gap_s is not None and gap_s > longest_s:
        yield f"{record.run_id}: {gap_s:.1f} s without a reading during training."


def _check_overlaps(record: RunRecord) -> Iterator[str]:
    """Phases follow each other."""
    phases = sorted(
        (window for window in record.windows if is_consecutive(window.name)),
        key=lambda window: window.start_s,
    )
    for before, after in pairwise(phases):
        if after.start_s < before.end_s:
            yield f"{record.run_id}: {after.name} begins before {before.name} ends."
    if any(window.end_s < window.start_s for window in record.windows):
        yield f"{record.run_id}: a window ends before it begins."
