"""The digest that names a data set, and the name that follows from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

PUBLISHED_ID = "bccd-kaggle"
PUBLISHED_SHA256 = "f13f3f10112111aa3db9d67766cc49321a558b81962eea6f499986d86abb1cf1"
"""Digest of the complete TRAIN and TEST of ``paultimothymooney/blood-cells``, dataset2-master."""


def dataset_sha256(images: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a set of images, independent of where and in which order they lie.

    It is the SHA-256 of the lines ``sha256sum`` prints, so that anybody can check it in the folder
    that holds TRAIN and TEST::

        find TRAIN TEST -type f ! -name '.*' | LC_ALL=C sort | xargs sha256sum | sha256sum

    Args:
        images: Pairs of name (``"TRAIN/EOSINOPHIL/_0_1169.jpeg"``) and SHA-256 of the content.
    """
    lines = sorted((name.encode(errors="surrogateescape"), sha256) for name, sha256 in images)
    digest = hashlib.sha256()
    for name, sha256 in lines:
        digest.update(sha256.encode() + b"  " + name + b"\n")
    return digest.hexdigest()


def dataset_id(sha256: str, synthetic_version: int | None) -> str:
    """Return the short name of the data set with that digest.

    Args:
        sha256: What :func:`dataset_sha256` returned.
        synthetic_version: Generator version if any image is synthetic, else ``None``.
    """
    if sha256 == PUBLISHED_SHA256:
        return PUBLISHED_ID
    kind = "custom" if synthetic_version is None else f"synthetic-cells-v{synthetic_version}"
    return f"{kind}-{sha256[:8]}"
