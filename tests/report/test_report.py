"""The page and the Markdown: whole by themselves, valid, linked, clear about what is no result."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import html5lib
import pytest
import typer
from typer.testing import CliRunner

from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.run import make_record, make_spec, save
from builders.study import draw, gather
from reading_reports import Strict, page, published, text_of, two_variants
from wbcbench.commands.report import report as report_command
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.report import DataTable, Listing, Place, Report, Section, Statement, build
from wbcbench.report.formats import to_csv, to_html, to_markdown
from wbcbench.report.publish import publish
from wbcbench.report.words import make_anchor

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a sound study of two variants, drawn once."""
    return published(two_variants(tmp_path_factory.mktemp("usual")))


def test_the_page_is_whole_by_itself(usual):
    html = usual["report.html"]
    seen = Strict(html)
    assert f'content="{POLICY}"' in html
    assert {"script", "link", "img", "iframe", "object", "embed"}.isdisjoint(seen.tags)
    assert all(link.startswith("#") for link in seen.links)
    # An address may stand in the references, to be copied.
    without = re.sub(r'xmlns(:\w+)?="[^"]*"|<pre.*?</pre>', "", html, flags=re.DOTALL)
    assert "://" not in without


def test_the_page_is_valid_html_with_unique_ids_and_anchors_that_lead_somewhere(usual):
    html = usual["report.html"]
    html5lib.HTMLParser(strict=True).parse(html)
    seen = Strict(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert {link[1:] for link in seen.links} <= set(seen.ids)
    assert (seen.tags.count("main"), seen.tags.count("h1")) == (1, 1)


def test_every_figure_has_words_and_its_data_behind_it(usual):
    html = usual["report.html"]
    figures = html.count("<figure>")
    assert figures >= 6
    for part in ("<title id=", "<desc id=", "<summary>Data of this figure<", 'role="img"'):
        assert html.count(part) == figures


def test_wide_tables_scroll_by_keyboard_in_a_named_region(usual):
    html = usual["report.html"]
    regions = re.findall(
        r'<div class="scroll" role="region" aria-label="([^"]+)" tabindex="0">', html
    )
    assert html.count("<table") == len(regions) == len(set(regions))


def test_the_parts_of_a_page_stand_in_order_and_details_are_folded_behind_their_result():
    report = build(gather("runs", draw(3)))
    html = to_html(report).decode()
    for section in report.sections:
        assert html.count(f'id="{section.key}"') == 1
        assert html.count(f'href="#{section.key}"') == 1
    places = [html.index(f'id="{section.key}"') for section in report.sections]
    assert places == sorted(places)
    folded = re.findall(r'<details class="behind" id="([a-z-]+)"><summary>(.*?)</summary>', html)
    assert [key for key, _ in folded] == [section.key for section in report.at("folded")]
    assert all(" <span>· " in summary for _, summary in folded)
    headings = re.findall(r"^## (.+)$", to_markdown(report).decode(), re.MULTILINE)
    assert headings == [section.title for section in report.sections]


@pytest.mark.parametrize(
    ("channels", "words"),
    [(LAPTOP, "estimated (a model"), (SYNTHETIC_CHANNELS, "Synthetic: no result.")],
    ids=["estimated", "synthetic"],
)
def test_every_caption_with_joules_says_what_they_are(tmp_path, channels, words):
    html = page(two_variants(tmp_path, channels=channels))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    captions += re.findall(r'<p class="(?:caption|note)" id="[^"]+">(.*?)</p>', html)
    of_joules = [caption for caption in captions if "Energy:" in caption]
    assert len(of_joules) >= 6
    assert all(words in caption for caption in of_joules)
    assert not any("measured (" in caption for caption in of_joules)
    if channels is SYNTHETIC_CHANNELS:
        figures = re.findall(r"<figcaption>(.*?)</figcaption>", html)
        assert all("Synthetic: no result." in caption for caption in figures)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (make_record(), []),
        (make_record(channels=LAPTOP), ["Estimated"]),
        (
            make_record(channels=LAPTOP, quality=Quality.SUSPECT, provenance={"git_dirty": True}),
            ["Estimated", "suspect", "uncommitted"],
        ),
    ],
    ids=["nothing", "one", "three"],
)
def test_there_is_one_status_line_at_most_and_it_names_everything(tmp_path, record, words):
    save(tmp_path, record)
    made = published(tmp_path)
    lines = re.findall(r'<p class="status"><strong>(.*?)\.</strong>', made["report.html"])
    assert lines == ([", ".join(words)] if words else [])
    quoted = re.findall(r"^> \*\*(.*?):\*\*", made["report.md"], re.MULTILINE)
    assert quoted == [word.capitalize() for word in words]


def test_a_long_table_is_cut_with_a_note_and_whole_in_the_csv():
    rows = tuple((f"run-{i}", str(i)) for i in range(1_201))
    table = DataTable("All", ("Run", "n"), rows, (0,), "runs.csv", tuple(name for name, _ in rows))
    claims = tuple(Statement(f"c{i}", "See.", "runs.csv", f"run-{i}", {}) for i in (0, 300))
    report = Report("T", "", (), (Section("runs", "Runs", (*claims, table)),))
    html, text = to_html(report).decode(), to_markdown(report).decode()
    assert html.count('<th scope="row"') == 200
    assert "200 of 1,201 rows; the CSV has all." in html
    assert len(re.findall(r"^\| <a id=", text, re.MULTILINE)) == 200
    assert to_csv(table).decode().count("\n") == 1_202
    # What leads to a row that is cut leads nowhere.
    assert html.count('class="row"') == text.count("[Row in the table]") == 1
    assert {link[1:] for link in Strict(html).links} <= set(Strict(html).ids)


# -- sentences with numbers -----------------------------------------------------------------------

KEY = "relu <b> vs | leaky: joules"
CLAIM = Statement(
    "answer-1", "It used 6.9 % less <i>energy</i>.", "contrasts.csv", KEY, {"n": 8}, ("6.9 % less",)
)
TABLE = DataTable("Contrasts", ("contrast", "n"), (("relu", "8"),), (0,), "contrasts.csv", (KEY,))


def report_of(*parts, **fields):
    return Report("A title", "facts", (), (Section("answer", "Answer", parts, **fields),))


@pytest.mark.parametrize("place", Place)
def test_a_sentence_leads_to_the_row_it_comes_from(place):
    html = to_html(report_of(CLAIM, TABLE, place=place)).decode()
    html5lib.HTMLParser(strict=True).parse(html)
    target = make_anchor("contrasts.csv", KEY)
    assert html.count(f'<tr id="{target}">') == html.count(f'href="#{target}"') == 1
    text = to_markdown(report_of(CLAIM, TABLE)).decode()
    assert text.count(f'<a id="{target}"></a>') == text.count(f"](#{target})") == 1


def test_a_sentence_without_its_row_on_the_page_leads_nowhere():
    assert f"#{make_anchor('contrasts.csv', KEY)}" not in to_html(report_of(CLAIM)).decode()
    assert "Row in the table" not in to_markdown(report_of(CLAIM)).decode()


def test_words_of_a_sentence_are_set_as_they_are_and_its_strong_ones_bold():
    html = to_html(report_of(CLAIM)).decode()
    assert "It used <b>6.9 % less</b> &lt;i&gt;energy&lt;/i&gt;." in html
    odd = replace(CLAIM, strong=("absent", "<i>", "", "It"))  # none, markup, nothing, too early
    assert "It used 6.9 % less <b>&lt;i&gt;</b>energy" in to_html(report_of(odd)).decode()
    assert "&lt;i&gt;energy&lt;/i&gt;" in to_markdown(report_of(CLAIM)).decode()


def test_anchors_are_plain_and_tell_every_row_apart():
    keys = [KEY, KEY.upper(), "ünïcode " * 40, ""]
    made = [make_anchor("runs.csv", key) for key in keys] + [make_anchor("summary.csv", KEY)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", each) and len(each) < 60 for each in made)


def test_listings_stand_in_both_to_the_letter():
    report = report_of(Listing("Run this", "echo ```` <x>\n  two"))
    html, text = to_html(report).decode(), to_markdown(report).decode()
    html5lib.HTMLParser(strict=True).parse(html)
    assert '<pre tabindex="0">echo ```` &lt;x&gt;\n  two</pre>' in html
    assert "`````text\necho ```` <x>\n  two\n`````" in text


# -- a study as a whole ---------------------------------------------------------------------------


def test_the_title_line_has_design_device_date_and_digest(usual):
    words = text_of(usual["report.html"])
    assert re.search(
        r"Study runs: energy and accuracy 2 variants × 3 seeds · Example GPU · 2026-03-01 · "
        r"results [0-9a-f]{12}",
        words,
    )


@pytest.mark.parametrize("study", ["runs", "pilot"])
def test_a_study_without_runs_is_refused_with_the_way_out(tmp_path, study):
    with pytest.raises(UsageError, match="wbcbench run --variant"):
        publish(tmp_path, study, tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_study_whose_runs_are_all_going_on_is_refused_with_the_way_out(tmp_path):
    spec = make_spec()
    RunDir(tmp_path / "runs" / spec.run_id).create(spec, Local())
    with pytest.raises(UsageError, match=r"No run in .* has a record yet"):
        publish(tmp_path, "runs", tmp_path / "reports")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    save(tmp_path, make_record())
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(UsageError, match=r"blocked.*--out"):
        publish(tmp_path, "runs", tmp_path / "blocked")


def test_the_command_names_the_files_it_wrote(tmp_path):
    save(tmp_path, make_record())
    app = typer.Typer()
    app.command()(report_command)
    words = ["runs", "--results", str(tmp_path), "--out", str(tmp_path / "out")]
    plain = CliRunner().invoke(app, words)
    assert plain.stdout.splitlines()[0].startswith(str(tmp_path / "out" / "runs" / "report.html"))
    document = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert document["schema"] == "wbcbench.report/2"
    assert all(Path(file["path"]).stat().st_size == file["bytes"] for file in document["files"])
