"""The page of cautions says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wbcbench.commands.schema import doubts, page
from wbcbench.energy import thresholds
from wbcbench.energy.faults import Flaw

PAGE = Path(__file__).parents[2] / "harness" / "CAUTIONS.md"
PACKAGE = Path(__file__).parents[2] / "harness" / "wbcbench"


def test_the_page_is_the_one_that_the_code_makes():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "make it anew: python -m wbcbench.commands.schema > harness/CAUTIONS.md"
    )


def test_every_code_is_there_once_with_a_severity_and_advice():
    codes = [doubt.code for doubt in doubts()]
    assert len(codes) == len(set(codes))
    for doubt in doubts():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", doubt.code)
        assert re.search("info|suspect|invalid", doubt.rule)
        assert doubt.advice.endswith(".")


def test_every_flaw_of_a_sensor_is_a_code():
    assert set(Flaw) <= {doubt.code for doubt in doubts()}


@pytest.mark.parametrize("doubt", doubts(), ids=lambda doubt: doubt.code)
def test_every_limit_of_a_doubt_is_in_the_table(doubt):
    assert set(doubt.limits) <= {limit.name for limit in thresholds.TABLE}


@pytest.mark.parametrize("limit", thresholds.TABLE, ids=lambda limit: limit.name)
def test_every_limit_is_used_under_its_name_and_says_why(limit):
    constant = limit.name.upper()
    assert getattr(thresholds, constant) == limit.value
    users = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.name != "thresholds.py" and constant in path.read_text(encoding="utf-8")
    ]
    assert users, f"nobody uses {constant}"
    assert limit.meaning
    assert limit.source
