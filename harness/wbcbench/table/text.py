"""One explanation as text for a terminal or as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from shutil import get_terminal_size

from pydantic_core import to_json

from wbcbench.core.record import Budget
from wbcbench.core.text import (
    UNKNOWN,
    count_of,
    human_energy,
    human_power,
    printable,
)
from wbcbench.core.trace import Channel, Kind
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.table.columns import Cell
from wbcbench.table.explain import Edge, Explanation, Point, Reading, RecountState, Samples

EXPLANATION_SCHEMA = "wbcbench.explain/2"

_EXPLANATION_WIDTH = min(get_terminal_size((100, 24)).columns, 100)
_MOST_DETAILED = 3  # more energies than this get one line each

CURVE = (
    "E(w) is the cumulative energy at the end of window w minus that at its start. A counter joins "
    "its moves at the sensor's renewals; the power beside it bridges its breaks. A power of known "
    "pace is the mean of each period, others are joined by trapezoids. An edge is cut at a step of "
    "the load, else evenly."
)


def format_explanation_json(explanation: Explanation) -> bytes:
    """What ``wbcbench explain --json`` prints; what is not finite is unknown."""
    content = asdict(explanation)
    column = {key: content["column"][key] for key in ("name", "type", "unit", "meaning")}
    again = {"state": content.pop("state"), "value": content.pop("again")}
    again |= {key: content.pop(key) for key in ("sources", "missing")}
    document = {
        "schema": EXPLANATION_SCHEMA,
        "run_dir": content.pop("path"),
        **content,
        "column": column,
        "formula_with_values": explanation.formula_with_values,
        "again": again,
    }
    return to_json(document, indent=1, inf_nan_mode="null")


def format_explanation(explanation: Explanation) -> list[str]:
    """The whole explanation, one line an item."""
    column = explanation.column
    lines = [f"{column.name} of {explanation.run_id}: {_format_cell(explanation.value)}"]
    for label, text in _list_explanation_facts(explanation):
        lines += _format_fact(label, text, 11)
    if explanation.spans:
        lines += ["", "Windows whose length it uses, by their marks on the monotonic clock"]
        lines += [f"  {window.name:<14}{_format_span(window)}" for window in explanation.spans]
    if explanation.readings:
        lines += ["", "Energies it is computed from", *textwrap.wrap(CURVE, _EXPLANATION_WIDTH)]
    for reading in explanation.readings:
        title = f"  {reading.recorded.window} on {reading.channel.name}"
        lines.append(f"{title}: {_format_energy(reading.recorded)}")
        is_detailed = len(explanation.readings) <= _MOST_DETAILED
        for label, text in _list_reading_facts(reading, is_detailed=is_detailed):
            lines += _format_fact(label, text, 11, indent=4)
    return [printable(line) for line in lines]


def _list_explanation_facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    yield from (("reason", reason) for reason in explanation.reasons)
    if explanation.way_out:
        yield "way out", explanation.way_out
    yield "meaning", explanation.column.meaning
    yield "formula", explanation.formula.replace("{", "").replace("}", "")
    if explanation.inputs:
        values = (f"{name} = {_format_cell(cell)}" for name, cell in explanation.inputs.items())
        yield "  with", ", ".join(values)
        yield "  so", explanation.formula_with_values
    for source in explanation.energy_sources:
        channels = ", ".join(source.channels) or "no channel"
        status = f"({source.method}, {source.status})" if source.status else ""
        yield "source", f"{channels} for {source.domain.value} {status}"
        if source.unread:
            yield "unread", f"{', '.join(source.unread)}: without them the sum is unknown"
    if explanation.whose:
        yield "whose", explanation.whose
    for counter, power in explanation.finer.items():
        yield "choice", f"{power} counts: {counter} steps so coarsely that its ± is much wider"
    if not (explanation.reasons and explanation.state is RecountState.RECORDED_ONCE):
        yield "recount", _format_recount(explanation)


def _format_recount(explanation: Explanation) -> str:
    files, again = ", ".join(explanation.sources), _format_cell(explanation.again)
    match explanation.state:
        case RecountState.RECORDED_ONCE:
            return "not possible: observed once during the run and stored only in the record"
        case RecountState.FILES_MISSING:
            return (
                f"not possible: {', '.join(explanation.missing)} of this run were not kept. They "
                "may still exist on the machine where the study ran."
            )
        case RecountState.EQUAL:
            return f"{again}, equal to the record; from {files}"
    return (
        f"{again}, DIFFERS from the record's {_format_cell(explanation.value)}; from {files}. "
        "These files or the record were changed, or an older version of wbcbench with other rules "
        "wrote the record (its commit is in the column git_commit)."
    )


def _list_reading_facts(reading: Reading, *, is_detailed: bool) -> Iterator[tuple[str, str]]:
    if reading.window:
        yield "window", _format_span(reading.window)
    if is_detailed:
        if reading.passes:
            yield "less", _format_passes(reading.passes)
        yield "channel", _format_channel(reading.channel)
        if reading.samples:
            yield "samples", _format_samples(reading.samples, reading.channel)
        if reading.start and reading.end:
            yield "start", _format_edge(reading.start)
            yield "end", _format_edge(reading.end)
        if reading.channel.origin.is_estimated:
            yield "budget", "no ±: how far a model is off is not known"
        elif reading.budget:
            yield "budget", _format_budget(reading.budget)
    again, recorded = reading.again, reading.recorded
    if again is None:
        yield "recount", "not possible: the trace was not kept"
        return
    same = (again.energy_j, again.uncertainty_j) == (recorded.energy_j, recorded.uncertainty_j)
    yield "recount", f"{_format_energy(again)}, {'equal' if same else 'DIFFERS'}"


def _format_span(window: Window) -> str:
    return f"{window.start_s:.6f} s to {window.end_s:.6f} s, {window.duration_s:.6f} s"


def _format_passes(passes: tuple[WindowEnergy, ...]) -> str:
    known = [energy.energy_j for energy in passes if energy.energy_j is not None]
    total = f"{sum(known):.6f} J" if len(known) == len(passes) else UNKNOWN
    return f"{total} of {count_of(len(passes), 'validation window')}"


def _format_channel(channel: Channel) -> str:
    kind = "cumulative joules" if channel.kind is Kind.COUNTER else "watts"
    reading = f", reading {channel.reading}" if channel.reading else ""
    period = f", updated every {channel.update_s:g} s" if channel.update_s else ""
    mean = f", mean of {channel.averaging_s:g} s" if channel.averaging_s else ""
    return f"{channel.domain.value}, {kind}, {channel.origin.value}{reading}{period}{mean}"


def _format_samples(samples: Samples, channel: Channel) -> str:
    text = f"{count_of(samples.count, 'good reading')} inside the window"
    if samples.first is None or samples.last is None:
        return text
    unit = "J" if channel.kind is Kind.COUNTER else "W"
    first, last = (
        f"{point.value:.6g} {unit} at {point.t_s:.6f} s" for point in (samples.first, samples.last)
    )
    return f"{text}, from {first} to {last}"


def _format_edge(edge: Edge) -> str:
    if edge.before is None or edge.after is None:
        return f"{edge.energy_j:.6f} J, the end of the curve"
    knots = f"{_format_knot(edge.before)} and {_format_knot(edge.after)}"
    return f"{edge.energy_j:.6f} J, between {knots}"


def _format_knot(point: Point) -> str:
    return f"{point.value:.6f} J at {point.t_s:.6f} s"


def _format_budget(budget: Budget) -> str:
    parts = (
        f"resolution ± {human_energy(budget.quantisation_j)}, "
        f"edges ± {human_energy(budget.edges_j)}, "
        f"between readings ± {human_energy(budget.sampling_j)}"
    )
    total = f"total ± {human_energy(budget.total_j)} (root of the sum of squares, 95 %)"
    if budget.gain_j is not None:
        total += f"; gain error, not included, ± {human_energy(budget.gain_j)}"
    if budget.baseline_j is not None:
        total += f"; subtracting idle power adds ± {human_energy(budget.baseline_j)}"
    return f"{parts}: {total}"


def _format_energy(energy: WindowEnergy) -> str:
    if energy.energy_j is None:
        return f"{UNKNOWN} ({energy.reason})" if energy.reason else UNKNOWN
    spread = "" if energy.uncertainty_j is None else f" ± {energy.uncertainty_j:.4g} J"
    return f"{energy.energy_j:.6f} J{spread}, mean {human_power(energy.mean_power_w)}"


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return UNKNOWN
    return repr(cell) if isinstance(cell, float) else str(cell)


def _format_fact(
    label: str, text: str, label_width: int, width: int = _EXPLANATION_WIDTH, indent: int = 2
) -> list[str]:
    """One fact; a long one goes on under its own beginning."""
    first = " " * indent + f"{printable(label):<{label_width}}"
    return textwrap.wrap(
        printable(text) or "–",
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
