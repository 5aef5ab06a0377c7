"""Where the bag of a bundle is, whatever people and file managers put around it."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from program import wbcbench
from wbcbench.bundle.bounds import BOUNDS
from wbcbench.bundle.document import find_licence
from wbcbench.bundle.layout import BAGIT_TEXT
from wbcbench.bundle.locate import list_submissions
from wbcbench.bundle.open import opened, received
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


def received_files(source: Path, litter: list[str] | None = None) -> list[str]:
    """The files of the bag in what somebody submitted; ``litter`` gets what was left out."""
    left_out = litter if litter is not None else []
    with received(source, on_litter=left_out.extend) as root:
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


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
    packed = pack(tmp_path / "a.zip", bag, "b/", "notes.txt")
    with pytest.raises(UsageError, match=r"a\.zip is no bundle: it holds 'b', 'notes\.txt'"):
        found(packed)
    packed.unlink()
    shutil.copytree(bag, tmp_path / "c")
    with pytest.raises(UsageError, match=r"several bundles, 'b', 'c'\. Give one of them, or each"):
        found(tmp_path)
    packed = pack(tmp_path / "two.zip", bag, "b/", *(f"c/{name}" for name in FILES))
    with pytest.raises(UsageError, match=r"several bundles, 'b', 'c'\. Unpack it"):
        received_files(packed)


LITTER = [
    ".DS_Store", "data/.DS_Store", "data/._x", "data/Thumbs.db", "data/__MACOSX/._b",
    "data/thumbs.db", "Desktop.ini", "data/Icon\r", "data/._Icon\r", ".localized", ".fseventsd/x",
]  # fmt: skip


@pytest.mark.parametrize("name", LITTER)
def test_what_a_file_manager_put_into_the_bag_is_left_out_and_named(tmp_path, bag, name):
    packed = pack(tmp_path / "a.zip", bag, "b/", f"b/{name}")
    (bag / name).parent.mkdir(exist_ok=True)
    (bag / name).write_bytes(b"\0")
    for source in (bag, packed):
        litter = list[str]()
        assert received_files(source, litter) == FILES
        assert litter == [name]
    with pytest.raises(VerificationError, match="file manager"):  # in what one's own is changed
        found(bag)


@pytest.mark.parametrize("name", ["data/notes.txt", "data/DS_Store", "x._y", "data/thumbs.db.csv"])
def test_nothing_else_is_left_out(bag, name):
    (bag / name).write_bytes(b"\0")
    litter = list[str]()
    assert len(received_files(bag, litter)) == len(FILES) + 1
    assert not litter


def test_litter_that_is_a_link_is_refused_as_any_link(bag):
    (bag / "._x").symlink_to("/etc/passwd")
    with pytest.raises(VerificationError, match="a link, a device or a pipe"):
        received_files(bag)


def test_a_zip_in_a_folder_or_in_zips_is_opened_as_platforms_of_courses_pack_it(tmp_path, bag):
    packed = pack(tmp_path / "x.zip", bag, "b/", "__MACOSX/b/._bagit.txt")
    submission = tmp_path / "all" / "Müller_123_assignsubmission_file_"
    submission.mkdir(parents=True)
    shutil.copy(packed, submission)
    (submission / ".DS_Store").touch()
    assert received_files(submission) == received_files(tmp_path / "all") == FILES
    for number in range(4):
        outer = tmp_path / f"outer-{number}.zip"
        with zipfile.ZipFile(outer, "w") as archive:
            archive.write(packed, f"Surname_{number}_file_/{packed.name}")
        packed = outer
        if number < 3:
            assert received_files(packed) == FILES
    with pytest.raises(UsageError, match="zips in zips"):
        received_files(packed)
    with pytest.raises(UsageError, match="no bundle"):  # what is changed in place is no zip in one
        found(submission)


class MemberOfWindows(zipfile.ZipInfo):
    """A member under a name in Windows' own code page, with its separator."""

    def __init__(self, name: str) -> None:
        super().__init__("x", (2026, 3, 1, 9, 0, 2))
        self.create_system, self.external_attr = 0, 0x20
        self.filename = self.orig_filename = name.replace("/", "\\")

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 as the library calls it
        return self.filename.encode("cp437"), self.flag_bits


@pytest.mark.parametrize("wrapper", ["Müller\\", ""])
def test_a_zip_of_windows_is_opened(tmp_path, bag, wrapper):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name in (*FILES, "Thumbs.db", "data/desktop.ini"):
            body = (bag / name).read_bytes() if name in FILES else b"\0"
            archive.writestr(MemberOfWindows(f"{wrapper}{name}"), body)
        if wrapper:
            archive.writestr(MemberOfWindows(wrapper), b"")
    litter = list[str]()
    assert received_files(tmp_path / "w.zip", litter) == FILES
    assert sorted(litter) == ["Thumbs.db", "data/desktop.ini"]


def archive_of(kind: str, folder: Path, bag: Path) -> Path:
    """What people submit instead of a folder or a zip."""
    path = folder / f"submission.{kind}"
    if kind.startswith("tar"):
        with tarfile.open(path, "w:" + kind.partition(".")[2]) as archive:
            archive.add(bag, "b")
        return path
    heads = {"7z": b"7z\xbc\xaf\x27\x1c", "rar": b"Rar!\x1a\x07\x01\0", "pdf": b"%PDF-1.7"}
    path.write_bytes(heads.get(kind, b""))
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("tar", "a tar archive"),
        ("tar.gz", "a gzip archive"),
        ("tar.xz", "an xz archive"),
        ("tar.bz2", "a bzip2 archive"),
        ("7z", "a 7z archive"),
        ("rar", "a RAR archive"),
        ("pdf", "a PDF"),
        ("zip", "an empty file"),
    ],
)
def test_what_is_no_zip_is_refused_with_what_to_do(tmp_path, bag, kind, word):
    with pytest.raises(UsageError) as caught:
        received_files(archive_of(kind, tmp_path, bag))
    assert word in str(caught.value)
    assert "Unpack it" in str(caught.value) or "Fetch it again" in str(caught.value)


def test_a_download_that_was_cut_off_and_a_zip_with_a_password_say_what_to_do(tmp_path, bag):
    packed = pack(tmp_path / "a.zip", bag, "b/")
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-40])
    with pytest.raises(VerificationError, match="download was cut off: fetch it again"):
        received_files(packed)
    at = whole.index(b"PK\1\2")
    packed.write_bytes(whole[: at + 8] + b"\1" + whole[at + 9 :])
    with pytest.raises(VerificationError, match=r"encrypted .* with its password"):
        received_files(packed)


def test_a_placeholder_of_icloud_is_no_bundle_yet(tmp_path, bag):
    (tmp_path / ".gone.zip.icloud").write_bytes(b"bplist00")
    for source in (tmp_path / "gone.zip", tmp_path / ".gone.zip.icloud"):
        with pytest.raises(UsageError, match=r"in iCloud\. Download it"):
            received_files(source)
    (bag / "data" / ".runs.csv.icloud").write_bytes(b"bplist00")
    with pytest.raises(UsageError, match=r"in iCloud\. Download it"):
        received_files(bag)


def test_line_ends_that_git_changed_are_told_as_that(bag):
    (bag / "bagit.txt").write_bytes(BAGIT_TEXT.replace("\n", "\r\n").encode())
    with pytest.raises(VerificationError, match=r"core\.autocrlf"):
        received_files(bag)


def test_a_folder_of_submissions_holds_several_and_what_is_none_is_named(tmp_path, bag):
    shutil.copytree(bag, tmp_path / "all" / "Ada" / "b")
    pack(tmp_path / "all" / "Bob.zip", bag, "b/")
    archive_of("rar", tmp_path / "all", bag)
    (tmp_path / "all" / "Cy").mkdir()
    (tmp_path / "all" / "marks.xlsx").write_bytes(b"\0")
    given, others = list_submissions(tmp_path / "all", BOUNDS.depth)
    assert [path.name for path in given] == ["Ada", "Bob.zip", "Cy", "submission.rar"]
    assert [path.name for path in others] == ["marks.xlsx"]
    for one in (bag, tmp_path / "all" / "Ada", tmp_path / "all" / "Bob.zip", tmp_path / "none"):
        assert list_submissions(one, BOUNDS.depth) == ([], [])


def test_one_clean_submission_among_several_is_enough_for_a_table(tmp_path, bag):
    for name in ("Ada", "Bob", ".git"):
        (tmp_path / "all" / name).mkdir(parents=True)
    pack(tmp_path / "all" / "Ada" / "a.zip", bag, "b/")
    (tmp_path / "all" / "Ada" / "report.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "all" / "Bob" / "onlinetext.html").touch()
    given, others = list_submissions(tmp_path / "all", BOUNDS.depth)
    assert [path.name for path in given] == ["Ada", "Bob"]
    assert [path.name for path in others] == [".git"]


@pytest.mark.parametrize("packed", [True, False])
def test_in_one_authors_folder_the_only_bundle_is_taken_and_the_rest_is_named(
    tmp_path, bag, packed
):
    ada = tmp_path / "Ada"
    (ada / ".git").mkdir(parents=True)
    (ada / "report.pdf").write_bytes(b"%PDF-1.4")
    (ada / "notes.txt").touch()
    pack(ada / "a.zip", bag, "b/") if packed else shutil.copytree(bag, ada / "b")
    assert list_submissions(ada, BOUNDS.depth) == ([], [])
    beside = list[str]()
    with received(ada, on_beside=beside.extend) as root:
        assert (root / "bagit.txt").exists()
    assert beside == [".git", "notes.txt", "report.pdf"]
    ended = wbcbench("verify", str(ada))
    assert "not looked at, beside the bundle: '.git' and 2 more" in " ".join(ended.out.split())
    archive_of("rar", ada, bag)
    with pytest.raises(UsageError, match="is no bundle"):
        received_files(ada)


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
