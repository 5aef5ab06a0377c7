"""Hostile words in records stay words in every format of the report."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree as ET

import html5lib
import pytest
from pypdf import PdfReader

from builders.hostile import HTML, LATEX, MARKDOWN, TEMPLATES, TYPST, hostile_study
from reading_reports import Strict, text_of
from wbcbench.report.formats import escape_markdown
from wbcbench.report.publish import publish

FORMATS = ("html", "md", "tex", "csv", "svg", "pdf")

# What the LaTeX of a table may hold: its own frame, the signs that text is escaped to, no more.
COMMANDS = {
    "begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde",
    "textasciicircum", "pm", "times", "cdot", "\\", "&", "%", "$", "#", "_", "{", "}",
}  # fmt: skip


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
