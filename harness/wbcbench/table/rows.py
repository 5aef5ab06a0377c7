"""One row of the results table: the expressions of ``columns.toml``, computed for one run.

An expression is parsed once into nested functions. It may hold attributes, calls, indices,
``+ - * /`` and ``or``, and nothing else; what follows from an unknown value is unknown.
"""

from __future__ import annotations

import ast
import hashlib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from wbcbench.energy.checks.machine import slowed_s
from wbcbench.energy.metrics import mean_known, sum_if_all_known
from wbcbench.energy.source import (
    EnergySource,
    source_energy_j,
    source_gap_s,
    source_power_w,
    source_samples,
    source_uncertainty_j,
)
from wbcbench.table.columns import Cell, load_columns, load_expressions

if TYPE_CHECKING:
    from wbcbench.table.view import Run

Evaluator = Callable[["Cells"], Any]

_SALT = "wbcbench-gpu-1"
_JSON_TYPES = (type(None), str, int, float, bool, list)
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else None,
}


def build_row(run: Run) -> dict[str, Cell]:
    """One run's cells by column, in the table's order; ``None`` is unknown."""
    cells = Cells(run)
    return {name: _plain(cells[name]) for name in load_columns()}


class Cells(dict[str, Any]):
    """Columns and terms of one run, each computed when it is first needed."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def __missing__(self, name: str) -> Any:
        self[name] = value = _evaluators()[name](self)
        return value


@cache
def parse_expression(text: str) -> ast.expr:
    """An expression as a syntax tree, in which ``{name}`` has become ``cell.name``."""
    return ast.parse(re.sub(r"\{(\w+)\}", r"cell.\1", text), mode="eval").body


def compile_expression(node: ast.expr) -> Evaluator:
    """The function that computes an expression.

    Raises:
        ValueError: It holds something that expressions may not hold.
    """
    match node:
        case ast.Constant(value=constant):
            return lambda cells: constant
        case ast.Attribute(value=ast.Name(id="cell"), attr=name):
            return lambda cells: cells[name]
        case ast.Name(id=name):
            return lambda cells: getattr(cells.run, name)
        case ast.Attribute(value=parent, attr=name):
            read_parent = compile_expression(parent)
            return lambda cells: _read(read_parent(cells), name)
        case ast.Subscript(value=parent, slice=ast.Constant(value=index)):
            read_items = compile_expression(parent)
            return lambda cells: items[index] if (items := read_items(cells)) else None
        case _:
            return _compile_operation(node)


def _compile_operation(node: ast.expr) -> Evaluator:
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments):
            readers = [compile_expression(argument) for argument in arguments]
            if name in FUNCTIONS:
                function = FUNCTIONS[name]
                return lambda cells: function(cells.run, *[read(cells) for read in readers])
            return lambda cells: getattr(cells.run, name)(*[read(cells) for read in readers])
        case ast.BinOp(left=left, op=sign, right=right):
            sides = compile_expression(left), compile_expression(right)
            return lambda cells: _combine(_OPERATORS[type(sign)], *[side(cells) for side in sides])
        case ast.BoolOp(op=ast.Or(), values=values):
            choices = [compile_expression(value) for value in values]
            return lambda cells: next((v for choice in choices if (v := choice(cells))), None)
    raise ValueError(f"'{ast.unparse(node)}' is not allowed in an expression of columns.toml.")


@cache
def _evaluators() -> dict[str, Evaluator]:
    expressions = load_expressions().items()
    return {name: compile_expression(parse_expression(text)) for name, text in expressions}


def _read(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    return None if type(value) in _JSON_TYPES else getattr(value, name)


def _combine(function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return None if left is None or right is None else function(left, right)


def _plain(value: Any) -> Cell:
    return value if isinstance(value, str | int | float | bool) else None


# What expressions call, besides the methods of ``Run``.
def energy_j(run: Run, source: EnergySource | None, windows: str | Sequence[str]) -> float | None:
    """Energy of these windows together; ``None`` if that of one is unknown."""
    return sum_if_all_known([source_energy_j(run.record, source, w) for w in list_windows(windows)])


def mean_power_w(
    run: Run, source: EnergySource | None, windows: str | Sequence[str]
) -> float | None:
    """Mean power of a window; of several windows, the mean of those that are known."""
    return mean_known([source_power_w(run.record, source, name) for name in list_windows(windows)])


def list_windows(windows: str | Sequence[str] | None) -> Sequence[str]:
    """Names of one window, of several, or of none."""
    return [windows] if isinstance(windows, str) else windows or ()


def duration_s(run: Run, windows: str | Sequence[str]) -> float | None:
    """Seconds of these windows together; ``None`` if one is not there."""
    return sum_if_all_known([run.duration_s(name) for name in list_windows(windows)])


def count(_: Run, items: Sequence[Any] | None) -> int | None:
    """How many there are."""
    return None if items is None else len(items)


# Several boards: words are listed, temperatures and limits are the worst, shares and clocks the
# mean.
def join_board_words(run: Run, field: str) -> str | None:
    """What the boards report under one name, each word once, by ``;``."""
    words = {str(board[field]) for board in run.boards if board.get(field) is not None}
    return ";".join(sorted(words)) or None


def hash_board_uuids(run: Run) -> str | None:
    """The first 12 digits of a salted SHA-256 of each board's UUID, by ``;``."""
    uuids = [str(board["uuid"]) for board in run.boards if board.get("uuid")]
    hashes = (hashlib.sha256(f"{_SALT}:{uuid}".encode()).hexdigest()[:12] for uuid in uuids)
    return ";".join(sorted(hashes)) or None


def is_any_board(run: Run, field: str) -> bool | None:
    """Whether a field of any board is true."""
    values = [board[field] for board in run.boards if board.get(field) is not None]
    return any(values) if values else None


def min_of_boards(run: Run, field: str) -> float | None:
    """The lowest number that boards report under one name."""
    values = (board.get(field) for board in run.boards)
    return min((value for value in values if value is not None), default=None)


def telemetry_values(run: Run, field: str) -> list[Any]:
    """One value for each board in ``train``; those that are unknown are left out."""
    values = (getattr(state, field) for state in run.train_telemetry)
    return [value for value in values if value is not None]


def telemetry_mean(run: Run, field: str) -> float | None:
    """Mean over the boards."""
    return mean_known(telemetry_values(run, field))


def telemetry_max(run: Run, field: str) -> float | None:
    """The highest of the boards."""
    return max(telemetry_values(run, field), default=None)


def telemetry_min(run: Run, field: str) -> float | None:
    """The lowest of the boards."""
    return min(telemetry_values(run, field), default=None)


def longest_throttle_s(run: Run) -> float | None:
    """Longest time that one reason slowed a board down in ``train``."""
    return max(map(slowed_s, run.train_telemetry), default=None)


def join_throttle_reasons(run: Run) -> str | None:
    """Reasons with any time in ``train``, by ``;``."""
    reasons = {
        reason
        for state in run.train_telemetry
        for reason, time_s in state.throttled_s.items()
        if time_s > 0
    }
    return ";".join(sorted(reasons)) if run.train_telemetry else None


def count_foreign_processes(run: Run) -> int | None:
    """Different foreign processes on the boards in ``train``; ``None`` if none was listed."""
    states = [state for state in run.train_telemetry if state.processes_most is not None]
    return len({pid for state in states for pid in state.foreign_pids}) if states else None


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "energy_j": energy_j,
    "mean_power_w": mean_power_w,
    "uncertainty_j": lambda run, source, name: source_uncertainty_j(run.record, source, name),
    "count_samples": lambda run, source, name: source_samples(run.record, source, name),
    "longest_gap_s": lambda run, source, name: source_gap_s(run.record, source, name),
    "duration_s": duration_s,
    "count": count,
    "join_board_words": join_board_words,
    "hash_board_uuids": hash_board_uuids,
    "is_any_board": is_any_board,
    "min_of_boards": min_of_boards,
    "telemetry_mean": telemetry_mean,
    "telemetry_max": telemetry_max,
    "telemetry_min": telemetry_min,
    "longest_throttle_s": longest_throttle_s,
    "join_throttle_reasons": join_throttle_reasons,
    "count_foreign_processes": count_foreign_processes,
}
