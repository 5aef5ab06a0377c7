"""The report: what it says, of whom, in which bytes, and what it must never let through."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import html5lib
import pytest
import typer
from typer.testing import CliRunner

from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.run import failed_record, make_record, make_spec, save
from builders.study import gather
from reading_reports import Strict, page, published, text_of, two_variants
from wbcbench.commands.report import report as report_command
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.registry import SECTIONS, load_part
from wbcbench.report import Block
from wbcbench.report.drawing import inline_svg
from wbcbench.report.publish import publish, read_report_study
from wbcbench.report.sections.tradeoff import compute_centres, select_front

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a sound study of two variants, drawn once."""
    return published(two_variants(tmp_path_factory.mktemp("usual")))


def test_the_report_answers_with_accuracy_interval_and_joules_of_each_variant(usual):
    words = text_of(usual["report.html"])
    assert "6 of 6 runs finished, of 2 variants on bccd-kaggle" in words
    assert "GPU energy in training, idle included, measured (counter)" in words
    assert "instead of relu-dropout on GPU energy in training is inconclusive: +0.00 %" in words
    assert "11.2 kJ ± 617 J (reading) ± 560 J (board)" in words
    assert "0.70–0.90" in words
    assert "8.40 kJ (3 of 3)" in words
    assert "71 photographs" in words


def test_the_page_is_whole_by_itself(usual):
    html = usual["report.html"]
    seen = Strict(html)
    assert f'content="{POLICY}"' in html
    assert "script" not in seen.tags
    assert {"link", "img", "iframe", "object", "embed"}.isdisjoint(seen.tags)
    assert all(link.startswith("#") for link in seen.links)
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)


def test_the_page_is_valid_html_with_unique_ids_and_anchors_that_lead_somewhere(usual):
    html = usual["report.html"]
    html5lib.HTMLParser(strict=True).parse(html)
    seen = Strict(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert {link[1:] for link in seen.links} <= set(seen.ids)
    assert seen.tags.count("main") == 1


def test_every_figure_has_words_and_its_numbers_behind_it(usual):
    html = usual["report.html"]
    figures = html.count("<figure>")
    assert figures >= 4
    assert html.count("<title id=") == html.count("<desc id=") == figures
    assert html.count("The numbers behind this figure") == figures
    assert html.count('role="img"') == figures


def test_wide_tables_scroll_by_keyboard_in_a_named_region(usual):
    html = usual["report.html"]
    regions = re.findall(
        r'<div class="scroll" role="region" aria-label="([^"]+)" tabindex="0">', html
    )
    assert html.count("<table") == len(regions) == len(set(regions))


@pytest.mark.parametrize("name", ["energy-accuracy.svg", "learning-curves.svg"])
def test_figures_are_well_formed_pictures_with_selectable_text(usual, name):
    svg = usual[name]
    root = ET.fromstring(svg)
    words = " ".join(root.itertext())
    assert "leaky-dropout" in words
    assert "(kJ)" in words
    assert "<metadata>" not in svg


def test_a_picture_in_the_page_takes_the_readers_colour_and_width(usual):
    svg = inline_svg(usual["energy-accuracy.svg"])
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "#1b1b1f" not in svg
    assert "fill: #ffffff" not in svg
    assert " width=" not in svg[: svg.index(">")]
    ET.fromstring(svg)


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (LAPTOP, "estimated, not measured"),
        (SYNTHETIC_CHANNELS, "Synthetic data: no result about real cells."),
    ],
)
def test_every_caption_says_estimated_or_synthetic(tmp_path, channels, words):
    html = page(two_variants(tmp_path, channels=channels))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    of_joules = [caption for caption in captions if "Energy:" in caption]
    assert len(of_joules) >= 2
    assert all(words in caption for caption in of_joules)
    assert "measured (counter)" not in html


@pytest.mark.parametrize(
    ("record", "banner"),
    [
        (make_record(channels=LAPTOP), "ESTIMATED"),
        (make_record(channels=SYNTHETIC_CHANNELS), "SYNTHETIC"),
        (make_record(channels=()), "NO ENERGY"),
        (failed_record(), "NOTHING FINISHED"),
        (make_record(provenance={"git_dirty": True}), "DIRTY"),
        (make_record(quality=Quality.SUSPECT), "SUSPECT"),
    ],
    ids=["estimated", "synthetic", "no-energy", "failed", "dirty", "suspect"],
)
def test_what_a_reader_must_know_first_stands_in_a_banner(tmp_path, record, banner):
    save(tmp_path, record)
    made = published(tmp_path)
    assert f'<p class="banner"><strong>{banner}.</strong>' in made["report.html"]
    assert f"**Note:** {banner}" in made["report.md"]


def test_a_sound_measured_study_has_no_banner(usual):
    assert 'class="banner"' not in usual["report.html"]


def test_measured_and_estimated_runs_are_never_put_on_one_axis(tmp_path):
    two_variants(tmp_path)
    save(tmp_path, make_record(seed=9, channels=LAPTOP))
    made = published(tmp_path)
    assert "MIXED" in made["report.html"]
    assert make_spec(seed=9).run_id in text_of(made["report.html"])
    assert make_spec(seed=9).run_id not in made["energy-accuracy.svg"]
    assert "11.2 [11.2, 11.2]" in text_of(made["report.html"])


def test_failed_runs_stand_in_the_table_with_their_reason_and_in_no_mean(tmp_path):
    two_variants(tmp_path)
    save(tmp_path, failed_record(seed=9))
    words = text_of(page(tmp_path))
    assert "killed: The trainer was ended by signal 9" in words
    assert "3 of 4" in words
    assert "INCOMPLETE" in words


def test_warnings_stand_with_their_advice(tmp_path):
    warning = QualityWarning(
        "short-window", Severity.SUSPECT, "it lasted 3 s", "train longer", "train"
    )
    save(tmp_path, make_record(warnings=(warning,), quality=Quality.SUSPECT))
    words = text_of(page(tmp_path))
    assert (
        f"short-window suspect train 1 it lasted 3 s ({make_spec().run_id}) train longer" in words
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


# Claims take a plan: compare/test_planned_claims.py has a report with them.
@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "claims"])
def test_every_section_of_the_registry_says_something_about_a_sound_study(tmp_path, name):
    study = read_report_study(two_variants(tmp_path), "runs")
    block = load_part("section", name)(study)
    assert isinstance(block, Block)
    assert re.fullmatch(r"[a-z-]+", block.key)
    for table in (*block.tables, *(figure.data for figure in block.figures)):
        assert {len(row) for row in table.rows} <= {len(table.headings)}


def test_means_and_front_are_of_the_variants_runs(tmp_path):
    reached = [("leaky-dropout", 1, 0.8), ("leaky-dropout", 2, 0.9), ("relu-dropout", 1, 0.7)]
    study = gather("runs", [make_record(v, seed, accuracy=a) for v, seed, a in reached])
    found = compute_centres(study)
    assert [each.variant for each in found] == ["leaky-dropout", "relu-dropout"]
    assert found[0].accuracy == pytest.approx(0.86)
    assert [each.variant for each in select_front(found)] == ["leaky-dropout"]
