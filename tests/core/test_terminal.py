"""Tables and paragraphs that fit a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.terminal import (
    TableColumn,
    align_points,
    cell_width,
    energy_column,
    fill,
    format_rows,
    format_table,
    share_column,
    terminal_width,
    text_column,
    time_column,
)

RUNS = ("relu-dropout-s1001-fb4befb2", "leaky-dropout-s1001-1f3903d8")


def make_columns() -> list[TableColumn]:
    return [
        text_column("run", RUNS),
        text_column("state", ["done", "failed"], leaves=1),
        share_column("accuracy", [0.903, None], leaves=2),
        energy_column("energy", [40_400.0, 1_200.0]),
        time_column("time", [145.0, 6.0], leaves=3),
    ]


@pytest.mark.parametrize(("columns", "width"), [("50", 50), ("132", 132), ("20", 50), ("", 80)])
def test_the_width_is_what_columns_names_and_never_below_fifty(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


def test_columns_leave_by_priority_and_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert format_table(make_columns(), indent="  ") == [
        "  run                            state    accuracy %   energy kJ   time s",
        "  relu-dropout-s1001-fb4befb2    done           90.3       40.4    145",
        "  leaky-dropout-s1001-1f3903d8   failed            –        1.20     6.00",
    ]
    monkeypatch.setenv("COLUMNS", "50")
    lines = format_table(make_columns(), indent="  ", wide=False)
    assert lines[0] == "run                           state   energy kJ"
    assert " ".join(lines[3:]) == "Left out: accuracy %, time s (--wide shows all)"
    wide = format_table(make_columns(), wide=True)
    assert wide[0].split()[-2:] == ["time", "s"]


def test_a_column_has_one_unit_and_three_digits() -> None:
    column = energy_column("energy", [1_999_600.0, 41_230.0, None, float("nan")])
    assert (column.heading, list(column.cells)) == ("energy MJ", ["2.00", "0.0412", "–", "–"])
    assert time_column("time", [599.0]).heading == "time s"
    assert list(time_column("time", [900.0, 30.0]).cells) == ["15.0", "0.500"]
    assert time_column("time", [14_400.0]).heading == "time h"
    assert energy_column("energy", [None]).heading == "energy J"


def test_what_folds_goes_on_in_further_lines_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    about = text_column("about", ["a sentence that is longer than there is room for"], folds=True)
    lines = format_table([text_column("name", ["relu-dropout-with-a-long-name"]), about])
    assert [line[:29].strip() for line in lines] == ["name", "relu-dropout-with-a-long-name", ""]
    assert " ".join(line[29:].strip() for line in lines[1:]) == about.cells[0]


def test_where_nothing_may_leave_the_rest_stands_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    path = "/a/path/that/is/as/long/as/half/of/the/terminal/or/more"
    lines = format_table([text_column("folder", [path]), text_column("result", ["verified"])])
    assert lines == ["folder", "  result", path, "  verified"] or path in lines
    below = format_table(
        [text_column("name", ["n" * 40]), text_column("about", ["a b " * 3], folds=True)]
    )
    assert below == ["name", "n" * 40, "    a b a b a b"]


def test_a_table_of_which_nothing_leaves_becomes_paragraphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    rows = [("relu-dropout", "+4.43 % [+4.14, +4.73] different", "0.0078 (0.047)")]
    lines = format_rows(("Contrast", "energy_gpu_train_j", "p (Holm)"), rows)
    assert lines[0] == "Contrast: relu-dropout"
    assert lines[1].startswith("  energy_gpu_train_j  +4.43 %")
    assert max(map(len, lines)) <= 50
    assert "0.0078 (0.047)" in lines[-1]


def test_words_from_outside_look_like_no_other_row() -> None:
    column = text_column("state", ["done\n\x1b[2Jfailed   ok", "", None])
    assert column.cells[1:] == ["–", "–"]
    assert "\n" not in column.cells[0] and "\x1b" not in column.cells[0]


@given(st.lists(st.floats(-1e4, 1e4).map(lambda value: f"{value:.3g}"), min_size=1))
def test_decimal_points_stand_below_each_other(cells: list[str]) -> None:
    plain = [cell for cell in cells if re.fullmatch(r"-?\d+\.\d+", cell)]
    padded = align_points(plain)
    assert [cell.strip() for cell in padded] == plain
    assert len({cell.index(".") for cell in padded}) <= 1
    assert len({len(cell) for cell in padded}) <= 1


@given(st.text("ab é漢–", max_size=200), st.integers(20, 60))
def test_a_paragraph_breaks_between_words_alone(text: str, width: int) -> None:
    assert fill(text, width=width).split() == text.split()
    assert cell_width("漢") == 2


def test_a_number_and_its_unit_stay_on_one_line() -> None:
    text = "it took 41.2 kJ ± 0.3 % in 2 min 31 s at 280 W for 3 pp, 4 seeds and 12 students"
    for width in range(12, 80):
        lines = fill(text, width=width).splitlines()
        assert " ".join(lines) == text
        assert not any(line.split()[0] in {"kJ", "%", "min", "s", "W", "pp,"} for line in lines)
        assert not any(line.endswith("±") for line in lines)
