"""The entry point: one table of commands, quick help, errors as exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from program import wbcbench
from wbcbench.cli import COMMANDS, HIDDEN, build_app, help_page
from wbcbench.core.errors import WbcbenchError, error_named
from wbcbench.core.version import __version__

HEAVY = {"tensorflow", "keras", "numpy", "cv2", "pandas", "matplotlib", "scipy", "statsmodels",
         "pyarrow", "pynvml", "codecarbon", "pydantic", "rich", "typer"}  # fmt: skip
ROOT = Path(__file__).parents[2]


def modules_after(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_help_imports_no_heavy_library() -> None:
    program = "import sys; sys.argv = ['wbcbench', '--help']\nfrom wbcbench.cli import main; main()"
    assert not modules_after(program) & HEAVY


def test_a_commands_own_help_imports_no_library_that_computes() -> None:
    light = {"typer", "rich", "pydantic"}
    program = "from wbcbench.cli import COMMANDS, build_app; build_app(COMMANDS)"
    assert not modules_after(program) & (HEAVY - light)


def test_help_names_every_command() -> None:
    ended = wbcbench("--help")
    assert ended.code == 0
    assert ended.out == help_page() + "\n"
    assert all(f"  {name} " in ended.out for name in COMMANDS)


def test_the_help_page_fits_a_terminal_of_eighty_columns() -> None:
    assert max(map(len, help_page().splitlines())) <= 80


@pytest.mark.parametrize("name", [*COMMANDS, *HIDDEN])
def test_every_command_of_the_table_exists_and_helps(name: str) -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(build_app([name]), [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage:" in done.output
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("-")], "a word is broken"


def test_an_unknown_command_gets_the_nearest_match() -> None:
    ended = wbcbench("reprot")
    assert ended.code == 2
    assert "Did you mean 'report'?" in ended.err


def test_the_version_is_printed() -> None:
    assert wbcbench("--version").out == f"wbcbench {__version__}\n"


def test_every_error_has_its_own_exit_code_and_stands_in_the_docstring() -> None:
    from wbcbench.core import errors

    kinds = [k for k in WbcbenchError.__subclasses__() if k.__module__ == errors.__name__]
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
    assert all(error_named(kind.__name__) is kind for kind in kinds)


def test_output_into_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m wbcbench models --json | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
