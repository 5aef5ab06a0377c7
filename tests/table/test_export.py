"""``wbcbench export``: what is written unrounded reads back as the same table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.machine import LAPTOP
from builders.run import failed_record, make_spec, save
from builders.study import draw
from program import wbcbench
from reading_exports import original_text, read_export
from wbcbench import table
from wbcbench.core.errors import UsageError
from wbcbench.core.text import safe_text
from wbcbench.table import export as table_files
from wbcbench.table.columns import load_columns

COLUMNS = tuple(load_columns().values())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    spec = make_spec("leaky-dropout", 9, block=9, study="study")
    failed = failed_record(spec=spec)
    save(folder, *[*draw(2), *draw(1, channels=LAPTOP, batch_size=32), failed])
    return folder


def exported(results, form):
    rows = table.rows(table.load_records(results / "study"))
    return table_files.FORMATS[form](rows, COLUMNS)


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_an_exported_table_reads_back_as_the_same_table(results, tmp_path, form):
    path = tmp_path / f"table.{form}"
    path.write_bytes(exported(results, form))
    pd.testing.assert_frame_equal(
        read_export(path),
        table_files.to_frame(table.load_rows(results / "study"), COLUMNS),
        check_exact=True,
    )


@pytest.mark.parametrize("form", list(table_files.FORMATS))
def test_equal_records_give_equal_bytes(results, form):
    assert exported(results, form) == exported(results, form)


def with_cells(**cells):
    """One row in which only these cells are known."""
    return [dict.fromkeys(load_columns()) | cells]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_any_text_survives_the_csv_and_none_begins_a_formula(text):
    data = table_files.to_csv(with_cells(run_id=text), COLUMNS)
    cell = next(csv.DictReader(io.StringIO(data.decode(), newline="")))["run_id"]
    assert cell[0] not in "=+-@\t\r\n"
    assert original_text(cell) == text


@given(st.text(alphabet="'=+-@x\t", max_size=6))
def test_making_text_safe_can_be_undone(text):
    assert original_text(safe_text(text)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_survives_the_csv_also_a_negative_one(number):
    rows = with_cells(energy_gpu_train_above_idle_j=number)
    data = table_files.to_csv(rows, COLUMNS).decode()
    cell = next(csv.DictReader(io.StringIO(data)))["energy_gpu_train_above_idle_j"]
    assert float(cell) == number


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_what_is_not_finite_is_unknown(tmp_path, form):
    path = tmp_path / f"t.{form}"
    columns = table_files.select_columns(("val_loss", "ece"))
    rows = with_cells(val_loss=float("nan"), ece=float("inf"))
    path.write_bytes(table_files.FORMATS[form](rows, columns))
    assert read_export(path).isna().all().all()


def test_latex_and_markdown_are_rounded_and_escaped(results):
    columns = table_files.select_columns(table_files.SUMMARY)
    rows = table.rows(table.load_records(results / "study"))
    tex = table_files.to_latex(rows, columns).decode()
    assert r"primary\_energy\_train\_j" in tex
    assert " kJ" in tex
    assert tex.count(r"\\") == len(rows) + 1
    markdown = table_files.to_markdown(rows, columns).decode().splitlines()
    assert len({line.count("|") for line in markdown}) == 1
    assert "unknown" in markdown[-1] + markdown[-2] + "".join(markdown)


def test_a_cell_with_marks_of_either_language_stays_text():
    columns = table_files.select_columns(("run_id",))
    rows = with_cells(run_id=r"a|b\c_%{}<i>")
    assert r"a\|b\\c_%{}\<i>" in table_files.to_markdown(rows, columns).decode()
    assert r"a|b\textbackslash{}c\_\%\{\}<i>" in table_files.to_latex(rows, columns).decode()


def test_the_program_writes_a_file_or_standard_output(results, tmp_path):
    out = tmp_path / "deep" / "t.parquet"
    words = ("export", "study", "--results", str(results))
    assert wbcbench(*words, "--format", "parquet", "--out", str(out)).code == 0
    assert len(read_export(out)) == 13
    ended = wbcbench(*words, "--format", "json", "--columns", "run_id,accuracy")
    assert ended.json["schema"] == "wbcbench.export/2"
    assert [column["name"] for column in ended.json["columns"]] == ["run_id", "accuracy"]
    assert len(ended.json["rows"]) == 13


def test_a_column_is_written_once_in_every_format(results):
    with pytest.raises(UsageError, match="'seed' is named twice"):
        table_files.select_columns(["seed", "run_id", "seed"])
    words = ("export", "study", "--results", str(results), "--columns", "seed,seed")
    assert wbcbench(*words).code == 2


def test_the_file_may_be_a_link_and_one_that_cannot_be_is_named(results, tmp_path):
    words = ("export", "study", "--results", str(results), "--columns", "seed", "--out")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "t.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("shared/t.csv")
    assert wbcbench(*words, str(tmp_path / "link.csv")).code == 0
    assert (tmp_path / "link.csv").readlink() == Path("shared/t.csv")
    assert (tmp_path / "shared" / "t.csv").read_text().startswith("seed\n")
    ended = wbcbench(*words, str(tmp_path / "shared"))
    assert (ended.code, "Is a directory" in ended.err) == (2, True)


def test_an_unknown_column_is_refused_with_the_nearest(results):
    ended = wbcbench("export", "study", "--results", str(results), "--columns", "acuracy")
    assert ended.code == 2
    assert "Did you mean 'accuracy'" in ended.err
    assert " others." in ended.err
    assert len(ended.err) < 400, "a list of all columns is no message"


def test_the_json_says_what_each_column_means(results):
    document = json.loads(exported(results, "json"))
    meanings = {column["name"]: column["meaning"] for column in document["columns"]}
    assert meanings["params_total"] == "weights, trainable or not"
