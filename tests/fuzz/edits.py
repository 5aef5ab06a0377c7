"""Small random edits of files, each as careless people and broken tools make them.

An edit takes a path and a random generator, changes what lies there, and returns in words what it
did. ``edit_file`` chooses one that suits the file.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

Edit = Callable[[Path, random.Random], str]

TABLES = {".csv", ".tsv"}
WORDS = (
    "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-1", "0", "1e-320", "1,5", "1.5.2", "1'000",
    "null", "None", "true", "÷", "±", "\x00", "\x1b[31m", "\ud800", "\u202e", "=1+1", "'", '"',
    "a" * 300,
    "99999999999999999999999", "9" * 5000, "2026-02-30T25:61:00Z", "../..", "/dev/null", "-0.0",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, 1e308, 0.1, "", "x", "nan", [], {}, [[]], {"a": 1}, [None],
    "2026-02-30", "\x1b[2J", "é" * 40, -0.0,
)  # fmt: skip
LITERALS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "[" * 3000 + "]" * 3000,
    '"\\ud800"',
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-8-sig", "cp1252", "latin-1", "utf-32", "cp037")


def _rewrite(path: Path, data: bytes) -> None:
    path.unlink()  # it may be a link that others share
    path.write_bytes(data)


# --- of any file ----------------------------------------------------------------------------------


def flip_bytes(path: Path, rng: random.Random) -> str:
    """One to eight bytes become others."""
    data = bytearray(path.read_bytes() or b"?")
    places = [rng.randrange(len(data)) for _ in range(rng.randint(1, 8))]
    for place in places:
        data[place] = rng.randrange(256)
    _rewrite(path, bytes(data))
    return f"bytes {places} changed"


def cut(path: Path, rng: random.Random) -> str:
    """The end is missing."""
    data = path.read_bytes()
    size = rng.randint(0, max(0, len(data) - 1))
    _rewrite(path, data[:size])
    return f"cut to {size} of {len(data)} bytes"


def zero_part(path: Path, rng: random.Random) -> str:
    """A stretch is zeros, as in a sparse copy."""
    data = bytearray(path.read_bytes())
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice((1, 16, 512, 4096)))
    data[start:end] = bytes(end - start)
    _rewrite(path, bytes(data))
    return f"bytes {start} to {end} zeroed"


def remove_part(path: Path, rng: random.Random) -> str:
    """A stretch is gone."""
    data = path.read_bytes()
    start = rng.randint(0, len(data))
    end = start + rng.choice((1, 7, 100, 5000))
    _rewrite(path, data[:start] + data[end:])
    return f"bytes {start} to {end} removed"


def repeat_part(path: Path, rng: random.Random) -> str:
    """A stretch stands twice."""
    data = path.read_bytes()
    start = rng.randint(0, len(data))
    end = start + rng.choice((1, 7, 100, 5000))
    _rewrite(path, data[:end] + data[start:end] + data[end:])
    return f"bytes {start} to {end} repeated"


def change_size(path: Path, rng: random.Random) -> str:
    """Empty, or followed by a lot."""
    kind = rng.choice(("empty", "spaces", "zeros", "itself"))
    data = path.read_bytes()
    more = {"spaces": b" " * 3_000_000, "zeros": bytes(3_000_000), "itself": data}
    _rewrite(path, b"" if kind == "empty" else data + more[kind])
    return f"size: {kind}"


def change_type(path: Path, rng: random.Random) -> str:
    """Something else stands under its name."""
    kinds = ["missing", "folder", "loop", "dangling", "gzip", "link"]
    # A pipe that the user names, as a plan may be, is waited for.
    if path.suffix == ".json" and path.name != "plan.json":
        kinds.append("pipe")
    kind = rng.choice(kinds)
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("not-there")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "gzip":
        path.write_bytes(gzip.compress(data))
    elif kind == "link":
        other = path.with_name(f"{path.name}-elsewhere")
        other.write_bytes(data)
        path.symlink_to(other.name)
    return f"is now: {kind}"


# --- of texts -------------------------------------------------------------------------------------


def change_lines(path: Path, rng: random.Random) -> str:
    """Lines go, come twice, change places."""
    lines = path.read_bytes().split(b"\n")
    kind = rng.choice(("drop", "repeat", "swap", "reverse", "shuffle", "join", "split"))
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    if kind == "drop":
        del lines[a]
    elif kind == "repeat":
        lines.insert(a, lines[b])
    elif kind == "swap":
        lines[a], lines[b] = lines[b], lines[a]
    elif kind == "reverse":
        lines.reverse()
    elif kind == "shuffle":
        rng.shuffle(lines)
    elif kind == "join":
        lines[a : a + 2] = [b"".join(lines[a : a + 2])]
    else:
        middle = len(lines[a]) // 2
        lines[a : a + 1] = [lines[a][:middle], lines[a][middle:]]
    _rewrite(path, b"\n".join(lines))
    return f"lines {a}, {b}: {kind}"


def change_encoding(path: Path, rng: random.Random) -> str:
    """Saved again by a program that writes another encoding, or other line ends."""
    text = path.read_bytes().decode(errors="replace")
    ends = rng.choice(("\n", "\r\n", "\r", "\n\n"))
    encoding = rng.choice(ENCODINGS)
    _rewrite(path, text.replace("\n", ends).encode(encoding, errors="replace"))
    return f"as {encoding} with line ends {ends!r}"


def insert_word(path: Path, rng: random.Random) -> str:
    """A word appears somewhere."""
    data = path.read_bytes()
    word, place = rng.choice(WORDS), rng.randint(0, len(data))
    _rewrite(path, data[:place] + word.encode(errors="surrogatepass") + data[place:])
    return f"{word[:40]!r} inserted at {place}"


def replace_number(path: Path, rng: random.Random) -> str:
    """A number of the text becomes a word that is none, or an odd one."""
    text = path.read_bytes().decode("latin-1")
    starts = [i for i, c in enumerate(text) if c.isdigit() and not text[i - 1 : i].isalnum()]
    if not starts:
        return insert_word(path, rng)
    start = end = rng.choice(starts)
    while end < len(text) and (text[end].isalnum() or text[end] in ".+"):
        end += 1
    word = rng.choice((*WORDS, *LITERALS))
    changed = text[:start].encode("latin-1") + word.encode(errors="surrogatepass")
    _rewrite(path, changed + text[end:].encode("latin-1"))
    return f"{text[start:end][:40]!r} at {start} became {word[:40]!r}"


# --- of tables ------------------------------------------------------------------------------------


def change_table(path: Path, rng: random.Random) -> str:
    """A column goes, comes twice, gets another name or another place; a cell changes."""
    rows = [line.split(",") for line in path.read_text("latin-1").splitlines()]
    column = rng.randrange(len(rows[0])) if rows else 0
    row = rng.randrange(len(rows)) if rows else 0
    kind = rng.choice(("drop", "repeat", "rename", "move", "cell", "ragged", "semicolons"))
    for number, cells in enumerate(rows):
        if column >= len(cells):
            continue
        if kind == "drop":
            del cells[column]
        elif kind == "repeat":
            cells.append(cells[column])
        elif kind == "move":
            cells.insert(0, cells.pop(column))
        elif (kind == "rename" and number == 0) or (kind == "cell" and number == row):
            cells[column] = rng.choice(WORDS)
        elif kind == "ragged" and number == row:
            cells += ["1", "2"]
    mark = ";" if kind == "semicolons" else ","
    text = "\n".join(mark.join(cells) for cells in rows)
    _rewrite(path, text.encode(errors="surrogatepass"))
    return f"{kind}: column {column}, row {row}"


def change_parquet(path: Path, rng: random.Random) -> str:
    """A table as another program would write it again: columns, types, order, holes."""
    table = pd.read_parquet(path)
    column = rng.choice(list(table.columns))
    kind = rng.choice(("drop", "rename", "text", "holes", "inf", "order", "none", "few"))
    if kind == "drop":
        table = table.drop(columns=column)
    elif kind == "rename":
        table = table.rename(columns={column: "x"})
    elif kind == "text":
        table[column] = table[column].astype(str)
    elif kind in {"holes", "inf"} and table[column].dtype.kind == "f":
        table.loc[table.index[:: rng.randint(2, 9)], column] = float(
            "nan" if kind == "holes" else "inf"
        )
    elif kind == "order":
        table = table.iloc[::-1]
    elif kind == "none":
        table = table.iloc[:0]
    elif kind == "few":
        table = table.iloc[: rng.randint(1, 3)]
    path.unlink()
    table.to_parquet(path, index=False)
    return f"{kind}: {column}"


# --- of documents ---------------------------------------------------------------------------------


def change_json(path: Path, rng: random.Random) -> str:
    """A value of the document becomes another, goes, or is no JSON at all."""
    document = json.loads(path.read_bytes())
    places = list(_walk(document, ()))
    if not places:
        return insert_word(path, rng)
    place = rng.choice(places)
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    kind = rng.choice(("value", "value", "remove", "literal", "extra"))
    if kind == "remove":
        del parent[place[-1]]
    elif kind == "extra" and isinstance(parent, dict):
        parent[rng.choice(WORDS)[:300]] = rng.choice(VALUES)
    else:
        parent[place[-1]] = "PLACE" if kind == "literal" else rng.choice(VALUES)
    literal = rng.choice(LITERALS)
    text = json.dumps(document, indent=1).replace('"PLACE"', literal)
    _rewrite(path, text.encode())
    return f"{'.'.join(map(str, place))}: {kind} {literal[:20] if kind == 'literal' else ''}"


def _walk(value: Any, place: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
    if isinstance(value, dict):
        inner = [_walk(item, (*place, key)) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [_walk(item, (*place, i)) for i, item in enumerate(value[:20])]
    else:
        inner = []
    own = [place] if place else []
    return own + [p for places in inner for p in places]


ANY: tuple[Edit, ...] = (
    flip_bytes, cut, zero_part, remove_part, repeat_part, change_size, change_type,
)  # fmt: skip
TEXT: tuple[Edit, ...] = (change_lines, change_encoding, insert_word, replace_number)


def edit_file(path: Path, rng: random.Random) -> str:
    """Make one edit that suits the file; returns what was done."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        edits = (*ANY, *[change_parquet] * 6)
    elif suffix in {".jpeg", ".zip"}:
        edits = ANY
    elif suffix == ".json":
        edits = (*ANY, *TEXT, *[change_json] * 8, replace_number, replace_number)
    elif suffix in TABLES:
        edits = (*ANY, *TEXT, *[change_table] * 4, replace_number, replace_number)
    else:
        edits = (*ANY, *TEXT, *[replace_number] * 3)
    edit = rng.choice(edits)
    return f"{path.name}: {edit.__name__}, {edit(path, rng)}"


def copy_world(source: Path, target: Path) -> None:
    """A fresh copy to spoil."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
