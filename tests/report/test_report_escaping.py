"""Whatever text a record holds, each format shows it as text."""

from __future__ import annotations

import csv
import io
import re

import html5lib
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_hostile import COMMANDS

from builders.hostile import FORMULA, HOSTILE
from reading_reports import text_of
from wbcbench.core.text import printable
from wbcbench.report import Block, DataTable, Listing, Report, Statement
from wbcbench.report.formats import escape_markdown, to_csv, to_html, to_latex, to_markdown

# Every sign that means something to one of the formats, and any other that UTF-8 can hold.
signs = st.sampled_from("<>&\"'`*_[]()|~$#%{}\\^=+-@!/:;\n\t\r\0 ab1\u202e\u2028\ufffe") | (
    st.characters(exclude_categories=("Cs",))
)
words = st.text(signs, max_size=40) | st.sampled_from((HOSTILE, FORMULA))


def report_of(text):
    """A report with the text in every place that holds words."""
    data = DataTable(text, ("a", text), ((text, text), ("b", "c")), frozenset({0, 1}))
    claim = Statement("c", text, "runs.csv", text, {})
    block = Block("part", text, (text,), (data,), claims=(claim,), listings=(Listing(text, text),))
    return Report(text, text, (f"MIND. {text}",), (block,))


@given(words)
@settings(max_examples=60, deadline=None)
def test_any_text_is_valid_html_that_reads_the_same(text):
    html = to_html(report_of(text)).decode()
    html5lib.HTMLParser(strict=True).parse(html)
    assert " ".join(printable(text.replace("\t", " ")).split()) in text_of(html)


@given(words)
@settings(deadline=None)
def test_any_text_is_one_cell_of_latex(text):
    made = to_latex(report_of(text).blocks[0].tables[0])
    comment, body = made.decode().split("\n", 1)
    assert comment.startswith("% ")
    assert set(re.findall(r"\\([a-zA-Z]+|.)", body)) <= COMMANDS
    bare = re.sub(r"\\([a-zA-Z]+|.)", "", body.replace("\\\\", "\n"))
    assert not re.search(r"[%#_~^]", bare)
    assert bare.count("{") == bare.count("}")
    assert {row.count("&") for row in bare.splitlines() if "&" in row} == {1}


@given(words)
@settings(deadline=None)
def test_any_text_is_one_cell_of_csv_and_no_formula(text):
    made = to_csv(report_of(text).blocks[0].tables[0])
    rows = list(csv.reader(io.StringIO(made.decode(), newline="")))
    assert [len(row) for row in rows] == [2, 2, 2]
    assert all(cell in {text, f"'{text}"} for cell in rows[1])
    for cell in rows[1]:
        assert not re.match(r"[=@\t\r\n]|[+-](?![\d.])", cell) or is_number(cell)


def is_number(text):
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


@given(words)
@settings(deadline=None)
def test_any_text_is_one_line_of_markdown_without_markup(text):
    shown = escape_markdown(text)
    assert "\n" not in shown
    assert not re.search(r"[<>]", shown)
    bare = re.sub(r"\\.", "", shown)
    assert not re.search(r"[`*_\[\]|~$]", bare)
    assert not re.match(r"[-+#=]|\d+[.)](\s|$)", shown.lstrip())


@given(words)
@settings(deadline=None)
def test_any_text_leaves_a_table_of_markdown_whole(text):
    made = to_markdown(report_of(text)).decode()
    rows = [line for line in made.split("\n") if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
