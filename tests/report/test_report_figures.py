"""Figures of the report: their numbers are the runs', and however little there is, they parse."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import scipy.stats
from statsmodels.duration.survfunc import SurvfuncRight

from builders.machine import GPU_CHANNELS, LAPTOP, RAPL_CHANNELS
from builders.run import failed_record, make_record, make_scores, make_spec, save
from builders.study import CLEAR, VARIANTS, draw, gather
from builders.timeline import make_epochs
from wbcbench.registry import load_part
from wbcbench.report.drawing import to_svg
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.breakdown import collect_shares, stack_bars
from wbcbench.report.sections.contrasts import build_forest, collect_differences
from wbcbench.report.sections.learning import build_curves, compute_medians
from wbcbench.report.sections.tradeoff import compute_centres, select_front
from wbcbench.stats.intervals import ellipse

FIGURES = ("tradeoff", "target", "learning", "why")
CPU_MODEL, RAM_MODEL = LAPTOP


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four variants in ten blocks: enough for everything there is to draw."""
    results = tmp_path_factory.mktemp("results")
    save(results, *draw(10, CLEAR))
    return read_report_study(results, "study")


def of(records, **fields):
    return gather("runs", records, **fields)


def figure(study, section):
    (found,) = load_part("section", section)(study).figures
    return found


def column(table, heading):
    position = table.headings.index(heading)
    return [row[position] for row in table.rows]


def numbers(table, heading):
    return [float(cell) for cell in column(table, heading)]


@pytest.mark.parametrize("section", FIGURES)
def test_a_figure_says_its_title_and_names_every_variant(study, section):
    made = figure(study, section)
    root = ET.fromstring(to_svg(made))
    words = " ".join(root.itertext())
    assert made.title in words
    assert all(variant in words for variant in VARIANTS)
    assert "measured" in made.caption


def test_means_of_joules_and_accuracy_are_those_of_the_runs_with_students_interval(study):
    table = load_part("section", "tradeoff")(study).tables[0]
    joules = {
        variant: [run.train_energy_j for run in own]
        for variant, own in study.by_label(study.done).items()
    }
    for variant, mean, *ends in zip(
        column(table, "variant"),
        numbers(table, "energy in training (J)"),
        numbers(table, "95 % from (J)"),
        numbers(table, "to (J)"),
        strict=True,
    ):
        students = scipy.stats.t.interval(
            0.95, 9, np.mean(joules[variant]), scipy.stats.sem(joules[variant])
        )
        assert mean == pytest.approx(np.mean(joules[variant]), rel=1e-5)
        assert ends == pytest.approx(students, rel=1e-3)


def test_the_points_of_the_figure_are_the_runs(study):
    table = figure(study, "tradeoff").data
    assert column(table, "run") == [run.record.run_id for run in study.comparable]
    assert numbers(table, "energy in training (J)") == pytest.approx(
        [run.train_energy_j for run in study.comparable], rel=1e-5
    )


def test_the_share_on_the_front_is_the_comparisons(study):
    known = {variant.label: variant.front_share for variant in study.comparison.configurations}
    assert {each.variant: each.front_share for each in compute_centres(study)} == known
    told = load_part("section", "tradeoff")(study).claims[1].text
    assert all(f"{variant} in {100 * share:.0f} %" in told for variant, share in known.items())


def test_means_stand_for_the_complete_blocks_alone(tmp_path):
    records = [r for r in draw(4) if not (r.spec.block == 4 and r.spec.variant == "relu-dropout")]
    save(tmp_path, *records)
    study = read_report_study(tmp_path, "study")
    assert {len(each.points) for each in compute_centres(study)} == {3}
    assert "over 3 complete blocks" in figure(study, "tradeoff").caption


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


def test_the_forest_shows_what_the_comparison_found(study):
    made = build_forest(study)
    table = made.data
    effects = {
        (f"{e.contrast} vs {e.against}", e.metric.name): e
        for e in study.comparison.effects
        if e.contrast != "interaction"
    }
    rows = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    assert len(rows) == 9 * 2 + 3  # nine contrasts of two metrics, seconds of three
    for row in rows:
        effect = effects.get((row["contrast"], row["metric"]))
        if effect:
            assert float(row["difference"]) == pytest.approx(effect.estimate, rel=2e-3, abs=1e-3)
            assert float(row["from"]) == pytest.approx(effect.interval.low, rel=2e-3, abs=1e-3)
            assert row["family"] == effect.family
    words = " ".join(ET.fromstring(to_svg(made)).itertext())
    assert "interaction of activation × regulariser" in words
    assert "regulariser batchnorm vs dropout" in words


def test_the_forest_agrees_with_a_paired_t_interval_on_logarithms(study):
    (found,) = (
        each
        for each in collect_differences(study.comparison)
        if (each.contrast, each.against) == ("leaky-dropout", "relu-dropout")
        and each.metric.part == "gpu"
    )
    by_variant = study.by_label(study.done)
    logs = [
        math.log(a.train_energy_j / b.train_energy_j)
        for a, b in zip(by_variant["leaky-dropout"], by_variant["relu-dropout"], strict=True)
    ]
    low, high = scipy.stats.t.interval(0.95, 9, np.mean(logs), scipy.stats.sem(logs))
    assert found.interval.low == pytest.approx(100 * math.expm1(low))
    assert found.interval.high == pytest.approx(100 * math.expm1(high))


def test_the_median_cost_counts_runs_that_never_reached_the_target():
    never = make_epochs((0.5, 0.6, 0.7, 0.7))
    late = make_epochs((0.5, 0.6, 0.7, 0.9))
    records = [
        make_record(seed=1),
        make_record(seed=2, epochs=late),
        make_record(seed=3, epochs=never),
    ]
    made = figure(of(records), "target")
    cost = numbers(made.data, "spent until then or in all (J)")
    reached = [cell == "reached" for cell in column(made.data, "target")]
    assert sorted(cost) == pytest.approx([8400.0, 11200.0, 11200.0])
    assert sorted(reached) == [False, True, True]
    median = SurvfuncRight(cost, reached).quantile(0.5)
    assert set(numbers(made.data, "variant's median (J)")) == {median}
    words = " ".join(ET.fromstring(to_svg(made)).itertext())
    assert "leaky-dropout: 2 of 3 reached" in words


def test_a_variant_that_seldom_reaches_the_target_has_no_median():
    never = make_epochs((0.5, 0.6, 0.7, 0.7))
    records = [make_record(seed=1), *(make_record(seed=s, epochs=never) for s in (2, 3))]
    made = figure(of(records), "target")
    assert set(column(made.data, "variant's median (J)")) == {"unknown"}
    assert "Upright bar" not in made.caption


def test_a_run_outside_every_complete_block_is_drawn_and_not_counted(tmp_path):
    records = [r for r in draw(3) if not (r.spec.block == 3 and r.spec.variant == "relu-dropout")]
    save(tmp_path, *records)
    made = figure(read_report_study(tmp_path, "study"), "target")
    assert len(made.data.rows) == 11
    assert "drawn and not counted" in made.caption
    words = " ".join(ET.fromstring(to_svg(made)).itertext())
    assert "leaky-dropout: 2 of 2 reached" in words
    assert "#1f77b4" not in to_svg(made)


def test_curves_rise_over_the_joules_of_training_steps_alone():
    made = figure(of([make_record()]), "learning")
    assert column(made.data, "energy since the start (J)") == ["2800.0 5600.0 8400.0 11200"]
    assert column(made.data, "validation balanced accuracy") == ["0.50000 0.70000 0.82000 0.81000"]
    assert "seconds at 280 W" in " ".join(ET.fromstring(to_svg(made)).itertext())


def test_an_epoch_whose_joules_are_unknown_is_a_gap_and_no_zero():
    whole = make_record()
    energies = tuple(
        replace(each, energy_j=None) if each.window == "epoch-3" else each
        for each in whole.energies
    )
    made = figure(of([replace(whole, energies=energies)]), "learning")
    assert column(made.data, "epochs") == ["1 2"]  # later sums hold the unknown epoch, too


def test_the_median_curve_is_the_median_epoch_by_epoch():
    runs = [
        make_record(seed=seed, epochs=make_epochs(scores))
        for seed, scores in enumerate([(0.1, 0.5, 0.6), (0.2, 0.3, 0.9), (0.4, 0.4)], start=1)
    ]
    study = of(runs)
    cost, score = compute_medians(build_curves(study, study.done, "joules"), "joules")
    assert cost == pytest.approx([2800.0, 5600.0])
    assert score == pytest.approx([0.2, 0.4])


def test_time_and_power_make_the_energy_of_every_contrast(study):
    table = load_part("section", "why")(study).tables[1]
    for time, power, energy in ((row[1], row[2], row[3]) for row in table.rows):
        factors = [1 + float(cell.split(" %")[0]) / 100 for cell in (time, power, energy)]
        assert factors[0] * factors[1] == pytest.approx(factors[2], abs=2e-4)


def test_parts_are_idle_and_active_joules_of_each_status():
    study = of([make_record(channels=(*GPU_CHANNELS, CPU_MODEL, RAM_MODEL))])
    found = {each.domain.value: each for each in collect_shares(study)}
    # 40 s of training steps at 280 W and 60 W idle, the processor at 40 W and 10 W.
    assert found["gpu"].energy_j == pytest.approx(11200.0)
    assert found["gpu"].idle_j == pytest.approx(2400.0)
    assert found["cpu"].active_j == pytest.approx(1200.0)
    assert [[each.domain.value for each in bar] for bar in stack_bars(collect_shares(study))] == [
        ["gpu"],
        ["cpu", "dram"],
    ]


def test_measured_and_estimated_joules_are_bars_of_their_own_and_estimated_ones_are_hatched():
    mixed = of([make_record(channels=(*GPU_CHANNELS, CPU_MODEL))])
    sensors = of([make_record(channels=(*GPU_CHANNELS, *RAPL_CHANNELS))])
    assert "<pattern" in to_svg(figure(mixed, "why"))
    assert "<pattern" not in to_svg(figure(sensors, "why"))
    assert "Hatched: estimated, not measured." in figure(mixed, "why").caption


def test_a_part_without_idle_power_is_drawn_undivided_and_its_idle_joules_are_unknown():
    record = make_record()
    awake = tuple(w for w in record.energies if not w.window.startswith("idle"))
    made = figure(of([replace(record, energies=awake)]), "why")
    assert set(column(made.data, "of that idle (J)")) == {"unknown"}
    assert "GPU (undivided)" in " ".join(ET.fromstring(to_svg(made)).itertext())


def test_settings_that_differ_make_arms_of_their_own():
    specs = [make_spec(seed=s, batch_size=b) for s in (1, 2) for b in (32, 64)]
    study = of([make_record(spec=spec) for spec in specs])
    assert [each.variant for each in compute_centres(study)] == [
        "leaky-dropout batch_size=32",
        "leaky-dropout batch_size=64",
    ]
    assert len(select_front(compute_centres(study))) == 2


LITTLE = {
    "one run": [make_record()],
    "two blocks": draw(2),
    "all failed": [failed_record(), failed_record(seed=2)],
    "no energy": [make_record(channels=()), make_record("relu-dropout", channels=())],
    "no scores": [make_record(test=None, epochs=make_epochs((None, None)))],
    "long names": [make_record(spec=make_spec("v" * 200 + str(i), i)) for i in range(3)],
    "many arms": [make_record(spec=make_spec(f"variant-{i}", 1)) for i in range(26)],
}


@pytest.mark.parametrize("records", LITTLE.values(), ids=LITTLE)
def test_little_or_odd_evidence_makes_a_sound_figure_or_none(tmp_path, records):
    name = records[0].spec.study
    save(tmp_path, *records)
    study = read_report_study(tmp_path, name)
    blocks = [load_part("section", section)(study) for section in FIGURES]
    figures = [each for block in blocks if block for each in block.figures]
    for made in [*figures, build_forest(study)]:
        if made:
            ET.fromstring(to_svg(made))
            cells = " ".join(cell for row in made.data.rows for cell in row)
            assert not {"nan", "None", "inf"} & set(cells.split())


def test_of_a_thousand_runs_some_lines_are_drawn_and_all_are_counted():
    record = make_record()
    runs = [
        replace(record, run_id=f"{v}-s{s}", spec=make_spec(v, s))
        for v in VARIANTS
        for s in range(250)
    ]
    study = of(runs)
    made = figure(study, "learning")
    assert len(made.data.rows) == 1_000
    assert "Of 1000 runs 64 are drawn" in made.caption
    pictures = [to_svg(figure(study, section)) for section in FIGURES]
    assert max(len(svg) for svg in pictures) < 400_000


def test_what_is_not_a_number_is_drawn_nowhere():
    nothing = replace(make_scores(), balanced_accuracy=float("nan"))
    study = of([make_record(test=nothing, epochs=make_epochs((float("nan"),) * 3))])
    assert compute_centres(study) == []
    assert load_part("section", "tradeoff")(study) is None
    assert load_part("section", "learning")(study) is None
