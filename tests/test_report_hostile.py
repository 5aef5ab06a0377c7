"""Hostile words in records stay words in the page, the figures and the Markdown."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import html5lib
import pytest

from hostile_studies import hostile_study
from reading_reports import Strict, page, published, text_of
from wbcbench.report.page.markdown import plain


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return hostile_study(tmp_path_factory.mktemp("hostile"))


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
