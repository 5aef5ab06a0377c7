"""Every kind of damage to a JPEG is found, and no sound one is called damaged."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image

from wbcbench.data.jpeg import DamagedJpegError, decode_jpeg

SEEDS = range(48)
ENCODINGS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restart markers": [cv2.IMWRITE_JPEG_RST_INTERVAL, 5],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    "own code tables": [cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, 40],
}
END = b"\xff\xd9"


def picture(seed: int, *, grey: bool = False) -> np.ndarray:
    """A noisy picture uint8 ``[240, 320(, 3)]``, as large a file as a photograph of a cell."""
    rng = np.random.default_rng(seed)
    blocks = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (320, 240))
    noisy = np.clip(blocks + rng.normal(0, 8, blocks.shape), 0, 255).astype(np.uint8)
    return noisy[..., 0] if grey else noisy


@cache
def encode(seed: int, encoding: str | None = None) -> bytes:
    """One of the encodings, by turns; every other one grey."""
    names = list(ENCODINGS)
    settings = ENCODINGS[encoding or names[seed % len(names)]]
    return cv2.imencode(".jpeg", picture(seed, grey=seed % 2 == 1), settings)[1].tobytes()


def add_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """The file with a segment right after its start."""
    length = (len(content) + 2).to_bytes(2, "big")
    return data[:2] + bytes((0xFF, marker)) + length + content + data[2:]


def exif(orientation: int, thumbnail: bytes = b"") -> bytes:
    """An Exif segment that says which way is up; a thumbnail may follow."""
    tag = b"\x12\x01\x03\x00\x01\x00\x00\x00" + orientation.to_bytes(4, "little")
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tag + bytes(4) + thumbnail


def zero_middle(data: bytes) -> bytes:
    half, quarter = len(data) // 2, len(data) // 4
    return data[:half] + bytes(quarter) + data[half + quarter :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a zeroed quarter": zero_middle,
    "zeros to the end": lambda data: data[: len(data) // 2] + bytes(len(data) // 2),
    "cut": lambda data: data[: len(data) // 2],
    "cut and closed": lambda data: data[: len(data) // 2] + END,
    "a piece missing": lambda data: data[: len(data) // 2] + data[len(data) * 5 // 8 :],
    "glued": lambda data: data + encode(99),
    "glued after padding": lambda data: data + bytes(512) + encode(99),
    "cut and glued": lambda data: data[: len(data) // 2] + encode(99),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_found_whatever_its_encoding(damage: str) -> None:
    for seed in SEEDS:
        with pytest.raises(DamagedJpegError):
            decode_jpeg(DAMAGES[damage](encode(seed)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_that_was_cut_anywhere_and_closed_is_found(encoding: str) -> None:
    whole = encode(2, encoding)
    for end in range(3, len(whole) - 3, 101):
        with pytest.raises(DamagedJpegError):
            decode_jpeg(whole[:end] + END)
        with pytest.raises(DamagedJpegError):
            decode_jpeg(whole[:end])


def test_a_progressive_file_that_lacks_its_last_scans_is_found() -> None:
    """Each scan that is left is whole, so that a decoder has nothing to say."""
    whole = encode(2, "progressive")
    scans = [found.start() for found in re.finditer(b"\xff\xda", whole)]
    assert len(scans) > 5
    for start in scans[1:]:
        tables = whole.rfind(b"\xff\xc4", 0, start)
        for end in (start, tables if tables > scans[0] else start):
            with pytest.raises(DamagedJpegError, match="do not reach the end"):
                decode_jpeg(whole[:end] + END)


SOUND: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "padding after the end": lambda data: data + bytes(300),
    "a camera's data after the end": lambda data: data + b"SEFT\x01" + bytes(range(256)),
    "a thumbnail": lambda data: add_segment(data, 0xE1, exif(1, encode(50)[:20_000])),
    "a comment": lambda data: add_segment(data, 0xFE, b"\xff\xd9\xff\xda no marker \xff\xd8\xff"),
    "an empty comment": lambda data: add_segment(data, 0xFE, b""),
    "previews that it announces": lambda d: add_segment(d, 0xE2, b"MPF\0II*\0") + encode(98),
}


@pytest.mark.parametrize("extra", SOUND)
def test_no_sound_file_is_called_damaged_and_pixels_are_those_of_imread(extra: str) -> None:
    for seed in SEEDS:
        data = SOUND[extra](encode(seed))
        plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(decode_jpeg(data), plain[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_the_camera_was_held(orientation: int) -> None:
    data = add_segment(encode(0), 0xE1, exif(orientation))
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_jpeg(data), plain[..., ::-1])
    assert (decode_jpeg(data).shape == (320, 240, 3)) == (orientation > 4)


def test_an_image_made_for_print_is_read_as_before_and_its_damage_is_found() -> None:
    stream = io.BytesIO()
    Image.fromarray(picture(0)).convert("CMYK").save(stream, "JPEG")
    data = stream.getvalue()
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_jpeg(data), plain[..., ::-1])
    with pytest.raises(DamagedJpegError):
        decode_jpeg(zero_middle(data))


@pytest.mark.parametrize("side", [16_000, 65_500])
def test_a_header_of_too_many_pixels_is_refused_before_memory_is_taken(side: int) -> None:
    data = bytearray(encode(0))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = side.to_bytes(2, "big") * 2
    with pytest.raises(DamagedJpegError, match=f"claims {side:,} × {side:,} pixels"):
        decode_jpeg(bytes(data))


KINDS = {
    b"": "is empty",
    b"\x89PNG\r\n\x1a\n": "is a PNG image, not a JPEG",
    b"GIF89a": "is a GIF image, not a JPEG",
    b"<!DOCTYPE html><title>404</title>": "is a page of HTML or XML, not a JPEG",
    b"version https://git-lfs.github.com/spec/v1\n": "is a pointer of Git LFS, not a JPEG",
    b"not an image": "is not a JPEG",
    b"\xff\xd8\xff\xd9": "cannot be decoded",
    b"\xff\xd8\xff\xda\x00\x03\x01" + END: "do not reach the end",
    b"\xff\xd8\xff\xe0\x00\x00" + END: "do not reach the end",
}


@pytest.mark.parametrize("content", KINDS)
def test_a_file_of_another_kind_is_called_what_it_is(content: bytes) -> None:
    with pytest.raises(DamagedJpegError, match=KINDS[content]):
        decode_jpeg(content)


def test_the_decoders_say_nothing_on_standard_error() -> None:
    program = (
        "import sys\n"
        "from wbcbench.data.jpeg import DamagedJpegError, decode_jpeg\n"
        "try:\n    decode_jpeg(sys.stdin.buffer.read())\n"
        "except DamagedJpegError:\n    sys.exit(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=zero_middle(encode(0)),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (9, b"", b"")
