"""A recording → joules of any window of it, with ±, warnings and a quality, and in words.

Each window is judged alone, by the same checks as the training of a run, and its primary energy is
chosen alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wbcbench.core.board_state import BoardSample
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.quality import Quality, QualityWarning, worst_quality
from wbcbench.core.record import Circumstances
from wbcbench.core.run_folder import RunDir
from wbcbench.core.terminal import (
    TableColumn,
    energy_column,
    fill,
    format_table,
    power_column,
    text_column,
    time_column,
)
from wbcbench.core.text import human_duration, human_power, printable
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
        elsewhere: Why nothing was read here although it was measured; ``None`` where it was.
        cpu_samples: The processor's time; ``None`` where everything on the machine is measured.
    """

    traces: tuple[Trace, ...]
    samples: Mapping[str, Sequence[BoardSample]]
    circumstances: Circumstances
    write_error: str | None = None
    cpu_samples: Sequence[CpuSample] | None = None
    elsewhere: str | None = None

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
        if self.elsewhere is not None:  # no check has anything to say of it
            warnings = (make_warning("measured-elsewhere", self.elsewhere, window=window.name),)
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


def record_nothing(elsewhere: str) -> Recording:
    """The recording of a rank that reads nothing, since another one does; ``elsewhere`` says so."""
    return Recording((), {}, Circumstances(started_utc="", provenance={}), elsewhere=elsewhere)


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
    table = format_table(_build_columns(result.readings), indent="  ")
    lines = [
        f"{window.name}: {human_duration(window.duration_s)}, quality {result.quality}",
        describe_energy(result.energy),
        "",
        *table,
    ]
    for text in (*(f"check: {c}" for c in result.checks), *(f"limit: {x}" for x in result.limits)):
        lines += fill(text, "  ", "    ").splitlines()
    for warning in result.warnings:
        lines.append(f"  {warning.severity.value}: {warning.code}")
        for text in (warning.detail, f"advice: {warning.advice}"):
            lines += fill(text, " " * 6).splitlines()
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


def _build_columns(readings: Sequence[ChannelEnergy]) -> list[TableColumn]:
    energies = [reading.energy for reading in readings]
    status = [r.energy.reason or r.channel.origin.value for r in readings]
    return [
        text_column("channel", [reading.channel.name for reading in readings]),
        energy_column("energy", [energy.energy_j for energy in energies]),
        energy_column("±", [energy.uncertainty_j for energy in energies], leaves=4),
        power_column("mean", [energy.mean_power_w for energy in energies], leaves=1),
        power_column("peak", [reading.peak_power_w for reading in readings], leaves=3),
        text_column("status", status, leaves=2),
        text_column("samples", [energy.samples for energy in energies], leaves=5),
        time_column("gap", [energy.max_gap_s for energy in energies], leaves=6),
    ]
