"""Slurm: jobs are submitted through submitit; ``squeue`` and ``sacct`` say what became of them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.run.launchers import CarryOut, EngineError, JobStage, JobStatus
from wbcbench.run.launchers.cluster import ClusterSettings

_LOGS = "slurm"  # beside the folders of the jobs: scripts, logs and what submitit keeps
_ANSWER_S = 60.0
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT",
            "RESV_DEL_HOLD"}  # fmt: skip
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_LOST = {"NODE_FAIL", "BOOT_FAIL", "REVOKED"}
_DEFAULT_ARRAY = 1001
_USUAL_TIME = "1:00:00"


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
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask(["scontrol", "show", "config"]), re.M)
        return max(int(found[1]) - 1 if found else _DEFAULT_ARRAY - 1, 1)

    def submit(
        self, name: str, folders: Sequence[Path], carry_out: CarryOut, node: str = ""
    ) -> list[str]:
        """Submit a job for each folder, several as one array; see ``Queue.submit``."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        executor = SlurmExecutor(self._jobs / _LOGS, python=self._python)
        bound = {"nodelist": node} if node and self._is_up(node) else {}
        executor.update_parameters(**self._parameters(name), **bound)
        try:
            with executor.batch():
                jobs = [executor.submit(_work, carry_out, folder.resolve()) for folder in folders]
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
            # Since 22.05 a step no longer takes over the processors of its job.
            "srun_args": [f"--cpus-per-task={own.cpus}"],
            "additional_parameters": {"time": own.time or self._usual_time, "requeue": True},
            **{key: value for key, value in given.items() if value},
        }

    @cached_property
    def _usual_time(self) -> str:
        """The time limit of a job that asks for none: its partition's default, or its longest."""
        partition = ["--partition", self._settings.partition] * bool(self._settings.partition)
        lines = _ask(["sinfo", "--noheader", "--format", "%P %L %l", *partition]).splitlines()
        own = [line for line in lines if partition or line.split()[0].endswith("*")] or lines
        times = own[0].split()[1:] if own else []
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
            found |= dict(_read_lines(text, jobs))
        unknown = JobStatus(JobStage.LOST, text="Slurm no longer knows it")
        return {job_id: found.get(job_id, unknown) for job_id in jobs}

    @cached_property
    def _has_accounting(self) -> bool:
        return "accounting_storage/none" not in _ask(["scontrol", "show", "config"])

    def cancel(self, ids: Collection[str]) -> None:
        """End jobs; Slurm sends SIGTERM first, and kills after its ``KillWait``."""
        _ask(["scancel", *ids])


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
            yield job_id, JobStatus(JobStage.WAITING, text=text)
            continue
        is_certain = word not in _LOST and restarts == "0" and lives[job_id] == 1
        over = JobStage.ENDED if is_certain else JobStage.LOST
        yield job_id, JobStatus(JobStage.RUNNING if word in _RUNNING else over, node, word)


def _ask(command: Sequence[str]) -> str:
    """What a command of Slurm answers.

    Raises:
        EngineError: It fails, or takes too long.
    """
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"Slurm does not answer: {command[0]}: {error}.") from error
    if answer.returncode != 0:
        first = (answer.stderr.strip() or "no message").splitlines()[0]
        raise EngineError(f"Slurm does not answer: {first}.")
    return answer.stdout


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
