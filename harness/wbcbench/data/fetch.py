"""Download the published set with kagglehub, check it, and move it into place.

kagglehub resumes an archive of which a part is there already, so the part is kept between tries:
in ``<destination>/.partial``, on the disk where the images will lie. Only a set with the right
digest leaves that folder. What kagglehub prints to stdout goes to stderr here.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wbcbench.core.errors import UsageError
from wbcbench.data.read import PUBLISHED_SHA256, dataset_sha256, find_root, hash_files, list_files

PUBLISHED_HANDLE = "paultimothymooney/blood-cells/versions/6"
"""Owner, data set and version: the version is pinned, so that later uploads change nothing."""

_FOLDER = "dataset2-master"
_PARTIAL = ".partial"


def fetch(
    destination: Path, *, handle: str = PUBLISHED_HANDLE, expected_sha256: str = PUBLISHED_SHA256
) -> Path:
    """Download the data set into ``destination/dataset2-master``, or say that it is there.

    Public data sets need no account. An interrupted download is taken up again, in this call and
    in the next one.

    Args:
        destination: A folder; made if it does not exist.
        handle: Kaggle's name of the data set, with its version.
        expected_sha256: Digest that TRAIN and TEST must have.

    Returns:
        The folder to give to ``--data``.

    Raises:
        UsageError: kagglehub is not installed, the transfer failed, or the data set that came is
            not the one expected (it is deleted).
    """
    target = destination / _FOLDER
    if target.exists():
        _verify(target, expected_sha256)
        return target
    partial = destination / _PARTIAL
    try:
        partial.mkdir(parents=True, exist_ok=True)
        downloaded = _download(handle, partial)
    except OSError as error:
        raise UsageError(
            f"{handle} could not be downloaded into {destination}: {error}. Repeat the "
            "command to resume, or download it elsewhere and give its folder with --data."
        ) from error
    try:
        _verify(downloaded, expected_sha256)
    except UsageError:
        shutil.rmtree(partial)
        raise
    _move_into_place(downloaded, target, partial)
    return target


def _download(handle: str, partial: Path) -> Path:
    """Return the folder kagglehub unpacked, resuming as long as every try brings something."""
    with _open_kagglehub(partial) as kagglehub:
        unusable = (ValueError, zipfile.BadZipFile, kagglehub.exceptions.DataCorruptionError)
        while True:
            before = _measure_size(partial)
            try:
                return Path(kagglehub.dataset_download(handle))
            except OSError as error:  # requests' errors are OSErrors without a number
                if error.errno is not None or _measure_size(partial) <= before:
                    raise
                print(f"The transfer broke off ({error}); resuming.", file=sys.stderr)
            except unusable as error:
                shutil.rmtree(partial)
                raise UsageError(
                    f"The download of {handle} cannot be unpacked ({error}), so it was deleted. "
                    "Try again, or download the data set in a browser and give its folder with "
                    "--data."
                ) from error


def _measure_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _open_kagglehub(cache: Path) -> Iterator[Any]:
    """Yield kagglehub; it keeps its files in ``cache`` and what it prints goes to stderr."""
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield _import_kagglehub()
    finally:
        os.environ.pop("KAGGLEHUB_CACHE")
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before


def _import_kagglehub() -> Any:
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise UsageError(
            "Downloading needs kagglehub, which is not installed. Install it with "
            "`pip install 'wbcbench[kaggle]'`, or download paultimothymooney/blood-cells from "
            "Kaggle in a browser, unpack it, and give its folder with --data."
        ) from error
    for handler in logging.getLogger("kagglehub").handlers:
        if type(handler) is logging.StreamHandler:  # its own, bound to the stdout of its import
            handler.stream = sys.stderr
    return kagglehub


def _verify(folder: Path, expected_sha256: str) -> None:
    root = find_root(folder)
    files = list_files(root)
    digests = hash_files([file.path for file in files])
    sha256 = dataset_sha256((f.name, d) for f, d in zip(files, digests, strict=True))
    if sha256 != expected_sha256:
        raise UsageError(
            f"The data set in {root} is not the published one: its TRAIN and TEST have the digest "
            f"{sha256}, and the published have {expected_sha256}. Fetch into another folder, or "
            "check it with `wbcbench data check`."
        )


def _move_into_place(downloaded: Path, target: Path, partial: Path) -> None:
    """Move the folder with the images to ``target`` and drop everything else that came."""
    try:
        images = find_root(downloaded).parent
        if partial.resolve() in images.parents:
            images.rename(target)
        else:  # on Kaggle's own machines nothing is downloaded: the set is mounted read-only
            shutil.copytree(images, target)
        shutil.rmtree(partial)
    except OSError as error:
        raise UsageError(f"The data set cannot be put into {target}: {error}.") from error
