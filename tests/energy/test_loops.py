"""A training that is repeated in one window: its joules, seconds and epochs are those of one."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.record import TrainingLoop
from wbcbench.core.spec import MOST_LOOPS, RunSpec, count_loops
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.account import replay
from wbcbench.energy.appraise import appraise, state_one_training

SPEC = RunSpec(variant="leaky-dropout")
EPOCH_S, PASS_S, EPOCHS = 0.3, 0.1, 2


def timeline(loops: int, start_s: float = 5.0) -> tuple[list[Window], list[TrainingLoop]]:
    """Windows and loops of a training of two short epochs; only the first loop validates."""
    windows, done, t_s = list[Window](), list[TrainingLoop](), start_s
    for loop in range(1, loops + 1):
        spans = []
        for index in range(1, EPOCHS + 1):
            spans.append((t_s, t_s + EPOCH_S))
            t_s += EPOCH_S
            if loop == 1:
                windows += [
                    Window(f"epoch-{index}", *spans[-1]),
                    Window(f"validate-{index}", t_s, t_s + PASS_S),
                ]
                t_s += PASS_S
        done.append(TrainingLoop(loop, tuple(spans), 0.5, 0.9))
    return [Window("train", start_s, t_s), *windows], done


def counter(power_w, until_s: float, step_s: float = 0.1, poll_s: float = 0.02) -> Trace:
    """A counter of steps, read often."""
    channel = Channel(
        "nvml/c", Kind.COUNTER, Origin.MEASURED, Domain.GPU, update_s=step_s, device="GPU-1"
    )
    sums = [
        0.0,
        *accumulate(power_w(i * step_s) * step_s for i in range(int(until_s / step_s) + 1)),
    ]
    times = [i * poll_s for i in range(int(until_s / poll_s))]
    return Trace(channel, times, [sums[int(t / step_s + 1e-9)] for t in times])


def state(trace: Trace, windows: list[Window], loops: list[TrainingLoop], spec=SPEC):
    appraisal = appraise([trace], windows, loops=loops)
    stated = state_one_training(appraisal, windows, spec, loops)
    return {energy.window: energy for energy in stated.energies}, stated


@given(st.integers(2, 12), st.floats(50, 400))
def test_one_training_has_its_share_of_the_steps_of_all_loops(loops: int, power_w: float) -> None:
    windows, done = timeline(loops)
    by_name, _ = state(counter(lambda _: power_w, windows[0].end_s + 5), windows, done)
    train = by_name["train"]
    assert train.energy_j == pytest.approx(power_w * EPOCHS * EPOCH_S, abs=train.uncertainty_j)
    assert train.mean_power_w == pytest.approx(power_w, rel=0.05)
    for index in (1, 2):
        epoch = by_name[f"epoch-{index}"]
        assert epoch.energy_j == pytest.approx(power_w * EPOCH_S, abs=epoch.uncertainty_j)
        assert epoch.mean_power_w == pytest.approx(power_w, rel=0.1)


def test_an_uncertainty_shrinks_with_the_window_and_an_epochs_with_its_repeats() -> None:
    def relative(loops: int) -> dict[str, float]:
        windows, done = timeline(loops)
        by_name, _ = state(counter(lambda _: 300.0, windows[0].end_s + 5), windows, done)
        return {name: e.uncertainty_j / e.energy_j for name, e in by_name.items()}

    few, many = relative(2), relative(100)
    assert many["train"] <= 0.005 < few["train"]
    assert many["epoch-1"] < 0.03
    assert many["epoch-1"] == pytest.approx(few["epoch-1"] * math.sqrt(2 / 100), rel=0.5)
    assert many["validate-1"] == pytest.approx(few["validate-1"], rel=0.5)  # it was made once


def test_the_parts_of_a_budget_are_shared_as_the_joules_are() -> None:
    windows, done = timeline(10)
    by_name, stated = state(counter(lambda _: 300.0, windows[0].end_s + 5), windows, done)
    for budget in stated.budgets:
        parts = (budget.quantisation_j, budget.edges_j, budget.sampling_j)
        assert budget.total_j == pytest.approx(math.hypot(*parts))
        assert budget.total_j == by_name[budget.window].uncertainty_j


def test_epochs_that_cost_differently_keep_their_own_means() -> None:
    windows, done = timeline(20)
    spans = [span for loop in done for span in loop.spans_s[:1]]
    heavy = lambda t: 400.0 if any(a <= t < b for a, b in spans) else 100.0  # noqa: E731
    by_name, _ = state(counter(heavy, windows[0].end_s + 5, step_s=0.02), windows, done)
    assert by_name["epoch-1"].energy_j == pytest.approx(120.0, rel=0.08)
    assert by_name["epoch-2"].energy_j == pytest.approx(30.0, rel=0.25)


def test_an_epoch_that_one_loop_does_not_know_is_unknown_and_says_why() -> None:
    windows, done = timeline(3)
    lost = counter(lambda _: 300.0, done[2].spans_s[0][1] + 0.05)  # it was read no further
    by_name, stated = state(lost, windows, done)
    assert by_name["epoch-2"].energy_j is None
    assert by_name["epoch-2"].reason.startswith("in a loop: ")
    assert by_name["epoch-1"].energy_j is not None
    assert not [b for b in stated.budgets if b.window == "epoch-2"]


def test_an_estimate_has_a_mean_and_no_uncertainty() -> None:
    windows, done = timeline(4)
    channel = Channel("codecarbon/cpu", Kind.SAMPLED, Origin.ESTIMATED, Domain.CPU)
    times = [0.25 * i for i in range(int(4 * windows[0].end_s) + 20)]
    by_name, _ = state(Trace(channel, times, [40.0] * len(times)), windows, done)
    assert by_name["train"].energy_j == pytest.approx(40.0 * EPOCHS * EPOCH_S, rel=0.02)
    assert by_name["epoch-1"].energy_j == pytest.approx(40.0 * EPOCH_S, rel=0.02)
    assert by_name["epoch-1"].uncertainty_j is None


def test_a_measured_program_may_call_its_windows_as_it_likes() -> None:
    windows, done = timeline(3)
    program = RunSpec(variant="script", study="measured")
    trace = counter(lambda _: 100.0, windows[0].end_s + 5)
    whole = state(trace, windows, done, program)[0]["train"].energy_j
    assert whole == pytest.approx(100.0 * windows[0].duration_s, rel=0.1)


@pytest.mark.parametrize(
    ("training_s", "loops"),
    [(70.0, 1), (60.0, 1), (59.9, 2), (30.0, 3), (1.5, 42), (0.0, MOST_LOOPS), (1e-9, MOST_LOOPS)],
)
def test_as_many_loops_as_fill_the_window(training_s: float, loops: int) -> None:
    assert count_loops(training_s, 60.0) == loops
    assert loops in {1, MOST_LOOPS} or loops * training_s >= 60.0


def test_a_loop_that_is_sent_again_with_its_scores_is_one() -> None:
    loop = {"index": 1, "spans_s": [[0, 1]], "loss": 0.5, "accuracy": 0.9}
    scored = {**loop, "weights_sha256": "ab", "test_accuracy": 0.8}
    events = replay([{"loops": 3}, {"loop": loop}, {"loop": scored}])
    assert events.planned_loops == 3
    assert [each.test_accuracy for each in events.loops.values()] == [0.8]
