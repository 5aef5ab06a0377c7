"""Where the bag of a bundle is, whatever people and file managers put around it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from program import wbcbench
from wbcbench.bundle.document import find_licence
from wbcbench.bundle.open import opened
from wbcbench.core.errors import UsageError, VerificationError


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """The least that is taken for a bag."""
    folder = tmp_path / "b"
    (folder / "data").mkdir(parents=True)
    (folder / "bagit.txt").touch()
    (folder / "data" / "submission.json").write_text("{}")
    return folder


def found(source: Path) -> list[str]:
    """The files of the bag that is found."""
    with opened(source) as root:
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def pack(target: Path, bag: Path, wrapper: str, *litter: str) -> Path:
    """The bag in a zip, below some folders, with other members."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(p for p in bag.rglob("*") if p.is_file()):
            archive.write(path, f"{wrapper}{path.relative_to(bag)}")
        for name in litter:
            archive.writestr(name, b"\0")
    return target


FILES = ["bagit.txt", "data/submission.json"]


@pytest.mark.parametrize(
    ("wrapper", "litter"),
    [
        ("", ()),
        ("b/", ()),
        ("b/", ("__MACOSX/b/._bagit.txt", "__MACOSX/._b")),
        ("b/", (".DS_Store", "Thumbs.db", "desktop.ini")),
        ("downloads/b/", ()),
        ("downloads/b/", ("downloads/.DS_Store", "__MACOSX/downloads/._b")),
    ],
)
def test_the_bag_is_found_below_wrappers_and_beside_what_file_managers_leave(
    tmp_path, bag, wrapper, litter
):
    packed = pack(tmp_path / "a.zip", bag, wrapper, *litter)
    assert found(packed) == FILES
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert found(tmp_path / "unpacked") == FILES


@pytest.mark.parametrize("inner", ["data", "data/results"])
def test_a_part_of_a_bundle_is_refused_with_the_whole(bag, inner):
    (bag / "data" / "results").mkdir()
    with pytest.raises(UsageError) as caught:
        found(bag / inner)
    assert str(bag) in str(caught.value)


def test_a_folder_around_several_things_is_no_bundle_and_says_what_it_holds(tmp_path, bag):
    shutil.copytree(bag, tmp_path / "c")
    with pytest.raises(UsageError, match=r"holds 'b', 'c' and no bagit\.txt"):
        found(tmp_path)
    packed = pack(tmp_path / "a.zip", bag, "b/", "notes.txt")
    with pytest.raises(UsageError, match=r"a\.zip is no bundle: it holds 'b', 'notes\.txt'"):
        found(packed)


@pytest.mark.parametrize("name", [".DS_Store", "data/.DS_Store", "data/._x", "data/Thumbs.db"])
def test_what_a_file_manager_put_into_the_bag_is_named(bag, name):
    (bag / name).write_bytes(b"\0")
    with pytest.raises(VerificationError, match="file manager"):
        found(bag)


def test_verify_says_it_in_one_line_without_a_temporary_path(tmp_path, bag):
    packed = pack(tmp_path / "a.zip", bag, "b/", "notes.txt")
    for source in (packed, bag / "data"):
        ended = wbcbench("verify", str(source))
        assert (ended.code, ended.out) == (2, "")
        assert "wbcbench-verify-" not in ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("given", "licence"),
    [
        ("mit", "MIT"),
        ("apache-2.0", "Apache-2.0"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("MIT License", None),
        ("MIT OR Apache-2.0", None),
        ("LicenseRef-mine", None),
        ("proprietary", None),
        ("", None),
    ],
)
def test_a_licence_has_its_spdx_identifier_or_is_none(given, licence):
    assert find_licence(given) == licence
