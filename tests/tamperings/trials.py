"""Trying tamperings on bundles, and what came of it as a table."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builders.bundle import StudyDesign, bundle_study
from tamperings import KINDS, UNCAUGHT
from tamperings.bag import Bag
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify import Outcome, Status, files
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.inspect import inspect
from wbcbench.bundle.write import Order, submit

FORMATS = ("html", "md", "csv")
"""Typesetting the paper takes longer than everything else together."""
TWO = ("leaky-dropout", "relu-batchnorm")


def bundle(made: StudyDesign, room: Path) -> Path:
    """The bundle of a made study."""
    bundle_study(room / "results", made)
    authors = (Author("Alice Doe"),)
    order = Order(room / "results", made.study, authors, "MIT", out=room / "bag", formats=FORMATS)
    return submit(order).path


def errors(root: Path) -> dict[str, Outcome]:
    """The checks that found something."""
    found = inspect(load_bundle(root))
    return {name: each for name, each in found.items() if each.status is Status.ERROR}


@dataclass(frozen=True)
class Tried:
    """One tampering of one bundle.

    Attributes:
        kind, base, seed: Which.
        seen_by_manifest: Whether V01 alone finds it while the manifests are the old ones.
        caught_by: The checks that find it once they are made to fit.
    """

    kind: str
    base: str
    seed: int
    seen_by_manifest: bool
    caught_by: tuple[str, ...]


def tried(base: str, bundle_: Bag, kind: str, seed: int) -> Tried:
    """Tamper, check, and put back."""
    try:
        KINDS[kind](bundle_, random.Random(seed))
        seen = files.check_bag(load_bundle(bundle_.root)).status is Status.ERROR
        bundle_.rehash()
        return Tried(kind, base, seed, seen, tuple(errors(bundle_.root)))
    finally:
        bundle_.restore()


def share_caught(found: Iterable[Tried]) -> float:
    """Of tamperings with fitting manifests."""
    caught = [bool(each.caught_by) for each in found]
    return sum(caught) / len(caught) if caught else 1.0


def as_table(found: Iterable[Tried]) -> str:
    """Kinds in their order: how often tried and caught, by which checks."""
    by_kind = defaultdict[str, list[Tried]](list)
    for each in found:
        by_kind[each.kind].append(each)
    lines = ["| tampering | tried | caught | by |", "|---|--:|--:|---|"]
    for kind, trials in by_kind.items():
        caught = sum(bool(each.caught_by) for each in trials)
        checks = sorted({name for each in trials for name in each.caught_by})
        by = ", ".join(checks) or f"not found: {UNCAUGHT.get(kind, '?')}"
        lines.append(f"| {kind} | {len(trials)} | {caught} | {by} |")
    return "\n".join(lines)
