"""One row of the results table: the expressions of ``columns.toml``, computed for one run.

An expression is parsed once into nested functions. It may hold attributes, calls, indices,
``+ - * /`` and ``or``, and nothing else; what follows from an unknown value is unknown.
"""

from __future__ import annotations

import ast
import hashlib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from wbcbench.core.record import RunRecord
from wbcbench.core.units import mhz_from_hz, ms_from_s, pct_from_share
from wbcbench.core.window import TRAIN
from wbcbench.energy.appraise import steps_duration_s
from wbcbench.energy.checks.machine import slowed_s
from wbcbench.energy.metrics import mean_known, scale, sum_if_all_known
from wbcbench.energy.source import (
    EnergySource,
    source_board_j,
    source_energy_j,
    source_gap_s,
    source_power_w,
    source_samples,
    source_uncertainty_j,
    spent_j,
)
from wbcbench.table.columns import Cell, load_columns, load_expressions

Evaluator = Callable[["Cells"], Any]

_SALT = "wbcbench-gpu-1"
_JSON_TYPES = (type(None), str, int, float, bool, list)
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else None,
}


class RecordedRun(Protocol):
    """What expressions are computed for: ``table.view.Run``, whose attributes they name."""

    @property
    def record(self) -> RunRecord:
        """What came of the run."""


class Row(Mapping[str, Any]):
    """One run's cells by column, in the table's order; ``None`` is unknown.

    Each is computed when it is first read: who compares thousands of runs reads a few columns.
    """

    def __init__(self, run: RecordedRun) -> None:
        self._cells = Cells(run)

    def __getitem__(self, column: str) -> Any:
        if column not in load_columns():
            raise KeyError(column)
        return _plain(self._cells[column])

    def compute_all(self) -> list[Cell]:
        """Every cell, in the table's order."""
        return [_plain(self._cells[column]) for column in load_columns()]

    def __iter__(self) -> Iterator[str]:
        return iter(load_columns())

    def __len__(self) -> int:
        return len(load_columns())


class Cells(dict[str, Any]):
    """Columns and terms of one run, each computed when it is first needed."""

    def __init__(self, run: RecordedRun) -> None:
        super().__init__()
        self.run = run

    def __missing__(self, name: str) -> Any:
        self[name] = value = _load_evaluators()[name](self)
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
        case ast.Name(id=name) if not name.startswith("_"):
            return lambda cells: getattr(cells.run, name)
        case ast.Attribute(value=parent, attr=name) if not name.startswith("_"):
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
                return lambda cells: function(cells.run.record, *[read(cells) for read in readers])
            return lambda cells: getattr(cells.run, name)(*[read(cells) for read in readers])
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            function = _OPERATORS[type(sign)]
            sides = compile_expression(left), compile_expression(right)
            return lambda cells: _apply(function, *[side(cells) for side in sides])
        case ast.BoolOp(op=ast.Or(), values=values):
            choices = [compile_expression(value) for value in values]
            return lambda cells: next((v for choice in choices if (v := choice(cells))), None)
    raise ValueError(f"'{ast.unparse(node)}' is not allowed in an expression of columns.toml.")


@cache
def _load_evaluators() -> dict[str, Evaluator]:
    expressions = load_expressions().items()
    return {name: compile_expression(parse_expression(text)) for name, text in expressions}


def _read(value: Any, name: str) -> Any:
    if type(value) is dict:
        return value.get(name)
    return None if type(value) in _JSON_TYPES else getattr(value, name)


def _apply(function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return None if left is None or right is None else function(left, right)


def _plain(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number or isinstance(value, str) else None


# What expressions call, besides the methods of ``Run``.
def energy_j(
    record: RunRecord, source: EnergySource | None, windows: str | Sequence[str]
) -> float | None:
    """Energy of a window, or what was spent in several; ``None`` if that of one is unknown.

    Of ``train`` alone it is that of one training, among others that of all its loops.
    """
    if isinstance(windows, str):
        return source_energy_j(record, source, windows)
    return sum_if_all_known([spent_j(record, source, name) for name in windows or ()])


def mean_power_w(
    record: RunRecord, source: EnergySource | None, windows: str | Sequence[str]
) -> float | None:
    """Mean power of a window; of several windows, the mean of those that are known."""
    return mean_known([source_power_w(record, source, name) for name in list_windows(windows)])


def duration_s(record: RunRecord, windows: str | Sequence[str]) -> float | None:
    """Seconds of these windows together; ``None`` if one is missing.

    ``train`` excludes the validation passes, and of several loops is one, as its energy is.
    """
    marked = {window.name: window.duration_s for window in reversed(record.windows)}
    return sum_if_all_known(
        [
            scale(steps_duration_s(record.windows), 1 / record.loop_count)
            if name == TRAIN
            else marked.get(name)
            for name in list_windows(windows)
        ]
    )


def list_windows(windows: str | Sequence[str] | None) -> Sequence[str]:
    """Names of one window, of several, or of none."""
    return [windows] if isinstance(windows, str) else windows or ()


def count(_: RunRecord, items: Sequence[Any] | None) -> int | None:
    """How many there are."""
    return None if items is None else len(items)


# Several GPUs: words are listed, temperatures and limits are the worst, shares and clocks the mean.
def list_boards(record: RunRecord) -> list[Mapping[str, Any]]:
    """What the meter reported of each GPU at the start."""
    meters = sorted(record.meters.items())
    return [facts for _, facts in meters if isinstance(facts, Mapping) and "uuid" in facts]


_JOB_CPUS = ("cpus", "node_cpus")


def get_board_values(record: RunRecord, field: str) -> list[Any]:
    """What the boards report under one name; unknown values are left out."""
    values = (board.get(field) for board in list_boards(record))
    return [value for value in values if value is not None]


def join_board_words(record: RunRecord, field: str) -> str | None:
    """What the boards report under one name, each word once, by ``;``."""
    return ";".join(sorted(set(map(str, get_board_values(record, field))))) or None


def hash_board_uuids(record: RunRecord) -> str | None:
    """The first 12 digits of a salted SHA-256 of each board's UUID, by ``;``."""
    uuids = get_board_values(record, "uuid")
    hashes = (hashlib.sha256(f"{_SALT}:{uuid}".encode()).hexdigest()[:12] for uuid in uuids)
    return ";".join(sorted(hashes)) or None


def share_of_node(record: RunRecord) -> float | None:
    """The job's part of the node's processors; Slurm may be told more than the kernel counts."""
    job = record.provenance.get("job")
    cpus, node_cpus = (job.get(name) if isinstance(job, dict) else None for name in _JOB_CPUS)
    if not (isinstance(cpus, int) and isinstance(node_cpus, int)) or cpus > node_cpus:
        return None
    return cpus / node_cpus


def is_any_board(record: RunRecord, field: str) -> bool | None:
    """Whether a field of any board is true."""
    values = get_board_values(record, field)
    return any(values) if values else None


def find_board_min(record: RunRecord, field: str) -> float | None:
    """The lowest number that boards report under one name."""
    return min(get_board_values(record, field), default=None)


def get_train_telemetry(record: RunRecord, field: str) -> list[Any]:
    """One value for each board in ``train``; unknown values are left out."""
    values = (getattr(state, field) for state in record.telemetry if state.window == TRAIN)
    return [value for value in values if value is not None]


def mean_telemetry(record: RunRecord, field: str) -> float | None:
    """Mean over the boards."""
    return mean_known(get_train_telemetry(record, field))


def find_telemetry_max(record: RunRecord, field: str) -> float | None:
    """The highest of the boards."""
    return max(get_train_telemetry(record, field), default=None)


def find_telemetry_min(record: RunRecord, field: str) -> float | None:
    """The lowest of the boards."""
    return min(get_train_telemetry(record, field), default=None)


def find_longest_throttle_s(record: RunRecord) -> float | None:
    """Longest time that one reason slowed a board down in ``train``."""
    states = (state for state in record.telemetry if state.window == TRAIN)
    return max(map(slowed_s, states), default=None)


def join_throttle_reasons(record: RunRecord) -> str | None:
    """Reasons with any time in ``train``, by ``;``."""
    boards: list[Mapping[str, float]] = get_train_telemetry(record, "throttled_s")
    reasons = {reason for times in boards for reason, time_s in times.items() if time_s > 0}
    return ";".join(sorted(reasons)) if boards else None


def count_foreign_processes(record: RunRecord) -> int | None:
    """Different foreign processes on the boards in ``train``; ``None`` if none were listed."""
    states = [s for s in record.telemetry if s.window == TRAIN and s.processes_most is not None]
    return len({pid for state in states for pid in state.foreign_pids}) if states else None


def find_others_share(record: RunRecord) -> float | None:
    """Share of the machine's processor time that others took in ``train``."""
    return next((c.others_share for c in record.cpu_loads if c.window == TRAIN), None)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "energy_j": energy_j,
    "mean_power_w": mean_power_w,
    "uncertainty_j": source_uncertainty_j,
    "board_uncertainty_j": source_board_j,
    "count_samples": source_samples,
    "longest_gap_s": source_gap_s,
    "duration_s": duration_s,
    "count": count,
    "list_boards": list_boards,
    "join_board_words": join_board_words,
    "hash_board_uuids": hash_board_uuids,
    "share_of_node": share_of_node,
    "is_any_board": is_any_board,
    "find_board_min": find_board_min,
    "mean_telemetry": mean_telemetry,
    "find_telemetry_max": find_telemetry_max,
    "find_telemetry_min": find_telemetry_min,
    "find_longest_throttle_s": find_longest_throttle_s,
    "join_throttle_reasons": join_throttle_reasons,
    "count_foreign_processes": count_foreign_processes,
    "find_others_share": find_others_share,
    "ms_from_s": lambda _, time_s: None if time_s is None else ms_from_s(time_s),
    "mhz_from_hz": lambda _, rate_hz: None if rate_hz is None else mhz_from_hz(rate_hz),
    "pct_from_share": lambda _, share: None if share is None else pct_from_share(share),
}
