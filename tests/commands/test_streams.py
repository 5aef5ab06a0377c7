"""Standard streams that are closed, full, gone or of a narrow encoding: no work is lost by them.

Every command is carried out in a forked process whose streams are what a shell, a launcher or a
full disk would give it.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders.study import Size, write_study
from program import SHORT, Ended, command, only_run, wbcbench
from wbcbench.cli import COMMANDS, build_app, main
from wbcbench.commands import options
from wbcbench.core.streams import guard_streams

build_app(COMMANDS)  # imported once, before the forks

# Each command, light, and its exit code where nothing is wrong with the streams.
CALLS = {
    "demo": ("demo --meters nothing", 2),
    "run": ("run --variant nothing", 2),
    "list": ("list", 0),
    "show": ("show {run}", 0),
    "explain": ("explain {run} primary_energy_train_j", 0),
    "report": ("report nothing", 2),
    "tensorboard": ("tensorboard nothing", 2),
    "init": ("init .", 2),
    "plan": ("plan {plan}", 0),
    "sweep": ("sweep nothing.toml", 2),
    "finalise": ("finalise {run}", 2),
    "compare": ("compare", 0),
    "claims": ("claims nothing", 2),
    "export": ("export", 0),
    "submit": ("submit nothing", 2),
    "reproduce": ("reproduce nothing", 2),
    "merge": ("merge runs --into joined", 0),
    "verify": ("verify nothing", 2),
    "seal": ("seal nothing", 2),
    "monitor": ("monitor --meters simulated --no-save -- sh -c 'exit 7'", 7),
    "doctor": ("doctor --help", 0),
    "attach": ("attach {run} nothing.csv", 2),
    "schema": ("schema record", 0),
    "config": ("config show", 0),
    "delete": ("delete nothing", 2),
    "gc": ("gc --dry-run", 0),
    "cite": ("cite", 0),
    "models": ("models", 0),
    "data": ("data --help", 0),
}
FULL = "/dev/full"


@dataclass(frozen=True)
class State:
    """What the streams are: a file each, ``None`` if closed, ``""`` for a pipe without a reader.

    ``terminal`` is one that has hung up.
    """

    out: str | None = "out"
    err: str | None = "err"
    stdin: str | None = os.devnull
    encoding: str = "utf-8"


STATES = {
    "stdout closed": State(out=None),
    "stderr closed": State(err=None),
    "all closed": State(out=None, err=None, stdin=None),
    "stdout full": State(out=FULL),
    "both full": State(out=FULL, err=FULL),
    "both readers gone": State(out="", err=""),
    "terminal gone": State(out="terminal", err="terminal"),
    "koi8-r": State(encoding="koi8-r"),
    "ascii": State(encoding="ascii"),
}


FEW = ("all closed", "both readers gone")  # for what prints no result, or takes its time


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A study in the present folder, and what the calls name in it."""
    folder = tmp_path_factory.mktemp("streams")
    write_study(folder / "results", Size(blocks=2, images=40))
    before = Path.cwd()
    os.chdir(folder)
    runs = sorted((folder / "results" / "runs").glob("*/record.json"))
    yield {"run": runs[0].parent.name, "plan": "results/runs/plan.json"}
    os.chdir(before)


def open_stream(descriptor: int, name: str | None, folder: Path) -> None:
    """Give a descriptor its file, or none."""
    os.close(descriptor)
    if name is None:
        return
    if name == "terminal":
        other_side, handle = os.openpty()
        os.close(other_side)
    elif name:
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    else:
        reader, handle = os.pipe()
        os.close(reader)
    if handle != descriptor:
        os.dup2(handle, descriptor)
        os.close(handle)


def make_stream(descriptor: int, encoding: str) -> Any:
    return io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding)


def carry_out(work: Callable[[], None], state: State, folder: Path) -> Ended:
    """Do ``work`` in a process with these streams, set up as the interpreter does at its start."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.environ["WBCBENCH_RESULTS"] = "results"
            for descriptor, name in enumerate((state.stdin, state.out, state.err)):
                open_stream(descriptor, name, folder)
            sys.stdout = None if state.out is None else make_stream(1, state.encoding)
            sys.stderr = None if state.err is None else make_stream(2, state.encoding)
            sys.stdin = None  # type: ignore[assignment]
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException as error:  # noqa: BLE001 as the interpreter, whatever it is
            (folder / "err").write_text(f"Traceback {error!r}")
            code = 1
        finally:
            sys.stdout.flush()  # as at the end of the interpreter
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    encoding = "utf-8" if state.encoding == "ascii" else state.encoding
    out, err = (
        (folder / name).read_bytes().decode(encoding) if (folder / name).exists() else ""
        for name in ("out", "err")
    )
    return Ended(os.waitstatus_to_exitcode(status), out, err)


def call(name: str, study: dict[str, str], state: State, folder: Path) -> Ended:
    def work() -> None:
        sys.argv = ["wbcbench", *shlex.split(CALLS[name][0].format(**study))]
        main()

    return carry_out(work, state, folder)


def test_every_command_is_tried() -> None:
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("name", CALLS)
def test_no_state_of_the_streams_ends_a_command(
    name: str, study: dict[str, str], tmp_path: Path
) -> None:
    code = CALLS[name][1]
    for title in STATES if code == 0 else FEW:
        state = STATES[title]
        folder = tmp_path / title
        folder.mkdir()
        ended = call(name, study, state, folder)
        prints = name != "monitor" and code == 0  # something on standard output
        lost = prints and state.out == FULL
        assert (title, ended.code) == (title, 2 if lost else code), ended.err
        assert "Traceback" not in ended.err
        assert "Exception ignored" not in ended.err
        said = f"Standard output is incomplete: {os.strerror(errno.ENOSPC)}" in ended.err
        assert said == (lost and state.err == "err"), (title, ended.err)


def print_hostile() -> None:
    print("a\tb\x1b[2J\x9b2Jc \u2264 \udcff\u202e")
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False, color_system=None, width=80).print(Text("d \u2264"))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "a\tb\ufffd[2J\ufffd2Jc \u2264 \ufffd\ufffd\nd \u2264\n"),
        ("koi8-r", "a\tb?[2J?2Jc \u2264 ??\nd \u2264\n"),
        ("latin-1", "a\tb?[2J?2Jc ? ??\nd ?\n"),
        ("ascii", "a\tb\ufffd[2J\ufffd2Jc \u2264 \ufffd\ufffd\nd \u2264\n"),
    ],
)
def test_what_a_stream_cannot_say_or_must_not_is_replaced(
    encoding: str, expected: str, tmp_path: Path
) -> None:
    def work() -> None:
        guard_streams()
        print_hostile()

    assert carry_out(work, State(encoding=encoding), tmp_path).out == expected


def test_a_document_is_whole_in_every_encoding(tmp_path: Path) -> None:
    def work() -> None:
        guard_streams()
        options.print_json({"name": "\u2264 \x9b \udcff"})

    ended = carry_out(work, State(encoding="latin-1"), tmp_path)
    assert ended.json == {"name": "\u2264 \x9b \udcff"}


def test_a_pipe_that_answers_at_once_is_waited_for() -> None:
    """Some launchers set theirs so; a full one then takes nothing for a while."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    schema = subprocess.Popen(command("schema", "record"), stdout=writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert json.load(stream)["title"]
    assert schema.wait() == 0


def test_a_run_is_whole_although_nothing_can_be_said_of_it(cells: Path, tmp_path: Path) -> None:
    """Also in a folder whose name is not UTF-8."""
    reader, writer = os.pipe()
    os.close(reader)
    results = tmp_path / "r\udcfe"
    words = ("run", "--variant", "relu-dropout", "--data", str(cells), "--meters", "simulated")
    with Path(FULL).open("wb") as full:
        run = subprocess.Popen(
            command(*words, *SHORT, "--results", str(results)), stdout=full, stderr=writer
        )
    os.close(writer)
    assert run.wait() == 2  # its result was not printed
    run_dir = only_run(results)
    assert run_dir.read_record().status == "done"
    assert run_dir.read_traces()
    refused = wbcbench("run", "--variant", "relu-dropout", "--data", str(tmp_path / "d\udcff"))
    assert (refused.code, "is not UTF-8" in refused.err) == (2, True)
