"""What the sections say around the answer: tests, targets, costs, methods, limits, the way back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from builders.folder import write_predictions
from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.run import failed_record, make_record, make_spec, run_dir, save
from builders.study import draw, gather
from builders.timeline import make_epochs
from wbcbench.core.run_folder import study_runs
from wbcbench.energy.metrics import load_intensities
from wbcbench.registry import SECTIONS, load_part
from wbcbench.report import Place, Section, build
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections import methods
from wbcbench.report.sections.breakdown import build_cost_statement
from wbcbench.report.sections.comparison import build_comparison
from wbcbench.report.sections.learning import build_learning
from wbcbench.table.deleted import keep_cost


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("clear"), *draw(8))
    return read_report_study(folder.parent, folder.name)


def paragraphs(section):
    return " ".join(part for part in section.parts if isinstance(part, str))


def commands(study):
    return methods.build_reproduce(study).parts[1].text.splitlines()


# -- which sections there are ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SECTIONS if "claims" not in name])
def test_every_section_of_the_registry_has_content_for_a_sound_study(clear, name):
    section = load_part("section", name)(clear)
    assert isinstance(section, Section)
    assert section.parts
    assert re.fullmatch(r"[a-z-]+", section.key)
    for table in (*section.tables, *(figure.data for figure in section.figures)):
        assert {len(row) for row in table.rows} <= {len(table.headings)}
        assert {len(row) for row in table.values} <= {len(table.headings)}
    assert bool(section.summary) is (section.place is Place.FOLDED)


def test_one_run_has_no_comparison_and_a_study_without_result_no_empty_sections():
    keys = [section.key for section in build(gather("runs", [make_record()])).sections]
    assert keys == [
        "result", "learning", "breakdown", "confusion", "measurement", "inference", "carbon",
        "accuracy", "methods", "uncertainty", "runs", "environment", "limits", "reproduce",
    ]  # fmt: skip
    failed = build(gather("runs", [failed_record()])).sections
    assert {section.key for section in failed} == {
        "result", "breakdown", "measurement", "methods", "runs", "environment", "limits",
        "reproduce",
    }  # fmt: skip


# -- the comparison -------------------------------------------------------------------------------


def test_the_comparison_has_every_primary_contrast_with_p_and_result_in_one_word(clear):
    section = build_comparison(clear)
    primary, splits, secondary = section.tables
    assert primary.headings[-4:] == ("p", "p (Holm)", "p (equivalence)", "Result")
    assert len(primary.rows) == 6
    assert {row[-1] for row in primary.rows} == {"different", "equivalent"}
    assert "Holm over 6 tests; p cannot fall below 0.0078" in paragraphs(section)
    assert "no plan shows that they were chosen beforehand" in primary.caption
    assert secondary.is_folded
    assert {row[3:] for row in secondary.rows} == {("–", "–", "–", "not tested")}
    for energy, time, power in splits.select("Energy", "Time", "Mean power"):
        assert (1 + time / 100) * (1 + power / 100) == pytest.approx(1 + energy / 100)


def test_the_same_images_are_compared_where_predictions_are_kept(tmp_path):
    records = draw(3)
    folder = save(tmp_path, *records)
    for place, record in enumerate(records):
        right = [i % (3 + place % 4) != 0 for i in range(120)]
        write_predictions(run_dir(tmp_path, record), right, [i // 10 for i in range(120)])
    tables = build_comparison(read_report_study(folder.parent, folder.name)).tables
    assert any(table.caption.startswith("On the same test images.") for table in tables)


# -- energy to the target -------------------------------------------------------------------------

NEVER, LATE = (0.5, 0.6, 0.7, 0.7), (0.5, 0.6, 0.7, 0.9)


def target(*records):
    section = build_learning(gather("runs", records))
    return section.statements[0].text, section.tables[0]


def test_the_median_counts_runs_that_never_reached_the_target_as_dearer():
    text, table = target(
        make_record(seed=1),  # 8.40 kJ
        make_record(seed=2, epochs=make_epochs(LATE)),  # 11.2 kJ
        make_record(seed=3, epochs=make_epochs(NEVER)),
    )
    assert text.startswith("2 of 3 runs reached the target, a validation balanced accuracy of 0.8")
    assert table.headings == ("Variant", "Reached by", "Energy to target, kJ", "Time to target")
    assert table.rows == (("leaky-dropout", "2 of 3", "11.2", "40.0 s"),)
    assert "without the validations" in table.caption
    assert "Kaplan–Meier median" in table.caption
    assert "measured" in table.caption


def test_a_variant_that_seldom_or_never_reaches_the_target_has_no_median():
    seldom = [
        make_record(seed=1),
        *(make_record(seed=s, epochs=make_epochs(NEVER)) for s in (2, 3)),
    ]
    assert target(*seldom)[1].rows == (("leaky-dropout", "1 of 3", *["not by half"] * 2),)
    assert target(seldom[1])[1].rows == (("leaky-dropout", "0 of 1", "never", "never"),)


def test_runs_with_different_targets_have_no_table_of_them():
    other = make_record(spec=make_spec(seed=2, target_value=0.7))
    section = build_learning(gather("runs", [make_record(), other]))
    assert section.statements[0].text == "The runs had different targets, so none is drawn."
    assert not [table for table in section.tables if "target" in " ".join(table.headings)]


def test_how_each_variant_learned_is_said_in_numbers():
    stuck = replace(make_record(seed=2), epochs=make_epochs((0.25, 0.25, 0.25, 0.25)))
    stuck = replace(stuck, epochs=tuple(replace(e, accuracy=0.26) for e in stuck.epochs))
    swinging = make_record(seed=1, epochs=make_epochs((0.3, 0.5, 0.8, 0.7)))
    table = build_learning(gather("runs", [swinging, stuck])).tables[-1]
    assert table.headings[1:] == (
        "At chance", "Training accuracy, %", "Swing, pp", "Near its best, epoch",
    )  # fmt: skip
    label, at_chance, _, swing, near = table.rows[0]
    assert (label, at_chance) == ("leaky-dropout", "1 of 2")
    assert swing == "5.00 (0.00–10.00)"
    assert near == "2.00 (1.00–3.00)"


def test_without_joules_the_target_costs_seconds():
    _, table = target(make_record(channels=()))
    assert table.headings[-1] == "Time to target"
    assert table.rows[0][2] == "30.0 s"
    assert "Energy:" not in table.caption


def test_a_run_outside_every_complete_seed_is_not_counted(tmp_path):
    records = [r for r in draw(3) if not (r.spec.block == 3 and r.spec.variant == "relu-dropout")]
    save(tmp_path, *records)
    section = build_learning(read_report_study(tmp_path, "study"))
    assert {row[1] for row in section.tables[0].rows} == {"2 of 2"}
    assert len({row[1] for row in section.figures[0].data.values}) == 11  # all are drawn


# -- what the study cost --------------------------------------------------------------------------


def test_the_study_costs_what_all_its_runs_cost_the_failed_ones_and_pilots_too(tmp_path):
    pilot = make_spec(study="runs-pilot", epochs=1)
    save(tmp_path, make_record(), failed_record(seed=2), make_record(spec=pilot))
    (claim,) = build_cost_statement(read_report_study(tmp_path, "runs"))
    assert claim.text.startswith("The 2 runs used 19.0 kJ")
    assert "idle phases included" in claim.text
    assert "of it without result (1 run)" in claim.text
    assert "in 1 pilot run" in claim.text
    assert claim.values["energy_measured_j"] > claim.values["energy_wasted_estimated_j"] > 0


def test_deleted_runs_stay_in_the_sum_as_runs_without_result(tmp_path):
    pilot = make_spec(study="runs-pilot", epochs=1)
    save(tmp_path, make_record(), failed_record(seed=2), make_record(spec=pilot))
    (before,) = build_cost_statement(read_report_study(tmp_path, "runs"))
    for study in ("runs-pilot", "runs"):
        (run, *_) = sorted(study_runs(tmp_path, study), key=lambda run: -run.read_spec().seed)
        keep_cost(run)
        run.delete()
    (after,) = build_cost_statement(read_report_study(tmp_path, "runs"))
    swept = read_report_study(tmp_path, "runs")
    assert methods.build_runs(swept).summary == "1, none failed, stopped or invalid; 1 more deleted"
    assert any(notice.text == "1 run was deleted." for notice in build(swept).notices)
    assert after.text == before.text.replace("(1 run)", "(1 run, 1 of them deleted since)")
    assert after.values["runs_deleted"] == 1
    deleted_j = after.values.pop("energy_deleted_estimated_j")
    assert deleted_j == after.values["energy_wasted_estimated_j"]
    assert after.values | {"runs_deleted": 0} == before.values


def test_joules_have_kwh_and_grams_beside_them_once_and_states_are_not_added(tmp_path):
    save(tmp_path, make_record(), make_record(seed=2, channels=LAPTOP))
    (claim,) = build_cost_statement(read_report_study(tmp_path, "runs"))
    assert claim.text.count("kWh") == 2
    measured_j, estimated_j = (claim.values[f"energy_{s}_j"] for s in ("measured", "estimated"))
    assert f"{measured_j / 3.6e6:.3g} kWh" in claim.text
    assert f"{estimated_j / 3.6e6:.3g} kWh" in claim.text
    assert " and 2.73 kJ, estimated (" in claim.text
    low, high = (f(g.g_per_kwh for g in load_intensities().values()) for f in (min, max))
    assert (
        f"{1e3 * low * measured_j / 3.6e6:.0f} mg to {high * measured_j / 3.6e6:.2f} g"
        in claim.text
    )


# -- methods, limits, runs ------------------------------------------------------------------------


def test_methods_are_of_the_settings_of_the_runs(clear):
    rows = dict(methods.build_methods(clear).tables[0].rows)
    assert "This study has no plan" in rows["design"]
    assert "epochs: 4" in rows["training"]
    assert "6 tests" in rows["primary family"]


def test_limits_name_the_part_the_photographs_and_the_validation_on_test(clear):
    words = paragraphs(methods.build_limits(clear))
    assert "the GPU boards alone" in words
    assert "71 photographs" in words
    assert "TEST was used for validation" in words


def test_every_run_stands_in_the_table_the_failed_ones_with_their_reason():
    records = [make_record(), failed_record(seed=2), make_record(seed=3, channels=())]
    (table,) = methods.build_runs(gather("runs", records)).tables
    assert [row[1] for row in table.rows] == ["done", "failed", "done"]
    assert table.rows[1][3] == "killed: The trainer was ended by signal 9 (SIGKILL)."
    assert [row[8] for row in table.rows] == ["GPU, measured", "CPU, estimated", "absent"]
    assert table.rows[2][7] == "unknown"  # and not 0 J
    synthetic = gather("runs", [make_record(channels=SYNTHETIC_CHANNELS)])
    assert methods.build_runs(synthetic).tables[0].rows[0][1] == "done, synthetic"


# -- how to do it again ---------------------------------------------------------------------------


def test_a_run_is_reproduced_by_what_differs_from_the_defaults(tmp_path):
    spec = make_spec(seed=7, precision="mixed_float16", tuned=False, interval_s=0.2)
    save(tmp_path, make_record(spec=spec))
    study = read_report_study(tmp_path, "runs")
    assert commands(study) == [
        "git checkout 0123456789abcdef && make setup",
        "wbcbench run --variant leaky-dropout --seed 7 --epochs 4 --precision mixed_float16 "
        "--no-tuned --target-value 0.8 --interval 0.2 --country DEU --study runs --results again "
        "--data FOLDER",
        "wbcbench report runs --results again",
    ]
    assert methods.build_reproduce(study).summary == "3 commands, 1 min 15 s"


def test_words_of_records_never_reach_a_command():
    text = commands(gather("runs", [make_record(provenance={"git_commit": "$(reboot)"})]))
    assert text[0] == "make setup"
    assert "reboot" not in "".join(text)


def test_the_reference_of_the_program_is_that_of_its_citation_file():
    stated = Path("CITATION.cff").read_text(encoding="utf-8")
    title, version = (
        re.search(rf'^{key}: "?([^"\n]+)', stated, re.M)[1] for key in ("title", "version")
    )
    assert f"title   = {{{title}}}" in methods.references()
    assert f"version = {{{version}}}" in methods.references()
