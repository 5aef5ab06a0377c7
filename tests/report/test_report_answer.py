"""The answer: three sentences from the comparison, or what cannot be shown and why."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.run import failed_record, make_record, make_scores, save
from builders.study import CLEAR, NOTHING, VARIANTS, draw, store_plan
from wbcbench.compare.result import build_contrast_row, format_contrast_key
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.report import build, iterate_banners
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections import about, answer, contrasts
from wbcbench.report.sections.answer import build_summary
from wbcbench.report.summaries import build_summary_rows
from wbcbench.report.words import describe_contrast
from wbcbench.study import plan
from wbcbench.study.experiment import Experiment


def answered(tmp_path, records):
    """The answer's claims and the study they are of."""
    folder = save(tmp_path, *records)
    study = read_report_study(folder.parent, folder.name)
    return answer.build_answer(study).claims, study


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    return answered(tmp_path_factory.mktemp("clear"), draw(8))


def test_each_sentence_has_number_interval_p_blocks_and_kind_of_joules(clear):
    claims, _ = clear
    assert len(claims) == 3
    assert claims[0].text == (
        "With relu-batchnorm, GPU energy in training was 7.58 % lower than with relu-dropout "
        "(95 % interval -7.99 to -7.16 %, p = 0.047 after Holm's correction, 8 repetitions); the "
        "joules are measured."
    )
    assert (
        "balanced accuracy was 1.88 percentage points higher than with relu-dropout"
        in claims[1].text
    )


def test_each_sentence_can_be_made_again_from_its_row(clear):
    claims, study = clear
    rows = {
        format_contrast_key(effect): build_contrast_row(effect)
        for effect in study.comparison.effects
    }
    for claim in claims:
        assert claim.source == "contrasts.csv"
        assert claim.values == rows[claim.row]
        assert claim.text == describe_contrast(rows[claim.row])


def test_accuracy_of_networks_that_name_one_class_is_no_answer_and_their_joules_are(tmp_path):
    warning = QualityWarning("one-class-predicted", Severity.SUSPECT, "600 of 600.", "Train on.")
    marked = [
        replace(record, test=make_scores(0.24), warnings=(warning,), quality=Quality.SUSPECT)
        if record.spec.variant.endswith("batchnorm")
        else record
        for record in draw(8)
    ]
    claims, study = answered(tmp_path, marked)
    assert claims[0].text == (
        "No result: the accuracy of relu-batchnorm (8 of 8 runs), leaky-batchnorm (8 of 8 runs). "
        "These networks learned the training images and take nearly all others for one class. "
        "Their joules hold."
    )
    assert "GPU energy in training was 7.58 % lower" in claims[1].text
    assert not any("accuracy was" in claim.text for claim in claims)
    assert "SUSPECT. 16 of 32 finished runs have warnings; see below." in iterate_banners(study)


def test_estimated_joules_are_never_told_as_a_saving(tmp_path):
    claims, _ = answered(tmp_path, draw(8, channels=LAPTOP))
    joules = [claim.text for claim in claims if "energy" in claim.text]
    assert len(joules) == 2
    for text in joules:
        assert "estimated energy in training" in text
        assert text.endswith(
            "the joules are estimated, not measured, so no saving or cost is shown."
        )


def test_a_made_up_signal_is_named_in_every_sentence(tmp_path):
    claims, _ = answered(tmp_path, draw(8, channels=SYNTHETIC_CHANNELS))
    assert all(claim.text.endswith("(Synthetic data.)") for claim in claims)


def test_without_a_difference_only_what_is_shown_is_called_the_same(tmp_path):
    claims, _ = answered(tmp_path, draw(8, NOTHING))
    assert all("practically the same with" in claim.text for claim in claims)
    assert "shown to lie within ±2 %" in claims[0].text


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (draw(2), "there are 2 complete repetitions, and an interval needs 3"),
        (draw(1), "there is 1 complete repetition, and an interval needs 3"),
        (draw(5), "With 5 seeds p cannot fall below 0.062"),
        (draw(8, channels=()), "No energy is compared: no meter worked"),
        ([make_record()], "there is one variant (leaky-dropout, 1 run) and nothing to compare"),
        ([failed_record(), failed_record(seed=2)], "none of 2 runs ended well"),
        ([make_record(), make_record("relu-dropout", 2)], "no seed has a finished run of every"),
        (
            [make_record(), make_record("relu-dropout", channels=LAPTOP)],
            "Not comparable: primary_status differs",
        ),
    ],
    ids=["5", "2", "1", "no-energy", "one-arm", "failed", "incomplete", "mixed"],
)
def test_what_cannot_be_shown_is_said_first_and_plainly(tmp_path, records, words):
    claims, _ = answered(tmp_path, records)
    assert words in claims[0].text
    assert len(claims) <= 3
    assert all("lower than" not in claim.text or "interval" in claim.text for claim in claims)


def test_an_estimate_without_an_interval_says_so(tmp_path):
    claims, _ = answered(tmp_path, draw(2))
    assert len(claims) == 3
    for claim in claims[1:]:
        assert "an estimate without an interval, so no difference is shown" in claim.text


def test_no_sentence_depends_on_the_order_of_the_folders(tmp_path, clear):
    claims, _ = answered(tmp_path, list(reversed(draw(8))))
    assert [claim.text for claim in claims] == [claim.text for claim in clear[0]]


def test_the_summary_states_each_mean_with_its_interval_and_both_errors(clear):
    _, study = clear
    first, second = build_summary(study).tables
    assert "95 % t interval [ ] over runs" in first.caption
    assert all(re.search(r"\d \[[\d.]+, [\d.]+\]", row[2]) for row in first.rows)
    for row in second.rows:
        assert re.search(
            r"± [\d.]+ k?J \(runs\) ± [\d.]+ k?J \(reading\) ± [\d.]+ k?J \(board\)", row[1]
        )
    assert first.keys == tuple(row[0] for row in first.rows)


def test_the_meters_error_of_absolute_joules_holds_the_gain(tmp_path):
    save(tmp_path, make_record())
    row = build_summary_rows(read_report_study(tmp_path, "runs"))[0]
    energy_j = row["primary_energy_train_j"]
    assert row["energy_reading_j"] > 0.05 * energy_j  # the builder's, and its validation passes'
    assert row["energy_board_j"] == pytest.approx(0.05 * energy_j)  # of the board


def test_two_runs_are_told_with_lowest_and_highest(tmp_path):
    folder = save(tmp_path, *draw(2, CLEAR))
    first = build_summary(read_report_study(folder.parent, folder.name)).tables[0]
    assert "lowest and highest (–)" in first.caption
    assert all("–" in row[2] for row in first.rows)


def test_contrasts_of_a_study_whose_plan_has_more_are_not_called_planned(tmp_path):
    records = [r for r in draw(3) if r.spec.variant.startswith("relu")]
    folder = save(tmp_path, *records)
    made = plan.make_plan(Experiment("study", (1001, 1002, 1003), 3, {"variant": VARIANTS}))
    store_plan(made, folder)
    study = read_report_study(folder.parent, folder.name)
    caption = contrasts.build_contrasts(study).tables[0].caption
    assert (
        "no difference is concluded (6 planned runs have not been carried out to the end yet)"
        in caption
    )
    assert "INCOMPLETE. 6 of 12 planned runs are finished." in tuple(iterate_banners(study))
    assert study.stamp == " Incomplete study: not every run finished."


def test_contrasts_of_the_plan_are_called_fixed_before_the_first_run(tmp_path):
    folder = save(tmp_path, *draw(3))
    made = plan.make_plan(Experiment("study", (1001, 1002, 1003), 3, {"variant": VARIANTS}))
    store_plan(made, folder)
    study = read_report_study(folder.parent, folder.name)
    assert "fixed before the first run" in contrasts.build_contrasts(study).tables[0].caption
    assert tuple(iterate_banners(study)) == ()
    assert (
        "every combination once a block"
        in dict(about.build_methods(study).tables[0].rows)["design"]
    )


def test_every_sentence_with_a_number_is_a_claim_with_an_id_of_its_own(clear):
    _, study = clear
    report = build(study)
    ids = [claim.id for claim in report.claims]
    assert len(set(ids)) == len(ids) >= 12
    assert {"cost", "runs", "front", "front-share", "target-1", "reached", "effort"} <= set(ids)
    known = {format_contrast_key(effect) for effect in study.comparison.effects}
    known |= {str(row["configuration"]) for row in build_summary_rows(study)}
    assert all(claim.row in known for claim in report.claims if claim.row)
