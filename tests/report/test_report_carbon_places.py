"""CO2e by place: the same joules on every grid of the table."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from builders.run import make_record
from builders.study import gather
from wbcbench.energy.metrics import load_intensities
from wbcbench.report.drawing import to_svg
from wbcbench.report.sections.carbon import build_carbon

STUDY = gather("study", [make_record(seed=seed) for seed in (1, 2)])


def test_grams_are_kilowatt_hours_times_the_grid():
    block = build_carbon(STUDY)
    joules = STUDY.runs[0].row["primary_energy_train_j"]
    rows = {row[0]: row for row in block.figures[0].data.rows}
    assert len(rows) == len(load_intensities())
    germany = load_intensities()["DEU"]
    place = f"Germany (DEU, {germany.year})"
    assert float(rows[place][2]) == pytest.approx(joules / 3.6e6 * germany.g_per_kwh, rel=5e-3)


def test_places_rise_and_the_ends_and_the_own_place_are_named():
    block = build_carbon(STUDY)
    grams = [float(row[2]) for row in block.figures[0].data.rows]
    assert grams == sorted(grams)
    assert "Germany, the country named in its runs" in block.claims[0].text
    assert f"{grams[-1] / grams[0]:.0f} times as much" in block.claims[0].text
    assert block.folded


def test_the_words_say_estimated_operational_and_where_the_table_is_from():
    block = build_carbon(STUDY)
    assert "Estimated" in block.paragraphs[0]
    assert "Operational energy" in block.paragraphs[0]
    caption = block.figures[0].caption
    assert "estimated" in caption
    assert "CodeCarbon" in caption
    assert "MIT licence" in caption


def test_the_picture_is_the_same_twice_and_names_the_places():
    first, second = (to_svg(build_carbon(STUDY).figures[0]) for _ in range(2))
    assert first == second
    assert "Germany (named in its runs)" in " ".join(ET.fromstring(first).itertext())


def test_without_joules_there_is_nothing_to_say():
    assert build_carbon(gather("none", [make_record(channels=())])) is None
