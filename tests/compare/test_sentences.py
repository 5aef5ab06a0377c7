"""What a comparison shows, in sentences: nothing is stated that was not tested and decided."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.study import NOTHING, VARIANTS, Truth, draw
from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import Settings
from wbcbench.compare.result import Comparison, ContrastResult, Effect
from wbcbench.compare.sentences import describe_differences, describe_open
from wbcbench.core.record import RunRecord
from wbcbench.core.trace import Origin
from wbcbench.stats.intervals import Interval
from wbcbench.table.view import Run

NOISY = Truth({"relu-batchnorm": -0.02}, {}, noise_j=0.03, noise_share=0.02)


def compared(records: Sequence[RunRecord], **settings: object) -> Comparison:
    studies = list(dict.fromkeys(record.spec.study for record in records))
    runs = [Run(record, None, record.spec.study) for record in records]
    return compare(runs, Settings(**settings), studies)  # type: ignore[arg-type]


def texts(comparison: Comparison) -> list[str]:
    return [sentence.text for sentence in describe_differences(comparison)]


@pytest.fixture(scope="module")
def clear() -> Comparison:
    return compared(draw(8))


def edited(comparison: Comparison, **fields: object) -> Comparison:
    """The first contrast alone, its joules with other fields."""
    joules, accuracy = comparison.effects[:2]
    return replace(comparison, effects=(replace(joules, **fields), accuracy))  # type: ignore[arg-type]


def test_each_variant_has_one_sentence_with_difference_and_interval_the_best_first(clear):
    assert texts(clear) == [
        "relu-batchnorm uses 7.6 % less energy than relu-dropout (95 % CI 7.2 to 8.0 %) and has "
        "practically the same balanced accuracy within ±1 pp (-0.5 to +0.4 pp).",
        "leaky-batchnorm uses 3.8 % less energy than relu-dropout (95 % CI 3.5 to 4.1 %) and is "
        "1.9 pp more accurate (1.6 to 2.1 pp).",
        "leaky-dropout uses 4.1 % more energy than relu-dropout (95 % CI 3.7 to 4.4 %) and is 1.9 "
        "pp more accurate (1.4 to 2.3 pp).",
    ]
    assert describe_open(clear) == ""
    assert [each.text for each in describe_differences(clear, in_a_row=True)][1:] == [
        "leaky-batchnorm uses 3.8 % less energy (3.5 to 4.1 %) and is 1.9 pp more accurate (1.6 to "
        "2.1 pp).",
        "leaky-dropout uses 4.1 % more energy (3.7 to 4.4 %) and is 1.9 pp more accurate (1.4 to "
        "2.3 pp).",
    ]


@pytest.mark.parametrize("truth", [None, NOTHING], ids=["different", "equivalent"])
def test_every_number_of_a_sentence_is_one_of_its_effects_and_strong_words_stand_in_it(truth):
    for sentence in describe_differences(compared(draw(8, truth) if truth else draw(8))):
        start = 0
        for words in sentence.strong:
            start = sentence.text.index(words, start)
        known = {95.0}
        for effect in sentence.effects:
            interval = effect.interval
            known |= {round(abs(x), 1) for x in (effect.estimate, interval.low, interval.high)}
            known.add(effect.region[1])
        assert {float(n) for n in re.findall(r"\d+(?:\.\d+)?", sentence.text)} <= known


def test_what_is_shown_to_be_too_small_to_matter_is_called_the_same():
    for text in texts(compared(draw(8, NOTHING))):
        assert "has practically the same energy as relu-dropout within ±2 % (95 % CI -" in text
        assert "and has practically the same balanced accuracy within ±1 pp" in text


def test_what_is_inconclusive_is_in_no_sentence_but_named():
    some = compared(draw(5))  # p cannot be small enough with five seeds
    assert texts(some) == [
        "relu-batchnorm has practically the same balanced accuracy as relu-dropout within ±1 pp "
        "(95 % CI -0.7 to +0.5 pp)."
    ]
    assert describe_open(some) == (
        "Inconclusive with 5 seeds, with which p cannot fall below 0.062: energy of "
        "relu-batchnorm, leaky-dropout and leaky-batchnorm; balanced accuracy of leaky-dropout "
        "and leaky-batchnorm."
    )
    nothing = compared(draw(6, NOISY))
    assert texts(nothing) == []
    assert describe_open(nothing) == (
        "No difference in energy or balanced accuracy is shown with 6 seeds, with which p cannot "
        "fall below 0.031: all 6 comparisons are inconclusive."
    )


def test_an_estimate_that_nothing_tested_says_so_and_needs_an_interval_without_zero(clear):
    untested = {"result": ContrastResult.NOT_TESTED}
    assert texts(edited(clear, **untested))[0].startswith(
        "relu-batchnorm has practically the same balanced"
    )
    both = replace(clear, effects=tuple(replace(e, **untested) for e in clear.effects[:2]))
    assert texts(both) == [
        "Estimate from 8 seeds, not tested: relu-batchnorm uses 7.6 % less energy than "
        "relu-dropout (95 % CI 7.2 to 8.0 %)."
    ]
    for interval in (None, Interval(-1.0, 0.5, "t")):
        unclear = tuple(replace(e, interval=interval) for e in both.effects)
        assert texts(replace(both, effects=unclear)) == []


@pytest.mark.parametrize(
    ("channels", "status"),
    [(LAPTOP, Origin.ESTIMATED), (SYNTHETIC_CHANNELS, Origin.SIMULATED)],
    ids=["estimated", "simulated"],
)
def test_joules_that_are_not_measured_are_named_so_wherever_they_stand(channels, status):
    found = compared(draw(8, channels=channels), lowest_status=status)
    assert f"7.6 % less {status} energy" in texts(found)[0]
    assert all(f" {status} energy" in text for text in texts(found))
    weak = compared(draw(6, NOISY, channels=channels), lowest_status=status)
    assert f"No difference in {status} energy or" in describe_open(weak)


def test_factors_and_how_they_work_together():
    alone, other, together = texts(compared(draw(8), family="factors"))
    assert alone.startswith("regulariser batchnorm uses 7.6 % less energy than dropout (95 % CI")
    assert other.startswith("activation leaky-relu uses 4.1 % more energy than relu (95 % CI")
    assert together.startswith(
        "Together, activation × regulariser have practically the same energy as their single "
        "effects add up to within ±2 % (95 % CI -0.7 to +0.7 %) and have practically the same "
        "balanced accuracy"
    )
    synergy = Truth({"leaky-batchnorm": -0.2}, {})
    first = describe_differences(compared(draw(8, synergy), family="factors"))[0]
    assert first.text.startswith(
        "Together, activation × regulariser use 18.1 % less energy than their single effects add "
        "up to (95 % CI 17.6 to 18.7 %)"
    )
    assert first.strong[0] == "activation × regulariser"
    weak = compared(draw(6, NOISY), family="factors")
    decided = replace(weak.effects[0], result=ContrastResult.DIFFERENT)
    some = replace(weak, effects=(decided, *weak.effects[1:]))
    assert "of regulariser batchnorm and the interaction" in describe_open(some)


def test_the_same_network_in_another_study_is_named_with_both():
    here = draw(8, study="a", variants=VARIANTS[:1])
    there = draw(8, Truth({VARIANTS[0]: -0.1}, {}), study="b", variants=VARIANTS[:1], seed=2)
    (text,) = texts(compared([*here, *there], allow_different=()))
    assert text.startswith("b:relu-dropout uses ")
    assert " less energy than a:relu-dropout (95 % CI " in text


def test_secondary_contrasts_and_single_variants_say_nothing(clear):
    secondary = tuple(replace(e, family="secondary") for e in clear.effects)
    assert texts(replace(clear, effects=secondary)) == []
    alone = compared(draw(8, variants=VARIANTS[:1]))
    assert (texts(alone), describe_open(alone)) == ([], "")


def test_a_small_difference_is_not_told_as_zero(clear):
    small: dict[str, object] = {"estimate": -0.032, "interval": Interval(-0.041, -0.023, "t")}
    (text,) = texts(edited(clear, **small))
    assert "uses 0.0320 % less energy than relu-dropout (95 % CI 0.0230 to 0.0410 %)" in text


def test_other_metrics_are_higher_or_lower(clear):
    def named(name: str) -> Effect:
        effect = compared(draw(8), metrics=(name,)).effects[0]
        return replace(effect, result=ContrastResult.DIFFERENT, estimate=2.0, interval=None)

    for name, words in (
        ("time_train_s", "has 2.0 % higher training time than relu-dropout."),
        ("macro_f1", "has 2.0 pp higher macro f1 than relu-dropout."),
        ("accuracy", "is 2.0 pp more accurate than relu-dropout."),
    ):
        assert texts(replace(clear, effects=(named(name),))) == [f"relu-batchnorm {words}"]
