"""What the report says with numbers: where it leads, in the page and in the Markdown."""

from __future__ import annotations

import re

import html5lib

from wbcbench.report import Block, Chip, DataTable, Listing, Report, Statement
from wbcbench.report.formats import to_html, to_markdown
from wbcbench.report.words import make_anchor

KEY = "relu <b> vs | leaky: joules"
CLAIM = Statement("answer-1", "It used 6.9 % less <i>energy</i>.", "contrasts.csv", KEY, {"n": 8})
TABLE = DataTable(
    "Contrasts", ("contrast", "n"), (("relu", "8"),), source="contrasts.csv", keys=(KEY,)
)


def _report(**changes):
    block = Block("answer", "Answer", claims=(CLAIM,), **changes)
    return Report("A title", "facts", (), (block,))


def test_a_claim_leads_to_the_row_it_comes_from():
    html = to_html(_report(tables=(TABLE,))).decode()
    html5lib.HTMLParser(strict=True).parse(html)
    target = make_anchor("contrasts.csv", KEY)
    assert html.count(f'<tr id="{target}">') == html.count(f'href="#{target}"') == 1
    text = to_markdown(_report(tables=(TABLE,))).decode()
    assert text.count(f'<a id="{target}"></a>') == text.count(f"](#{target})") == 1


def test_a_claim_without_its_row_on_the_page_leads_nowhere():
    assert "Row in the table" not in to_html(_report()).decode()
    assert "Row in the table" not in to_markdown(_report()).decode()


def test_words_of_claims_are_set_as_they_are():
    assert "&lt;i&gt;energy&lt;/i&gt;" in to_html(_report()).decode()
    assert "&lt;i&gt;energy&lt;/i&gt;" in to_markdown(_report()).decode()


def test_anchors_are_plain_and_tell_every_row_apart():
    keys = [KEY, KEY.upper(), "ünïcode " * 40, ""]
    made = [make_anchor("runs.csv", key) for key in keys] + [make_anchor("summary.csv", KEY)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", each) and len(each) < 60 for each in made)


def test_chips_and_listings_stand_in_both():
    chips = (Chip("GPU", "measured"), Chip("DRAM", "estimated", is_flagged=True))
    report = _report(chips=chips, listings=(Listing("Run this", "echo ```` <x>\n  two"),))
    html, text = to_html(report).decode(), to_markdown(report).decode()
    html5lib.HTMLParser(strict=True).parse(html)
    assert '<li class="flagged"><strong>DRAM:</strong> estimated (note)</li>' in html
    assert "<pre>echo ```` &lt;x&gt;\n  two</pre>" in html
    assert "- **DRAM:** estimated (note)" in text
    assert "`````text\necho ```` <x>\n  two\n`````" in text


def test_the_report_gathers_its_claims():
    assert _report().claims == (CLAIM,)
