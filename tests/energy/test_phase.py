"""A long trace is followed in stretches side by side, to the last bit as one tracker follows it."""

from __future__ import annotations

import numpy as np
import pytest

from wbcbench.energy.phase import FEWEST_SIDE_BY_SIDE, follow_phase
from wbcbench.energy.renewals import LOOSENESSES, Looseness, RenewalTracker

POLLS, PERIOD_S = 2 * FEWEST_SIDE_BY_SIDE + 5000, 0.1


def follow_one_by_one(
    times: list[float], moves: list[int], looseness: Looseness
) -> tuple[np.ndarray, np.ndarray] | None:
    tracker = RenewalTracker(PERIOD_S, times[0], looseness)
    spans = [tracker.span]
    for before_s, t_s, moved in zip(times, times[1:], moves[1:], strict=False):
        tracker.follow(before_s, t_s, None if moved < 0 else moved > 0)
        spans.append(tracker.carry(t_s))
    lows, highs = np.array(spans).T
    return (lows, highs) if tracker.is_even() else None


def draw(
    seed: int, poll_s: float, jitter_s: float, drift: float, late: float, loose: float
) -> tuple[np.ndarray, np.ndarray]:
    """Polls of a sensor, and whether each shows a move; some were late, some tell nothing."""
    rng = np.random.default_rng(seed)
    times = 5000.0 + poll_s * np.arange(POLLS) + rng.uniform(0.0, jitter_s, POLLS)
    times += np.where(rng.random(POLLS) < late, rng.uniform(0.0, 0.09, POLLS), 0.0)
    times = np.sort(times.round(6))
    clock_s = times * (1 + drift) + 0.03 + rng.uniform(-loose, loose, POLLS) * PERIOD_S
    moves = (np.diff(np.floor(clock_s / PERIOD_S), prepend=-1) != 0).astype(np.int8)
    moves[(moves == 0) & (rng.random(POLLS) < 0.3)] = -1
    return times, moves


@pytest.mark.parametrize(
    ("poll_s", "jitter_s", "drift", "late", "loose"),
    [
        (0.1, 1e-4, 0.0, 0.0, 0.0),  # just after each renewal, which tells little
        (0.08, 0.04, 2e-4, 0.0, 0.0),  # at random: the period is soon sure
        (0.08, 0.04, -6e-4, 0.0005, 0.0),  # a few late polls contradict the others
        (0.08, 0.04, 1e-4, 0.01, 0.0),  # many do
        (0.05, 0.02, 1e-4, 0.0, 0.04),  # a sensor that is uneven
    ],
)
@pytest.mark.parametrize("looseness", LOOSENESSES)
def test_side_by_side_is_one_by_one_to_the_last_bit(
    poll_s, jitter_s, drift, late, loose, looseness
):
    times, moves = draw(7, poll_s, jitter_s, drift, late, loose)
    expected = follow_one_by_one(times.tolist(), moves.tolist(), looseness)
    found = follow_phase(times, moves, PERIOD_S, looseness)
    assert (found is None) == (expected is None)
    if found and expected:
        assert np.array_equal(found, expected)
