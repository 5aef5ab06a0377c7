"""The job of a cluster in which this process runs, and what the engine gave it.

Slurm tells a job by the variables of its environment; ``sbatch(1)`` and ``srun(1)`` describe them.
Neither user, account nor folder is taken from them. What the recorder sees of the boards stands
beside, so that whether a board was the job's own can be worked out again from the record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from pydantic import JsonValue

JOB = "job"
"""Among the provenance: the facts of the job; there is none outside of one."""


def read_job(environment: Mapping[str, str]) -> dict[str, JsonValue] | None:
    """What Slurm says of the job on this node; ``None`` outside of a job.

    An allocation without a node, as in the shell of ``salloc``, is none: nothing runs there.

    Returns:
        ``engine``, ``id`` (``123`` or ``123_4`` in an array), ``restart`` (how often it was begun
        again), ``node``, ``partition``, ``cpus`` (of the job on this node), ``node_cpus`` (that the
        kernel counts), ``gpus`` (numbers of device files, joined by commas; ``None`` where Slurm
        lists none), ``shards`` (parts of GPUs; ``None`` if whole ones), ``has_mps`` (whether CUDA's
        processes share a GPU by a server), ``end_s`` (when its time is over, in seconds of UTC;
        ``None`` in versions of Slurm that do not say).
    """
    number, node = environment.get("SLURM_JOB_ID"), environment.get("SLURMD_NODENAME")
    if not number or not node:
        return None
    array, task = (environment.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    listed = environment.get("SLURM_STEP_GPUS") or environment.get("SLURM_JOB_GPUS")
    return {
        "engine": "slurm",
        "id": f"{array}_{task}" if array and task else number,
        "restart": _read_number(environment, "SLURM_RESTART_COUNT") or 0,
        "node": node,
        "partition": environment.get("SLURM_JOB_PARTITION"),
        "cpus": _count_cpus(environment),
        "node_cpus": os.cpu_count(),
        "gpus": listed,
        "shards": _read_number(environment, "SLURM_SHARDS_ON_NODE"),
        "has_mps": any(name.startswith("CUDA_MPS_") for name in environment),
        "end_s": _read_number(environment, "SLURM_JOB_END_TIME"),
    }


def lacks_boards(environment: Mapping[str, str]) -> bool:
    """Whether nothing says which boards are the job's, and others may be on its node.

    Slurm neither lists nor hides the boards of a job that asked for none, unless it constrains
    devices. A job that has all processors of its node is alone there.
    """
    job = read_job(environment)
    if job is None or job["gpus"] or job["shards"] or "CUDA_VISIBLE_DEVICES" in environment:
        return False
    return bool(describe_cpu_share({JOB: job}))


def _count_cpus(environment: Mapping[str, str]) -> int | None:
    """The job's processors on this node; of a job on several nodes those of this step."""
    own = re.fullmatch(r"(\d+)(?:\(x\d+\))?", environment.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return int(own[1]) if own else _read_number(environment, "SLURM_CPUS_ON_NODE")


def _read_number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None


def describe_cpu_share(provenance: Mapping[str, JsonValue]) -> str:
    """``of the whole node; the job had 2 of its 8 CPUs``; empty where it had all, or no job is.

    No meter tells the processors of one job from the others: the joules are never scaled by this.
    """
    job = provenance.get(JOB)
    if not isinstance(job, dict):
        return ""
    cpus, node_cpus = job.get("cpus"), job.get("node_cpus")
    if isinstance(cpus, int) and isinstance(node_cpus, int) and cpus >= node_cpus:
        return ""
    known = f"{cpus} of its {node_cpus}" if cpus and node_cpus else "an unknown share of its"
    return f"of the whole node; the job had {known} CPUs"
