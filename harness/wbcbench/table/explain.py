"""One cell of the results table, traced back: formula, inputs, the record made once more."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from wbcbench.core.record import Budget, RunRecord
from wbcbench.core.trace import Channel, Trace
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_validation
from wbcbench.energy.appraise import ReviewedTrace
from wbcbench.energy.checks.job import describe_node_joules
from wbcbench.energy.integrate import EnergyCurve
from wbcbench.energy.source import EnergySource, is_too_coarse, list_passed_over
from wbcbench.power.meter import GPU_METERS
from wbcbench.table.columns import (
    Cell,
    Column,
    find_way_out,
    load_expressions,
    load_record_fields,
)
from wbcbench.table.recount import SOURCES, Recount, Source
from wbcbench.table.rows import FUNCTIONS, Cells, compile_expression, list_windows, parse_expression
from wbcbench.table.view import Run

# Word in a column's name → the meters whose absence leaves it without joules.
_METERS = {"gpu": GPU_METERS, "cpu": ("rapl",), "dram": ("rapl",), "primary": (*GPU_METERS, "rapl")}
_NAME = re.compile(r"\{(\w+)\}")


class RecountState(StrEnum):
    """Whether a cell could be computed again, and whether it is the same."""

    EQUAL = "equal"
    DIFFERS = "differs"
    FILES_MISSING = "files missing"  # what it is computed from is not on disk
    RECORDED_ONCE = "recorded once"  # a fact of the record that no other file holds


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a cell came about.

    Attributes:
        run_id, path: The run.
        column: Of the results table.
        value: The cell as the record gives it.
        formula: How it is computed; names in braces are in ``inputs``.
        inputs: Values of the formula's columns and terms.
        fields: Fields of the record that it is computed from.
        energy_sources: Energy sources of the run or of the part of the machine.
        finer: Counter → power reading that counts in ``train`` because its ± is much smaller.
        readings: The energies it is computed from.
        spans: Windows whose length it uses; those of ``train`` with its validation passes.
        again: The cell computed again; means something where ``state`` is equal or differs.
        state: Whether the two agree.
        sources: Files it was computed from.
        missing: Files that it takes and that are not on disk.
        reasons: Why the value is unknown; empty where it is known.
        way_out: What to do about that.
        whose: Whose joules these are, where they are a whole node's and the job had a part of it.
    """

    run_id: str
    path: str
    column: Column
    value: Cell
    formula: str
    inputs: dict[str, Cell]
    fields: tuple[str, ...]
    energy_sources: tuple[EnergySource, ...]
    finer: dict[str, str]
    readings: tuple[Reading, ...]
    spans: tuple[Window, ...]
    again: Cell
    state: RecountState
    sources: tuple[Source, ...]
    missing: tuple[Source, ...]
    reasons: tuple[str, ...] = ()
    way_out: str = ""
    whose: str = ""

    @property
    def formula_with_values(self) -> str:
        """The formula with values put in."""
        return _NAME.sub(lambda match: _format_value(self.inputs[match[1]]), self.formula)


def explain(counted: Recount, column: Column) -> Explanation:
    """Explain one cell of a run that was counted again."""
    record, run = counted.recorded, Run(counted.recorded)
    cells = Cells(run)
    inputs = Inputs()
    inputs.collect(load_expressions()[column.name], cells)
    sources = inputs.list_sources()
    missing = tuple(source for source in sources if source not in counted.available)
    value, again = run.row[column.name], Run(counted.again).row[column.name]
    fields = ", ".join(inputs.fields) or "a constant of this version"
    state = RecountState.EQUAL if again == value else RecountState.DIFFERS
    if not sources:
        state = RecountState.RECORDED_ONCE
    elif missing:
        state = RecountState.FILES_MISSING
    reasons = tuple(_find_reasons(record, column, inputs)) if value is None else ()
    names = {channel for _, channel in inputs.energies}
    read = [channel for channel in record.channels if channel.name in names]
    return Explanation(
        run_id=record.run_id,
        path=str(counted.path),
        column=column,
        value=value,
        formula=column.formula or f"read from the record: {fields}",
        inputs={name: cells[name] for name in _NAME.findall(column.formula)},
        fields=tuple(inputs.fields),
        energy_sources=tuple(inputs.energy_sources),
        finer=_find_finer(record, inputs.energy_sources),
        readings=tuple(describe_readings(counted, inputs.energies)),
        spans=tuple(
            window
            for window in record.windows
            if window.name in inputs.windows
            or (TRAIN in inputs.windows and is_validation(window.name))
        ),
        again=again,
        state=state,
        sources=sources,
        missing=missing,
        reasons=reasons,
        way_out=find_way_out(column) if reasons else "",
        whose=describe_node_joules(read, record.provenance),
    )


def _find_reasons(record: RunRecord, column: Column, inputs: Inputs) -> Iterator[str]:
    """Why a cell is empty: what the record says, else when the column is empty at all."""
    said = list[str]()
    if record.error is not None:
        said.append(f"the run ended as {record.status}: {record.error.message}")
    for window, channel in inputs.energies:
        energy = record.energy(window, channel)
        if energy is None or energy.energy_j is None:
            reason = energy.reason if energy else "there is no such window"
            said.append(f"{window} on {channel}: {reason}")
    if not inputs.energies:  # no reading counts: the meters of that part say why
        meters = {meter for part, own in _METERS.items() if part in column.name for meter in own}
        absent = (each for each in record.absent if each.meter.partition("/")[0] in meters)
        said += [f"{each.meter}: {each.reason}" for each in absent]
    yield from dict.fromkeys(said or [column.empty_when])


def _find_finer(record: RunRecord, sources: Iterable[EnergySource]) -> dict[str, str]:
    """Counters that step too coarsely for ``train``, and the power reading that counts instead."""
    return {
        counter.name: power.name
        for source in sources
        for counter, power in list_passed_over(record, source)
        if is_too_coarse(record, counter, power, TRAIN)
    }


def _format_value(cell: Cell) -> str:
    if cell is None:
        return "unknown"
    return f"{cell:.12g}" if isinstance(cell, float) else str(cell)


@dataclass
class Inputs:
    """What an expression is computed from, in order, each once.

    Attributes:
        fields: Of the record, by dotted path.
        energies: Window and channel of each energy.
        windows: Windows whose length counts.
        energy_sources: Of the run or of a part of the machine.
    """

    fields: dict[str, None] = field(default_factory=dict)
    energies: dict[tuple[str, str], None] = field(default_factory=dict)
    windows: dict[str, None] = field(default_factory=dict)
    energy_sources: dict[EnergySource, None] = field(default_factory=dict)

    def collect(self, expression: str, cells: Cells) -> None:
        """Add what an expression names, and what the columns in it are computed from."""
        self._collect_node(parse_expression(expression), cells)

    def _collect_node(self, node: ast.AST, cells: Cells) -> None:
        match node:
            case ast.Attribute(value=ast.Name(id="cell"), attr=name):
                self.collect(load_expressions()[name], cells)
            case ast.Attribute() | ast.Subscript() if ast.unparse(node).startswith("record."):
                self.fields[ast.unparse(node).removeprefix("record.")] = None
            case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
                self._add_value(name, node, cells)
                for argument in getattr(node, "args", ()):
                    self._collect_node(argument, cells)
            case _:
                for child in ast.iter_child_nodes(node):
                    self._collect_node(child, cells)

    def _add_value(self, name: str, node: ast.Name | ast.Call, cells: Cells) -> None:
        self.fields |= dict.fromkeys(load_record_fields().get(name, ()))
        value = compile_expression(node)(cells)
        if isinstance(value, EnergySource):
            self.energy_sources[value] = None
        if isinstance(node, ast.Call) and name in FUNCTIONS:
            match [compile_expression(argument)(cells) for argument in node.args]:
                case [EnergySource(channels=channels), windows]:
                    for window in list_windows(windows):
                        self.energies |= dict.fromkeys((window, name) for name in channels)
                case [windows] if name == "duration_s":
                    self.windows |= dict.fromkeys(list_windows(windows))

    def list_sources(self) -> tuple[Source, ...]:
        """The files that the inputs are computed from."""
        names = {path.split(".", maxsplit=1)[0] for path in self.fields}
        if self.energies or self.energy_sources:
            names.add("energies")
        return tuple(s for s in Source if any(s in SOURCES.get(name, ()) for name in names))


@dataclass(frozen=True, slots=True)
class Point:
    """One reading: joules of a counter, or watts."""

    t_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a window on the cumulative curve of a trace.

    Attributes:
        t_s: The mark.
        before, after: Knots of the curve around it; ``None`` where the curve ends.
        energy_j: Cumulative joules at the mark; a step of the load between the two is cut.
    """

    t_s: float
    before: Point | None
    after: Point | None
    energy_j: float


@dataclass(frozen=True, slots=True)
class Samples:
    """The good readings inside a window; ``first`` and ``last`` are ``None`` if there are none."""

    count: int
    first: Point | None
    last: Point | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The energy of one window on one channel, and all it is computed from.

    Attributes:
        window: The span between its marks; ``None`` if the run ended before.
        channel: What was read.
        recorded: The energy as the record has it.
        again: The energy computed from the trace; ``None`` without a trace.
        budget: Where its uncertainty comes from, as just computed, else as recorded.
        passes: Validation passes that ``train`` excludes, as just computed, else as recorded.
        samples, start, end: From the trace; ``None`` without one.
    """

    window: Window | None
    channel: Channel
    recorded: WindowEnergy
    again: WindowEnergy | None
    budget: Budget | None
    passes: tuple[WindowEnergy, ...] = ()
    samples: Samples | None = None
    start: Edge | None = None
    end: Edge | None = None


def describe_readings(counted: Recount, lookups: Iterable[tuple[str, str]]) -> Iterator[Reading]:
    """Explain energies by window and channel; those the record does not know are left out."""
    channels = {channel.name: channel for channel in counted.recorded.channels}
    has_traces = {Source.TRACES, Source.MARKS} <= counted.available
    for window, name in lookups:
        energy = counted.recorded.energy(window, name)
        if energy and name in channels:
            reviewed = counted.review(name) if has_traces else None
            yield _describe_reading(energy, channels[name], counted, reviewed)


def _describe_reading(
    energy: WindowEnergy, channel: Channel, counted: Recount, reviewed: ReviewedTrace | None
) -> Reading:
    record = counted.again if reviewed else counted.recorded
    window = record.window(energy.window)
    budgets = (b for b in record.budgets if (b.window, b.channel) == (energy.window, channel.name))
    passes = (e for e in record.energies if e.channel == channel.name and is_validation(e.window))
    curve = reviewed.curve if reviewed and window else None
    return Reading(
        window=window,
        channel=channel,
        recorded=energy,
        again=record.energy(energy.window, channel.name) if reviewed else None,
        budget=next(budgets, None),
        passes=tuple(passes) if energy.window == TRAIN else (),
        samples=_find_samples(reviewed.trace, window) if reviewed and window else None,
        start=_find_edge(curve, window.start_s) if window and curve and curve.t_s else None,
        end=_find_edge(curve, window.end_s) if window and curve and curve.t_s else None,
    )


def _find_samples(trace: Trace, window: Window) -> Samples:
    points = [Point(*pair) for pair in zip(*trace.good, strict=True)]
    times = trace.good[0]
    inside = points[bisect_right(times, window.start_s) : bisect_right(times, window.end_s)]
    return Samples(len(inside), inside[0], inside[-1]) if inside else Samples(0, None, None)


def _find_edge(curve: EnergyCurve, at_s: float) -> Edge:
    after = bisect_left(curve.t_s, at_s)
    before, following = (
        Point(curve.t_s[i], curve.energy_j[i]) if 0 <= i < len(curve.t_s) else None
        for i in (after - 1, after)
    )
    return Edge(at_s, before, following, curve.at(at_s))
