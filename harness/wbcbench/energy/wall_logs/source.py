"""A log's bytes, read once, and the text that they are."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.errors import UsageError

MOST_BYTES = 500_000_000  # a year at one reading a second
_STDIN = Path("/dev/stdin")
_PACKED = {b"PK\x03\x04": "an Excel workbook or a zip", b"\xd0\xcf\x11\xe0": "an Excel workbook"}
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class LogText:
    """A log as text.

    Attributes:
        text: Its characters.
        encoding: By which the bytes were read.
        sha256: Digest of the bytes that were read, still packed.
    """

    text: str
    encoding: str
    sha256: str


def read_text(path: Path) -> LogText:
    """Read a file or a pipe to its end, once; a ``.gz`` is unpacked, and ``-`` is standard input.

    Raises:
        UsageError: It cannot be read, is too large, or is not text.
    """
    try:
        with (_STDIN if path.name == path.as_posix() == "-" else path).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        digest = hashlib.sha256(data).hexdigest()
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(MOST_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {reason}.") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} is larger than a meter's log of a year; cut out the run.")
    if kind := _PACKED.get(data[:4]):
        raise UsageError(f"{path} is {kind}. Save the sheet as CSV and attach that.")
    for encoding in _list_encodings(data):
        with suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            break
    else:
        raise UsageError(f"{path} is not text in {encoding}. Save the log as UTF-8.")
    if any(ord(mark) < 32 and mark not in "\t\n\r\f\v\x1a\x1b" for mark in set(text)):
        raise UsageError(f"{path} holds control characters such as NUL, so it is no text.")
    return LogText(text, encoding.removesuffix("-sig"), digest)


def _list_encodings(data: bytes) -> list[str]:
    """UTF-8 and UTF-16 by mark or by what is in the file, else the Windows code page."""
    head = data[:4096]
    named = [encoding for mark, encoding in _MARKS.items() if data.startswith(mark)]
    for parity, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) >= 4 and head[parity::2].count(0) > 0.4 * len(head):
            named.append(encoding)
    return named[:1] or ["utf-8", "cp1252", "latin-1"]
