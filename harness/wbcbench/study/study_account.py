"""What a study has cost: runs that count, and joules that were wasted, by why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wbcbench.core.spec import RunSpec
from wbcbench.study.standing import Carried, Standing
from wbcbench.table.derive import Sum, summed

Waste = Literal["failed", "interrupted", "invalid", "repeated block", "outside the plan", "pilot"]
WASTES: tuple[Waste, ...] = (
    "failed", "interrupted", "invalid", "repeated block", "outside the plan", "pilot",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """Joules of a study.

    Attributes:
        counted: Done runs of the plan.
        wasted: Everything else that was carried out, by why it does not count.
        all_wasted: The same together.
    """

    counted: Sum
    wasted: dict[Waste, Sum]
    all_wasted: Sum


def account(specs: Sequence[RunSpec], standing: Standing, pilots: Iterable[Carried]) -> Account:
    """Sort every carrying-out of a study.

    Args:
        specs: The plan's runs, as they are carried out.
        standing: The study's folders.
        pilots: Runs that only served to know the cost.
    """
    last = _last_attempts(specs, standing)
    kinds: dict[str, list[Carried]] = {"pilot": list(pilots)}
    for each in standing:
        if each.spent is not None:
            kinds.setdefault(_kind(each, last), []).append(each)
    sums = {kind: summed(e.spent for e in found if e.spent) for kind, found in kinds.items()}
    wasted = {kind: sums[kind] for kind in WASTES if kind in sums and sums[kind].runs}
    spoiled = [e.spent for kind in wasted for e in kinds[kind] if e.spent]
    return Account(sums.get("counted", summed(())), wasted, summed(spoiled))


def _last_attempts(specs: Sequence[RunSpec], standing: Standing) -> dict[RunSpec, int]:
    """Run at its first attempt → the last attempt at its block that was begun."""
    blocks: dict[int, list[RunSpec]] = {}
    for spec in specs:
        blocks.setdefault(spec.block, []).append(spec)
    last = {number: standing.attempt(block) for number, block in blocks.items()}
    return {replace(spec, block_attempt=1).identity: last[spec.block] for spec in specs}


def _kind(each: Carried, last: dict[RunSpec, int]) -> str:
    first = replace(each.spec, block_attempt=1).identity
    if each.state != "done":
        return each.state
    if first not in last:
        return "outside the plan"
    return "counted" if each.spec.block_attempt == last[first] else "repeated block"
