"""A recording → joules of any window of it, with ±, warnings and a quality, and in words.

Each window is judged alone, by the same checks as the training of a run, and its primary energy is
chosen alike.
"""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wbcbench.core.board_state import BoardSample
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.quality import Quality, QualityWarning, worst_quality
from wbcbench.core.record import Circumstances
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import aligned_table, human_duration, human_energy, human_power, printable
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import account
from wbcbench.energy.appraise import ReviewedTrace, appraise
from wbcbench.energy.checks import Evidence, list_some, run_checks
from wbcbench.energy.cross_check import describe_checks
from wbcbench.energy.source import EnergyResult, find_window_energy
from wbcbench.energy.uncertainty import describe_limits
from wbcbench.energy.warnings import make_warning

PEAK_OVER_S = 1.0  # the steps of a counter are too coarse to show power over less

_WIDTH = 100
_HEADINGS = ("channel", "energy", "± reading", "mean", "peak", "status", "readings", "longest gap")


@dataclass(frozen=True, slots=True)
class ChannelEnergy:
    """Energy of a window on one channel; ``peak_power_w`` is ``None`` where it is unknown."""

    channel: Channel
    energy: WindowEnergy
    peak_power_w: float | None


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What one window cost, and how far to trust that.

    ``checks`` says of each counter how deep the power reading beside it checked it.
    """

    window: Window
    readings: tuple[ChannelEnergy, ...]
    energy: EnergyResult
    warnings: tuple[QualityWarning, ...]
    quality: Quality
    checks: tuple[str, ...] = ()

    @property
    def limits(self) -> tuple[str, ...]:
        """What the sensors can never tell, one sentence a board."""
        return describe_limits(reading.channel for reading in self.readings)


@dataclass(frozen=True, slots=True)
class Recording:
    """What a metering session left on disk.

    Attributes:
        traces: One for each channel.
        samples: Telemetry by device.
        circumstances: Meters, sensor cards and how well they were sampled.
        write_error: Why the readings are not complete; ``None`` if they are.
        cpu_samples: The processor's time; ``None`` where everything on the machine is measured.
    """

    traces: tuple[Trace, ...]
    samples: Mapping[str, Sequence[BoardSample]]
    circumstances: Circumstances
    write_error: str | None = None
    cpu_samples: Sequence[CpuSample] | None = None

    def collect_evidence(
        self, windows: Sequence[Window], *, cut: tuple[str, ...] = (), work: Window | None = None
    ) -> Evidence:
        """What the checks read of these windows; see ``account.build_evidence``."""
        read = self.circumstances, windows, self.samples.items(), self.cpu_samples
        return account.build_evidence(appraise(self.traces, windows, work), *read, cut=cut)

    def measure_window(self, window: Window, *, work: Window | None = None) -> WindowResult:
        """Work out one window; ``work`` is all that was measured, if it is only a part of it."""
        return self.judge_window(self.collect_evidence([window], work=work), window)

    def judge_window(self, evidence: Evidence, window: Window) -> WindowResult:
        """Work out one of the windows that evidence was collected of."""
        evidence = account.narrow_evidence(evidence, window)
        warnings = run_checks(evidence)
        judged = replace(evidence, warnings=warnings)
        energy = find_window_energy(judged, judged.primary, window.name)
        if self.write_error is not None:
            incomplete = make_warning(
                "trace-not-written",
                f"The readings are not complete: {self.write_error}.",
                window=window.name,
            )
            warnings = (incomplete, *warnings)
        return WindowResult(
            window=window,
            readings=tuple(
                ChannelEnergy(
                    reviewed.trace.channel,
                    energy,
                    None if energy.energy_j is None else peak_power_w(reviewed, window),
                )
                for reviewed, energy in zip(evidence.reviewed, evidence.energies, strict=True)
            ),
            energy=energy,
            warnings=warnings,
            quality=worst_quality(warnings),
            checks=tuple(describe_checks(evidence.agreements, window.name)),
        )


def read_recording(run: RunDir, write_error: str | None = None) -> Recording:
    """Read a recording from its folder."""
    circumstances = run.read_began() or Circumstances(started_utc="", provenance={})
    traces, telemetry = tuple(run.read_traces()), run.read_telemetry()
    return Recording(traces, telemetry, circumstances, write_error, run.read_cpu_time())


def peak_power_w(reviewed: ReviewedTrace, window: Window) -> float | None:
    """Highest power in a window.

    A sampled channel's is its highest good reading; a counter's the highest mean from one step to
    the first a second later, so ``None`` for a shorter window, and where it has hardly any step.
    """
    trace, curve = reviewed.trace, reviewed.curve
    if trace.channel.kind is Kind.SAMPLED:
        pairs = zip(*trace.good, strict=True)
        return max((w for t, w in pairs if window.start_s <= t <= window.end_s), default=None)
    if trace.channel.sparse:
        return None
    steps = [t for t in curve.t_s if window.start_s < t < window.end_s]
    times = [window.start_s, *steps, window.end_s]
    powers = list[float]()
    for start_s in times:
        later = bisect_left(times, start_s + PEAK_OVER_S)
        if later < len(times):
            end_s = times[later]
            powers.append((curve.at(end_s) - curve.at(start_s)) / (end_s - start_s))
    return max(powers, default=None)


def describe_window(result: WindowResult) -> list[str]:
    """Title, primary energy, one line a channel, every warning with its advice."""
    window = result.window
    table = aligned_table(_HEADINGS, [_format_channel(reading) for reading in result.readings])
    lines = [
        f"{window.name}: {human_duration(window.duration_s)}, quality {result.quality}",
        describe_energy(result.energy),
        "",
        *textwrap.indent(table, "  ").splitlines(),
        *(f"  check: {check}" for check in result.checks),
    ]
    for limit in result.limits:
        lines += textwrap.indent(textwrap.fill(f"limit: {limit}", _WIDTH - 2), "  ").splitlines()
    for warning in result.warnings:
        lines.append(f"  {warning.severity.value}: {warning.code}")
        for text in (warning.detail, f"advice: {warning.advice}"):
            lines += textwrap.indent(textwrap.fill(text, _WIDTH - 6), " " * 6).splitlines()
    return [printable(line) for line in lines]


def describe_energy(energy: EnergyResult) -> str:
    """``energy 241 J ± 3 J (reading) ± 12 J (board), mean 120 W  (gpu, counter, measured)``."""
    if energy.energy_j is None:
        devices = list_some(energy.unread) or "any meter"
        return f"  energy unknown: no joules of {devices} (see below)"
    return (
        f"  energy {energy.in_words}, mean {human_power(energy.mean_power_w)}  "
        f"({energy.domain}, {energy.method}, {energy.status})"
    )


def format_reading(energy: WindowEnergy) -> tuple[str, str, str]:
    """Joules, their ± where it is known, and mean power, as cells of a table."""
    width = human_energy(energy.uncertainty_j) if energy.uncertainty_j else ""
    return human_energy(energy.energy_j), width, human_power(energy.mean_power_w)


def _format_channel(reading: ChannelEnergy) -> tuple[str, ...]:
    energy, channel = reading.energy, reading.channel
    return (
        channel.name,
        *format_reading(energy),
        human_power(reading.peak_power_w),
        energy.reason or channel.origin.value,
        str(energy.samples),
        human_duration(energy.max_gap_s),
    )
