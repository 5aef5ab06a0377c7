"""Sensors that lie on boards of known joules: the right value all the same, and no false alarm."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import pytest

from simulated_sensors import SIGNALS, Signal, find_faults
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.appraise import Appraisal, appraise
from wbcbench.energy.faults import Flaw

WINDOW = Window("block", 4.0, 14.0)
END_S = 16.5
COUNTER = Channel(
    "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy", device="GPU-1"
)
POWER = replace(COUNTER, name="nvml/gpu0/power", kind=Kind.SAMPLED, reading="power_instant")
JITTERED = replace(POWER, repeat_share=0.05)

# Changes what a counter says of a moment; ``energy_j`` gives the joules drawn until any moment.
Change = Callable[[float, float, Callable[[float], float]], float]


@dataclass(frozen=True)
class Board:
    """One board under one load, its limit, and how its counter and its power reading step."""

    load: str
    high_w: float
    step_s: float = 0.1
    update_s: float = 0.1
    noise_w: float = 0.5
    seed: int = 0

    def signal(self) -> Signal:
        rng, low_w = random.Random(f"{self.load}-{self.seed}"), 0.35 * self.high_w
        levels = {
            "constant": lambda _: self.high_w,
            "square": lambda t: self.high_w if t % 0.73 < 0.4 else low_w,
            "idle, load": lambda t: self.high_w if WINDOW.start_s <= t < WINDOW.end_s else low_w,
            "telegraph": lambda _: rng.choice((low_w, self.high_w)),
        }
        width_s = 0.35 if self.load == "telegraph" else 0.01
        knots = []
        for i in range(int((END_S + 2.0) / width_s)):
            level_w = levels[self.load](i * width_s)
            knots += [(i * width_s, level_w), ((i + 1) * width_s, level_w)]
        return Signal.through(knots)

    def traces(self, change: Change = lambda _, j, __: j) -> tuple[Trace, Trace]:
        """Counter and power, polled at once with the sampler's jitter from 2 s on."""
        rng, signal = random.Random(f"polls {self.seed}"), self.signal()
        times = [2.0 + 0.1 * (i + rng.uniform(-0.45, 0.45)) for i in range(1, 144)]
        counted, read = list[float](), list[float]()
        noise = dict[int, float]()
        for t in times:
            counted_s = t // self.step_s * self.step_s
            counted.append(change(counted_s, 5e4 + signal.energy_j(counted_s), signal.energy_j))
            renewal = int(t / self.update_s)
            noise.setdefault(renewal, rng.gauss(0.0, self.noise_w))
            mean_w = signal.mean_w((renewal - 1) * self.update_s, renewal * self.update_s)
            read.append(round(mean_w + noise[renewal], 3))
        limit_w = 1.1 * self.high_w
        return (
            Trace(replace(COUNTER, update_s=self.step_s, limit_w=limit_w), times, counted),
            Trace(replace(JITTERED, update_s=self.update_s, limit_w=limit_w), times, read),
        )

    def true_j(self, window: Window = WINDOW) -> float:
        signal = self.signal()
        return signal.energy_j(window.end_s) - signal.energy_j(window.start_s)


def freezes(at_s: float, for_s: float = inf) -> Change:
    """What is drawn while it stands still is lost."""
    return lambda t, j, energy_j: (
        j if t < at_s else j - energy_j(min(t, at_s + for_s)) + energy_j(at_s)
    )


def moves_by(at_s: float, step_j: float) -> Change:
    return lambda t, j, _: j + step_j if t >= at_s else j


def starts_again(at_s: float) -> Change:
    return lambda t, j, energy_j: j - 5e4 - energy_j(at_s) if t >= at_s else j


def both(first: Change, second: Change) -> Change:
    return lambda t, j, energy_j: second(t, first(t, j, energy_j), energy_j)


def energy_of(appraisal: Appraisal, kind: str, window: str = "block") -> WindowEnergy:
    (energy,) = (
        e for e in appraisal.energies if e.window == window and e.channel.endswith(f"/{kind}")
    )
    return energy


def flaws(appraisal: Appraisal) -> set[Flaw]:
    return {fault.flaw for fault in appraisal.faults}


BOARDS = [
    Board(load, high_w, step_s)
    for load in ("constant", "square", "telegraph", "idle, load")
    for high_w in (50.0, 280.0, 700.0)
    for step_s in (0.02, 0.1)
]
BREAKS = {
    "freezes for 1.5 s": (lambda at_s: freezes(at_s, 1.5), Flaw.FROZEN),
    "is reset": (starts_again, Flaw.RESET),
    "falls by 300 J": (lambda at_s: moves_by(at_s, -300.0), Flaw.RESET),
    "jumps by 100,000 J": (lambda at_s: moves_by(at_s, 1e5), Flaw.JUMP),
}


@pytest.mark.parametrize("board", BOARDS, ids=str)
@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("at_s", [4.03, 8.2, 12.3], ids=["start", "middle", "end"])
def test_a_counter_counts_on_across_a_break_and_the_interval_holds_the_truth(at_s, name, board):
    make, flaw = BREAKS[name]
    found = appraise(board.traces(make(at_s)), [WINDOW])
    energy = energy_of(found, "counter")
    assert flaw in flaws(found)
    assert energy.energy_j is not None, energy.reason
    assert abs(energy.energy_j - board.true_j()) <= energy.uncertainty_j
    assert energy.uncertainty_j <= 0.08 * energy.energy_j


@pytest.mark.parametrize("board", BOARDS, ids=str)
@pytest.mark.parametrize("name", BREAKS)
def test_a_break_outside_of_the_window_does_not_matter(name, board):
    make, _ = BREAKS[name]
    at_s = 2.2 if "1.5" in name else 3.3
    broken, sound = (appraise(board.traces(c), [WINDOW]) for c in (make(at_s), moves_by(0, 0)))
    energy, expected = energy_of(broken, "counter"), energy_of(sound, "counter")
    assert energy.energy_j == pytest.approx(expected.energy_j, rel=1e-3)
    assert energy.uncertainty_j == pytest.approx(
        expected.uncertainty_j, rel=0.5, abs=3e-3 * energy.energy_j
    )


@pytest.mark.parametrize("load", ["constant", "square", "telegraph"])
@pytest.mark.parametrize(("high_w", "step_j"), [(50, 80), (50, -20), (280, 150), (280, -25)])
@pytest.mark.parametrize("step_s", [0.02, 0.1])
def test_small_jumps_and_falls_are_found_or_held_by_the_interval(load, high_w, step_j, step_s):
    for seed in range(8):
        board = Board(load, high_w, step_s, seed=seed)
        energy = energy_of(appraise(board.traces(moves_by(8.2, step_j)), [WINDOW]), "counter")
        # A fall may hide in the moves of a load that swings faster than it is polled.
        hidden_j = 0.02 * board.true_j() if load != "constant" else 0.0
        assert abs(energy.energy_j - board.true_j()) <= max(energy.uncertainty_j, hidden_j)


def test_a_single_stray_reading_costs_no_joule_beside_power_or_without():
    board = Board("square", 280.0)
    counter, power = board.traces()
    values = [0.0 if 8.0 <= t < 8.1 else j for t, j in zip(counter.t_s, counter.value, strict=True)]
    stray = Trace(counter.channel, counter.t_s, values)
    for traces in ([stray], [stray, power]):
        found = appraise(traces, [WINDOW])
        energy = energy_of(found, "counter")
        assert flaws(found) == {Flaw.OUTLIER}
        assert abs(energy.energy_j - board.true_j()) <= energy.uncertainty_j


def test_two_breaks_in_one_window_are_both_bridged():
    board = Board("square", 280.0)
    found = appraise(board.traces(both(freezes(6.0, 1.0), moves_by(10.0, -400.0))), [WINDOW])
    energy = energy_of(found, "counter")
    assert flaws(found) == {Flaw.FROZEN, Flaw.RESET}
    assert abs(energy.energy_j - board.true_j()) <= energy.uncertainty_j <= 0.06 * energy.energy_j


def test_a_break_of_one_board_leaves_the_other_as_it_was():
    other = replace(COUNTER, name="nvml/gpu1/counter", device="GPU-2", update_s=0.1)
    sound = Trace(other, *Board("square", 280.0).traces()[0].good)
    found = appraise([*Board("constant", 280.0).traces(freezes(6.0, 1.5)), sound], [WINDOW])
    assert {fault.channel for fault in found.faults} == {COUNTER.name}
    alone = appraise([sound], [WINDOW])
    assert alone.energies[0].energy_j == found.energies[2].energy_j


@pytest.mark.parametrize("for_s", [1.5, inf])
def test_a_counter_that_stands_still_while_power_fails_too_is_unknown(for_s):
    counter, power = Board("square", 280.0).traces(freezes(8.0, for_s))
    lost = [
        None if 7.9 <= t < 8.1 + for_s else w for t, w in zip(power.t_s, power.value, strict=True)
    ]
    for traces in ([counter], [counter, Trace(power.channel, power.t_s, lost)]):
        found = appraise(traces, [WINDOW])
        assert Flaw.FROZEN in flaws(found)
        assert energy_of(found, "counter").energy_j is None
        assert "stood still" in energy_of(found, "counter").reason


@pytest.mark.parametrize("step_s", [0.02, 0.1, 1.0])
def test_a_driver_that_answers_late_or_not_at_all_is_no_counter_that_stands_still(step_s):
    board = Board("constant", 280.0, step_s)
    counter, power = board.traces()
    hung = list[Trace]()
    for trace in (counter, power):
        polls = [(t, v) for t, v in zip(*trace.good, strict=True) if not 7 < t < 10]
        hung.append(Trace(trace.channel, *zip(*polls, strict=True)))
    assert not find_faults(hung)
    late = board.traces(lambda t, j, energy_j: 5e4 + energy_j(7.0) if 7 <= t < 9 else j)
    assert not find_faults(late)


def stamp_late(trace: Trace, place: int, late_s: float) -> Trace:
    times = list(trace.t_s)
    times[place] = min(times[place] + late_s, times[place + 1] - 1e-4)
    return Trace(trace.channel, times, trace.value)


@pytest.mark.parametrize(("load", "late_s", "most"), [("constant", 0.06, 1), ("square", 0.04, 6)])
def test_a_poll_that_is_stamped_late_is_no_jump_of_the_counter(load, late_s, most):
    told = 0
    for seed in range(40):
        board = Board(load, 280.0, seed=seed)
        place = random.Random(seed).randrange(30, 110)
        found = appraise([stamp_late(each, place, late_s) for each in board.traces()], [WINDOW])
        energy = energy_of(found, "counter")
        assert abs(energy.energy_j - board.true_j()) < 0.04 * energy.energy_j
        told += Flaw.JUMP in flaws(found)
    assert told <= most


# --- power readings ------------------------------------------------------------------------------


def stick(power: Trace, at_s: float, for_s: float = inf) -> Trace:
    held = next(w for t, w in zip(*power.good, strict=True) if t >= at_s)
    values = [held if at_s <= t < at_s + for_s else w for t, w in zip(*power.good, strict=True)]
    return Trace(power.channel, power.t_s, values)


@pytest.mark.parametrize("load", ["constant", "square", "telegraph"])
@pytest.mark.parametrize("probed", [0.05, None])
@pytest.mark.parametrize(("at_s", "for_s"), [(3.5, 2.5), (7.0, 2.0), (7.0, 3.0), (10.8, 3.0)])
def test_power_that_sticks_after_it_varied_is_a_gap_that_the_interval_holds(
    at_s, for_s, probed, load
):
    board = Board(load, 280.0)
    _, power = board.traces()
    power = Trace(replace(power.channel, repeat_share=probed), power.t_s, power.value)
    found = appraise([stick(power, at_s, for_s)], [WINDOW])
    energy = energy_of(found, "power")
    assert flaws(found) == {Flaw.STUCK}
    assert abs(energy.energy_j - board.true_j()) <= energy.uncertainty_j


@pytest.mark.parametrize("at_s", [2.0, 3.5, 12.0])
def test_power_that_sticks_until_the_end_is_unknown(at_s):
    _, power = Board("square", 280.0).traces()
    found = appraise([stick(power, at_s)], [WINDOW])
    assert flaws(found) == {Flaw.STUCK}
    assert energy_of(found, "power").energy_j is None


@pytest.mark.parametrize("probed", [None, 1.0])
@pytest.mark.parametrize("load", ["constant", "idle, load"])
def test_a_load_that_is_constant_on_a_quiet_sensor_is_not_called_stuck(load, probed):
    for board in (Board(load, 280.0, noise_w=0.0), Board(load, 280.0, 0.02, noise_w=0.0)):
        counter, power = board.traces()
        quiet = Trace(replace(power.channel, repeat_share=probed), power.t_s, power.value)
        assert not find_faults([quiet])
        assert not find_faults([quiet, counter])


def test_a_quiet_sensor_whose_counter_has_another_gain_is_not_called_stuck():
    counter, power = Board("idle, load", 280.0, noise_w=0.0).traces()
    for gain in (0.8, 0.88, 1.2):
        other = Trace(counter.channel, counter.t_s, [gain * (j - 5e4) for j in counter.value])
        assert not find_faults([other, power])


def test_a_coarse_sensor_repeats_itself_and_is_not_called_stuck():
    for seed in range(100):
        _, power = Board("constant", 280.0, seed=seed).traces()
        coarse = [float(round(w)) for w in power.value]
        assert not find_faults([Trace(replace(power.channel, repeat_share=0.4), power.t_s, coarse)])


# --- false alarms --------------------------------------------------------------------------------

SENSORS = {
    "instant 100 ms": (0.1, 0.1, 0.1),
    "instant 20 ms": (0.02, 0.02, 0.02),
    "part-time": (0.1, 0.1, 0.025),
    "average 1 s": (0.1, 0.1, 1.0),
    "slow counter": (1.0, 0.1, 0.1),
}


def sound_traces(sensor: str, signal: str, seed: int) -> list[Trace]:
    rng = random.Random(f"{sensor}-{signal}-{seed}")
    step_s, update_s, averaging_s = SENSORS[sensor]
    power = SIGNALS[signal](rng, 33.0)
    times = [2.0 + 0.1 * (i + rng.uniform(-0.45, 0.45)) for i in range(1, 300)]
    late_s, noise = rng.random() * step_s, dict[int, float]()
    read = list[float]()
    for t in times:
        renewal = int(t / update_s)
        noise.setdefault(renewal, rng.gauss(0.0, 0.6))
        mean_w = power.mean_w(renewal * update_s - averaging_s, renewal * update_s)
        read.append(round(mean_w + noise[renewal], 3))
    counted = [power.energy_j(max((t - late_s) // step_s * step_s + late_s, 0.0)) for t in times]
    channel = replace(JITTERED, update_s=update_s, averaging_s=averaging_s, limit_w=330.0)
    return [
        Trace(replace(COUNTER, update_s=step_s, limit_w=330.0), times, counted),
        Trace(channel, times, read),
    ]


@pytest.mark.parametrize("sensor", SENSORS)
def test_boards_without_a_fault_have_none(sensor):
    flawed = [
        (signal, seed, [fault.detail for fault in faults])
        for signal in SIGNALS
        for seed in range(40)
        if (faults := find_faults(sound_traces(sensor, signal, seed)))
    ]
    assert len(flawed) <= 0.01 * 40 * len(SIGNALS), flawed
