"""Every message and warning fits three lines of 80 columns, with realistic names in it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wbcbench.core import errors
from wbcbench.core.errors import WbcbenchError, unknown_name
from wbcbench.core.extras import TRAINING_PACKAGES, missing_packages_error
from wbcbench.energy.warnings import load_warnings
from wbcbench.registry import KINDS

PACKAGE = Path(__file__).parents[2] / "harness" / "wbcbench"
COLUMNS, LINES = 80, 3
INDENT = 6  # of a warning's detail and advice in `show`
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
    if re.search(r"[\dfgdn,]", spec):
        return "12.3"
    text = ast.unparse(value)
    return next((given for pattern, given in SAMPLES if re.search(pattern, text)), "by-photograph")


class Module:
    """One module: what its functions return and its names are assigned."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = list(ast.walk(self.tree))
        self.functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        self.owners = {
            id(part): function
            for function in self.functions.values()
            for part in ast.walk(function)
        }

    def assigned(self, name: str, near: ast.expr) -> Iterator[ast.expr]:
        """Every value of a local name, in the function where it is read."""
        for node in ast.walk(self.owners.get(id(near), self.tree)):
            if isinstance(node, ast.Assign | ast.NamedExpr):
                target = node.target if isinstance(node, ast.NamedExpr) else node.targets[0]
                if ast.unparse(target) == name:
                    yield node.value
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Tuple):
                names = [ast.unparse(target) for target in node.target.elts]
                if name in names:
                    yield from self.items(node.iter, names.index(name))

    def items(self, values: ast.expr, index: int) -> Iterator[ast.expr]:
        """One part of the pairs that a local list is begun with or appended."""
        for node in ast.walk(self.owners.get(id(values), self.tree)):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == f"{ast.unparse(values)}.append"
                and isinstance(node.args[0], ast.Tuple)
            ):
                yield node.args[0].elts[index]

    def render(self, node: ast.expr, followed: frozenset[str]) -> str:
        """The longest text of an expression with its placeholders filled."""
        spec = ""
        if isinstance(node, ast.FormattedValue):
            spec, node = ast.unparse(node.format_spec or ast.Constant("")), node.value
        return max(self.texts_of(node, followed), key=len, default="") or sample(node, spec)

    def texts_of(self, node: ast.expr, followed: frozenset[str] = frozenset()) -> Iterator[str]:
        """How an expression can read: a literal, a local name, a joined text or a helper's."""
        if isinstance(node, ast.Constant):
            yield str(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(self.render(part, followed) for part in node.values)
        elif isinstance(node, ast.IfExp):
            yield from self.texts_of(node.body, followed)
            yield from self.texts_of(node.orelse, followed)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield self.render(node.left, followed) + self.render(node.right, followed)
        elif isinstance(node, ast.Name) and node.id not in followed:
            for value in self.assigned(node.id, node):
                yield from self.texts_of(value, followed | {node.id})
        elif isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in self.functions:
            for part in ast.walk(self.functions[name]) if name not in followed else ():
                if isinstance(part, ast.Return) and part.value is not None:
                    yield from self.texts_of(part.value, followed | {name})


@dataclass(frozen=True)
class Message:
    """Where a message stands, its expression, and how it can read."""

    path: str
    line: int
    is_warning: bool
    source: str
    texts: list[str]

    @property
    def room(self) -> str:
        return self.path.split("/")[0]


def messages() -> Iterator[Message]:
    """Every error and warning of the package, module by module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = Module(path)
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).split(".")[-1]
            is_warning = name == WARNING
            texts = node.args[is_warning : is_warning + 1]
            for text in texts if is_warning or name in KINDS_OF_ERROR else ():
                where = path.relative_to(PACKAGE).as_posix(), node.lineno, is_warning
                yield Message(*where, ast.unparse(text), list(module.texts_of(text)))


MESSAGES = list(messages())

# What is said elsewhere, and rendered there.
PASSED_ON = {
    ("core/errors.py", "'\\n'.join(lines)"): "what is wrong in a file, a line each",
    ("bundle/verify/bundle.py", "problem"): "described in bundle/document.py",
    ("bundle/verify/budget.py", "problem"): "of a child that ended, described in the same file",
    ("energy/checks/job.py", "seen"): "described in the same file",
    ("measure/window_result.py", "self.elsewhere"): "the error of a rank that measures nothing",
    ("power/meter.py", "str(reason)"): "a meter's own error",
    ("power/meter.py", "str(errors[0])"): "a meter's own error",
}


def lines(text: str, indent: int = 0) -> int:
    """How many lines of a terminal a text takes, broken between words."""
    wrapped = (
        textwrap.wrap(line, COLUMNS - indent, break_on_hyphens=False) for line in text.split("\n")
    )
    return sum(max(len(parts), 1) for parts in wrapped)


def lines_of(message: Message, text: str) -> int:
    """As ``cli.main`` prints an error, and ``show`` the detail of a warning."""
    return lines(text, INDENT) if message.is_warning else lines(f"error: {text}")


def test_there_are_messages_to_check() -> None:
    assert len(MESSAGES) > 250
    assert {message.room for message in MESSAGES} >= {"core", "commands", "power", "study"}


def test_every_message_is_rendered_or_passed_on() -> None:
    unknown = {(message.path, message.source) for message in MESSAGES if not message.texts}
    assert unknown == set(PASSED_ON)


@pytest.mark.parametrize("room", sorted({message.room for message in MESSAGES}))
def test_every_message_of_a_room_fits_three_lines_of_eighty_columns(room: str) -> None:
    long = [
        f"{message.path}:{message.line} ({lines_of(message, text)} lines): {text}"
        for message in MESSAGES
        for text in message.texts
        if message.room == room and lines_of(message, text) > LINES
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("code", sorted(load_warnings()))
def test_the_advice_of_a_warning_fits_as_well(code: str) -> None:
    assert lines(f"advice: {load_warnings()[code].advice}", INDENT) <= LINES


def test_an_unknown_name_of_any_kind_fits_as_well() -> None:
    for kind, parts in KINDS.items():
        if kind not in {"section", "check"}:  # nobody types these
            assert lines(f"error: {unknown_name(kind, 'leaky-dropuot', parts)}") <= LINES
    assert lines(f"error: {missing_packages_error([*TRAINING_PACKAGES.values()])}") <= LINES
