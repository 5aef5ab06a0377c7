"""Which boards the compared runs came from: on one board within a block, or boards as a factor.

A board has its own gain, leakage and cooling, so runs of one block are paired only where they come
from one board. Runs without a known board stand for their machine; where joules are not the GPU's,
the machine counts beside the board.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wbcbench.core.text import count_of
from wbcbench.core.trace import Domain
from wbcbench.stats.boards import Way, find_way
from wbcbench.stats.intervals import Labels
from wbcbench.table.view import Run

LIMIT = "gpu_power_limit_w"
"""The column of the power limit in force, which may differ between runs that asked for others."""

SPREAD = "the runs of a seed were spread over boards, which differ from each other"
"""Why joules and seconds decide nothing."""


@dataclass(frozen=True, slots=True)
class BoardUse:
    """The boards of a comparison.

    Attributes:
        names: ``[blocks][configurations]``: the board of each run, see :func:`name_board`.
        is_spread: Whether runs of one block were put on several boards on purpose.
    """

    names: tuple[tuple[str, ...], ...] = ()
    is_spread: bool = False

    @property
    def numbers(self) -> Labels:
        """``[blocks, configurations]``: the number of the board of each run."""
        _, numbers = np.unique(np.array(self.names), return_inverse=True)
        return numbers.reshape(np.shape(self.names)).astype(np.int64)

    @property
    def blocks(self) -> Mapping[str, int]:
        """Board → in how many blocks it was used."""
        return Counter(name for block in self.names for name in sorted(set(block)))

    @property
    def way(self) -> Way | None:
        """How joules and seconds can be compared; ``None`` where they are paired on one board."""
        return find_way(self.numbers) if self.is_spread and self.names else None


def name_board(run: Run) -> str:
    """``board 1a2b3c4d5e6f``, ``machine 5f1e9c``; of other joules than the GPU's both.

    Nodes of a cluster go by their names: they may be copies of one system, with one ``host_id``.
    """
    uuid = run.row.get("gpu_uuid_hash")
    machine = f"machine {run.row.get('node') or run.row.get('host_id') or 'unknown'}"
    if not uuid:
        return machine
    is_gpu = run.row.get("primary_domain") in {None, Domain.GPU.value}
    return f"board {uuid}" + ("" if is_gpu else f" of {machine}")


def why_not_one_board(runs: Sequence[Run]) -> str:
    """Why these runs of one block are not paired; empty where they come from one board."""
    counts = Counter(map(name_board, runs))
    if len(counts) < 2:
        return ""
    kind = "board" if any(name.startswith("board") for name in counts) else "machine"
    shown = ", ".join(
        f"{name.removeprefix(f'{kind} ')} ({n})" for name, n in sorted(counts.items())
    )
    return f"its runs come from {count_of(len(counts), kind)}: {shown}"


def is_spread(blocks: Sequence[Sequence[Run]]) -> bool:
    """Whether most blocks were put on several boards, or each of their runs in a job of its own.

    A block whose rest was carried out elsewhere, since its board was lost, is an exception to be
    left out; where most blocks are so, the study was made to be.
    """
    if len({name_board(run) for block in blocks for run in block}) < 2:
        return False
    apart = sum(bool(why_not_one_board(block)) or _has_own_jobs(block) for block in blocks)
    return 2 * apart > len(blocks)


def _has_own_jobs(block: Sequence[Run]) -> bool:
    jobs = [run.row.get("job_id") for run in block]
    return len(block) > 1 and None not in jobs and len(set(jobs)) == len(block)


def combine_gains(runs: Sequence[Run], column: str) -> float | None:
    """Half-width of the mean of these runs by the gain of their boards; ``None`` if unknown.

    All runs of one board share its gain, so it does not shrink with more of them. Boards have gains
    of their own, which add in squares; where runs of several boards at once share some of them, as
    if it were one.
    """
    groups = defaultdict[str, list[float]](list)
    for run in runs:
        half = run.number(column)
        if half is None:
            return None
        groups[str(run.row.get("gpu_uuid_hash"))].append(half)
    halves = [sum(own) / len(runs) for own in groups.values()]
    uuids = [uuid for group in groups for uuid in group.split(";")]
    return math.hypot(*halves) if len(set(uuids)) == len(uuids) else sum(halves)
