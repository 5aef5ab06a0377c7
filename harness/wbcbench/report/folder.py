"""Which file of one report an address names: those the report says it wrote, and no others."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from wbcbench.report import manifest

PAGE = "report.html"


def named_file(folder: Path, target: str) -> Path | None:
    """The file that the target of a request names; ``None`` if the report has none of that name.

    Only names in the report's own list are served, and only if no part of the way is a link, so
    that no spelling leads out of the folder and nothing else in it is shown.

    Args:
        folder: The report's.
        target: As in the request line: path and query, percent-encoded.
    """
    name = unquote(urlsplit(target).path).removeprefix("/") or PAGE
    written = manifest.read(folder)
    if written is None or name not in written.files:
        return None
    try:
        found = (folder / name).resolve(strict=True)
    except OSError:
        return None
    is_plain = found == folder.resolve() / name and found.is_file()
    return found if is_plain else None
