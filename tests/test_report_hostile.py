"""Hostile words in records stay words in the page, the figures and the Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import html5lib
import pytest

from reading_reports import Strict, page, published, text_of
from records_factory import failed_record, make_record, make_spec, save
from wbcbench.report.page.markdown import plain
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import Failure
from wbcbench.runs.rundir import RunDir
from wbcbench.verdict import Caution, Severity

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} {% raw %} ]]> --> \"quote' | ` * $x^2$ \u202e end"


@pytest.fixture
def hostile(tmp_path):
    doubt = Caution("x", Severity.SUSPECT, HOSTILE, HOSTILE)
    spec = make_spec("leaky-dropout", study="runs")
    record = make_record(
        spec=spec,
        cautions=(doubt,),
        provenance={"cpu_model": HOSTILE, "os": HOSTILE + "y" * 10_000, "host_id": HOSTILE},
        absent=(),
    )
    save(tmp_path, record)
    renamed = replace(spec, variant=HOSTILE, seed=2)
    failed = failed_record(spec=replace(spec, seed=3))
    save(tmp_path, replace(failed, error=Failure(HOSTILE, HOSTILE, 1, HOSTILE)))
    run = RunDir(tmp_path / "runs" / "hostile-s2-00000000")
    run.create(renamed, Local())
    run.write_record(replace(make_record(spec=renamed), run_id="hostile-s2-00000000"))
    return tmp_path


def test_hostile_words_stay_words_in_the_page(hostile):
    html = page(hostile)
    html5lib.HTMLParser(strict=True).parse(html)
    seen = Strict(html)
    assert "script" not in seen.tags
    assert "<script>alert(1)</script> {{ 7*7 }} {% raw %} ]]>" in text_of(html)


def test_hostile_words_stay_words_in_figures(hostile):
    made = published(hostile)
    for name in ("energy-accuracy.svg", "learning-curves.svg"):
        root = ET.fromstring(made[name])
        assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}


def test_hostile_words_stay_words_in_markdown(hostile):
    text = published(hostile)["report.md"]
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    unescaped = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert max(unescaped) <= 12


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# not a heading", r"\# not a heading"),
        ("1. not a list", r"1\. not a list"),
        ("- not a list", r"\- not a list"),
        ("a | b\nc", r"a \| b c"),
        ("*x* _y_ [z](u) `q` $m$ ~~d~~", r"\*x\* \_y\_ \[z\](u) \`q\` \$m\$ \~\~d\~\~"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("0.70–0.90 of e-mail", "0.70–0.90 of e-mail"),
    ],
)
def test_signs_of_markup_are_disarmed_where_they_would_be_markup(text, shown):
    assert plain(text) == shown
