"""Laws that joules obey for any power, sampling and counter, as properties."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from simulated_sensors import SENSORS, SIGNALS, Signal, find_faults
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.appraise import Appraisal, appraise
from wbcbench.energy.counter import unwrap_counter
from wbcbench.energy.integrate import energy_curve, window_energy
from wbcbench.energy.uncertainty import with_uncertainty

GRID_S = 2.0**-10  # times on a binary grid add and subtract without rounding
MOST_W = 500.0
WRAP_J = 300.0
FLOAT_ERROR = 1e-9  # relative

levels_w = st.sampled_from((0.0, 1.0, 60.0, 250.0, MOST_W)) | st.floats(0.0, MOST_W)
paces_s = st.sampled_from((None, 0.02, 0.1, 1.0))


@dataclass(frozen=True)
class Sampled:
    """A power that is constant between polls, its polls, and which of them failed."""

    times_s: list[float]
    power_w: list[float]
    failed: frozenset[int]

    @property
    def joules(self) -> list[float]:
        """The true energy since the first poll, at each poll."""
        steps = zip(pairwise(self.times_s), self.power_w, strict=False)
        return list(accumulate(((b - a) * w for (a, b), w in steps), initial=0.0))

    def with_failures(self, values: Sequence[float]) -> list[float | None]:
        return [None if i in self.failed else value for i, value in enumerate(values)]


@st.composite
def samplings(draw: st.DrawFn) -> Sampled:
    """Steps, bursts and periodic loads, polled with jitter; up to a third of the reads fail."""
    count = draw(st.integers(8, 60))
    poll = draw(st.sampled_from((16, 51, 102, 512)))
    jitter = st.integers(-poll // 3, poll // 3)
    ticks = [poll * i + draw(jitter) for i in range(count)]
    shape = draw(st.sampled_from(("steps", "bursts", "periodic")))
    if shape == "steps":
        power_w = [w for w in draw(st.lists(levels_w, min_size=1, max_size=6)) for _ in range(12)]
    else:
        low_w, high_w = sorted((draw(levels_w), draw(levels_w)))
        period = draw(st.integers(2, 9))
        on = 1 if shape == "bursts" else period // 2
        power_w = [high_w if i % period < on else low_w for i in range(count)]
    power_w = (power_w * count)[:count]
    failed = draw(st.frozensets(st.integers(1, count - 2), max_size=count // 3))
    return Sampled([tick * GRID_S for tick in ticks], power_w, failed)


@st.composite
def counters(draw: st.DrawFn) -> Trace:
    """Counters that wrap, are reset, jump, stand still, move in coarse steps or miss reads."""
    sampled = draw(samplings())
    step_j = draw(st.sampled_from((0.0, 0.001, 1.0, 25.0)))
    values = [j - j % step_j if step_j else j for j in sampled.joules]
    place = draw(st.integers(0, len(values) - 1))
    match draw(st.sampled_from(("sound", "wraps", "reset", "jump", "outlier", "frozen"))):
        case "wraps":
            values = [(value + 200.0) % WRAP_J for value in values]
        case "reset":
            values[place:] = [value - values[place] for value in values[place:]]
        case "jump":
            values[place:] = [value + 1e6 for value in values[place:]]
        case "outlier":
            values[place] += 1e6
        case "frozen":
            values[place:] = [values[place]] * (len(values) - place)
    channel = Channel(
        "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy",
        wrap_j=WRAP_J, update_s=draw(paces_s), limit_w=draw(st.sampled_from((None, MOST_W))),
    )  # fmt: skip
    return Trace(channel, sampled.times_s, sampled.with_failures(values))


@st.composite
def power_readings(draw: st.DrawFn) -> Trace:
    sampled = draw(samplings())
    channel = Channel(
        "nvml/gpu0/power", Kind.SAMPLED, Origin.MEASURED, Domain.GPU,
        draw(st.sampled_from(("power_instant", "power_average", "power_usage", ""))),
        update_s=draw(paces_s), averaging_s=draw(st.sampled_from((None, 0.025, 1.0))),
        limit_w=draw(st.sampled_from((None, 300.0))),
    )  # fmt: skip
    return Trace(channel, sampled.times_s, sampled.with_failures(sampled.power_w))


traces = counters() | power_readings()


def draw_edges(data: st.DataObject, trace: Trace, count: int) -> list[float]:
    """Rising moments on the grid, from a little before the trace to a little after."""
    first, last = (round(t / GRID_S) for t in (trace.t_s[0], trace.t_s[-1]))
    ticks = st.integers(first - 20, last + 20)
    edges = st.lists(ticks, min_size=count, max_size=count, unique=True)
    return [tick * GRID_S for tick in sorted(data.draw(edges))]


def copy(trace: Trace, shift_s: float = 0.0) -> Trace:
    """The same readings as a trace of which nothing is known yet."""
    return Trace(trace.channel, [t + shift_s for t in trace.t_s], trace.value)


def scale_j(trace: Trace) -> float:
    return max(map(abs, energy_curve(trace).energy_j), default=0.0) + 1.0


# --- adjacent windows add up ---------------------------------------------------------------------


@given(traces, st.data())
def test_adjacent_windows_add_up_to_the_joint_window(trace, data):
    edges = draw_edges(data, trace, 4)
    parts = [window_energy(trace, Window("part", a, b)).energy_j for a, b in pairwise(edges)]
    joint = window_energy(trace, Window("joint", edges[0], edges[-1]))
    assert (joint.energy_j is None) == (None in parts)
    if joint.energy_j is not None:
        assert joint.energy_j == pytest.approx(sum(parts), abs=FLOAT_ERROR * scale_j(trace))


@given(traces, st.data())
def test_readings_of_adjacent_windows_are_counted_once(trace, data):
    edges = draw_edges(data, trace, 3)
    parts = [window_energy(trace, Window("part", a, b)).samples for a, b in pairwise(edges)]
    assert window_energy(trace, Window("joint", edges[0], edges[-1])).samples == sum(parts)


@given(traces, st.data())
def test_a_counter_never_runs_backwards_and_positive_power_gives_positive_joules(trace, data):
    start_s, end_s = draw_edges(data, trace, 2)
    energy_j = window_energy(trace, Window("w", start_s, end_s)).energy_j
    assert energy_j is None or energy_j >= -FLOAT_ERROR * scale_j(trace)


# --- a shift in time changes nothing -------------------------------------------------------------


@given(st.lists(traces, min_size=1, max_size=2), st.integers(-(2**20), 2**20), st.data())
def test_a_shift_in_time_changes_nothing(both, shift_s, data):
    edges = draw_edges(data, both[0], 4)
    windows = [Window(f"w{i}", a, b) for i, (a, b) in enumerate(pairwise(edges))]
    moved = [replace(w, start_s=w.start_s + shift_s, end_s=w.end_s + shift_s) for w in windows]
    here = appraise(both, windows)
    there = appraise([copy(trace, shift_s) for trace in both], moved)
    # A clock at 2**20 s resolves 2**-32 s; no power here is above 1 MJ in such a step.
    tolerance_j = max(map(scale_j, both)) * FLOAT_ERROR + MOST_W * 2.0**-30
    moves_j = [abs(b - a) for trace in both for a, b in pairwise(trace.good[1])]
    most_j = max(moves_j, default=0.0)
    for a, b in zip(here.energies, there.energies, strict=True):
        assert (a.samples, a.reason, a.energy_j is None) == (
            b.samples,
            b.reason,
            b.energy_j is None,
        )
        if a.energy_j is not None:
            assert b.energy_j == pytest.approx(a.energy_j, abs=tolerance_j)
            # Where a renewal falls on a poll, rounding decides to which side of it: one move at
            # each edge.
            slack_j = tolerance_j + (2 * most_j if a.channel.endswith("counter") else 0.0)
            assert b.uncertainty_j == pytest.approx(a.uncertainty_j, rel=1e-6, abs=slack_j)
    assert [(fault.flaw, fault.start_s + shift_s) for fault in here.faults] == [
        (fault.flaw, pytest.approx(fault.start_s)) for fault in there.faults
    ]


# --- the order of operations does not matter -----------------------------------------------------


@given(samplings(), paces_s, st.data())
def test_unwrapping_and_bridging_give_the_same_joules_in_either_order(sampled, update_s, data):
    """A counter that wraps and loses readings is the never wrapping one that lost the same."""
    plain = Channel("rapl/package-0", Kind.COUNTER, Origin.MEASURED, Domain.CPU, update_s=update_s)
    joules = [round(j) for j in sampled.joules]
    wrapped = [j % WRAP_J for j in joules]
    bridged_first = Trace(
        replace(plain, wrap_j=WRAP_J), sampled.times_s, sampled.with_failures(wrapped)
    )
    unwrapped_first = Trace(plain, sampled.times_s, sampled.with_failures(joules))
    good = unwrapped_first.good[1]
    # One counter cannot show that it wrapped twice between two readings.
    if max((b - a for a, b in pairwise(good)), default=0.0) >= WRAP_J:
        return
    window = Window("w", *draw_edges(data, unwrapped_first, 2))
    first, second = (window_energy(t, window) for t in (bridged_first, unwrapped_first))
    assert first.reason == second.reason
    if first.energy_j is not None:
        assert first.energy_j == pytest.approx(second.energy_j, abs=FLOAT_ERROR * (good[-1] + 1))


@given(samplings(), st.data())
def test_unwrapping_all_readings_and_dropping_some_is_dropping_them_and_unwrapping(sampled, data):
    channel = Channel("rapl/package-0", Kind.COUNTER, Origin.MEASURED, Domain.CPU, wrap_j=WRAP_J)
    joules = [round(j) for j in sampled.joules]
    wrapped = [j % WRAP_J for j in joules]
    everything = unwrap_counter(Trace(channel, sampled.times_s, wrapped))
    some = unwrap_counter(Trace(channel, sampled.times_s, sampled.with_failures(wrapped)))
    read = [j for i, j in enumerate(joules) if i not in sampled.failed]
    if max(b - a for a, b in pairwise(read)) >= WRAP_J or everything.breaks or some.breaks:
        return  # a part that draws nothing is not told from a counter that stands still
    total_j = dict(zip(everything.t_s, everything.total_j, strict=True))
    assert list(some.total_j) == [total_j[t_s] for t_s in some.t_s]
    assert len(some.t_s) == len(read)


def ask(name: str, trace: Trace, window: Window) -> object:
    """One thing that is worked out from a trace and may be cached with it."""
    match name:
        case "energy":
            return window_energy(trace, window)
        case "uncertainty":
            return with_uncertainty(trace, window, window_energy(trace, window))
        case "faults":
            return find_faults([trace])
        case "unwrapped" if trace.channel.kind is Kind.COUNTER:
            return unwrap_counter(trace)
        case _:
            curve = energy_curve(trace)
            return [getattr(curve, name) for name in curve.__slots__ if name[:2] != "__"]


QUESTIONS = ("energy", "uncertainty", "faults", "unwrapped", "curve")


@given(traces, st.permutations(QUESTIONS), st.data())
def test_the_order_of_questions_does_not_change_the_answers(trace, order, data):
    window = Window("w", *draw_edges(data, trace, 2))
    known = copy(trace)
    answers = {name: ask(name, known, window) for name in order}
    assert answers == {name: ask(name, copy(trace), window) for name in QUESTIONS}
    assert answers == {name: ask(name, known, window) for name in QUESTIONS}


def by_name(appraisal: Appraisal) -> dict[tuple[str, str], WindowEnergy]:
    return {(energy.window, energy.channel): energy for energy in appraisal.energies}


@given(counters(), power_readings(), st.permutations(range(3)), st.data())
def test_the_order_of_windows_and_traces_does_not_change_their_joules(counter, power, order, data):
    edges = draw_edges(data, counter, 4)
    windows = [Window(f"w{i}", a, b) for i, (a, b) in enumerate(pairwise(edges))]
    shuffled = [windows[i] for i in order]
    assert by_name(appraise([counter, power], windows)) == by_name(
        appraise([copy(power), copy(counter)], shuffled)
    )


# --- the stated interval contains the truth ------------------------------------------------------


def bursts(rng: random.Random, end_s: float) -> Signal:
    """Short bursts at random moments on a low load."""
    knots, t_s, mean_s = [(0.0, 60.0)], 0.0, rng.uniform(0.5, 3.0)
    while t_s < end_s:
        t_s += rng.expovariate(1 / mean_s)
        on_s = rng.uniform(0.05, 0.5)
        knots += [(t_s, 60.0), (t_s, 300.0), (t_s + on_s, 300.0), (t_s + on_s, 60.0)]
        t_s += on_s
    return Signal.through([*knots, (t_s + 1.0, 60.0)])


def lose_reads(trace: Trace, rng: random.Random) -> Trace:
    """One read in twenty fails, and once a second passes without any."""
    lost_s = rng.uniform(trace.t_s[0], trace.t_s[-1])
    values = [
        None if rng.random() < 0.05 or lost_s < t < lost_s + 1.0 else value
        for t, value in zip(trace.t_s, trace.value, strict=True)
    ]
    return Trace(trace.channel, trace.t_s, [trace.value[0], *values[1:-1], trace.value[-1]])


def wrap_and_round(trace: Trace, rng: random.Random) -> Trace:
    """A counter that wraps, never twice in a gap, and counts in whole joules or tenths."""
    wrap_j, step_j = 1000.0, rng.choice((0.1, 1.0))
    offset_j = rng.uniform(0, wrap_j)
    values = [
        None if value is None else (value + offset_j) // step_j * step_j % wrap_j
        for value in trace.value
    ]
    return Trace(replace(trace.channel, wrap_j=wrap_j), trace.t_s, values)


SEEDS = 100
PROMISED = 0.95
ALLOWED_MISSES = int(binom.ppf(0.999, SEEDS, 1 - PROMISED))


# What looks at even times, and does not say how often, cannot tell loads in step with it.
TOLD = [(sensor, signal) for sensor in SENSORS for signal in (*SIGNALS, "bursts")]
TOLD.remove(("part-time, unsaid", "in step"))


@pytest.mark.parametrize(("sensor", "signal"), TOLD)
def test_the_interval_contains_the_truth_with_lost_reads_and_wraps(sensor, signal):
    misses, length_s = 0, 15.0
    for seed in range(SEEDS):
        rng = random.Random(f"{sensor}-{signal}-{seed}")
        shape = {**SIGNALS, "bursts": bursts}[signal](rng, length_s + 9.0)
        trace = lose_reads(SENSORS[sensor].trace(shape, rng, length_s + 8.0, poll_s=0.1), rng)
        if trace.channel.kind is Kind.COUNTER:
            trace = wrap_and_round(trace, rng)
        window = Window("w", start_s := 3 + rng.random(), start_s + length_s)
        energy = with_uncertainty(trace, window, window_energy(trace, window))
        true_j = shape.energy_j(window.end_s) - shape.energy_j(window.start_s)
        misses += abs(energy.energy_j - true_j) > energy.uncertainty_j + FLOAT_ERROR * true_j
    assert misses <= ALLOWED_MISSES
