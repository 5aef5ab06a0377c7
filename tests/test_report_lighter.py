"""A lighter picture is the same picture: texts are kept to the letter, tags are shorter."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from wbcbench.report import DataTable, Figure
from wbcbench.report.page.drawing import panels, to_svg
from wbcbench.report.page.lighter import lighter

HOSTILE = 'x="1.234567" style="fill: red" d="9.87654" <g>1.23456</g> rotate(-0 1 2) .c{'
NAMESPACE = "{http://www.w3.org/2000/svg}"


def picture():
    canvas, ((plot,),) = panels(1, 1)
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
    assert all(f".{name}{{" in rules and name.startswith("light-") for name in classes)


def test_every_reference_leads_to_an_id_of_the_same_picture():
    root = ET.fromstring(SVG)
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    href = "{http://www.w3.org/1999/xlink}href"
    wanted = {each.get(href)[1:] for each in root.iter() if each.get(href)}
    assert wanted <= set(ids)


def test_a_picture_without_repeats_gets_no_rules():
    plain = '<svg a="1"><g><path style="fill: red" d="M 1.23456 2"/></g></svg>'
    assert lighter(plain, "x") == '<svg a="1"><path style="fill: red" d="M 1.2 2"/></svg>'
