"""The page of an acceptance: claims with their numbers, the card of each reading, the plots."""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench.core.text import human_duration
from wbcbench.core.trace import Trace
from wbcbench.core.units import ms_from_s
from wbcbench.energy.board_card import BoardCard, ReadingCard
from wbcbench.energy.load_plan import Played
from wbcbench.energy.sensor_fit import Estimate
from wbcbench.report import DataTable, Notice, Place, Report, Section
from wbcbench.report.figures.acceptance import build_figures

CARD_FILE, CARD_PAGE = "card.json", "card.html"

_CLAIMS = ("claim", "", "found", "promised")
_READINGS = (
    "reading", "updated every (ms)", "mean of (ms)", "looks at", "delay (ms)",
    "power rises in (ms)", "load adds (W)", "left by the fit", "smallest move", "why not",
)  # fmt: skip


def build_page(card: BoardCard, traces: Sequence[Trace], played: Sequence[Played]) -> Report:
    """The page, to be set by ``formats.to_html``."""
    board = card.board
    length_s = traces[0].t_s[-1] - traces[0].t_s[0]
    notices = [
        Notice(claim.state, f"{claim.text}: {claim.found}.")
        for claim in card.claims
        if claim.state in ("fail", "unknown")
    ]
    facts = [board.device, f"driver {board.driver}" if board.driver else "", card.measured_utc]
    facts.append(f"loaded on {board.loaded_on} for {human_duration(length_s)}")
    return Report(
        f"Acceptance of {board.name}",
        " · ".join(filter(None, facts)),
        tuple(notices),
        (
            Section("claims", "Claims", (_build_claims(card),), Place.FIRST),
            Section("sensors", "Sensors", (_build_readings(card), *describe_board(card))),
            Section(
                "plots", "What the readings showed", tuple(build_figures(card, traces, played))
            ),
        ),
    )


def _build_claims(card: BoardCard) -> DataTable:
    rows = tuple((c.name, c.state, c.found, c.text) for c in card.claims)
    return DataTable("What MEASUREMENT.md says, on this board.", _CLAIMS, rows, (0, 1, 2, 3))


def describe_reading(reading: ReadingCard) -> str:
    """``nvml/gpu0/power: every 100.00 ± 0.01 ms, mean of 25.00 ± 0.29 ms (25 % of the time)``."""
    fit = reading.fit
    words = [
        f"{name} {_format_ms(time)} ms"
        for name, time in (
            ("every", fit.update_s), ("mean of", fit.averaging_s), ("late by", fit.delay_s),
            ("power rises in", fit.rise_s),
        )
        if time.value is not None and (time.value > 0 or time is not fit.rise_s)
    ]  # fmt: skip
    if fit.share.value is not None and fit.share.value < 1:
        words.append(f"looks at {100 * fit.share.value:.0f} % of the time")
    reasons = [each.reason for each in (fit.update_s, fit.averaging_s, fit.delay_s)]
    return f"{reading.channel}: {', '.join([*words, *dict.fromkeys(filter(None, reasons))])}"


def _build_readings(card: BoardCard) -> DataTable:
    rows = []
    for each in card.readings:
        fit = each.fit
        unknown = [part.reason for part in (fit.update_s, fit.averaging_s, fit.delay_s)]
        share = fit.share.value
        rows.append(
            (
                f"{each.channel} ({each.reading})",
                *(_format_ms(part) for part in (fit.update_s, fit.averaging_s)),
                "–" if share is None else f"{100 * share:.1f} %",
                _format_ms(fit.delay_s),
                _format_ms(fit.rise_s),
                _format(fit.step_w.value),
                "–" if fit.misfit is None else f"{100 * fit.misfit:.2f} %",
                _format(fit.resolution, "J" if each.kind == "counter" else "W"),
                "; ".join(dict.fromkeys(filter(None, unknown))),
            )
        )
    caption = (
        "What known loads showed of each reading, ± at about 95 %. Power rises: the time constant "
        "of the board itself. Left by the fit: standard deviation, of what the load adds. Smallest "
        "move: of the value as read."
    )
    return DataTable(caption, _READINGS, tuple(rows), (0, 9))


def describe_board(card: BoardCard) -> tuple[str, ...]:
    """Sentences about the context and the processor."""
    context = _format_estimate(card.context_w, "The context of the load's program costs {} W.")
    processor = _format_estimate(card.processor_w, "A load of the processor moves it by {} W.")
    scope = (
        "The reading is the board's alone."
        if card.scope == "board"
        else "The reading holds the processor, too: it is a module's."
        if card.scope == "module"
        else f"{card.scope_reason}."
    )
    return context, f"{processor} {scope[:1].upper()}{scope[1:]}"


def _format_estimate(estimate: Estimate, sentence: str) -> str:
    if estimate.value is None:
        return sentence.format("an unknown number of") + f" ({estimate.reason})"
    return sentence.format(f"{estimate.value:.2f} ± {estimate.half or 0.0:.2f}")


def _format_ms(time: Estimate) -> str:
    if time.value is None:
        return "–"
    return f"{ms_from_s(time.value):.2f} ± {ms_from_s(time.half or 0.0):.2f}"


def _format(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:.4g} {unit}".strip()
