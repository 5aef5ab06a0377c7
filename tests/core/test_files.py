"""Files go where a name leads: through links, into pipes, never over what is no file."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from wbcbench.core.files import load_toml, write_atomically

AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("target", ["there/old.csv", "there/new.csv"])
def test_a_link_is_written_through(target: str, tmp_path: Path) -> None:
    """Also one to nothing yet, and one to a link."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old.csv").write_text("old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "again").symlink_to("link")
    write_atomically(tmp_path / "again", b"new")
    assert (tmp_path / "again").readlink() == Path("link")
    assert (tmp_path / "link").readlink() == Path(target)
    assert (tmp_path / target).read_bytes() == b"new"
    assert [p.suffix for p in (tmp_path / "there").iterdir() if p.suffix != ".csv"] == []


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links") as refused:
        write_atomically(tmp_path / "a", b"new")
    assert refused.value.errno == errno.ELOOP
    assert (tmp_path / "a").is_symlink()


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"new")
    reader.join()
    assert read == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_one(tmp_path: Path) -> None:
    (tmp_path / "nothing").symlink_to(os.devnull)
    write_atomically(tmp_path / "nothing", b"new")
    assert stat.S_ISCHR((tmp_path / "nothing").stat().st_mode)
    assert (tmp_path / "nothing").is_symlink()
    assert [p.name for p in tmp_path.iterdir()] == ["nothing"]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "folder", b"new")


def test_a_file_keeps_its_mode_and_a_new_one_has_that_of_the_user(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        write_atomically(old, b"new")
        write_atomically(new, b"new")
    finally:
        os.umask(before)
    assert (mode_of(old), mode_of(new)) == (0o640, 0o640)
    new.chmod(0o606)
    write_atomically(new, b"newer")
    assert mode_of(new) == 0o606


def test_another_name_of_a_file_keeps_what_it_holds(tmp_path: Path) -> None:
    """A bundle or a copy may share the file by a hard link."""
    (tmp_path / "one").write_text("old")
    (tmp_path / "other").hardlink_to(tmp_path / "one")
    write_atomically(tmp_path / "one", b"new")
    assert (tmp_path / "other").read_text() == "old"


@pytest.mark.parametrize("name", ["n" * 255, "µ" * 127])
def test_the_longest_names_are_written(name: str, tmp_path: Path) -> None:
    write_atomically(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == [name]


@AS_ROOT
def test_a_file_that_is_read_only_stays(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        write_atomically(path, b"new")
    assert path.read_text() == "old"


@AS_ROOT
def test_a_folder_that_is_read_only_keeps_its_file(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "kept", b"new")
    tmp_path.chmod(0o755)
    assert (tmp_path / "kept").read_text() == "old"


def test_a_marked_file_is_read_and_one_of_another_encoding_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = 1", encoding="utf-8-sig")
    assert load_toml(path) == {"a": 1}
    path.write_text("a = 1", encoding="utf-16")
    with pytest.raises(ValueError, match="UTF-8"):
        load_toml(path)


NINES = "9" * 5000


@pytest.mark.parametrize("text", [f"a = {'[' * 3000}", f"a = {NINES}", "a = 1\na = 2", "a = 'b\0'"])
def test_what_is_no_toml_is_a_value_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError, match=r"\w"):
        load_toml(tmp_path / "a.toml")
