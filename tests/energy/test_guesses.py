"""What nobody set or knows is no fact: the country of the grid, the power of a processor."""

from __future__ import annotations

import json

import pytest

from builders.evidence import estimated_cpu, evidence, find_warnings
from builders.machine import LAPTOP, METERS
from builders.run import make_record, make_spec
from builders.study import gather
from wbcbench import table
from wbcbench.bundle.crate import format_boamps
from wbcbench.core.record import from_json, to_json
from wbcbench.core.spec import RunSpec
from wbcbench.power.meter import MeterRequest
from wbcbench.report.sections.carbon import build_carbon
from wbcbench.report.summaries import build_summary_rows
from wbcbench.report.words import format_both_errors, list_notices
from wbcbench.table.view import Run

UNKNOWN_CPU = METERS["codecarbon"] | {"cpu_tdp_known": False}
KNOWN_CPU = METERS["codecarbon"] | {"cpu_tdp_known": True}
GRAMS = ("co2e_g", "carbon_zone", "carbon_g_per_kwh", "carbon_source")


def unplaced(**changes: object):
    return make_record(spec=make_spec(country=None), **changes)


def test_no_country_is_set_where_nobody_sets_one():
    assert RunSpec("relu-dropout").country is None
    assert MeterRequest().country is None


def test_without_a_country_there_are_no_grams_in_the_table():
    row = table.row(unplaced())
    assert [row[name] for name in GRAMS] == [None] * 4
    assert None not in [table.row(make_record())[name] for name in GRAMS]


def test_a_record_without_a_country_is_read_back_and_one_that_names_it_keeps_it():
    for record in (unplaced(), make_record()):
        assert from_json(to_json(record), "x").spec == record.spec


def test_without_a_country_the_report_has_a_range_and_names_no_place_as_its_own():
    section = build_carbon(gather("study", [unplaced()]))
    text, (figure,) = section.statements[0].text, section.figures
    low, high = (figure.data.rows[end][0].partition(" (")[0] for end in (0, -1))
    assert f" in {low} and " in text
    assert text.endswith(f" in {high}.")
    assert "no country was set (--country)" in text
    assert "Germany" not in text
    assert "named in" not in text + figure.caption + figure.description


def test_without_a_country_the_exchange_format_has_no_place():
    document = json.loads(format_boamps(Run(unplaced()), "MIT"))
    assert "environment" not in document
    document = json.loads(format_boamps(Run(make_record()), "MIT"))
    assert document["environment"]["country"] == "DEU"


@pytest.mark.parametrize(
    ("facts", "words"),
    [(UNKNOWN_CPU, "knew no power rating of this processor and assumed 4 W a thread"),
     (KNOWN_CPU, "model of the processor's power rating and load")],
)  # fmt: skip
def test_what_an_estimate_rests_on_is_said_in_warning_and_report(facts, words):
    meters = {"codecarbon": facts}
    warning = find_warnings(evidence(estimated_cpu(), meters=meters))["energy-estimated"]
    assert words in warning.detail
    study = gather("study", [make_record(channels=LAPTOP, meters=meters)])
    [notice] = list_notices(study)
    assert notice.word == "estimated"
    assert words in notice.text
    assert "processor power rating ×" not in notice.text


def test_the_report_has_no_error_of_an_estimate():
    records = [make_record(seed=seed, channels=LAPTOP) for seed in (1, 2, 3)]
    [row] = build_summary_rows(gather("study", records))
    assert format_both_errors(row) == "1.60 kJ (estimated)"
    assert (row["energy_reading_j"], row["energy_board_j"]) == (None, None)


def test_where_nothing_is_known_of_the_model_nothing_is_claimed():
    record = make_record(channels=LAPTOP, meters={})
    [notice] = list_notices(gather("s", [record]))
    assert notice.word == "estimated"
    assert "rating" not in notice.text
