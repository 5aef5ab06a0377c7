"""Does verify verify? Every kind of tampering three times, and twenty honest bundles.

    python tests/benchmarks/bench_verify.py [--times N] [--honest N] [--write]

Seeds are fixed: the same numbers give the same table. ``--write`` puts the table into
``harness/VERIFICATION.md``. Exits with 1 when less than 95 % are caught, when the manifests alone
miss one, or when an honest bundle raises an alarm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign  # noqa: E402
from builders.study import VARIANTS  # noqa: E402
from tamperings import KINDS, UNCAUGHT  # noqa: E402
from tamperings.bag import Bag  # noqa: E402
from tamperings.trials import (  # noqa: E402
    TWO,
    Tried,
    as_table,
    bundle,
    errors,
    share_caught,
    tried,
)  # fmt: skip

PAGE = ROOT / "harness" / "VERIFICATION.md"
BEGIN, END = "<!-- bench-verify: begin -->", "<!-- bench-verify: end -->"

BASES = {
    "with a block that was repeated": StudyDesign(blocks=2, variants=TWO, epochs=2, again=(2,)),
    "on the published images": StudyDesign(
        blocks=2, variants=TWO, epochs=2, published=True, seed=2
    ),
    "without a GPU": StudyDesign(blocks=2, variants=TWO, epochs=2, gpu=False, seed=3),
}


def honest(number: int) -> StudyDesign:
    """Twenty different studies: sizes, seeds, ends, machines, image sets."""
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


def judge_honest(count: int, room: Path) -> list[str]:
    """Alarms on honest bundles."""
    alarms = []
    for number in range(count):
        found = errors(bundle(honest(number), room / f"honest-{number}"))
        print(f"honest {number}: {len(found)} alarms", file=sys.stderr, flush=True)
        alarms += [f"honest {number}: {name} {each.detail}" for name, each in found.items()]
    return alarms


def try_all(times: int, room: Path) -> list[Tried]:
    """Each kind on each of the bundles in turn."""
    bags = {}
    for name, made in BASES.items():
        place = room / name.replace(" ", "-")
        bags[name] = Bag(bundle(made, place), place / "spare")
    named = list(bags.items())
    found = []
    for seed in range(times):
        for i, kind in enumerate(KINDS):
            base, bag = named[(i + seed) % len(named)]
            found.append(tried(base, bag, kind, seed))
            by = ", ".join(found[-1].caught_by) or "NOT CAUGHT"
            print(f"{len(found)}: {kind} ({base}, seed {seed}): {by}", file=sys.stderr, flush=True)
    return found


def report(found: list[Tried], honest_count: int, seconds: float) -> str:
    """The table with a sentence before it."""
    caught = sum(bool(each.caught_by) for each in found)
    seen = sum(each.seen_by_manifest for each in found)
    return (
        f"{len(found)} tamperings of {len(KINDS)} kinds on {len(BASES)} bundles. With the old "
        f"manifests V01 finds {seen} of {len(found)}; with manifests made to fit, {caught} are "
        f"found ({100 * share_caught(found):.1f} %). {honest_count} honest bundles of different "
        f"studies: no alarm.\n\n{as_table(found)}\n"
    )


def write(text: str) -> None:
    """Put the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=3)
    options.add_argument("--honest", type=int, default=20)
    options.add_argument("--write", action="store_true")
    asked = options.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as room:
        alarms = judge_honest(asked.honest, Path(room))
        found = try_all(asked.times, Path(room))
    text = report(found, asked.honest, time.monotonic() - began)
    print(text)
    print("\n".join(alarms))
    print(f"{time.monotonic() - began:.0f} s")
    unknown = [t for t in found if not t.caught_by and t.kind not in UNCAUGHT]
    unseen = [each for each in found if not each.seen_by_manifest]
    good = not alarms and not unknown and not unseen and share_caught(found) >= 0.95
    if asked.write and good:
        write(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
