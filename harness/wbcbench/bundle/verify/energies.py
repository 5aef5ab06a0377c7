"""Checks of the energy: integrated again from every trace, sampled densely enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from itertools import pairwise

import numpy as np
from pydantic import JsonValue

from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.records import differences, differs_in_joules, record_departures
from wbcbench.core.record import RunRecord, attachment_from_json
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_consecutive, is_validation
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import appraise
from wbcbench.energy.source import primary_source, source_gap_s, source_samples

_TOLERANCE = 0.02
_FEWEST = 10
_COUNTER_APART_PCT = 5.0
_LIMIT_SLACK = 1.2


def check_energies(bundle: Bundle) -> Outcome:
    """Energy integrated again: from every trace, by this program and by plain trapezoids."""
    errors, warnings, windows = list[str](), list[str](), 0
    for run in (*bundle.finished, *(pilot for pilot in bundle.pilots if pilot.is_finished)):
        record = bundle.record(run)
        windows += len(record.energies)
        for path in filter(differs_in_joules, record_departures(bundle, run)):
            (errors if bundle.is_same_source else warnings).append(f"{run.run_id}: {path}.")
        found = _second_opinion(run, bundle.digest_of(run))
        errors += [*found, *_impossible(record), *_attached(run, record)]
        warnings += _witnesses(record)
    return outcome(f"{windows} joules of windows found again from their traces.", errors, warnings)


@lru_cache(maxsize=4096)
def _second_opinion(run: RunDir, digest: str) -> tuple[str, ...]:
    record = run.read_own_record()
    traces = {trace.channel.name: trace for trace in run.read_traces()}
    return tuple(_differing(run.run_id, record, traces))


def _differing(run_id: str, record: RunRecord, traces: dict[str, Trace]) -> Iterator[str]:
    for energy in record.energies:
        if energy.energy_j is None or energy.samples < _FEWEST:
            continue
        trace = traces.get(energy.channel)
        found_j = _joules(trace, energy.window, record) if trace else None
        if trace is None or found_j is None:
            yield f"{run_id}: {energy.window} has joules on {energy.channel} but no trace."
            continue
        edge_j = 2 * abs(energy.mean_power_w or 0.0) * _edge_s(trace.channel, energy)
        allowed = max(_TOLERANCE * abs(found_j), energy.uncertainty_j or 0.0, edge_j)
        if abs(energy.energy_j - found_j) > allowed:
            yield (
                f"{run_id}: {energy.window} on {energy.channel} is said to be "
                f"{energy.energy_j:.1f} J; its trace makes {found_j:.1f} J."
            )


def _edge_s(channel: Channel | None, energy: WindowEnergy) -> float:
    """How far from a window's edge a reading may speak of: one poll, one update, one average."""
    paces = (channel.update_s, channel.averaging_s) if channel else ()
    return (energy.max_gap_s or 0.0) + sum(pace or 0.0 for pace in paces)


def _joules(trace: Trace, window: str, record: RunRecord) -> float | None:
    """Joules of a window by numpy alone; those of ``train`` without the validation passes."""
    found = record.window(window)
    times, values = (np.asarray(each, dtype=np.float64) for each in trace.good)
    if found is None or len(times) < 2:
        return None
    whole_j = _between(trace, times, values, found)
    if window != TRAIN:
        return whole_j
    passes = [each for each in record.windows if is_validation(each.name)]
    return whole_j - sum(_between(trace, times, values, each) for each in passes)


def _between(trace: Trace, times: np.ndarray, values: np.ndarray, window: Window) -> float:
    edges = np.array([window.start_s, window.end_s])
    if trace.channel.kind is Kind.COUNTER:
        steps = np.diff(values, prepend=values[0])
        if trace.channel.wrap_j:
            steps = np.where(steps < 0, steps + trace.channel.wrap_j, steps)
        first, last = np.interp(edges, times, np.cumsum(steps))
        return float(last - first)
    inside = (times > edges[0]) & (times < edges[1])
    t_s = np.concatenate([edges[:1], times[inside], edges[1:]])
    return float(np.trapezoid(np.interp(t_s, times, values), t_s))


def _impossible(record: RunRecord) -> Iterator[str]:
    """More watts than the part's limit allows, or joules of training that are none.

    A counter that moves once a second may put the joules of that second into a shorter window.
    """
    channels = {channel.name: channel for channel in record.channels}
    for energy in record.energies:
        channel, mean_w = channels.get(energy.channel), energy.mean_power_w
        limit_w = channel.limit_w if channel else None
        if limit_w and mean_w and energy.energy_j:
            length_s = energy.energy_j / mean_w + 2 * _edge_s(channel, energy)
            if energy.energy_j > _LIMIT_SLACK * limit_w * length_s:
                yield (
                    f"{record.run_id}: {energy.window} drew {mean_w:.0f} W on {energy.channel}, "
                    f"whose limit is {limit_w:.0f} W."
                )
        if energy.window == TRAIN and energy.energy_j is not None and energy.energy_j <= 0:
            yield f"{record.run_id}: training took {energy.energy_j:g} J on {energy.channel}."


def _witnesses(record: RunRecord) -> Iterator[str]:
    for each in record.agreements:
        judged = each.window == TRAIN and each.status not in {"cross-check", "inconclusive"}
        if judged and abs(each.difference_pct) > _COUNTER_APART_PCT:
            yield (
                f"{record.run_id}: counter and integral of {TRAIN} differ by "
                f"{each.difference_pct:.1f} %, more than {_COUNTER_APART_PCT:g} %."
            )


def _attached(run: RunDir, record: RunRecord) -> Iterator[str]:
    """An external meter's joules from its polls."""
    if not run.has_attachment:
        return
    path = run.attachment_path
    found = attachment_from_json(path.read_bytes(), path.name)
    trace = run.read_attached_trace()
    if trace is None:
        yield f"{run.run_id}: an external meter is attached without its polls."
        return
    made = appraise([trace], record.windows)
    told: JsonValue = [asdict(each) for each in found.energies]
    again: JsonValue = [asdict(each) for each in made.energies]
    for said in differences(told, again):
        yield f"{run.run_id}: attached{said}."


def check_samples(bundle: Bundle) -> Outcome:
    """Sampling dense enough: MLPerf's sixty readings, no long gap, time that goes forward."""
    warnings, errors = list[str](), list[str]()
    for run in bundle.finished:
        record = bundle.record(run)
        errors += [*_clock(run, bundle.digest_of(run)), *_overlaps(record)]
        if record.status == "done":
            warnings += _sparse(record)
    least = thresholds.PRIMARY_SAMPLES
    return outcome(
        f"At least {least:.0f} readings in every training, no long gap.", errors, warnings
    )


def _sparse(record: RunRecord) -> Iterator[str]:
    who = primary_source(record)
    samples, gap_s = source_samples(record, who, TRAIN), source_gap_s(record, who, TRAIN)
    train = record.window(TRAIN)
    if who is None or samples is None or train is None:
        yield f"{record.run_id}: nothing was read while it trained."
        return
    if samples < max(thresholds.PRIMARY_SAMPLES, train.duration_s * 0.9):
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
