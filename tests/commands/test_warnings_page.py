"""The table of warnings: its page, its wording, and the code that uses it."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from wbcbench.commands.schema import page
from wbcbench.energy import thresholds
from wbcbench.energy.faults import Flaw
from wbcbench.energy.warnings import load_warnings

PAGE = Path(__file__).parents[2] / "harness" / "WARNINGS.md"
PACKAGE = Path(__file__).parents[2] / "harness" / "wbcbench"
WARNINGS = load_warnings()


def test_the_page_is_the_one_that_the_code_makes():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "make it again: python -m wbcbench.commands.schema > harness/WARNINGS.md"
    )


@pytest.mark.parametrize("warning", WARNINGS.values(), ids=WARNINGS)
def test_every_warning_has_a_severity_one_line_of_meaning_and_short_advice(warning):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", warning.code)
    assert warning.severities
    assert bool(warning.when) == (len(warning.severities) > 1)
    assert len(warning.when) <= 80
    assert len(warning.meaning) <= 80
    assert len(textwrap.wrap(warning.advice, 80)) <= 2
    assert warning.meaning.endswith(".")
    assert warning.advice.endswith(".")


def test_every_flaw_of_a_sensor_is_a_code():
    assert set(Flaw) <= set(WARNINGS)


def test_the_code_makes_every_warning_of_the_table_and_no_other():
    made = set(map(str, Flaw))
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "make_warning(" not in text:
            continue
        words = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
        made |= words & set(WARNINGS)
        for node in ast.walk(ast.parse(text)):
            is_call = isinstance(node, ast.Call) and ast.unparse(node.func) == "make_warning"
            if is_call and isinstance(node.args[0], ast.Constant):
                assert node.args[0].value in WARNINGS
    assert made == set(WARNINGS)


@pytest.mark.parametrize("warning", WARNINGS.values(), ids=WARNINGS)
def test_every_limit_of_a_warning_is_in_the_table(warning):
    assert set(warning.limits) <= {limit.name for limit in thresholds.TABLE}


@pytest.mark.parametrize("limit", thresholds.TABLE, ids=lambda limit: limit.name)
def test_every_limit_is_used_under_its_name_and_says_why(limit):
    constant = limit.name.upper()
    assert getattr(thresholds, constant) == limit.value
    users = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.name != "thresholds.py" and constant in path.read_text(encoding="utf-8")
    ]
    assert users, f"nothing uses {constant}"
    assert limit.meaning
    assert limit.source
