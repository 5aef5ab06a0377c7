"""Files written whole or not at all, and tables as CSV, Markdown and LaTeX.

Temporary file in the same folder → fsync → rename → fsync of the folder: whoever reads the name
finds the old content or the new one, also after a power cut or on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})  # as on FAT, SMB

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "·": r"$\cdot$",
}

Rows = Sequence[Sequence[str]]


def write_whole(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; on any error the old file stays.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half written is left.
    """
    with _temporary(path, data) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write ``path`` in one step where there is none: of two who write at once, one succeeds.

    Raises:
        FileExistsError: There is such a file; it stays as it is.
        OSError: As ``write_whole``.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with _temporary(path, data) as temporary:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            temporary.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside ``path`` with ``data`` on disk; gone at the end, unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def aligned(headings: Sequence[str], rows: Rows) -> str:
    """Columns padded with spaces, two between; lines end without spaces."""
    table = [headings, *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(headings))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def markdown(headings: Sequence[str], rows: Rows) -> str:
    """A pipe table as GitHub renders it."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_markdown(word) for word in line)} |" for line in lines)


def latex(headings: Sequence[str], rows: Rows) -> str:
    """A ``tabular`` that needs the package booktabs; the first column is left, others right."""
    columns = "l" + "r" * (len(headings) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_line(headings),
            r"\midrule",
            *(_latex_line(row) for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def latex_text(text: str) -> str:
    """Text with every character that LaTeX gives a meaning written so that it has none."""
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_line(words: Sequence[str]) -> str:
    return " & ".join(latex_text(word) for word in words) + r" \\"


def _markdown(word: str) -> str:
    plain = word if set(word) == {"-"} else word.replace("\\", "\\\\")
    for mark in ("|", "<", "*", "`", "["):
        plain = plain.replace(mark, f"\\{mark}")
    return plain.replace("\n", " ")
