"""What a job of ``doctor`` finds on its node; ``doctor.cluster`` is the side of the submitter."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, cast

from pydantic import JsonValue

from wbcbench.core.child import PythonChild
from wbcbench.core.errors import CannotMeasureError, WbcbenchError
from wbcbench.core.files import read_file, write_new
from wbcbench.core.job import JOB, describe_cpu_share, read_job
from wbcbench.core.run_folder import to_json
from wbcbench.core.strict_json import read_document
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.units import gb_from_bytes
from wbcbench.core.version import __version__
from wbcbench.core.window import MonotonicClock
from wbcbench.doctor import Facts, Line, examine, fail, info, ok, parse_requirement, warn
from wbcbench.doctor.device import TENSORFLOW_S, describe_primary
from wbcbench.doctor.exchange import NODE, REPORT, NodeReport, NodeRequest, ask_submitter, try_links
from wbcbench.doctor.machine import record_idle
from wbcbench.energy.checks.job import iterate_sharing
from wbcbench.power.allotment import state_allotment
from wbcbench.power.meter import AUTO, MeterRequest, find_meters
from wbcbench.power.session import MeteringRequest
from wbcbench.run.job import CHECK


def carry_out_check(folder: Path) -> bool:
    """Answer the submitter, look at this node, and leave a report in the folder.

    Returns:
        True, for it is at its end: see ``CarryOut``.

    Raises:
        ValueError: What is asked cannot be read.
    """
    check = read_document(NodeRequest, read_file(folder / CHECK))
    links = try_links(folder)
    job = read_job(os.environ) or {}
    name = str(job.get("node") or platform.node())
    report = NodeReport(name, ask_submitter(folder, check.token), links)
    try:
        report = _examine(check, report, job)
    except WbcbenchError as error:
        report = replace(report, error=str(error))
    write_new(folder / REPORT, to_json(asdict(report)))
    return True


def _examine(check: NodeRequest, report: NodeReport, job: dict[str, JsonValue]) -> NodeReport:
    data = Path(check.data) if check.data else None
    request = MeteringRequest(check.meters, check.gpus, check.interval_s)
    facts = record_idle(request, Path(check.results), data, MonotonicClock())
    groups = {NODE: list(_check_node(check, facts, job)), **examine(facts)}
    required = [parse_requirement(text, facts.channels, facts.absent) for text in check.require]
    return replace(
        report,
        groups=groups,
        primary_energy=describe_primary(facts),
        requirements=tuple(required),
    )


def _check_node(check: NodeRequest, facts: Facts, job: dict[str, JsonValue]) -> Iterator[Line]:
    """What only a job can find out, and what it was given."""
    if check.version != __version__:
        yield warn(
            "version",
            f"wbcbench {__version__} on the node, {check.version} where you submit",
            why="the job may read files that the other has written otherwise",
            fix="install the same on both, or one environment that both see",
        )
    yield from _check_boards(facts, job, check.gres)
    usable, given = len(os.sched_getaffinity(0)), job.get("cpus") or "an unknown number"
    text = f"{usable} of {os.cpu_count()} processors can be used, {given} are the job's"
    if share := describe_cpu_share({JOB: job} if job else {}):
        text += f"; CPU energy is {share}"
    yield info("processors", text, why="other jobs on the node are in it" if share else "")
    yield _check_training()
    yield check_cache(check.cache)


def _check_boards(facts: Facts, job: dict[str, JsonValue], gres: str) -> Iterator[Line]:
    """Which boards the job sees, and whether they are its own."""
    seen = list(find_meters((AUTO,), MeterRequest(gpus=facts.gpus)).devices)
    if not seen:
        if gres:
            yield warn(
                "boards",
                f"the job asked for {gres}, and no board can be read on the node",
                why="nothing would measure the GPU",
                fix="a partition whose nodes have GPUs, or a container that passes the driver on",
            )
        return
    names = ", ".join(device.gpu.uuid or str(device.gpu) for device in seen)
    given = str(job.get("gpus") or os.environ.get("CUDA_VISIBLE_DEVICES") or "not said")
    text = f"{count_of(len(seen), 'board')}: {names}; given: {given}"
    try:
        with ExitStack() as stack:
            for device in seen:
                stack.enter_context(device)
            allotted = state_allotment({JOB: job} if job else {}, seen).get(JOB, {})
            sharing = list(iterate_sharing(cast("dict[str, JsonValue]", allotted)))
    except CannotMeasureError as error:
        yield fail("boards", text, why="a run there would be refused", fix=str(error))
        return
    if sharing:
        yield warn(
            "boards",
            f"{text}. {' '.join(sharing)}",
            why="joules of others on the board are in the run's, which is marked",
            fix='ask for a whole GPU of your own: [cluster] gres = "gpu:1"',
        )
    else:
        yield ok("boards", f"{text}; the job's own" if job else text)


def _check_training() -> Line:
    """Whether the environment of a job can import TensorFlow, and how long that takes."""
    start_s = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        asked = PythonChild("wbcbench.train.visible_gpus", stderr=errors)
        try:
            status: int | None = asked.wait(TENSORFLOW_S)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            asked.kill()
            asked.wait()
        count, last = asked.answers.read(), _read_last_line(errors)
    if status == 0 and count:
        taken = human_duration(time.monotonic() - start_s)
        return ok("training", f"TensorFlow is imported in {taken}; it sees {int(count)} GPU(s)")
    return fail(
        "training",
        f"TensorFlow cannot be imported: {last or 'no answer'}",
        why="every run of the job would fail",
        fix="pip install 'wbcbench[train]' there, or load it with [cluster] setup or container",
    )


def _read_last_line(stream: IO[bytes]) -> str:
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def check_cache(cache: str) -> Line:
    """Whether decoded images can be kept on the node."""
    if not cache:
        return info("cache", "decoded images are kept in the user's cache folder")
    folder = Path(os.path.expandvars(Path(cache).expanduser()))
    fix = 'name a folder of every node: [cluster] cache = "$TMPDIR/wbcbench"'
    why = "runs fall back to the user's cache folder"
    if "$" in str(folder):
        return warn("cache", f"{folder}: a variable is not set on the node", why=why, fix=fix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return warn("cache", f"{folder}: {error.strerror}", why=why, fix=fix)
    return ok("cache", f"{gb_from_bytes(free):.1f} GB free in {folder}")
