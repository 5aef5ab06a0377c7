"""Every option that a message, a help text or a document names is an option of some command."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import typer.main

from wbcbench.cli import COMMANDS, HIDDEN, build_app

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harness" / "wbcbench"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+\b")
FOREIGN = {  # of git, pip, TensorBoard, benchmarks, `make gpu`; "--no" begins one that is built
    "--porcelain", "--no-color", "--no-ext-diff", "--no-deps", "--require-hashes", "--host",
    "--logdir", "--check", "--from", "--length", "--only", "--rounds", "--seconds", "--no",
    "--quick", "--no-setup", "--skip",
}  # fmt: skip

FOREIGN_ON_CLUSTERS = {  # of Slurm's commands, and of containers
    "--allocations", "--array", "--cpus-per-task", "--duplicates", "--exclusive", "--gpus-per-task",
    "--gres", "--job", "--jobs", "--me", "--name", "--nodes", "--noheader", "--ntasks", "--nv",
    "--partition", "--signal", "--starttime", "--states", "--test-only", "--wrap",
}  # fmt: skip


def own_options() -> set[str]:
    """The options of every command."""
    commands = [typer.main.get_command(build_app([*COMMANDS, *HIDDEN]))]
    options = {"--help", "--install-completion", "--show-completion", "--version"}
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            options |= {*parameter.opts, *parameter.secondary_opts}
    return options


def test_every_option_that_is_named_exists() -> None:
    texts = {
        path: " ".join(
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        for path in PACKAGE.rglob("*.py")
    }
    texts |= {
        path: path.read_text() for path in (*ROOT.glob("*.md"), *ROOT.glob("harness/**/*.md"))
    }
    changelog = ROOT / "CHANGELOG.md"
    texts[changelog] = re.sub(r"<!-- renamed.*renamed: end -->", "", texts[changelog], flags=re.S)
    known = own_options() | FOREIGN | FOREIGN_ON_CLUSTERS
    unknown = {
        f"{path.relative_to(ROOT)}: {option}"
        for path, text in texts.items()
        for option in OPTION.findall(text)
        if option not in known
    }
    assert unknown == set()
