"""Which photograph each image was made from: facts about the pixels, kept in two tables.

The published set is augmented: 348 labelled photographs became 12,444 images, and nothing in the
file names says which. ``tables/image_to_original.csv.gz`` says so for each image, found by
aligning every image with every photograph (lowest correlation 0.98);
``tables/original_groups.csv.gz`` lists the photographs. Images are looked up by content, so
renamed and moved copies are recognised. Another data set may bring a table of the same columns,
``image_to_original.csv``, beside its TRAIN and TEST.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from importlib.resources import files
from operator import itemgetter
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH
from wbcbench.data.layout import PHOTOGRAPH_TABLE

COLUMNS = ("split", "class", "file", "sha256", "original_id", "group_id", "cell_seen_in_train")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where one image comes from.

    Attributes:
        name: The image's name in the set it belongs to, ``"TEST/EOSINOPHIL/_0_1616.jpeg"``.
        original_id: Its photograph; -1 = unknown.
        group_id: Its group of overlapping photographs; -1 = unknown.
        seen_in_train: Whether TRAIN shows the same cell.
    """

    name: str
    original_id: int
    group_id: int
    seen_in_train: bool


@dataclass(frozen=True, slots=True)
class Photograph:
    """One labelled photograph of the published set.

    Attributes:
        original_id: Its number.
        file: Its file name in the original collection.
        label: Its class.
        split: ``TRAIN`` or ``TEST``; empty if none of its images is in either.
        group_id: The group of photographs that overlap with it.
        leaks_to: The TRAIN photographs that show the same cell; empty for most.
    """

    original_id: int
    file: str
    label: str
    split: str
    group_id: int
    leaks_to: tuple[int, ...]


UNKNOWN = Provenance("", UNKNOWN_PHOTOGRAPH, UNKNOWN_PHOTOGRAPH, seen_in_train=False)


def known_images(root: Path) -> dict[str, Provenance]:
    """Return where images come from, by the SHA-256 of their bytes.

    The data set's own table speaks for the images it lists, the shipped table for all others.

    Args:
        root: The folder that holds TRAIN and TEST.

    Raises:
        UsageError: The data set's own table is unusable.
    """
    return {**published_images(), **_own_table(root / PHOTOGRAPH_TABLE)}


def published_images() -> dict[str, Provenance]:
    """Return every image of the published set, by the SHA-256 of its bytes."""
    return _by_content(_shipped_text("image_to_original"))


def published_photographs() -> list[Photograph]:
    """Return the 351 labelled photographs of the published set."""
    return [
        Photograph(
            original_id=int(row["original_id"]),
            file=row["file"],
            label=row["label"],
            split=row["split"],
            group_id=int(row["group_id"]),
            leaks_to=tuple(int(i) for i in row["leaks_to_train_originals"].split()),
        )
        for row in csv.DictReader(io.StringIO(_shipped_text("original_groups")))
    ]


def _own_table(path: Path) -> dict[str, Provenance]:
    if not path.is_file():
        return {}
    try:
        return _by_content(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, csv.Error, IndexError, ValueError) as error:
        raise UsageError(
            f"The table of photographs {path} cannot be used ({error!r}). It says which images "
            "must not be split between training and validation, so nothing is read without it. "
            f"It needs the columns {', '.join(COLUMNS)}; repair it, or remove it to go on "
            "without photographs."
        ) from error


def _by_content(text: str) -> dict[str, Provenance]:
    """Return the rows of a table by digest; several times as fast as ``csv.DictReader``."""
    reader = csv.reader(io.StringIO(text))
    heading = next(reader, [])
    wanted = itemgetter(*(heading.index(column) for column in COLUMNS))
    return {
        sha256: Provenance(f"{split}/{name}/{file}", int(original), int(group), seen == "true")
        for split, name, file, sha256, original, group, seen in map(wanted, reader)
    }


def _shipped_text(table: str) -> str:
    packed = files("wbcbench.data").joinpath("tables", f"{table}.csv.gz").read_bytes()
    return gzip.decompress(packed).decode("utf-8")
