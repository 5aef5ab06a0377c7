from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_folders import image_set
from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import ImageSet
from wbcbench.data.splits import split_validation


@st.composite
def grouped_trains(draw: st.DrawFn) -> ImageSet:
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=25))
    labels = draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes)))
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    return image_set(groups, [labels[group] for group in groups])


fractions = st.floats(0.01, 0.99)
seeds = st.integers(-(2**40), 2**40)


def split_or_refusal(
    train: ImageSet, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        return split_validation(train, fraction=fraction, seed=seed)
    except UsageError:
        return None


@given(grouped_trains(), fractions, seeds)
def test_no_photograph_is_on_both_sides_and_no_image_is_lost(train, fraction, seed):
    split = split_or_refusal(train, fraction, seed)
    if split is None:  # only when no class has a second photograph
        photographs = set(zip(train.labels, train.group_id, strict=True))
        assert len({label for label, _ in photographs}) == len(photographs)
        return
    training, validation = split
    assert not set(train.group_id[training]) & set(train.group_id[validation])
    assert sorted([*training, *validation]) == list(range(len(train)))
    assert len(training) and len(validation)


@given(grouped_trains(), fractions, seeds)
def test_every_class_with_two_photographs_is_on_both_sides(train, fraction, seed):
    split = split_or_refusal(train, fraction, seed)
    if split is None:
        return
    for label in range(4):
        groups = set(train.group_id[train.labels == label])
        if len(groups) >= 2:
            assert all((train.labels[side] == label).any() for side in split)


@given(grouped_trains(), fractions, seeds)
def test_equal_seeds_give_equal_splits(train, fraction, seed):
    first, second = (split_or_refusal(train, fraction, seed) for _ in range(2))
    if first is None or second is None:
        assert first is second
    else:
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_other_seeds_give_other_splits():
    train = image_set([i // 4 for i in range(160)], [i // 40 for i in range(160)])
    splits = {tuple(split_validation(train, fraction=0.2, seed=s)[1]) for s in range(20)}
    assert len(splits) > 15


@given(fractions, seeds)
def test_each_class_gives_its_share_to_within_half_a_photograph(fraction, seed):
    train = image_set([i // 3 for i in range(240)], [i // 60 for i in range(240)])
    _, validation = split_validation(train, fraction=fraction, seed=seed)
    for label in range(4):
        share = (train.labels[validation] == label).sum()
        assert abs(share - fraction * 60) <= 1.5 or share in (3, 57)


def test_a_photograph_with_two_labels_stays_whole():
    train = image_set([0, 0, 0, 1, 1, 2, 2, 3], [0, 0, 1, 0, 0, 1, 1, 1])
    for seed in range(30):
        training, validation = split_validation(train, fraction=0.4, seed=seed)
        assert not set(train.group_id[training]) & set(train.group_id[validation])


def test_images_without_photographs_are_split_at_random_but_copies_stay_together():
    plain = image_set([-1] * 40, [i % 4 for i in range(40)])
    copies = (*plain.sha256[:36], *plain.sha256[:4])  # the last four repeat the first four
    train = ImageSet(
        plain.images, plain.labels, plain.files, copies,
        plain.group_id, plain.original_id, plain.also_in_train,
    )  # fmt: skip
    for seed in range(30):
        training, validation = split_validation(train, fraction=0.25, seed=seed)
        assert not {copies[i] for i in training} & {copies[i] for i in validation}
        assert np.bincount(train.labels[validation], minlength=4).min() >= 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_fraction_outside_zero_to_one_is_refused(fraction):
    train = image_set([0, 1], [0, 0])
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_validation(train, fraction=fraction, seed=0)


def test_a_single_photograph_cannot_be_split():
    with pytest.raises(UsageError, match="too few"):
        split_validation(image_set([7, 7, 7], [0, 0, 0]), fraction=0.5, seed=0)


def test_taking_images_takes_everything_that_is_known_of_them():
    train = image_set([4, 5, 6], [1, 2, 3])
    taken = train.take([2, 0])
    assert len(taken) == 2
    assert taken.files == (train.files[2], train.files[0])
    assert taken.sha256 == (train.sha256[2], train.sha256[0])
    assert taken.labels.tolist() == [3, 1]
    assert taken.group_id.tolist() == taken.original_id.tolist() == [6, 4]
    assert taken.images.shape == (2, 1, 1, 3)
