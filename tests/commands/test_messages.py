"""Every message and warning fits three lines of 80 columns, with realistic names in it."""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from wbcbench.core import errors
from wbcbench.core.errors import WbcbenchError, unknown_name
from wbcbench.core.extras import TRAINING_PACKAGES, missing_packages_error
from wbcbench.registry import KINDS

PACKAGE = Path(__file__).parents[2] / "harness" / "wbcbench"
COLUMNS, LINES = 80, 3
KINDS_OF_ERROR = {
    name for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, WbcbenchError)
} | {"CommandNotFoundError", "CommandNotRunnableError"}  # fmt: skip

WARNING = "make_warning"  # its second argument is the detail

# What stands for a value in a message: the first pattern that its expression contains.
SAMPLES = (
    (r"error|reason|problem|cause", "Permission denied"),
    (
        r"join\(|list_some|names|known|images|files|keys",
        "relu-dropout, leaky-dropout, relu-batchnorm",
    ),
    (r"sha256|digest", "528515c4d9e1"),
    (r"run_id|run\b", "leaky-dropout-s1-528515c4"),
    (r"path|folder|file|root|dir|target|destination|out\b|into|source", "results/pilot/plan.json"),
    (r"len\(|count|number|index|blocks|seed|size|pid|_s\b|_w\b|_j\b|_c\b", "12"),
    (r"gpu|uuid|device|board", "GPU-5f0a91b2"),
)


def sample(value: ast.expr, spec: str) -> str:
    """A realistic text for a placeholder."""
    if isinstance(value, ast.IfExp):
        return max(sample(value.body, spec), sample(value.orelse, spec), key=len)
    if isinstance(value, ast.Constant | ast.JoinedStr):
        return render(value)
    if re.search(r"[\dfgdn,]", spec):
        return "12.3"
    text = ast.unparse(value)
    return next((given for pattern, given in SAMPLES if re.search(pattern, text)), "by-photograph")


def render(node: ast.expr) -> str:
    """The text of a literal with its placeholders filled."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(render, node.values))
    if isinstance(node, ast.FormattedValue):
        return sample(node.value, ast.unparse(node.format_spec) if node.format_spec else "")
    return sample(node, "")


def texts_of(node: ast.expr, functions: dict[str, ast.FunctionDef]) -> Iterator[ast.expr]:
    """The literals that a message can be: its own, or those a helper of the module returns."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from texts_of(node.body, functions)
        yield from texts_of(node.orelse, functions)
    elif isinstance(node, ast.Call) and (function := functions.get(ast.unparse(node.func))):
        for part in ast.walk(function):
            if isinstance(part, ast.Return) and part.value is not None:
                yield from texts_of(part.value, functions)


def messages() -> Iterator[tuple[str, str]]:
    """Where each message stands and how it reads, module by module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).split(".")[-1]
            texts = node.args[:1] if name in KINDS_OF_ERROR else []
            texts = node.args[1:2] if name == WARNING else texts
            for text in itertools.chain.from_iterable(texts_of(t, functions) for t in texts):
                yield f"{path.relative_to(PACKAGE)}:{text.lineno}", render(text)


MESSAGES = list(messages())


def lines(text: str) -> int:
    """How many lines of a terminal a message takes, as ``cli.main`` prints it."""
    return sum(math.ceil(max(len(line), 1) / COLUMNS) for line in f"error: {text}".split("\n"))


def test_there_are_messages_to_check() -> None:
    assert len(MESSAGES) > 150
    assert {place.split("/")[0] for place, _ in MESSAGES} >= {"core", "commands", "power", "study"}


@pytest.mark.parametrize("room", sorted({place.split("/")[0] for place, _ in MESSAGES}))
def test_every_message_of_a_room_fits_three_lines_of_eighty_columns(room: str) -> None:
    long = [
        f"{place} ({lines(text)} lines): {text}"
        for place, text in MESSAGES
        if place.split("/")[0] == room and lines(text) > LINES
    ]
    assert not long, "\n".join(long)


def test_an_unknown_name_of_any_kind_fits_as_well() -> None:
    for kind, parts in KINDS.items():
        if kind not in {"section", "check"}:  # nobody types these
            assert lines(str(unknown_name(kind, "leaky-dropuot", parts))) <= LINES
    assert lines(str(missing_packages_error(list(TRAINING_PACKAGES)))) <= LINES
