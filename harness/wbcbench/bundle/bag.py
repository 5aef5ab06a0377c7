"""A folder with a ``data/`` becomes a BagIt 1.0 bag; a bag becomes a zip that is always the same.

Four small text files, written here because the usual package writes version 0.97.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.bundle.described import sha256_of
from wbcbench.core.files import write_whole

_WIDTH = 78
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_UNIX = 3
_CHUNK_BYTES = 1 << 20


def write_bag(bag: Path, info: Mapping[str, str]) -> None:
    """Write the bag's own files around ``data/``.

    Args:
        bag: The folder that holds ``data/``.
        info: Label → value for ``bag-info.txt``; the octets and the count of files are added.
    """
    files = layout.payload_files(bag)
    digests = [(path.relative_to(bag).as_posix(), sha256_of(path)) for path in files]
    octets = sum(path.stat().st_size for path in files)
    full = {**info, "Payload-Oxum": f"{octets}.{len(files)}"}
    texts = {
        layout.BAGIT: layout.BAGIT_TEXT,
        layout.BAG_INFO: "".join(f"{label}: {_one_line(full[label])}\n" for label in sorted(full)),
        layout.MANIFEST: layout.manifest_text(digests),
    }
    for name, text in texts.items():
        write_whole(bag / name, text.encode())
    tags = [(name, sha256_of(bag / name)) for name in layout.TAG_FILES]
    write_whole(bag / layout.TAG_MANIFEST, layout.manifest_text(tags).encode())


def write_zip(bag: Path, target: Path, top: str) -> None:
    """Write the bag as a zip with one folder ``top`` in it; equal bags give equal bytes."""
    files = sorted(path for path in bag.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in files:
            _add(archive, path, f"{top}/{path.relative_to(bag).as_posix()}")


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = _UNIX
    entry.external_attr = _MODE
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            sink.write(chunk)


def _one_line(value: str) -> str:
    """A value without the line breaks that would begin another label."""
    return " ".join(value.split())
