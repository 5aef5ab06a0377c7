"""``wbcbench compare`` as users run it: every answer and every exit code, on records on disk."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.formula.api as smf
import typer
from typer.testing import CliRunner

from builders.folder import write_predictions
from builders.machine import LAPTOP, METERS, PROVENANCE, SYNTHETIC_CHANNELS
from builders.run import changed, make_record, make_scores, run_dir, save, scaled
from builders.study import CLEAR, NOTHING, VARIANTS, Truth, draw, store_plan
from builders.timeline import make_epochs
from program import wbcbench
from wbcbench import table
from wbcbench.commands.compare import compare
from wbcbench.compare.design import (
    configurations,
    find_complete_blocks,
    make_design,
)
from wbcbench.compare.metric import PRIMARY, find_metric
from wbcbench.compare.order import find_order
from wbcbench.compare.result import COLUMNS
from wbcbench.core.errors import (
    CannotMeasureError,
    InconclusiveError,
    ThresholdExceededError,
    UsageError,
)
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.spec import NOT_TREATMENTS, SPEC_FIELDS, TREATMENTS
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.result import build_result
from wbcbench.stats.order import draw_orders
from wbcbench.study import plan
from wbcbench.study.experiment import Experiment, PlannedAnalysis
from wbcbench.table import export
from wbcbench.table.columns import load_columns
from wbcbench.table.merge import merge_studies
from wbcbench.table.view import Run

app = typer.Typer()
app.command()(compare)

ENERGY = "energy_gpu_train_j"


def said(results, *words):
    """Standard output, no line of it broken; errors are raised as they are."""
    result = CliRunner().invoke(app, [*words, "--results", str(results)], env={"COLUMNS": "999"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def document(results, *words):
    return json.loads(said(results, "study", "--json", *words))


def contrast(found, name, metric=ENERGY):
    rows = [r for r in found["contrasts"] if r["contrast"] == name and r["metric"] == metric]
    return rows[0]


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    results = tmp_path_factory.mktemp("clear")
    save(results, *draw(8))
    return results


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    results = tmp_path_factory.mktemp("nothing")
    save(results, *draw(8, NOTHING, seed=2))
    return results


# -- the numbers ---------------------------------------------------------------------------------


def log_joules(results):
    frame = export.to_frame(table.load_rows(results / "study"), tuple(load_columns().values()))
    frame["log_j"] = np.log(frame[ENERGY].astype(float))
    return frame


def test_the_activation_contrast_is_a_t_test_worked_out_independently(clear):
    wide = log_joules(clear).pivot(index="block", columns="variant", values="log_j")
    leaky = wide[["leaky-dropout", "leaky-batchnorm"]].mean(axis=1)
    relu = wide[["relu-dropout", "relu-batchnorm"]].mean(axis=1)
    wanted = scipy.stats.ttest_rel(leaky, relu)
    bounds = wanted.confidence_interval(0.95)
    found = contrast(document(clear), "activation leaky-relu")
    assert found["estimate"] == pytest.approx(100 * math.expm1((leaky - relu).mean()))
    assert found["ci_low"] == pytest.approx(100 * math.expm1(bounds.low))
    assert found["ci_high"] == pytest.approx(100 * math.expm1(bounds.high))
    assert found["d_z"] == pytest.approx(wanted.statistic / math.sqrt(8))


def test_the_interaction_of_accuracies_is_that_of_a_linear_model_with_blocks(clear):
    frame = export.to_frame(table.load_rows(clear / "study"), tuple(load_columns().values()))
    rows = pd.DataFrame(
        {
            "y": frame["balanced_accuracy"].astype(float),
            "block": frame["block"].astype(int),
            "a": (frame["activation"] == "leaky-relu").astype(float),
            "b": (frame["regulariser"] == "batchnorm").astype(float),
        }
    )
    fitted = smf.ols("y ~ C(block) + a * b", rows).fit()
    found = contrast(document(clear), "interaction", "balanced_accuracy")
    assert found["estimate"] == pytest.approx(100 * fitted.params["a:b"])
    assert found["unit"] == "pp"


def test_clear_differences_are_called_and_the_rest_is_not(clear):
    found = document(clear, "--family", "factors")
    assert contrast(found, "activation leaky-relu")["result"] == "different"
    assert contrast(found, "regulariser batchnorm")["result"] == "different"
    assert contrast(found, "activation leaky-relu", "balanced_accuracy")["result"] == "different"
    assert contrast(found, "interaction")["result"] == "equivalent"
    assert contrast(found, "regulariser batchnorm")["win_rate"] == 1.0
    assert contrast(found, "interaction")["win_rate"] is None
    primary = [row for row in found["contrasts"] if row["family"] == "primary"]
    assert len(primary) == 6
    assert all(row["p_holm"] >= row["p"] >= row["p_floor"] == 2 / 256 for row in primary)


def test_six_pairs_are_secondary_and_nothing_is_called_on_their_account(clear):
    rows = document(clear, "--family", "factors")["contrasts"]
    secondary = [r for r in rows if r["family"] == "secondary"]
    assert len({(r["contrast"], r["against"]) for r in secondary}) == 6
    assert {row["result"] for row in secondary} == {"not tested"}


def test_joules_split_exactly_into_seconds_and_watts(clear):
    for split in document(clear)["splits"]:
        whole = (1 + split["time"] / 100) * (1 + split["power"] / 100)
        assert 100 * (whole - 1) == pytest.approx(split["energy"], abs=1e-9)


def test_configurations_carry_both_errors_the_front_and_the_cost_of_the_target(clear):
    configurations = {each["label"]: each for each in document(clear)["configurations"]}
    assert configurations["relu-batchnorm"]["on_front"]
    assert not configurations["relu-dropout"]["on_front"]
    assert configurations["relu-batchnorm"]["front_share"] == 1.0
    level = configurations["leaky-dropout"]["levels"][ENERGY]
    assert 0 < level["runs"]["low"] < level["mean"] < level["runs"]["high"]
    # Neither shrinks with the number of runs.
    assert level["reading"] == pytest.approx(0.05 * 280 * 44, rel=0.01)
    assert level["board"] == pytest.approx(0.05 * level["mean"])
    assert configurations["leaky-dropout"]["target"] == {
        "unit": "J",
        "reached": 8,
        "runs": 8,
        "median": pytest.approx(280 * 32, rel=0.2),
    }


def test_a_run_that_never_reaches_the_target_is_censored(tmp_path):
    never = make_epochs((0.3, 0.4, 0.5, 0.6))
    records = changed(draw(4), lambda r: r.spec.variant == "relu-dropout", epochs=never)
    save(tmp_path, *changed(records, lambda r: r.spec.seed == 1001, epochs=never))
    configurations = {each["label"]: each for each in document(tmp_path)["configurations"]}
    assert configurations["relu-dropout"]["target"] == {
        "unit": "J",
        "reached": 0,
        "runs": 4,
        "median": None,
    }
    assert configurations["leaky-dropout"]["target"]["reached"] == 3
    assert "not reached by half (0 of 4)" in said(tmp_path, "study", "--all")


def test_where_nothing_differs_nothing_is_called(nothing):
    results = {row["result"] for row in document(nothing)["contrasts"]}
    assert results <= {"equivalent", "inconclusive", "not tested"}


def repeat_seeds(records, study="study", first_block=5, **fields):
    """The same networks in later blocks, or in another study: trained again, and not new."""
    return [
        replace(record, spec=spec, run_id=spec.run_id, **fields)
        for record in records
        for block in [record.spec.block + first_block - 1]
        for spec in [replace(record.spec, study=study, block=block)]
    ]


def test_a_seed_that_comes_again_in_another_block_counts_once(tmp_path):
    records = draw(4, variants=VARIANTS[:2])
    save(tmp_path / "once", *records)
    save(tmp_path / "twice", *records, *repeat_seeds(records))
    once, twice = (document(tmp_path / name) for name in ("once", "twice"))
    assert [row["p"] for row in once["contrasts"]] == [0.125, 0.5]
    assert twice["contrasts"] == once["contrasts"]
    assert (twice["blocks"]["complete"], twice["blocks"]["spare"]) == (
        once["blocks"]["complete"],
        8,
    )
    assert "8 valid runs repeat a complete seed" in said(tmp_path / "twice", "study")


def test_a_seed_counts_by_its_first_complete_block(tmp_path):
    records = draw(4, variants=VARIANTS[:2])
    broken = changed(records, lambda r: r is records[0], status="failed")
    save(tmp_path, *broken, *repeat_seeds(records))
    blocks = document(tmp_path)["blocks"]
    names = [f"block {number}, seed {1000 + seed}" for number, seed in ((2, 2), (3, 3), (4, 4))]
    assert blocks["complete"] == [*names, "block 5, seed 1001"]
    assert (blocks["left_out"], blocks["spare"]) == ([], 6)


def test_two_machines_with_the_same_seeds_give_no_narrower_accuracy(tmp_path):
    """The networks are the same; of the joules, those of one machine are compared."""
    records = draw(4, variants=VARIANTS[:2])
    elsewhere = {**PROVENANCE, "host_id": "another", "cpu_model": "Another CPU"}
    there = repeat_seeds(records, study="there", first_block=1, provenance=elsewhere)
    here = save(tmp_path, *records)
    merge_studies([save(tmp_path, *there), here], tmp_path / "both")
    with pytest.raises(CannotMeasureError, match="cpu_model differs"):
        said(tmp_path, "both")
    allowed = ("--allow-different", "cpu_model", "--json")
    both, alone = (json.loads(said(tmp_path, name, *allowed)) for name in ("both", "study"))
    assert both["contrasts"] == alone["contrasts"]
    assert (len(both["blocks"]["complete"]), both["blocks"]["spare"]) == (4, 8)


def test_no_run_is_left_out_for_its_value(tmp_path):
    records = draw(4)
    save(tmp_path, *changed(records, lambda r: r is records[5], test=make_scores(0.05)))
    found = document(tmp_path)
    assert len(found["blocks"]["complete"]) == 4
    assert found["blocks"]["left_out"] == []


def test_equal_records_give_equal_bytes(clear):
    assert said(clear, "study", "--json") == said(clear, "study", "--json")


# -- what is left out, and what cannot be shown ---------------------------------------------------


def test_an_invalid_or_failed_run_leaves_its_whole_block_out_and_is_counted(tmp_path):
    warning = QualityWarning(
        "gpu-counter-reset", Severity.INVALID, "went backwards", "repeat", "train"
    )
    records = draw(5)
    records = changed(
        records,
        lambda r: (r.spec.block, r.spec.variant) == (2, "relu-dropout"),
        quality=Quality.INVALID,
        warnings=(warning,),
    )
    records = changed(
        records, lambda r: (r.spec.block, r.spec.variant) == (4, "leaky-dropout"), status="failed"
    )
    save(tmp_path, *records)
    blocks = document(tmp_path)["blocks"]
    assert len(blocks["complete"]) == 3
    assert [each["reason"] for each in blocks["left_out"]] == [
        "relu-dropout: invalid (gpu-counter-reset)",
        "leaky-dropout: failed",
    ]
    assert blocks["states"] == {"done": 18, "invalid": 1, "failed": 1}
    text = said(tmp_path, "study")
    assert "Runs: 20 (18 done, 1 failed, 1 invalid); 12 used" in text
    assert "Not used: block 2, seed 1002" in text


def test_a_block_that_lacks_a_run_is_left_out(tmp_path):
    save(tmp_path, *draw(4)[:-1])
    left_out = document(tmp_path)["blocks"]["left_out"]
    assert left_out == [{"block": "block 4, seed 1004", "reason": "leaky-batchnorm: no run"}]


def test_a_run_whose_accuracy_is_unknown_makes_its_block_incomplete(tmp_path):
    records = draw(4)
    save(tmp_path, *changed(records, lambda r: r is records[0], test=None))
    assert "relu-dropout: balanced_accuracy is unknown" in said(tmp_path, "study")


def test_two_blocks_give_estimates_and_say_what_they_cannot_show(tmp_path):
    save(tmp_path, *draw(2))
    found = document(tmp_path)
    assert contrast(found, "activation leaky-relu")["ci_low"] is None
    assert {r["result"] for r in found["contrasts"]} <= {"inconclusive", "not tested"}
    text = said(tmp_path, "study")
    assert "2 complete seeds: estimates only" in text
    assert "p cannot fall below 0.5" in text
    assert "8 seeds can show one" in text


def test_one_block_gives_estimates_without_any_p(tmp_path):
    save(tmp_path, *draw(1))
    row = contrast(document(tmp_path), "activation leaky-relu")
    assert row["estimate"] is not None
    assert (row["p"], row["p_floor"], row["p_holm"], row["d_z"]) == (None, None, None, None)
    assert "1 complete seed: estimates only" in said(tmp_path, "study")


def test_one_configuration_is_described_and_compared_with_nothing(tmp_path):
    save(tmp_path, *draw(3, variants=["relu-dropout"]))
    text = said(tmp_path, "study")
    assert "nothing to compare it with" in text
    assert "relu-dropout" in text


def test_a_study_without_a_complete_block_says_so(tmp_path):
    save(tmp_path, *changed(draw(2), lambda r: r.spec.variant == "relu-dropout", status="failed"))
    text = said(tmp_path, "study")
    assert "No seed has all its runs" in text
    assert document(tmp_path)["contrasts"] == []


def test_runs_that_differ_by_nothing_at_all_are_remarked_on(tmp_path):
    save(tmp_path, *draw(4, Truth({}, {}, noise_j=0.0, noise_share=0.0)))
    found = document(tmp_path)
    assert contrast(found, "interaction")["d_z"] is None
    joules, scores = (note for note in found["notes"] if "exactly the same amount" in note)
    assert f"in {ENERGY}: real runs scatter, so check whether" in joules
    assert "in balanced_accuracy: counts of few images may" in scores and "copied" not in scores


def test_scores_of_networks_that_name_one_class_are_no_result_and_their_joules_are(tmp_path):
    """A demonstration among whose variants two take every image for one class, in every seed."""
    one_class = QualityWarning("one-class-predicted", Severity.SUSPECT, "400 of 400.", "Train on.")
    records = [
        replace(r, test=make_scores(0.24), warnings=(one_class,), quality=Quality.SUSPECT)
        if r.spec.variant.endswith("batchnorm")
        else r
        for r in draw(4)
    ]
    save(tmp_path, *records)
    found = document(tmp_path)
    (note,) = (note for note in found["notes"] if note.startswith("No result"))
    assert "the accuracy of relu-batchnorm (4 of 4 runs), leaky-batchnorm (4 of 4 runs)." in note
    assert "Their joules hold." in note and note in said(tmp_path, "study")
    assert found["blocks"]["suspect"] == 8 and len(found["blocks"]["complete"]) == 4
    assert contrast(found, "regulariser batchnorm")["n"] == 4
    assert not any("copied" in note for note in found["notes"])
    pair = document(tmp_path, "--baseline", "relu-batchnorm", "--metric", "balanced_accuracy")
    assert any("networks that take all images for one class do" in n for n in pair["notes"])


def test_single_runs_of_no_plan_are_paired_by_seed(tmp_path):
    records = [replace(r, spec=replace(r.spec, block=0)) for r in draw(3)]
    save(tmp_path, *[replace(r, run_id=r.spec.run_id) for r in records])
    assert document(tmp_path)["blocks"]["complete"] == ["seed 1001", "seed 1002", "seed 1003"]


def test_a_configuration_that_was_hardly_run_is_excluded_and_named(tmp_path):
    save(tmp_path, *draw(4) + draw(1, variants=["relu-dropout"], epochs=2))
    found = document(tmp_path)
    assert len(found["blocks"]["complete"]) == 4
    assert found["factors"] == ["activation", "regulariser"]
    assert any("relu-dropout epochs=2 was run with 1 of 4 seeds" in note for note in found["notes"])


def test_a_repeated_complete_block_counts_once(tmp_path):
    save(tmp_path, *draw(3) + draw(1, repeat=2, seed=9))
    blocks = document(tmp_path)["blocks"]
    assert len(blocks["complete"]) == 3


# -- which joules ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    results = tmp_path_factory.mktemp("laptop")
    save(results, *draw(4, channels=LAPTOP))
    return results


def test_estimated_joules_are_not_compared_unless_asked_for(laptop):
    text = said(laptop, "study")
    assert "no joules compared" in text
    assert "--lowest-status estimated" in text
    assert {row["metric"] for row in document(laptop)["contrasts"]} == {"balanced_accuracy"}


def test_estimated_joules_say_so_in_every_line(laptop):
    threshold = ("--fail-if", "primary_energy_train_j > +50%")
    text = said(laptop, "study", "--lowest-status", "estimated", *threshold)
    assert "energy of training, CPU model (CodeCarbon), estimated" in text
    assert "estimated energy %" in text and text.count("(estimated)") == 3
    assert "Pareto front, estimated energy: " in text
    text = said(laptop, "study", "--all", "--lowest-status", "estimated", *threshold)
    lines = [
        line
        for line in text.splitlines()
        if line.startswith(("activation", "regul", "inter", *VARIANTS))
    ]
    assert len(lines) >= 15
    assert all("estimated" in line for line in lines)
    assert "All joules here are estimated, not measured." in text
    assert "J ± " not in text  # how far a model is off is not known
    rows = csv.DictReader(
        io.StringIO(said(laptop, "study", "--csv", "--lowest-status", "estimated"))
    )
    status = {(row["metric"], row["energy_status"]) for row in rows}
    assert status == {("primary_energy_train_j", "estimated"), ("balanced_accuracy", "")}


def test_naming_joules_that_are_estimated_is_refused_with_the_way_out(laptop):
    with pytest.raises(CannotMeasureError, match="--lowest-status estimated"):
        said(laptop, "study", "--metric", "primary_energy_train_j")
    with pytest.raises(CannotMeasureError, match="No run has energy_gpu_train_j"):
        said(laptop, "study", "--fail-if", f"{ENERGY} > +5%", "--lowest-status", "estimated")


def test_a_simulated_signal_is_compared_only_as_such(tmp_path):
    save(tmp_path, *draw(3, channels=SYNTHETIC_CHANNELS))
    assert "no joules compared" in said(tmp_path, "study", "--lowest-status", "estimated")
    text = said(tmp_path, "study", "--lowest-status", "simulated")
    assert "GPU counter, simulated; synthetic images or simulated sensor" in text
    assert "simulated energy %" in text
    assert "(simulated)" in said(tmp_path, "study", "--all", "--lowest-status", "simulated")


# -- comparable or not ----------------------------------------------------------------------------

OTHER_HOST = {**PROVENANCE, "host_id": "77aa00", "cpu_model": "Another CPU"}


def mixed(tmp_path, **fields):
    save(tmp_path, *changed(draw(4), lambda r: r.spec.block > 2, **fields))
    return tmp_path


def test_runs_of_unlike_machines_are_not_comparable_and_the_first_field_is_named(tmp_path):
    other = {**METERS, "nvml/gpu0": {**METERS["nvml/gpu0"], "driver": "560.1"}}
    mixed(tmp_path, provenance=OTHER_HOST, meters=other)
    with pytest.raises(CannotMeasureError, match="not comparable: driver_version diff") as caught:
        said(tmp_path, "study")
    assert "'560.1' in 8 runs of blocks 3, 4; e.g. study/" in str(caught.value)
    assert "--allow-different driver_version" in str(caught.value)
    with pytest.raises(CannotMeasureError, match="cpu_model differs"):
        said(tmp_path, "study", "--allow-different", "driver_version")


def test_what_is_allowed_to_differ_is_told(tmp_path):
    mixed(tmp_path, provenance=OTHER_HOST)
    text = said(tmp_path, "study", "--allow-different", "cpu_model")
    assert "cpu_model differs between the runs, as allowed." in text


def test_the_machine_does_not_matter_to_accuracies_alone(tmp_path):
    mixed(tmp_path, provenance=OTHER_HOST)
    assert "4 seeds, " in said(tmp_path, "study", "--metric", "balanced_accuracy")


def test_a_block_whose_runs_come_from_two_machines_is_left_out(tmp_path):
    records = changed(
        draw(4, channels=LAPTOP),
        lambda r: r.spec.variant == "relu-dropout" and r.spec.block == 1,
        provenance={**PROVENANCE, "host_id": "77aa00"},
    )
    save(tmp_path, *(replace(record, meters={}) for record in records))
    text = said(tmp_path, "study", "--lowest-status", "estimated")
    assert "block 1, seed 1001 (its runs come from 2 machines: 5f1e9c (3), 77aa00 (1))" in text


def test_measured_and_estimated_joules_never_stand_together(tmp_path):
    save(tmp_path, *draw(4, channels=LAPTOP)[:8] + draw(4)[8:])
    for channel in ("measured", "estimated"):
        with pytest.raises(CannotMeasureError, match="primary_status differs"):
            said(tmp_path, "study", "--lowest-status", channel)
    with pytest.raises(UsageError, match="never compared with each other"):
        said(tmp_path, "study", "--allow-different", "primary_status")


def test_other_images_are_another_study(tmp_path):
    other = replace(make_record().dataset, sha256="99" * 32)
    mixed(tmp_path, dataset=other)
    with pytest.raises(CannotMeasureError, match="dataset_sha256 differs"):
        said(tmp_path, "study")


def test_an_unknown_field_to_allow_is_named_with_the_nearest(tmp_path):
    save(tmp_path, *draw(1))
    with pytest.raises(UsageError, match="Did you mean 'gpu_name'"):
        said(tmp_path, "study", "--allow-different", "gpu_nam")


# -- other designs --------------------------------------------------------------------------------


def test_two_settings_of_one_variant_make_a_design_of_their_own(tmp_path):
    only = {"variants": ["leaky-dropout"]}
    save(tmp_path, *draw(3, **only) + draw(3, **only, batch_size=32, seed=5))
    found = document(tmp_path)
    assert found["baseline"] == "leaky-dropout batch_size=32"
    names = [row["contrast"] for row in found["contrasts"]]
    assert set(names) == {"leaky-dropout batch_size=64"}


def test_batch_size_and_precision_make_a_two_by_two_design(tmp_path):
    only = {"variants": ["leaky-dropout"]}
    records = [
        r
        for batch in (32, 64)
        for precision in ("float32", "mixed_float16")
        for r in draw(3, **only, batch_size=batch, precision=precision, seed=batch)
    ]
    save(tmp_path, *records)
    found = document(tmp_path)
    assert found["factors"] == ["batch_size", "precision"]
    assert contrast(found, "precision mixed_float16")["against"] == "float32"
    assert contrast(found, "batch_size 64")["against"] == "32"


def test_another_baseline_turns_the_pairs_round(clear):
    text = said(clear, "study", "--baseline", "leaky-dropout")
    assert "against leaky-dropout " in text
    with pytest.raises(UsageError, match="Did you mean 'relu-dropout'"):
        said(clear, "study", "--baseline", "relu-dropuot")


def test_two_studies_are_compared_configuration_by_configuration(tmp_path):
    pair = ["relu-dropout", "leaky-dropout"]
    slower = Truth({"relu-dropout": 0.2, "leaky-dropout": 0.24}, CLEAR.shares)
    save(tmp_path, *draw(6, study="before", variants=pair))
    save(tmp_path, *draw(6, slower, study="after", variants=pair))
    found = json.loads(said(tmp_path, "before", "after", "--json"))
    rows = [row for row in found["contrasts"] if row["metric"] == ENERGY]
    assert [(row["contrast"], row["against"]) for row in rows] == [
        ("after:leaky-dropout", "before:leaky-dropout"),
        ("after:relu-dropout", "before:relu-dropout"),
    ]
    assert all(15 < row["ci_low"] < row["ci_high"] < 30 for row in rows)
    with pytest.raises(ThresholdExceededError, match="after:relu-dropout"):
        said(tmp_path, "before", "after", "--fail-if", f"{ENERGY} > +5%")


def test_every_field_of_a_spec_is_a_treatment_or_known_not_to_be():
    assert sorted(SPEC_FIELDS) == sorted(TREATMENTS + NOT_TREATMENTS)


# -- the test set's own error ---------------------------------------------------------------------


def with_predictions(results, shares, photographs=range(40), seed=3):
    records = draw(3)
    save(results, *records)
    rng = np.random.default_rng(seed)
    several = [p for p in photographs for _ in range(10)]
    easy = np.repeat(rng.random(len(list(photographs))), 10)
    for record in records:
        right = easy < shares[record.spec.variant]
        write_predictions(run_dir(results, record), right, several)


def test_accuracy_has_an_interval_over_photographs_beside_the_one_over_seeds(tmp_path):
    with_predictions(tmp_path, dict.fromkeys(VARIANTS, 0.7))
    found = document(tmp_path)
    by_photograph = found["configurations"][0]["accuracy"]
    assert by_photograph["high"] - by_photograph["low"] > 0.15
    assert by_photograph["low"] < by_photograph["mean"] < by_photograph["high"]
    assert "these 40 test photographs" in said(tmp_path, "study", "--all")


def test_two_networks_are_compared_on_the_same_images(tmp_path):
    with_predictions(tmp_path, dict(zip(VARIANTS, (0.5, 0.5, 0.95, 0.5), strict=True)))
    same = {each["variant"]: each["paired"] for each in document(tmp_path)["same_images"]}
    assert same["leaky-dropout"]["difference"]["low"] > 0
    assert same["leaky-dropout"]["p"] < 0.01
    assert same["leaky-dropout"]["only_second"] == 0
    assert same["relu-batchnorm"]["difference"]["mean"] == 0


def test_unknown_photographs_leave_the_interval_out_and_say_so(tmp_path):
    records = draw(3)
    save(tmp_path, *records)
    for record in records:
        write_predictions(run_dir(tmp_path, record), np.ones(8, bool), [None] * 8)
    found = document(tmp_path)
    assert found["same_images"] == []
    assert any("uncertainty of the test set is not shown" in note for note in found["notes"])


def test_damaged_predictions_are_named(tmp_path):
    with_predictions(tmp_path, dict.fromkeys(VARIANTS, 0.7))
    damaged = next(tmp_path.glob("study/*/predictions.parquet"))
    damaged.write_bytes(b"PAR1 not at all")
    with pytest.raises(UsageError, match="cannot be read as predictions"):
        said(tmp_path, "study")


# -- thresholds, and the exit codes of the real program -------------------------------------------


def run(results, *words):
    return wbcbench("compare", "study", "--results", str(results), *words)


def test_a_kept_limit_exits_0_and_every_threshold_is_listed(clear):
    ended = run(clear, "--fail-if", f"{ENERGY} > +10%", "--fail-if", "balanced_accuracy < -3pp")
    assert ended.code == 0
    assert ended.out.count("not worse") == 6
    assert ended.err == ""


def test_a_failed_limit_exits_4_names_the_configuration_and_still_prints_the_comparison(clear):
    ended = run(clear, "--fail-if", f"{ENERGY} > +2%", "--json")
    assert ended.code == 4
    assert "leaky-dropout" in ended.err
    results = {row["variant"]: row["result"] for row in ended.json["thresholds"]}
    assert results["leaky-dropout"] == "worse"
    assert results["relu-batchnorm"] == "not worse"


def test_an_open_limit_exits_0_or_5_when_strict_and_says_how_many_blocks(nothing):
    threshold = ("--fail-if", "balanced_accuracy < -0.2pp")
    relaxed, strict = run(nothing, *threshold), run(nothing, *threshold, "--strict")
    assert (relaxed.code, strict.code) == (0, 5)
    assert "inconclusive" in relaxed.out
    assert "would settle it" in " ".join(relaxed.out.split())
    assert "contains the threshold" in strict.err


def test_runs_that_do_not_compare_exit_3(tmp_path):
    ended = run(mixed(tmp_path, provenance=OTHER_HOST))
    assert ended.code == 3
    assert "cpu_model" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "limit", ["energy > 5", "energy_gpu_train_j +5%", "energy_gpu_train_j > +5pp", ""]
)
def test_a_limit_that_cannot_be_read_exits_2_with_the_grammar(clear, limit):
    ended = run(clear, "--fail-if", limit)
    assert ended.code == 2
    assert ended.out == ""
    if "energy >" not in limit:
        assert "'balanced_accuracy < -1pp'" in ended.err


def test_an_unknown_study_exits_2_and_names_the_nearest(clear):
    ended = wbcbench("compare", "stdy", "--results", str(clear))
    assert ended.code == 2
    assert "Did you mean 'study'" in ended.err


def test_fewer_than_three_blocks_leave_a_threshold_open(tmp_path):
    save(tmp_path, *draw(2))
    with pytest.raises(InconclusiveError):
        said(tmp_path, "study", "--strict", "--fail-if", f"{ENERGY} > +5%")


def test_costs_of_a_target_have_no_mean_and_are_refused_as_a_metric(clear):
    with pytest.raises(UsageError, match="never reach the target"):
        said(clear, "study", "--metric", "energy_to_target_j")


def test_an_unknown_metric_is_refused_with_the_nearest(clear):
    with pytest.raises(UsageError, match="Did you mean 'balanced_accuracy'"):
        said(clear, "study", "--metric", "balanced_acuracy")


# -- the plan -------------------------------------------------------------------------------------


def planned(results, **analysis):
    save(results, *draw(3, channels=LAPTOP))
    folder = results / "study"
    experiment = Experiment(
        study="study",
        factors={"variant": VARIANTS},
        seeds=(1001, 1002, 1003),
        blocks=3,
        analysis=PlannedAnalysis(**analysis),
    )
    store_plan(plan.make_plan(experiment), folder)
    return results


def test_what_is_not_asked_for_is_as_planned(tmp_path):
    found = document(planned(tmp_path, lowest_status="estimated", equivalent_pct=4.0))
    assert contrast(found, "interaction", "primary_energy_train_j")["rope_high"] == 4.0
    assert any("as planned before the first run" in note for note in found["notes"])
    assert found["settings"]["departures"] == []


def test_a_departure_from_the_plan_is_told(tmp_path):
    planned(tmp_path, lowest_status="estimated")
    found = document(tmp_path, "--equivalent-pct", "9", "--metric", "accuracy")
    assert found["settings"]["departures"] == ["metrics", "region_pct"]
    assert any("but for --metric, --equivalent-pct." in note for note in found["notes"])
    assert any("nothing is called different or equivalent" in note for note in found["notes"])
    assert {row["result"] for row in found["contrasts"]} == {"not tested"}


def test_an_exploratory_plan_tests_nothing_in_terminal_report_and_table(tmp_path):
    save(tmp_path, *draw(8, channels=LAPTOP))
    seeds = tuple(range(1001, 1009))
    analysis = PlannedAnalysis(lowest_status="estimated", exploratory=True)
    asked = Experiment("study", seeds, 8, {"variant": VARIANTS}, analysis=analysis)
    store_plan(plan.make_plan(asked), tmp_path / "study")
    found = document(tmp_path)
    assert {row["result"] for row in found["contrasts"]} == {"not tested"}
    text = said(tmp_path, "study")
    assert "The plan is exploratory" in text
    assert "Holm over" not in text
    report = read_report_study(tmp_path, "study")
    (*estimates, reason) = build_result(report).statements
    assert "exploratory" in reason.text
    assert estimates and all(each.text.startswith("Estimate from ") for each in estimates)


def test_the_factors_are_tested_where_the_plan_names_them(tmp_path):
    found = document(planned(tmp_path, lowest_status="estimated", family="factors"))
    primary = {row["contrast"] for row in found["contrasts"] if row["family"] == "primary"}
    assert primary == {"activation leaky-relu", "regulariser batchnorm", "interaction"}
    assert found["settings"]["departures"] == []
    departed = document(tmp_path, "--family", "baseline")
    assert departed["settings"]["departures"] == ["family"]
    assert {row["result"] for row in departed["contrasts"]} == {"not tested"}


def test_a_plan_that_was_changed_afterwards_is_refused(tmp_path):
    planned(tmp_path, equivalent_pct=2.0)
    path = tmp_path / "study" / "plan.json"
    path.write_text(path.read_text().replace('"equivalent_pct": 2.0', '"equivalent_pct": 20.0'))
    with pytest.raises(UsageError, match="changed after it was made"):
        said(tmp_path, "study")


# -- the order of the runs ------------------------------------------------------------------------


def in_order(records, orders, per_hour=0.0, night_after=None):
    """Records started every twelve minutes in these orders, with joules that rise."""
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    by_place = {(r.spec.block, r.spec.variant): r for r in records}
    placed = []
    session = 0
    for number, order in enumerate(orders):
        if number == night_after:
            start, session = start + timedelta(hours=20), len(placed)
        for variant in order:
            hours = 0.2 * (len(placed) - session)
            started = (start + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
            record = scaled(by_place[number + 1, variant], math.exp(per_hour * hours))
            placed.append(replace(record, started_utc=started))
    return placed


def order_notes(tmp_path, records):
    save(tmp_path, *records)
    found = document(tmp_path)
    return [note for note in found["notes"] if "order is unbalanced" in note], found["order"]


FIXED = [VARIANTS] * 8
BALANCED = [[VARIANTS[i] for i in row] for row in draw_orders(4, 8, 1)]


def test_a_drift_over_an_unbalanced_order_is_told_with_its_size(tmp_path):
    (note,), order = order_notes(tmp_path, in_order(draw(8, NOTHING), FIXED, per_hour=0.03))
    assert "(relu-dropout ran at place 1 in 8 of 8 blocks)" in note
    (power, energy) = order["drifts"]
    assert (power["quantity"], power["unit"], energy["unit"]) == ("mean power", "W", "J")
    assert power["bias_pct"] == pytest.approx(energy["bias_pct"])
    assert energy["interval"]["low"] < energy["per_hour"] < energy["interval"]["high"]
    assert energy["bias_pct"] == pytest.approx(100 * math.expm1(0.03 * 0.6), rel=0.3)
    assert f"up to {max(power['bias_pct'], energy['bias_pct']):.2g} %" in note


@pytest.mark.parametrize(("blocks", "per_hour"), [(8, 0.03), (7, 0.0)], ids=["balanced", "steady"])
def test_neither_a_balanced_order_nor_a_steady_machine_is_warned_of(blocks, per_hour, tmp_path):
    orders = BALANCED[:blocks]
    notes, order = order_notes(tmp_path, in_order(draw(blocks, NOTHING), orders, per_hour))
    assert notes == []
    assert order["balance"]["names"] == sorted(VARIANTS)
    assert order["is_varied"]


def test_what_blocks_share_is_no_drift():
    """Without a drift, over orders that are not balanced, a drift is seen in 5 % of studies."""
    orders = [[VARIANTS[i] for i in row] for row in draw_orders(4, 7, 1)]
    seen = 0
    for seed in range(100):
        records = in_order(draw(7, NOTHING, seed=seed), orders)
        runs = [Run(record, study="study") for record in records]
        design = make_design(configurations(runs), None, ["study"])
        energy = [find_metric(PRIMARY)]
        blocks = find_complete_blocks(runs, design.configurations, energy, one_host=True)
        seen += find_order(design, blocks).drifts[1].is_seen
    assert 1 <= seen <= 11


def test_a_fixed_order_is_warned_of_also_where_no_drift_is_seen(tmp_path):
    (note,), order = order_notes(tmp_path, in_order(draw(8, NOTHING), FIXED))
    assert "such as warm-up, cannot be told from a difference" in note
    assert not order["is_varied"]


def test_failures_may_leave_the_rest_unbalanced(tmp_path):
    records = in_order(draw(8, NOTHING), BALANCED, per_hour=0.03)
    first = [row[0] for row in BALANCED]
    lost = {n + 1 for n, variant in enumerate(first) if variant in first[:2]}
    broken = changed(records, lambda r: r.spec.block in lost, status="failed")
    (note,), _ = order_notes(tmp_path, broken)
    assert "of 4 blocks" in note


def test_a_night_between_two_sessions_is_no_time_of_drift(tmp_path):
    records = in_order(draw(8, NOTHING), FIXED, per_hour=0.3, night_after=4)
    _, order = order_notes(tmp_path, records)
    assert order["drifts"][1]["bias_pct"] == pytest.approx(100 * math.expm1(0.3 * 0.6), rel=0.2)


def test_of_runs_without_an_order_nothing_is_said(clear):
    assert document(clear)["order"] is None


# -- the ways to write it down --------------------------------------------------------------------


def test_the_csv_holds_the_contrasts_unrounded_in_the_documented_columns(clear):
    rows = list(csv.DictReader(io.StringIO(said(clear, "study", "--csv"))))
    assert tuple(rows[0]) == COLUMNS
    wanted = document(clear)["contrasts"]
    assert [float(row["estimate"]) for row in rows] == [row["estimate"] for row in wanted]


def test_latex_and_markdown_hold_every_contrast_and_are_whole(clear):
    tex = said(clear, "study", "--latex")
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") >= 3
    assert r"energy\_gpu\_train\_j" in tex
    assert "%" not in tex.replace(r"\%", "").replace("\n% ", "").removeprefix("% ")
    markdown = said(clear, "study", "--format", "github")
    widths = {line.count(" |") for line in markdown.splitlines() if line.startswith("| activ")}
    assert widths == {4}
    assert "| activation leaky-relu vs relu |" in markdown


def test_bootstrap_intervals_need_fifteen_blocks_and_are_labelled(tmp_path, clear):
    assert "Bootstrap intervals need 15 seeds" in said(clear, "study", "--interval", "bootstrap")
    save(tmp_path, *draw(15))
    row = contrast(document(tmp_path, "--interval", "bootstrap"), "activation leaky-relu")
    assert row["ci_method"] == "bootstrap"
    assert row["ci_low"] < row["estimate"] < row["ci_high"]


def test_a_chosen_metric_replaces_energy_and_accuracy(clear):
    found = document(clear, "--metric", "time_train_s", "--metric", "ece")
    assert {row["metric"] for row in found["contrasts"]} == {"time_train_s", "ece"}
    assert found["splits"] == []


def test_a_comparison_loads_none_of_the_slow_libraries(clear):
    program = (
        "import sys\n"
        "from wbcbench.cli import build_app\n"
        "app = build_app(['compare'])\n"
        f"app(['compare', 'study', '--results', {str(clear)!r}], standalone_mode=False)\n"
        "slow = {'scipy.stats', 'statsmodels', 'pandas', 'tensorflow', 'matplotlib', 'cv2'}\n"
        "print('loaded:', sorted(slow & set(sys.modules)))\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("loaded: []\n"), done.stderr
