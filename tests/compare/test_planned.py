"""What was not planned before the runs tests nothing, and the comparison says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders.machine import LAPTOP
from builders.run import changed, save
from builders.study import VARIANTS, draw
from wbcbench.compare.analysis import compare
from wbcbench.compare.result import Comparison
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import RunRecord
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.learning import build_learning
from wbcbench.report.style import to_svg
from wbcbench.study import plan
from wbcbench.study.experiment import Experiment, PlannedAnalysis, Until
from wbcbench.table.merge import merge_studies
from wbcbench.table.view import read_study

BEFORE, LATER = "2026-03-01T09:00:00Z", "2026-03-01T10:00:01Z"
FOUR = {"variant": VARIANTS}


def asked(blocks: int = 8, **changes: object) -> plan.Plan:
    experiment = Experiment("study", tuple(range(1001, 1001 + blocks)), blocks, FOUR)
    return plan.make_plan(replace(experiment, **changes))  # type: ignore[arg-type]


def compared(
    folder: Path, records: list[RunRecord], the_plan: plan.Plan, stored_utc: str | None = BEFORE,
    **options: object,
) -> Comparison:  # fmt: skip
    save(folder, *records)
    (folder / "study" / "plan.json").write_bytes(plan.to_json(the_plan, stored_utc))
    return again(folder, "study", **options)


def again(folder: Path, *names: str, **options: object) -> Comparison:
    studies = [read_study(folder / name) for name in names]
    settings = plan.choose_settings([folder / name for name in names], options)
    return compare([run for study in studies for run in study.runs], settings, names)


def results(found: Comparison) -> set[str]:
    return {effect.result.value for effect in found.effects if effect.family == "primary"}


def test_a_planned_study_is_tested(tmp_path):
    found = compared(tmp_path, draw(8), asked())
    assert "different" in results(found)
    assert any("as planned before the first run" in note for note in found.notes)


@pytest.mark.parametrize(
    ("stored_utc", "says"),
    [(LATER, "after the first run began"), (None, "has no date")],
    ids=["later", "undated"],
)
def test_a_plan_that_is_not_from_before_the_first_run_is_no_plan(tmp_path, stored_utc, says):
    found = compared(tmp_path, draw(8), asked(), stored_utc)
    assert results(found) == {"not tested"}
    assert {effect.p for effect in found.effects} == {None}
    assert says in found.settings.untested
    assert not any("as planned before" in note for note in found.notes)


def test_runs_of_another_plan_are_not_those_of_this_one(tmp_path):
    records = [replace(r, provenance={**r.provenance, "plan_sha256": "f" * 64}) for r in draw(8)]
    assert compared(tmp_path, records, asked()).settings.untested.startswith(
        "Runs were carried out under another plan (ffffffffffff)"
    )


def test_looking_before_a_plan_is_finished_tests_nothing(tmp_path):
    found = compared(tmp_path, draw(8), asked(10))
    assert results(found) == {"not tested"}
    assert found.settings.untested == "8 planned runs have not been carried out to the end yet"


def test_a_failed_run_was_carried_out(tmp_path):
    records = changed(draw(8), lambda r: r.spec.block == 3, status="failed")
    assert compared(tmp_path, records, asked()).settings.untested == ""


def test_a_lost_baseline_is_not_replaced(tmp_path):
    records = [r for r in draw(8) if r.spec.variant != "relu-dropout" or r.spec.block < 4]
    found = compared(tmp_path, records, asked())
    assert results(found) == {"not tested"}
    assert "not those of the plan" in found.settings.untested
    assert any("relu-dropout was run with 3 of 8 seeds" in note for note in found.notes)


def test_a_lost_variant_leaves_the_others_of_a_factorial_as_estimates(tmp_path):
    records = [r for r in draw(8) if r.spec.variant != "leaky-batchnorm"]
    factors = asked(analysis=PlannedAnalysis(family="factors"))
    found = compared(tmp_path, records, factors)
    assert results(found) == {"not tested"}
    assert "not those of the plan" in found.settings.untested


def test_tests_that_fall_away_still_count_in_the_correction(tmp_path):
    found = compared(tmp_path, draw(8, channels=LAPTOP), asked())  # no measured joules
    primary = [effect for effect in found.effects if effect.family == "primary"]
    assert {effect.metric.name for effect in primary} == {"balanced_accuracy"}
    least = min(primary, key=lambda effect: effect.p)
    assert least.p_holm == pytest.approx(6 * least.p)


def test_asking_for_what_is_planned_is_no_departure(tmp_path):
    found = compared(tmp_path, draw(8), asked(), baseline="relu-dropout", family="baseline")
    assert (found.settings.departures, found.settings.untested) == ((), "")
    same = again(tmp_path, "study", metrics=("balanced_accuracy", "energy_gpu_train_j"))
    assert (same.settings.departures, same.settings.untested) == ((), "")
    fewer = again(tmp_path, "study", metrics=("balanced_accuracy",))
    assert fewer.settings.untested == "This is not what the plan tests"
    other = again(tmp_path, "study", baseline="leaky-dropout")
    assert other.settings.untested == "This is not what the plan tests"


def test_neither_a_merge_nor_a_second_study_makes_an_exploratory_one_a_test(tmp_path):
    exploratory = asked(analysis=PlannedAnalysis(exploratory=True))
    records = [
        replace(r, provenance={**r.provenance, "plan_sha256": exploratory.sha256}) for r in draw(8)
    ]
    assert results(compared(tmp_path, records, exploratory)) == {"not tested"}
    merge_studies([tmp_path / "study"], tmp_path / "clean")
    merged = again(tmp_path, "clean")
    assert results(merged) == {"not tested"}
    assert "whose plan.json is not with them" in merged.settings.untested
    save(tmp_path, *draw(8, study="other", seed=2))
    assert "exploratory" in again(tmp_path, "study", "other").settings.untested


def test_without_a_plan_the_reader_is_told(tmp_path):
    save(tmp_path, *draw(8))
    found = again(tmp_path, "study")
    assert "different" in results(found)
    assert any(note.startswith("No plan: ") for note in found.notes)


def test_a_stopping_rule_that_has_not_ended_tests_nothing(tmp_path):
    until = Until("relu-batchnorm", width=0.1, max_blocks=12)
    seeds = tuple(range(1001, 1013))
    rule = asked(until=until, seeds=seeds)
    found = compared(tmp_path, draw(8), rule)
    assert results(found) == {"not tested"}
    assert found.settings.untested.startswith("The second stage has 8 of ")
    wide = asked(until=replace(until, width=20.0), seeds=seeds)
    ended = compared(tmp_path / "wide", draw(8), wide)
    assert ended.settings.untested == ""
    assert any("asks for 8; there are 8, and may be 12." in note for note in ended.notes)


def test_accuracies_of_networks_that_name_one_class_are_not_tested(tmp_path):
    mark = QualityWarning("one-class-predicted", Severity.SUSPECT, "x", "y")
    marked = changed(
        draw(8), lambda r: r.spec.variant == VARIANTS[1], warnings=(mark,), quality=Quality.SUSPECT
    )
    found = compared(tmp_path, marked, asked())
    by_metric = {e.metric.name: e.result.value for e in found.effects if e.family == "primary"}
    assert by_metric["balanced_accuracy"] == "not tested"
    assert by_metric["energy_gpu_train_j"] != "not tested"


def test_a_report_with_a_configuration_that_hardly_ran_is_made(tmp_path):
    records = [r for r in draw(8) if r.spec.variant != "relu-dropout" or r.spec.block < 4]
    compared(tmp_path, records, asked())
    section = build_learning(read_report_study(tmp_path, "study"))
    assert section is not None
    assert "relu-dropout" not in {row[0] for row in section.tables[0].rows}
    (figure,) = section.figures
    assert "relu-dropout" in {row[0] for row in figure.data.values}
    assert to_svg(figure)


def test_plans_read_back_are_checked_as_new_ones_are(tmp_path):
    claim = plan.PlannedClaim("time_train_s", ("relu-dropout", "leaky-dropout"), "lower")
    wrong = replace(asked(claims={"a": claim}), analysis=PlannedAnalysis(exploratory=True))
    path = tmp_path / "plan.json"
    path.write_bytes(plan.to_json(wrong))
    with pytest.raises(UsageError, match="an exploratory plan tests nothing"):
        plan.from_json(path)


def test_single_runs_beside_a_planned_study_are_not_used(tmp_path):
    singles = [replace(r, spec=replace(r.spec, block=0)) for r in draw(12, seed=3)]
    named = [replace(r, run_id=r.spec.run_id, started_utc="2026-02-01T10:00:00Z") for r in singles]
    found = compared(tmp_path, [*draw(8), *named], asked())
    assert (found.effects[0].n, found.settings.untested) == (8, "")
    assert "48 runs that are of no plan are not used." in found.notes


def test_an_interrupted_run_was_not_carried_out(tmp_path):
    records = changed(draw(8), lambda r: r.spec.block == 8, status="interrupted")
    found = compared(tmp_path, records, asked())
    assert found.settings.untested == "4 planned runs have not been carried out to the end yet"
