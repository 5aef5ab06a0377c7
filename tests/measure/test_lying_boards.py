"""Sensors that lie, one by one: what is stated of each, against the joules that were drawn.

The load is 100 W and 500 W in turn, so that an integral of polls is not exact; the board may draw
700 W. Everything is played in virtual time through the real meters, sampler and energy code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakes.faulty_boards import FaultyWindow, Verdict, number_boards, play_window
from fakes.known_load import WINDOW_AT_S, Bench, Loaded
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import UNSUPPORTED, Counter, Event, FakeGpu, Fault, Rate, Sensor
from fakes.power_shapes import Constant, Shape, Sine, Square

READING = Sensor(update_s=0.1, window_s=0.1, noise_w=1.0, phase_s=0.037)
AVERAGE = Sensor(update_s=0.1, window_s=1.0, noise_w=1.0, phase_s=0.037)
QUIET = Sensor(update_s=0.1, window_s=0.1, resolution_w=1.0)
PART_TIME = replace(READING, window_s=0.025)
NO_COUNTER = Counter(supported=False)
SQUARE = Square(100.0, 500.0, 0.71, 0.4)
A100 = "NVIDIA A100-SXM4-40GB"


def board(load: Shape = SQUARE, **changes: object) -> FakeGpu:
    sound = FakeGpu(power=load, instant=READING, average=UNSUPPORTED, usage=AVERAGE)
    return replace(sound, limit_default_w=700.0, limit_max_w=700.0, **changes)  # type: ignore[arg-type]


def at(offset_s: float) -> float:
    return WINDOW_AT_S + offset_s


def only_counter(**changes: object) -> FakeGpu:
    counter = Counter(**changes)  # type: ignore[arg-type]
    return board(instant=UNSUPPORTED, usage=UNSUPPORTED, counter=counter)


def only_power(load: Shape, sensor: Sensor = READING, *faults: Fault) -> FakeGpu:
    return board(load, instant=sensor, counter=NO_COUNTER, faults=faults)


def counting(*events: Event, rates: Sequence[Rate] = (), **changes: object) -> FakeGpu:
    counter = Counter(events=events, rates=tuple(rates), **changes)  # type: ignore[arg-type]
    return board(counter=counter)


@dataclass(frozen=True)
class Case:
    """Boards, the window's length, and what must be said.

    ``widest_pct`` is the widest ± of a right number, ``code`` a warning that must be there.
    """

    boards: tuple[FakeGpu, ...]
    length_s: float
    outcome: str = "right"
    widest_pct: float = 5.0
    code: str = ""
    has_codecarbon: bool = False


def stuck(load: Shape, length_s: float, until_s: float) -> FakeGpu:
    fault = Fault("stuck", on="power", at_s=at(1.0), until_s=at(until_s))
    return only_power(Loaded(load, length_s, WINDOW_AT_S), READING, fault)


def slow(length_s: float, load: Shape = SQUARE, **changes: float) -> FakeGpu:
    return only_power(Loaded(load, length_s, WINDOW_AT_S), replace(READING, **changes))


def frozen(lasts_s: float) -> FakeGpu:
    return only_counter(rates=(Rate(at(2.0), at(2.0 + lasts_s)),))


def false_gain(period_s: float) -> FakeGpu:
    return board(Square(100.0, 500.0, period_s, 0.4), counter=Counter(gain=0.88))


def part_time(period_s: float) -> FakeGpu:
    counter = Counter(from_sensor=True, phase_s=PART_TIME.phase_s)
    load = Square(100.0, 500.0, period_s, 0.4)
    return board(load, name=A100, instant=PART_TIME, counter=counter)


def lost(from_s: float) -> FakeGpu:
    return board(faults=(Fault("lost", at_s=at(from_s)),))


ZERO = board(faults=(Fault("zero", on="power", at_s=at(3)), Fault("zero", on="energy", at_s=at(3))))
MEGAWATTS = Fault("spike", on="power", at_s=at(4.0), until_s=at(4.1), value=4e6)
OVER_LIMIT = Fault("spike", on="power", at_s=at(1.0), until_s=at(1.5), value=1180.0)
UNLIKE = board(Constant(250.0)), board(Constant(300.0), counter=NO_COUNTER)

CASES = {
    "two boards, the second without a counter": Case(UNLIKE, 10.0, widest_pct=0.5),
    "one of four boards is lost": Case((board(), board(), lost(8), board()), 10.0, "none"),
    "the board is lost at the end, CodeCarbon is not": Case(
        (lost(8),), 10.0, "none", code="energy-unknown", has_codecarbon=True
    ),
    "all readings are zero, CodeCarbon's are not": Case(
        (ZERO,), 10.0, "none", code="power-zero", has_codecarbon=True
    ),
    "power stuck for most of a short window": Case(
        (stuck(SQUARE, 5.0, 4.0),), 5.0, "none", code="power-stuck"
    ),
    "power stuck to the end of a short window": Case(
        (stuck(Square(100.0, 500.0, 4.0), 8.0, 99.0),), 8.0, "none", code="power-stuck"
    ),
    "a quiet sensor of a constant load": Case(
        (only_power(Constant(333.0), QUIET),), 40.0, widest_pct=0.1
    ),
    "a counter alone freezes": Case(
        (only_counter(frozen_at_s=at(5)),), 10.0, "none", code="counter-frozen"
    ),
    "a counter alone loses five seconds": Case((frozen(5.0),), 10.0, "none", code="counter-frozen"),
    **{
        f"a counter of gain 0.88, load of {period_s} s, {length_s:g} s": Case(
            (false_gain(period_s),), length_s, "told", code="readings-disagree"
        )
        for period_s in (0.2, 0.7, 1.9)
        for length_s in (10.0, 60.0)
    },
    **{
        f"a counter loses 1.5 s of {length_s:g} s": Case(
            (counting(rates=[Rate(at(4.0), at(5.5))]),),
            length_s,
            widest_pct=5.5,
            code="counter-frozen",
        )
        for length_s in (10.0, 60.0)
    },
    "a counter stands still and catches up": Case(
        (board(faults=(Fault("stuck", on="energy", at_s=at(3), until_s=at(7)),)),), 10.0
    ),
    "megawatts for a moment": Case(
        (only_power(Constant(250.0), READING, MEGAWATTS),), 10.0, widest_pct=1.0, code="power-spike"
    ),
    "1.7 times the limit for half a second": Case(
        (only_power(Loaded(Constant(200.0), 3.5, WINDOW_AT_S), READING, OVER_LIMIT),),
        3.5,
        widest_pct=90.0,
        code="power-over-limit",
    ),
    **{
        f"a counter jumps by {joules:+g} J": Case((counting(Event(at(4.3), joules)),), 10.0)
        for joules in (80.0, 150.0, 5000.0, -20.0, -30.0, -500.0)
    },
    "a counter is reset": Case((counting(reset_at_s=at(4.3)),), 10.0, code="counter-reset"),
    "a reading lags three seconds": Case(
        (slow(30.0, Constant(400.0), lag_s=3.0),), 30.0, widest_pct=30.0
    ),
    "a reading is the mean of three seconds": Case(
        (slow(10.0, window_s=3.0),), 10.0, widest_pct=30.0
    ),
    "a reading is renewed every two seconds": Case(
        (slow(30.0, update_s=2.0),), 30.0, widest_pct=40.0
    ),
    "a reading lags for most of a short window": Case(
        (slow(3.4, Constant(200.0), lag_s=2.8),), 3.4, widest_pct=10.0
    ),
    "a reading is renewed every 2.8 s, seldom": Case(
        (only_power(Sine(184.0, 74.0, 0.66), replace(READING, update_s=2.8)),),
        6.6,
        widest_pct=70.0,
    ),
    **{
        f"a counter steps every three seconds of {length_s:g} s": Case(
            (
                board(
                    Loaded(SQUARE, length_s, WINDOW_AT_S), counter=Counter(step_s=3.0, phase_s=1.1)
                ),
            ),
            length_s,
            widest_pct=16.0,
        )
        for length_s in (10.0, 30.0)
    },
    **{
        f"a counter alone steps every {step_s:g} s": Case(
            (only_counter(step_s=step_s, phase_s=0.7),), 20.0, widest_pct=20.0
        )
        for step_s in (1.5, 3.0, 4.0)
    },
    **{
        f"a counter of a part-time sensor, load of {period_s} s": Case(
            (part_time(period_s),), 30.0, widest_pct=15.0
        )
        for period_s in (0.33, 0.71, 2.3)
    },
}


@pytest.fixture
def bench(scripted_nvml: ScriptedNvml, tmp_path: Path) -> Bench:
    return Bench(scripted_nvml, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_what_is_stated_is_right_or_unknown_or_named_as_wrong(name: str, bench: Bench) -> None:
    case = CASES[name]
    verdict = play(bench, case)
    assert verdict.result is not None
    if case.code == "readings-disagree" and verdict.outcome == "shallow":
        # The integral was too uncertain to convict the counter, but not to doubt it.
        assert verdict.result.quality == "suspect", str(verdict)
        return
    assert verdict.outcome == case.outcome, str(verdict)
    assert case.code in {"", *(warning.code for warning in verdict.result.warnings)}, str(verdict)
    if case.outcome == "right":
        assert 100 * verdict.uncertainty_j / verdict.drawn.true_j <= case.widest_pct, str(verdict)
    if case.outcome == "told":
        assert verdict.result.quality == "invalid"


def play(bench: Bench, case: Case) -> Verdict:
    gpus = tuple(number_boards(case.boards))
    drawn = FaultyWindow("", 0, gpus, case.length_s, "", has_codecarbon=case.has_codecarbon)
    (verdict,) = play_window(bench, drawn, os.environ)  # type: ignore[arg-type]
    return verdict
