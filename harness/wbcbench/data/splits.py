"""Splits of the images that keep photographs together, and the photograph of each image.

Images of one photograph are near copies of each other (15–157 in the published set). A random split
of images puts copies of almost every validation image into training, and its validation accuracy is
fiction. See harness/decisions/0008-images-and-splits.md.

The published set is augmented: 348 labelled photographs became 12,444 images, and nothing in the
file names says which. ``tables/image_to_original.csv.gz`` says so for each image, found by aligning
every image with every photograph (lowest correlation 0.98); ``tables/original_groups.csv.gz`` lists
the photographs. Images are looked up by content, so renamed and moved copies are recognised.
Another data set may bring a table of the same columns, ``image_to_original.csv``, beside its TRAIN
and TEST.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH, ImageSet
from wbcbench.data.read import PHOTOGRAPH_TABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS = ("split", "class", "file", "sha256", "original_id", "group_id", "cell_seen_in_train")


def split_validation(
    train: ImageSet, *, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split TRAIN into training and validation images, whole photographs at a time.

    Each class gives about ``fraction`` of its images: its photographs are put in an order that
    depends on ``seed`` alone (a hash, so no library version can change it) and are taken from the
    front until the next one would lead further away from the share wanted. A class with at least
    two photographs is on both sides. Images of unknown photograph count as a photograph of their
    own, except that exact copies stay together; without photographs this is a random split by
    image, stratified by class.

    Args:
        train: The TRAIN images.
        fraction: Share of the images to validate on, between 0 and 1 (both excluded).
        seed: Any integer; equal seeds give equal splits.

    Returns:
        Positions in ``train`` of the training images and of the validation images, both sorted.

    Raises:
        UsageError: ``fraction`` is out of range, or there are too few photographs to split.
    """
    import numpy as np

    if not 0 < fraction < 1:
        raise UsageError(
            f"The validation fraction is {fraction:g}, but it must lie between 0 and 1 (both "
            "excluded): validation images are taken from TRAIN and some must be left to train on."
        )
    members = defaultdict[str, list[int]](list)  # positions of the images of each photograph
    for position, group in enumerate(train.group_id.tolist()):
        is_known = group != UNKNOWN_PHOTOGRAPH
        name = f"group {group}" if is_known else f"image {train.sha256[position]}"
        members[name].append(position)
    labels = train.labels.tolist()
    classes = defaultdict[int, list[str]](list)  # one with several labels goes with the commonest
    for photograph, positions in members.items():
        votes = Counter(labels[i] for i in positions)
        classes[min(votes, key=lambda label: (-votes[label], label))].append(photograph)
    chosen = np.zeros(len(train), dtype=np.bool_)
    for photographs in classes.values():
        for photograph in _hold_out(photographs, members, fraction, seed):
            chosen[members[photograph]] = True
    if chosen.all() or not chosen.any():
        raise UsageError(
            f"TRAIN has {len(members)} photograph(s), too few to hold any out for validation "
            "without showing the network the same photograph. Give more images."
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _hold_out(
    photographs: list[str], members: dict[str, list[int]], fraction: float, seed: int
) -> set[str]:
    """Return the photographs of one class that validate."""
    order = sorted(photographs, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    wanted = fraction * sum(len(members[name]) for name in order)
    count, taken = 0, 0
    while taken < len(order) and count + len(members[order[taken]]) / 2 <= wanted:
        count += len(members[order[taken]])
        taken += 1
    at_least = min(1, len(order) - 1)
    return set(order[: min(max(taken, at_least), max(len(order) - 1, 0))])


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where one image comes from.

    Attributes:
        name: The image's name in the set it belongs to, ``"TEST/EOSINOPHIL/_0_1616.jpeg"``.
        original_id: Its photograph; -1 = unknown.
        group_id: Its group of overlapping photographs; -1 = unknown.
        also_in_train: Whether TRAIN shows the same cell.
    """

    name: str
    original_id: int
    group_id: int
    also_in_train: bool


UNKNOWN = Provenance("", UNKNOWN_PHOTOGRAPH, UNKNOWN_PHOTOGRAPH, also_in_train=False)


def known_images(root: Path) -> dict[str, Provenance]:
    """Return where images come from, by the SHA-256 of their bytes.

    The data set's own table counts for the images it lists, the shipped table for all others.

    Args:
        root: The folder that holds TRAIN and TEST.

    Raises:
        UsageError: The data set's own table is unusable.
    """
    path = root / PHOTOGRAPH_TABLE
    if not path.is_file():
        return published_images()
    try:
        return {**published_images(), **_parse_table(path.read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError, csv.Error, IndexError, ValueError) as error:
        raise UsageError(
            f"The table of photographs {path} cannot be used ({error!r}). It needs the columns "
            f"{', '.join(COLUMNS)}. Correct it, or remove it to run without photographs."
        ) from error


def published_images() -> dict[str, Provenance]:
    """Return every image of the published set, by the SHA-256 of its bytes."""
    packed = files("wbcbench.data").joinpath("tables", "image_to_original.csv.gz").read_bytes()
    return _parse_table(gzip.decompress(packed).decode("utf-8"))


def _parse_table(text: str) -> dict[str, Provenance]:
    """Return the rows of a table by digest; several times as fast as ``csv.DictReader``."""
    reader = csv.reader(io.StringIO(text))
    heading = next(reader, [])
    wanted = itemgetter(*(heading.index(column) for column in COLUMNS))
    return {
        sha256: Provenance(f"{split}/{name}/{file}", int(original), int(group), in_train == "true")
        for split, name, file, sha256, original, group, in_train in map(wanted, reader)
    }
