"""A recording → joules of any stretch of it, with ±, warnings and a verdict, and in words.

A span is a window outside a run: a command, a block of somebody's code. Each is judged alone, by
the same checks as the training of a run, and its headline is chosen alike.
"""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wbcbench.core.board_state import BoardSample
from wbcbench.core.quality import Quality, QualityWarning, worst_quality
from wbcbench.core.record import Circumstances
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import human_duration, human_energy, human_power, printable
from wbcbench.core.trace import Channel, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import appraise
from wbcbench.energy.checks import Evidence, run_checks
from wbcbench.energy.integrate import EnergyCurve, energy_curve
from wbcbench.energy.source import source_power_w
from wbcbench.energy.warnings import make_warning

PEAK_OVER_S = 1.0  # a counter's steps are too coarse to tell power over less

Status = Origin | Literal["absent"]

_WIDTH = 100
_HEADINGS = ("channel", "energy", "mean", "peak", "status", "readings", "longest gap")


@dataclass(frozen=True, slots=True)
class EnergyResult:
    """The joules to quote for one span.

    Attributes:
        window: Which span.
        energy_j: Joules, gross; ``None`` if no meter knows.
        uncertainty_j: Half-width at about 95 %; ``None`` for a model, whose error nobody knows.
        mean_power_w: Joules over the span's duration.
        status: ``measured``, ``estimated``, ``estimated``, ``synthetic`` or ``absent``.
        channel: Name of the channel, or of several joined by ``+`` (one for each device).
        method: How it was read: ``counter``, ``integral_instant``, ``codecarbon_tdp_load``, …
        domain: The part of the machine: ``gpu``, ``cpu`` or ``system``.
    """

    window: str
    energy_j: float | None
    uncertainty_j: float | None
    mean_power_w: float | None
    status: Status
    channel: str | None
    method: str | None
    domain: str | None


@dataclass(frozen=True, slots=True)
class ChannelEnergy:
    """One channel's account of a span; ``peak_power_w`` is ``None`` where it cannot tell."""

    channel: Channel
    energy: WindowEnergy
    peak_power_w: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """What one stretch cost, and how far to trust that."""

    window: Window
    readings: tuple[ChannelEnergy, ...]
    energy: EnergyResult
    warnings: tuple[QualityWarning, ...]
    quality: Quality


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording left on disk."""

    traces: tuple[Trace, ...]
    looks: Mapping[str, Sequence[BoardSample]]
    seen: Circumstances

    def span(self, window: Window, *, is_cut: bool = False) -> Span:
        """Work out one span; with ``is_cut`` it was still open when the trace ended."""
        evidence = _evidence(self, window, is_cut=is_cut)
        doubts = run_checks(evidence)
        return Span(
            window=window,
            readings=tuple(_reading(trace, evidence, window) for trace in self.traces),
            energy=_headline(replace(evidence, warnings=doubts)),
            warnings=doubts,
            quality=worst_quality(doubts),
        )


def recorded(run: RunDir) -> Recorded:
    """Read a recording from its folder."""
    seen = run.read_began() or Circumstances(started_utc="", provenance={})
    return Recorded(tuple(run.read_traces()), run.read_telemetry(), seen)


def with_write_error(span: Span, reason: str | None) -> Span:
    """The span, never valid if its readings are not complete, as ``reason`` says."""
    if reason is None:
        return span
    warning = make_warning(
        "trace-not-written",
        f"The readings are not complete: {reason}.",
        window=span.window.name,
    )
    return replace(span, warnings=(warning, *span.warnings), quality=Quality.INVALID)


def _evidence(kept: Recorded, window: Window, *, is_cut: bool) -> Evidence:
    found = appraise.appraise(kept.traces, [window])
    return Evidence(
        spec=None,
        traces=kept.traces,
        windows=(window,),
        energies=found.energies,
        cut=(window.name,) if is_cut else (),
        sampling=kept.seen.sampling,
        absent=kept.seen.absent,
        meters=kept.seen.meters,
        trained=True,
        faults=found.faults,
        agreements=found.agreements,
        telemetry=tuple(appraise.telemetry_by_window(kept.looks, [window])),
        shared=kept.seen.shared,
        judged=window.name,
    )


def _reading(trace: Trace, evidence: Evidence, window: Window) -> ChannelEnergy:
    energy = evidence.energy(window.name, trace.channel.name)
    assert energy is not None, "every window is appraised on every trace"
    peak_w = None if energy.energy_j is None else peak_power_w(trace, window)
    return ChannelEnergy(trace.channel, energy, peak_w)


def _headline(evidence: Evidence) -> EnergyResult:
    who = evidence.primary
    if who is None:
        return EnergyResult(evidence.judged, None, None, None, "absent", None, None, None)
    energy_j, uncertainty_j = evidence.primary_j
    return EnergyResult(
        window=evidence.judged,
        energy_j=energy_j,
        uncertainty_j=uncertainty_j,
        mean_power_w=source_power_w(evidence, who, evidence.judged),
        status="absent" if energy_j is None else who.status,
        channel="+".join(who.channels),
        method=who.method,
        domain=who.domain.value,
    )


def peak_power_w(trace: Trace, window: Window) -> float | None:
    """Highest power in a window.

    A sampled channel's is its highest reading; a counter's the highest mean over about a second,
    so ``None`` for a shorter window.
    """
    if trace.channel.kind is Kind.SAMPLED:
        inside = [
            w for t, w in zip(*trace.good, strict=True) if window.start_s <= t <= window.end_s
        ]
        return max(inside, default=None)
    return _steepest_w(energy_curve(trace), window)


def _steepest_w(curve: EnergyCurve, window: Window) -> float | None:
    """Highest mean power from one step of a counter to the first a second later."""
    moves = [t for t in curve.t_s if window.start_s < t < window.end_s]
    times = [window.start_s, *moves, window.end_s]
    found = list[float]()
    for start_s in times:
        later = bisect_left(times, start_s + PEAK_OVER_S)
        if later < len(times):
            length_s = times[later] - start_s
            found.append((curve.at(times[later]) - curve.at(start_s)) / length_s)
    return max(found, default=None)


def span_lines(span: Span) -> list[str]:
    """Title, headline, one line a channel, every caution with its advice."""
    title = f"{span.window.name}: {human_duration(span.window.duration_s)}, verdict {span.quality}"
    rows = [_HEADINGS, *(_row(reading) for reading in span.readings)]
    return [
        printable(line)
        for line in (title, describe_energy(span.energy), "", *_aligned(rows), *_doubts(span))
    ]


def describe_energy(energy: EnergyResult) -> str:
    """``energy 241 J ± 3 J, mean 120 W  (gpu, counter, measured)``."""
    if energy.energy_j is None:
        return "  energy unknown: no meter can tell (see below)"
    return (
        f"  energy {_energy(energy.energy_j, energy.uncertainty_j)}, mean "
        f"{human_power(energy.mean_power_w)}  "
        f"({energy.domain}, {energy.method}, {energy.status})"
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
    for warning in span.warnings:
        yield from _doubt(warning)


def _doubt(warning: QualityWarning) -> Iterator[str]:
    yield f"  {warning.severity.value}: {warning.code}"
    for text in (warning.detail, f"advice: {warning.advice}"):
        yield from textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
