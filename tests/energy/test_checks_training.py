"""What is said of a network that takes all images for one class."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.evidence import EPOCHS, counter, evidence, find_warnings, grade_run, power
from builders.run import CLASSES, make_scores
from wbcbench.core.quality import Quality
from wbcbench.core.record import Epoch, Scores

TRACES = (counter(), power())


def scores_of(*columns: int, per_class: int = 100) -> Scores:
    """Scores of a test where each class is taken for each class, or none, equally often."""
    total = sum(columns)
    row = tuple(per_class * count // total for count in columns)
    recalls = [count / per_class for count in row[:4]]
    return replace(
        make_scores(sum(recalls) / 4, images=4 * per_class),
        balanced_accuracy=sum(recalls) / 4,
        recall=dict(zip(CLASSES, recalls, strict=True)),
        confusion=(row,) * 4,
    )


def epochs_of(training: float, *validation: float | None) -> tuple[Epoch, ...]:
    first = EPOCHS[0]
    return tuple(
        replace(first, index=i, accuracy=training, val_accuracy=v, val_balanced_accuracy=v)
        for i, v in enumerate(validation, start=1)
    )


LEARNED, STUCK = epochs_of(0.99, 0.25, 0.25), epochs_of(0.26, 0.25, 0.25)
ONE = scores_of(0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("epochs", "test", "code"),
    [
        (LEARNED, ONE, "one-class-predicted"),
        (LEARNED, scores_of(0, 0, 0, 0, 1), "one-class-predicted"),  # the output of no class
        (LEARNED, scores_of(18, 1, 1, 0, 0), "one-class-predicted"),
        (LEARNED, None, "one-class-predicted"),  # interrupted before the test
        (epochs_of(0.6, 0.25), ONE, "one-class-predicted"),
        (STUCK, ONE, "never-left-chance"),
        (epochs_of(0.45, 0.25), ONE, "never-left-chance"),
        (STUCK, None, None),  # interrupted while it was still at chance
        (LEARNED, scores_of(1, 1, 1, 1, 0), None),  # at chance, and not of one class
        (LEARNED, make_scores(0.8), None),
        (epochs_of(0.99, 0.25, 0.6), None, None),
        (epochs_of(0.99, 0.25, None), None, None),  # a record of before: not known
        ((), ONE, None),
    ],
)
def test_a_network_that_names_one_class_is_marked_by_whether_it_learned(epochs, test, code):
    found = find_warnings(evidence(*TRACES, epochs=epochs, test=test))
    codes = {"one-class-predicted", "never-left-chance"}
    assert codes & set(found) == ({code} if code else set())


def test_the_joules_of_such_runs_stay_usable_and_only_learned_ones_are_suspect():
    sound = evidence(*TRACES, epochs=LEARNED, test=make_scores(0.8))
    assert grade_run(sound) is Quality.VALID
    assert grade_run(replace(sound, test=ONE)) is Quality.SUSPECT
    assert grade_run(replace(sound, test=ONE, epochs=STUCK)) is Quality.VALID
    detail = find_warnings(replace(sound, test=ONE))["one-class-predicted"].detail
    assert detail == (
        "400 of 400 test images were taken for MONOCYTE; the last training accuracy is 0.990."
    )


def test_a_test_set_of_mostly_one_class_is_no_sign_of_it():
    """Where nine in ten images are of one class, a good network names it as often."""
    row = [(2, 1, 0, 0, 0), (0, 3, 0, 0, 0), (0, 0, 90, 0, 0), (1, 0, 0, 3, 0)]
    test = replace(make_scores(0.98, images=100), confusion=tuple(row), balanced_accuracy=0.85)
    assert "one-class-predicted" not in find_warnings(evidence(*TRACES, epochs=LEARNED, test=test))
