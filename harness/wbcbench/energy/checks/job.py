"""Checks of a job on a cluster: whether its boards were its own, and whose the CPU's joules are.

The engine's list and what the recorder saw before training stand in the record, so that these
warnings can be worked out again from it. What happens later on a board is in its telemetry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from wbcbench.core.job import JOB, describe_cpu_share
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Channel, Domain
from wbcbench.core.units import mb_from_bytes
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Evidence
from wbcbench.energy.source import name_part
from wbcbench.energy.warnings import make_warning

_OF_NODE = (Domain.CPU, Domain.DRAM, Domain.SYSTEM)


def check_job(evidence: Evidence) -> Iterator[QualityWarning]:
    """Boards that may serve other jobs, and joules of a node that is not the job's alone."""
    job = evidence.provenance.get(JOB)
    if not isinstance(job, dict):
        return
    for seen in iterate_sharing(job):
        yield make_warning("shared-board", seen)
    text = describe_node_joules(evidence.channels, evidence.provenance)
    if text:
        window, source = evidence.window_name, evidence.primary
        load = next((each for each in evidence.cpu_loads if each.window == window), None)
        others = None if load is None else load.others_share
        is_quiet = others is not None and others <= thresholds.OTHERS_CPU_SHARE
        is_in_joules = source is not None and source.domain in _OF_NODE
        severity = Severity.SUSPECT if is_in_joules and not is_quiet else Severity.INFO
        yield make_warning("part-of-node", text, severity, window=window)


def describe_node_joules(channels: Iterable[Channel], provenance: Mapping[str, JsonValue]) -> str:
    """Whose the joules of all but boards are; empty where there are none, or the node is the job's.

    Args:
        channels: What was read.
        provenance: With the facts of the job, if there was one.

    Returns:
        ``Joules of CPU and DRAM are of the whole node; the job had 2 of its 8 CPUs.``
    """
    share, read = describe_cpu_share(provenance), {channel.domain for channel in channels}
    parts = " and ".join(name_part(domain) for domain in _OF_NODE if domain in read)
    return f"Joules of {parts} are {share}." if share and parts else ""


def iterate_sharing(job: Mapping[str, JsonValue]) -> Iterator[str]:
    """By what it was seen that a measured board may serve others; nothing if all are the job's own.

    Args:
        job: The facts of a job, with what the recorder saw of each board: ``boards``.
    """
    boards = job.get("boards")
    if not isinstance(boards, list) or not boards:
        return
    if (shards := job.get("shards")) is not None:
        yield f"Slurm gave the job a part of a GPU (shards: {shards}); others may have the rest."
    if job.get("has_mps"):
        yield "CUDA_MPS variables are set: several jobs may compute on the GPU at once."
    has_node = not describe_cpu_share({JOB: dict(job)})  # no other job fits on the node then
    for board in (board for board in boards if isinstance(board, dict)):
        name, count, used_bytes = (board.get(key) for key in ("device", "processes", "used_bytes"))
        if board.get("is_listed") is False:
            yield f"{name} is not one of the GPUs that Slurm gave to this job: {job.get('gpus')}."
        elif not job.get("gpus") and shards is None and not has_node:
            yield f"Slurm lists no GPU for this job, so other jobs may use {name}."
        if isinstance(count, int) and count > 0:
            yield f"Processes on {name} before training began: {count}."
        elif isinstance(used_bytes, int) and used_bytes > thresholds.USED_BEFORE_BYTES:
            yield (
                f"{mb_from_bytes(used_bytes):,.0f} MB of {name} were in use before training began, "
                "by no process that can be seen."
            )
