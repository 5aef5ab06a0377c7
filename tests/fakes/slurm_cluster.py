"""A real Slurm on this machine: two nodes with a GPU each, munge, accounting in MariaDB.

    python -m fakes.slurm_cluster start FOLDER      (or: make cluster)
    python -m fakes.slurm_cluster stop FOLDER       (or: make cluster-stop)

Everything lies in one folder and listens on ports that were free at the start, so that two clusters
run side by side. The daemons of both nodes run on this machine; what they stand for are nodes
``n1`` and ``n2``. Partition ``main`` is the default and takes nodes from jobs of ``low``, which get
SIGTERM, 15 s and their place in the queue.

The GPUs are declared to Slurm, and scripted boards of ``fakes.nvml_scenario`` are behind NVML: a
task prolog gives each job those of its node, ``board("n1")`` or ``board("n2")``; ``Cluster.play``
gives a node others. Slurm sets ``CUDA_VISIBLE_DEVICES``.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from fakes.nvml_plugin import build_library
from fakes.nvml_scenario import VARIABLE, FakeGpu, Scenario
from fakes.process_keeper import DAEMONS, ORDERS
from fakes.scripted_trainer import make_python, write_plays

NODES = ("n1", "n2")
NODE_CPUS = 4
MEMORY_MB = 8000  # of a node, as declared
Victims = Literal["tasks", "daemons", "all"]
PROGRAMS = (
    "slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "mariadb-install-db", "cc",
)  # fmt: skip
GRACE_S = 15  # of a job that is preempted
NODE_TIMEOUT_S = 20  # after which a silent node is down
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))

# Most Unix systems end the path of a socket at 108 bytes; the longest name in the folder is
# ``munge.socket.lock``.
LONGEST_FOLDER = 80
# Below those that the kernel hands out to programs that ask for any.
PORTS = range(10_000, 30_000)


def missing_programs() -> list[str]:
    """The programs of a cluster that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]


@dataclass(frozen=True)
class Cluster:
    """A running cluster in ``folder``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What ``sbatch`` and its kind need, beside the environment that is there."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": SEARCH_PATH,
        }

    def command(self, *words: str, check: bool = True) -> str:
        """What one of Slurm's commands prints.

        Raises:
            subprocess.CalledProcessError: It failed, and ``check`` is true.
        """
        done = subprocess.run(
            words,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        )
        return done.stdout

    def play(self, node: str, *gpus: FakeGpu) -> None:
        """Give a node other boards, from the next opening of the driver on."""
        new = Scenario(gpus).write(self.folder / node, "boards.new")
        new.replace(new.with_name("boards.txt"))

    def pid(self, daemon: str) -> int:
        """Process id of ``n1``, ``n2``, ``slurmctld``, ``slurmdbd``, ``mariadbd``, ``munged``."""
        return int((self.folder / f"{daemon}.pid").read_text())

    def kill(self, daemon: str) -> None:
        """End one daemon by SIGKILL and wait until it is gone; job steps live on."""
        pid = self.pid(daemon)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), f"the end of {daemon}")

    def start(self, daemon: str) -> None:
        """Start a daemon again."""
        (self.folder / f"{daemon}.pid").unlink(missing_ok=True)
        _order(self.folder, f"start {daemon}")
        wait_until((self.folder / f"{daemon}.pid").exists, f"the start of {daemon}")

    def kill_node(self, node: str) -> None:
        """End a node's daemon by SIGKILL; the steps of its jobs live on."""
        self.kill(node)

    def start_node(self, node: str) -> None:
        """Start a node's daemon and wait until the controller has heard of it."""
        self.start(node)
        wait_until(lambda: is_up(self, node), f"node {node}")

    def kill_controller(self) -> None:
        """End the controller by SIGKILL; jobs that run go on."""
        self.kill("slurmctld")

    def start_controller(self) -> None:
        """Start the controller with the state that it had saved; wait until it answers."""
        self.start("slurmctld")
        wait_until(lambda: "UP" in self.command("scontrol", "ping", check=False), "the controller")

    def requeue_now(self, job: str) -> None:
        """Let a job that was requeued start again now; Slurm would wait for two minutes.

        On the node that has just killed its stale step it would fail: credential revoked.
        """
        self.command("scontrol", "update", f"JobId={job}", "StartTime=now")

    def kill_step(self, job_id: str, what: Victims = "all") -> list[int]:
        """End step daemons of a job, what they started (``tasks``), or all, by SIGKILL.

        Args:
            job_id: Its number; of a job of an array, ``squeue`` shows it as ``%A``.
            what: Of tasks Slurm hears at once, of daemons within a minute; tasks outlive those.

        Returns:
            The process ids.
        """
        pids = [pid for pid, kind in self._find_steps(job_id) if what in {kind, "all"}]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids

    def _find_steps(self, sought: str | None = None) -> Iterator[tuple[int, Victims]]:
        """Step daemons and their tasks, of one job or of all, whoever their parent is now."""
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                lines = (path / "environ").read_text(errors="replace").split("\0")
                variables = dict(line.split("=", 1) for line in lines if "=" in line)
                if variables.get("SLURM_CONF") != self.environment["SLURM_CONF"]:
                    continue
                title = (path / "cmdline").read_text(errors="replace")
                daemon = re.match(r"slurmstepd: \[(\d+)\.", title)
                job_id = daemon[1] if daemon else variables.get("SLURM_JOB_ID")
                if job_id is not None and sought in {None, job_id}:
                    yield int(path.name), "daemons" if daemon else "tasks"

    def stop(self) -> None:
        """End every process of the cluster and of its jobs; what they wrote stays."""
        with contextlib.suppress(OSError):  # the keeper is gone, and its daemons with it
            _order(self.folder, "stop")
            keeper = self.pid("keeper")
            wait_until(lambda: not is_running(keeper), "the end of the cluster")
        for pid, _ in self._find_steps():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start(folder: Path, *, gpus: int = 1, parent: int | None = None) -> Cluster:
    """Start a cluster and wait until both nodes take jobs.

    Args:
        folder: Where everything lies, on a short path; what an earlier cluster left there is
            removed.
        gpus: Of each node.
        parent: A process whose end is also the cluster's; ``None`` to keep it until ``stop``.

    Raises:
        ValueError: The path of the folder is too long.
        FileNotFoundError: Slurm, munge, MariaDB or a C compiler is not installed.
        TimeoutError: A daemon did not begin; its log lies in the folder.
    """
    folder = folder.absolute()
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        raise ValueError(f"sockets in {folder} would have too long a path; choose another folder")
    if missing := missing_programs():
        raise FileNotFoundError(f"not installed: {', '.join(missing)}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build_library(folder)
    cluster = Cluster(folder)
    for node in NODES:
        (folder / node / "spool").mkdir(parents=True)
        cluster.play(node, *(board(node, number) for number in range(gpus)))
    _write_configuration(folder, gpus)
    os.mkfifo(folder / ORDERS)
    words = [str(folder), *([] if parent is None else [str(parent)])]
    with (folder / "keeper.out").open("ab") as out:
        subprocess.Popen(
            [sys.executable, "-m", "fakes.process_keeper", *words],
            env={**os.environ, **cluster.environment, "MYSQL_UNIX_PORT": str(folder / "db.socket")},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        _start_daemons(cluster)
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _start_daemons(cluster: Cluster) -> None:
    """Each as soon as what it needs answers; a node that finds no controller waits 10 s."""
    folder = cluster.folder
    wait_until((folder / "keeper.pid").exists, "the keeper")
    cluster.start("munged")
    cluster.start("mariadbd")
    wait_until((folder / "munge.socket").is_socket, "munge")
    wait_until((folder / "db.socket").is_socket, "the database", within_s=240)
    cluster.start("slurmdbd")
    wait_until(lambda: cluster.command("sacctmgr", "-n", "show", "tres", check=False), "slurmdbd")
    cluster.start_controller()
    for node in NODES:
        cluster.start(node)
    for node in NODES:
        wait_until(partial(is_up, cluster, node), f"node {node}")


def is_up(cluster: Cluster, node: str) -> bool:
    """Whether a node takes jobs or has them."""
    states = cluster.command("sinfo", "-h", "-N", "-n", node, "-o", "%T", check=False).split()
    return bool(states) and all(
        state in {"idle", "mixed", "allocated", "completing"} for state in states
    )


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has waited for has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: It does not hold within ``within_s`` seconds.
    """
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{what} did not happen within {within_s:.0f} s")
        time.sleep(0.02)


def _order(folder: Path, order: str) -> None:
    handle = os.open(folder / ORDERS, os.O_WRONLY | os.O_NONBLOCK)  # an error where nobody reads
    os.write(handle, f"{order}\n".encode())
    os.close(handle)


def board(node: str, number: int = 0) -> FakeGpu:
    """A board of a node as the cluster begins; equal but for where it is and what it is called."""
    place = f"{node.removeprefix('n')}{number}"
    return FakeGpu(
        uuid=f"GPU-{place}000000-2222-3333-4444-555555555555",
        serial=f"13200000000{place}",
        bus=f"00000000:{number + 1:02X}:00.0",
    )


def _write_configuration(folder: Path, gpus: int) -> None:
    host, user = socket.gethostname(), getpass.getuser()
    ports = _free_ports(2 + len(NODES))
    auth = f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge.socket\n"
    _write_secret(folder / "munge.key", os.urandom(128))
    prolog = folder / "task-prolog"
    prolog.write_text(
        f"#!/bin/sh\n"
        f'echo "export {VARIABLE}={folder}/$SLURMD_NODENAME/boards.txt"\n'
        f'echo "export LD_LIBRARY_PATH={folder}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
    )
    prolog.chmod(0o755)
    nodes = "".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={NODE_CPUS} "
        f"RealMemory={MEMORY_MB} Gres=gpu:scripted:{gpus} State=UNKNOWN\n"
        for node, port in zip(NODES, ports[2:], strict=True)
    )
    (folder / "slurm.conf").write_text(
        f"ClusterName=scripted\n"
        f"SlurmctldHost={host}(127.0.0.1)\n"
        f"SlurmctldPort={ports[0]}\n"
        f"SlurmUser={user}\n"
        f"SlurmdUser={user}\n"
        f"{auth}"
        f"StateSaveLocation={folder}/state\n"
        f"SlurmdSpoolDir={folder}/%n/spool\n"
        f"SlurmctldPidFile={folder}/slurmctld.own-pid\n"
        f"SlurmdPidFile={folder}/%n.own-pid\n"
        f"SlurmctldLogFile={folder}/slurmctld.log\n"
        f"SlurmdLogFile={folder}/%n.log\n"
        # No cgroups: in a container there are none, and they take root.
        f"ProctrackType=proctrack/linuxproc\n"
        f"TaskPlugin=task/none\n"
        f"TaskProlog={prolog}\n"
        f"SlurmdParameters=config_overrides\n"
        f"SlurmdTimeout={NODE_TIMEOUT_S}\n"
        f"KillWait=30\n"
        f"ReturnToService=2\n"
        f"MpiDefault=none\n"
        f"SelectType=select/cons_tres\n"
        f"SelectTypeParameters=CR_Core_Memory\n"
        f"DefMemPerCPU={MEMORY_MB // NODE_CPUS // 2}\n"
        f"PreemptType=preempt/partition_prio\n"
        f"PreemptMode=REQUEUE\n"
        f"JobAcctGatherType=jobacct_gather/none\n"
        f"AccountingStorageType=accounting_storage/slurmdbd\n"
        f"AccountingStorageHost=127.0.0.1\n"
        f"AccountingStoragePort={ports[1]}\n"
        f"AccountingStoragePass={folder}/munge.socket\n"  # what it is called there
        f"AccountingStorageTRES=gres/gpu\n"
        f"GresTypes=gpu\n"
        f"{nodes}"
        f"PartitionName=main Nodes=ALL Default=YES PriorityTier=10 PreemptMode=OFF State=UP\n"
        f"PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime={GRACE_S} "
        f"State=UP\n"
    )
    # A character device, named by the number of its GPU. Without cgroups it is all the same which,
    # and to make one takes root.
    for number in range(gpus):
        (folder / f"nvidia{number}").symlink_to(os.devnull)
    devices = f"{folder}/nvidia[0-{gpus - 1}]"
    (folder / "gres.conf").write_text(
        f"NodeName={','.join(NODES)} Name=gpu Type=scripted File={devices}\n"
    )
    database = (
        f"{auth}DbdHost={host}\nDbdAddr=127.0.0.1\nDbdPort={ports[1]}\nSlurmUser={user}\n"
        f"LogFile={folder}/slurmdbd.log\nPidFile={folder}/slurmdbd.own-pid\n"
        f"StorageType=accounting_storage/mysql\nStorageHost=localhost\nStorageUser=root\n"
    )
    _write_secret(folder / "slurmdbd.conf", database.encode())
    (folder / DAEMONS).write_text(json.dumps(_daemons(folder, user)))


def _daemons(folder: Path, user: str) -> dict[str, Sequence[str]]:
    """The command of each daemon, in the foreground."""
    where = f"--datadir={folder}/db"
    small = "--innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=2"
    # It outlives no crash of the machine; to wait for the disk takes minutes where others write.
    hasty = "--innodb-flush-method=nosync --sync-frm=0 --aria-sync-log-dir=NEVER"
    database = f"""
        mariadb-install-db --no-defaults --user={user} {where} {small} --skip-test-db \\
          --auth-root-authentication-method=normal --skip-name-resolve {hasty} || exit 1
        exec mariadbd --no-defaults --user={user} {where} {small} --skip-networking \\
          --socket={folder}/db.socket --pid-file={folder}/db.pid
    """
    munge = f"--key-file={folder}/munge.key --socket={folder}/munge.socket --force --foreground"
    munge += f" --pid-file={folder}/munge.own-pid --log-file={folder}/munge.log"
    munge += f" --seed-file={folder}/munge.seed"
    return {
        "munged": ["munged", *munge.split()],
        "mariadbd": ["sh", "-c", database],
        "slurmdbd": ["slurmdbd", "-D"],
        "slurmctld": ["slurmctld", "-D"],
        **{node: [*_as_host(node), "slurmd", "-D", "-N", node] for node in NODES},
    }


def _as_host(name: str) -> list[str]:
    """Before a command that is to believe itself on another host; root may do that, if any."""
    words = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
    is_possible = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if is_possible else []


def _write_secret(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def _free_ports(count: int) -> list[int]:
    """Different ports on which nothing listens now."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.socket() as trial:
            trial.bind(("", port))
            found.append(port)
        if len(found) == count:
            break
    return found


def main() -> None:
    """Start or stop the cluster of a folder."""
    order, word = sys.argv[1:]
    folder = Path(word).resolve()
    if order == "stop":
        Cluster(folder).stop()
        return
    try:
        cluster = start(folder)
    except (ValueError, FileNotFoundError, TimeoutError) as error:
        sys.exit(f"No cluster was started: {error}.")
    programs = make_python(folder / "python").parent
    plays = write_plays(folder / "plays.json")
    print("# A Slurm of two nodes runs. With these, `wbcbench` has a scripted trainer on them:")
    variables = cluster.environment | plays
    del variables["PATH"]
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f'export PATH={shlex.quote(str(programs))}:"$PATH":/usr/sbin')


if __name__ == "__main__":
    main()
