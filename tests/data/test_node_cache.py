"""The image cache of a node of a cluster: made once, by real processes that start at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_folders import write_folder
from wbcbench.core.cache import machine_mark
from wbcbench.data.load import load
from wbcbench.data.synthetic import GENERATOR_VERSION, Recipe, default_cells

PROCESSES = 8
# Says how many images it read, if any, and what it has; with `stop`, waits after the first.
LOADER = """
import sys
from pathlib import Path
from wbcbench.data.load import load
reads = []
def count(done, total):
    reads.append(done)
    if sys.argv[3:] and len(reads) == 1:
        print("reading", flush=True)
        sys.stdin.read()
dataset = load(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), on_progress=count)
print(reads[-1] if reads else 0, dataset.sha256, int(dataset.train.images.sum()))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images")


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache that all nodes share."""
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "shared"))
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))
    return tmp_path / "shared"


@dataclass
class Loader:
    """A process that loads images."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, folder: Path, cache: Path | str, *words: str) -> Loader:
        command = [sys.executable, "-c", LOADER, str(folder), str(cache), *words]
        pipe = subprocess.PIPE
        return cls(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))

    def end(self) -> tuple[int, str]:
        """How many images it read from their files, and what it has of them."""
        told, log = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, log
        reads, _, images = told.splitlines()[-1].partition(" ")
        return int(reads), images


def half_written(cache: Path) -> list[Path]:
    return [path for path in cache.rglob(".*") if path.is_file()]


def test_of_many_that_start_at_once_one_reads_and_all_have_the_same(
    folder: Path, tmp_path: Path, shared: Path
) -> None:
    ended = [loader.end() for loader in [
        Loader.start(folder, tmp_path / "node") for _ in range(PROCESSES)
    ]]  # fmt: skip
    assert sorted(reads for reads, _ in ended) == [0] * (PROCESSES - 1) + [24]
    assert len({images for _, images in ended}) == 1
    assert not half_written(tmp_path / "node")
    assert not shared.exists()


def test_where_the_one_that_reads_is_killed_the_next_reads_and_leaves_nothing_of_it(
    folder: Path, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    first = Loader.start(folder, node, "stop")
    assert first.process.stdout is not None
    assert first.process.stdout.readline() == "reading\n"
    others = [Loader.start(folder, node) for _ in range(3)]
    time.sleep(1.0)
    assert all(loader.process.poll() is None for loader in others)  # they wait for it
    assert half_written(node)
    first.process.kill()
    first.process.communicate()
    assert sorted(reads for reads, _ in (loader.end() for loader in others)) == [0, 0, 24]
    assert not half_written(node)


def test_of_two_machines_that_read_at_once_the_file_of_the_first_stays(
    folder: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Loader.start(folder, shared, "stop")
    assert slow.process.stdout is not None
    assert slow.process.stdout.readline() == "reading\n"
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", "another machine")  # sees nothing of the first's turn
    reads, images = Loader.start(folder, shared).end()
    assert reads == 24
    (pixels,) = (path for path in (shared / "pixels").iterdir() if path.suffix == ".raw")
    published = pixels.stat().st_ino
    assert slow.end() == (24, images)
    assert pixels.stat().st_ino == published
    assert not half_written(shared)


def test_what_another_machine_is_writing_is_left_alone_for_a_day(
    folder: Path, tmp_path: Path
) -> None:
    pixels = tmp_path / "node" / "pixels"
    pixels.mkdir(parents=True)
    young, old = pixels / ".0a1b.x.other", pixels / ".0a1b.y.other"
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000, time.time() - 100_000))
    load(folder, cache_dir=tmp_path / "node")
    assert (young.exists(), old.exists()) == (True, False)


def test_variables_in_the_folder_are_those_of_the_node(
    folder: Path, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    load(folder, cache_dir=Path("$NODE_DISK/wbc"))
    assert [*(tmp_path / "disk" / "wbc" / "pixels").iterdir()]
    assert not shared.exists()


def test_a_variable_that_the_node_does_not_set_leads_to_the_shared_cache(
    folder: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(folder, cache_dir=Path("$NO_SUCH_DISK/wbc"))
    assert [*(shared / "pixels").iterdir()]
    assert "$NO_SUCH_DISK/wbc names a variable that is not set here" in caplog.text


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system in memory; skips where that is not permitted."""
    mounted = tmp_path / "disk"

    def mount(options: str) -> Path:
        mounted.mkdir()
        told = ["mount", "-t", "tmpfs", "-o", options, "wbcbench-test", str(mounted)]
        if shutil.which("mount") is None or subprocess.run(told, check=False).returncode != 0:
            pytest.skip("a small file system cannot be mounted here (needs root)")
        return mounted

    yield mount
    if mounted.is_mount():
        subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.parametrize(
    ("options", "problem"), [("size=100k", "No space left"), ("ro", "Read-only file system")]
)
def test_a_disk_of_the_node_that_takes_nothing_gives_way_to_the_shared_cache(
    options: str,
    problem: str,
    folder: Path,
    shared: Path,
    disk: Callable[[str], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = disk(options)
    calls: list[int] = []
    for _ in range(2):  # read, and from the shared cache without reading anything
        calls.clear()
        load(folder, cache_dir=node / "wbc", on_progress=lambda done, _: calls.append(done))
        assert f"{node / 'wbc'} cannot be written" in caplog.text
        assert problem in caplog.text
        assert f"using {shared}" in caplog.text
    assert not calls
    assert not half_written(node)


def test_a_damaged_cache_of_a_node_is_made_again_and_one_of_other_images_not_used(
    folder: Path, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    first = Loader.start(folder, node).end()
    (pixels,) = (node / "pixels").iterdir()
    content = pixels.read_bytes()
    pixels.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert Loader.start(folder, node).end() == first
    others = write_folder(tmp_path / "others", first_seed=100)
    reads, images = Loader.start(others, node).end()
    assert reads == 24
    assert images != first[1]


def test_what_somebody_makes_whose_locks_are_not_seen_here_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(train_images=8, test_images=8)
    target, names = f"synthetic-cells-v{GENERATOR_VERSION}-s{recipe.seed}-8-8", list[str]()
    for space in ("theirs", "ours"):
        monkeypatch.setenv("WBCBENCH_LOCK_DIR", space)
        names.append(f".{target}.abc.{machine_mark()}")
    for name in names:
        (tmp_path / name).mkdir()
    default_cells(tmp_path, recipe=recipe)
    assert [(tmp_path / name).exists() for name in names] == [True, False]
