"""Labels of figures: short, in order, and never on top of each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.report.drawing import (
    clean_line,
    clip_places,
    make_short_labels,
    spread_places,
    trim_label,
)


@given(st.lists(st.floats(-1e3, 1e3), max_size=12), st.floats(0.01, 10))
def test_labels_keep_their_order_and_their_distance(wanted, gap):
    places = spread_places(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    steps = [places[b] - places[a] for a, b in itertools.pairwise(order)]
    assert all(step >= gap * (1 - 1e-6) - 1e-9 for step in steps)


@given(st.lists(st.integers(0, 20).map(lambda n: n * 5.0), unique=True, max_size=8))
def test_labels_with_room_stay_where_they_are_wanted(wanted):
    assert spread_places(wanted, 1.0) == pytest.approx(wanted)


def test_a_long_name_is_cut_to_one_short_line():
    assert trim_label("a\nb  c") == "a b c"
    assert len(trim_label("x" * 10_000)) == 26


def test_names_that_differ_only_in_the_middle_get_labels_of_their_own():
    alike = [f"relu-{'x' * 40}{i}{'y' * 40}" for i in range(12)]
    given = make_short_labels(alike)
    assert len(set(given.values())) == 12
    assert all(len(label) <= 26 for label in given.values())


def test_a_label_holds_no_sign_that_no_picture_can_hold():
    assert clean_line("a\x00b\x1b[31m\u202ec\ud800\n d") == "ab[31mc d"


@given(st.lists(st.floats(-50, 50), max_size=8), st.floats(0.1, 5))
def test_labels_with_room_stay_inside_the_plot_and_apart(wanted, gap):
    places = clip_places(spread_places(wanted, gap), gap, -50.0, 50.0)
    assert all(-50 <= place <= 50 + 1e-9 for place in places)
    assert all(b - a >= gap * (1 - 1e-6) for a, b in itertools.pairwise(sorted(places)))
