"""Quantities for people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.text import decode_word, energy_scale, human_duration, human_energy, printable


@pytest.mark.parametrize(
    ("energy_j", "text"),
    [
        (0.0, "0 J"),
        (0.0004, "400 µJ"),
        (0.367, "367 mJ"),
        (1.0, "1.00 J"),
        (264.0, "264 J"),
        (999.4, "999 J"),
        (999.6, "1.00 kJ"),
        (12320.0, "12.3 kJ"),
        (41_300_000.0, "41.3 MJ"),
        (-20.0, "-20.0 J"),
        (None, "unknown"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
    ],
)
def test_joules_scale_themselves_and_unknown_is_said(energy_j, text):
    assert human_energy(energy_j) == text


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.42, "0.420 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 00 s"),
        (151.2, "2 min 31 s"),
        (3899.0, "1 h 04 min"),
        (None, "unknown"),
    ],
)
def test_seconds_become_minutes_and_hours(time_s, text):
    assert human_duration(time_s) == text


@given(st.floats(1e-6, 1e12))
def test_three_digits_are_within_half_a_per_cent_of_the_truth(energy_j):
    number, unit = human_energy(energy_j).split(" ")
    scale = {"µJ": 1e-6, "mJ": 1e-3, "J": 1, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9}[unit]
    assert float(number) * scale == pytest.approx(energy_j, rel=6e-3)
    assert len(number.replace(".", "").lstrip("0")) <= 4


def test_an_axis_takes_one_unit_for_all_its_values():
    assert energy_scale(12_320.0) == (1e3, "kJ")
    assert energy_scale(0.0) == (1.0, "J")


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[31mb\x07\r\nc") == "a�[31mb��\nc"


@pytest.mark.parametrize(
    ("word", "text"),
    [("Müller", "Müller"), ("M\udcc3\udcbcller", "Müller"), ("M\udcfcller", "M\ufffdller")],
)
def test_a_word_of_the_command_line_is_utf_8_in_every_locale(word: str, text: str) -> None:
    assert decode_word(word) == text
