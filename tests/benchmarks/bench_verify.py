"""Does verify verify? Every kind of tampering on unlike bundles, and honest bundles beside them.

    python tests/benchmarks/bench_verify.py [--times N] [--honest N] [--only WORDS …] [--write]

Seeds are fixed: the same numbers give the same table. ``--write`` puts the table of all kinds into
``harness/VERIFICATION.md``, if no honest bundle raises an alarm; with ``--only``, the rows of those
kinds. Exits with 1 when an honest one does, when a tampering goes unnoticed that is not known to be
beyond a bundle or fits none, or when fewer are errors than is asked for.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from shutil import copytree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign  # noqa: E402
from builders.study import VARIANTS  # noqa: E402
from tamperings import BEYOND, KINDS  # noqa: E402
from tamperings.made_again import UnfitError  # noqa: E402
from tamperings.trials import (  # noqa: E402
    BASES,
    Base,
    Tried,
    as_table,
    bundle,
    errors,
    share_caught,
    tried_on_any,
)  # fmt: skip

PAGE = ROOT / "harness" / "VERIFICATION.md"
BEGIN, END = "<!-- bench-verify: begin -->", "<!-- bench-verify: end -->"
PROCESSES = 2
AGAIN = ("everything", "manifests")
HEAD = as_table([]).splitlines()
ROW = re.compile(
    r"\| (?P<kind>.+) \| (?P<again>everything|manifests) \| (?P<tried>\d+) \| (?P<error>\d+) "
    r"\| .* \| (?P<other>.*) \|"
)
LEAST_FORGED, LEAST_EDITED = 0.55, 0.95
"""Of tamperings from which everything was made again, and of those with fitting manifests."""


def honest(number: int) -> StudyDesign:
    """Different studies: sizes, seeds, ends, machines, image sets."""
    ends = ("done", "failed", "interrupted", "unwatched")
    spoiled = ends[number % 4]
    return StudyDesign(
        study=f"study-{number}",
        blocks=1 + number % 3,
        variants=VARIANTS[: 1 + number % 4],
        seed=10 + number,
        epochs=2 + number % 2,
        planned=number % 5 != 4,
        gpu=number % 3 != 1,
        published=number % 7 == 6,
        ends=lambda spec: spoiled if spec.order_global == 2 else "done",
        again=(1,) if number % 6 == 5 else (),
        changes={"validation": "published"},
    )


def judge_honest(number: int) -> list[str]:
    """Alarms on an honest bundle."""
    with tempfile.TemporaryDirectory() as room:
        found = errors(bundle(honest(number), Path(room)))
    print(f"honest {number}: {len(found)} alarms", file=sys.stderr, flush=True)
    return [f"honest {number}: {name} {detail}" for name, detail in found.items()]


_bases: list[Base] = []


def copy_bases(room: Path) -> None:
    """Give a process bundles of its own to tamper with."""
    own = Path(tempfile.mkdtemp(dir=room))
    for folder in sorted((room / "bases").iterdir()):
        copytree(folder, own / folder.name)
        _bases.append(Base(folder.name, own / folder.name))


def try_kind(trial: tuple[int, str]) -> Tried | None:
    """Tamper once with one of the bundles; ``None`` where none has anything of the kind."""
    seed, kind = trial
    try:
        found = tried_on_any(_bases, kind, seed)
    except UnfitError:
        return None
    by = ", ".join(found.caught_by or found.unchecked) or "NOT CAUGHT"
    print(f"{kind} ({found.base}, seed {seed}): {by}", file=sys.stderr, flush=True)
    return found


def report(rows: Mapping[str, re.Match[str]], honest_count: int) -> str:
    """The table with sentences before it."""
    (forged, caught_forged), (edited, caught_edited) = (
        count_rows(row for row in rows.values() if row["again"] == again) for again in AGAIN
    )
    lines = [*HEAD, *(row[0] for row in rows.values())]
    return (
        f"{forged + edited} tamperings of {len(rows)} kinds on {len(BASES)} bundles. "
        f"Where everything else was made again by the program itself, {caught_forged} of "
        f"{forged} do not verify; with manifests made to fit, {caught_edited} of "
        f"{edited}. {honest_count} honest bundles of different studies: no alarm.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def count_rows(rows: Iterable[re.Match[str]]) -> tuple[int, int]:
    """How many tamperings, and how many of the bundles count as verified no more."""
    tried = caught = 0
    for row in rows:
        tried += int(row["tried"])
        is_unchecked = "not checked:" in row["other"]
        caught += int(row["tried"] if is_unchecked else row["error"])
    return tried, caught


def read_rows(text: str) -> dict[str, re.Match[str]]:
    """The rows of a table, by kind, in the order of all kinds."""
    found = {row["kind"]: row for row in map(ROW.fullmatch, text.splitlines()) if row}
    return {kind: found[kind] for kind in KINDS if kind in found}


def split(found: list[Tried]) -> tuple[list[Tried], list[Tried]]:
    """Those from which everything was made again, and the others."""
    forged = [each for each in found if KINDS[each.kind].is_forged]
    return forged, [each for each in found if each not in forged]


def read_page() -> tuple[str, str, str]:
    """The page before the table, the table with its sentences, and the rest."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return head, *rest.split(END)


def write(text: str) -> None:
    """Put the table into the page."""
    head, _, tail = read_page()
    PAGE.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=1)
    options.add_argument("--honest", type=int, default=12)
    options.add_argument("--only", nargs="+", default=[])
    options.add_argument("--write", action="store_true")
    asked = options.parse_args()
    began = time.monotonic()
    kinds = [k for k in KINDS if not asked.only or any(word in k for word in asked.only)]
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        for base, design in BASES.items():
            bundle(design, room / "bases" / base)
        with ProcessPoolExecutor(PROCESSES, initializer=copy_bases, initargs=(room,)) as pool:
            alarms = [a for each in pool.map(judge_honest, range(asked.honest)) for a in each]
            trials = list(product(range(asked.times), kinds))
            tried = dict(zip(trials, pool.map(try_kind, trials), strict=True))
    found = [each for each in tried.values() if each]
    unfit = sorted({kind for (_, kind), each in tried.items() if each is None})
    new = as_table(found)
    print(new)
    unnoticed = sorted({each.kind for each in found if not each.is_known})
    problems = [*(f"unnoticed: {kind}" for kind in unnoticed), *(f"unfit: {k}" for k in unfit)]
    print("\n".join([*alarms, *problems]))
    caught = {each.kind for each in found if each.is_caught}
    print("\n".join(f"found after all: {kind}" for kind in BEYOND if kind in caught))
    print(f"{time.monotonic() - began:.0f} s")
    forged, edited = split(found)
    shares = share_caught(forged) >= LEAST_FORGED, share_caught(edited) >= LEAST_EDITED
    good = not alarms and not problems and all(shares)
    if asked.write and not alarms:
        _, before, _ = read_page()
        rows, honest_count = read_rows(new), asked.honest
        if asked.only:  # the other rows stay, and so does what is said of honest bundles
            rows = read_rows(f"{before}\n{new}")
            honest_count = int(re.findall(r"(\d+) honest bundles", before)[0])
        write(report(rows, honest_count))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
