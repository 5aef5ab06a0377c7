"""An explanation in words, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from wbcbench.core.record import Budget
from wbcbench.core.text import UNKNOWN, count_of, human_energy, human_power, printable
from wbcbench.core.trace import Channel, Kind
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.source import Speaker
from wbcbench.table.column import Cell
from wbcbench.table.explain import Explanation, RecountState
from wbcbench.table.reading import Edge, Point, Reading, Samples

_WIDTH = 100
_LABEL_WIDTH = 11
_TAKEN_APART = 3  # more numbers of joules than this get one line each

CURVE = (
    "E(w) is the cumulative energy at the end of window w less that at its start. A counter's "
    "curve joins its moves, wraps undone; a power reading's is integrated by trapezoids. Edges "
    "are interpolated. Cumulative joules count from the first reading."
)


def lines(found: Explanation) -> list[str]:
    """The whole explanation, one line an item."""
    told = [f"{found.column.name} of {found.run_id}: {_cell(found.value)}"]
    told += [line for label, text in _facts(found) for line in _labelled(label, text)]
    told += _spans(found.spans)
    told += _joules(found.readings)
    return [printable(line) for line in told]


def _facts(found: Explanation) -> Iterator[tuple[str, str]]:
    yield "meaning", found.column.meaning
    yield "formula", found.formula.replace("{", "").replace("}", "")
    if found.inputs:
        yield "  with", ", ".join(f"{name} = {_cell(v)}" for name, v in found.inputs.items())
        yield "  so", found.formula_with_values
    for who in found.speakers:
        yield "speaker", _speaker(who)
    yield "again", _again(found)


def _speaker(who: Speaker) -> str:
    return f"{', '.join(who.channels)} for {who.domain.value} ({who.method}, {who.status.value})"


def _again(found: Explanation) -> str:
    if found.state is RecountState.SEEN_ONCE:
        return "not worked out again: a fact seen once, of which the record is the only witness"
    if found.state is RecountState.NOT_KEPT:
        return (
            f"not worked out again: {', '.join(found.missing)} of this run were not kept, so the "
            "record's own number stands alone. Where the study was made they may still lie."
        )
    files = ", ".join(found.sources)
    if found.state is RecountState.EQUAL:
        return f"{_cell(found.again)}, equal to the record; from {files}"
    return (
        f"{_cell(found.again)}, DIFFERS from the record's {_cell(found.value)}; from {files}. "
        "Either these files or the record were changed, or an older version of this program, with "
        "other rules, wrote the record: its commit stands in the column git_commit."
    )


def _spans(spans: tuple[Window, ...]) -> list[str]:
    if not spans:
        return []
    told = [f"  {w.name:<14}{_span(w)}" for w in spans]
    return ["", "Windows whose length it rests on, by their marks on the monotonic clock", *told]


def _span(window: Window) -> str:
    return f"{window.start_s:.6f} s to {window.end_s:.6f} s, {window.duration_s:.6f} s"


def _joules(readings: tuple[Reading, ...]) -> list[str]:
    if not readings:
        return []
    told = ["", "Joules it rests on", *textwrap.wrap(CURVE, _WIDTH)]
    for reading in readings:
        title = f"  {reading.recorded.window} on {reading.channel.name}"
        told.append(f"{title}: {_energy(reading.recorded)}")
        detail = _detail(reading) if len(readings) <= _TAKEN_APART else _short(reading)
        told += [line for label, text in detail for line in _labelled(label, text, indent=4)]
    return told


def _short(reading: Reading) -> Iterator[tuple[str, str]]:
    if reading.window:
        yield "window", _span(reading.window)
    yield "again", _compared(reading)


def _detail(reading: Reading) -> Iterator[tuple[str, str]]:
    if reading.window:
        yield "window", f"{_span(reading.window)}, between the marks of its opening and closing"
    if reading.passes:
        yield "less", _passes(reading.passes)
    yield "channel", _channel(reading.channel)
    if reading.samples:
        yield "samples", _samples(reading.samples, reading.channel)
    if reading.start and reading.end:
        yield "start", _edge(reading.start)
        yield "end", _edge(reading.end)
    if reading.budget:
        yield "budget", _budget(reading.budget)
    yield "again", _compared(reading)


def _passes(passes: tuple[WindowEnergy, ...]) -> str:
    known = [each.energy_j for each in passes if each.energy_j is not None]
    told = f"{sum(known):.6f} J" if len(known) == len(passes) else UNKNOWN
    return f"{told} of {count_of(len(passes), 'window')} validate-k, counted apart"


def _channel(channel: Channel) -> str:
    kind = "cumulative joules" if channel.kind is Kind.COUNTER else "watts"
    reading = f", reading {channel.reading}" if channel.reading else ""
    pace = f", renewed every {channel.update_s:g} s" if channel.update_s else ""
    mean = f", mean of {channel.averaging_s:g} s" if channel.averaging_s else ""
    return f"{channel.domain.value}, {kind}, {channel.origin.value}{reading}{pace}{mean}"


def _samples(samples: Samples, channel: Channel) -> str:
    told = f"{count_of(samples.count, 'good reading')} inside the window"
    if samples.first is None or samples.last is None:
        return told
    unit = "J" if channel.kind is Kind.COUNTER else "W"
    return f"{told}, from {_reading(samples.first, unit)} to {_reading(samples.last, unit)}"


def _reading(point: Point, unit: str) -> str:
    return f"{point.value:.6g} {unit} at {point.t_s:.6f} s"


def _edge(edge: Edge) -> str:
    told = f"{edge.energy_j:.6f} J"
    if edge.before is None or edge.after is None:
        return f"{told}, the end of the curve"
    around = f"{_knot(edge.before)} and {_knot(edge.after)}"
    return f"{told}, interpolated between {around}"


def _knot(point: Point) -> str:
    return f"{point.value:.6f} J at {point.t_s:.6f} s"


def _budget(budget: Budget) -> str:
    parts = (
        f"steps ± {human_energy(budget.quantisation_j)}, edges ± {human_energy(budget.edges_j)}, "
        f"between readings ± {human_energy(budget.sampling_j)}"
    )
    total = (
        "a model, whose error nobody knows"
        if budget.total_j is None
        else f"together ± {human_energy(budget.total_j)} (root of the sum of squares, 95 %)"
    )
    gain = "" if budget.gain_j is None else f"; gain, apart, ± {human_energy(budget.gain_j)}"
    idle = (
        ""
        if budget.baseline_j is None
        else f"; net of idle adds ± {human_energy(budget.baseline_j)}"
    )
    return f"{parts}: {total}{gain}{idle}"


def _compared(reading: Reading) -> str:
    again, recorded = reading.again, reading.recorded
    if again is None:
        return "not worked out again: the trace was not kept"
    same = (again.energy_j, again.uncertainty_j) == (recorded.energy_j, recorded.uncertainty_j)
    return f"{_energy(again)}, {'equal' if same else 'DIFFERS'}"


def _energy(energy: WindowEnergy) -> str:
    if energy.energy_j is None:
        return f"{UNKNOWN} ({energy.reason})" if energy.reason else UNKNOWN
    spread = "" if energy.uncertainty_j is None else f" ± {energy.uncertainty_j:.4g} J"
    return f"{energy.energy_j:.6f} J{spread}, mean {human_power(energy.mean_power_w)}"


def _cell(cell: Cell) -> str:
    if cell is None:
        return UNKNOWN
    return repr(cell) if isinstance(cell, float) else str(cell)


def _labelled(label: str, text: str, indent: int = 2) -> list[str]:
    first = " " * indent + f"{label:<{_LABEL_WIDTH}}"
    return textwrap.wrap(
        text or "–",
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
