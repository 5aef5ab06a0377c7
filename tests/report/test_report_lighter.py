"""A lighter picture is the same picture: texts are kept to the letter, tags are shorter."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from wbcbench.report import DataTable, Figure
from wbcbench.report.drawing import lighten_svg, new_plots, to_svg

HOSTILE = 'x="1.234567" style="fill: red" d="9.87654" <g>1.23456</g> rotate(-0 1 2) .c{'
NAMESPACE = "{http://www.w3.org/2000/svg}"


def picture():
    canvas, ((plot,),) = new_plots(1, 1)
    plot.plot([0.0, 1.0, 2.0], [0.123456, 1.0, 3.3333], "o", label=HOSTILE)
    plot.set_title(HOSTILE)
    return canvas


SVG = to_svg(Figure("light", picture, HOSTILE, HOSTILE, "", DataTable("", (), ())))


def test_texts_are_kept_to_the_letter():
    root = ET.fromstring(SVG)
    assert HOSTILE in [each.text for each in root.iter(f"{NAMESPACE}text")]
    assert root.find(f"{NAMESPACE}title").text == HOSTILE
    assert root.find(f"{NAMESPACE}desc").text == HOSTILE


def test_coordinates_have_one_digit_and_styles_that_repeat_are_classes():
    root = ET.fromstring(SVG)
    marks = list(root.iter(f"{NAMESPACE}use"))
    assert marks
    assert all(len(mark.get("x").partition(".")[2]) <= 1 for mark in marks)
    classes = {each.get("class") for each in root.iter() if each.get("class")}
    rules = "".join(each.text or "" for each in root.iter(f"{NAMESPACE}style"))
    assert classes
    assert all(f".{name}{{" in rules for name in classes)
    other = to_svg(Figure("other", picture, "", "", "", DataTable("", (), ())))
    assert not classes & set(re.findall(r'class="([^"]*)"', other))


def test_every_reference_leads_to_an_id_of_the_same_picture():
    root = ET.fromstring(SVG)
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    href = "{http://www.w3.org/1999/xlink}href"
    wanted = {each.get(href)[1:] for each in root.iter() if each.get(href)}
    assert wanted <= set(ids)


def test_a_picture_without_repeats_gets_no_rules():
    plain = '<svg a="1"><g><path style="fill: red" d="M 1.23456 2"/></g></svg>'
    assert lighten_svg(plain, "x") == '<svg a="1"><path style="fill: red" d="M 1.2 2"/></svg>'


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("M 1 2 L 3 2 L 3 4 ", "M1 2H3V4"),
        ("M 1 2 L 1 2 M 3 4 L 3 5 ", "M1 2V2M3 4V5"),
        ("M 1.26 2 L 3.5 -4 L 1 2 z ", "M1.26 2L3.5 -4L1 2z"),
        ("M 1 2 L 1 3 z M 1 3 L 2 3 ", "M1 2V3zM1 3H2"),
    ],
)
def test_straight_lines_lose_no_point(long, short):
    assert lighten_svg(f'<svg><path d="{long}"/></svg>', "x") == f'<svg><path d="{short}"/></svg>'


def test_curves_are_left_as_they_are():
    svg = '<svg><path d="M 1 2 C 1 2 3 4 5 6 L 1 2 "/></svg>'
    assert lighten_svg(svg, "x") == svg
