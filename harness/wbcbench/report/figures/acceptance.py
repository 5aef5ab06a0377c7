"""The figures of an acceptance: what each reading made of a load, and joules against duty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wbcbench.core.arrays import as_array, np
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.units import ms_from_s
from wbcbench.energy.board_card import BoardCard, ReadingCard
from wbcbench.energy.load_plan import Played
from wbcbench.energy.sensor_fit import LoadTimes, find_renewals, join_spans
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.summaries import build_data_table

if TYPE_CHECKING:
    from wbcbench.report.style import Canvas

HEADINGS = ("line", "time (s)", "power (W)")
DUTY_HEADINGS = ("load", "share of the time on", "joules over time (W)", "± (W)", "line (W)")
SHOWN, FITTED, LOADED = "shown", "fitted", "load"
BEFORE_S, AFTER_S, MOST_S = 0.3, 1.2, 3.5
POINTS = 250  # of the fitted line
_PANEL_IN, _LABELS_IN = 1.5, 0.7


def build_figures(
    card: BoardCard, traces: Sequence[Trace], played: Sequence[Played]
) -> Iterator[Figure]:
    """A step, the pulses, two square waves and the duties of a whole plan."""
    own = [each for each in played if each.where == "board"]
    load = join_spans([span for each in own for span in each.spans])
    for kind, title, places in (
        ("step", "A step", (0,)),
        ("pulses", "Single pulses", (0,)),
        ("square", "Square waves", (0, 2)),  # the fastest, and one of about a tenth of a second
    ):
        of_kind = [bout for bout in own if bout.name.partition("-")[0] == kind]
        for place in places:
            yield _build_response(of_kind[place], title, card, traces, load)
    if card.duties:
        yield _build_line(card)


def _build_response(
    bout: Played, title: str, card: BoardCard, traces: Sequence[Trace], load: LoadTimes
) -> Figure:
    last_s = min(bout.spans[-1][1] + AFTER_S, bout.start_s + MOST_S)
    first_s = bout.start_s - BEFORE_S
    rows: list[Cells] = []
    for reading, trace in zip(card.readings, traces, strict=True):
        rows += _iterate_rows(reading, trace, load, first_s, last_s, bout.start_s)
    names = [reading.channel for reading in card.readings]
    on_ms = ms_from_s(bout.on_s / len(bout.spans))
    return Figure(
        bout.name.replace(".", "-"),
        f"{title}: {bout.name}",
        f"{len(bout.spans)} times on, of {on_ms:.1f} ms on average.",
        "Dots: what each renewal showed, of a counter the joules since the one before over the "
        "time; line: the fitted sensor; grey: the load.",
        build_data_table("Seconds since the load began.", HEADINGS, rows),
        partial(draw_responses, names),
    )


def _iterate_rows(
    reading: ReadingCard,
    trace: Trace,
    load: LoadTimes,
    first_s: float,
    last_s: float,
    zero_s: float,
) -> Iterator[Cells]:
    name, fit = reading.channel, reading.fit
    times, values = (as_array(each) for each in trace.good)
    renewals = find_renewals(times, values, is_counter=reading.kind is Kind.COUNTER)
    if renewals is None:
        return
    inside = (renewals.t_s >= first_s) & (renewals.t_s <= last_s)
    for t_s, power_w in zip(renewals.t_s[inside], renewals.power_w[inside], strict=True):
        yield f"{name} {SHOWN}", float(t_s) - zero_s, float(power_w)
    window_s, delay_s = fit.averaging_s.value, fit.delay_s.value
    if fit.idle_w is None or fit.step_w.value is None or window_s is None or delay_s is None:
        return
    grid_s = np.linspace(first_s, last_s, POINTS)
    fitted_w = fit.idle_w + fit.step_w.value * load.share(
        grid_s - delay_s, window_s, fit.rise_s.value or 0.0
    )
    for t_s, power_w in zip(grid_s, fitted_w, strict=True):
        yield f"{name} {FITTED}", float(t_s) - zero_s, float(power_w)
    for start_s, end_s in load.spans:
        if first_s <= start_s <= last_s:
            yield f"{name} {LOADED}", start_s - zero_s, fit.idle_w
            yield f"{name} {LOADED}", min(end_s, last_s) - zero_s, fit.idle_w + fit.step_w.value


def draw_responses(names: Sequence[str], data: DataTable) -> Canvas:
    """A plot for each reading, below each other."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for line, t_s, power_w in data.select(*HEADINGS):
        rows.setdefault(line, []).append((t_s, power_w))
    shown = [name for name in names if f"{name} {SHOWN}" in rows] or list(names)
    size_in = (style.WIDTH_IN, _LABELS_IN + _PANEL_IN * len(shown))
    canvas, grid = style.create_plots(len(shown), 1, size_in, share_x=True)
    for name, (plot,), colour in zip(shown, grid, (*style.COLOURS,) * 2, strict=False):
        loads = rows.get(f"{name} {LOADED}", [])
        for (on_s, _), (off_s, _) in zip(loads[::2], loads[1::2], strict=True):
            plot.axvspan(on_s, off_s, color="#808080", alpha=0.2, linewidth=0)
        if line := rows.get(f"{name} {FITTED}"):
            plot.plot(*zip(*line, strict=True), color=style.INK, linewidth=0.8, alpha=0.8)
        if dots := rows.get(f"{name} {SHOWN}"):
            plot.plot(*zip(*dots, strict=True), "o", color=colour, markersize=3.0)
        plot.set_title(style.trim_label(name, 40), fontsize=9, loc="left")
        plot.set_ylabel("W")
    grid[-1][0].set_xlabel("time since the load began (s)")
    return canvas


def _build_line(card: BoardCard) -> Figure:
    claim = next(claim for claim in card.claims if claim.name == "proportional")
    rows = [
        (each.name, each.on_share, each.power_w, each.half_w, each.line_w) for each in card.duties
    ]
    return Figure(
        "duties",
        "Joules against duty",
        f"Joules of {len(rows)} loads: {claim.found}.",
        "Above: joules over the window's length with the line through all; below: distance from "
        "it in per cent, with ± of the joules.",
        build_data_table("One row a load.", DUTY_HEADINGS, rows),
        draw_line,
    )


def draw_line(data: DataTable) -> Canvas:
    """Draw the duties and how far each is from their line."""
    size_in = (style.WIDTH_IN, _LABELS_IN + 2 * _PANEL_IN)
    canvas, ((above,), (below,)) = style.create_plots(2, 1, size_in, share_x=True)
    rows = [*data.select(*DUTY_HEADINGS[1:])]
    shares, powers_w, halves_w, lines_w = zip(*rows, strict=True)
    above.plot(shares, lines_w, color=style.INK, linewidth=0.8)
    above.plot(shares, powers_w, "o", color=style.COLOURS[0], markersize=4.5)
    above.set_ylabel("W")
    off_pct = [100 * (power / line - 1) for power, line in zip(powers_w, lines_w, strict=True)]
    half_pct = [100 * half / line for half, line in zip(halves_w, lines_w, strict=True)]
    below.errorbar(
        shares, off_pct, half_pct, fmt="o", color=style.COLOURS[0], markersize=4.5, capsize=3
    )
    below.axhline(0.0, color=style.INK, linewidth=0.8)
    below.set_ylabel("% off")
    below.set_xlabel("share of the window in which the load was on")
    return canvas
