"""What made the numbers: version, commit, packages, host, processor, command.

Nothing here names a person or a host in clear: the host is a salted hash, so that runs of one
machine can be told from another's without saying which machine it is. Only the name of a node on a
cluster, by which its owner finds it, is kept; a bundle holds it as a hash.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path, PurePath

import psutil
from pydantic import JsonValue

from wbcbench.core.files import read_if_any, sha256_of
from wbcbench.core.job import JOB, read_job
from wbcbench.core.text import encodable
from wbcbench.core.version import __version__

LOCK_FILE = "requirements.lock"
"""At the root of a checkout: the packages that it is installed with."""

PACKAGES = (
    "tensorflow", "keras", "numpy", "opencv-python-headless", "simplejpeg", "nvidia-ml-py",
    "codecarbon",
)  # fmt: skip
_SALT = "wbcbench-host-1"


_SECRET = r"[\w-]*(?:api.?key|token|secret|passw|credential)[\w-]*"
_HIDDEN = "***"
_GIT_TIMEOUT_S = 120.0


def hide_secrets(command: Sequence[str]) -> tuple[str, ...]:
    """A command line without the values of options and variables that are named like secrets.

    Words that are no UTF-8 stand escaped: a record holds nothing else.
    """
    words: list[str] = []
    for word in map(encodable, command):
        is_value = bool(words) and re.fullmatch(f"(?i)-+{_SECRET}", words[-1])
        words.append(
            _HIDDEN if is_value else re.sub(f"(?i)({_SECRET}=)\\S+", rf"\1{_HIDDEN}", word)
        )
    return tuple(words)


def provenance(command: tuple[str, ...]) -> dict[str, JsonValue]:
    """Facts of this moment on this machine, ready for the record."""
    return {
        "wbcbench_version": __version__,
        "command": list(command),
        "python_version": platform.python_version(),
        "os": platform.platform(),
        "host_id": host_id(),
        "boot_id": _hash_identity(read_if_any(Path("/proc/sys/kernel/random/boot_id"))),
        # One moment on both clocks, so that an external meter's log can be laid on the trace.
        "clock_pair": {"utc_s": time.time(), "monotonic_s": time.monotonic()},
        "packages": {name: read_version(name) for name in PACKAGES},
        "lock_sha256": lock_sha256(),
        "program_sha256": program_sha256(),
        **_read_commit(),
        **_describe_machine(),
        **({JOB: job} if (job := read_job(os.environ)) else {}),
    }


def host_id() -> str:
    """Salted hash of the machine's identity, twelve hexadecimal digits."""
    return str(_hash_identity(read_if_any(Path("/etc/machine-id")) or platform.node()))


def _hash_identity(identity: str | None) -> str | None:
    if identity is None:
        return None
    return hashlib.sha256(f"{_SALT}:{identity}".encode()).hexdigest()[:12]


def read_version(package: str) -> str | None:
    """The version of an installed package; ``None`` if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def program_sha256() -> str:
    """The digest of this program's own files, of whatever version they call themselves."""
    package = Path(__file__).parents[1]
    files = (path for path in package.rglob("*") if path.is_file())
    names = ((path, path.relative_to(package)) for path in files)
    return digest_program((name, sha256_of(path)) for path, name in names if is_source(name))


def is_source(name: PurePath) -> bool:
    """Whether a file in the package is the program's own: no bytecode, no cache, no backup."""
    is_hidden = any(part == "__pycache__" or part.startswith(".") for part in name.parts)
    return not is_hidden and name.suffix != ".pyc" and not name.name.endswith("~")


def digest_program(files: Iterable[tuple[PurePath, str]]) -> str:
    """The digest of the program whose files have these SHA-256, by their path in the package."""
    return hashlib.sha256(
        "\n".join(f"{name} {sha256}" for name, sha256 in sorted(files)).encode()
    ).hexdigest()


def source_root() -> Path | None:
    """The checkout this package runs from; ``None`` when it was installed from a wheel."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").exists() else None


def lock_sha256() -> str | None:
    """Digest of the lock that this checkout's packages came from; ``None`` outside of one."""
    root = source_root()
    lock = root / LOCK_FILE if root else None
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock and lock.exists() else None


def _read_commit() -> dict[str, JsonValue]:
    root = source_root()
    if root is None or shutil.which("git") is None or not (root / ".git").exists():
        return {"git_commit": None, "git_dirty": None}
    commit = run_git(root, "rev-parse", "HEAD")
    # Results and reports are what a run makes; they do not change what the code does.
    changes = run_git(
        root, "status", "--porcelain", "--", ".", ":!results", ":!reports", ":!experiments"
    )
    return {
        "git_commit": commit.decode().strip() if commit else None,
        "git_dirty": None if changes is None else bool(changes),
    }


def run_git(root: Path, *words: str) -> bytes | None:
    """The output of git about a checkout, whatever the user's settings say; ``None`` on an error.

    Variables of a hook or a script may name another checkout, and settings other forms of output.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *words]
    try:
        return subprocess.run(
            command, check=True, capture_output=True, env=environment, timeout=_GIT_TIMEOUT_S
        ).stdout
    except subprocess.SubprocessError:
        return None


def _describe_machine() -> dict[str, JsonValue]:
    lines = (read_if_any(Path("/proc/cpuinfo")) or "").splitlines()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    groups = read_if_any(Path("/proc/1/cgroup")) or ""
    return {
        "cpu_model": next(models, platform.processor() or None),
        "cpu_count": os.cpu_count(),
        "cpu_governor": read_if_any(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "ram_bytes": psutil.virtual_memory().total,
        "loadavg_start": os.getloadavg()[0],
        "in_container": any(mark.exists() for mark in marks) or "docker" in groups,
        "virtualised": virtualised(),
        "python_executable_in_venv": sys.prefix != sys.base_prefix,
    }


def virtualised() -> bool | None:
    """Whether a hypervisor is underneath; ``None`` if the system does not say."""
    flags = read_if_any(Path("/proc/cpuinfo"))
    return None if flags is None else " hypervisor" in flags
