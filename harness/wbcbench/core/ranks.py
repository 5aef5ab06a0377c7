"""Several processes of one program on one node: which of them reads what.

A launcher of parallel programs starts one process a GPU or more and tells each its rank by its
environment. Each may measure, and a board or a processor that two of them read would be counted
twice. So every device is read by the rank that takes it first, and the others do without.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from wbcbench.core.lock import is_held, turn

SIBLINGS = "WBCBENCH_SIBLINGS"
"""What a process of ``multiprocessing`` tells the one that samples for it: ``parent:number``."""

_FIRST_WAIT_S = 2.0  # ranks start together, within the time that Python takes to start
_POLL_S = 0.02
_TURN_S = 10.0  # taking some dozen names takes milliseconds

# Of each launcher the variables with rank, number of ranks and rank on the node, and those that
# tell its programs on a node apart. The innermost first: Slurm starts torchrun, not the reverse.
# Sources: the manuals of torchrun, Open MPI, MPICH (Hydra) and srun(1).
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")),
    (
        "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
        ("PMIX_NAMESPACE",),
    ),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", ()),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ()),
)  # fmt: skip

_OF_JOB = ("SLURM_JOB_ID", "SLURMD_NODENAME")  # daemons of two nodes may share a machine


@dataclass(frozen=True, slots=True)
class Rank:
    """One of several processes of a program.

    Attributes:
        program: What its ranks on this node have in common, and no other program's.
        number: Its rank.
        is_first: Whether it is the first on its node.
    """

    program: str
    number: int
    is_first: bool

    def take(self, devices: Sequence[str], stack: ExitStack) -> set[str]:
        """The devices that this rank is to read: those that no other has taken.

        The first rank of the node takes before the others, where it takes anything: a program
        prints its results there.

        Args:
            devices: UUIDs of boards, or ``HOST``.
            stack: Gives them back.
        """
        leader = self._name("first")
        end_s = time.monotonic() + (0.0 if self.is_first else _FIRST_WAIT_S)
        while time.monotonic() < end_s and not is_held(leader):
            time.sleep(_POLL_S)
        with turn(self._name("turn"), _TURN_S):  # so that one rank gets all that it sees
            own = {
                device for device in devices if stack.enter_context(turn(self._name(device), 0.0))
            }
            if self.is_first:
                stack.enter_context(turn(leader, 0.0))
        return own

    def _name(self, device: str) -> str:
        return f"rank/{self.program}/{device}"


def find_rank(environment: Mapping[str, str]) -> Rank | None:
    """This process's rank by its environment; ``None`` where it is the only one, or of no program.

    Processes that ``multiprocessing`` starts have no launcher: whoever of them comes first takes.
    Within a job of Slurm all ranks are one program's: steps side by side may see the same boards.
    """
    for rank, size, local, names in _LAUNCHERS:
        number, count, place = (environment.get(name, "") for name in (rank, size, local))
        if not number.isdecimal() or not count.isdecimal() or int(count) < 2:
            continue
        telling = _OF_JOB if "SLURM_JOB_ID" in environment else names
        words = [environment.get(name, "") for name in telling]
        program = hashlib.sha256("\n".join([str(os.getuid()), *words]).encode()).hexdigest()[:12]
        is_first = int(place) == 0 if place.isdecimal() else int(number) == 0
        return Rank(program, int(number), is_first)
    parent, _, number = environment.get(SIBLINGS, "").partition(":")
    return Rank(f"siblings-{parent}", int(number), is_first=True) if number else None
