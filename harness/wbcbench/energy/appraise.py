"""What traces say of windows: joules, budgets, agreement, faults, the idle baseline.

The one way from readings to stated joules, for runs, for ``monitor`` and for other people's code.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import fmean

from wbcbench.core.arrays import as_array, np, to_floats
from wbcbench.core.board_state import BoardSample, Telemetry, summarise_window
from wbcbench.core.cpu_load import CpuLoad, CpuSample, summarise_load
from wbcbench.core.record import Agreement, Budget, RunRecord, TrainingLoop
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.window import (
    IDLE_AFTER,
    IDLE_BEFORE,
    TRAIN,
    Window,
    WindowEnergy,
    epoch,
    is_for_bill,
    is_validation,
)
from wbcbench.energy import thresholds
from wbcbench.energy.cross_check import agreements, compare_traces
from wbcbench.energy.delay import Delay, find_delay, move, span_work, undo_delay, widen
from wbcbench.energy.faults import (
    Fault,
    Flaw,
    find_breaks,
    find_pair,
    refuse_unread,
    review_sensors,
)
from wbcbench.energy.integrate import EnergyCurve, energy_curve, list_gaps, window_energy
from wbcbench.energy.metrics import scale, sum_if_all_known
from wbcbench.energy.renewals import median_step_s
from wbcbench.energy.uncertainty import Beside, Sensor, describe_sensor, uncertainty_budget

MOST_UNSEEN = 0.05  # of a training: validation passes that are taken at its mean power


@dataclass(frozen=True, slots=True)
class ReviewedTrace:
    """A trace as joules are worked out from it.

    Attributes:
        trace: Good readings alone, each at the time that it is of.
        within_limit: The same without those above the limit.
        beside: The power reading beside a counter.
        sensor: What is known of the sensor.
    """

    trace: Trace
    within_limit: Trace
    beside: Beside | None
    sensor: Sensor

    @property
    def pair(self) -> Trace | None:
        """The trace of the power beside a counter."""
        return self.beside.trace if self.beside else None

    @property
    def curve(self) -> EnergyCurve:
        """The cumulative joules of which those of a window are a difference."""
        return energy_curve(self.trace, self.pair)


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What is asked of a trace once its joules are known.

    Attributes:
        channel: What was read.
        polls: How often.
        last_s: When for the last time; ``None`` if never.
        step_s: Median time between polls.
        lost_s: Times of the reads that failed.
        gaps: Where good readings are too far apart.
        sensor: What is known of the sensor.
    """

    channel: Channel
    polls: int
    last_s: float | None
    step_s: float
    lost_s: Sequence[float]
    gaps: Sequence[tuple[float, float]]
    sensor: Sensor

    @classmethod
    def of(cls, trace: Trace) -> TraceFacts:
        """Those of a trace."""
        times, values = as_array(trace.t_s), as_array(trace.value)
        return cls(
            trace.channel,
            len(times),
            float(times[-1]) if len(times) else None,
            median_step_s(trace.t_s),
            to_floats(times[np.isnan(values)]),
            list_gaps(trace),
            describe_sensor(trace),
        )


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What the traces say of the windows.

    Attributes:
        energies: Joules of every window on every channel, by window; ``None`` with a reason
            where the trace cannot say or a fault spoils it.
        budgets: Where their uncertainty comes from; none for unknown joules.
        agreements: How the readings of each part agree, in each window and in all that was read.
        faults: Where a sensor was wrong.
        traces: What is asked of the traces besides, one each.
        reviewed: What the joules were worked out from, one a trace; none where they go by parts.
    """

    energies: tuple[WindowEnergy, ...]
    budgets: tuple[Budget, ...]
    agreements: tuple[Agreement, ...]
    faults: tuple[Fault, ...]
    traces: tuple[TraceFacts, ...]
    reviewed: tuple[ReviewedTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceReview:
    """The traces in their order, how they agree in all that was read, where sensors were wrong."""

    traces: tuple[ReviewedTrace, ...]
    checks: tuple[Agreement, ...]
    faults: tuple[Fault, ...]


def appraise(
    traces: Sequence[Trace],
    windows: Sequence[Window],
    work: Window | None = None,
    loops: Sequence[TrainingLoop] = (),
) -> Appraisal:
    """State the joules of every window on every trace, and how far they can be trusted.

    Args:
        traces: All that was read.
        windows: The spans to judge.
        work: From the start to the end of all that was measured, of which they may be parts: its
            ends show how late a reading is. ``None``: from the first of them to the last.
        loops: Trainings in ``train``: the joules of an epoch are the mean of theirs.
    """
    review = review_traces(traces, windows, work)
    stated = _state_windows([(traces, review)], windows, loops)
    return replace(stated, reviewed=review.traces)


def appraise_parts(
    parts: Iterable[Sequence[Trace]],
    windows: Sequence[Window],
    order: Sequence[Channel],
    loops: Sequence[TrainingLoop] = (),
) -> Appraisal:
    """The same of the traces of one part of the machine after the other, of which none is kept.

    ``order`` is that of the channels in what comes out.
    """
    names = [channel.name for channel in order]
    return _state_windows(_review(parts, windows), windows, loops, names)


def _review(
    parts: Iterable[Sequence[Trace]], windows: Sequence[Window]
) -> Iterator[tuple[Sequence[Trace], TraceReview]]:
    for traces in parts:
        yield traces, review_traces(traces, windows)
        del traces


def _state_windows(
    reviews: Iterable[tuple[Sequence[Trace], TraceReview]],
    windows: Sequence[Window],
    loops: Sequence[TrainingLoop],
    order: Sequence[str] = (),
) -> Appraisal:
    facts, rows = list[TraceFacts](), list[list[tuple[WindowEnergy, Budget | None]]]()
    checks, faults = list[Agreement](), list[Fault]()
    is_run = any(window.name == TRAIN for window in windows)
    repeats = _list_repeats(loops)
    for traces, review in reviews:
        checks += review.checks
        faults += review.faults
        facts += map(TraceFacts.of, traces)
        rows += [
            [
                _mean([_state_window(each, w, is_run=is_run) for w in (own, *repeats[own.name])])
                for own in windows
            ]
            for each in review.traces
        ]
        del traces, review  # before the next are read
    if order:
        places = sorted(range(len(facts)), key=lambda i: order.index(facts[i].channel.name))
        facts, rows = [facts[i] for i in places], [rows[i] for i in places]
        checks.sort(key=lambda check: order.index(check.a))
    by_window = [energy for row in zip(*rows, strict=True) for energy, _ in row]
    known = [b for row in zip(*rows, strict=True) for _, b in row if b is not None]
    return Appraisal(
        tuple(by_window),
        with_baseline(known, by_window, windows),
        (*agreements([each.channel for each in facts], by_window), *checks),
        tuple(faults),
        tuple(facts),
    )


def _list_repeats(loops: Sequence[TrainingLoop]) -> dict[str, list[Window]]:
    """The windows of each epoch in the loops after the first, which has its own."""
    repeats: dict[str, list[Window]] = defaultdict(list)
    for loop in loops[1:]:
        for index, span_s in enumerate(loop.spans_s, 1):
            repeats[epoch(index)].append(Window(epoch(index), *span_s))
    return repeats


def _mean(
    stated: Sequence[tuple[WindowEnergy, Budget | None]],
) -> tuple[WindowEnergy, Budget | None]:
    """The mean of repeated windows; what their edges leave open is independent."""
    (first, budget), *others = stated
    if not others:
        return first, budget
    energies = [energy for energy, _ in stated]
    known_j = [energy.energy_j for energy in energies if energy.energy_j is not None]
    if len(known_j) < len(stated):
        reason = next(f"in a loop: {e.reason}" for e in energies if e.energy_j is None)
        unknown = replace(first, energy_j=None, mean_power_w=None, uncertainty_j=None)
        return replace(unknown, reason=reason), None
    budgets = [each for _, each in stated if each is not None]
    joined = None  # as for one window of a model
    if len(budgets) == len(stated):
        joined = _scale_budget(_add_budgets(budgets), 1 / len(stated))
    lengths_s = [e.energy_j / e.mean_power_w for e in energies if e.energy_j and e.mean_power_w]
    energy_j = fmean(known_j)
    mean = replace(
        first,
        energy_j=energy_j,
        uncertainty_j=joined.total_j if joined else None,
        mean_power_w=energy_j / fmean(lengths_s) if len(lengths_s) == len(stated) else None,
        samples=sum(energy.samples for energy in energies),
        max_gap_s=max((e.max_gap_s for e in energies if e.max_gap_s is not None), default=None),
    )
    return mean, joined


def _state_window(
    reviewed: ReviewedTrace, window: Window, *, is_run: bool
) -> tuple[WindowEnergy, Budget | None]:
    """The joules of a window with their ±, and where that comes from."""
    # A validation pass is short, and is taken out of ``train`` with its ±, however wide; and
    # the parts of a bill add up.
    is_part = is_validation(window.name) or is_for_bill(window.name)
    share = 1.0 if is_run and is_part else thresholds.COVERED_SHARE
    trace, pair = reviewed.trace, reviewed.pair
    energy = window_energy(trace, window, pair)
    energy = refuse_unread(energy, trace, window, pair, share)
    budget = uncertainty_budget(trace, window, energy, reviewed.sensor, reviewed.beside)
    if budget and reviewed.within_limit is not trace:
        budget = _add_excess(budget, energy, window_energy(reviewed.within_limit, window))
    return replace(energy, uncertainty_j=budget.total_j if budget else None), budget


def appraise_run(traces: Sequence[Trace], record: RunRecord) -> Appraisal:
    """What traces say of the windows of ``record``, as records and attachments have it."""
    appraisal = appraise(traces, record.windows, loops=record.loops)
    return state_one_training(appraisal, record.windows, record.spec, record.loops)


# The window ``train`` reaches from the first training step to the end of the last. What the
# validation passes inside it cost is in their own windows and is taken out here, so that a run with
# more or longer validation does not look more expensive to train. Of several loops, one training
# costs an equal share of what is left.
def state_one_training(
    appraisal: Appraisal,
    windows: Sequence[Window],
    spec: RunSpec | None,
    loops: Sequence[TrainingLoop],
) -> Appraisal:
    """The same with the joules of one training, without validation, for ``train``.

    A program that was measured (without a spec, or with one that says so) may call its windows as
    it likes.
    """
    if spec is None or spec.is_program:
        return appraisal
    energies = remove_validation(appraisal.energies, windows)
    budgets = remove_validation_from_budgets(appraisal.budgets, windows)
    share = 1 / max(len(loops), 1)
    return replace(
        appraisal,
        energies=tuple(_scale_energy(e, share) if e.window == TRAIN else e for e in energies),
        budgets=tuple(_scale_budget(b, share) if b.window == TRAIN else b for b in budgets),
    )


def _scale_energy(energy: WindowEnergy, share: float) -> WindowEnergy:
    """A share of the joules; the power and what was read stay."""
    return replace(
        energy,
        energy_j=scale(energy.energy_j, share),
        uncertainty_j=scale(energy.uncertainty_j, share),
    )


def _scale_budget(budget: Budget, share: float) -> Budget:
    return replace(
        budget,
        quantisation_j=share * budget.quantisation_j,
        edges_j=share * budget.edges_j,
        sampling_j=share * budget.sampling_j,
        total_j=scale(budget.total_j, share),
        gain_j=scale(budget.gain_j, share),
        baseline_j=scale(budget.baseline_j, share),
    )


def _add_budgets(budgets: Sequence[Budget]) -> Budget:
    """Independent parts add in squares; the gain is that of one sensor."""
    totals_j = [budget.total_j for budget in budgets if budget.total_j is not None]
    return replace(
        budgets[0],
        quantisation_j=math.hypot(*(budget.quantisation_j for budget in budgets)),
        edges_j=math.hypot(*(budget.edges_j for budget in budgets)),
        sampling_j=math.hypot(*(budget.sampling_j for budget in budgets)),
        total_j=math.hypot(*totals_j) if len(totals_j) == len(budgets) else None,
        gain_j=sum_if_all_known([budget.gain_j for budget in budgets]),
        baseline_j=sum_if_all_known([budget.baseline_j for budget in budgets]),
    )


def review_traces(
    traces: Sequence[Trace], windows: Sequence[Window], work: Window | None = None
) -> TraceReview:
    """What the joules of windows are worked out from, and what is wrong with it; see ``appraise``.

    Whoever shows a curve or a reading beside stated joules takes it from here.
    """
    sound = review_sensors([*map(undo_delay, traces)])
    sensors = [describe_sensor(trace) for trace in sound.traces]
    work = work or span_work(windows)
    delays = [*map(find_delay, sound.traces, repeat(work), sensors)]
    moved = [*map(move, sound.traces, delays)]
    limited = [*map(move, sound.within_limit, delays)]
    widened = [*map(widen, sensors, delays)]
    checks = tuple(_compare_all(moved))
    reviewed = tuple(
        ReviewedTrace(trace, within_limit, _find_beside(trace, moved, widened, checks), sensor)
        for trace, within_limit, sensor in zip(moved, limited, widened, strict=True)
    )
    late = _find_late(sound.traces, work, delays)
    return TraceReview(reviewed, checks, (*sound.faults, *find_breaks(moved), *late))


def _find_late(
    traces: Sequence[Trace], work: Window | None, delays: Sequence[Delay]
) -> Iterator[Fault]:
    """Power readings that answered late, or seemed to: a load that merely goes on may look so."""
    for trace, delay in zip(traces, delays, strict=True):
        if work and delay.seen_s > 0:
            how = "rose as late, and was moved" if delay.shift_s else "rose otherwise"
            detail = f"it stayed up for {delay.seen_s:.1f} s after the end, and {how}"
            name, end_s = trace.channel.name, work.end_s + delay.seen_s
            yield Fault(Flaw.LATE, name, work.start_s, end_s, detail)


def _find_beside(
    trace: Trace, traces: Sequence[Trace], sensors: Sequence[Sensor], checks: Sequence[Agreement]
) -> Beside | None:
    """The power reading beside a counter, and by how much it differs where both were read."""
    pair = _find_power(trace, traces)
    if pair is None:
        return None
    apart_pct = [abs(check.difference_pct) for check in checks if check.a == trace.channel.name]
    apart = min(max([thresholds.AGREE_PCT, *apart_pct]) / 100, 1.0)
    return Beside(pair, sensors[traces.index(pair)], apart)


def _find_power(trace: Trace, traces: Sequence[Trace]) -> Trace | None:
    """The power reading beside a counter."""
    return find_pair(trace, traces) if trace.channel.kind is Kind.COUNTER else None


def _compare_all(traces: Sequence[Trace]) -> Iterator[Agreement]:
    """Every measured counter against its integral, over all that was read."""
    for trace in traces:
        pair = _find_power(trace, traces)
        if pair and not (trace.channel.origin.is_estimated or pair.channel.origin.is_estimated):
            check = compare_traces(trace, pair)
            if check is not None:
                yield check


def _add_excess(budget: Budget, energy: WindowEnergy, within_limit: WindowEnergy) -> Budget:
    """A budget that holds what readings above the limit add, for they may be wrong."""
    excess_j = (energy.energy_j or 0.0) - (within_limit.energy_j or 0.0)
    return replace(
        budget,
        sampling_j=math.hypot(budget.sampling_j, excess_j),
        total_j=None if budget.total_j is None else math.hypot(budget.total_j, excess_j),
    )


def telemetry_by_window(
    logs: Iterable[tuple[str, Sequence[BoardSample]]], windows: Sequence[Window]
) -> list[Telemetry]:
    """What each board did in each window, from its samples; one log is read after the other."""
    rows = [[summarise_window(device, log, w) for w in windows] for device, log in logs]
    return [state for states in zip(*rows, strict=True) for state in states if state is not None]


def cpu_loads_by_window(
    samples: Sequence[CpuSample] | None, windows: Sequence[Window]
) -> tuple[CpuLoad, ...]:
    """Who else took the processor time in each window; empty where nobody asked."""
    cores = max((sample.cores for sample in samples or ()), default=None)
    return tuple(summarise_load(samples, w, cores) for w in windows) if samples is not None else ()


def remove_validation(
    energies: Iterable[WindowEnergy], windows: Sequence[Window]
) -> tuple[WindowEnergy, ...]:
    """The same energies, with the validation passes taken out of ``train``."""
    energies, lengths_s = tuple(energies), _list_passes(windows)
    passes = [energy for energy in energies if energy.window in lengths_s]
    steps_s = steps_duration_s(windows)

    def remove(train: WindowEnergy) -> WindowEnergy:
        own = [each for each in passes if each.channel == train.channel]
        return _remove_passes(train, _estimate_passes(train, own, lengths_s, steps_s), steps_s)

    return tuple(remove(each) if each.window == TRAIN else each for each in energies)


def _estimate_passes(
    train: WindowEnergy,
    passes: Sequence[WindowEnergy],
    lengths_s: Mapping[str, float],
    steps_s: float | None,
) -> Sequence[WindowEnergy]:
    """The passes that a model, which is asked once a second, did not see, at its mean power.

    A model has no uncertainty to widen, and they are few beside the training.
    """
    unseen_s = sum(lengths_s[each.window] for each in passes if each.energy_j is None)
    is_model = train.energy_j is not None and train.uncertainty_j is None
    if not is_model or not steps_s or unseen_s > MOST_UNSEEN * steps_s:
        return passes
    power_w = train.mean_power_w or 0.0
    return [
        replace(each, energy_j=power_w * lengths_s[each.window]) if each.energy_j is None else each
        for each in passes
    ]


def _list_passes(windows: Sequence[Window]) -> dict[str, float]:
    """Seconds of each validation pass; one that a kill left without a length is in no joules."""
    passes = (window for window in windows if is_validation(window.name))
    return {window.name: window.duration_s for window in passes if window.duration_s > 0}


def _remove_passes(
    train: WindowEnergy, passes: Sequence[WindowEnergy], steps_s: float | None
) -> WindowEnergy:
    known = [item.energy_j for item in passes if item.energy_j is not None]
    energy_j = None if train.energy_j is None else train.energy_j - sum(known)
    if energy_j is None or energy_j < 0 or not steps_s or len(known) < len(passes):
        reasons = filter(None, (item.reason for item in (train, *passes)))
        reason = next(reasons, "without validation nothing of it is left")
        return replace(train, energy_j=None, mean_power_w=None, uncertainty_j=None, reason=reason)
    # Errors at different edges are independent: they add in squares.
    widths_j = [item.uncertainty_j for item in (train, *passes) if item.uncertainty_j is not None]
    return replace(
        train,
        energy_j=energy_j,
        mean_power_w=energy_j / steps_s,
        uncertainty_j=math.hypot(*widths_j) if len(widths_j) > len(passes) else None,
        samples=train.samples - sum(item.samples for item in passes),
    )


def remove_validation_from_budgets(
    budgets: Iterable[Budget], windows: Sequence[Window]
) -> tuple[Budget, ...]:
    """The same budgets, with that of ``train`` fitting its energy without the validation passes.

    A channel whose passes are not all known has no such energy, and so no budget for it.
    """
    budgets = tuple(budgets)
    passes = _list_passes(windows)
    durations = {window.name: window.duration_s for window in windows}
    result = list[Budget]()
    for budget in budgets:
        if budget.window != TRAIN:
            result.append(budget)
            continue
        parts = [b for b in budgets if b.channel == budget.channel and b.window in passes]
        if len(parts) == len(passes):
            share = 1 - sum(passes.values()) / durations[TRAIN]
            result.append(_remove_budgets(budget, parts, share))
    return tuple(result)


def _remove_budgets(train: Budget, passes: Sequence[Budget], share: float) -> Budget:
    """Independent parts add in squares; gain and baseline go with joules and seconds."""
    budgets = [train, *passes]
    quantisation_j = math.hypot(*(budget.quantisation_j for budget in budgets))
    edges_j = math.hypot(*(budget.edges_j for budget in budgets))
    sampling_j = math.hypot(*(budget.sampling_j for budget in budgets))
    gain_j = sum(budget.gain_j for budget in passes if budget.gain_j is not None)
    return replace(
        train,
        quantisation_j=quantisation_j,
        edges_j=edges_j,
        sampling_j=sampling_j,
        total_j=None if train.total_j is None else math.hypot(quantisation_j, edges_j, sampling_j),
        gain_j=None if train.gain_j is None else train.gain_j - gain_j,
        baseline_j=None if train.baseline_j is None else train.baseline_j * share,
    )


def steps_duration_s(windows: Sequence[Window]) -> float | None:
    """Seconds of ``train``, of all its loops, without validation; ``None`` without training."""
    train = next((window for window in windows if window.name == TRAIN), None)
    if train is None:
        return None
    return train.duration_s - sum(w.duration_s for w in windows if is_validation(w.name))


# Joules above idle are joules as measured minus the mean idle power before and after times the
# duration. The baseline is uncertain by its own windows' uncertainty and by its drift between them.
@dataclass(frozen=True, slots=True)
class Idle:
    """Mean power of one idle window, and its half-width at 95 %."""

    power_w: float
    uncertainty_w: float


def find_idle(
    energies: Iterable[WindowEnergy], windows: Sequence[Window], channel: str, names: Sequence[str]
) -> Idle | None:
    """The idle power in the first of the named windows that is known on a channel."""
    durations = {window.name: window.duration_s for window in windows}
    known = {
        e.window: Idle(e.mean_power_w, e.uncertainty_j / durations[e.window])
        for e in energies
        if e.channel == channel and e.mean_power_w is not None and e.uncertainty_j is not None
    }
    return next((known[name] for name in names if name in known), None)


def baseline_uncertainty_w(before: Idle | None, after: Idle | None) -> float | None:
    """Half-width at 95 % of the mean of the idle powers; ``None`` if neither is known.

    Half the difference of the two is its drift: neither is more right for the time in between.
    """
    if before is None or after is None:
        known = before or after
        return known.uncertainty_w if known else None
    own_w = math.hypot(before.uncertainty_w, after.uncertainty_w) / 2
    return math.hypot(own_w, (before.power_w - after.power_w) / 2)


def with_baseline(
    budgets: Sequence[Budget], energies: Sequence[WindowEnergy], windows: Sequence[Window]
) -> tuple[Budget, ...]:
    """The budgets with what subtracting idle power would add to each."""
    durations = {window.name: window.duration_s for window in windows}
    widths_w = {
        channel: baseline_uncertainty_w(
            find_idle(energies, windows, channel, IDLE_BEFORE),
            find_idle(energies, windows, channel, IDLE_AFTER),
        )
        for channel in {budget.channel for budget in budgets}
    }
    return tuple(
        replace(budget, baseline_j=width_w * durations[budget.window])
        if (width_w := widths_w[budget.channel]) is not None
        else budget
        for budget in budgets
    )
