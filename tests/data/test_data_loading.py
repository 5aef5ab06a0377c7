from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_folders import jpeg_bytes, write_folder, write_table
from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import CLASSES, Dataset
from wbcbench.data.jpeg import add_jpeg_comment
from wbcbench.data.load import load
from wbcbench.data.read import dataset_sha256
from wbcbench.data.splits import published_images

ONE_IMAGE = "TRAIN/MONOCYTE/_1_7.jpeg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "dataset2-master" / "images")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def reads_of(path: Path, cache: Path, **options: object) -> tuple[Dataset, int]:
    """Load and return how many files were read (0: everything came from the cache)."""
    calls: list[tuple[int, int]] = []
    dataset = load(path, cache_dir=cache, on_progress=lambda *c: calls.append(c), **options)
    return dataset, calls[-1][0] if calls else 0


def test_images_labels_and_names_agree_with_the_files(folder, cache):
    dataset = load(folder, cache_dir=cache)
    for split, images in (("TRAIN", dataset.train), ("TEST", dataset.test)):
        assert images.images.shape == (12, 80, 80, 3) and images.images.dtype == np.uint8
        assert list(images.files) == sorted(images.files)
        for position, name in enumerate(images.files):
            assert name.split("/")[:2] == [split, CLASSES[images.labels[position]]]
            content = (folder / name).read_bytes()
            assert images.sha256[position] == hashlib.sha256(content).hexdigest()
            plain = cv2.resize(cv2.imread(str(folder / name)), (80, 80))
            assert np.array_equal(images.images[position], plain[..., ::-1])


def test_a_set_without_known_photographs_says_so(folder, cache):
    dataset = load(folder, cache_dir=cache)
    assert not dataset.grouped and not dataset.synthetic
    assert dataset.dataset_id == f"custom-{dataset.sha256[:8]}"
    assert set(dataset.train.group_id) == {-1}


@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_the_folder_its_parent_and_the_parent_of_that_are_accepted(folder, cache, place):
    assert load(folder / place, cache_dir=cache).root == folder.resolve()


def test_the_doubled_folder_of_the_kaggle_archive_is_accepted(tmp_path, cache):
    images = write_folder(tmp_path / "dataset2-master" / "dataset2-master" / "images", 1)
    assert load(tmp_path, cache_dir=cache).root == images.resolve()


def test_the_digest_does_not_depend_on_the_place_but_on_content_and_name(folder, cache, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    first = load(folder, cache_dir=cache)
    assert load(copy, cache_dir=cache).sha256 == first.sha256
    (copy / ONE_IMAGE).rename(copy / "TRAIN/MONOCYTE/renamed.jpeg")
    assert load(copy, cache_dir=cache).sha256 != first.sha256


@given(st.dictionaries(st.text(min_size=1), st.text("0123456789abcdef", min_size=64, max_size=64)))
def test_the_digest_does_not_depend_on_the_order(images):
    pairs = [(name.encode(errors="replace").decode(), digest) for name, digest in images.items()]
    assert dataset_sha256(pairs) == dataset_sha256(reversed(pairs))


def test_the_second_start_reads_no_image_and_gives_the_same(folder, cache):
    first, reads = reads_of(folder, cache)
    assert reads == 24
    second, reads = reads_of(folder, cache)
    assert reads == 0
    assert second.sha256 == first.sha256 and second.train.files == first.train.files
    assert np.array_equal(second.train.images, first.train.images)
    assert isinstance(second.train.images, np.memmap)
    assert not second.train.images.flags.writeable


def test_a_changed_image_is_noticed_even_with_its_size_and_time_restored(folder, cache):
    first, _ = reads_of(folder, cache)
    path = folder / ONE_IMAGE
    before = path.stat()
    other = jpeg_bytes(1234, width=160, height=120)
    path.write_bytes(other + bytes(before.st_size - len(other)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second, reads = reads_of(folder, cache)
    assert reads == 24
    assert second.sha256 != first.sha256


def test_a_folder_that_changes_while_it_is_read_is_refused(folder, cache):
    for number in range(300):
        (folder / f"TEST/EOSINOPHIL/{number:03}.jpeg").write_bytes(jpeg_bytes(number))

    def disturb(done: int, total: int) -> None:
        (folder / ONE_IMAGE).write_bytes(jpeg_bytes(50))

    with pytest.raises(UsageError, match="changed while"):
        load(folder, cache_dir=cache, on_progress=disturb)
    assert not list(cache.rglob("*.*"))  # neither a cache nor a half-written file
    assert len(load(folder, cache_dir=cache).train) == 12


def test_a_new_and_a_removed_image_are_noticed(folder, cache):
    reads_of(folder, cache)
    (folder / "TEST/NEUTROPHIL/new.jpeg").write_bytes(jpeg_bytes(77))
    assert reads_of(folder, cache)[1] == 25
    (folder / "TEST/NEUTROPHIL/new.jpeg").unlink()
    dataset, reads = reads_of(folder, cache)
    assert reads in (0, 24) and len(dataset.test) == 12


def test_another_size_is_decoded_and_cached_beside_the_first(folder, cache):
    reads_of(folder, cache)
    small, reads = reads_of(folder, cache, image_size=24)
    assert reads == 24 and small.train.images.shape == (12, 24, 24, 3)
    assert reads_of(folder, cache)[1] == reads_of(folder, cache, image_size=24)[1] == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
@pytest.mark.parametrize("which", ["listings/*.json", "pixels/*.raw"])
def test_a_damaged_cache_is_made_again(folder, cache, which, damage):
    first, _ = reads_of(folder, cache)
    (path,) = cache.glob(which)
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
    }
    path.unlink()
    if damage != "gone":
        path.write_bytes(changed[damage])
    again, _ = reads_of(folder, cache)
    assert np.array_equal(again.train.images, first.train.images)
    assert again.train.files == first.train.files and again.train.sha256 == first.train.sha256
    assert reads_of(folder, cache)[1] == 0


def test_a_cache_that_cannot_be_written_costs_time_only(folder, tmp_path, caplog):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")
    dataset, reads = reads_of(folder, blocked)
    assert reads == 24 and len(dataset.train) == 12
    assert "cannot be written" in caplog.text


def _loaded_digest(arguments: tuple[Path, Path]) -> tuple[str, int]:
    dataset = load(arguments[0], cache_dir=arguments[1])
    return dataset.sha256, int(dataset.train.images.sum())


def test_loaders_at_the_same_time_do_not_disturb_each_other(folder, cache):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = set(pool.map(_loaded_digest, [(folder, cache)] * 4))
    assert len(found) == 1
    assert not list(cache.rglob(".*"))  # nothing half-written is left
    assert reads_of(folder, cache)[1] == 0


def png_named_jpeg(_: bytes) -> bytes:
    return cv2.imencode(".png", np.zeros((240, 320, 3), np.uint8))[1].tobytes()


BAD_CONTENTS = {
    "truncated": lambda good: good[: len(good) // 2],
    "truncated by two bytes": lambda good: good[:-2],
    "header only": lambda good: good[:200],
    "truncated, a thumbnail's end inside": lambda good: (
        add_jpeg_comment(good, "x")[:24] + b"\xff\xd8\xff\xda\xff\xd9" + good[20 : len(good) // 2]
    ),
    "PNG": png_named_jpeg,
    "zero bytes": lambda good: b"",
    "text": lambda good: b"not an image at all",
    "end marker only": lambda good: b"\xff\xd8\xff\xd9",
}


@pytest.mark.parametrize("kind", BAD_CONTENTS)
def test_a_bad_file_is_refused_by_name_and_skipped_and_recorded_on_request(folder, cache, kind):
    path = folder / ONE_IMAGE
    path.write_bytes(BAD_CONTENTS[kind](path.read_bytes()))
    with pytest.raises(UsageError, match=ONE_IMAGE) as refusal:
        load(folder, cache_dir=cache)
    assert refusal.value.exit_code == 2 and "--skip-unreadable" in str(refusal.value)
    for _ in range(2):  # read, and from the cache
        dataset = load(folder, cache_dir=cache, skip_unreadable=True)
        assert len(dataset.train) == 11 and ONE_IMAGE not in dataset.train.files
        assert len(dataset.skipped) == 1 and dataset.skipped[0].startswith(f"{ONE_IMAGE}: ")
    with pytest.raises(UsageError, match=ONE_IMAGE):  # skipping is never remembered as consent
        load(folder, cache_dir=cache)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads files whatever their permissions")
def test_a_file_that_may_not_be_read_is_refused_by_name(folder, cache):
    (folder / ONE_IMAGE).chmod(0)
    with pytest.raises(UsageError, match=f"{ONE_IMAGE} cannot be read: permission denied"):
        load(folder, cache_dir=cache)


def test_links_to_nowhere_folders_and_pipes_among_the_images_are_refused_by_name(folder, cache):
    (folder / "TEST/MONOCYTE/link.jpeg").symlink_to(folder / "nowhere.jpeg")
    (folder / "TEST/MONOCYTE/nested").mkdir()
    os.mkfifo(folder / "TEST/MONOCYTE/pipe.jpeg")
    with pytest.raises(UsageError) as refusal:
        load(folder, cache_dir=cache)
    assert "link.jpeg cannot be read" in str(refusal.value)
    assert "nested cannot be read" in str(refusal.value)
    assert "pipe.jpeg is empty" in str(refusal.value)


def test_many_bad_files_are_counted_and_the_first_are_named(folder, cache):
    for number in range(13):
        (folder / f"TRAIN/LYMPHOCYTE/bad{number:02}.jpeg").write_bytes(b"")
    with pytest.raises(UsageError) as refusal:
        load(folder, cache_dir=cache)
    text = str(refusal.value)
    assert "13 of 37 files" in text and "bad00.jpeg" in text and "bad09.jpeg" in text
    assert "bad10.jpeg" not in text and "and 3 more" in text


def test_a_class_without_any_readable_image_is_refused_even_when_skipping(folder, cache):
    for path in (folder / "TEST" / "EOSINOPHIL").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"No image of .*TEST/EOSINOPHIL"):
        load(folder, cache_dir=cache, skip_unreadable=True)


def test_hidden_files_and_other_splits_are_left_alone(folder, cache):
    (folder / "TRAIN/MONOCYTE/.DS_Store").write_bytes(b"junk")
    (folder / "TRAIN/MONOCYTE/Thumbs.db").write_bytes(b"junk")
    (folder / "TEST_SIMPLE/MONOCYTE").mkdir(parents=True)
    (folder / "TEST_SIMPLE/MONOCYTE/bad.jpeg").write_bytes(b"junk")
    assert len(load(folder, cache_dir=cache).train) == 12


def test_images_of_other_sizes_and_grey_ones_are_read(folder, cache):
    (folder / ONE_IMAGE).write_bytes(jpeg_bytes(3, width=123, height=77))
    grey = cv2.imencode(".jpeg", np.full((240, 320), 90, np.uint8))[1].tobytes()
    (folder / "TEST/MONOCYTE/grey.jpeg").write_bytes(grey)
    dataset = load(folder, cache_dir=cache)
    position = dataset.test.files.index("TEST/MONOCYTE/grey.jpeg")
    assert dataset.test.images[position].shape == (80, 80, 3)
    assert set(dataset.test.images[position].ravel().tolist()) == {90}


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (shutil.rmtree, "does not exist"),
        (lambda f: [shutil.rmtree(f / s) for s in ("TRAIN", "TEST")], "holds no data set"),
        (lambda f: shutil.rmtree(f / "TEST" / "MONOCYTE"), r"TEST/MONOCYTE \(is missing\)"),
        (lambda f: shutil.rmtree(f / "TEST"), "lacks 4 of its 8"),
        (lambda f: [p.unlink() for p in (f / "TRAIN/LYMPHOCYTE").iterdir()], "is empty"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_with_the_way_out(folder, cache, prepare, says):
    prepare(folder)
    with pytest.raises(UsageError, match=says) as refusal:
        load(folder, cache_dir=cache)
    assert "wbcbench data fetch" in str(refusal.value)


def test_a_file_instead_of_a_folder_is_refused(tmp_path, cache):
    path = tmp_path / "images.zip"
    path.write_bytes(b"PK")
    with pytest.raises(UsageError, match="is a file"):
        load(path, cache_dir=cache)


@pytest.mark.parametrize("size", [0, -80, 5000])
def test_an_impossible_image_size_is_refused(folder, cache, size):
    with pytest.raises(UsageError, match="image size"):
        load(folder, cache_dir=cache, image_size=size)


def test_the_environment_names_the_data_when_nothing_else_does(folder, cache, monkeypatch):
    monkeypatch.setenv("WBCBENCH_DATA", str(folder))
    monkeypatch.setenv("WBCBENCH_CACHE", str(cache))
    assert load(None).root == folder.resolve()
    assert (cache / "pixels").is_dir()


def test_a_table_beside_the_splits_says_which_images_belong_together(folder, cache):
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.jpeg"))]
    write_table(folder, {n: (i, i // 2, n.startswith("TEST/E")) for i, n in enumerate(names)})
    dataset = load(folder, cache_dir=cache)
    assert dataset.grouped
    assert dataset.test.also_in_train.sum() == 3
    position = dataset.test.files.index(names[2])
    assert dataset.test.original_id[position] == 2 and dataset.test.group_id[position] == 1


def test_a_table_that_comes_later_is_noticed(folder, cache):
    assert not load(folder, cache_dir=cache).grouped
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.jpeg"))]
    write_table(folder, {name: (i, i, False) for i, name in enumerate(names)})
    assert load(folder, cache_dir=cache).grouped


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0\xff"])
def test_an_unusable_table_is_refused_by_name(folder, cache, text):
    (folder / "image_to_original.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"image_to_original\.csv"):
        load(folder, cache_dir=cache)


def test_the_shipped_tables_are_complete():
    images = published_images()
    packed = files("wbcbench.data").joinpath("tables", "original_groups.csv.gz").read_bytes()
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(packed).decode())))
    photographs = {int(row["original_id"]) for row in rows}
    assert len(images) == 12_515 - 2 and len(photographs) == 351  # two pairs are equal files
    assert sum(image.also_in_train for image in images.values()) == 202
    assert all(image.original_id in photographs for image in images.values())
    leaking = {i.original_id for i in images.values() if i.also_in_train}
    assert leaking == {int(r["original_id"]) for r in rows if r["leaks_to_train_originals"]}


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, wbcbench.data, wbcbench.commands.data;"
        "heavy = {'numpy', 'cv2', 'pandas', 'tensorflow', 'keras', 'kagglehub', 'requests'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
