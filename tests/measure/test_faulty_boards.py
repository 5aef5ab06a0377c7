"""No wrong number is stated without a word, on boards of which something is wrong.

A seeded window of every kind, in virtual time; ``benchmarks/faulty_windows.py`` plays hundreds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes.faulty_boards import KINDS, Verdict, draw_window, play_window
from fakes.known_load import Bench
from fakes.nvml_plugin import ScriptedNvml

SEED = 0
LONGEST_S = 20.0

SOUND = {"unlike boards", "usage and instant", "counter stumbles at opening"}
# Whose sensor has another gain than it says, for a while or for good: that can be told, not mended.
MAY_BE_WRONG = {
    "power stuck after noise, no counter", "power stuck for good, no counter", "power absurd",
    "power scaled, no counter", "power lags, no counter", "power averaged, no counter",
    "power renewed slowly, no counter", "counter steps slowly", "counter with a false gain",
    "counter whose gain changes", "counter loses energy", "counter freezes for good",
    "counter jumps", "counter jumps by less than a poll may hold", "counter jumps often",
    "counter loses a little often", "counter of other units", "two faults of a counter",
    "faults of both readings", "faults of two boards", "power stuck from the start, no counter",
    "anything",
    # ± of an average holds 95 %, and a miss is told.
    "counter frozen from the start",
}  # fmt: skip


@pytest.fixture
def bench(scripted_nvml: ScriptedNvml, tmp_path: Path) -> Bench:
    return Bench(scripted_nvml, tmp_path)


def play(bench: Bench, kind: str, seed: int) -> Verdict:
    drawn = draw_window(kind, seed, longest_s=LONGEST_S)
    (verdict,) = play_window(bench, drawn, os.environ)  # type: ignore[arg-type]
    return verdict


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_is_right_or_unknown_or_named_as_wrong(kind: str, bench: Bench) -> None:
    verdict = play(bench, kind, SEED)
    outcomes = {"right", "near"}
    if kind not in SOUND:
        outcomes.add("none")
    if kind in MAY_BE_WRONG:
        outcomes |= {"told", "shallow"}
    assert verdict.outcome in outcomes, str(verdict)


def test_a_window_is_the_same_whenever_it_is_drawn(bench: Bench) -> None:
    first, again = (play(bench, "anything", 4) for _ in range(2))
    assert first.drawn == again.drawn
    assert str(first) == str(again)
