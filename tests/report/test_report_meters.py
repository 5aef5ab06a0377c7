"""Two readings of one part: bias, limits and words, and the sensors' cards."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import mean, stdev
from xml.etree import ElementTree as ET

import pytest

from builders.machine import GPU_CHANNELS, GPU_MACHINE, LAPTOP
from builders.run import failed_record, make_record
from builders.study import gather
from wbcbench.core.record import SensorCard
from wbcbench.report.drawing import to_svg
from wbcbench.report.sections.meters import build_meters, pair_readings

COUNTER, POWER = (channel.name for channel in GPU_CHANNELS)
ABOVE_PCT = (0.5, 1.0, 1.5, 2.2)


def run(seed, above_pct, channels=GPU_MACHINE):
    """A run whose counter reads that many per cent above its integral."""
    record = make_record(seed=seed, channels=channels)
    factor = 1 + above_pct / 100
    energies = tuple(
        replace(each, energy_j=each.energy_j * factor) if each.channel == COUNTER else each
        for each in record.energies
    )
    return replace(record, energies=energies)


@pytest.fixture(scope="module")
def study():
    return gather("study", [run(i, pct) for i, pct in enumerate(ABOVE_PCT)])


def test_bias_and_limits_are_mean_and_deviations_of_the_differences(study):
    pair = next(each for each in pair_readings(study.done) if (each.a, each.b) == (COUNTER, POWER))
    assert pair.is_judged
    logs = [math.log1p(pct / 100) for pct in ABOVE_PCT]
    half = 1.96 * stdev(logs)
    limits = [100 * math.expm1(mean(logs) + sign * half) for sign in (-1, 1)]
    assert pair.bias_pct == pytest.approx(mean(ABOVE_PCT))
    assert pair.limits_pct == pytest.approx(tuple(limits))
    joules = study.runs[0].row["energy_gpu_train_j"]
    assert pair.points[0].mean_j == pytest.approx(joules * (1 + 1 / (1 + ABOVE_PCT[0] / 100)) / 2)


def test_limits_of_readings_that_differ_widely_stay_above_minus_100_per_cent():
    far = gather("far", [run(i, pct) for i, pct in enumerate((-90.0, 0.0, 400.0))])
    pair = next(each for each in pair_readings(far.done) if (each.a, each.b) == (COUNTER, POWER))
    low, high = pair.limits_pct
    assert -100 < low < high


def test_a_counter_that_read_nothing_leaves_a_difference_without_limits():
    still = gather("still", [run(i, pct) for i, pct in enumerate((-100.0, 0.0, 0.0))])
    pair = next(each for each in pair_readings(still.done) if (each.a, each.b) == (COUNTER, POWER))
    assert pair.bias_pct == pytest.approx(-100 / 3)
    assert pair.limits_pct is None


def test_parts_of_several_sensors_are_compared_as_their_sum(study):
    pair = next(each for each in pair_readings(study.done) if each.b == "codecarbon/cpu")
    assert pair.a == "rapl/package-0/counter+rapl/package-1/counter"
    assert not pair.is_judged
    assert pair.bias_pct == pytest.approx(100.0)


def test_the_words_name_both_readings_and_judge_only_witnesses(study):
    first, *others = (claim.text for claim in build_meters(study).claims)
    assert first.startswith(f"{COUNTER} read 1.3 % above {POWER} in training")
    assert "All within the 3 % that count as agreement" in first
    assert all("cross-check" in words for words in others)


def test_a_wide_difference_is_said():
    study = gather("apart", [run(1, 6.0), run(2, 1.0)])
    words = build_meters(study).claims[0].text
    assert "The widest difference, 6 %, is beyond the 3 %" in words
    assert "95 % of runs" not in words


def test_the_picture_is_the_same_twice_and_the_table_holds_its_numbers(study):
    block = build_meters(study)
    (figure,) = block.figures
    assert to_svg(figure) == to_svg(build_meters(study).figures[0])
    assert f"{COUNTER} above {POWER}" in " ".join(ET.fromstring(to_svg(figure)).itertext())
    assert [row[3] for row in figure.data.rows] == [f"{pct:+.2f}" for pct in ABOVE_PCT]
    assert f"{COUNTER} measured" in figure.caption
    assert "codecarbon/cpu estimated" in figure.caption


def test_one_reading_alone_is_called_that():
    block = build_meters(gather("laptop", [make_record(channels=LAPTOP)]))
    assert block.paragraphs[0].startswith("Nothing can be compared")
    assert block.figures == ()
    assert [row[0] for row in block.tables[0].rows] == ["codecarbon/cpu", "codecarbon/ram"]


def test_a_card_tells_what_the_probe_saw_and_what_it_could_not():
    cards = (
        SensorCard(COUNTER, 0.1, 28.0, 0.001, "counter", 2.0, 400),
        SensorCard(POWER, None, None, None, "unknown", 2.0, 0, "no reading succeeded"),
    )
    block = build_meters(gather("probed", [make_record(sensor_cards=cards)]))
    rows = {row[0]: row for row in block.tables[0].rows}
    assert rows[COUNTER][3:8] == ("0.1", "28", "0.001", "–", "5")
    assert rows[POWER][-2:] == ("unknown", "no reading succeeded")
    assert rows["rapl/dram-0/counter"][-2] == "not probed"


def test_failed_runs_are_not_compared_and_no_meter_says_nothing():
    assert build_meters(gather("failed", [failed_record()])).figures == ()
    assert build_meters(gather("bare", [make_record(channels=())])) is None
