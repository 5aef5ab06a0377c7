"""The typeset paper: its sheets, numbers and references; and text that stays text."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
import typst
from pypdf import PdfReader

from builders.study import Size, write_study
from wbcbench.report import DataTable, Notice, Place, Report, Section, Statement, build
from wbcbench.report.paper import find_unset_letters, to_paper
from wbcbench.report.publish import read_report_study
from wbcbench.report.style import to_pdf

A4_PT = (595.276, 841.89)
HOSTILE = (
    '#panic() #include "/etc/passwd" $x^2$ *b* _i_ `raw` <label> @ref \\ // no /* no */ '
    "[a](b) {{ x }} ]]> <script> - + = / ~ \u202e \x00 'quoted' https://example.org"
)


def paper(report, pictures=None, template="plain"):
    return PdfReader(io.BytesIO(to_paper(report, pictures or {}, template)))


def draw_all(report):
    return {f"figures/{figure.name}.pdf": to_pdf(figure) for figure in report.figures}


def text_of(pdf):
    words = " ".join(page.extract_text() for page in pdf.pages)
    return " ".join(words.replace("\u200b", "").split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    results = tmp_path_factory.mktemp("whole")
    write_study(results, Size(blocks=8))
    report = build(read_report_study(results, "runs"))
    return report, paper(report, draw_all(report))


def test_sheets_are_a4_and_numbered(whole):
    _, pdf = whole
    for number, page in enumerate(pdf.pages, start=1):
        size = tuple(sorted(map(float, page.mediabox[2:])))
        assert size == pytest.approx(A4_PT, abs=0.5)
        assert f"{number} / {len(pdf.pages)}" in page.extract_text()


@pytest.mark.parametrize("template", ["plain", "ieee"])
def test_a_paper_has_at_most_six_pages_before_its_appendix(whole, template):
    report, _ = whole
    pages = [page.extract_text() for page in paper(report, draw_all(report), template).pages]
    appendix = next(i for i, text in enumerate(pages) if "Appendix" in text)
    assert appendix <= 6
    assert any("References" in text for text in pages[:appendix])


def test_tables_and_figures_are_numbered_and_spoken_of(whole):
    report, pdf = whole
    words = text_of(pdf)
    shown = [data for section in report.sections for data in section.tables if not data.is_folded]
    for kind, count in (("Table", len(shown)), ("Figure", len(report.figures))):
        assert f"{kind} {count}:" in words
        assert f"{kind} {count + 1}:" not in words
    assert "(Table 1, Figure 1, Figure 2)" in words


def test_the_abstract_begins_with_the_result_and_references_are_cited(whole):
    report, pdf = whole
    words = text_of(pdf)
    assert words.index("Abstract") < words.index(report.claims[0].text[:40]) < words.index("Basis:")
    body, _, rest = words.partition("References")
    listed = set(re.findall(r"\[(\d+)\] [A-Z]", rest))
    assert listed
    assert listed <= set(re.findall(r"\[(\d+)\]", body))
    assert "Holm" in rest


def test_slides_show_the_result_and_the_first_five_figures(whole):
    report, _ = whole
    pdf = paper(report, draw_all(report), "slides")
    pages = [page.extract_text() for page in pdf.pages]
    assert len(pages) == 7
    assert report.claims[0].text.split(" than ")[0] in pages[1]
    titles = [figure.title for figure in report.figures[:5]]
    assert all(title in page for title, page in zip(titles, pages[2:], strict=True))


def test_the_paper_knows_its_title_and_no_date(whole):
    _, pdf = whole
    assert pdf.metadata.title == "Study runs: energy and accuracy"
    assert pdf.metadata.creation_date is None or pdf.metadata.creation_date.year == 1970


def hostile_report(text, rows=1):
    cells = tuple((f"r{i}", text) for i in range(rows))
    table = DataTable(text, ("run", text), cells, (0, 1))
    parts = (Statement("c1", text, "runs.csv", "r0", {}), text, table)
    first = Section("result", text, parts, Place.FIRST)
    notices = (Notice(text, text),)
    return Report(text, text, notices, (first, replace(first, key="more", place=Place.OPEN)))


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
    assert "The first 120 of 400 rows." in text_of(pdf)
    assert all("run" in page.splitlines()[1:4] or "run words" in page for page in carrying)


def test_a_tall_figure_stays_on_its_sheet(whole):
    report, pdf = whole
    pictures = draw_all(report)
    name = f"figures/{report.figures[0].name}.pdf"
    pictures[name] = re.sub(rb"/MediaBox \[ 0 0 [\d.]+ ", b"/MediaBox [ 0 0 38.88 ", pictures[name])
    assert len(paper(report, pictures).pages) <= len(pdf.pages) + 2


def test_the_same_report_gives_the_same_bytes():
    report = hostile_report("words", rows=30)
    assert to_paper(report, {}, "ieee") == to_paper(report, {}, "ieee")


def test_authors_and_course_stand_under_the_title():
    report = replace(
        hostile_report("words"), authors=("A. Student #1", "B."), course="Energy & Learning"
    )
    pdf = paper(report)
    assert "A. Student #1, B. Energy & Learning" in text_of(pdf)
    assert "A. Student #1" in pdf.metadata.author


def test_letters_that_no_font_of_typst_has_are_found(tmp_path):
    """What is missing is drawn as the box that stands for any missing letter."""
    letters = "ŁựλжשعԱაकꭰ李김あกአ😀Ω½→"

    def draw_letter(letter):
        path = tmp_path / "letter.typ"
        path.write_text(f'#set text(font: "Libertinus Serif")\n{letter}', encoding="utf-8")
        picture = typst.compile(str(path), format="svg", ignore_system_fonts=True)
        return set(re.findall(r'<path d="([^"]*)"', picture.decode()))

    box = draw_letter("\U0010fffd")
    missing = [letter for letter in letters if draw_letter(letter) & box]
    assert list(find_unset_letters(letters)) == missing
