from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from wbcbench.core.errors import UsageError
from wbcbench.data.check import check_folder
from wbcbench.data.dataset import CLASSES
from wbcbench.data.load import load
from wbcbench.data.splits import split_validation
from wbcbench.data.synthetic import GENERATOR_VERSION, Recipe, default_cells, write_cells

SMALL = Recipe(seed=3, train_images=96, test_images=242, copies_train=4, copies_test=5)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_cells(tmp_path_factory.mktemp("synth") / "cells", SMALL)


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_equal_recipes_give_equal_bytes_and_other_seeds_give_others(small, tmp_path):
    assert contents(write_cells(tmp_path / "again", SMALL)) == contents(small)
    tiny = [Recipe(seed=s, train_images=8, test_images=8) for s in (1, 2)]
    drawn = [contents(write_cells(tmp_path / str(r.seed), r)) for r in tiny]
    pixels = [{v for k, v in d.items() if k.endswith(".jpeg")} for d in drawn]
    assert not pixels[0] & pixels[1]


def test_one_thread_draws_what_two_draw(small, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert contents(write_cells(tmp_path / "one", SMALL)) == contents(small)


def test_the_folder_has_the_layout_of_the_published_set(small):
    names = [n for n in contents(small) if n.endswith(".jpeg")]
    counts = Counter(name.rsplit("/", 1)[0] for name in names)
    assert {counts[f"images/TRAIN/{c}"] for c in CLASSES} == {24}
    assert [counts[f"images/TEST/{c}"] for c in CLASSES] == [61, 61, 60, 60]
    for name in names:
        front, _, tail = name.rsplit("/", 1)[1].removesuffix(".jpeg")[1:].partition("_")
        assert front.isdigit() and tail.isdigit()
        image = cv2.imread(str(small / name))
        assert image.shape == (240, 320, 3)


def test_everything_drawn_is_stamped_synthetic_even_without_its_marker(small, tmp_path):
    marker = json.loads((small / "images" / "synthetic.json").read_text())
    assert marker["synthetic"] is True and marker["seed"] == 3
    assert marker["generator_version"] == GENERATOR_VERSION
    for name, content in contents(small).items():
        if name.endswith(".jpeg"):
            assert f"synthetic cells v{GENERATOR_VERSION} seed 3".encode() in content[:128]
    (small / "images" / "synthetic.json").rename(tmp_path / "elsewhere")
    try:
        dataset = load(small, cache_dir=tmp_path)
    finally:
        (tmp_path / "elsewhere").rename(small / "images" / "synthetic.json")
    assert dataset.synthetic
    assert dataset.dataset_id == f"synthetic-cells-v{GENERATOR_VERSION}-{dataset.sha256[:8]}"


def test_photographs_are_known_and_splits_do_not_leak(small, tmp_path):
    dataset = load(small, cache_dir=tmp_path)
    assert dataset.grouped
    train, test = dataset.train, dataset.test
    assert not set(train.original_id.tolist()) & set(test.original_id.tolist())
    assert len(set(train.original_id.tolist())) == 24
    training, validation = split_validation(train, fraction=0.25, seed=0)
    assert not set(train.group_id[training]) & set(train.group_id[validation])


def test_a_few_test_images_show_a_cell_of_train_and_only_those_share_a_group(small, tmp_path):
    dataset = load(small, cache_dir=tmp_path)
    shared = np.isin(dataset.test.group_id, dataset.train.group_id)
    assert np.array_equal(shared, dataset.test.also_in_train)
    assert 0.02 < shared.mean() < 0.15
    for position in np.flatnonzero(shared):
        twins = dataset.train.group_id == dataset.test.group_id[position]
        assert set(dataset.train.labels[twins]) == {dataset.test.labels[position]}


def test_the_table_names_every_image_with_its_digest(small):
    with (small / "images" / "image_to_original.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 96 + 242
    report = check_folder(small)
    assert report.problems == () and report.synthetic


def test_a_folder_with_files_in_it_is_not_drawn_into(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not an empty folder"):
        write_cells(tmp_path, SMALL)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_cells(tmp_path / "file" / "cells", SMALL)


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"train_images": 3}, {"test_images": 0}, {"copies_train": 0}],
)
def test_an_impossible_recipe_is_refused(wrong):
    with pytest.raises(UsageError):
        Recipe(**wrong)


def test_the_default_cells_are_drawn_once_and_whole(tmp_path):
    progress: list[tuple[int, int]] = []
    target = default_cells(tmp_path, lambda *call: progress.append(call), SMALL)
    total = SMALL.train_images + SMALL.test_images
    assert progress[-1] == (total, total)
    assert default_cells(tmp_path, lambda *_: progress.append((-1, -1)), SMALL) == target
    assert (-1, -1) not in progress
    assert [p.name for p in tmp_path.iterdir()] == [target.name]  # no scratch folder is left
    assert len([n for n in contents(target) if n.endswith(".jpeg")]) == total


def test_an_interrupted_drawing_leaves_nothing_behind(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cells(tmp_path / "cells", SMALL, stop)
    assert list(tmp_path.iterdir()) == []
