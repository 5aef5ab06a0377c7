"""The page in a real browser: silent, offline, reachable, readable at any width, whole in print."""

from __future__ import annotations

import io
import itertools
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from pypdf import PdfReader

from browser import contrast, opened, started
from builders.hostile import hostile_study
from builders.study import write_study
from reading_reports import published
from wbcbench.report import build
from wbcbench.report.publish import read_report_study

SCREEN = (1280, 800)
DESKTOP = (1280, 1024)
PHONE = (380, 800)
ZOOMED = (320, 256)  # 1280 × 1024 at 400 %
A4_PX = (718, 1047)  # inside margins of a centimetre, at 96 to the inch
STUDIES = ("whole", "hostile")


@pytest.fixture(scope="module")
def browser():
    with started() as browser:
        yield browser


@pytest.fixture(scope="module", params=STUDIES)
def page(request, browser, tmp_path_factory):
    """Each page is loaded once; the tests look at it one after the other."""
    results = tmp_path_factory.mktemp(request.param)
    if request.param == "whole":
        write_study(results, failed=1)
    else:
        hostile_study(results)
    published(results)
    with opened(browser, results / "reports" / "runs" / "report.html") as page:
        page.results, page.name = results, request.param
        yield page


def axe_violations(page, **options):
    """What axe's own rules object to, in words."""
    result = Axe().run(page.page, options={"resultTypes": ["violations"], **options})
    return result.generate_report() if result.violations_count else ""


def test_sections_stand_from_top_to_bottom_as_the_report_has_them(page):
    report = build(read_report_study(page.results, "runs"))
    for size in (DESKTOP, PHONE):
        page.seen(*size)
        tops = page.ask(
            "() => [...document.querySelectorAll('main section, main details.behind')].map(e => "
            "[e.id || e.getAttribute('aria-labelledby'), e.getBoundingClientRect().top])"
        )
        assert [key for key, _ in sorted(tops, key=lambda each: each[1])] == [
            section.key for section in report.sections
        ]
    figures = page.ask("() => document.querySelectorAll('figure > svg').length")
    assert figures == len(report.figures)


def test_the_first_screen_holds_the_answer_the_table_and_both_figures(page):
    if page.name != "whole":
        pytest.skip("names of 10,000 letters take their room")
    page.seen(*SCREEN)
    boxes = page.ask(
        "() => ['h1', '.status', '.answer', 'table', '.pair > :first-child svg',"
        " '.pair > :last-child svg'].map(q => document.querySelector(q).getBoundingClientRect())"
    )
    assert all(0 <= box["top"] < box["bottom"] <= SCREEN[1] for box in boxes)


def test_four_variants_take_at_most_eight_screens_and_1500_words(page):
    if page.name != "whole":
        pytest.skip("names of 10,000 letters take their room")
    page.seen(*SCREEN)
    height, words = page.ask(
        "() => [document.documentElement.scrollHeight, document.querySelector('main').innerText]"
    )
    assert height <= 8 * SCREEN[1]
    assert len(words.split()) <= 1_500


def test_links_to_sections_are_beside_the_text_where_there_is_room_and_above_it_where_not(page):
    where = "() => ['nav', 'main'].map(q => document.querySelector(q).getBoundingClientRect())"
    page.seen(*SCREEN)
    nav, main = page.ask(where)
    assert nav["right"] <= main["left"]
    page.seen(*PHONE)
    nav, main = page.ask(where)
    assert nav["bottom"] <= main["top"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_with_everything_unfolded(page, scheme):
    page.seen(*DESKTOP, scheme=scheme)
    page.unfold()
    only = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    assert axe_violations(page, **only) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_in_figures_stand_out_from_the_ground(page, scheme):
    page.seen(*DESKTOP, scheme=scheme)
    ground, inks = page.ask(
        "() => [getComputedStyle(document.body).backgroundColor,"
        " [...document.querySelectorAll('svg text')].map("
        "t => [t.textContent, getComputedStyle(t).fill])]"
    )
    assert inks
    for words, ink in {tuple(each) for each in inks}:
        assert contrast(rgb(ink), rgb(ground)) >= 4.5, f"{words!r} is {ink} on {ground}"


def rgb(colour):
    return [float(number) for number in re.findall(r"[\d.]+", colour)][:3]


@pytest.mark.parametrize("size", [PHONE, ZOOMED], ids=["380 px", "400 %"])
def test_nothing_makes_the_page_scroll_sideways(page, size):
    page.seen(*size)
    page.unfold()
    assert page.ask("() => document.documentElement.scrollWidth") <= size[0]


def test_figures_lie_above_their_captions_and_keep_their_shape(page):
    for size in (DESKTOP, PHONE):
        page.seen(*size)
        for name, svg, caption, view in page.ask(FIGURES):
            assert svg["bottom"] <= caption["top"] + 1, name
            assert svg["width"] / svg["height"] == pytest.approx(view[2] / view[3], rel=0.02), name
            assert 0 <= svg["left"] < svg["right"] <= size[0], name


FIGURES = """() => [...document.querySelectorAll('figure')].map(f => {
  const svg = f.querySelector('svg'), view = svg.viewBox.baseVal;
  return [svg.querySelector('title').id, svg.getBoundingClientRect().toJSON(),
    f.querySelector('figcaption').getBoundingClientRect().toJSON(),
    [view.x, view.y, view.width, view.height]];
})"""

LABELS = """() => [...document.querySelectorAll('figure > svg')].map(svg => ({
  name: svg.querySelector('title').id, box: svg.getBoundingClientRect().toJSON(),
  labels: [...svg.querySelectorAll('text')].filter(t => t.textContent.trim()).map(t => {
    const scale = Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b);
    return {words: t.textContent.trim(), box: t.getBoundingClientRect().toJSON(),
      size: parseFloat(getComputedStyle(t).fontSize) * scale};
  })
}))"""


def test_labels_of_figures_are_whole_apart_and_large_enough_on_a_phone(page):
    for size, least_px in ((DESKTOP, 9.0), (PHONE, 7.0)):
        page.seen(*size)
        for figure in page.ask(LABELS):
            told = f"{figure['name']} at {size[0]} px: "
            for label in figure["labels"]:
                assert inside(label["box"], figure["box"]), told + label["words"]
                assert label["size"] >= least_px, told + label["words"]
            for a, b in itertools.combinations(figure["labels"], 2):
                both = f"{a['words']!r} lies on {b['words']!r}"
                assert not overlap(a["box"], b["box"]), told + both


def inside(inner, outer, slack=2.0):
    return (
        inner["left"] >= outer["left"] - slack
        and inner["right"] <= outer["right"] + slack
        and inner["top"] >= outer["top"] - slack
        and inner["bottom"] <= outer["bottom"] + slack
    )


def overlap(a, b):
    """Whether the boxes share more than the air around letters."""
    width = min(a["right"], b["right"]) - max(a["left"], b["left"])
    height = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    return width > 1 and height > 0.35 * min(a["height"], b["height"])


def test_every_link_fold_and_scrolling_table_is_reached_by_tab_and_shows_it(page):
    page.seen(*PHONE)
    wanted = page.ask(
        "() => { window.scrollTo(0, 0); document.activeElement.blur();"
        " return [...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility()).length }"
    )
    assert wanted
    for place in range(wanted):
        page.page.keyboard.press("Tab")
        reached, outline_px, style = page.ask(
            "() => { const all = [...document.querySelectorAll("
            "'a[href], summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility()),"
            " e = document.activeElement, s = getComputedStyle(e);"
            " return [all.indexOf(e), parseFloat(s.outlineWidth), s.outlineStyle] }"
        )
        assert reached == place
        assert outline_px >= 2 and style != "none"


def test_a_wide_table_scrolls_by_arrow_keys(page):
    page.seen(*PHONE)
    assert (
        page.ask(
            "() => { const wide = [...document.querySelectorAll('.scroll')]"
            ".find(e => e.scrollWidth > e.clientWidth + 40); wide.focus(); return wide.scrollLeft }"
        )
        == 0
    )
    page.page.keyboard.press("ArrowRight")
    page.page.wait_for_function("() => document.activeElement.scrollLeft > 0", timeout=5000)


def test_links_lead_to_every_folded_section(page):
    page.seen(*SCREEN)
    for key in page.ask("() => [...document.querySelectorAll('details.behind')].map(d => d.id)"):
        page.ask("key => document.querySelector(`nav a[href='#${key}']`).click()", key)
        assert page.ask(
            "key => { const b = document.getElementById(key).getBoundingClientRect();"
            " return b.top >= -1 && b.top < innerHeight }",
            key,
        )


def test_print_cuts_no_figure_and_no_table(page):
    page.seen(*A4_PX, media="print")
    assert page.ask("() => document.documentElement.scrollWidth") <= A4_PX[0]
    figures = page.ask(
        "() => [...document.querySelectorAll('figure')].map(f => [f.querySelector('title').id,"
        " f.getBoundingClientRect().height, getComputedStyle(f).breakInside,"
        " [...f.querySelectorAll('svg text')].filter(t => Math.abs(t.getScreenCTM().b) < 0.01)"
        ".map(t => t.textContent)])"
    )
    # Turned labels are left out above: pypdf reads their letters out of order.
    printed = page.page.pdf(
        format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "1cm")
    )
    sheets = [squeezed(sheet.extract_text()) for sheet in PdfReader(io.BytesIO(printed)).pages]
    for name, height, broken, labels in figures:
        assert height <= A4_PX[1], name
        assert broken == "avoid", name
        assert any(all(squeezed(label) in sheet for label in labels) for sheet in sheets), name


def squeezed(text):
    return "".join(text.split())


def test_nothing_was_said_or_asked_for_in_all_this(page):
    assert page.messages == []
    assert page.requests == [page.url]
