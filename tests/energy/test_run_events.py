"""Messages become windows; what a kill cuts short is closed where the trace ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.window import Window
from wbcbench.energy.account import replay


def mark(edge: str, window: str, t_s: float) -> dict[str, object]:
    return {"mark": edge, "window": window, "t_s": t_s}


def test_two_edges_make_a_window() -> None:
    events = replay([mark("open", "train", 1.0), mark("close", "train", 4.0)])
    assert events.windows == [Window("train", 1.0, 4.0)]


def test_a_window_cut_by_a_kill_ends_where_the_trace_ends() -> None:
    events = replay([mark("open", "train", 1.0), mark("open", "epoch-1", 2.0)])
    assert events.close_open(5.0) == ("train", "epoch-1")
    assert events.windows == [Window("train", 1.0, 5.0), Window("epoch-1", 2.0, 5.0)]


def test_a_window_that_opens_after_the_trace_ended_stays_without_a_length() -> None:
    events = replay([mark("open", "train", 9.0)])
    assert events.close_open(5.0) == ("train",)
    assert events.windows == [Window("train", 9.0, 9.0)]


def test_a_window_closed_between_the_last_poll_and_a_kill_ends_with_the_trace() -> None:
    closed = [mark("open", "validate-1", 3.0), mark("close", "validate-1", 5.1)]
    events = replay([mark("open", "train", 1.0), *closed, mark("open", "epoch-2", 5.1)])
    assert events.close_open(5.0) == ("train", "epoch-2")
    cut, late = Window("train", 1.0, 5.0), Window("epoch-2", 5.1, 5.1)
    assert events.windows == [Window("validate-1", 3.0, 5.0), cut, late]


def test_after_a_recorders_death_a_window_that_had_ended_is_cut_at_the_last_poll_on_disk() -> None:
    events = replay([mark("open", "train", 1.0), mark("close", "train", 5.4)])
    assert events.close_open(5.0, is_abandoned=True) == ("train",)
    assert events.windows == [Window("train", 1.0, 5.0)]


def test_without_a_kill_a_trace_that_ends_early_shortens_no_window() -> None:
    events = replay([mark("open", "train", 1.0), mark("close", "train", 9.0)])
    assert events.close_open(5.0) == ()
    assert events.windows == [Window("train", 1.0, 9.0)]


def test_a_close_without_an_open_says_nothing() -> None:
    assert replay([mark("close", "train", 9.0)]).windows == []


def test_messages_of_a_later_version_are_passed_over() -> None:
    assert replay([{"hologram": 1}, {"end": "done"}]).end == "done"


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=20))
def test_every_opened_window_is_accounted_for_once(names: list[str]) -> None:
    events = replay([mark("open", name, float(i)) for i, name in enumerate(names)])
    events.close_open(100.0)
    assert sorted(w.name for w in events.windows) == sorted(set(names))
