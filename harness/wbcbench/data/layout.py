"""Where the images of a data set lie, and a cheap way to tell that none of them changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS

PHOTOGRAPH_TABLE = "image_to_original.csv"
"""A data set may bring this table beside TRAIN and TEST; see :mod:`wbcbench.data.photographs`."""

_PLACES = (
    ".",
    "images",
    "dataset2-master/images",
    "dataset2-master/dataset2-master/images",
    "dataset2-master",
)
_NOT_IMAGES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of a class folder, as the folder lists it; its bytes have not been read.

    ``size``, ``mtime_ns`` and ``ctime_ns`` are -1 where the file cannot even be looked at.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def state(self) -> tuple[int, int, int]:
        """Size and times, which differ after any change."""
        return (self.size, self.mtime_ns, self.ctime_ns)


def find_root(path: Path) -> Path:
    """Return the folder that holds ``TRAIN`` and ``TEST``.

    Args:
        path: That folder, the ``dataset2-master`` around it, its parent, or the doubled
            ``dataset2-master/dataset2-master`` that unpacking the Kaggle archive makes.

    Raises:
        UsageError: There is no such folder, or it holds no data set.
    """
    if not path.is_dir():
        state = "is a file, not a folder" if path.exists() else "does not exist"
        raise UsageError(f"The data folder {path} {state}. {_way_out()}")
    for place in _PLACES:
        root = path / place
        if any((root / split).is_dir() for split in LOADED_SPLITS):
            return root.resolve()
    raise UsageError(
        f"The data folder {path} holds no data set: neither it nor its dataset2-master or images "
        f"folder has a TRAIN and a TEST folder. {_way_out()}"
    )


def list_files(
    root: Path,
    splits: tuple[str, ...] = LOADED_SPLITS,
    classes: tuple[str, ...] = CLASSES,
) -> list[ListedFile]:
    """Return every file of the class folders, sorted by name; hidden files are left out.

    Args:
        root: The folder that holds TRAIN and TEST.
        splits: Which of its folders to list.
        classes: Which class folders each of them must have.

    Raises:
        UsageError: A class folder is missing, empty or closed; all such folders are named.
    """
    listed: list[ListedFile] = []
    complaints: list[str] = []
    folders = [f"{split}/{name}" for split in splits for name in classes]
    for folder in folders:
        try:
            found = _list_folder(root, folder)
        except OSError as error:
            complaints.append(f"{folder} ({_why(error)})")
            continue
        if not found:
            complaints.append(f"{folder} (is empty)")
        listed += found
    if complaints:
        raise UsageError(
            f"The data set in {root} lacks {len(complaints)} of its {len(folders)} "
            f"class folders: {', '.join(complaints)}. Without images of every class in TRAIN and "
            f"TEST an accuracy means nothing. {_way_out()}"
        )
    return sorted(listed, key=lambda file: file.name)


def other_folders(root: Path, splits: tuple[str, ...]) -> list[str]:
    """Return the folders under ``root`` that are neither a split nor a class of one."""
    places = [root, *(root / split for split in splits if (root / split).is_dir())]
    expected = {*splits, *(f"{split}/{name}" for split in splits for name in CLASSES)}
    found = [
        p.relative_to(root).as_posix() for place in places for p in place.iterdir() if p.is_dir()
    ]
    return sorted(
        name for name in found if name not in expected and not Path(name).name.startswith(".")
    )


def fingerprint(root: Path, files: list[ListedFile], *extra: object) -> str:
    """Return a digest of names, sizes and times that changes whenever a file is written.

    It is no digest of the contents; it only says whether the contents known from an earlier
    reading still stand. The inode's change time is part of it because, unlike the modification
    time, no program can set it back.

    Args:
        root: The folder that holds TRAIN and TEST.
        files: What :func:`list_files` returned.
        extra: Whatever else the remembered result depends on.
    """
    table = root / PHOTOGRAPH_TABLE
    seal = table.stat() if table.is_file() else None
    lines = [str(root), repr(extra), repr(seal and (seal.st_size, seal.st_mtime_ns))]
    lines += [f"{f.name}\0{f.size}\0{f.mtime_ns}\0{f.ctime_ns}" for f in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _list_folder(root: Path, folder: str) -> list[ListedFile]:
    with os.scandir(root / folder) as entries:
        return [_listed(folder, entry) for entry in entries if _is_wanted(entry.name)]


def _listed(folder: str, entry: os.DirEntry[str]) -> ListedFile:
    name = f"{folder}/{entry.name}"
    try:
        stat = entry.stat()
    except OSError:  # e.g. a link to nowhere: reading it will say so
        return ListedFile(name, entry.path, -1, -1, -1)
    return ListedFile(name, entry.path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NOT_IMAGES


def _why(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror).lower()


def _way_out() -> str:
    return (
        "Give the folder of the Kaggle set with --data or WBCBENCH_DATA, get it with "
        "`wbcbench data fetch`, or give neither to use the synthetic cells."
    )
