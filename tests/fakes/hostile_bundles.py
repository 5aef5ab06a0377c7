"""Zips and folders that a third party with bad intentions would send, each as small as can be."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

BAGIT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip of these files, under exactly these names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bagit.txt", BAGIT)
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def of_kind(path: Path, kind: int, target: bytes = b"/etc/passwd") -> Path:
    """A zip with one member that claims to be a link, a device or a pipe."""
    member = zipfile.ZipInfo("data/odd")
    member.create_system = 3
    member.external_attr = (kind | 0o644) << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("bagit.txt", BAGIT)
        packed.writestr(member, target)
    return path


def named_twice(path: Path, name: str, other: str) -> Path:
    """A member that one program unpacks under one name, and another under the other."""
    member = zipfile.ZipInfo(name)
    words = b"\1" + zlib.crc32(name.encode()).to_bytes(4, "little") + other.encode()
    member.extra = struct.pack("<2H", 0x7075, len(words)) + words
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("bagit.txt", BAGIT)
        packed.writestr(member, b"x")
    return path


def twice(path: Path, one: str, other: str) -> Path:
    """Two members whose names are one file on some system."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("bagit.txt", BAGIT)
        for name in (one, other):
            packed.writestr(zipfile.ZipInfo(name), b"x")
    return path


def bomb(path: Path, megabytes: int) -> Path:
    """Zeros: a thousandth of their size when packed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bagit.txt", BAGIT)
        with packed.open("data/zeros.csv", "w", force_zip64=True) as out:
            for _ in range(megabytes):
                out.write(bytes(1_000_000))
    return path


def lying(path: Path, stated: int = 10) -> Path:
    """A member whose headers say it has ten bytes, and which unpacks to five million."""
    bomb(path, 5)
    data = bytearray(path.read_bytes())
    true = struct.pack("<I", 5_000_000)
    while (at := data.find(true)) >= 0:
        data[at : at + 4] = struct.pack("<I", stated)
    path.write_bytes(bytes(data))
    return path


def flagged(path: Path, flag: int) -> Path:
    """A member whose flags say that it is encrypted, or a patch."""
    zipped(path, {"data/x.txt": b"x"})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02", data.find(b"PK\x01\x02") + 4)
    data[at + 8 : at + 10] = struct.pack("<H", flag)
    path.write_bytes(bytes(data))
    return path


def overlapping(path: Path) -> Path:
    """Two entries of the table of contents that name the same packed bytes."""
    zipped(path, {"data/a.txt": b"a" * 1000, "data/b.txt": b"a" * 1000})
    data = bytearray(path.read_bytes())
    entries = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    first, second = entries[1:3]
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(bytes(data))
    return path


def crowded(path: Path, files: int) -> Path:
    """So many empty files that their table of contents alone fills memory."""
    local, central, at = [], [], 0
    for i in range(files):
        name = f"d/{i}".encode()
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
        central.append(
            struct.pack(
                "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, at
            )
            + name
        )
        local.append(head)
        at += len(head)
    index = b"".join(central)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(index), at, 0)
    path.write_bytes(b"".join(local) + index + end)
    return path


def lying_parquet(path: Path) -> Path:
    """A footer that says it is a gigabyte long."""
    path.write_bytes(b"PAR1" + bytes(100) + struct.pack("<I", 1 << 30) + b"PAR1")
    return path


def wide_parquet(path: Path, columns: Mapping[str, object], **options: object) -> Path:
    """A table as pyarrow writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), path, **options)
    return path


def hidden(path: Path) -> dict[str, bytes]:
    """The same zip with bytes that one program sees and another does not, by where they are."""
    whole = zipped(path, {"data/a.txt": b"a" * 100, "data/b.txt": b"b" * 100}).read_bytes()
    index_at = whole.index(b"PK\1\2")
    second = whole.index(b"PK\3\4", 4)
    end = whole[-22:]
    moved = end[:16] + struct.pack("<L", index_at + 9) + end[20:]
    renamed = bytearray(whole)
    at = renamed.index(b"data/a.txt")
    renamed[at : at + 10] = b"data/c.txt"
    resized = bytearray(whole)
    resized[second + 22 : second + 26] = struct.pack("<L", 99)
    return {
        "before the first file": b"#!/bin/sh\n" + whole,
        "after the end": whole + b"evil",
        "in the comment": whole[:-2] + struct.pack("<H", 4) + b"evil",
        "before the index": whole[:index_at] + b"evil file" + whole[index_at:-22] + moved,
        "after the index": whole[:-22] + b"evil" + end,
        "a second end": whole + end,
        "another count": whole[:-12] + struct.pack("<H", 2) + whole[-10:],
        "another name in the file's own header": bytes(renamed),
        "another size in the file's own header": bytes(resized),
    }


def later_sizes(path: Path, files: Mapping[str, bytes], *, stated: int | None = None) -> Path:
    """A zip whose sizes follow the bytes, as Finder writes them; ``stated`` is another size."""

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in {"bagit.txt": BAGIT.encode(), **files}.items():
            packed.writestr(name, data)
    data = pipe.getvalue()
    if stated is not None:
        at = data.index(b"PK\7\x08")
        data = data[: at + 12] + struct.pack("<L", stated) + data[at + 16 :]
    path.write_bytes(data)
    return path


def keras_archive(path: Path) -> Path:
    """What Keras saves of a network with a lambda layer: code that runs when it is loaded."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("config.json", '{"class_name": "Lambda", "config": {"function": "…"}}')
    return path


MODES: Mapping[str, int] = {
    "symbolic link": stat.S_IFLNK,
    "character device": stat.S_IFCHR,
    "block device": stat.S_IFBLK,
    "pipe": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}

NAMES: Mapping[str, str] = {
    "parent": "data/../../evil.txt",
    "only parents": "../evil.txt",
    "absolute": "/etc/evil.txt",
    "drive": "C:/evil.txt",
    "drive with backslash": "C:\\evil.txt",
    "network share": "\\\\server\\share\\evil.txt",
    "network share with slashes": "//server/share/evil.txt",
    "backslash parent": "data\\..\\..\\evil.txt",
    "alternate stream": "data/README.md:evil",
    "device": "data/CON.txt",
    "device with digit": "data/com1",
    "trailing dot": "data/README.md.",
    "trailing space": "data/README.md ",
    "empty part": "data//README.md",
    "dot part": "data/./README.md",
    "control character": "data/a\x1b[2Jb.txt",
    "right to left": "data/\u202etxt.exe.md",
    "long": f"data/{'a' * 201}.txt",
    "deep": "/".join(["d"] * 13) + "/x.txt",
}

PAIRS: Mapping[str, tuple[str, str]] = {
    "the same": ("data/a.txt", "data/a.txt"),
    "other case": ("data/README.md", "data/readme.md"),
    "folder in other case": ("data/x/a.txt", "DATA/x/a.txt"),
    "composed and decomposed": ("data/\u00e9.txt", "data/e\u0301.txt"),
    "compatible letters": ("data/\ufb01le.txt", "data/file.txt"),
    "file and folder": ("data/a", "data/a/b.txt"),
}

TEXTS: Mapping[str, tuple[str, bytes]] = {
    "not a number": ("data/a.json", b'{"energy_j": NaN}'),
    "infinity": ("data/a.json", b'{"energy_j": -Infinity}'),
    "infinite by size": ("data/a.json", b'{"energy_j": 1e999}'),
    "endless digits": ("data/a.json", b'{"a": ' + b"9" * 100_000 + b"}"),
    "key twice": ("data/a.json", b'{"energy_j": 1, "energy_j": 2}'),
    "deep": ("data/a.json", b"[" * 40 + b"]" * 40),
    "abyss": ("data/a.json", b"[" * 1_000_000),
    "deep message": ("data/a.jsonl", b'{"a":' * 100_000),
    "latin-1": ("data/a.md", "Größe".encode("latin-1")),
    "utf-16": ("data/a.json", '{"a": 1}'.encode("utf-16")),
    "byte order mark": ("data/a.json", b"\xef\xbb\xbf{}"),
    "zero byte": ("data/a.csv", b"a,b\n1,\x00\n"),
    "no JSON": ("data/a.json", b"{'a': 1}"),
    "too many values": ("data/a.json", b"[" + b"0," * 2_000_000 + b"0]"),
    "half a character": ("data/a.json", b'{"title": "\\ud83d"}'),
    "formula": ("data/a.csv", b'run,board\n1,"=HYPERLINK(""http://evil"")"\n'),
    "formula after a sign": ("data/a.csv", b"run,board\n1,-2+3+cmd|' /C calc'!A0\n"),
    "formula in a name of a column": ("data/a.csv", b"@SUM(A1)\n1\n"),
    "formula after a tab": ("data/a.csv", b"a,b\n1,\t=1+1\n"),
    "plus": ("data/a.csv", b"a,b\n1,+5\n"),
    "endless cell": ("data/a.csv", b'a\n"=' + b"x" * 200_000 + b'"\n'),
    "too many lines": ("data/a.csv", b"\n" * 1_000_001),
    "weights": ("data/weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "pickle": ("data/model.pkl", b"cos\nsystem\n(S'true'\ntR."),
    "program": ("data/run.sh", b"#!/bin/sh\n"),
}
