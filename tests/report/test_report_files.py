"""The files of a report: each format, what is left alone, what is cleared away."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest
import typer
from pypdf import PdfReader
from typer.testing import CliRunner

from builders.evidence import counter
from builders.folder import run_folder, write_traces
from builders.run import failed_record, make_record, make_spec, save
from builders.study import draw
from wbcbench.commands.report import report as command
from wbcbench.core.errors import UsageError
from wbcbench.report import DataTable, build
from wbcbench.report.formats import to_csv
from wbcbench.report.publish import (
    ALL_FORMATS,
    MANIFEST_FILE,
    MANIFEST_SCHEMA,
    build_report_files,
    publish,
    read_manifest,
    read_report_study,
    refresh,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    save(folder, *draw(3))
    return folder


@pytest.fixture(scope="module")
def made(results):
    """The whole report, every format."""
    publish(results, "study", results / "reports", ALL_FORMATS)
    return results / "reports" / "study"


def relative(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_every_table_and_figure_of_the_report_has_its_files(results, made):
    report = build(read_report_study(results, "study"))
    expected = {"report.html", "report.md", "report.pdf", "contrasts.csv", "summary.csv"}
    expected.add(MANIFEST_FILE)
    for section in report.sections:
        for number in range(1, len(section.tables) + 1):
            expected |= {f"tables/{section.key}-{number}.{ending}" for ending in ("tex", "csv")}
    for figure in report.figures:
        expected |= {f"figures/{figure.name}.{ending}" for ending in ("svg", "pdf")}
        expected.add(f"figure-data/{figure.name}.csv")
    assert relative(made) == expected


def test_a_report_that_is_built_already_has_the_same_files(results, made):
    study = read_report_study(results, "study")
    files = build_report_files(build(study), study, ["csv"])
    assert files.pop(MANIFEST_FILE)
    assert "summary.csv" in files
    for name, data in files.items():
        assert data == (made / name).read_bytes(), name


def test_contrasts_are_unrounded_and_one_a_line(made):
    assert (made / "summary.csv").read_text().startswith("configuration,")
    rows = list(csv.DictReader((made / "contrasts.csv").open(newline="")))
    assert {"contrast", "metric", "estimate", "ci_low", "p_holm"} <= set(rows[0])
    assert all(len(row["estimate"]) > 8 for row in rows if row["estimate"])


def test_latex_tables_are_booktabs_and_whole(made):
    for path in (made / "tables").glob("*.tex"):
        text = path.read_text()
        assert text.startswith("% ")
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
        assert r"\toprule" in text
        lines = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


def test_figures_as_pdf_are_one_page_each(made):
    for path in (made / "figures").glob("*.pdf"):
        assert len(PdfReader(path).pages) == 1


def test_numbers_go_unrounded_where_a_table_has_them():
    data = DataTable("c", ("a", "b", "d"), (("x", "1.2", "-3"),), values=(("x", 1.23456789, -3),))
    assert to_csv(data).decode() == "a,b,d\nx,1.23456789,-3\n"
    words = DataTable("c", ("a", "b"), (("-x", "-1.5"), ("=1", "")))
    assert to_csv(words).decode() == "a,b\n'-x,-1.5\n'=1,\n"
    unknown = DataTable("c", ("a",), (("?",),), values=((float("nan"),),))
    assert list(csv.reader(io.StringIO(to_csv(unknown).decode())))[1:] in ([[]], [[""]])


def test_nothing_is_redone_while_nothing_changed(tmp_path):
    run = run_folder(tmp_path)
    first = refresh(tmp_path, "runs", tmp_path / "r", ["tex"])
    again = refresh(tmp_path, "runs", tmp_path / "r", ["tex"])
    assert (first.built, again.built) == (True, False)
    assert set(again.files) == set(first.files)
    assert refresh(tmp_path, "runs", tmp_path / "r", ["tex"], force=True).built
    (run.path / "log.txt").write_text("chatter that no report reads")
    assert not refresh(tmp_path, "runs", tmp_path / "r", ["tex"]).built
    assert refresh(tmp_path, "runs", tmp_path / "r", ["csv"]).built
    assert not refresh(tmp_path, "runs", tmp_path / "r", ["csv", "tex"]).built


@pytest.mark.parametrize("change", ["record", "trace", "new run", "page", "gone"])
def test_what_changed_is_made_again(tmp_path, change):
    run = run_folder(tmp_path)
    first = refresh(tmp_path, "runs", tmp_path / "r", ["tex"])
    if change == "record":
        text = run.record_path.read_text()
        run.record_path.write_text(text.replace('"cpu_count": 2', '"cpu_count": 4'))
    elif change == "trace":
        write_traces(run, [counter()])
    elif change == "new run":
        save(tmp_path, make_record(seed=7))
    elif change == "page":
        first.files[0].write_text("edited by somebody")
    else:
        first.files[0].unlink()
    assert refresh(tmp_path, "runs", tmp_path / "r", ["tex"]).built
    assert not refresh(tmp_path, "runs", tmp_path / "r", ["tex"]).built


def test_what_an_earlier_report_left_is_cleared_away_and_nothing_else(tmp_path):
    save(tmp_path, make_record(), make_record("relu-dropout"))
    publish(tmp_path, "runs", tmp_path / "r", ["csv"])
    data = tmp_path / "r" / "runs" / "figure-data"
    assert (data / "learning-curves.csv").exists()
    (data / "mine.csv").write_text("1,2")
    edited = data / "energy-accuracy.csv"
    edited.write_text("improved by hand")
    shutil.rmtree(tmp_path / "runs")
    save(tmp_path, failed_record())
    made = refresh(tmp_path, "runs", tmp_path / "r", ["csv"])
    assert data / "learning-curves.csv" in made.removed
    assert edited.exists()
    assert (data / "mine.csv").exists()


@pytest.mark.parametrize("name", ["../../precious.txt", "/tmp/precious.txt", "a/../../x"])
def test_a_forged_list_of_files_reaches_nothing_outside(tmp_path, name):
    forged = {"inputs": "x", "formats": [], "files": {name: ""}, "schema": MANIFEST_SCHEMA}
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(forged))
    assert read_manifest(tmp_path) is None


def test_an_unknown_format_is_refused_with_the_nearest(tmp_path):
    save(tmp_path, make_record())
    with pytest.raises(UsageError, match="Did you mean 'html'"):
        publish(tmp_path, "runs", tmp_path / "r", ["htm"])
    assert not (tmp_path / "r").exists()


def said(*words):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_one_call_makes_several_studies_and_says_what_is_up_to_date(tmp_path):
    save(tmp_path, make_record())
    save(tmp_path, make_record(spec=make_spec("relu-dropout", study="other")))
    words = ["runs", "other", "--results", tmp_path, "--out", tmp_path / "r", "--format", "tex"]
    first = said(*words).stdout
    assert re.findall(r"(\w+)/tables/   \d+ files", first) == ["runs", "other"]
    for study in ("runs", "other"):
        assert (tmp_path / "r" / study / "tables" / "runs-1.tex").exists()
    assert said(*words).stdout.count("up to date") == 2
    document = json.loads(said(*words, "--json").stdout)
    assert [each["study"] for each in document["reports"]] == ["runs", "other"]
    assert document["reports"][0]["built"] is False


def test_without_a_browser_open_says_where_the_page_is(tmp_path, monkeypatch):
    save(tmp_path, make_record())
    monkeypatch.setenv("BROWSER", "no-such-browser-here")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    told = said("--results", tmp_path, "--out", tmp_path / "r", "--format", "tex", "--open")
    assert f"file://{tmp_path}/r/runs/tables/" in told.output
