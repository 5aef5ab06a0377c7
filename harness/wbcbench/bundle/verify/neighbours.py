"""Whether the runs of a study can be different runs of the machines that they name.

No two measurements are alike: a copy that was changed a little still moves when its original does.
And a board is one board: its counter goes on from run to run, its two readings agree alike in all,
and what it draws idle does not depend on the network that will be trained.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.bundle.open import Predictions, read_predictions
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.sensors import find_power_w
from wbcbench.bundle.verify.training import CONTENDED
from wbcbench.core import window
from wbcbench.core.lazy import LazySequence
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.core.trace import Domain, Kind, Origin
from wbcbench.core.units import pct_from_share
from wbcbench.stats.tests import claim_p

_COMPARED, _FEWEST, _CHUNK = 2048, 150, 256
ALIKE = 0.6  # of moves, those in the same direction less those in the other
_PACE_S, SAME_PACE = 5e-5, 0.95
"""Polls are late by tens of microseconds, never twice by the same."""
SAME_OUTPUTS = 0.96
_IMAGES, _LEAST_SPREAD, _LEAST = 256, 0.05, 1e-30
_APART_PCT, _DEPTHS, _READINGS = 3.0, 2.0, 50
_FAULTS = ("counter-", "power-", "heartbeat-", "reads-", "polls-", "sampling-", "window-")
_MOST_POWER, _MARGIN_S, _BROKEN = 1.5, 60.0, 3
_FASTER, _PEERS = 4.0, 3
_IDLE_SHARE, _RARE, _NEVER = 0.03, 1e-3, 1e-5

Vector = NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class Signature:
    """What of one run is compared with the others.

    Attributes:
        moves: −1, 0 or 1 for each step of the board's power reading.
        pace: A direction for each time between two polls; it turns once in ``_PACE_S``.
        outputs: −1 or 1 for each output of some test images, by the median of the image's class.
        images: Digest of which images these are.
        idle_w: Power before the trainer starts, by channel.
        counts_j: Counter and board → first and last reading, each with its moment.
    """

    moves: Vector
    pace: Vector
    outputs: Vector
    images: str
    idle_w: Mapping[str, float]
    counts_j: Mapping[tuple[str, str], tuple[float, float, float, float]]


@cache_by_files
def take_signature(run: RunDir) -> Signature:
    """Read a run's traces and predictions for what is compared with other runs."""
    record, path = run.read_own_record(), run.predictions_path
    traces = [trace for trace in run.read_traces() if trace.good[0]]
    sensors = [trace for trace in traces if trace.channel.origin is Origin.MEASURED]
    power = [t for t in sensors if (t.channel.kind, t.channel.domain) == (Kind.SAMPLED, Domain.GPU)]
    moves = np.sign(np.diff(power[0].good[1][:_COMPARED])) if power else np.zeros(0)
    turns = np.diff(sensors[0].t_s[:_COMPARED]) / _PACE_S if sensors else np.zeros(0)
    table = read_predictions(path) if path.is_file() else None
    idle = record.window(window.IDLE_COLD)
    powers = {t.channel.name: find_power_w(t, idle) for t in traces} if idle else {}
    return Signature(
        moves.astype(np.complex64),
        np.exp(2j * math.pi * turns).astype(np.complex64),
        _take_outputs(table) if table else np.zeros(0, np.complex64),
        hashlib.sha256("".join(table.image_sha256).encode()).hexdigest() if table else "",
        {name: power_w for name, power_w in powers.items() if power_w},
        {
            (t.channel.name, t.channel.device): (times[0], values[0], times[-1], values[-1])
            for t in sensors
            if t.channel.kind is Kind.COUNTER and t.channel.device
            for times, values in [t.good]
        },
    )


def _take_outputs(table: Predictions) -> Vector:
    """By signs no single image counts more than another, however sure of it a network is."""
    every = max(1, len(table.y_true) // _IMAGES)
    labels = np.asarray(table.y_true[::every])
    odds = np.log(np.maximum(table.probabilities[::every], _LEAST))
    odds -= odds.mean(axis=1, keepdims=True)
    for label in set(labels.tolist()):
        odds[labels == label] -= np.median(odds[labels == label], axis=0)
    has_spread = float(np.median(np.abs(odds))) >= _LEAST_SPREAD  # not where any is NaN
    return np.sign(odds).ravel().astype(np.complex64) if has_spread else np.zeros(0, np.complex64)


def check_neighbours(bundle: Bundle) -> Outcome:
    """Runs differ: no trace or prediction is another's; a board's readings fit between its runs."""
    runs = bundle.finished_and_pilots
    records = LazySequence[RunRecord](bundle.record, runs)
    signatures = [take_signature(bundle, run) for run in runs]
    broken = [*_compare_counters(records, signatures)]
    is_rule = len(broken) >= _BROKEN  # one may be a counter's fault, or a clock that was set
    errors = [
        *_find_copies(records, signatures),
        *_compare_agreements(records),
        *_compare_speeds(records),
        *(broken if is_rule else ()),
    ]
    warnings = list[str]() if is_rule else broken
    for problem, is_certain in _compare_idle(records, signatures):
        (errors if is_certain else warnings).append(problem)
    return report_outcome(f"{count_of(len(runs), 'run')}, none like another.", errors, warnings)


def _find_copies(records: Sequence[RunRecord], signatures: Sequence[Signature]) -> Iterator[str]:
    """Runs whose readings, polls or outputs go together as those of one run do."""
    told = [(r.run_id, r.spec.seed, not {w.code for w in r.warnings} & CONTENDED) for r in records]

    def find(what: str, least: float, vectors: Sequence[Vector], *, seeds: bool) -> Iterator[str]:
        for one, other in find_alike(vectors, least):
            run_id, seed, is_apart = told[one]
            others_id, others_seed, is_other_apart = told[other]
            if seed != others_seed if seeds else is_apart or is_other_apart:
                yield f"{others_id} has {what} of {run_id}, changed a little."

    yield from find("the power readings", ALIKE, [s.moves for s in signatures], seeds=False)
    yield from find("the times of polls", SAME_PACE, [s.pace for s in signatures], seeds=False)
    for images in sorted({s.images for s in signatures}):
        outputs = [s.outputs if s.images == images else s.outputs[:0] for s in signatures]
        yield from find("the predictions", SAME_OUTPUTS, outputs, seeds=True)
    first = dict[Hashable, tuple[str, int]]()
    for record in records:
        for what, name in (("loss", "loss"), ("length", "end_s")):
            values = [
                getattr(epoch, name) if name == "loss" else round(epoch.end_s - epoch.start_s, 5)
                for epoch in record.epochs
            ]
            own = record.run_id, record.spec.seed
            other = first.setdefault((what, *values), own) if len(set(values)) > 1 else own
            if other[0] != own[0] and (what, other[1]) != ("loss", own[1]):
                yield f"{own[0]} has the {what} of each epoch of {other[0]}."


def find_alike(
    vectors: Sequence[Vector], least: float, lags: Sequence[int] = (0,)
) -> Iterator[tuple[int, int]]:
    """Pairs that agree as a mean over the places where both say something.

    Args:
        vectors: Of runs; short ones are left out.
        least: How far they must agree.
        lags: By how many places the second of a pair may have been shifted.
    """
    places = [i for i, vector in enumerate(vectors) if len(vector) >= _FEWEST]
    table = np.zeros((len(places), max((len(vectors[i]) for i in places), default=0)), np.complex64)
    for row, i in zip(table, places, strict=True):
        row[: len(vectors[i])] = vectors[i]
    told = np.abs(table).round().astype(np.float32)
    width = table.shape[1]
    for start in range(0, len(places), _CHUNK):
        own = slice(start, start + _CHUNK)
        alike = np.zeros((len(table[own]), len(places)), bool)
        for lag in lags:
            first = slice(max(lag, 0), width + min(lag, 0))
            second = slice(max(-lag, 0), width - max(lag, 0))
            both = told[own, first] @ told[:, second].T
            agree = (table[own, first] @ table[:, second].conj().T).real
            alike |= (both >= _FEWEST) & (agree > least * both)
        pairs = np.argwhere(np.triu(alike, start + 1))
        yield from ((places[start + a], places[b]) for a, b in pairs.tolist())


def _compare_agreements(records: Sequence[RunRecord]) -> Iterator[str]:
    """A board's counter and its power reading lie equally far apart in all runs."""
    groups = defaultdict[Any, list[tuple[str, float, float]]](list)
    for record in records:
        devices = {channel.name: channel.device for channel in record.channels}
        has_fault = any(warning.code.startswith(_FAULTS) for warning in record.warnings)
        for pair in record.agreements if record.status == "done" and not has_fault else ():
            is_deep = pair.depth_pct is not None and pair.readings >= _READINGS
            if pair.window == window.TRAIN and pair.status != "cross-check" and is_deep:
                key = (pair.a, pair.b, devices.get(pair.a), record.spec.power_limit_w)
                groups[key].append((record.run_id, pair.difference_pct, pair.depth_pct or 0.0))
    for (counter, power, *_), group in groups.items():
        usual_pct = _find_medians_of_others([apart_pct for _, apart_pct, _ in group])
        for (run_id, apart_pct, depth_pct), others_pct in zip(group, usual_pct, strict=False):
            if abs(apart_pct - others_pct) > max(_APART_PCT, _DEPTHS * depth_pct):
                yield (
                    f"{run_id}: {counter} lies {apart_pct:+.1f} % off {power}, in the other "
                    f"runs {others_pct:+.1f} %."
                )


def _find_medians_of_others(values: Sequence[float]) -> list[float]:
    """For each value the median of all the others; empty where there are none."""
    if len(values) < 2:
        return []
    ordered, count = sorted(values), len(values)
    middle = (count - 1) // 2, (count - 2) // 2  # of those that are left, by their order
    places = {value: place for place, value in enumerate(ordered)}
    return [fmean(ordered[m + (m >= places[value])] for m in middle) for value in values]


def _compare_speeds(records: Sequence[RunRecord]) -> Iterator[str]:
    """One network, one machine: inference does not go several times as fast in one run."""
    groups = defaultdict[Any, list[tuple[str, float]]](list)
    for record in records:
        spec, spans = record.spec, {each.name: each.duration_s for each in record.windows}
        if record.status != "done" or {w.code for w in record.warnings} & CONTENDED:
            continue
        way = (spec.image_size, spec.precision, spec.xla, spec.threads, spec.tuned)
        where = (record.provenance.get("host_id"), record.device, spec.power_limit_w)
        flops = record.model.flops_per_image if record.model else None
        for each in record.inference:
            if spans.get(each.window):
                key = (each.window, flops, spec.deterministic, *way, *where)
                groups[key].append((record.run_id, each.images / spans[each.window]))
    for (name, *_), group in groups.items():
        rates = [rate for _, rate in group]
        usual = _find_medians_of_others(rates) if len(group) > _PEERS else []
        for (run_id, rate), others_rate in zip(group, usual, strict=False):
            if rate > _FASTER * others_rate:
                yield (
                    f"{run_id}: {name} went through {rate:,.0f} images a second, in the other "
                    f"runs {others_rate:,.0f}."
                )


def _compare_counters(
    records: Sequence[RunRecord], signatures: Sequence[Signature]
) -> Iterator[str]:
    """A board's counter goes on between two runs of a boot, or starts again at nothing in between.

    By the monotonic clock, for a wall clock may be set between them.
    """
    boards = defaultdict[Any, list[tuple[float, float, float, float, str, float]]](list)
    for record, signature in zip(records, signatures, strict=True):
        facts = record.provenance
        limits_w = {channel.name: channel.limit_w for channel in record.channels}
        for key, (start_s, start_j, end_s, end_j) in signature.counts_j.items():
            if facts.get("boot_id") and (limit_w := limits_w.get(key[0])):
                place = str(facts.get("host_id")), str(facts["boot_id"])
                row = (start_s, start_j, end_s, end_j, record.run_id, limit_w)
                boards[(*key, *place)].append(row)
    for (name, *_), rows in boards.items():
        for (_, _, end_s, end_j, _, _), (start_s, start_j, _, _, run_id, limit_w) in pairwise(
            sorted(rows)
        ):
            if start_s > end_s:
                most_j = _MOST_POWER * limit_w * (start_s - end_s + _MARGIN_S)
                if start_j > most_j and not 0 <= start_j - end_j <= most_j:
                    yield (
                        f"{run_id}: {name} begins at {start_j:,.0f} J, {start_s - end_s:,.0f} s "
                        f"after it stood at {end_j:,.0f} J."
                    )


def _compare_idle(
    records: Sequence[RunRecord], signatures: Sequence[Signature]
) -> Iterator[tuple[str, bool]]:
    """Before it starts, a board does not know which network comes; each with how certain it is.

    Compared within blocks, so that days and seasons do not count; a variant that stands at one
    place of every block may always follow a pause.
    """
    blocks = defaultdict[Any, dict[str, float]](dict)
    places = defaultdict[str, set[int]](set)
    for record, signature in zip(records, signatures, strict=True):
        spec = record.spec
        places[spec.variant].add(spec.order_in_block)
        for channel in record.channels if spec.block else ():
            power_w = signature.idle_w.get(channel.name)
            if power_w and channel.origin is not Origin.SIMULATED:
                key = (channel.name, channel.device, spec.block, spec.block_attempt)
                blocks[key][spec.variant] = math.log(power_w)
    apart = defaultdict[tuple[str, str], list[float]](list)
    for (name, *_), powers in blocks.items():
        for variant, log_w in powers.items():
            if len(powers) > 1:
                others = [each for own, each in powers.items() if own != variant]
                apart[name, variant].append(log_w - median(others))
    for (name, variant), shares in apart.items():
        mean, count = fmean(shares), len(shares)
        if count < 3 or abs(mean) < _IDLE_SHARE or len(places[variant]) < 2:
            continue
        chance = claim_p(np.copysign(1.0, mean) * np.array(shares), 0.0, None)  # by Student's t
        if chance is not None and chance < _RARE:
            more = f"{pct_from_share(math.expm1(mean)):+.1f} %"
            yield f"{name} draws {more} idle before {variant} is trained.", chance < _NEVER
