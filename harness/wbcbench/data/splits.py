"""The validation split of TRAIN: by photograph, so that no photograph is on both sides.

Images of one photograph are near copies of each other (15–157 in the published set). A random
split of images puts copies of almost every validation image into training, and its validation
accuracy is fiction. See harness/decisions/0011-validation-by-photograph.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH, ImageSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    _refuse_impossible(fraction)
    members = _photographs(train)
    held_out = set[str]()
    for photographs in _by_class(train, members).values():
        held_out |= _hold_out(photographs, members, fraction, seed)
    chosen = np.zeros(len(train), dtype=np.bool_)
    for photograph in held_out:
        chosen[members[photograph]] = True
    if chosen.all() or not chosen.any():
        raise UsageError(
            f"TRAIN has {len(members)} photograph(s), too few to hold any out for validation "
            "without showing the network the same photograph. Give more images."
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _refuse_impossible(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UsageError(
            f"The validation fraction is {fraction:g}, but it must lie between 0 and 1 (both "
            "excluded): validation images are taken from TRAIN and some must be left to train on."
        )


def _photographs(train: ImageSet) -> dict[str, list[int]]:
    """Return the positions of the images of each photograph."""
    members = defaultdict[str, list[int]](list)
    for position, group in enumerate(train.group_id.tolist()):
        known = group != UNKNOWN_PHOTOGRAPH
        members[f"group {group}" if known else f"image {train.sha256[position]}"].append(position)
    return members


def _by_class(train: ImageSet, members: dict[str, list[int]]) -> dict[int, list[str]]:
    """Return the photographs of each class; one with several labels goes with its commonest."""
    labels = train.labels.tolist()
    classes = defaultdict[int, list[str]](list)
    for photograph, positions in members.items():
        votes = Counter(labels[i] for i in positions)
        classes[min(votes, key=lambda label: (-votes[label], label))].append(photograph)
    return classes


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
