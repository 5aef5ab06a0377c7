"""Looks at a board: their log and their summary for a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.board_state import (
    COLUMNS,
    BoardSample,
    sample_from_line,
    sample_to_line,
    summarise_window,
)
from wbcbench.core.window import Window

numbers = st.none() | st.floats(0, 1e12)
pids = st.none() | st.lists(st.integers(1, 4_000_000), max_size=4).map(tuple)
words = st.none() | st.lists(st.sampled_from(["hw_slowdown", "gpu_idle"]), max_size=2).map(tuple)


@given(
    st.builds(
        BoardSample,
        t_s=st.floats(0, 1e9),
        temperature_c=numbers,
        clock_sm_hz=numbers,
        clock_memory_hz=numbers,
        utilization=numbers,
        memory_used_bytes=numbers,
        power_limit_w=numbers,
        reasons=words,
        own=pids,
        foreign=pids,
    )
)
def test_a_look_survives_its_line(look):
    assert sample_from_line(sample_to_line(look)) == look


def test_nobody_listed_differs_from_nothing_known():
    assert sample_from_line(sample_to_line(BoardSample(1.0, own=(), foreign=None))) == BoardSample(
        1.0, own=(), foreign=None
    )


@pytest.mark.parametrize("line", ["", ",".join(COLUMNS), "1.0,55", "," * 9, "x" + "," * 9])
def test_a_header_or_a_torn_line_is_no_look(line):
    assert sample_from_line(line) is None


WINDOW = Window("train", 10.0, 20.0)


def test_a_window_nobody_looked_at_has_no_summary():
    assert summarise_window("GPU-1", [], WINDOW) is None
    assert summarise_window("GPU-1", [BoardSample(5.0), BoardSample(25.0)], WINDOW) is None


def test_the_start_temperature_is_that_just_before_the_window():
    looks = [BoardSample(9.0 + i, temperature_c=40.0 + i) for i in range(12)]
    found = summarise_window("GPU-1", looks, WINDOW)
    assert found.temperature_start_c == 41.0  # the look at 10 s lies on the edge
    assert found.temperature_max_c == 51.0
    assert found.temperature_mean_c == pytest.approx(46.5)
    assert found.samples == 10


def test_unknown_readings_stay_unknown_and_do_not_count_as_zero():
    found = summarise_window(
        "GPU-1", [BoardSample(11.0), BoardSample(12.0, temperature_c=50.0, own=())], WINDOW
    )
    assert found.temperature_mean_c == 50.0
    assert found.clock_sm_hz is None
    assert found.utilization is None
    assert found.memory_peak_bytes is None
    assert found.sees_own is None
    assert found.processes_most is None


def test_a_throttle_reason_holds_until_the_next_look_and_is_cut_at_the_edges():
    hot = ("hw_slowdown", "sw_power_cap")
    looks = [
        BoardSample(9.0, reasons=hot),
        BoardSample(13.0, reasons=()),
        BoardSample(19.0, reasons=("hw_slowdown",)),
    ]
    found = summarise_window("GPU-1", [*looks, BoardSample(23.0, reasons=())], WINDOW)
    assert found.throttled_s == {"hw_slowdown": 4.0, "sw_power_cap": 3.0}


def test_strangers_are_collected_over_the_window():
    looks = [
        BoardSample(11.0, own=(100,), foreign=()),
        BoardSample(12.0, own=(100,), foreign=(7,)),
        BoardSample(13.0, own=(100,), foreign=(5, 7)),
        BoardSample(25.0, own=(), foreign=(9,)),
    ]
    found = summarise_window("GPU-1", looks, WINDOW)
    assert found.foreign_pids == (5, 7)
    assert found.sees_own is True
    assert found.processes_most == 3
