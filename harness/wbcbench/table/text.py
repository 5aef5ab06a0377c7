"""One run, and one explanation, in words for a terminal or as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from pydantic_core import to_json

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import Budget, RunRecord
from wbcbench.core.text import (
    UNKNOWN,
    count_of,
    human_count,
    human_duration,
    human_energy,
    human_power,
    human_share,
    printable,
)
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import TRAIN, Window, WindowEnergy
from wbcbench.energy.source import EnergySource, source_energy_j, source_power_w
from wbcbench.table.column import Cell
from wbcbench.table.explain import Explanation, RecountState
from wbcbench.table.explain_reading import Edge, Point, Reading, Samples
from wbcbench.table.view import Run

_RUN_LABEL_WIDTH = 20
_RUN_WIDTH = 110
_PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "memory", Domain.SYSTEM: "machine"}
_STATUS = {Origin.ESTIMATED: "estimated, no sensor of it here"}

EXPLANATION_SCHEMA = "wbcbench.explain/1"

_EXPLANATION_WIDTH = 100
_EXPLANATION_LABEL_WIDTH = 11
_TAKEN_APART = 3  # more numbers of joules than this get one line each

CURVE = (
    "E(w) is the cumulative energy at the end of window w less that at its start. A counter's "
    "curve joins its moves, wraps undone; a power reading's is integrated by trapezoids. Edges "
    "are interpolated. Cumulative joules count from the first reading."
)


def run_summary(record: RunRecord) -> list[str]:
    """The result in a few lines: title, quality, joules, seconds, doubts."""
    run = Run(record)
    cells = run.row
    lines = [_title(record, cells)]
    if record.synthetic:
        lines.append("  SYNTHETIC: drawn images or a made-up signal; no result about real cells")
    lines += [_line(label, text) for label, text in _run_facts(run, cells)]
    if record.error:
        lines.append(_line("why", f"{record.error.kind}: {record.error.message}"))
    return lines + doubts(record)


def doubts(record: RunRecord) -> list[str]:
    """Every caution that weighs, with its advice."""
    return _cautions(c for c in record.warnings if c.severity is not Severity.INFO)


def remarks(record: RunRecord) -> list[str]:
    """Every caution that only informs, with its advice."""
    return _cautions(c for c in record.warnings if c.severity is Severity.INFO)


def _cautions(found: Iterable[QualityWarning]) -> list[str]:
    lines: list[str] = []
    for warning in found:
        where = " ".join(word for word in (warning.window, warning.channel) if word)
        head = f"{warning.severity.value}: {warning.code}" + (f" ({where})" if where else "")
        lines.append(f"  {printable(head)}")
        lines += _wrapped(warning.detail)
        lines += _wrapped(f"advice: {warning.advice}") if warning.advice else []
    return lines


def _wrapped(text: str) -> list[str]:
    indent = "      "
    return textwrap.wrap(
        printable(text), _RUN_WIDTH, initial_indent=indent, subsequent_indent=indent
    )


def _title(record: RunRecord, cells: dict[str, Cell]) -> str:
    return printable(f"{record.run_id}   {cells['status']}, verdict {record.quality.value}")


def _line(label: str, text: str) -> str:
    """One fact; a long one goes on under its own beginning."""
    return textwrap.fill(
        printable(text),
        _RUN_WIDTH,
        initial_indent=f"  {printable(label):<{_RUN_LABEL_WIDTH}}",
        subsequent_indent=" " * (_RUN_LABEL_WIDTH + 2),
        break_long_words=False,
    )


def _run_facts(run: Run, cells: dict[str, Cell]) -> Iterator[tuple[str, str]]:
    yield from _quality(run.record)
    yield from _energies(run)
    yield from _time(run)
    yield from _images(run, cells)
    yield from _target(run)
    yield from _absent(run.record)


def _quality(record: RunRecord) -> Iterator[tuple[str, str]]:
    test = record.test
    if test is None:
        return
    yield "accuracy", human_share(test.accuracy) + _interval(record)
    clean = record.test_leakage_free
    if clean is not None:
        share = f"{human_count(clean.images)} of {human_count(test.images)} test images"
        yield "  without leaks", f"{human_share(clean.accuracy)}   on {share}"
    f1 = human_share(test.macro_f1)
    yield "balanced accuracy", f"{human_share(test.balanced_accuracy)}   macro-F1 {f1}"


def _interval(record: RunRecord) -> str:
    test = record.test
    if test is None or test.interval is None:
        return "   (photographs unknown, so no interval)"
    low, high = (human_share(edge, 2) for edge in test.interval)
    return f"   95 % by photograph {low} to {high} ({human_count(test.photographs)} photographs)"


def _energies(run: Run) -> Iterator[tuple[str, str]]:
    if run.primary is None:
        yield "energy, train", "unknown: no meter worked here"
        return
    yield f"{_PARTS[run.primary.domain]} energy, train", _source_energy(run, run.primary)
    others = (s for d in Domain if (s := run.source(d)) and s is not run.primary)
    for other in others:
        if other.domain is not run.primary.domain:
            yield f"  {_PARTS[other.domain]}, apart", _source_energy(run, other)


def _source_energy(run: Run, who: EnergySource) -> str:
    energy_j = source_energy_j(run.record, who, TRAIN)
    if energy_j is None:
        return f"unknown ({who.method})"
    net_j = run.energy_above_idle_j(who)
    net = "" if net_j is None else f", {human_energy(net_j)} net of idle"
    status = _STATUS.get(who.status, who.status.value)
    return f"{human_energy(energy_j)} gross{net}   {status} ({who.method})"


def _time(run: Run) -> Iterator[tuple[str, str]]:
    time_s = run.duration_s(TRAIN)
    if time_s is None:
        return
    power_w = source_power_w(run.record, run.primary, TRAIN)
    power = "" if power_w is None else f"   mean {human_power(power_w)}"
    epochs = f"{len(run.record.epochs)} of {run.record.spec.epochs} epochs"
    yield "time, train", f"{human_duration(time_s)} for {epochs}{power}"


def _images(run: Run, cells: dict[str, Cell]) -> Iterator[tuple[str, str]]:
    costs = {
        "training": cells["energy_per_train_image_j"],
        "inference, batch 64": cells["energy_per_infer_image_j"],
        "inference, batch 1": cells["energy_per_infer_image_b1_j"],
    }
    told = [
        f"{human_energy(cost)} {name}" for name, cost in costs.items() if isinstance(cost, float)
    ]
    if told:
        yield "per image", " · ".join(told)


def _target(run: Run) -> Iterator[tuple[str, str]]:
    if not run.record.epochs:
        return
    spec = run.record.spec
    label = f"to {spec.target_value:g} {spec.target_metric.removeprefix('val_').replace('_', ' ')}"
    if run.reached is None:
        yield "target", f"{label} on validation: not reached"
        return
    cost, time = human_energy(run.reached.energy_j), human_duration(run.reached.time_s)
    yield "target", f"{label} on validation: {cost}, {time}, {run.reached.epochs} epochs"


def _absent(record: RunRecord) -> Iterator[tuple[str, str]]:
    for absent in record.absent:
        yield f"no {absent.meter}", absent.reason


def explanation_document(found: Explanation) -> bytes:
    """What ``wbcbench explain --json`` prints; what is not finite is unknown."""
    column = found.column
    whole = {
        "schema": EXPLANATION_SCHEMA,
        "run_id": found.run_id,
        "run_dir": found.path,
        "column": {"name": column.name, "type": column.type, "meaning": column.meaning},
        "value": found.value,
        "formula": found.formula,
        "formula_with_values": found.formula_with_values,
        "inputs": found.inputs,
        "fields": found.fields,
        "energy_sources": [asdict(who) for who in found.energy_sources],
        "spans": [asdict(window) for window in found.spans],
        "readings": [asdict(reading) for reading in found.readings],
        "again": {
            "state": found.state,
            "value": found.again,
            "sources": found.sources,
            "missing": found.missing,
        },
    }
    return to_json(whole, indent=1, inf_nan_mode="null")


def explanation_lines(found: Explanation) -> list[str]:
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
    for who in found.energy_sources:
        yield "speaker", _speaker(who)
    yield "again", _recount_words(found)


def _speaker(who: EnergySource) -> str:
    return f"{', '.join(who.channels)} for {who.domain.value} ({who.method}, {who.status.value})"


def _recount_words(found: Explanation) -> str:
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
    told = ["", "Joules it rests on", *textwrap.wrap(CURVE, _EXPLANATION_WIDTH)]
    for reading in readings:
        title = f"  {reading.recorded.window} on {reading.channel.name}"
        told.append(f"{title}: {_energy(reading.recorded)}")
        detail = _detail(reading) if len(readings) <= _TAKEN_APART else _overview(reading)
        told += [line for label, text in detail for line in _labelled(label, text, indent=4)]
    return told


def _overview(reading: Reading) -> Iterator[tuple[str, str]]:
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
    first = " " * indent + f"{label:<{_EXPLANATION_LABEL_WIDTH}}"
    return textwrap.wrap(
        text or "–",
        _EXPLANATION_WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
