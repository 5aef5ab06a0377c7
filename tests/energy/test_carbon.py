"""Grams of CO2 equivalent from the offline table of grids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.energy.metrics import carbon_g, intensity, load_intensities

joules = st.floats(0, 1e9)


@given(joules, st.floats(0, 2000), st.floats(1, 3))
def test_grams_are_kilowatt_hours_times_pue_times_intensity(energy_j, g_per_kwh, pue):
    expected_g = energy_j / 3.6e6 * pue * g_per_kwh
    assert carbon_g(energy_j, g_per_kwh, pue) == pytest.approx(expected_g)


def test_unknown_joules_or_an_unknown_grid_give_unknown_grams():
    assert carbon_g(None, 400.0) is None
    assert carbon_g(3.6e6, None) is None


def test_one_kilowatt_hour_in_germany_is_the_tables_number():
    grid = intensity("DEU")
    assert (grid.country, grid.year, grid.g_per_kwh) == ("Germany", 2023, 380.95)
    assert carbon_g(3.6e6, grid.g_per_kwh) == pytest.approx(380.95)


def test_no_other_grid_stands_in_for_an_unknown_place():
    assert intensity("XXX") is None


def test_every_grid_has_a_plausible_number_a_year_and_a_source():
    for zone, grid in load_intensities().items():
        assert len(zone) == 3
        assert zone.isupper()
        assert 1 < grid.g_per_kwh < 1500
        assert 2000 <= grid.year <= 2026
        assert grid.source.startswith("CodeCarbon ")
    assert len(load_intensities()) > 150
