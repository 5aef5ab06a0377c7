"""Figures: each is drawn from one table, whose numbers are those of the runs and say so."""

from __future__ import annotations

import csv
import io
import pickle
import re
from dataclasses import replace
from statistics import median
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import scipy.stats

from builders.machine import CPU_MODEL, GPU_CHANNELS, RAM_MODEL, RAPL_CHANNELS
from builders.run import CLASSES, make_record, make_scores, make_spec, save
from builders.study import CLEAR, VARIANTS, Size, draw, gather, write_study
from builders.timeline import make_epochs
from wbcbench.energy.metrics import load_intensities
from wbcbench.report import DataTable, Report, build
from wbcbench.report.figures.breakdown import build_breakdown_figure, collect_phases
from wbcbench.report.figures.confusion import build_confusion_figure
from wbcbench.report.figures.differences import build_differences
from wbcbench.report.figures.energy_accuracy import MEAN, build_tradeoff
from wbcbench.report.figures.learning import build_learning_curves
from wbcbench.report.formats import to_csv
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.carbon import build_carbon
from wbcbench.report.style import to_svg
from wbcbench.stats.intervals import ellipse

NAMES = (
    "energy-accuracy", "differences", "learning-curves", "energy-parts", "confusion",
    "meter-agreement", "run-order", "timeline-usual", "timeline-worst", "carbon-places",
)  # fmt: skip
OF_ONE_RUN = {"timeline-usual", "timeline-worst"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A study with a failed run, traces and telemetry: it has every figure."""
    folder = write_study(tmp_path_factory.mktemp("whole"), Size(blocks=3, images=40), failed=1)
    return build(read_report_study(folder.parent, folder.name))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four variants in ten blocks: enough for everything there is to draw."""
    folder = save(tmp_path_factory.mktemp("results"), *draw(10, CLEAR))
    return read_report_study(folder.parent, folder.name)


def of(*records, **fields):
    return gather("runs", records, **fields)


def words_of(figure):
    return " ".join(ET.fromstring(to_svg(figure)).itertext())


def read_number(cell):
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell or None


# -- every figure ---------------------------------------------------------------------------------


def test_a_whole_study_has_every_figure(whole):
    assert sorted(figure.name for figure in whole.figures) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_drawn_from_its_table_alone(whole, name):
    """From the numbers as the CSV has them: nothing else of the study reaches the picture."""
    (figure,) = (each for each in whole.figures if each.name == name)
    _, *lines = csv.reader(io.StringIO(to_csv(figure.data).decode()))
    values = tuple(tuple(map(read_number, line)) for line in lines)
    texts = [i for i in figure.data.words if isinstance(figure.data.values[0][i], str)]
    values = tuple(
        tuple(cell or "" if i in texts else cell for i, cell in enumerate(row)) for row in values
    )
    bare = DataTable("", figure.data.headings, (), values=values)
    assert to_svg(replace(figure, data=bare)) == to_svg(figure)
    assert len(pickle.dumps(figure.draw)) < 3_000  # holds no run and no record


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_has_title_description_caption_units_and_its_variants(whole, name):
    (figure,) = (each for each in whole.figures if each.name == name)
    words = words_of(figure)
    assert figure.title in words
    assert figure.description.replace("  ", " ") in words
    assert figure.caption
    if name not in OF_ONE_RUN | {"carbon-places"}:
        assert all(variant in words for variant in VARIANTS)
    if name != "confusion":
        assert re.search(r"\((kJ|J|(± )?%|W|g, log scale)\)", words)
    assert "measured" in figure.caption or name in {"confusion", "carbon-places", "meter-agreement"}
    assert {len(row) for row in figure.data.values} == {len(figure.data.headings)}
    assert len(figure.data.rows) == len(figure.data.values)


def test_of_one_run_no_plane_with_a_single_point_is_drawn():
    names = {figure.name for figure in build(of(make_record())).figures}
    assert {"learning-curves", "energy-parts", "confusion"} <= names
    assert names.isdisjoint({"energy-accuracy", "differences", "run-order"})


def test_of_a_thousand_runs_densities_are_drawn_and_all_numbers_are_in_the_table():
    record = make_record()
    runs = [
        replace(record, run_id=f"{v}-s{s}", spec=make_spec(v, s, order_global=4 * s + place))
        for place, v in enumerate(VARIANTS)
        for s in range(250)
    ]
    report = build(of(*runs))
    figures = {figure.name: figure for figure in report.figures}
    assert "Shaded: how 1,000 runs lie." in figures["energy-accuracy"].caption
    assert "Median of 1,000 runs and the middle 80 %." in figures["learning-curves"].caption
    assert len(figures["energy-accuracy"].data.rows) == 1_000 + 4
    assert len(figures["learning-curves"].data.rows) == 1_000 * 4
    assert max(len(to_svg(figure)) for figure in figures.values()) < 250_000


# -- energy against accuracy ----------------------------------------------------------------------


def test_means_are_those_of_the_runs_with_students_interval(study):
    data = build_tradeoff(study).data
    rows = {row[0]: row[2:6] for row in data.values if row[1] == MEAN}
    for variant, own in study.by_label(study.done).items():
        joules = [run.train_energy_j for run in own]
        ends = scipy.stats.t.interval(0.95, 9, np.mean(joules), scipy.stats.sem(joules))
        energy_j, accuracy, *found = rows[variant]
        assert energy_j == pytest.approx(np.mean(joules))
        assert accuracy == pytest.approx(np.mean([run.row["accuracy"] for run in own]))
        assert found == pytest.approx(ends, rel=1e-3)  # of logarithms, which stays above zero


def test_the_points_are_the_runs_and_accuracy_is_in_per_cent(study):
    figure = build_tradeoff(study)
    points = {row[1]: row[2:4] for row in figure.data.values if row[1] != MEAN}
    assert points == {
        run.run_id: (run.train_energy_j, run.row["accuracy"]) for run in study.comparable
    }
    assert "accuracy on TEST (%)" in words_of(figure)


def test_the_front_and_the_share_of_resamples_are_the_comparisons(study):
    data = build_tradeoff(study).data
    means = {row[0]: row[8:] for row in data.values if row[1] == MEAN}
    known = {each.label: each.front_share for each in study.comparison.configurations}
    assert {label: share for label, (_, share) in means.items()} == known
    assert means["relu-batchnorm"][0] == "yes"
    assert means["relu-dropout"][0] == "no"
    assert all(f"{100 * share:.0f} % on front" in words_of(build_tradeoff(study))
               for share in known.values())  # fmt: skip


def test_means_stand_for_complete_seeds_alone(tmp_path):
    records = [r for r in draw(4) if not (r.spec.block == 4 and r.spec.variant == "relu-dropout")]
    save(tmp_path, *records)
    study = read_report_study(tmp_path, "study")
    rows = build_tradeoff(study).data.values
    assert len([row for row in rows if row[1] != MEAN]) == 12  # as many as are in the means
    for label, own in study.by_label(study.done).items():
        (energy_j,) = (row[2] for row in rows if row[:2] == (label, MEAN))
        first = [run.train_energy_j for run in own if run.spec.block < 4]
        assert energy_j == pytest.approx(np.mean(first))


def test_an_ellipse_needs_ten_points_and_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(7)
    points = rng.multivariate_normal([10.0, 0.8], [[4.0, 0.1], [0.1, 0.01]], size=(2_000, 12))
    assert ellipse(points[0][:9]) is None
    inside = 0
    for each in points:
        outline = ellipse(each)
        centre = each.mean(axis=0)
        # In the frame in which the ellipse is a circle, is the truth nearer than the outline?
        root = np.linalg.inv(np.linalg.cholesky(np.cov(each.T)))
        radius = np.linalg.norm(root @ (outline[0] - centre))
        inside += np.linalg.norm(root @ (np.array([10.0, 0.8]) - centre)) <= radius
    assert inside / 2_000 == pytest.approx(0.95, abs=0.02)


def test_settings_that_differ_make_variants_of_their_own():
    specs = [make_spec(seed=s, batch_size=b) for s in (1, 2) for b in (32, 64)]
    rows = build_tradeoff(of(*(make_record(spec=spec) for spec in specs))).data.values
    assert [row[0] for row in rows if row[1] == MEAN] == [
        "leaky-dropout batch_size=32",
        "leaky-dropout batch_size=64",
    ]


# -- differences ----------------------------------------------------------------------------------


def test_differences_are_the_primary_contrasts_of_the_comparison(study):
    figure = build_differences(study)
    rows = {row[0:3]: row[3:] for row in figure.data.values}
    primary = [e for e in study.comparison.effects if e.family == "primary"]
    assert len(rows) == len(primary) == 6
    for effect in primary:
        metric = "energy" if effect.metric.part else "balanced accuracy"
        assert rows[effect.contrast, effect.against, metric] == (
            effect.estimate, effect.interval.low, effect.interval.high, effect.metric.unit,
            *effect.region, effect.result.value, effect.n,
        )  # fmt: skip
    assert figure.title == "Differences from relu-dropout"
    assert "Grey: too small to matter." in figure.caption


# -- learning curves ------------------------------------------------------------------------------


def test_curves_rise_over_the_joules_of_training_steps_alone():
    figure = build_learning_curves(of(make_record()))
    assert list(figure.data.select("energy since the start (J)", "score")) == [
        (2800.0, 0.5), (5600.0, 0.7), (8400.0, 0.82), (11200.0, 0.81),
    ]  # fmt: skip
    assert "seconds" in words_of(figure)  # the second axis: one mean power serves both


def test_an_epoch_whose_joules_are_unknown_is_left_out_and_no_zero():
    whole = make_record()
    energies = tuple(
        replace(each, energy_j=None) if each.window == "epoch-3" else each
        for each in whole.energies
    )
    figure = build_learning_curves(of(replace(whole, energies=energies)))
    # Later sums hold the unknown epoch, too.
    assert [row[0] for row in figure.data.select("epoch")] == [1, 2]


def test_without_joules_curves_run_over_seconds_and_say_so():
    figure = build_learning_curves(of(make_record(channels=())))
    assert figure.title == "Validation balanced accuracy over seconds"
    assert {row[0] for row in figure.data.select("energy since the start (J)")} == {None}
    assert "training time (s)" in words_of(figure)


def test_runs_with_different_targets_have_no_target_line():
    same = build_learning_curves(of(make_record(seed=1), make_record(seed=2)))
    other = make_record(spec=make_spec(seed=2, target_value=0.7))
    assert "Dotted: the target." in same.caption
    assert "target" not in build_learning_curves(of(make_record(), other)).caption


# -- energy by part -------------------------------------------------------------------------------


def breakdown(*records):
    study = of(*records)
    return build_breakdown_figure(study, collect_phases(study))


def test_phases_of_a_part_add_up_to_the_run():
    record = make_record(channels=(*GPU_CHANNELS, *RAPL_CHANNELS))
    rows = breakdown(record).data.values
    joules = {}
    for _, part, status, _, _, phase, energy_j, _ in rows:
        joules.setdefault((part, status), {})[phase] = energy_j
    assert set(joules) == {(part, "measured") for part in ("GPU", "CPU", "DRAM")}
    # 40 s of training steps, 4 s of validation and 2 s of test at 280 W; 9 s idle at 60 W.
    gpu = joules["GPU", "measured"]
    assert (gpu["train"], gpu["validate"], gpu["test"]) == pytest.approx((11200.0, 1120.0, 560.0))
    assert gpu["idle"] == pytest.approx(540.0)
    (run,) = of(record).runs
    assert sum(gpu.values()) == pytest.approx(run.row["energy_gpu_run_j"], rel=1e-6)


def test_what_is_not_measured_is_hatched_and_told():
    mixed = breakdown(make_record(channels=(*GPU_CHANNELS, CPU_MODEL, RAM_MODEL)))
    sensors = breakdown(make_record(channels=(*GPU_CHANNELS, *RAPL_CHANNELS)))
    assert "<pattern" in to_svg(mixed)
    assert "<pattern" not in to_svg(sensors)
    assert "CPU, DRAM: estimated (hatched, in no sum of measured ones)." in mixed.caption
    assert "estimated" not in sensors.caption


def test_a_part_that_one_run_read_in_another_way_is_averaged_over_the_usual_way_alone():
    usual = [make_record(seed=s) for s in (1, 2)]
    rows = breakdown(*usual, make_record(seed=3, channels=(*GPU_CHANNELS, CPU_MODEL))).data.values
    assert {(row[2], row[4]) for row in rows if row[1] == "CPU"} == {("measured", 2)}
    assert {row[4] for row in rows if row[1] == "GPU"} == {3}


# -- confusion ------------------------------------------------------------------------------------


def test_counts_are_summed_over_runs_and_rows_are_shares():
    data = build_confusion_figure(of(*(make_record(seed=s) for s in range(3)))).data
    images = np.array([row[3] for row in data.values]).reshape(4, 4)
    assert np.array_equal(images, 3 * np.array(make_scores().confusion))
    shares = np.array([row[4] for row in data.values]).reshape(4, 4)
    assert np.allclose(shares.sum(axis=1), 1.0)


def test_the_unused_output_has_a_column_only_if_it_was_ever_answered():
    wide = tuple((*row, 2) for row in make_scores().confusion)
    for confusion, columns in ((wide, 5), (tuple((*r[:-1], 0) for r in wide), 4)):
        record = make_record(test=replace(make_scores(), confusion=confusion))
        data = build_confusion_figure(of(record)).data
        assert len({row[2] for row in data.values}) == columns


def test_a_class_without_images_has_no_share():
    empty = replace(make_scores(), confusion=((0, 0, 0, 0), *make_scores().confusion[1:]))
    figure = build_confusion_figure(of(make_record(test=empty)))
    assert {row[4] for row in figure.data.values if row[1] == CLASSES[0]} == {None}
    assert "–" in ET.fromstring(to_svg(figure)).itertext()
    assert build_confusion_figure(of(make_record(test=None))) is None


# -- grids ----------------------------------------------------------------------------------------


def test_grams_are_kilowatt_hours_times_the_grid_and_rise_from_place_to_place():
    section = build_carbon(of(make_record(), make_record(seed=2)))
    (figure,) = section.figures
    grams = dict(figure.data.select("zone", "CO2e (g)"))
    known = load_intensities()
    assert set(grams) == set(known)
    assert grams["DEU"] == pytest.approx(11_200 / 3.6e6 * known["DEU"].g_per_kwh)
    assert list(grams.values()) == sorted(grams.values())
    assert "Germany (named in its runs)" in words_of(figure)
    assert " in Germany CO2e (named in its runs); " in section.statements[0].text
    assert "Estimated, log axis" in figure.caption
    assert "CodeCarbon" in figure.caption and "MIT licence" in figure.caption
    assert build_carbon(of(make_record(channels=()))) is None


def test_the_median_curve_is_the_median_of_its_runs():
    scores = [(0.1, 0.5, 0.6), (0.2, 0.3, 0.9), (0.4, 0.4)]
    runs = [make_record(seed=i, epochs=make_epochs(own)) for i, own in enumerate(scores, start=1)]
    figure = build_learning_curves(of(*runs))
    canvas = figure.draw(figure.data)
    *_, thick, _, _ = canvas.axes[0].lines  # then its end and the target
    assert list(thick.get_ydata()) == [median(column) for column in zip(*scores, strict=False)]
    assert list(thick.get_xdata()) == pytest.approx([2.8, 5.6])
