"""What a report wrote, in ``files.json``: so the next one knows what is its own and still right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from wbcbench.core.files import write_whole

FILE = "files.json"
SCHEMA = "wbcbench.report-files/1"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one report.

    Attributes:
        inputs: Digest of what it was made from.
        formats: Which were asked for.
        files: Digest of each file, by path below the report's folder.
    """

    inputs: str
    formats: tuple[str, ...]
    files: Mapping[str, str]
    schema: str = SCHEMA

    def is_whole(self, folder: Path, but: Iterable[str] = ()) -> bool:
        """Whether every file, ``but`` those left out, is there as it was written."""
        left = set(self.files) - set(but)
        return all(_sha256(folder / name) == self.files[name] for name in left)


def read(folder: Path) -> Manifest | None:
    """What the last report said it wrote; ``None`` if it said nothing that can be believed."""
    try:
        found = TypeAdapter(Manifest).validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    believable = found.schema == SCHEMA and all(_is_below(name) for name in found.files)
    return found if believable else None


def write(folder: Path, manifest: Manifest) -> None:
    """Keep it beside the files it speaks of."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
    write_whole(folder / FILE, f"{text}\n".encode())


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """The digest of each content."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def remove(folder: Path, left: Mapping[str, str], names: Iterable[str]) -> list[Path]:
    """Delete those of the named files that are still as a report left them; returns them."""
    gone = [folder / name for name in names if _sha256(folder / name) == left[name]]
    for path in gone:
        path.unlink()
    return gone


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.name != FILE


def _sha256(path: Path) -> str:
    """The digest of a file; empty if there is none to read."""
    try:
        if path.is_symlink():
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
