"""Whatever text a record holds, each format of the report shows it as text."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree as ET

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from builders.hostile import (
    FORMULA,
    HOSTILE,
    HTML,
    LATEX,
    MARKDOWN,
    TEMPLATES,
    TYPST,
    hostile_study,
)
from reading_reports import Strict, text_of
from wbcbench.report import (
    DataTable,
    Listing,
    Notice,
    Place,
    Report,
    Section,
    Statement,
)
from wbcbench.report.formats import escape_markdown, to_csv, to_html, to_latex, to_markdown
from wbcbench.report.publish import publish

FORMATS = ("html", "md", "tex", "csv", "svg", "pdf")

# What the LaTeX of a table may hold: its own frame, the signs that text is escaped to, no more.
COMMANDS = {
    "begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde",
    "textasciicircum", "pm", "times", "cdot", "\\", "&", "%", "$", "#", "_", "{", "}",
}  # fmt: skip

# Every sign that means something to one of the formats, and any other that UTF-8 can hold.
signs = st.sampled_from("<>&\"'`*_[]()|~$#%{}\\^=+-@!/:;\n\t\r\0 ab1\u202e\u2028\ufffe") | (
    st.characters(exclude_categories=("Cs",))
)
words = st.text(signs, max_size=40) | st.sampled_from((HOSTILE, FORMULA))


def report_of(text):
    """A report with the text in every place that holds words."""
    data = DataTable(text, ("a", text), ((text, text), ("b", "c")), (0, 1))
    claim = Statement("c", text, "runs.csv", text, {}, (text, "b"))
    parts = (text, data, claim, Listing(text, text))
    sections = (Section(f"part-{place}", text, parts, place, text) for place in Place)
    return Report(text, text, (Notice(text, text),), tuple(sections), (text,), text)


@given(words)
@settings(max_examples=60, deadline=None)
def test_any_text_is_valid_html_that_reads_the_same(text):
    html = to_html(report_of(text)).decode()
    html5lib.HTMLParser(strict=True).parse(html)
    shown = "".join(c for c in text.replace("\t", " ") if c.isprintable() or c == "\n")
    assert " ".join(shown.split()) in text_of(html)
    assert "\ufffd" in text or "\ufffd" not in html


@given(words)
@settings(deadline=None)
def test_any_text_is_one_cell_of_latex(text):
    made = to_latex(report_of(text).sections[0].tables[0])
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
    made = to_csv(report_of(text).sections[0].tables[0])
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
    assert "\ufffd" in text or "\ufffd" not in shown
    bare = re.sub(r"\\.", "", shown)
    assert not re.search(r"[`*_\[\]|~$]", bare)
    assert not re.match(r"[-+#=]|\d+[.)](\s|$)", shown.lstrip())


@given(words)
@settings(deadline=None)
def test_any_text_leaves_a_table_of_markdown_whole(text):
    made = to_markdown(report_of(text)).decode()
    rows = [line for line in made.split("\n") if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


# -- a study whose every free word is an attack ---------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every file of the report in every format, by path."""
    results = hostile_study(tmp_path_factory.mktemp("hostile"))
    folder = results / "reports" / "runs"
    publish(results, "runs", results / "reports", FORMATS)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def texts(made, ending):
    found = {name: data.decode() for name, data in made.items() if name.endswith(ending)}
    assert found
    return found


def test_hostile_words_stay_words_in_the_page(made):
    html = made["report.html"].decode()
    html5lib.HTMLParser(strict=True).parse(html)
    seen = Strict(html)
    assert {"script", "img", "label"}.isdisjoint(seen.tags)
    words = text_of(html)
    for attack in (HTML, TEMPLATES, MARKDOWN, LATEX, TYPST):
        assert attack in words
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", html)


def test_signs_that_cannot_be_shown_are_left_out_and_not_replaced(made):
    for name, data in made.items():
        if not name.endswith(".pdf"):
            assert "\ufffd" not in data.decode(), name
    for page in PdfReader(io.BytesIO(made["report.pdf"])).pages:
        assert "\ufffd" not in page.extract_text()


def test_hostile_words_stay_words_in_figures(made):
    for text in texts(made, ".svg").values():
        root = ET.fromstring(text)
        assert {"script", "img"}.isdisjoint(
            element.tag.rpartition("}")[2] for element in root.iter()
        )


def test_hostile_words_stay_words_in_markdown(made):
    text = made["report.md"].decode()
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "](javascript" not in text.replace("\\](javascript", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_hostile_words_stay_words_in_latex(made):
    for name, text in texts(made, ".tex").items():
        comment, body = text.split("\n", 1)
        assert comment.startswith("% ")
        commands = re.findall(r"\\([a-zA-Z]+|.)", body)
        assert set(commands) <= COMMANDS, name
        bare = re.sub(r"\\([a-zA-Z]+|.)", "", body.replace("\\\\", "\n"))
        assert not re.search(r"[%#_~^]", bare.replace("$$", "")), name
        assert bare.count("{") == bare.count("}")
        assert len({row.count("&") for row in bare.splitlines() if "&" in row}) == 1, name


def test_no_cell_of_a_table_is_carried_out_by_a_spreadsheet(made):
    for name, text in texts(made, ".csv").items():
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert not re.match(r"[=+@\t\r\n]|-(?![\d.])", cell), f"{name}: {cell[:40]}"


def test_hostile_words_stay_words_in_the_paper(made):
    pages = PdfReader(io.BytesIO(made["report.pdf"])).pages
    words = squeezed("".join(page.extract_text() for page in pages))
    for attack in ("<script>alert(1)</script>", "{{ 7*7 }}", "$x^2$", "#panic()", "@reference"):
        assert squeezed(attack) in words


def squeezed(text):
    return "".join(text.replace("\u200b", "").split())


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
    assert escape_markdown(text) == shown
