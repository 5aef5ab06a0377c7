"""The command line in forked processes: as alone as a process of its own, without its start."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wbcbench import cli

CPU_LIMIT_S = 60
WALL_LIMIT_S = 240  # of a command that waits for something that never comes
DOCUMENTED = frozenset({0, 2, 3, 4, 5, 6, 7, 8})


@dataclass(frozen=True)
class Said:
    """What a command left: its exit status (negative: a signal), its output, its errors."""

    code: int
    out: str
    err: str


def load_commands() -> None:
    """Import every command once, so that each fork has them."""
    for where, _ in cli.COMMANDS.values():
        importlib.import_module(f"wbcbench.commands.{where.partition(':')[0]}")
    for name in ("pandas", "pyarrow.parquet", "cv2", "matplotlib.figure", "wbcbench.bundle.verify"):
        importlib.import_module(name)


def say(words: Sequence[str], folder: Path) -> Said:
    """Run ``wbcbench WORDS`` in ``folder``."""
    out, err = folder / ".out", folder / ".err"
    pid = os.fork()
    if pid == 0:
        _run_child(words, folder, out, err)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(WALL_LIMIT_S)
    _, status = os.waitpid(pid, 0)
    signal.alarm(0)
    texts = [path.read_bytes().decode(errors="backslashreplace") for path in (out, err)]
    return Said(os.waitstatus_to_exitcode(status), *texts)


def _run_child(words: Sequence[str], folder: Path, out: Path, err: Path) -> None:
    """What the forked process does; never returns."""
    code = 1
    try:
        for fd, path, flags in ((0, Path(os.devnull), os.O_RDONLY), (1, out, -1), (2, err, -1)):
            opened = os.open(path, flags if flags >= 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, fd)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
        sys.stdin, sys.stdout, sys.stderr = (
            open(fd, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            for fd, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        os.chdir(folder)
        for name in [n for n in os.environ if n.startswith("WBCBENCH_")]:
            del os.environ[name]
        os.environ["WBCBENCH_CACHE"] = str(folder / ".cache")
        sys.argv = ["wbcbench", *words]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - whatever a process would end with
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(code)
