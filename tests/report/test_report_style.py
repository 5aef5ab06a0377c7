"""One figure as SVG and as PDF: the same bytes each time, under nobody else's settings."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pypdf
import pytest
from matplotlib.figure import Figure as Canvas

from wbcbench.report import DataTable, Figure
from wbcbench.report.drawing import (
    COLOURS,
    HATCHES,
    choose_style,
    create_plots,
    draw_cross,
    to_pdf,
    to_svg,
)
from wbcbench.stats.intervals import Interval

NOTHING = DataTable("", (), ())


def picture():
    canvas, ((left, right),) = create_plots(1, 2, share_y=True)
    left.bar([0, 1], [1.0, 2.0], hatch=HATCHES["estimated"], edgecolor="#1b1b1f")
    draw_cross(right, (1.0, 1.0), (Interval(0.6, 1.7, "t"), None), COLOURS[0])
    right.set_xlabel("energy (kJ), $not$ mathematics")
    return canvas


def figure(name="two", title="Two & three"):
    return Figure(name, picture, title, "bars < crosses\x00", "", NOTHING)


def test_a_figure_is_drawn_when_somebody_wants_its_picture_and_not_before():
    drawn = []
    made = Figure("one", lambda: drawn.append(1) or picture(), "", "", "", NOTHING)
    assert not drawn
    assert to_svg(made) == to_svg(made)
    assert drawn == [1]


@pytest.mark.parametrize("made", [to_svg, to_pdf])
def test_room_for_everything_is_found_without_drawing_it_all_once_more(made, monkeypatch):
    draws = []
    draw = Canvas.draw
    monkeypatch.setattr(Canvas, "draw", lambda *a, **k: draws.append(1) or draw(*a, **k))
    made(figure("once"))
    assert draws == [1]


@pytest.mark.parametrize("made", [to_svg, to_pdf])
def test_the_settings_of_others_neither_change_a_figure_nor_are_changed(made):
    first = made(figure())
    with mpl.rc_context({"font.size": 40, "svg.fonttype": "path", "pdf.fonttype": 3}):
        before = dict(mpl.rcParams)
        assert made(figure()) == first
        assert dict(mpl.rcParams) == before


def test_an_svg_is_described_and_its_ids_are_its_own():
    root = ET.fromstring(to_svg(figure()))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert all(each.startswith("two-") for each in ids)
    assert [root[0].text, root[1].text] == ["Two & three", "bars < crosses"]
    assert "$not$ mathematics" in " ".join(root.itertext())


def test_what_an_svg_points_at_is_inside_it():
    svg = to_svg(figure())
    ids = {element.get("id") for element in ET.fromstring(svg).iter()}
    pointed = {part.split(")")[0] for part in svg.split("url(#")[1:]}
    assert pointed
    assert pointed <= ids


def test_a_pdf_is_one_page_with_its_fonts_inside_and_no_date():
    read = pypdf.PdfReader(io.BytesIO(to_pdf(figure())))
    (page,) = read.pages
    assert "energy (kJ), $not$ mathematics" in page.extract_text()
    assert read.metadata.title == "Two & three"
    assert "/CreationDate" not in read.metadata
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert "/FontFile2" in inner["/FontDescriptor"]


HOSTILE = 'x="1.234567" style="fill: red" d="9.87654" <g>1.23456</g> rotate(-0 1 2) .c{'


def test_texts_are_set_to_the_letter():
    def draw():
        canvas, ((plot,),) = create_plots(1, 1)
        plot.set_title(HOSTILE)
        return canvas

    root = ET.fromstring(to_svg(Figure("hostile", draw, HOSTILE, HOSTILE, "", NOTHING)))
    space = "{http://www.w3.org/2000/svg}"
    assert HOSTILE in [each.text for each in root.iter(f"{space}text")]
    assert root.find(f"{space}title").text == HOSTILE
    assert root.find(f"{space}desc").text == HOSTILE


def test_no_two_of_thirty_variants_have_the_same_style():
    names = [f"v{i}" for i in range(30)]
    styles = {choose_style(names, name) for name in names}
    assert len(styles) == 30
