"""What can be said of a JPEG file from its bytes alone: is it one, is it whole, who made it.

Markers are those of ITU-T T.81, annex B: SOI opens the file, SOS opens a scan, EOI closes the
file. Inside a scan a 0xFF byte is always followed by 0x00 or a restart marker, so an EOI after
the last SOS is a real one. Some decoders fill the missing part of a cut file with grey and say
nothing; this is why the end is looked for here.
"""

from __future__ import annotations

import re

_SOI, _SOS, _EOI = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_COMMENT = b"\xff\xfe"
_SYNTHETIC = re.compile(rb"wbcbench synthetic cells v(\d+)")
_KNOWN_STARTS = {
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"RIFF": "a WebP image or other RIFF file",
    b"PK\x03\x04": "a zip archive",
}


def complaint(data: bytes) -> str | None:
    """Return why ``data`` is not a whole JPEG file, or ``None`` if it looks like one."""
    if not data:
        return "is empty (0 bytes)"
    if not data.startswith(_SOI):
        kind = next((k for start, k in _KNOWN_STARTS.items() if data.startswith(start)), None)
        return f"is {kind}, not a JPEG" if kind else "is not a JPEG"
    if data.rfind(_EOI) <= data.rfind(_SOS):
        return f"is truncated: its {len(data)} bytes stop before the end of the image"
    return None


def with_comment(data: bytes, text: str) -> bytes:
    """Return the JPEG ``data`` with ``text`` as a comment right after its first segment."""
    after_first = 4 + int.from_bytes(data[4:6], "big")
    comment = text.encode("ascii")
    segment = _COMMENT + (len(comment) + 2).to_bytes(2, "big") + comment
    return data[:after_first] + segment + data[after_first:]


def synthetic_version(data: bytes) -> int | None:
    """Return the generator version that a synthetic image carries, ``None`` for other images."""
    found = _SYNTHETIC.search(data, 0, 128)
    return int(found[1]) if found else None
