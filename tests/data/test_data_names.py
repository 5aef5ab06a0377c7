"""Names of images: carried as they are where UTF-8 can hold them, shown so that none steers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from data_folders import jpeg_bytes, write_folder
from program import wbcbench
from wbcbench.bundle.open import read_predictions
from wbcbench.core.errors import UsageError
from wbcbench.core.text import escaped
from wbcbench.data.load import load
from wbcbench.train.scores import write_predictions

HOSTILE = "\x1b[31m=cmd(),\nWRONG x: \u202egepj.\x9b"
SHOWN = r"\x1b[31m=cmd(),\nWRONG x: \u202egepj.\x9b"
LATIN_1 = b"z\xe9_33.jpeg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images")


def test_only_what_cannot_be_printed_is_escaped() -> None:
    assert escaped(HOSTILE) == SHOWN
    assert escaped("TEST/Zellen größer 5 µm – α.jpeg") == "TEST/Zellen größer 5 µm – α.jpeg"
    assert escaped(os.fsdecode(LATIN_1)) == r"z\udce9_33.jpeg"


def test_a_check_prints_no_control_characters_of_a_name(folder: Path) -> None:
    contents = (b"not an image", jpeg_bytes(9)[:900], jpeg_bytes(9, 64, 64))
    for number, content in enumerate(contents):
        (folder / "TRAIN/MONOCYTE" / f"{HOSTILE}{number}").write_bytes(content)
    (folder / HOSTILE).mkdir()
    ended = wbcbench("data", "check", str(folder))
    assert ended.code == 2 and "3 problems found." in ended.out
    assert f"\n        {SHOWN}\n" in ended.out
    assert all(f"TRAIN/MONOCYTE/{SHOWN}{number} " in ended.out for number in range(3))
    assert all(line.isprintable() for line in (ended.out + ended.err).splitlines())
    document = wbcbench("data", "check", str(folder), "--json").json
    assert document["problems"][0]["files"] == [f"TRAIN/MONOCYTE/{HOSTILE}0"]


def test_names_with_control_characters_are_kept_as_they_are(folder: Path, tmp_path: Path) -> None:
    name = f"TEST/MONOCYTE/{HOSTILE}"
    (folder / name).write_bytes(jpeg_bytes(9))
    dataset = load(folder, cache_dir=tmp_path / "cache")
    write_predictions(tmp_path / "table", dataset.test, np.eye(5, dtype=np.float32)[[0] * 13])
    assert read_predictions(tmp_path / "table").file == list(dataset.test.files)
    assert name in dataset.test.files
    (folder / name).write_bytes(b"")
    with pytest.raises(UsageError) as refusal:
        load(folder, cache_dir=tmp_path / "cache")
    assert f"{SHOWN} is empty" in str(refusal.value)
    assert all(line.isprintable() for line in str(refusal.value).splitlines())
    skipped = load(folder, cache_dir=tmp_path / "cache", skip_unreadable=True).skipped
    assert skipped == (f"{name}: is empty (0 bytes)",)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_name_that_is_not_utf_8_ends_a_run_before_it_begins(folder: Path, tmp_path: Path) -> None:
    try:
        (folder / "TEST/EOSINOPHIL" / os.fsdecode(LATIN_1)).write_bytes(jpeg_bytes(9))
    except OSError:
        pytest.skip("this file system has no such names")
    says = r"TEST/EOSINOPHIL/z\udce9_33.jpeg has a name that is not UTF-8: rename it"
    ended = wbcbench("data", "check", str(folder))
    assert ended.code == 2 and says in ended.out and "1 problem found." in ended.out
    words = ("run", "--variant", "leaky-dropout", "--data", str(folder), "--batch-size", "4")
    ended = wbcbench(*words, "--meters", "simulated", cwd=tmp_path)
    assert ended.code == 2 and says in ended.err and "--skip-unreadable" in ended.err
    assert not list(tmp_path.glob("results/*/*"))
    for _ in range(2):  # read, and from the cache
        dataset = load(folder, cache_dir=tmp_path / "cache", skip_unreadable=True)
        assert len(dataset.test) == 12
        assert dataset.skipped == (says.replace(" ", ": ", 1),)
