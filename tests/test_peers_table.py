"""The table of `make bench-peers`: what is compared, what counts as missed, what is written."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import peer_rows, peers_table
from benchmarks.peer_rows import IDLE_W, LENGTH_S, LOAD_AT_S, ROWS, TimedLoad
from benchmarks.peers_table import (
    BEGIN,
    END,
    OURS,
    TOOLS,
    Result,
    check,
    compare_with_best,
    compute_rms,
    read_csv,
    table,
    write_csv,
    write_page,
)
from fakes.power_shapes import Square


class Row(SimpleNamespace):
    def __hash__(self) -> int:
        return hash(self.key)


SOUND = Row(
    key="V100, constant",
    board="V100",
    load="constant",
    fault="",
    is_faulty=False,
    has_counter=True,
)
FAULTY = Row(
    key="V100, counter freezes",
    board="V100",
    load="constant",
    fault="counter freezes",
    is_faulty=True,
    has_counter=True,
)
FACTS = {"date": "2026-01-02", "packages": "zeus==1, codecarbon==2", "cores": "2", "repeats": "7"}


def windows(spread_pct: dict[str, float], seeds: range = range(-5, 13)) -> list[Result]:
    """Every tool's windows of the sound row, errors normal with the spreads given."""
    rng = random.Random(3)
    return [
        Result(SOUND.key, seed, tool, rng.gauss(0.0, spread), 3.0, 0.1, 0.1, "valid")
        for seed in seeds
        for tool, spread in spread_pct.items()
    ]


def faulty(error_pct: float | None, messages: str, u_pct: float | None = 2.0) -> Result:
    return Result(FAULTY.key, 1, OURS, error_pct, u_pct, 0.1, 0.1, messages)


def test_root_mean_square() -> None:
    assert compute_rms([3.0, -4.0]) == pytest.approx(math.sqrt(12.5))
    assert math.isnan(compute_rms([]))


def test_the_best_peer_is_chosen_on_other_seeds_than_it_is_compared_on() -> None:
    choosing = windows({OURS: 0.5, "zeus": 0.2, "loop": 2.0}, range(-5, 1))
    comparing = windows({OURS: 0.5, "zeus": 2.0, "loop": 0.2}, range(1, 13))
    comparison = compare_with_best(choosing + comparing)
    assert comparison is not None
    assert comparison.peer == "zeus"
    ours = [r.error_pct for r in comparing if r.tool == OURS and r.error_pct is not None]
    theirs = [r.error_pct for r in comparing if r.tool == "zeus" and r.error_pct is not None]
    assert comparison.difference == pytest.approx(compute_rms(ours) - compute_rms(theirs))
    assert comparison.low < comparison.difference < comparison.high


def test_a_row_is_missed_only_where_ours_is_worse_beyond_the_bound() -> None:
    assert check([SOUND], windows({OURS: 0.30, "zeus": 0.25})) == []
    (miss,) = check([SOUND], windows({OURS: 2.0, "zeus": 0.25}))
    assert "V100, constant" in miss
    assert "zeus" in miss


def test_a_peer_without_joules_is_never_the_best_and_ours_must_have_all() -> None:
    results = windows({OURS: 0.5, "zeus": 0.1, "loop": 0.3})
    silent = Result(SOUND.key, 0, "zeus", None, messages="error: lost")
    results = [silent if (r.seed, r.tool) == (0, "zeus") else r for r in results]
    comparison = compare_with_best(results)
    assert comparison is not None
    assert comparison.peer == "loop"
    unknown = Result(SOUND.key, 3, OURS, None, messages="invalid energy-unknown")
    results = [unknown if (r.seed, r.tool) == (3, OURS) else r for r in results]
    assert len(check([SOUND], results)) == 1


@pytest.mark.parametrize(
    ("error_pct", "messages", "is_missed"),
    [
        (-30.0, "valid short-window", True),
        (-30.0, "valid check-depth", False),
        (-30.0, "valid counter-frozen", False),
        (-30.0, "suspect", False),
        (-1.0, "valid", False),
        (None, "valid", False),
        (None, "error: RuntimeError", False),
    ],
)
def test_silent_and_wrong_is_a_valid_number_without_a_word_and_the_truth_outside(
    error_pct: float | None, messages: str, is_missed: bool
) -> None:
    assert bool(check([FAULTY], [faulty(error_pct, messages)])) == is_missed


def test_what_a_tool_says_of_sound_boards_is_no_warning_of_a_fault() -> None:
    ordinary = "default power is used"
    sound = Result(SOUND.key, 1, "codecarbon", 0.1, messages=ordinary)
    wrong = Result(FAULTY.key, 1, "codecarbon", 50.0, messages=ordinary)
    warned = Result(FAULTY.key, 1, "zeus", 50.0, messages="counter went backwards")
    text = table([SOUND, FAULTY], [sound, wrong, warned, faulty(None, "invalid x")], FACTS)
    (line,) = (line for line in text.splitlines() if "counter freezes" in line)
    assert "50.00, silent" in line
    assert "50.00, warns 1/1" in line
    assert "invalid 1" in line
    assert (
        "more than 3 % off without a word, in 1 windows: wbcbench 0, zeus 0, CodeCarbon 1" in text
    )


def test_the_table_stands_between_its_marks_and_is_made_again_from_the_file(tmp_path: Path) -> None:
    results = [*windows(dict.fromkeys(TOOLS, 0.4)), faulty(None, "invalid counter-frozen")]
    write_csv(tmp_path / "peers.csv", results, FACTS)
    again, facts = read_csv(tmp_path / "peers.csv")
    text = table([SOUND, FAULTY], again, facts)
    assert text == table([SOUND, FAULTY], results, FACTS)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale words\n{END}\nafter\n")
    write_page(text, page)
    content = page.read_text()
    assert content.startswith("before\n")
    assert content.endswith("after\n")
    assert "stale words" not in content
    assert "2026-01-02" in content


def test_the_page_has_the_marks() -> None:
    content = peers_table.PAGE.read_text(encoding="utf-8")
    assert content.count(BEGIN) == content.count(END) == 1


def test_a_load_is_idle_outside_its_ten_seconds_and_its_steps_hold_its_joules(
    tmp_path: Path,
) -> None:
    load = TimedLoad(Square(90.0, 280.0, 1.73), 0.4)
    assert load.energy_j(LOAD_AT_S - 2.0, LOAD_AT_S) == pytest.approx(2.0 * IDLE_W)
    inside = Square(90.0, 280.0, 1.73).energy_j(0.4, 0.4 + LENGTH_S)
    around = load.energy_j(LOAD_AT_S - 1.0, LOAD_AT_S + LENGTH_S + 1.0)
    assert around == pytest.approx(inside + 2.0 * IDLE_W)
    path = load.statement(tmp_path).split("path=")[1]
    rows = [line.split() for line in Path(path).read_text().splitlines()]
    times, powers = ([float(row[place]) for row in rows] for place in (0, 1))
    steps = zip(times[1:], times[2:], powers[1:], strict=False)
    assert sum((end - start) * power for start, end, power in steps) == pytest.approx(inside)


def test_the_same_seed_makes_the_same_boards() -> None:
    keys = [row.key for row in ROWS]
    assert len(set(keys)) == len(keys)
    for row in ROWS:
        assert row.draw_boards(random.Random(1)) == row.draw_boards(random.Random(1))
        assert row.draw_boards(random.Random(1)) != row.draw_boards(random.Random(2))
    assert peer_rows.BOARDS["P100"].counter.supported is False
