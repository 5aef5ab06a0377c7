"""Scores against values worked out by hand, and the bootstrap against its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbcbench.stats.bootstrap import bootstrap_accuracy
from wbcbench.train.scores import calibration_error, confusion, macro_f1, predicted, score

CLASSES = ("A", "B", "C", "D")


def certain(classes: list[int], p: float = 1.0) -> np.ndarray:
    """Probabilities that give ``p`` to these classes (-1 = the unused output), the rest shared."""
    outputs = np.full((len(classes), 5), (1 - p) / 4)
    outputs[np.arange(len(classes)), np.array(classes) + 1] = p
    return outputs


def test_scores_of_a_small_set_equal_those_worked_out_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    found = score(certain([0, 0, 1, 1, -1, 0], p=0.8), labels, None, CLASSES)
    assert found.images == 6
    assert found.correct == 3
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.recall == {
        "A": pytest.approx(2 / 3),
        "B": pytest.approx(1 / 2),
        "C": 0.0,
        "D": None,
    }
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    # A: 2TP / (2TP + FP + FN) = 4 / (4 + 1 + 1); B: 2 / (2 + 1 + 1); C: 0
    assert found.macro_f1 == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)
    assert found.loss == pytest.approx(-(3 * math.log(0.8) + 3 * math.log(0.05)) / 6)
    assert found.ece == pytest.approx(0.8 - 0.5)
    assert (found.photographs, found.interval) == (None, None)


def test_a_prediction_of_the_unused_output_is_wrong_and_stays_in_its_row() -> None:
    found = score(certain([-1, 1, 2, 3]), np.array([0, 1, 2, 3]), None, CLASSES)
    assert found.confusion == (
        (0, 0, 0, 0, 1),
        (0, 1, 0, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 0, 0, 1, 0),
    )
    assert found.accuracy == 0.75


def test_a_certain_and_wrong_prediction_costs_a_finite_loss() -> None:
    found = score(certain([1]), np.array([0]), None, CLASSES)
    assert found.loss == pytest.approx(-math.log(1e-7))


def test_calibration_weighs_bins_by_their_images() -> None:
    outputs = np.vstack([certain([0, 0, 0], p=0.9), certain([0], p=0.5)])
    right = np.array([True, True, False, False])
    assert calibration_error(outputs, right) == pytest.approx(
        3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * 0.5
    )


def test_a_confidence_of_one_belongs_to_the_last_bin() -> None:
    assert calibration_error(certain([0, 0]), np.array([True, True])) == 0.0


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (2, 5)])
def test_scores_of_nothing_or_of_the_wrong_shape_are_refused(shape: tuple[int, int]) -> None:
    labels = np.zeros(0 if shape[0] == 0 else 3, dtype=np.int64)
    with pytest.raises(ValueError, match="scores need images"):
        score(np.ones(shape), labels, None, CLASSES)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=60),
)
def test_no_image_is_lost_from_the_confusion(pairs: list[tuple[int, int]]) -> None:
    labels = np.array([true for true, _ in pairs])
    found = score(certain([said for _, said in pairs]), labels, None, CLASSES)
    table = np.array(found.confusion)
    assert table.sum(axis=1).tolist() == np.bincount(labels, minlength=4).tolist()
    assert np.trace(table) == found.correct
    assert 0 <= found.macro_f1 <= 1
    assert 0 <= found.balanced_accuracy <= 1


def test_macro_f1_agrees_with_precision_and_recall() -> None:
    table = confusion(np.array([0, 1, 1, 2, 3, 3]), np.array([0, 1, 2, 2, 3, 0]), 4)
    recall = np.array([1 / 2, 1, 1 / 2, 1])
    precision = np.array([1, 1 / 2, 1, 1 / 2])
    assert macro_f1(table) == pytest.approx((2 * precision * recall / (precision + recall)).mean())


def test_the_most_probable_output_is_predicted() -> None:
    assert predicted(certain([3, -1, 0])).tolist() == [3, -1, 0]


clusters = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 20), st.floats(0, 1)), min_size=2, max_size=30
)


def unrolled(described: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, labels and photographs of clusters given as (class, images, share right)."""
    right, labels, photographs = [], [], []
    for number, (label, size, share) in enumerate(described):
        hits = round(share * size)
        right += [True] * hits + [False] * (size - hits)
        labels += [label] * size
        photographs += [number] * size
    return np.array(right), np.array(labels), np.array(photographs)


@settings(max_examples=50)
@given(clusters)
def test_the_interval_holds_the_accuracy_it_is_for(
    described: list[tuple[int, int, float]],
) -> None:
    right, labels, photographs = unrolled(described)
    low, high = bootstrap_accuracy(right, labels, photographs)
    assert 0 <= low <= right.mean() + 1e-9
    assert right.mean() - 1e-9 <= high <= 1


def test_clustered_images_give_a_wider_interval_than_independent_ones() -> None:
    rng = np.random.default_rng(7)
    described = [(c, 30, float(rng.random() < 0.8)) for c in range(4) for _ in range(18)]
    right, labels, photographs = unrolled(described)
    low, high = bootstrap_accuracy(right, labels, photographs)
    alone_low, alone_high = bootstrap_accuracy(right, labels, np.arange(len(right)))
    # 30 copies of one answer: the width grows by about the square root of 30.
    assert (high - low) / (alone_high - alone_low) == pytest.approx(math.sqrt(30), rel=0.15)


def test_with_one_image_a_photograph_the_interval_is_the_binomial_one() -> None:
    right = np.arange(1000) % 5 != 0
    low, high = bootstrap_accuracy(right, np.zeros(1000, np.int64), np.arange(1000))
    half = 1.96 * math.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.004)


def test_classes_keep_their_share_in_every_resample() -> None:
    right = np.array([True] * 50 + [False] * 50)
    labels = np.array([0] * 50 + [1] * 50)
    assert bootstrap_accuracy(right, labels, np.arange(100)) == (0.5, 0.5)


def test_equal_predictions_give_the_same_interval_every_time() -> None:
    right, labels, photographs = unrolled([(0, 5, 0.4), (0, 9, 0.9), (1, 3, 0.5), (1, 8, 0.2)])
    first = bootstrap_accuracy(right, labels, photographs)
    assert bootstrap_accuracy(right, labels, photographs + 1000) == first
