"""Names of windows: what they say of a window, and that no other module spells one."""

import ast
import re
from pathlib import Path

import pytest

import wbcbench
from wbcbench.core import window

PACKAGE = Path(wbcbench.__file__).parent

# A whole string, or the constant part of an f-string, that is or begins a window's name.
NAME = re.compile(
    r"train|startup|warmup|evaluate|idle_(?:cold|context|post)?|(?:epoch|validate)-\d*|infer-(?:b\d*)?"
)

# The same word for something else.
OTHER_MEANING = {
    ("bundle/verify/scores.py", "train"),  # a split of the images
    ("doctor/environment.py", "train"),  # an extra of the package
}

EVERY_KIND = (
    "idle_cold", "startup", "idle_context", "warmup", "train",
    "epoch-1", "validate-1", "evaluate", "infer-b1", "infer-b64", "idle_post",
)  # fmt: skip


def test_the_names_on_disk_are_these():
    made = (
        window.IDLE_COLD, window.STARTUP, window.IDLE_CONTEXT, window.WARMUP, window.TRAIN,
        window.epoch(1), window.validate(1), window.EVALUATE, window.infer(1),
        window.infer(64), window.IDLE_POST,
    )  # fmt: skip
    assert made == EVERY_KIND
    assert window.IDLE_BEFORE == ("idle_context", "idle_cold")
    assert window.IDLE_AFTER == ("idle_post",)


@pytest.mark.parametrize(
    ("asked", "yes"),
    [
        (window.is_validation, {"validate-1"}),
        (
            window.is_work,
            {"train", "epoch-1", "validate-1", "evaluate", "infer-b1", "infer-b64"},
        ),
        (window.is_consecutive, set(EVERY_KIND) - {"epoch-1", "validate-1"}),
    ],
)
def test_a_name_says_what_its_window_is(asked, yes):
    assert {name for name in EVERY_KIND if asked(name)} == yes


@pytest.mark.parametrize("name", ["training", "evaluate2", "epoch", "command", "whole", ""])
def test_a_name_that_only_looks_alike_is_no_window_of_a_run(name):
    assert not window.is_work(name)
    assert not window.is_validation(name)
    assert not window.is_consecutive(name)


def test_the_display_joins_windows_to_phases():
    assert [window.phase(name) for name in EVERY_KIND] == [
        "idle_cold", "startup", "idle_context", "warmup", "train",
        "train", "validate", "evaluate", "inference", "inference", "idle_post",
    ]  # fmt: skip


def test_no_other_module_spells_a_window():
    spelt = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in PACKAGE.rglob("*.py")
        if path.name != "window.py"
        for text in _strings(ast.parse(path.read_text()))
        if NAME.fullmatch(text)
    }
    assert spelt == OTHER_MEANING


def _strings(tree):
    """Every string constant, parts of f-strings included, that is no docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]
