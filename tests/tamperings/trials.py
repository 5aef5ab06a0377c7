"""Trying tamperings on bundles, and what came of it as a table."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import copytree, rmtree

from builders.bundle import Board, Machine, StudyDesign, WallMeter, bundle_study
from tamperings import BEYOND, KINDS
from tamperings.bag import Bag
from tamperings.made_again import FORMATS, Forgery, UnfitError, submit_study
from wbcbench.bundle.verify.inspect import verify
from wbcbench.core.errors import UsageError
from wbcbench.study.experiment import Until

__all__ = ["FORMATS"]
TWO = ("leaky-dropout", "relu-batchnorm")
THREE = (*TWO, "relu-dropout")

SECOND = Board("Example GPU", "GPU-2b2c3d4e-5f60-7182-93a4-b5c6d7e8f902")

BASES = {
    "with a block that was repeated, and a pilot": StudyDesign(
        blocks=2, variants=THREE, epochs=2, again=(2,), pilots=1
    ),
    "without a GPU, until a rule says stop": StudyDesign(
        blocks=3,
        variants=TWO,
        epochs=3,
        gpu=False,
        seed=3,
        ends=lambda spec: "interrupted" if spec.order_global == 4 else "done",
        until=Until(TWO[0], width=50.0, max_blocks=4),
    ),
    "on the published images": StudyDesign(
        blocks=2, variants=TWO, epochs=2, published=True, seed=2
    ),
    "with a wall meter, on two machines of two boards": StudyDesign(
        blocks=2,
        variants=TWO,
        epochs=2,
        seed=4,
        wall_meter=lambda _: WallMeter(),
        machine=lambda spec: Machine(
            boards=(Board(), SECOND),
            rapl=("package-0", "dram-0"),
            codecarbon=("cpu", "ram"),
            facts={"host_id": f"5f1e9{spec.block}"},
        ),
    ),
}
"""Unlike bundles to tamper with: each kind of tampering fits one of them."""


def bundle(made: StudyDesign, room: Path) -> Path:
    """The bundle of a made study."""
    bundle_study(room / "results", made)
    return submit_study(room / "results", made.study, room / "bag")


def statuses(root: Path, status: str) -> dict[str, str]:
    """What the checks that ended so say of a bundle."""
    found = verify(root).outcomes
    return {name: each.detail for name, each in found.items() if each.status.value == status}


def errors(root: Path) -> dict[str, str]:
    """The checks that found something."""
    return statuses(root, "error")


def _words(detail: str) -> str:
    """A remark without its numbers, which change with every run that there is more or less."""
    return re.sub(r"\d+", "", detail)


class Base:
    """An honest study with its bundle, to tamper with."""

    def __init__(self, name: str, folder: Path, study: str = "study") -> None:
        self.name, self.folder, self.study = name, folder, study

    @cached_property
    def bag(self) -> Bag:
        return Bag(self.folder / "bag", self.folder / "spare")

    @cached_property
    def notices(self) -> Mapping[str, str]:
        """What ``verify`` remarks on the honest bundle, without its numbers."""
        root = self.bag.root
        found = statuses(root, "warning") | statuses(root, "not_checked")
        return {name: _words(detail) for name, detail in found.items()}


@dataclass(frozen=True)
class Tried:
    """One tampering of one bundle.

    Attributes:
        kind, base, seed: Which.
        caught_by: The checks that find an error.
        unchecked: Those that cannot be carried out any more, where none finds an error.
        warned_by: Those that warn of something of which they do not in the honest bundle.
    """

    kind: str
    base: str
    seed: int
    caught_by: tuple[str, ...]
    unchecked: tuple[str, ...]
    warned_by: tuple[str, ...]

    @property
    def is_caught(self) -> bool:
        """Whether the bundle does not count as verified any more."""
        return bool(self.caught_by or self.unchecked)

    @property
    def is_known(self) -> bool:
        """Whether it need not be noticed, or is."""
        return self.is_caught or bool(self.warned_by) or self.kind in BEYOND


def tried(base: Base, kind: str, seed: int) -> Tried:
    """Tamper, check, and put back; raises ``UnfitError``."""
    rng, tampering = random.Random(f"{kind} {seed}"), KINDS[kind]
    scratch = base.folder / "forged"
    try:
        if tampering.is_forged:
            copytree(base.folder / "results", scratch / "results")
            study = Forgery(scratch / "results", base.study)
            tampering.tamper(study, rng)
            root = study.submit(scratch / "bag")
        else:
            tampering.tamper(base.bag, rng)
            base.bag.rehash()
            root = base.bag.root
        found = verify(root).outcomes
    finally:
        rmtree(scratch, ignore_errors=True)
        base.bag.restore()

    def named(status: str) -> tuple[str, ...]:
        return tuple(
            name
            for name, each in found.items()
            if each.status.value == status and base.notices.get(name) != _words(each.detail)
        )

    caught_by = named("error")
    unchecked = () if caught_by else named("not_checked")
    return Tried(kind, base.name, seed, caught_by, unchecked, named("warning"))


def tried_on_any(bases: list[Base], kind: str, seed: int) -> Tried:
    """The same on the first bundle that has something of the kind, beginning at any."""
    at = random.Random(f"{kind} {seed} base").randrange(len(bases))
    for base in (*bases[at:], *bases[:at]):
        try:
            return tried(base, kind, seed)
        except (UnfitError, UsageError):  # or the program makes nothing of what was tampered with
            continue
    raise UnfitError(kind)


def share_caught(found: Iterable[Tried]) -> float:
    """How many of the bundles count as verified no more."""
    caught = [each.is_caught for each in found]
    return sum(caught) / len(caught) if caught else 1.0


def as_table(found: Iterable[Tried]) -> str:
    """Kinds in their order: how often tried and caught, by which checks, or what tells instead."""
    by_kind = defaultdict[str, list[Tried]](list)
    for each in found:
        by_kind[each.kind].append(each)
    lines = ["| tampering | made again | tried | error | by | else |", "|---|---|--:|--:|---|---|"]
    for kind, trials in by_kind.items():
        caught = [each for each in trials if each.caught_by]
        checks = sorted({name for each in trials for name in each.caught_by})
        rest = [each for each in trials if not each.caught_by]
        unchecked = sorted({name for each in rest for name in each.unchecked})
        warned = sorted({name for each in rest for name in each.warned_by})
        others = [f"not checked: {', '.join(unchecked)}"] if unchecked else []
        others += [f"warning: {', '.join(warned)}"] if warned else []
        others += [BEYOND[kind]] if rest and kind in BEYOND else []
        what = "everything" if KINDS[kind].is_forged else "manifests"
        cells = (kind, what, len(trials), len(caught), ", ".join(checks), "; ".join(others))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
