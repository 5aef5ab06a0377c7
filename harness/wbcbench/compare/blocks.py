"""Complete blocks: one seed with every arm once, all of them valid. Others are counted, not used.

The rule is fixed before anybody looks at a number: a run that failed, was interrupted, is invalid
or lacks a metric that is compared makes its block incomplete, and the block is left out whole. No
run is left out for its value. A block that was repeated counts by its first complete attempt.

Inside an attempt, a run that was carried out again because it was interrupted or failed counts by
its first valid carrying-out. Runs of no plan have no block to repeat: there each repeat is an
attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wbcbench.compare.arms import Configuration, label_of_runs
from wbcbench.compare.metric import Metric
from wbcbench.table.view import Run

Place = tuple[int, int]
"""Block and seed."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A block that is not used, and the first reason why."""

    block: str
    reason: str


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a comparison.

    Attributes:
        names: ``seed 1``, or ``block 3, seed 1003``.
        runs: ``[blocks][arms]``, in the order of the arms.
        left_out: Blocks that are not used.
        spare: Valid runs of attempts that are not used because an earlier one was complete.
        states: How the runs ended, over all runs: done, failed, interrupted, invalid.
        suspect: Used runs whose verdict is suspect.
    """

    names: tuple[str, ...]
    runs: tuple[tuple[Run, ...], ...]
    left_out: tuple[LeftOut, ...]
    spare: int
    states: Mapping[str, int]
    suspect: int


def complete_blocks(
    runs: Sequence[Run],
    configurations: Sequence[Configuration],
    metrics: Sequence[Metric],
    *,
    one_host: bool,
) -> Blocks:
    """Sort runs into blocks and keep those that are complete.

    Args:
        runs: Every run that is accounted for.
        configurations: In their order; a run of none is counted in ``states`` alone.
        metrics: What every run must know.
        one_host: Whether the runs of a block must come from one machine.
    """
    label_of = label_of_runs(configurations)
    labels = [configuration.label for configuration in configurations]
    attempts: dict[Place, dict[int, list[Run]]] = {}
    for run in runs:
        if run in label_of:
            place = (run.spec.block, run.spec.seed)
            attempts.setdefault(place, {}).setdefault(_number(run), []).append(run)
    names, kept, left_out, spare = [], [], [], 0
    for place in sorted(attempts):
        tried = [
            _attempt(attempts[place][number], labels, label_of, metrics, one_host=one_host)
            for number in sorted(attempts[place])
        ]
        complete = [found for found in tried if not isinstance(found, str)]
        if complete:
            names.append(_name(place))
            kept.append(complete[0])
            spare += sum(len(found) for found in complete[1:])
        else:
            left_out.append(LeftOut(_name(place), str(tried[-1])))
    states = Counter(str(run.row["status"]) for run in runs)
    suspect = sum(run.row["verdict"] == "suspect" for block in kept for run in block)
    return Blocks(tuple(names), tuple(kept), tuple(left_out), spare, dict(states), suspect)


def _attempt(
    runs: Sequence[Run],
    labels: Sequence[str],
    label_of: Mapping[Run, str],
    metrics: Sequence[Metric],
    *,
    one_host: bool,
) -> tuple[Run, ...] | str:
    """One run of each arm, or why this attempt is not complete."""
    chosen: list[Run] = []
    for label in labels:
        mine = [run for run in _by_repeat(runs) if label_of[run] == label]
        reasons = [_unusable(run, metrics) for run in mine]
        usable = [run for run, reason in zip(mine, reasons, strict=True) if reason is None]
        if not usable:
            return f"{label}: {reasons[-1]}" if reasons else f"{label}: no run"
        chosen.append(usable[0])
    if one_host and len({run.row.get("host_id") for run in chosen}) > 1:
        return "its runs come from several machines"
    return tuple(chosen)


def _number(run: Run) -> int:
    """Which attempt at its block a run belongs to."""
    return run.spec.block_attempt if run.spec.block else run.spec.repeat


def _by_repeat(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.spec.repeat)


def _unusable(run: Run, metrics: Sequence[Metric]) -> str | None:
    status = run.row["status"]
    if status != "done":
        reason = run.row.get("invalid_reason")
        return f"{status} ({reason})" if reason else str(status)
    unknown = [metric.name for metric in metrics if run.number(metric.name) is None]
    return f"{unknown[0]} is unknown" if unknown else None


def _name(place: Place) -> str:
    block, seed = place
    return f"block {block}, seed {seed}" if block else f"seed {seed}"
