"""One span in words, for a terminal: its joules by channel, and how far to trust them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from wbcbench.core.quality import Caution
from wbcbench.core.text import human_duration, human_energy, human_power, printable
from wbcbench.measure.spans import ChannelEnergy, Headline, Span

_WIDTH = 100
_HEADINGS = ("channel", "energy", "mean", "peak", "status", "readings", "longest gap")


def span_lines(span: Span) -> list[str]:
    """Title, headline, one line a channel, every caution with its advice."""
    title = f"{span.window.name}: {human_duration(span.window.duration_s)}, verdict {span.verdict}"
    rows = [_HEADINGS, *(_row(reading) for reading in span.readings)]
    return [
        printable(line)
        for line in (title, headline_line(span.headline), "", *_aligned(rows), *_doubts(span))
    ]


def headline_line(headline: Headline) -> str:
    """``energy 241 J ± 3 J, mean 120 W  (gpu, counter, measured)``."""
    if headline.energy_j is None:
        return "  energy unknown: no meter can tell (see below)"
    return (
        f"  energy {_energy(headline.energy_j, headline.uncertainty_j)}, mean "
        f"{human_power(headline.mean_power_w)}  "
        f"({headline.domain}, {headline.method}, {headline.status})"
    )


def _row(reading: ChannelEnergy) -> tuple[str, ...]:
    energy, channel = reading.energy, reading.channel
    return (
        channel.name,
        _energy(energy.energy_j, energy.uncertainty_j),
        human_power(energy.mean_power_w),
        human_power(reading.peak_power_w),
        energy.reason or channel.origin.value,
        str(energy.samples),
        human_duration(energy.max_gap_s),
    )


def _energy(energy_j: float | None, uncertainty_j: float | None) -> str:
    spread = "" if uncertainty_j is None else f" ± {human_energy(uncertainty_j)}"
    return human_energy(energy_j) + spread


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()


def _doubts(span: Span) -> Iterator[str]:
    for caution in span.cautions:
        yield from _doubt(caution)


def _doubt(caution: Caution) -> Iterator[str]:
    yield f"  {caution.severity.value}: {caution.code}"
    for text in (caution.detail, f"advice: {caution.advice}"):
        yield from textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
