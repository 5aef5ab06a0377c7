"""JPEG files: whether one is whole and sound, and its pixels.

A decoder that forgives fills what is missing with grey, or shows other pixels than were taken, and
says so on standard error at most. Here every remark of the decoder is an error.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PIXELS = 1 << 27
"""Above this, 400 MB decoded, a header is taken for damage."""

_KNOWN_STARTS = {
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"RIFF": "a WebP image or other RIFF file",
    b"PK\x03\x04": "a zip archive",
    b"<": "a page of HTML or XML",
    b"version https://git-lfs": "a pointer of Git LFS",
}
_START = b"\xff\xd8\xff"
_SEQUENTIAL_OR_PROGRESSIVE = b"\xc0\xc1\xc2\xc9\xca"
_SCAN, _END, _COMMENT, _IMAGE = 0xDA, 0xD9, 0xFE, 0xD8
_PREVIEWS = b"MPF\0"  # CIPA DC-007: cameras keep previews and depth after the image
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")  # but not those inside the data of a scan
_ALL_COEFFICIENTS = (1 << 64) - 1


class DamagedJpegError(ValueError):
    """The file is no sound JPEG; the message goes on from the file's name."""


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a file that is a sound JPEG from its first byte to its end.

    They are those of ``cv2.imread``, which stands in where a camera says which way is up, or where
    an image was made for print: the other decoder, stricter and as exact, knows neither.

    Args:
        data: The file's bytes.

    Returns:
        uint8 ``[height, width, 3]``, RGB.

    Raises:
        DamagedJpegError: It is none.
    """
    import cv2
    import numpy as np
    import simplejpeg

    _require_whole(data)
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        pixels = simplejpeg.decode_jpeg(data) if height * width <= MOST_PIXELS else None
    except ValueError as error:
        raise DamagedJpegError(f"cannot be decoded: {error}") from error
    if pixels is not None and (b"Exif\0" in data or colours in {"CMYK", "YCCK"}):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise DamagedJpegError(f"cannot be decoded: it claims {width:,} × {height:,} pixels")
    return np.asarray(pixels, np.uint8)


def add_jpeg_comment(data: bytes, text: str) -> bytes:
    """Return the JPEG ``data`` with ``text`` as a comment right after its first segment."""
    after_first = 4 + int.from_bytes(data[4:6], "big")
    comment = text.encode("ascii")
    segment = bytes((0xFF, _COMMENT)) + (len(comment) + 2).to_bytes(2, "big") + comment
    return data[:after_first] + segment + data[after_first:]


def _require_whole(data: bytes) -> None:
    if not data:
        raise DamagedJpegError("is empty (0 bytes)")
    if not data.startswith(_START):
        kind = next((k for start, k in _KNOWN_STARTS.items() if data.startswith(start)), None)
        raise DamagedJpegError(f"is {kind}, not a JPEG" if kind else "is not a JPEG")
    end = _find_end(data)
    if end is None:
        raise DamagedJpegError(
            f"is truncated or damaged: its {len(data)} bytes do not reach the end of the image"
        )
    # Padding, a camera's own data and previews that the image announces may follow.
    if data.find(_PREVIEWS, 0, end) < 0 and _holds_image(data, end):
        raise DamagedJpegError(f"holds a second image after its end at byte {end}")


# Markers are those of ITU-T T.81, annex B: after the start of the image (SOI) segments of stated
# length, of which a start of scan (SOS) is followed by coded data, up to the end (EOI). A thumbnail
# has its own end, inside a segment. Decoders do not miss scans that were cut off: each coefficient
# of each component must have been sent to its last bit.
def _find_end(data: bytes) -> int | None:
    """Return where the image ends; ``None`` if it does not, or if scans are missing."""
    place, unsent = 2, dict[int, int]()
    while marker := _MARKER.search(data, place):
        code, start = marker[1][0], marker.end()
        if code == _END:
            return None if any(unsent.values()) else start
        length = int.from_bytes(data[start : start + 2], "big")
        place, segment = start + length, data[start + 2 : start + length]
        if code == _IMAGE or length < 2 or (code == _SCAN and len(segment) < 6):
            return None
        if code in _SEQUENTIAL_OR_PROGRESSIVE:
            unsent = dict.fromkeys(segment[6::3], _ALL_COEFFICIENTS)
        elif code == _SCAN:
            components, (first, last, bits) = segment[1:-3:2], segment[-3:]
            sent = 0 if bits & 0xF else _ALL_COEFFICIENTS << first & (2 << last) - 1
            unsent = {k: v & ~sent if k in components else v for k, v in unsent.items()}
    return None


def _holds_image(data: bytes, after: int) -> bool:
    """Whether another image begins after this byte: one whose size can be read."""
    import simplejpeg

    for start in re.finditer(_START, data[after:]):
        with contextlib.suppress(ValueError):
            simplejpeg.decode_jpeg_header(memoryview(data)[after + start.start() :], strict=False)
            return True
    return False
