"""Slurm: jobs are submitted through submitit; ``squeue`` and ``sacct`` say what became of them."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from getpass import getuser
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.run.launchers import (
    CarryOut,
    EngineError,
    EngineFacts,
    GpusOfKind,
    JobStage,
    JobStatus,
)
from wbcbench.run.launchers.cluster import ClusterSettings

_LOGS = "slurm"  # beside the folders of the jobs: scripts, logs and what submitit keeps
_ANSWER_S = 60.0
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT",
            "RESV_DEL_HOLD"}  # fmt: skip
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_LOST = {"NODE_FAIL", "BOOT_FAIL", "REVOKED"}
_HELD = re.compile("launch.?failed|JobHoldMaxRequeue|requeued.?in.?held", re.I)
_NO_NODE = re.compile("ReqNodeNotAvail|Nodes.?required.?for.?job.?are|BadConstraints", re.I)
_DEFAULT_ARRAY = 1001
_USUAL_TIME = "1:00:00"
_OPTIONS = ("account", "partition", "qos", "constraint", "gres", "mem")  # as sbatch names them
_GPUS = re.compile(r"(?:^|,)(gpu(?::[^:,(]+)?):(\d+)")  # of "gpu:a100:4(S:0-1),shard:8"
_NO_LIMIT = {"UNLIMITED", "INFINITE"}
_TAKES_JOBS = {
    "idle",
    "mix",
    "mixed",
    "alloc",
    "allocated",
    "comp",
    "completing",
    "plnd",
    "planned",
}
_ENFORCES_LIMITS = re.compile("limits|safe|qos|all|[1-9]")


class SlurmLauncher:
    """The jobs of a cluster that Slurm manages, a GPU of its own for each."""

    is_queue = True

    def connect(self, settings: ClusterSettings, jobs: Path) -> SlurmQueue:
        """The queue for one study.

        Raises:
            CannotMeasureError: Slurm's commands, or submitit, are not here.
        """
        for command in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
            if shutil.which(command) is None:
                raise CannotMeasureError(
                    f"Slurm's command {command} is not on this machine. Log in to a node of the "
                    "cluster that submits jobs, or leave out --launcher slurm."
                )
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise CannotMeasureError(
                "--launcher slurm takes submitit. Install it: pip install 'wbcbench[slurm]'"
            ) from error
        return SlurmQueue(settings, jobs)


launch = SlurmLauncher()


class SlurmQueue:
    """The jobs of one study on Slurm."""

    def __init__(self, settings: ClusterSettings, jobs: Path) -> None:
        """Nothing is asked yet."""
        self._settings, self._jobs = settings, jobs.resolve()

    @cached_property
    def most_in_submission(self) -> int:
        """Jobs in one array: one less than ``MaxArraySize``, which counts from 0."""
        size = _read_number(_read_config().get("MaxArraySize"))
        return max((size or _DEFAULT_ARRAY) - 1, 1)

    def submit(
        self,
        name: str,
        folders: Sequence[Path],
        carry_out: CarryOut,
        node: str = "",
        avoid: Collection[str] = (),
    ) -> list[str]:
        """Submit a job for each folder, several as one array; see ``Queue.submit``."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        executor = SlurmExecutor(self._jobs / _LOGS, python=self._python)
        where = {"exclude": ",".join(sorted(avoid))} if avoid else {}
        if node and node not in avoid and self._is_up(node):
            where["nodelist"] = node
        executor.update_parameters(**self._parameters(name), **where)
        try:
            with executor.batch():
                jobs = [executor.submit(_work, carry_out, folder.absolute()) for folder in folders]
        except FailedJobError as error:
            raise _explain(str(error)) from error
        except OSError as error:
            raise EngineError(f"Slurm's sbatch could not be started: {error}.") from error
        return [job.job_id for job in jobs]

    def _is_up(self, node: str) -> bool:
        """Whether a node takes jobs."""
        states = _ask(["sinfo", "--noheader", "--nodes", node, "--format", "%t"]).split()
        return bool(states) and set(states) <= {"idle", "mix", "alloc", "comp"}

    @property
    def _python(self) -> str:
        return f"{self._settings.container} {shlex.quote(sys.executable)}".strip()

    def _parameters(self, name: str) -> dict[str, Any]:
        """What submitit writes into the script of a job."""
        own = self._settings
        given = {
            "account": own.account,
            "partition": own.partition,
            "qos": own.qos,
            "constraint": own.constraint,
            "gres": own.gres,
            # Joules of processors are the whole node's: without a GPU nobody else may be there.
            "exclusive": not own.gres,
            "mem": own.memory,
            "setup": list(own.setup),
        }
        return {
            "job_name": name,
            "cpus_per_task": own.cpus,
            "signal_delay_s": own.grace_s,
            "array_parallelism": own.max_parallel,
            "wckey": None,
            "stderr_to_stdout": True,
            # Since 22.05 a step no longer takes over the processors of its job; and where that has
            # more, as of a whole node, it would make a task for each so many.
            "srun_args": ["--ntasks=1", f"--cpus-per-task={own.cpus}"],
            "additional_parameters": {"time": own.time or self._usual_time, "requeue": True},
            **{key: value for key, value in given.items() if value},
        }

    @cached_property
    def _usual_time(self) -> str:
        """The time limit of a job that asks for none: its partition's default, or its longest."""
        times = next(([*line[1:]] for line in self._list_partitions()), [])
        usual = (time for time in times if time not in {"n/a", "NONE", "infinite"})
        return next(usual, _USUAL_TIME if not times else "UNLIMITED")

    def find(self, name: str, place: int) -> str | None:
        """The id of a job by the name of its submission and its place there, or ``None``."""
        text = _ask(["squeue", "--me", "--noheader", "--array", "--format", "%i", "--name", name])
        if not text.strip() and self._has_accounting:
            words = ["--name", name, "--starttime", "now-30days", "--format", "JobID"]
            text = _ask(["sacct", "--noheader", "--parsable2", "--allocations", *words])
        first = next(iter(text.split()), "")
        base, is_array, _ = first.partition("_")
        return (f"{base}_{place}" if is_array else base) or None

    def ask(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """The status of each job, in one call for those that live; see ``Queue.ask``."""
        form = "JobArrayID:|,Name:|,State:|,NodeList:|,RestartCnt:|,Reason:|"
        text = _ask(["squeue", "--me", "--noheader", "--array", "--states=all", "--Format", form])
        found = dict(_read_lines(text, jobs))
        missing = [job_id for job_id in jobs if job_id not in found]
        if missing and self._has_accounting:
            form = "JobID,JobName,State,NodeList"
            words = ["--format", form, "--jobs", ",".join(missing), "--starttime", "now-30days"]
            text = _ask(
                ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", *words]
            )
            # A controller that forgot a job never tells accounting of its end.
            over = (JobStage.ENDED, JobStage.LOST)
            found |= {own: each for own, each in _read_lines(text, jobs) if each.stage in over}
        unknown = JobStatus(JobStage.LOST, text="Slurm no longer knows it")
        return {job_id: found.get(job_id, unknown) for job_id in jobs}

    @cached_property
    def _has_accounting(self) -> bool:
        return _read_config().get("AccountingStorageType") != "accounting_storage/none"

    def describe(self) -> EngineFacts:
        """What Slurm says of itself and of a job as it would be submitted."""
        config, limits = _read_config(), self._read_partition_limits()
        refusal, expected = self._try_out()
        asked = parse_time(self._settings.time)
        enforces = _ENFORCES_LIMITS.search(config.get("AccountingStorageEnforce", ""))
        controller = config.get("SlurmctldHost[0]", "").partition("(")[0] or "unknown"
        return EngineFacts(
            name=f"Slurm {config.get('SLURM_VERSION', '')}, controller on {controller}, "
            f"submitit {version('submitit')}",
            refusal=refusal,
            expected=expected,
            gpus=self._count_gpus(),
            job_s=parse_time(self._usual_time) if asked is None else asked,
            longest_s=limits,
            most_in_submission=self.most_in_submission,
            most_jobs=_read_number(config.get("MaxJobCount")),
            most_own_jobs=self._find_own_limit() if enforces else None,
            kill_s=_read_number(config.get("KillWait")),
            keeps_ended=self._has_accounting,
        )

    def _try_out(self) -> tuple[str, str]:
        """Why Slurm refuses a job like ours, or when and where it would start; nothing is left."""
        given = self._parameters("wbcbench")
        asked = {"cpus-per-task": given["cpus_per_task"], **given["additional_parameters"]}
        asked |= {key: given[key] for key in _OPTIONS if key in given}
        words = [f"--{key}={value}" for key, value in asked.items() if value is not True]
        answer = _call(["sbatch", "--test-only", *words, "--wrap=true"])
        last = (answer.stderr.strip() or "no message").splitlines()[-1]
        if answer.returncode == 0:
            return "", last.partition(" to start ")[2]
        error = _explain(answer.stderr)
        if isinstance(error, EngineError):
            raise error
        return last.removeprefix("sbatch: error: ").removeprefix("allocation failure: "), ""

    def _read_partition_limits(self) -> float | None:
        """The longest time of a job in any of the partitions that it may go to."""
        times = [parse_time(longest) for _, _, longest in self._list_partitions()]
        return max((time for time in times if time is not None), default=None)

    def _list_partitions(self) -> list[list[str]]:
        """Name, default and longest time of the partitions that a job may go to."""
        partition = ["--partition", self._settings.partition] * bool(self._settings.partition)
        text = _ask(["sinfo", "--noheader", "--format", "%P %L %l", *partition])
        lines = [line.split() for line in text.splitlines()]
        return [line for line in lines if partition or line[0].endswith("*")] or lines

    def _count_gpus(self) -> tuple[GpusOfKind, ...]:
        names = {line[0].removesuffix("*") for line in self._list_partitions()}
        text = _ask(["sinfo", "--noheader", "--Node", "--format", "%N|%t|%G|%P"])
        nodes = [line.split("|") for line in text.splitlines()]
        own = {node: rest for node, *rest, name in nodes if name.removesuffix("*") in names}
        counts, up = Counter[str](), Counter[str]()
        for state, gres in own.values():
            for kind, count in _GPUS.findall(gres):
                counts[kind] += int(count)
                up[kind] += int(count) * (state.rstrip("~#%$@^+-") in _TAKES_JOBS)
        return tuple(GpusOfKind(kind, counts[kind], up[kind]) for kind in sorted(counts))

    def _find_own_limit(self) -> int | None:
        """The least limit to this user's jobs; ``None`` also where accounts may not be read."""
        with suppress(EngineError):
            return self._read_own_limit()
        return None

    def _read_own_limit(self) -> int | None:
        """The least of the limits by account and by quality of service."""
        form = ["sacctmgr", "--noheader", "--parsable2", "show"]
        words = ["assoc", f"user={getuser()}", "format=Account,MaxSubmit,QOS"]
        lines = [line.split("|") for line in _ask([*form, *words]).splitlines()]
        own = [line for line in lines if self._settings.account in {"", line[0]}]
        limits = [_read_number(line[1]) for line in own]
        qualities = {self._settings.qos} - {""} or {
            name for line in own for name in line[2].split(",")
        }
        words = ["qos", "format=Name,MaxSubmitPU"]
        by_quality = (line.split("|") for line in _ask([*form, *words]).splitlines())
        limits += [_read_number(limit) for name, limit in by_quality if name in qualities]
        return min((limit for limit in limits if limit is not None), default=None)

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs; Slurm sends SIGTERM first, and kills after its ``KillWait``."""
        for name in sorted(set(jobs.values())):
            _ask(["scancel", "--name", name, *(each for each in jobs if jobs[each] == name)])


def _work(carry_out: CarryOut, folder: Path) -> None:
    """On the node: a function that submitit can find there again.

    A job that had to end before its end (time limit, preemption) is queued again; not one that was
    cancelled, which Slurm would take back, too.
    """
    if not carry_out(folder):
        own = os.environ["SLURM_JOB_ID"]
        if _ask(["squeue", "--noheader", "--job", own, "--format", "%T"]).strip() == "RUNNING":
            _ask(["scontrol", "requeue", own])


def _read_lines(text: str, names: Mapping[str, str]) -> Iterator[tuple[str, JobStatus]]:
    """Jobs of these ids and names; one that was started again stands several times in sacct."""
    lives: Counter[str] = Counter()
    for line in text.splitlines():
        job_id, name, state, node, *more = (each.strip() for each in line.split("|"))
        if names.get(job_id) != name:
            continue
        restarts, reason = (*more, "0", "")[:2]
        word = state.split()[0].rstrip("+") if state else ""
        lives[job_id] += 1
        if word in _WAITING:
            text = f"{word}, {reason}" if reason not in {"", "None"} else word
            stage = JobStage.HELD if _HELD.search(reason) else JobStage.WAITING
            yield job_id, JobStatus(stage, "", text, bool(_NO_NODE.search(reason)))
            continue
        is_certain = word not in _LOST and restarts == "0" and lives[job_id] == 1
        over = JobStage.ENDED if is_certain else JobStage.LOST
        yield job_id, JobStatus(JobStage.RUNNING if word in _RUNNING else over, node, word)


def _read_config() -> dict[str, str]:
    """Slurm's settings by name."""
    lines = _ask(["scontrol", "show", "config"]).splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _read_number(text: str | None) -> int | None:
    """The number at the beginning: ``30 sec``."""
    found = re.match(r"\d+", text or "")
    return int(found[0]) if found else None


def parse_time(text: str) -> float | None:
    """A time limit of Slurm in seconds, infinite for none; ``None`` if it says nothing.

    ``90`` and ``90:00`` are minutes, ``1:30:00`` and ``0-1:30`` hours behind days.
    """
    if text.upper() in _NO_LIMIT:
        return math.inf
    days, dash, clock = text.rpartition("-")
    words = clock.split(":")
    if not all(word.isdecimal() for word in [*words, *[days] * bool(dash)]):
        return None
    names = ("hours", "minutes", "seconds") if dash or len(words) == 3 else ("minutes", "seconds")
    own = dict(zip(names, map(int, words), strict=False))
    return timedelta(days=int(days or 0), **own).total_seconds()


def _ask(command: Sequence[str]) -> str:
    """What a command of Slurm answers.

    Raises:
        EngineError: It fails, or takes too long.
    """
    answer = _call(command)
    if answer.returncode != 0:
        first = (answer.stderr.strip() or "no message").splitlines()[0]
        raise EngineError(f"Slurm does not answer: {first}.")
    return answer.stdout


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"Slurm does not answer: {command[0]}: {error}.") from error


def _explain(text: str) -> UsageError | EngineError:
    """The error of sbatch; one of the network does not tell whether the job was taken."""
    lines = [line for line in text.splitlines() if "error:" in line]
    reason = lines[-1].partition("error:")[2].strip() if lines else text.strip()
    is_silent = re.search(r"unable to contact|connect|timed out|communication", text, re.I)
    if is_silent:
        return EngineError(f"Slurm does not answer: {reason}.")
    return UsageError(
        f"Slurm refuses the job: {reason}. Change [cluster] in the experiment file, or give "
        "--cluster KEY=VALUE."
    )
