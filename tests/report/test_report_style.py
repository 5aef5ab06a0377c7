"""One figure as SVG and as PDF: the same bytes each time, its labels apart and on no data."""

from __future__ import annotations

import io
import itertools
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text

from browser import contrast
from wbcbench.report import DataTable, Figure
from wbcbench.report.style import (
    COLOURS,
    HATCHES,
    INK,
    MOST_MARKS,
    choose_scale,
    choose_styles,
    clean_line,
    create_plot,
    create_plots,
    draw_cross,
    draw_labels,
    draw_runs,
    inline_svg,
    make_short_labels,
    spread_places,
    to_pdf,
    to_svg,
    trim_label,
)

NOTHING = DataTable("", (), ())
WHITE, NEAR_BLACK = (255, 255, 255), (23, 23, 26)  # the page's grounds


def picture(_):
    canvas, ((left, right),) = create_plots(1, 2, share_y=True)
    left.bar([0, 1], [1.0, 2.0], hatch=HATCHES["estimated"], edgecolor=INK)
    draw_cross(right, (1.0, 1.0), ((0.6, 1.7), (None, None)), COLOURS[0])
    right.set_xlabel("energy (kJ), $not$ mathematics")
    return canvas


def figure(name="two", draw=picture, title="Two & three"):
    return Figure(name, title, "bars < crosses\x00", "", NOTHING, draw)


def test_a_figure_is_drawn_when_its_picture_is_wanted_and_not_before():
    drawn = []
    made = figure("one", lambda data: drawn.append(data) or picture(data))
    assert not drawn
    assert to_svg(made) == to_svg(made)
    assert drawn == [NOTHING]


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


def test_an_svg_is_described_its_ids_are_its_own_and_lead_inside_it():
    svg = to_svg(figure())
    root = ET.fromstring(svg)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert all(each.startswith("two-") for each in ids)
    assert [root[0].text, root[1].text] == ["Two & three", "bars < crosses"]
    assert "$not$ mathematics" in " ".join(root.itertext())
    assert "<metadata>" not in svg
    pointed = {part.split(")")[0] for part in svg.split("url(#")[1:]}
    assert pointed
    assert pointed <= set(ids)


def test_a_picture_in_the_page_takes_the_readers_colour_and_width():
    svg = inline_svg(to_svg(figure()))
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert INK not in svg
    assert "fill: #ffffff" not in svg
    assert " width=" not in svg[: svg.index(">")]
    ET.fromstring(svg)


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
    def draw(_):
        canvas, plot = create_plot()
        plot.set_title(HOSTILE)
        return canvas

    root = ET.fromstring(to_svg(Figure("hostile", HOSTILE, HOSTILE, "", NOTHING, draw)))
    space = "{http://www.w3.org/2000/svg}"
    assert HOSTILE in [each.text for each in root.iter(f"{space}text")]
    assert root.find(f"{space}title").text == HOSTILE
    assert root.find(f"{space}desc").text == HOSTILE


# -- colours, marks and axes ----------------------------------------------------------------------


def test_every_colour_stands_out_from_both_grounds():
    for colour in COLOURS:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert contrast(rgb, WHITE) >= 3.0
        assert contrast(rgb, NEAR_BLACK) >= 3.0


def test_no_two_of_thirty_variants_have_the_same_style_and_each_has_a_sign():
    styles = choose_styles(f"v{i}" for i in range(30))
    assert len(set(styles.values())) == 30
    assert all(style.sign.strip() for style in styles.values())
    assert choose_styles(sorted(styles, reverse=True)) == styles


@pytest.mark.parametrize("count", [MOST_MARKS, MOST_MARKS + 1])
def test_runs_are_marked_one_by_one_and_very_many_are_shown_as_densities(count):
    _, plot = create_plot()
    rng = np.random.default_rng(1)
    points = [("ab"[i % 2], *rng.normal(10.0, 1.0, 2)) for i in range(count)]
    draw_runs(plot, choose_styles("ab"), points)
    is_many = count > MOST_MARKS
    assert sum(len(line.get_xdata()) for line in plot.lines) == (0 if is_many else count)
    assert bool(plot.patches) is is_many
    for variant, style in choose_styles("ab").items() if is_many else ():
        shades = [p for p in plot.patches if to_hex(p.get_facecolor()) == style.colour.lower()]
        assert len(shades) > 1
        own = [(x, y) for name, x, y in points if name == variant]
        outlines = [shade.get_path() for shade in shades]
        assert all(any(o.contains_point(at, radius=1e-9) for o in outlines) for at in own)


@pytest.mark.parametrize(("values", "scale"), [((1.0, 4.9), "linear"), ((1.0, 5.1), "log"),
                                               ((0.0, 9.0), "linear")])  # fmt: skip
def test_an_axis_is_logarithmic_where_values_spread_over_a_factor_of_five(values, scale):
    _, plot = create_plot()
    choose_scale(plot, "x", values)
    assert plot.get_xscale() == scale


# -- labels ---------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_labels_lie_on_no_data_and_on_no_other_label(seed, count, others):
    canvas, plot = create_plot()
    rng = np.random.default_rng(seed)
    plot.set_xlim(0, 1)
    plot.set_ylim(0, 1)
    corners = [(x, y) for x in (0.2, 0.5, 0.8) for y in (0.35, 0.7)][:count]
    labels = [(f"variant-{i}\n7 % on front", *at) for i, at in enumerate(corners)]
    # A cloud of runs around each mean, as in the figure of energy against accuracy.
    runs = [tuple(rng.normal(corners[i % count], 0.015)) for i in range(others)]
    draw_labels(canvas, plot, labels, runs)
    renderer = FigureCanvasAgg(canvas).get_renderer()
    for text in plot.texts:
        text.update_positions(renderer)
    boxes = [Text.get_window_extent(text, renderer) for text in plot.texts]  # without their lines
    assert [text.get_text() for text in plot.texts] == [text for text, *_ in labels]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for x, y in plot.transData.transform([*runs, *corners]):
        assert not any(box.padded(-1).contains(x, y) for box in boxes)
    frame = plot.get_window_extent()
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)


@pytest.mark.parametrize("seed", range(5))
def test_where_lines_are_everywhere_a_label_hides_them_and_no_other_label(seed):
    canvas, plot = create_plot()
    rng = np.random.default_rng(seed)
    plot.set_xlim(0, 1)
    plot.set_ylim(0, 1)
    labels = [(f"leaky-batchnorm-{i}", *rng.uniform(0.4, 0.6, 2)) for i in range(4)]
    draw_labels(canvas, plot, labels, [tuple(point) for point in rng.uniform(0, 1, (4000, 2))])
    renderer = FigureCanvasAgg(canvas).get_renderer()
    for text in plot.texts:
        text.update_positions(renderer)
    boxes = [Text.get_window_extent(text, renderer) for text in plot.texts]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    frame = plot.get_window_extent().padded(2)
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


@given(st.lists(st.floats(-1e3, 1e3), max_size=12), st.floats(0.01, 10))
def test_labels_keep_their_order_and_their_distance(wanted, gap):
    places = spread_places(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    steps = [places[b] - places[a] for a, b in itertools.pairwise(order)]
    assert all(step >= gap * (1 - 1e-6) - 1e-9 for step in steps)


@given(st.lists(st.integers(0, 20).map(lambda n: n * 5.0), unique=True, max_size=8))
def test_labels_with_room_stay_where_they_are_wanted(wanted):
    assert spread_places(wanted, 1.0) == pytest.approx(wanted)


def test_a_long_name_is_cut_to_one_short_line():
    assert trim_label("a\nb  c") == "a b c"
    assert len(trim_label("x" * 10_000)) == 26


def test_names_that_differ_only_in_the_middle_get_labels_of_their_own():
    alike = [f"relu-{'x' * 40}{i}{'y' * 40}" for i in range(12)]
    given = make_short_labels(alike)
    assert len(set(given.values())) == 12
    assert all(len(label) <= 26 for label in given.values())


def test_a_label_holds_no_sign_that_no_picture_can_hold():
    assert clean_line("a\x00b\x1b[31m\u202ec\ud800\n d") == "ab[31mc d"
