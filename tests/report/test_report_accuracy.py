"""Accuracy in depth: both intervals of a mean, recall, leakage; and the cost of using a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from builders.folder import write_predictions
from builders.run import CLASSES, make_record, make_scores, run_dir, save
from builders.study import gather
from wbcbench.report.sections.accuracy import (
    build_accuracy,
    build_confusion,
    build_inference,
    compute_photograph_intervals,
)
from wbcbench.report.summaries import build_summary_rows
from wbcbench.stats.bootstrap import bootstrap_accuracy

ACCURACIES = (0.78, 0.80, 0.83)


def predictions(rng, images=240, photographs=24):
    photograph = np.repeat(np.arange(photographs), images // photographs)
    truth = photograph % len(CLASSES)
    hard = rng.random(photographs)[photograph]
    answer = np.where(rng.random(images) < 0.4 + 0.5 * hard, truth, (truth + 1) % len(CLASSES))
    return photograph, truth, answer


def keep(folder, record, table):
    photograph, truth, answer = table
    run = run_dir(folder.parent, record)
    write_predictions(run, answer == truth, photograph, also_in_train=photograph < 4)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A study of three runs of one variant, and what each predicted."""
    records = [make_record(seed=i, accuracy=a) for i, a in enumerate(ACCURACIES)]
    folder = save(tmp_path_factory.mktemp("kept"), *records)
    rng = np.random.default_rng(7)
    tables = [predictions(rng) for _ in records]
    for record, table in zip(records, tables, strict=True):
        keep(folder, record, table)
    return gather("runs", records, folder=folder), tables


def paths(study):
    return [run.predictions_path for run in study.runs]


def cells(study, *, table=0):
    """The first row of a table by heading; of equal headings the first is of accuracy."""
    found = build_accuracy(study).tables[table]
    pairs = list(zip(found.headings, found.rows[0], strict=True))
    return dict(reversed(pairs))


def test_the_interval_over_seeds_is_students(predicted):
    study, _ = predicted
    low, high = stats.t.interval(0.95, 2, np.mean(ACCURACIES), stats.sem(ACCURACIES))
    mean = 100 * np.mean(ACCURACIES)
    assert cells(study)["Accuracy, %"] == f"{mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert cells(study)["Leakage-free, %"] == f"{mean - 1.5:.1f}"
    assert cells(study)["Balanced, %"] == f"{mean + 1:.1f}"
    assert cells(study)["Calibration error"] == "0.070"


def test_the_interval_over_photographs_of_one_run_is_that_of_its_record(tmp_path, predicted):
    _, tables = predicted
    record = make_record()
    folder = save(tmp_path, record)
    photograph, truth, answer = tables[0]
    keep(folder, record, tables[0])
    found = compute_photograph_intervals(paths(gather("runs", [record], folder=folder)))
    names = np.unique([CLASSES[i] for i in truth], return_inverse=True)[1]
    right, unseen = truth == answer, photograph >= 4
    assert found.accuracy == pytest.approx(bootstrap_accuracy(right, names, photograph))
    want = bootstrap_accuracy(right[unseen], names[unseen], photograph[unseen])
    assert found.leakage_free == pytest.approx(want)
    assert set(found.recall) == set(CLASSES)


def test_the_summary_and_the_table_have_the_same_interval_over_photographs(predicted, tmp_path):
    study, _ = predicted
    (row,) = build_summary_rows(study)
    shown = row["accuracy_photographs_low"], row["accuracy_photographs_high"]
    found = compute_photograph_intervals(paths(study)).accuracy
    assert shown == pytest.approx(found)
    low, high = (f"{100 * end:.1f}" for end in found)
    assert build_accuracy(study).tables[0].rows[0][3] == f"{low}–{high}"
    record = make_record()
    (row,) = build_summary_rows(gather("runs", [record], folder=save(tmp_path, record)))
    alone = row["accuracy_photographs_low"], row["accuracy_photographs_high"]
    assert alone == record.test.interval


def test_recall_has_an_interval_over_photographs_for_each_class(predicted):
    study, _ = predicted
    recall = cells(study, table=1)
    spans = compute_photograph_intervals(paths(study)).recall
    assert list(recall)[::-1] == ["Variant", *(name.lower() for name in CLASSES)]
    for name, (low, high) in spans.items():
        assert recall[name.lower()] == f"80 [{100 * low:.0f}, {100 * high:.0f}]"


def test_the_words_say_what_each_interval_is_for_and_what_leakage_free_means(predicted):
    study, _ = predicted
    words = " ".join(part for part in build_accuracy(study).parts if isinstance(part, str))
    assert "other seeds of the same network (Student's t), and other photographs (cluster" in words
    assert "More runs narrow the first only" in words
    assert "without the 202 test images of 2,487 whose cells TRAIN shows as well" in words
    assert build_accuracy(study).summary == "balanced accuracy 81.3 %"


def test_without_predictions_or_photographs_no_interval_is_made_up(tmp_path, predicted):
    section = build_accuracy(gather("x", [make_record()]))
    assert section.parts[0].startswith("No interval over photographs: the runs have no predictions")
    assert section.tables[0].rows[0][3] == "–"
    assert section.tables[1].rows[0][1] == "80"
    _, tables = predicted
    record = make_record()
    folder = save(tmp_path, record)
    photograph, truth, answer = tables[0]
    keep(folder, record, (np.full_like(photograph, -1), truth, answer))
    assert compute_photograph_intervals(paths(gather("x", [record], folder=folder))) is None
    assert compute_photograph_intervals([]) is None


def test_runs_that_were_tested_on_other_images_have_no_common_interval(tmp_path, predicted):
    _, tables = predicted
    records = [make_record(seed=i) for i in (1, 2)]
    folder = save(tmp_path, *records)
    keep(folder, records[0], tables[0])
    keep(folder, records[1], predictions(np.random.default_rng(1), images=480, photographs=48))
    assert compute_photograph_intervals(paths(gather("x", records, folder=folder))) is None


def test_a_class_without_images_has_no_recall_and_what_was_not_tested_no_section():
    scores = make_scores()
    empty = replace(scores, recall={**scores.recall, CLASSES[0]: None})
    section = build_accuracy(gather("x", [make_record(test=empty)]))
    assert section.tables[1].rows[0][1] == "–"
    untested = gather("x", [make_record(test=None, test_leakage_free=None)])
    assert build_accuracy(untested) is None
    assert build_confusion(untested) is None


# -- inference ------------------------------------------------------------------------------------


def test_the_energy_of_inference_is_of_a_thousand_images_with_length_and_warning():
    section = build_inference(gather("x", [make_record(seed=s) for s in (1, 2, 3)]))
    (table,) = section.tables
    # 3 s at 280 W: 300 images one at a time, 6,400 in batches of 64.
    assert table.headings == (
        "Variant", "Runs", "Batch 1, kJ", "images/s", "Batch 64, J", "images/s",
    )  # fmt: skip
    assert [cell.partition(" ")[0] for cell in table.rows[0][2:]] == ["2.80", "100", "131", "2133"]
    assert "Windows of 3.0 s. 60 s are wanted: rough." in table.caption
    assert "measured" in table.caption
    assert section.summary == "131 J for 1000 images in batches of 64"


def test_without_windows_of_inference_there_is_no_section():
    record = make_record()
    windows = tuple(w for w in record.windows if not w.name.startswith("infer"))
    energies = tuple(e for e in record.energies if not e.window.startswith("infer"))
    bare = replace(record, windows=windows, energies=energies, inference=())
    assert build_inference(gather("x", [bare])) is None
