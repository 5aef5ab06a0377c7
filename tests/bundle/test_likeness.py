"""Files made again on another processor, or by another drawer, are the same; no others are."""

from __future__ import annotations

import pytest

from wbcbench.bundle.verify.likeness import Difference, find_answers, find_difference

DRAWING = (
    '<svg aria-labelledby="a-title"><title id="a-title">Energy</title><desc>A 0.875, B 0.850</desc>'
    '<defs><path id="a-m1f2e3d4c5" d="M 0 1.5 L 3.25 4" style="stroke: #1f77b4"/></defs>'
    '<use xlink:href="#a-m1f2e3d4c5" x="12.5" y="7"/><g clip-path="url(#a-p99aa88bb77)">'
    '<clipPath id="a-p99aa88bb77"/></g><text transform="translate(3.5 4)">0.85</text></svg>'
)
PAGE = f"<html><style>p{{}}</style><script>x=1</script><p title='t'>120 J</p>{DRAWING}</html>"


def differ(name: str, stated: str, expected: str) -> Difference | None:
    return find_difference(name, stated.encode(), expected.encode())


@pytest.mark.parametrize(
    ("name", "stated", "expected"),
    [
        ("a.csv", "n,x\na,0.30000000000000004\n", "n,x\na,0.3\n"),
        ("a.csv", "n,x\na,0.0\n", "n,x\na,1e-17\n"),
        ("a.json", '{"x": 0.1234567890123}', '{"x": 0.1234567890124}'),
        ("a.md", "about 12.345678901234 J", "about 12.345678901235 J"),
        ("a.svg", DRAWING, DRAWING.replace("m1f2e3d4c5", "m0000000000").replace("p99", "p98")),
        ("a.svg", DRAWING, DRAWING.replace('x="12.5"', 'x="12.505"')),
        ("a.html", PAGE, PAGE.replace("M 0 1.5", "M 0 1.501")),
    ],
)
def test_what_another_processor_or_drawer_gives_is_the_same(name, stated, expected):
    assert differ(name, stated, expected) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.875, B 0.850", "0.860, B 0.865"),
        (">0.85<", ">0.86<"),
        ("stroke: #1f77b4", "stroke: deadbeef#1f77b4"),
        ('href="#a-m1f2e3d4c5"', 'href="#a-m0000000000"'),
        ('href="#a-m1f2e3d4c5"', 'href="#a-p99aa88bb77"'),
        ("url(#a-p99aa88bb77)", "url(#a-m1f2e3d4c5)"),
        ('x="12.5"', 'x="13.5"'),
        ("translate(3.5 4)", "translate(3.51 4)"),
    ],
)
@pytest.mark.parametrize("name", ["a.svg", "a.html"])
def test_what_a_drawing_shows_or_says_is_compared(name, old, new):
    text = DRAWING if name == "a.svg" else PAGE
    assert old in text
    assert differ(name, text.replace(old, new), text) is not None


@pytest.mark.parametrize(
    ("old", "new", "only_look"),
    [
        ("120 J", "72 J", False),
        ("'t'", "'40 % less'", False),
        ("x=1", "document.body.innerHTML='40 % less'", False),
        ("<p title", "<p onclick='y()' title", False),
        ("p{}", "p{color:red}", True),
        ("<p title", "<p class='a' title", True),
    ],
)
def test_of_a_page_only_the_look_may_be_another_programs(old, new, only_look):
    found = differ("a.html", PAGE.replace(old, new), PAGE)
    assert found is not None
    assert found.only_look is only_look


@pytest.mark.parametrize(
    ("name", "stated", "expected"),
    [
        ("a.json", '{"x": 1, "Erratum: 40 % less": null}', '{"x": 1}'),
        ("a.json", '{"x": 1}', '{"x": 1, "y": null}'),
        ("a.json", '{"seed": 2147483646}', '{"seed": 2147483647}'),
        ("a.json", '{"x": true}', '{"x": 1}'),
        ("a.md", "1.10", "1.1"),
        ("a.md", "seed 2147483646", "seed 2147483647"),
        ("a.md", "p < 0.001", "p < 0.002"),
        ("a.csv", "n,x\na,1_000.5\n", "n,x\na,1000.5\n"),
        ("a.csv", "n,x\na,1\na,1\n", "n,x\na,1\n"),
        ("a.csv", "n,x,x\na,1,1\n", "n,x\na,1\n"),
        ("a.csv", "n,x\n=HYPERLINK(),1\n", "n,x\na,1\n"),
        ("a.csv", "x,n\n1,a\n", "n,x\na,1\n"),
    ],
)
def test_keys_counts_decimals_rows_and_columns_are_compared(name, stated, expected):
    found = differ(name, stated, expected)
    assert found is not None
    assert not found.only_look


DOCUMENT = "# A title\n- Assumptions: [author]\n- Data: **Yes**\n- Ethics: [author: in a word]\n"


def test_an_answer_is_one_line_in_its_place():
    answered = DOCUMENT.replace("[author]", "40\u00a0% of *them*, see §2").replace("[author: ", "[")
    assert find_answers(DOCUMENT, DOCUMENT, 2) == []
    assert find_answers(answered, DOCUMENT, 2) == ["40\u00a0% of *them*, see §2", "[in a word]"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[author]", "none <!--"),
        ("[author]", "<style>p{display:none}</style>"),
        ("[author]", "`code"),
        ("[author]", "none\n\n## Result\n\n40 % less"),
        ("[author]", "x" * 3000),
        ("[author]", ""),
        ("[author]", "\u202e none"),
        ("**Yes**", "**No**"),
        ("A title", "Another title"),
        ("- Data", "- More\n- Data"),
    ],
)
def test_nothing_else_of_a_document_may_change(old, new):
    assert isinstance(find_answers(DOCUMENT.replace(old, new, 1), DOCUMENT, 2), Difference)


def test_a_name_makes_no_place_for_an_answer():
    expected = DOCUMENT.replace("A title", "A title [author: x]")
    stated = expected.replace("[author: x]", "40 % less energy")
    assert isinstance(find_answers(stated, expected, 2), Difference)
