"""How long a plan takes on several boards: its jobs in their order, each where a board is free."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from wbcbench.core.spec import RunSpec
from wbcbench.study.forecast import forecast_cost
from wbcbench.study.plan import Plan
from wbcbench.table.derive import Past

# 500 runs of 1 s, a job each, on two nodes with a GPU each took 534 s through submitit and Slurm
# 22.05, and would have taken 250 s without anything in between: 1.1 s of a board a job.
JOB_OVERHEAD_S = 1.1


@dataclass(frozen=True, slots=True)
class BoardForecast:
    """What a plan takes on several boards, as far as past runs tell.

    Attributes:
        boards: How many there are.
        at_once: Jobs that are in the queue at once at most: ``max_parallel`` of ``[cluster]``.
        jobs: Into how many jobs the plan falls; a job is a block, or a run.
        is_spread: Whether a job is a run.
        wall_s: From the first job's start to the last one's end, in seconds.
        board_s: Of all boards together, while a job has them.
        longest_job_s: Of one job.
        epoch_s: The longest mean epoch of a job's runs, with its validation.
    """

    boards: int
    at_once: int
    jobs: int
    is_spread: bool
    wall_s: float
    board_s: float
    longest_job_s: float
    epoch_s: float

    @property
    def boards_used(self) -> int:
        """More boards than jobs at once are of no use."""
        return min(self.boards, self.jobs, self.at_once)


def forecast_boards(
    plan: Plan, pasts: Sequence[Past], boards: int, *, is_spread: bool
) -> BoardForecast | None:
    """The time of the blocks that are certain; ``None`` where no past run tells.

    A job begins with what the queue takes for it; its runs rest between one another as the plan
    says. How long jobs wait for a board that others have is not in it.

    Args:
        plan: The study.
        pasts: Runs to learn from.
        boards: How many carry out jobs at the same time.
        is_spread: Whether each run is a job, and not each block.
    """
    lengths_s: list[float] = []
    epoch_s = 0.0
    for runs in group_jobs(plan, is_spread=is_spread):
        cost = forecast_cost(runs, pasts)
        if cost.time_s is None or cost.train_s is None:
            return None
        rests_s = plan.pauses.rest_s * (len(runs) - 1)
        lengths_s.append(JOB_OVERHEAD_S + cost.time_s + rests_s)
        epoch_s = max(epoch_s, cost.train_s / max(cost.epochs, 1))
    return BoardForecast(
        boards=boards,
        at_once=plan.cluster.max_parallel,
        jobs=len(lengths_s),
        is_spread=is_spread,
        wall_s=schedule_jobs(lengths_s, min(boards, plan.cluster.max_parallel)),
        board_s=sum(lengths_s),
        longest_job_s=max(lengths_s, default=0.0),
        epoch_s=epoch_s,
    )


def group_jobs(plan: Plan, *, is_spread: bool) -> list[list[RunSpec]]:
    """The runs of each job of the blocks that are certain, in their order."""
    certain = [run for run in plan.runs if run.block <= plan.blocks]
    if is_spread:
        return [[run] for run in certain]
    return [list(runs) for _, runs in groupby(certain, key=lambda run: run.block)]


def schedule_jobs(lengths_s: Sequence[float], boards: int) -> float:
    """When the last job ends, if each begins in its order on the board that is free first."""
    free_s = [0.0] * boards
    end_s = 0.0
    for length_s in lengths_s:
        job_end_s = heapq.heappop(free_s) + length_s
        heapq.heappush(free_s, job_end_s)
        end_s = max(end_s, job_end_s)
    return end_s
