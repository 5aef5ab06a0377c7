"""One small edit of one file, the command that reads it, and whether that ended as it should."""

from __future__ import annotations

import hashlib
import json
import random
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.commands import DOCUMENTED, Said, say
from fuzz.edits import copy_world, edit_file
from fuzz.kinds import KINDS, FileKind
from wbcbench.core.run_folder import RECORD

MEAN_W = 1028.5  # of the logs as they are written
CHANGES_VALUES = (
    "flip_bytes",
    "insert_word",
    "replace_number",
    ": cell",
    "remove_part",
    "repeat_part",
)


@dataclass(frozen=True)
class Trial:
    """What came of one edit.

    Attributes:
        kind, seed: Which; the same two give the same edit and the same command.
        edit: What was done, in words.
        words: The command.
        code: Its exit status.
        problems: What is wrong; empty where all is as it should be.
        err: What the command said on standard error.
    """

    kind: str
    seed: int
    edit: str
    words: tuple[str, ...]
    code: int
    problems: tuple[str, ...]
    err: str


class World:
    """The files of one kind, made once, and spoiled in a copy."""

    def __init__(self, kind: FileKind, room: Path) -> None:
        """Make them in ``room``."""
        self.kind, self.clean, self.spoiled = kind, room / "clean", room / "spoiled"
        self.clean.mkdir(parents=True)
        kind.make(self.clean)
        found = {p for pattern in kind.patterns for p in self.clean.glob(pattern) if p.is_file()}
        self.files = sorted(path.relative_to(self.clean) for path in found)

    def try_edit(self, name: str, seed: int) -> Trial:
        """Spoil one file, run one command that reads it, and judge."""
        rng = random.Random(f"{name} {seed}")
        copy_world(self.clean, self.spoiled)
        path = self.spoiled / rng.choice(self.files)
        edit = edit_file(path, rng)
        words = self.kind.commands(self.spoiled, path, rng)
        before = _digest_records(self.spoiled)
        said = say(words, self.spoiled)
        problems = [*judge_end(said), *_judge_bundle(words, said, self.clean, self.spoiled)]
        problems += _judge_wall_log(said, edit)
        after = _digest_records(self.spoiled)
        lost = [p for p, digest in before.items() if after.get(p) != digest]
        problems += [f"{p} was changed or lost" for p in lost]
        if self.kind.survivor and not problems:
            other = say(self.kind.survivor, self.spoiled)
            problems += [f"{' '.join(self.kind.survivor)}: {p}" for p in judge_end(other)]
            if other.code != 0:
                problems.append(f"{' '.join(self.kind.survivor)} ended with {other.code}")
        return Trial(name, seed, edit, words, said.code, tuple(problems), said.err)


def judge_end(said: Said) -> Iterator[str]:
    """What no command may do, whatever it reads."""
    if said.code < 0:
        yield f"hangs or crashes: signal {-said.code}"
    elif said.code not in DOCUMENTED:
        yield f"exit status {said.code}"
    if "Traceback" in said.err or "Traceback" in said.out:
        yield "traceback"
    if said.code and not (said.err + said.out).strip():
        yield "fails without a word"
    if any(ord(c) < 32 and c not in "\n\t" for c in said.out + said.err):
        yield "control characters"
    if said.out.startswith("{"):
        yield from _judge_json(said.out)


def _judge_json(text: str) -> Iterator[str]:
    def refuse(word: str) -> Any:
        raise ValueError(f"the JSON holds {word}")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        yield f"no JSON: {error}"


def _judge_wall_log(said: Said, edit: str) -> Iterator[str]:
    """A log whose readings are as they were has their mean, and no other is another scale."""
    if said.code != 0 or '"preview"' not in said.out:
        return
    mean_w = json.loads(said.out)["preview"]["mean_power_w"]
    share = 0.003 if "change_encoding" in edit else 0.5
    if not any(word in edit for word in CHANGES_VALUES) and abs(mean_w / MEAN_W - 1) > share:
        yield f"mean power of {mean_w:.6g} W, where it is {MEAN_W:.6g} W"


def _judge_bundle(words: tuple[str, ...], said: Said, clean: Path, spoiled: Path) -> Iterator[str]:
    """A bundle that is verified holds what it held."""
    if words[0] != "verify" or said.code != 0:
        return
    name = words[1]
    try:
        if _read_bundle(clean / name) != _read_bundle(spoiled / name):
            yield "verified although it was changed"
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError) as error:
        yield f"verified although it cannot be read: {error}"


def _read_bundle(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file()]
        return {str(p.relative_to(path)): p.read_bytes() for p in files}
    with zipfile.ZipFile(path) as packed:
        return {n: packed.read(n) for n in packed.namelist()}


def _digest_records(folder: Path) -> dict[str, str]:
    """Records that stand there; what is no file is not read, for it may never end."""
    paths = [p for p in folder.glob(f"results/*/*/{RECORD}") if not p.is_symlink()]
    regular = [p for p in paths if stat.S_ISREG(p.stat().st_mode)]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in regular}


def make_worlds(room: Path, names: list[str] | None = None) -> dict[str, World]:
    """Every kind's files."""
    chosen = names or list(KINDS)
    return {name: World(KINDS[name], room / name.replace(" ", "-")) for name in chosen}


def plan_trials(count: int, first_seed: int, names: list[str]) -> list[tuple[str, int]]:
    """Kind and seed of each trial, kinds by their weight, in turns."""
    turns = [name for name in names for _ in range(KINDS[name].weight)]
    return [(turns[i % len(turns)], first_seed + i) for i in range(count)]
