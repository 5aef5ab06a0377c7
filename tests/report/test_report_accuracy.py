"""Accuracy in depth: counts, recall, and the two intervals of a mean."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy import stats

from builders.folder import write_predictions
from builders.run import CLASSES, make_record, make_scores, run_dir, save
from builders.study import gather
from wbcbench.report.drawing import to_svg
from wbcbench.report.sections.accuracy import (
    build_accuracy,
    build_confusion,
    collect_accuracies,
    collect_depth,
    collect_recalls,
)
from wbcbench.report.summaries import build_summary_rows
from wbcbench.stats.bootstrap import bootstrap_accuracy

ACCURACIES = (0.78, 0.80, 0.83)


def predictions(rng, images=240, photographs=24):
    photograph = np.repeat(np.arange(photographs), images // photographs)
    truth = photograph % len(CLASSES)
    hard = rng.random(photographs)[photograph]
    said = np.where(rng.random(images) < 0.4 + 0.5 * hard, truth, (truth + 1) % len(CLASSES))
    return photograph, truth, said


def keep(folder, record, table):
    photograph, truth, said = table
    run = run_dir(folder.parent, record)
    write_predictions(run, said == truth, photograph, also_in_train=photograph < 4)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A study of three runs of one variant, and what each said."""
    records = [make_record(seed=i, accuracy=a) for i, a in enumerate(ACCURACIES)]
    folder = save(tmp_path_factory.mktemp("kept"), *records)
    rng = np.random.default_rng(7)
    tables = [predictions(rng)] + [predictions(rng) for _ in records[1:]]
    for record, table in zip(records, tables, strict=True):
        keep(folder, record, table)
    return gather("runs", records, folder=folder), tables


def test_the_interval_by_seed_is_students(told):
    study, _ = told
    first, second = collect_accuracies(collect_depth(study, "leaky-dropout"))
    want = stats.t.interval(0.95, 2, np.mean(ACCURACIES), stats.sem(ACCURACIES))
    assert first.mean == pytest.approx(np.mean(ACCURACIES))
    assert first.by_seed == pytest.approx(want)
    assert second.mean == pytest.approx(np.mean(ACCURACIES) - 0.015)


def test_the_interval_by_photograph_of_one_run_is_that_of_its_record(tmp_path, told):
    _, tables = told
    record = make_record()
    folder = save(tmp_path, record)
    photograph, truth, said = tables[0]
    keep(folder, record, tables[0])
    depth = collect_depth(gather("runs", [record], folder=folder), "leaky-dropout")
    names = np.unique([CLASSES[i] for i in truth], return_inverse=True)[1]
    want = bootstrap_accuracy(truth == said, names, photograph)
    assert depth.photographs.accuracy == pytest.approx(want)
    unseen = photograph >= 4
    want = bootstrap_accuracy((truth == said)[unseen], names[unseen], photograph[unseen])
    assert depth.photographs.leakage_free == pytest.approx(want)


def test_the_summary_has_the_same_interval_over_photographs(told, tmp_path):
    study, _ = told
    [row] = build_summary_rows(study)
    shown = row["accuracy_photographs_low"], row["accuracy_photographs_high"]
    assert shown == pytest.approx(collect_depth(study, "leaky-dropout").photographs.accuracy)
    record = make_record()
    [row] = build_summary_rows(gather("runs", [record], folder=save(tmp_path, record)))
    alone = row["accuracy_photographs_low"], row["accuracy_photographs_high"]
    assert alone == record.test.interval


def test_recall_has_both_intervals_for_each_class(told):
    study, _ = told
    found = collect_recalls(collect_depth(study, "leaky-dropout"))
    assert [each.group for each in found] == [name.lower() for name in CLASSES]
    assert all(each.by_seed and each.over_photographs for each in found)


def test_counts_are_summed_over_runs_and_rows_are_shares(told):
    study, _ = told
    made = build_confusion(collect_depth(study, "leaky-dropout"), "x")
    single = np.array(make_scores().confusion)
    assert np.array_equal(made.counts, 3 * single)
    assert np.allclose([sum(row) for row in made.shares], 1.0)


def test_the_unused_output_has_a_column_only_if_it_was_ever_said():
    wide = tuple((*row, 2) for row in make_scores().confusion)
    for confusion, columns in ((wide, 5), (tuple((*r[:-1], 0) for r in wide), 4)):
        record = make_record(test=replace(make_scores(), confusion=confusion))
        made = build_confusion(collect_depth(gather("x", [record]), "leaky-dropout"), "x")
        assert len(made.answers) == columns


def test_the_words_put_both_errors_beside_each_other(told):
    study, _ = told
    words = " ".join(build_accuracy(study).paragraphs)
    assert "the 95 % CI over photographs is" in words
    assert ", and over seeds " in words
    assert "More runs narrow the second only" in words
    assert "202 test images of 2,487 show cells that TRAIN shows as well" in words
    assert "changes by -1.5 percentage points" in words
    assert "Expected calibration error: 0.070" in words


def test_the_pictures_are_the_same_twice_and_well_formed(told):
    study, _ = told
    first, second = (build_accuracy(study).figures for _ in range(2))
    assert [to_svg(figure) for figure in first] == [to_svg(figure) for figure in second]
    words = " ".join(ET.fromstring(to_svg(first[0])).itertext())
    assert "the network's answer" in words
    assert "EOS" in words


def test_without_predictions_the_missing_interval_is_said():
    block = build_accuracy(gather("x", [make_record()]))
    assert "No interval over photographs can be stated" in " ".join(block.paragraphs)
    assert "unknown" in block.tables[0].rows[0]


def test_unknown_photographs_give_no_interval(tmp_path, told):
    _, tables = told
    record = make_record()
    folder = save(tmp_path, record)
    photograph, truth, said = tables[0]
    keep(folder, record, (np.full_like(photograph, -1), truth, said))
    assert collect_depth(gather("x", [record], folder=folder), "leaky-dropout").photographs is None


def test_many_variants_stand_in_several_pictures_and_untested_ones_in_none():
    records = [make_record(f"variant-{i}") for i in range(8)]
    names = [figure.name for figure in build_accuracy(gather("x", records)).figures]
    assert names == ["confusion-1", "confusion-2", "recall", "accuracy-sets"]
    assert build_accuracy(gather("x", [make_record(test=None, test_leakage_free=None)])) is None


def test_a_class_without_images_has_no_recall_and_no_share():
    scores = make_scores()
    empty = replace(
        scores,
        recall={**scores.recall, CLASSES[0]: None},
        confusion=((0, 0, 0, 0), *scores.confusion[1:]),
    )
    block = build_accuracy(gather("x", [make_record(test=empty)]))
    assert [row[0] for row in block.figures[1].data.rows] == [n.lower() for n in CLASSES[1:]]
    assert "–" in ET.fromstring(to_svg(block.figures[0])).itertext()
