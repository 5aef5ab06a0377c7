"""Labels of figures: short, in order, and never on top of each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.report.page.drawing import short, spread


@given(st.lists(st.floats(-1e3, 1e3), max_size=12), st.floats(0.01, 10))
def test_labels_keep_their_order_and_their_distance(wanted, gap):
    places = spread(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    steps = [places[b] - places[a] for a, b in itertools.pairwise(order)]
    assert all(step >= gap * (1 - 1e-6) - 1e-9 for step in steps)


@given(st.lists(st.integers(0, 20).map(lambda n: n * 5.0), unique=True, max_size=8))
def test_labels_with_room_stay_where_they_are_wanted(wanted):
    assert spread(wanted, 1.0) == pytest.approx(wanted)


def test_a_long_name_is_cut_to_one_short_line():
    assert short("a\nb  c") == "a b c"
    assert len(short("x" * 10_000)) == 26
