"""What must hold of the published set itself; skipped, with the reason, where it is not present."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from data_folders import REAL_SET, needs_real_set
from wbcbench.data.check import CheckReport, check_folder
from wbcbench.data.dataset import CLASSES, Dataset
from wbcbench.data.load import load
from wbcbench.data.read import PUBLISHED_SHA256
from wbcbench.data.splits import split_validation

pytestmark = [needs_real_set, pytest.mark.real_data]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Dataset:
    return load(REAL_SET, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def report() -> CheckReport:
    return check_folder(REAL_SET)


def test_the_published_set_is_recognised_and_complete(published):
    assert published.dataset_id == "bccd-kaggle"
    assert published.sha256 == PUBLISHED_SHA256
    assert published.grouped and not published.synthetic and not published.skipped
    assert np.bincount(published.train.labels).tolist() == [2497, 2483, 2478, 2499]
    assert np.bincount(published.test.labels).tolist() == [623, 620, 620, 624]


def test_the_published_set_has_348_photographs_and_202_leaking_images(published):
    photographs = [set(s.original_id.tolist()) for s in (published.train, published.test)]
    assert [len(p) for p in photographs] == [277, 71]
    assert not photographs[0] & photographs[1]
    assert published.test.also_in_train.sum() == 202
    assert not published.train.also_in_train.any()


def test_pixels_are_those_of_plain_imread_and_resize(published):
    for images in (published.train, published.test):
        for position in range(0, len(images), 400):
            plain = cv2.imread(str(published.root / images.files[position]))
            small = cv2.resize(plain, (80, 80), interpolation=cv2.INTER_LINEAR)
            rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
            assert np.array_equal(images.images[position], rgb)


def test_validation_by_photograph_never_leaks(published):
    train = published.train
    for seed in range(5):
        training, validation = split_validation(train, fraction=0.2, seed=seed)
        assert not set(train.group_id[training]) & set(train.group_id[validation])
        assert not set(train.original_id[training]) & set(train.original_id[validation])
        assert 0.15 < len(validation) / len(train) < 0.25
        assert set(train.labels[validation].tolist()) == {0, 1, 2, 3}


def test_the_check_finds_nothing_wrong_and_names_the_known_leaks(report):
    assert report.problems == ()
    assert report.dataset_id == "bccd-kaggle"
    assert report.leaking is not None and len(report.leaking) == 202
    assert report.photographs == {"TRAIN": 277, "TEST": 71}
    assert report.counts["TEST_SIMPLE"] == dict(zip(CLASSES, (13, 6, 4, 48), strict=True))


def test_the_copies_in_test_simple_are_notes(report):
    copies = [note for note in report.notes if note.code == "duplicate"]
    assert len(copies) == 2
    assert all(name.startswith("TEST_SIMPLE/") for note in copies for name in note.files)
