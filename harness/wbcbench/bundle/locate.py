"""Where the bag is in what somebody submitted, and what to do where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from wbcbench.bundle.bounds import quote
from wbcbench.bundle.layout import BAGIT, TAG_FILES, TAG_MANIFEST
from wbcbench.core.errors import UsageError
from wbcbench.core.text import shell_word

_LITTER = re.compile(
    r"__MACOSX|\.DS_Store|\._.*|(?i:Thumbs\.db|desktop\.ini)|Icon\r|\.localized|\.fseventsd"
    r"|\.Spotlight-V100|\.Trashes"
)
_PLACEHOLDER = re.compile(r"\..+\.icloud")
_NAMED = 4
_MOST_LOOKED_AT = 100_000

_ZIP_STARTS = (b"PK\3\4", b"PK\5\6")
_ARCHIVES = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"%PDF": "a PDF",
}
"""How files begin that people submit instead → what they are."""
_PAPER = _ARCHIVES[b"%PDF"]
_TAR, _TAR_AT = b"ustar", 257
_HEAD_BYTES = 512


def is_litter(name: str) -> bool:
    """Whether a file manager put this file, or a folder above it, beside those of a bundle."""
    return any(map(_LITTER.fullmatch, name.split("/")))


def find_bag(
    source: Path,
    folder: Path,
    most_folders: int,
    *,
    may_be_zip: bool = False,
    on_beside: Callable[[list[str]], object] | None = None,
) -> Path:
    """The bag itself: the folder, or the only one in it, whatever a file manager put beside that.

    Args:
        source: What was submitted, for messages.
        folder: Where to begin.
        most_folders: In each other.
        may_be_zip: Whether a zip that is alone in its folder may be what is found.
        on_beside: Called with the names of other files, where what is found may lie beside some.

    Raises:
        UsageError: There is none, and the message says where it may be.
    """
    place = _descend(folder, most_folders)
    if _is_bag(place) or (may_be_zip and _is_zip(place)):
        return place
    if _is_bag(parent := source.resolve().parent):
        raise UsageError(f"{source} is a part of a bundle. Give the whole bundle: {parent}")
    place = place if place.is_dir() else place.parent
    inside = _list_inside(place)
    if on_beside and (only := _find_only(inside)):
        on_beside([path.name for path in inside if path != only])
        return find_bag(source, only, most_folders, may_be_zip=may_be_zip)
    refuse_placeholders(source, (path.name for path in inside))
    bundles = [path for path in inside if is_submission(path)]
    if len(bundles) > 1:
        every = f"Give one of them, or each: wbcbench verify {shell_word(place)}/*"
        way_out = every if source.is_dir() else "Unpack it and give one of them."
        raise UsageError(f"{source} holds several bundles, {_name(bundles)}. {way_out}")
    way_out = f"the folder with {BAGIT}, or the zip as `submit` wrote it"
    if bundles:
        way_out = f"{quote(bundles[0].name)} without what is beside it"
    raise UsageError(
        f"{source} is no bundle: it holds {_name(inside)} and no {BAGIT}. Give {way_out}."
    )


def list_submissions(folder: Path, most_folders: int) -> tuple[list[Path], list[Path]]:
    """What is to be checked in a folder of submissions, and what is left out; none of a bundle.

    Every folder is one, also without a bundle, and every archive; other files and hidden folders
    are none. Nor is what lies in one author's folder: one submission beside papers and other files.
    """
    if not folder.is_dir() or not (place := _descend(folder, most_folders)).is_dir():
        return [], []
    inside = [] if _is_bag(place) else _list_inside(place)
    given = [path for path in inside if _is_folder(path) or _find_archive(path)]
    authors = [path for path in given if _find_archive(path) != _PAPER]
    if len(authors) < 2 or not any(map(is_submission, authors)):
        return [], []
    return given, [path for path in inside if path not in given]


def is_submission(path: Path) -> bool:
    """Whether there is a bag, or a zip that may hold one, where one file or folder leads to."""
    place = _descend(path, _NAMED)
    is_one = _is_bag(place) or _is_zip(place)
    return is_one or (place.is_dir() and _find_only(_list_inside(place)) is not None)


def _find_only(inside: Sequence[Path]) -> Path | None:
    """The only bag or zip among other files; none where another folder or archive may be meant."""
    if any(_PLACEHOLDER.fullmatch(path.name) for path in inside):
        return None
    meant = [path for path in inside if _is_folder(path) or _find_archive(path) not in {"", _PAPER}]
    place = _descend(meant[0], _NAMED) if len(meant) == 1 else None
    return meant[0] if place and (_is_bag(place) or _is_zip(place)) else None


def _is_folder(path: Path) -> bool:
    """Whether it is a folder in which somebody may have put a bundle."""
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _find_archive(path: Path) -> str:
    """What an archive that is a plain file is; empty for everything else."""
    if path.is_symlink():
        return ""
    return "a zip" if _is_zip(path) else _find_kind(path)


def require_zip(path: Path, source: Path) -> None:
    """Refuse what is not there, or begins as something else than a zip, with what to do.

    Raises:
        UsageError: It is so.
    """
    refuse_placeholders(source, [path.name])
    if not path.is_file():
        if (placeholder := path.with_name(f".{path.name}.icloud")).exists():
            refuse_placeholders(source, [placeholder.name])
        raise UsageError(f"There is no bundle {source}: neither a folder nor a zip.")
    is_empty = not path.stat().st_size
    if kind := "an empty file" if is_empty else _find_kind(path):
        way_out = "Fetch it again" if is_empty else "Unpack it and give its folder"
        raise UsageError(
            f"{source} is {kind}; a bundle is a folder or a zip. {way_out}, or ask its author for "
            "the zip as `submit --zip` wrote it."
        )


def refuse_placeholders(source: Path, names: Iterable[str]) -> None:
    """Raise ``UsageError`` where a file is not here, but in iCloud."""
    for name in names:
        if _PLACEHOLDER.fullmatch(name.rpartition("/")[2]):
            raise UsageError(
                f"{source}: {quote(name)} only says that the file is in iCloud. Download it in "
                "Finder (Download Now), then check it again."
            )


def _descend(folder: Path, most_folders: int) -> Path:
    """Down to where there is a bag, a file, or more than one way to go."""
    for _ in range(most_folders):
        if not folder.is_dir() or _is_bag(folder):
            break
        inside = _list_inside(folder)
        if len(inside) != 1 or inside[0].is_symlink():
            break
        folder = inside[0]
    return folder


def _list_inside(folder: Path) -> list[Path]:
    """What is in a folder, sorted, but for what file managers leave; not all of a huge one."""
    with suppress(PermissionError):
        found = islice(folder.iterdir(), _MOST_LOOKED_AT)
        return sorted(path for path in found if not _LITTER.fullmatch(path.name))
    return []


def _is_bag(folder: Path) -> bool:
    """Whether a folder is a bag, or one of which something was removed."""
    return any((folder / name).exists() for name in (*TAG_FILES, TAG_MANIFEST))


def _is_zip(path: Path) -> bool:
    return _read_head(path).startswith(_ZIP_STARTS)


def _find_kind(path: Path) -> str:
    """What an archive is by how it begins; empty for none that is known."""
    if (head := _read_head(path))[_TAR_AT:].startswith(_TAR):
        return "a tar archive"
    return next((kind for start, kind in _ARCHIVES.items() if head.startswith(start)), "")


def _read_head(path: Path) -> bytes:
    """The first bytes of a plain file; none of anything else."""
    if not path.is_file():
        return b""
    with suppress(PermissionError), path.open("rb") as stream:
        return stream.read(_HEAD_BYTES)
    return b""


def _name(paths: Iterable[Path]) -> str:
    """Names for a message."""
    return ", ".join(islice((quote(path.name) for path in paths), _NAMED)) or "nothing"
