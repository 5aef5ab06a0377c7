"""The first screen: the answer, the status line, and the table of variants."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from builders.machine import (
    CPU_MODEL,
    GPU_MACHINE,
    LAPTOP,
    METERS,
    PROVENANCE,
    RAM_MODEL,
    SYNTHETIC_CHANNELS,
)
from builders.run import changed, failed_record, make_record, make_scores, make_spec, save
from builders.study import CLEAR, NOTHING, VARIANTS, draw, gather, store_plan
from wbcbench.compare.result import build_contrast_row, format_contrast_key
from wbcbench.compare.sentences import describe_differences
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.report import Place, build
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.breakdown import build_breakdown
from wbcbench.report.sections.comparison import build_comparison
from wbcbench.report.sections.measurement import build_measurement
from wbcbench.report.sections.methods import build_methods
from wbcbench.report.sections.result import build_result
from wbcbench.report.summaries import build_summary_rows
from wbcbench.report.words import describe_variant, list_notices
from wbcbench.study import plan
from wbcbench.study.experiment import Experiment

WALL = Channel("wall/system/power", Kind.SAMPLED, Origin.MEASURED, Domain.SYSTEM, "wall_meter")
ELSEWHERE = {**PROVENANCE, "host_id": "other"}


def read(tmp_path, records):
    folder = save(tmp_path, *records)
    return read_report_study(folder.parent, folder.name)


def answer(tmp_path, records):
    """The sentences of the answer and the study they are of."""
    study = read(tmp_path, records)
    return [each.text for each in build_result(study).statements], study


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    return read(tmp_path_factory.mktemp("clear"), draw(8))


# -- the answer -----------------------------------------------------------------------------------


def test_the_answer_is_one_sentence_a_variant_with_difference_and_interval(clear):
    section = build_result(clear)
    assert section.place is Place.FIRST
    first, *_ = statements = section.statements
    assert [each.text for each in statements] == [
        each.text for each in describe_differences(clear.comparison)
    ]
    assert first.text.startswith("relu-batchnorm uses 7.6 % less energy than relu-dropout (95 % CI")
    assert first.strong[0] == "relu-batchnorm"


def test_every_sentence_follows_from_the_values_of_its_row(clear):
    rows = {format_contrast_key(e): build_contrast_row(e) for e in clear.comparison.effects}
    for statement in build_result(clear).statements:
        assert statement.source == "contrasts.csv"
        own = {k: v for k, v in statement.values.items() if "." not in k}
        others = {k.partition(".")[2]: v for k, v in statement.values.items() if "." in k}
        assert own == rows[statement.row]
        second = statement.row.replace(own["metric"], str(others["metric"]))
        assert others == rows[second]


def test_the_answer_has_at_most_three_sentences_and_says_how_many_more_there_are(tmp_path):
    variants = [*VARIANTS, "gelu-dropout", "selu-dropout"]
    texts, _ = answer(tmp_path, draw(8, NOTHING, variants=variants))
    assert texts[3:] == ["2 further contrasts in the comparison below."]


def test_accuracy_of_networks_that_name_one_class_is_no_answer_and_their_joules_are(tmp_path):
    warning = QualityWarning("one-class-predicted", Severity.SUSPECT, "600 of 600.", "Train on.")
    marked = changed(
        draw(8),
        lambda r: r.spec.variant.endswith("batchnorm"),
        test=make_scores(0.24),
        warnings=(warning,),
        quality=Quality.SUSPECT,
    )
    texts, study = answer(tmp_path, marked)
    assert (
        texts[0]
        == "relu-batchnorm uses 7.6 % less energy than relu-dropout (95 % CI 7.2 to 8.0 %)."
    )
    assert texts[-1] == (
        "No result: the accuracy of relu-batchnorm (8 of 8 runs), leaky-batchnorm (8 of 8 runs). "
        "These networks learned the training images and take nearly all others for one class. "
        "Their joules hold."
    )
    assert not any("accurate" in text for text in texts)
    assert [n.text for n in list_notices(study)] == ["16 of 32 runs have warnings."]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (draw(2), "there are 2 complete seeds, and an interval needs 3"),
        (draw(1), "there is 1 complete seed, and an interval needs 3"),
        (
            draw(5),
            "Inconclusive with 5 seeds, with which p cannot fall below 0.062: energy of relu-",
        ),
        (draw(8, channels=()), "No energy is compared: no meter worked"),
        ([make_record()], "One variant: there is nothing to compare it with."),
        ([failed_record(), failed_record(seed=2)], "none of 2 runs ended well"),
        ([make_record(), make_record("relu-dropout", 2)], "no seed has a finished run of every"),
        (
            [make_record(), make_record("relu-dropout", channels=LAPTOP)],
            "Not comparable: primary_status differs",
        ),
    ],
    ids=["2", "1", "5", "no-energy", "one-variant", "failed", "incomplete", "mixed"],
)
def test_what_cannot_be_shown_is_said_with_the_reason(tmp_path, records, words):
    texts, study = answer(tmp_path, records)
    assert words in texts[-1]
    decided = {"different", "equivalent"}
    effects = study.comparison.effects if study.comparison else ()
    if not any(effect.result in decided for effect in effects):
        assert not any(re.search(r"\b(less|more|same)\b", text) for text in texts)


def test_without_a_difference_the_answer_is_how_far_the_variants_lie_apart(tmp_path):
    (first, _), study = answer(tmp_path, draw(2))
    statement = build_result(study).statements[0]
    assert first == (
        "The 4 variants used 10.5 kJ to 11.8 kJ in training and reached an accuracy of 79.1 % to "
        "81.0 % (means)."
    )
    means = [row["primary_energy_train_j"] for row in build_summary_rows(study)]
    assert statement.values["primary_energy_train_j_lowest"] == min(means)
    assert statement.values["primary_energy_train_j_highest"] == max(means)


def test_a_single_variant_is_told_with_both_errors_and_what_is_unknown_is_left_out(tmp_path):
    (first, _), study = answer(tmp_path, [make_record()])
    assert first == (
        "leaky-dropout used 11.2 kJ ± 617 J (reading) ± 560 J (board) in 40.0 s and reached an "
        "accuracy of 0.800 (95 % CI over photographs 0.70–0.90) in 1 run."
    )
    (statement, _) = build_result(study).statements
    assert (statement.source, statement.row) == ("summary.csv", "leaky-dropout")
    assert describe_variant(statement.values) == statement.text
    bare = {"channels": (), "epochs": (), "windows": (), "dataset": None, "model": None}
    (row,) = build_summary_rows(gather("x", [make_record(test=None, provenance={}, **bare)]))
    assert describe_variant(row) == "leaky-dropout trained in 1 run."


def test_no_sentence_depends_on_the_order_of_the_folders(tmp_path, clear):
    texts, _ = answer(tmp_path, list(reversed(draw(8))))
    assert texts == [each.text for each in build_result(clear).statements]


# -- the status line ------------------------------------------------------------------------------


def notices(*records):
    return {n.word: n.text for n in list_notices(gather("runs", records))}


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (make_record(channels=LAPTOP), "estimated"),
        (make_record(channels=SYNTHETIC_CHANNELS), "synthetic"),
        (make_record(channels=()), "no energy"),
        (failed_record(), "nothing finished"),
        (make_record(provenance={"git_dirty": True}), "uncommitted"),
        (make_record(quality=Quality.SUSPECT), "suspect"),
    ],
)
def test_what_a_reader_must_know_first_is_a_notice(record, word):
    assert list(notices(record)) == [word]


def test_a_sound_measured_study_has_no_notice(clear):
    assert list(list_notices(clear)) == []
    assert notices(make_record(channels=(*GPU_MACHINE, WALL))) == {}


def test_estimated_joules_are_never_told_as_a_saving(tmp_path):
    texts, study = answer(tmp_path, draw(8, channels=LAPTOP))
    assert all("estimated energy" in text for text in texts)
    (notice,) = list_notices(study)
    assert "no saving may be claimed" in notice.text
    assert "Energy, kJ (estimated)" in build_result(study).tables[0].headings


def test_what_an_estimate_rests_on_and_which_runs_have_one_is_said():
    words = notices(make_record(), make_record(seed=2, channels=LAPTOP, provenance=ELSEWHERE))
    assert words["estimated"].startswith(
        "Energy of the CPU in 1 of 2 runs is no measurement but an estimate (CodeCarbon's model"
    )
    assert words["mixed"].startswith(
        "1 of 2 finished runs differ in the part that was read, how it was read, "
    )
    unknown = {"codecarbon": {**METERS["codecarbon"], "cpu_tdp_known": False}}
    assert "assumed" in notices(make_record(channels=LAPTOP, meters=unknown))["estimated"]


def test_a_simulated_signal_is_named_in_every_sentence_of_joules(tmp_path):
    texts, study = answer(tmp_path, draw(8, channels=SYNTHETIC_CHANNELS))
    assert all(" simulated energy" in text for text in texts)
    assert build_result(study).tables[0].caption.endswith("Synthetic: no result.")


# -- the table of variants ------------------------------------------------------------------------


def test_the_table_has_mean_and_interval_in_one_cell_and_a_star_where_it_is_different(clear):
    (table,) = build_result(clear).tables
    assert table.headings == (
        "Variant", "Seeds", "Accuracy, %", "Energy, kJ", "Energy against baseline, %", "Time, s",
        "mJ per image",
    )  # fmt: skip
    assert table.rows[0] == (
        "relu-dropout", "8", "79.1 [78.9, 79.2]", "11.1 [10.8, 11.4]", "baseline", "40.0", "331",
    )  # fmt: skip
    assert table.rows[1][4] == "-7.6 [-8.0, -7.2] *"
    assert table.keys == tuple(row[0] for row in table.rows)
    assert "Mean [95 % CI over seeds]. * different after Holm over 6 tests." in table.caption
    assert "Energy: training, GPU, measured (energy counter), ± 5.7 % (reading)" in table.caption


def test_what_is_not_different_has_no_star_and_zero_no_sign(tmp_path):
    (table,) = build_result(read(tmp_path, draw(8, NOTHING))).tables
    cells = [row[4] for row in table.rows]
    assert not any("*" in cell or "-0.0 " in cell for cell in cells)
    assert "0.0 [-0.3, +0.3]" in cells
    assert "different" not in table.caption


def test_two_runs_have_lowest_and_highest_and_one_has_neither(tmp_path):
    (table,) = build_result(read(tmp_path, draw(2, CLEAR))).tables
    assert table.caption.startswith("Mean (lowest–highest).")
    assert all(re.fullmatch(r"\d+\.\d \(.*–.*\)", row[3]) for row in table.rows)
    assert table.rows[1][4] == "-8.2"  # two seeds give no interval
    (table,) = build_result(gather("one", [make_record()])).tables
    assert table.rows[0][2:4] == ("80.0", "11.2")
    assert "the accuracy of leaky-dropout may be 70–90 % (95 % CI)" in table.caption


def test_the_meters_error_of_absolute_joules_holds_the_gain():
    (row,) = build_summary_rows(gather("one", [make_record()]))
    energy_j = row["primary_energy_train_j"]
    assert row["energy_reading_j"] > 0.05 * energy_j  # the builder's, and its validation passes'
    assert row["energy_board_j"] == pytest.approx(0.05 * energy_j)  # of the board


def test_failed_runs_are_counted_and_in_no_mean(tmp_path):
    records = [*draw(3), failed_record(spec=make_spec(VARIANTS[0], 1004, block=4, study="study"))]
    study = read(tmp_path, records)
    (table,) = build_result(study).tables
    assert [row[1] for row in table.rows] == ["3 of 4", "3", "3", "3"]
    assert next(iter(list_notices(study))).word == "incomplete"


def test_a_run_that_was_run_again_leaves_no_study_incomplete(tmp_path, monkeypatch):
    records = [*draw(3), failed_record(spec=make_spec(VARIANTS[0], 1004, block=4, study="study"))]
    study = read(tmp_path, records)
    monkeypatch.setattr(type(study), "planned", len(draw(3)))
    notice = next(iter(list_notices(study)))
    assert notice.word == "left out"
    assert notice.text == (
        "1 of 13 runs failed, stopped early or is invalid; it is in no mean; "
        "all 12 planned runs are finished."
    )


def test_runs_of_another_kind_are_in_no_mean_and_on_no_axis(tmp_path):
    records = [make_record(v, s) for v in VARIANTS[:2] for s in (1, 2, 3)]
    study = read(tmp_path, [*records, make_record(VARIANTS[0], 9, channels=LAPTOP)])
    section = build_result(study)
    (table,) = section.tables
    (row,) = (row for row in table.rows if row[0] == VARIANTS[0])
    assert row[1] == "3 of 4"
    assert row[3].startswith("11.2 [11.2")
    (figure,) = section.figures
    assert make_spec(VARIANTS[0], 9).run_id not in {row[1] for row in figure.data.values}


# -- a wall meter, and parts that are estimated ---------------------------------------------------


def test_a_wall_meter_is_the_measured_energy_of_the_machine_in_table_status_and_breakdown(tmp_path):
    study = read(tmp_path, draw(4, channels=(*LAPTOP, WALL)))
    (table,) = build_result(study).tables
    machine = table.headings.index("Whole machine, kJ (measured)")
    assert [row[machine].partition(" ")[0] for row in table.rows] == [
        "15.9",
        "14.7",
        "16.6",
        "15.3",
    ]
    (notice,) = list_notices(study)
    assert notice.text.endswith("The whole machine's is measured by a wall meter.")
    totals = build_breakdown(study).tables[0]
    assert totals.headings[-1] == "Whole machine, measured"
    states = dict(row[:2] for row in build_measurement(study).tables[0].rows)
    assert states["whole machine"] == "measured (wall meter)"
    (text, _), _ = answer(tmp_path / "one", [make_record(channels=(*LAPTOP, WALL))])
    assert text.endswith("in 1 run; the whole machine used 16.0 kJ, measured.")
    (text, _), alone = answer(tmp_path / "wall", [make_record(channels=(WALL,))])
    assert "the whole machine used" not in text
    assert "Energy: training, whole machine, measured" in build_result(alone).tables[0].caption


def test_estimated_parts_have_a_sum_of_their_own_and_the_machine_is_in_none():
    channels = (*GPU_MACHINE[:2], CPU_MODEL, RAM_MODEL, WALL)
    totals = build_breakdown(gather("runs", [make_record(channels=channels)])).tables[0]
    assert totals.headings == (
        "Variant", "GPU, measured", "CPU, estimated", "DRAM, estimated", "Sum, estimated",
        "Whole machine, measured",
    )  # fmt: skip
    (_, gpu_j, cpu_j, dram_j, sum_j, machine_j) = totals.values[0]
    assert sum_j == pytest.approx(cpu_j + dram_j)
    assert machine_j > gpu_j > sum_j
    measured = build_breakdown(gather("runs", [make_record(channels=GPU_MACHINE[:5])])).tables[0]
    assert measured.headings[-1] == "Sum, measured"
    assert measured.values[0][-1] == pytest.approx(sum(measured.values[0][1:-1]))


# -- what the plan fixed --------------------------------------------------------------------------

PLAN = Experiment("study", (1001, 1002, 1003), 3, {"variant": VARIANTS})


def test_contrasts_of_a_study_whose_plan_has_more_are_not_called_planned(tmp_path):
    folder = save(tmp_path, *(r for r in draw(3) if r.spec.variant.startswith("relu")))
    store_plan(plan.make_plan(PLAN), folder)
    study = read_report_study(folder.parent, folder.name)
    assert (
        "no difference is concluded (6 planned runs have not been carried out to the end yet)"
        in build_comparison(study).tables[0].caption
    )
    assert [n.text for n in list_notices(study)] == ["6 of 12 planned runs are finished."]
    texts = [each.text for each in build_result(study).statements]
    assert texts[0].startswith("Estimate from 3 seeds, not tested: ")


def test_contrasts_of_the_plan_are_called_fixed_before_the_first_run(tmp_path):
    folder = save(tmp_path, *draw(3))
    store_plan(plan.make_plan(PLAN), folder)
    study = read_report_study(folder.parent, folder.name)
    assert "fixed before the first run" in build_comparison(study).tables[0].caption
    assert list(list_notices(study)) == []
    methods = dict(build_methods(study).tables[0].rows)
    assert "every combination once a block" in methods["design"]
    early = draw(3)
    early[0] = replace(early[0], started_utc="2026-02-01T00:00:00Z")
    folder = save(tmp_path / "early", *early)
    store_plan(plan.make_plan(PLAN), folder)
    study = read_report_study(folder.parent, folder.name)
    assert "fixed before" not in build_comparison(study).tables[0].caption


def test_every_sentence_with_a_number_has_an_id_of_its_own_and_leads_to_a_known_row(clear):
    report = build(clear)
    ids = [claim.id for claim in report.claims]
    assert len(set(ids)) == len(ids) >= 8
    assert {"answer-1", "reached", "cost", "carbon", "effort"} <= set(ids)
    known = {format_contrast_key(effect) for effect in clear.comparison.effects}
    known |= {str(row["configuration"]) for row in build_summary_rows(clear)}
    assert all(claim.row in known for claim in report.claims if claim.row)
