"""The report's words around the answer: what it cost, how it was done, how to do it again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builders.machine import LAPTOP
from builders.run import failed_record, make_record, make_spec, save
from builders.study import draw
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections import about, meters, quality
from wbcbench.report.summaries import build_cost_claim


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("clear"), *draw(3))
    return read_report_study(folder.parent, folder.name)


def test_the_study_costs_what_all_its_runs_cost_the_failed_ones_and_pilots_too(tmp_path):
    pilot = make_spec(study="runs-pilot", epochs=1)
    save(tmp_path, make_record(), failed_record(seed=2), make_record(spec=pilot))
    (claim,) = build_cost_claim(read_report_study(tmp_path, "runs"))
    assert "2 runs, idle phases and failed runs included" in claim.text
    assert "went into 1 run without result" in claim.text
    assert "1 pilot run used" in claim.text
    assert claim.values["energy_measured_j"] > claim.values["energy_wasted_estimated_j"] > 0


def test_joules_of_different_status_are_not_added(tmp_path):
    save(tmp_path, make_record(), make_record(seed=2, channels=LAPTOP))
    (claim,) = build_cost_claim(read_report_study(tmp_path, "runs"))
    assert ", measured) and " in claim.text
    assert ", estimated)" in claim.text


def test_chips_tell_each_part_of_the_machine_in_words(clear):
    chips = {chip.about: chip.words for chip in quality.build_quality(clear).chips}
    assert chips["GPU"] == "measured (energy counter)"
    assert chips["Processor"] == "measured (RAPL counter)"
    assert chips["Whole machine"] == "absent"
    assert chips["Samples a run"] == "400 in training, 60 recommended"


def test_a_estimated_part_is_marked_and_runs_that_differ_are_counted(tmp_path):
    save(tmp_path, make_record(), make_record(seed=2, channels=LAPTOP))
    chips = {
        chip.about: chip
        for chip in quality.build_quality(read_report_study(tmp_path, "runs")).chips
    }
    assert chips["GPU"].is_flagged
    assert chips["GPU"].words == "absent in 1 run; measured (energy counter) in 1 run"


def test_the_budget_tells_what_cancels_and_what_does_not(clear):
    block = meters.build_uncertainty(clear)
    assert "a constant gain error of the sensor cancels" in block.paragraphs[0]
    assert [row[0] for row in block.tables[0].rows] == [
        "gain",
        "quantisation",
        "edges",
        "sampling",
        "baseline",
        "runs",
    ]


def test_methods_are_of_the_settings_of_the_runs(clear):
    told = dict(about.build_methods(clear).tables[0].rows)
    assert "This study has no plan" in told["design"]
    assert "epochs: 4" in told["training"]
    assert "6 tests" in told["primary family"]


def test_limits_name_the_part_the_photographs_and_the_validation_on_test(clear):
    words = " ".join(about.build_limits(clear).paragraphs)
    assert "the GPU boards alone" in words
    assert "71 photographs" in words
    assert "TEST was used for validation" in words


def test_a_run_is_reproduced_by_what_differs_from_the_defaults(tmp_path):
    spec = make_spec(seed=7, precision="mixed_float16", tuned=False, interval_s=0.2)
    save(tmp_path, make_record(spec=spec))
    lines = about.build_reproduce(read_report_study(tmp_path, "runs")).listings[0].text.splitlines()
    assert lines[0] == "git checkout 0123456789abcdef && make setup"
    assert lines[1] == (
        "wbcbench run --variant leaky-dropout --seed 7 --epochs 4 --precision mixed_float16 "
        "--no-tuned --target-value 0.8 --interval 0.2 --country DEU --study runs --results again "
        "--data FOLDER"
    )
    assert lines[2] == "wbcbench report runs --results again"


def test_words_of_records_never_reach_a_command(tmp_path):
    record = make_record(provenance={"git_commit": "$(reboot)"})
    save(tmp_path, record)
    text = about.build_reproduce(read_report_study(tmp_path, "runs")).listings[0].text
    assert "reboot" not in text
    assert text.startswith("make setup\n")


def test_the_reference_of_the_program_is_that_of_its_citation_file():
    stated = Path("CITATION.cff").read_text(encoding="utf-8")
    title, version = (
        re.search(rf'^{key}: "?([^"\n]+)', stated, re.M)[1] for key in ("title", "version")
    )
    assert f"title   = {{{title}}}" in about.references()
    assert f"version = {{{version}}}" in about.references()
