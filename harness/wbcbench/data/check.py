"""What a data set holds and what is wrong with it, read from the images themselves.

A *problem* is something that makes an accuracy from this data set wrong or irreproducible; a
*note* is a property worth knowing, such as the cells that the published TEST shares with TRAIN.
Nothing is taken from the cache: a check reads every file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.text import escaped
from wbcbench.data import splits
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS, UNKNOWN_PHOTOGRAPH, Progress
from wbcbench.data.read import (
    PUBLISHED_ID,
    ImageFacts,
    dataset_id,
    dataset_sha256,
    find_root,
    list_files,
    other_folders,
    read_images,
)

PUBLISHED_SIZE_PX = (320, 240)
"""Width and height of every image of the published set."""

_ALL_SPLITS = (*LOADED_SPLITS, "TEST_SIMPLE")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in a data set.

    Attributes:
        code: What kind of thing, e.g. ``"unreadable"``; stable, for programs.
        detail: One sentence for people, that any terminal can print.
        files: The images it is about, ``"TEST/MONOCYTE/_0_1.jpeg"``; may be empty.
    """

    code: str
    detail: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What :func:`check_folder` found.

    Attributes:
        root: The folder that holds TRAIN and TEST.
        dataset_id: Short name of the data set; see :class:`wbcbench.data.dataset.Dataset`.
        sha256: Digest of the usable TRAIN and TEST images.
        synthetic: Whether any image is synthetic.
        counts: Files of each split and class, readable or not.
        photographs: Photographs of each split; ``None`` where some are unknown.
        leaking: TEST images of a cell that TRAIN shows as well; ``None`` if photographs are
            unknown.
        problems: What is wrong; empty for a sound data set.
        notes: What is worth knowing.
    """

    root: Path
    dataset_id: str
    sha256: str
    synthetic: bool
    counts: dict[str, dict[str, int]]
    photographs: dict[str, int | None]
    leaking: tuple[str, ...] | None
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Image:
    """One file with everything that is known of it."""

    name: str
    facts: ImageFacts
    origin: splits.Provenance

    @property
    def shown(self) -> str:
        """Its name, as any terminal can print it."""
        return escaped(self.name)

    @property
    def split(self) -> str:
        return self.name.split("/")[0]

    @property
    def folder(self) -> str:
        return self.name.rsplit("/", 1)[0]


def check_folder(path: Path, *, on_progress: Progress | None = None) -> CheckReport:
    """Read every image of the data set at ``path`` and say what is there.

    Args:
        path: As for :func:`wbcbench.data.load`.
        on_progress: Called with (files done, files in all).

    Raises:
        UsageError: There is no data set, or a class folder is missing or empty.
    """
    root = find_root(path)
    images = _read(root, on_progress)
    loaded = [i for i in images if i.split in LOADED_SPLITS]
    usable = [i for i in loaded if i.facts.complaint is None]
    versions = [v for i in usable if (v := i.facts.synthetic_version) is not None]
    sha256 = dataset_sha256((i.name, str(i.facts.sha256)) for i in usable)
    name = dataset_id(sha256, max(versions, default=None))
    photographs = {
        split: {i.origin.original_id for i in usable if i.split == split} for split in LOADED_SPLITS
    }
    known = all(i.origin.group_id != UNKNOWN_PHOTOGRAPH for i in usable)
    leaking = tuple(i.name for i in usable if i.split == "TEST" and i.origin.also_in_train)
    return CheckReport(
        root=root,
        dataset_id=name,
        sha256=sha256,
        synthetic=bool(versions),
        counts=_count_files(images),
        photographs={
            split: None if UNKNOWN_PHOTOGRAPH in ids else len(ids)
            for split, ids in photographs.items()
        },
        leaking=leaking if known else None,
        problems=tuple(_find_problems(images, loaded)),
        notes=tuple(_find_notes(root, images, usable, leaking, name)),
    )


def _read(root: Path, on_progress: Progress | None) -> list[_Image]:
    files = list_files(root)
    if (root / "TEST_SIMPLE").is_dir():
        present = tuple(c for c in CLASSES if (root / "TEST_SIMPLE" / c).is_dir())
        files += list_files(root, ("TEST_SIMPLE",), present)
    facts = read_images(files, 1, lambda _start, _pixels: None, on_progress)
    known = splits.known_images(root)
    return [
        _Image(file.name, fact, known.get(fact.sha256 or "", splits.UNKNOWN))
        for file, fact in zip(files, facts, strict=True)
    ]


def _count_files(images: Sequence[_Image]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(CLASSES, 0))
    for image in images:
        split, name, _ = image.name.split("/", 2)
        counts[split][name] += 1
    return {split: counts[split] for split in _ALL_SPLITS if split in counts}


def _find_problems(images: Sequence[_Image], loaded: Sequence[_Image]) -> Iterator[Finding]:
    for image in images:
        size = (image.facts.width, image.facts.height)
        if image.facts.complaint is not None:
            yield Finding("unreadable", f"{image.shown} {image.facts.complaint}.", (image.name,))
        elif size != PUBLISHED_SIZE_PX:
            detail = f"{image.shown} has {size[0]} × {size[1]} pixels instead of 320 × 240."
            yield Finding("wrong-size", detail, (image.name,))
    for copies in _find_duplicates(loaded):
        if len({i.folder for i in copies}) > 1:
            detail = f"{len(copies)} files of different folders have the same content."
            yield Finding("duplicate-across-folders", detail, _get_names(copies))
    by_photograph = defaultdict[int, list[_Image]](list)
    for image in loaded:
        by_photograph[image.origin.original_id].append(image)
    for number, shown in sorted(by_photograph.items()):
        if number != UNKNOWN_PHOTOGRAPH and len({i.split for i in shown}) > 1:
            detail = f"Images of photograph {number} are in both TRAIN and TEST."
            yield Finding("photograph-in-two-splits", detail, _get_names(shown))
    for image in loaded:
        if image.origin.name and image.origin.name.rsplit("/", 1)[0] != image.folder:
            detail = (
                f"{image.shown} is known as {escaped(image.origin.name)}: another split or class."
            )
            yield Finding("misplaced", detail, (image.name,))
    # Names alone prove nothing, so this holds only where most contents are the published ones.
    published = {origin.name for origin in splits.published_images().values()}
    unknown = [i for i in loaded if i.facts.complaint is None and not i.origin.name]
    altered = _get_names([i for i in unknown if i.name in published])
    if altered and 2 * len(unknown) < len(loaded):
        detail = f"{len(altered)} file(s) differ from the published ones of the same name."
        yield Finding("altered", detail, altered)


def _find_duplicates(images: Sequence[_Image]) -> list[list[_Image]]:
    """Return the groups of files whose bytes are equal."""
    same = defaultdict[str, list[_Image]](list)
    for image in images:
        if image.facts.sha256 is not None and image.facts.complaint is None:
            same[image.facts.sha256].append(image)
    return [copies for copies in same.values() if len(copies) > 1]


def _find_notes(
    root: Path,
    images: Sequence[_Image],
    usable: Sequence[_Image],
    leaking: Sequence[str],
    name: str,
) -> Iterator[Finding]:
    for copies in _find_duplicates(images):
        if len({i.folder for i in copies}) == 1 or any(i.split == "TEST_SIMPLE" for i in copies):
            yield Finding(
                "duplicate", f"{len(copies)} files have the same content.", _get_names(copies)
            )
    if leaking:
        tested = sum(i.split == "TEST" for i in usable)
        known = ", as is known of the published set" if name == PUBLISHED_ID else ""
        detail = (
            f"{len(leaking)} of {tested} TEST images show a cell that TRAIN shows as well{known}; "
            "accuracy is reported with and without them."
        )
        yield Finding("cell-seen-in-train", detail, tuple(leaking))
    unknown = _get_names([i for i in usable if i.origin.group_id == UNKNOWN_PHOTOGRAPH])
    if unknown:
        detail = (
            f"The photograph of {len(unknown)} of {len(usable)} images is unknown: a validation "
            "split is random by image there and may leak."
        )
        yield Finding("photograph-unknown", detail, unknown)
    others = other_folders(root, _ALL_SPLITS)
    if others:
        yield Finding("ignored-folder", "These folders are not read.", tuple(others))


def _get_names(images: Sequence[_Image]) -> tuple[str, ...]:
    return tuple(image.name for image in images)
