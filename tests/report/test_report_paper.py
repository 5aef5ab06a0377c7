"""The typeset paper: its sheets, numbers and references; and text that stays text."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
import typst
from pypdf import PdfReader

from builders.run import make_record
from builders.study import gather
from wbcbench.report import Block, DataTable, Report, Statement, build
from wbcbench.report.drawing import to_pdf
from wbcbench.report.paper import _build_figure, find_unset_letters, to_paper

A4_PT = (595.276, 841.89)
HOSTILE = (
    '#panic() #include "/etc/passwd" $x^2$ *b* _i_ `raw` <label> @ref \\ // no /* no */ '
    "[a](b) {{ x }} ]]> <script> - + = / ~ \u202e \x00 'quoted' https://example.org"
)


def paper(report, pictures=None):
    return PdfReader(io.BytesIO(to_paper(report, pictures or {})))


def text_of(pdf):
    words = " ".join(page.extract_text() for page in pdf.pages)
    return " ".join(words.replace("\u200b", "").split())


@pytest.fixture(scope="module")
def whole():
    runs = [make_record(v, seed) for v in ("leaky-dropout", "relu-dropout") for seed in (1, 2)]
    study = gather("runs", runs)
    report = build(study)
    figures = [figure for block in report.blocks for figure in block.figures]
    return report, paper(report, {f"figures/{f.name}.pdf": to_pdf(f) for f in figures})


def test_sheets_are_a4_and_numbered(whole):
    _, pdf = whole
    for number, page in enumerate(pdf.pages, start=1):
        size = tuple(sorted(map(float, page.mediabox[2:])))
        assert size == pytest.approx(A4_PT, abs=0.5)
        assert f"{number} / {len(pdf.pages)}" in page.extract_text()


def test_tables_figures_and_sections_are_numbered_and_references_stand_at_the_end(whole):
    report, pdf = whole
    words = text_of(pdf)
    tables = sum(len(block.tables) for block in report.blocks)
    figures = sum(len(block.figures) for block in report.blocks)
    assert f"Table {tables}:" in words
    assert f"Figure {figures}:" in words
    assert f"Table {tables + 1}:" not in words
    assert "Abstract" in words
    assert words.index("References") > words.index(f"Table {tables}:")
    assert "Kaplan" in words


def test_the_paper_knows_its_title_and_no_date(whole):
    _, pdf = whole
    assert pdf.metadata.title == "Study runs: energy and accuracy"
    assert pdf.metadata.creation_date is None or pdf.metadata.creation_date.year == 1970


def hostile_report(text, rows=1):
    table = DataTable(text, ("run", text), tuple((f"r{i}", text) for i in range(rows)))
    claim = Statement("c1", text, "runs.csv", "r0", {})
    block = Block("answer", text, (text,), claims=(claim,), tables=(table,))
    return Report(text, text, (text,), (block, replace(block, key="more")))


def test_text_of_records_is_set_as_it_is(whole):
    words = text_of(paper(hostile_report(HOSTILE)))
    assert "#panic()" in words
    assert '#include "/etc/passwd"' in words
    assert "$x^2$ *b* _i_ `raw` <label> @ref \\" in words
    assert "root:" not in words


def test_endless_words_are_broken_and_do_not_leave_the_sheet():
    words = text_of(paper(hostile_report("x" * 10_000)))
    assert words.count("x") > 3000


def test_a_long_table_goes_on_with_its_heading_on_every_sheet():
    pdf = paper(hostile_report("words", rows=400))
    carrying = [page.extract_text() for page in pdf.pages if "r110" in page.extract_text()]
    assert carrying
    assert len(pdf.pages) > 3
    assert "The first 120 of 400 rows; the page has all of them." in text_of(pdf)
    assert all("run" in page.splitlines()[1:4] or "run words" in page for page in carrying)


def test_a_tall_figure_stays_on_its_sheet(whole):
    report, _ = whole
    figure = next(figure for block in report.blocks for figure in block.figures)
    tall = to_pdf(figure).replace(b"/MediaBox [ 0 0 403.2 ", b"/MediaBox [ 0 0 40.32 ")
    assert _build_figure(figure, {f"figures/{figure.name}.pdf": tall}, False)["width"] < 4.0


def test_the_same_report_gives_the_same_bytes():
    report = hostile_report("words", rows=30)
    assert to_paper(report, {}) == to_paper(report, {})


def test_authors_and_course_stand_under_the_title():
    report = replace(
        hostile_report("words"), authors=("A. Student #1", "B."), course="Energy & Learning"
    )
    pdf = paper(report)
    assert "A. Student #1, B. Energy & Learning" in text_of(pdf)
    assert "A. Student #1" in pdf.metadata.author


def test_a_claim_names_the_table_it_is_from():
    table = DataTable("c", ("run",), (("r0",),), source="runs.csv", keys=("r0",))
    claim = Statement("c1", "A sentence.", "runs.csv", "r0", {})
    report = Report("t", "f", (), (Block("runs", "Runs", claims=(claim,), tables=(table,)),))
    assert "A sentence. (Table 1)" in text_of(paper(report))


def test_letters_that_no_font_of_typst_has_are_found(tmp_path):
    """What is missing is drawn as the box that stands for any missing letter."""
    letters = "ŁựλжשعԱაकꭰ李김あกአ😀Ω½→"

    def draw(letter):
        path = tmp_path / "letter.typ"
        path.write_text(f'#set text(font: "Libertinus Serif")\n{letter}', encoding="utf-8")
        picture = typst.compile(str(path), format="svg", ignore_system_fonts=True)
        return set(re.findall(r'<path d="([^"]*)"', picture.decode()))

    box = draw("\U0010fffd")
    missing = [letter for letter in letters if draw(letter) & box]
    assert list(find_unset_letters(letters)) == missing
