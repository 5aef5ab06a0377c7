"""The checks of a measured window: each is ``check_…(evidence) -> Iterator[QualityWarning]``.

One window is checked: the training of a run, or one of a user's program. Checks read what was
measured and never change it. To add one: a function in a file here, a line in ``registry.CHECKS``,
and its warnings in ``energy/warnings.toml``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from wbcbench import registry
from wbcbench.core.arrays import np
from wbcbench.core.board_state import Telemetry
from wbcbench.core.cpu_load import CpuLoad
from wbcbench.core.quality import QualityWarning
from wbcbench.core.record import AbsentMeter, Agreement, Budget, Epoch, Sampling, Scores, Status
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_validation, is_work
from wbcbench.energy.appraise import ReviewedTrace, TraceFacts
from wbcbench.energy.faults import Fault
from wbcbench.energy.source import (
    PRIMARY_DOMAINS,
    EnergySource,
    list_readings,
    primary_source,
    source_energy_j,
    source_uncertainty_j,
)

MOST_NAMES = 4  # in a list within a sentence


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the checks read.

    Attributes:
        spec: What a run was asked to do; ``None`` for a user's program, of which nothing was asked.
        window_name: Name of the window that is checked.
        traces, windows, energies, budgets: What was measured, and where its ± come from.
        cut: Names of windows that were still open when the trace ended.
        sampling: How well each meter was sampled.
        absent: Meters that do not work here.
        meters: What the meters say of themselves, by meter.
        trained: Whether at least one epoch ended.
        reviewed: The traces as their joules were worked out, one each, where they were kept.
        faults, agreements, telemetry: What was found in the traces and the boards' logs.
        cpu_loads: Who took the machine's processor time in each window.
        epochs, steps_per_epoch: The training, for its step time; ``None`` if it never began.
        test: The scores on TEST; ``None`` if it was not tested.
        device: Where TensorFlow ran, e.g. ``/GPU:0``; empty if unknown.
        device_bus: PCI bus id of that GPU as CUDA spells it; ``None`` if unknown.
        shared: Whether another measurement ran on what was measured.
        cpu_shared: Whether another one used the processor and not the measured board.
        provenance: What was found as the measurement began, other trackers among it.
        status: How the run ended.
        warnings: Results of the checks, once they are known.
    """

    spec: RunSpec | None
    window_name: str
    traces: tuple[TraceFacts, ...]
    windows: tuple[Window, ...]
    energies: tuple[WindowEnergy, ...]
    cut: tuple[str, ...]
    sampling: tuple[Sampling, ...]
    absent: tuple[AbsentMeter, ...]
    meters: Mapping[str, JsonValue]
    trained: bool
    budgets: tuple[Budget, ...] = ()
    reviewed: tuple[ReviewedTrace, ...] = ()
    faults: tuple[Fault, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    telemetry: tuple[Telemetry, ...] = ()
    cpu_loads: tuple[CpuLoad, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    steps_per_epoch: int | None = None
    test: Scores | None = None
    device: str = ""
    device_bus: str | None = None
    shared: bool = False
    cpu_shared: bool = False
    provenance: Mapping[str, JsonValue] = field(default_factory=dict)
    status: Status = "done"
    warnings: tuple[QualityWarning, ...] = ()

    @property
    def sampled_traces(self) -> tuple[TraceFacts, ...]:
        """Those that are read all the time."""
        return tuple(trace for trace in self.traces if not trace.channel.sparse)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels."""
        return tuple(trace.channel for trace in self.traces)

    def energy(self, window: str, channel: str) -> WindowEnergy | None:
        """The joules of one window on one channel; ``None`` if there are none."""
        matches = (e for e in self.energies if e.window == window and e.channel == channel)
        return next(matches, None)

    def window(self, name: str) -> Window | None:
        """The window of that name; ``None`` if the run did not get there."""
        return next((window for window in self.windows if window.name == name), None)

    def list_parts(self, window: Window) -> tuple[Window, ...]:
        """The window, or what the validation passes of a run leave of its training."""
        if self.spec is None or window.name != TRAIN:
            return (window,)
        passes = sorted((w.start_s, w.end_s) for w in self.windows if is_validation(w.name))
        edges_s = [window.start_s, *(t_s for span in passes for t_s in span), window.end_s]
        pairs = zip(edges_s[::2], edges_s[1::2], strict=True)
        return tuple(Window(TRAIN, start_s, end_s) for start_s, end_s in pairs if end_s > start_s)

    def list_touched(self, spans_s: Sequence[tuple[float, float]]) -> list[str]:
        """Names of the windows in which, or in whose parts, one of the spans of time lies."""
        low_s, high_s = np.array(spans_s, np.float64).reshape(-1, 2).T
        return [
            window.name
            for window in self.windows
            if any(
                ((low_s <= part.end_s) & (high_s >= part.start_s)).any()
                for part in self.list_parts(window)
            )
        ]

    def is_work(self, window: str) -> bool:
        """Whether a window contains work: one of a run, or the one that is checked."""
        return window == self.window_name or is_work(window)

    @property
    def primary(self) -> EnergySource | None:
        """The primary energy source of the checked window; ``None`` without any."""
        return primary_source(self, self.window_name)

    @property
    def is_estimated(self) -> bool:
        """Whether a model gives the primary energy: rules about sensors do not apply to it."""
        return self.primary is not None and self.primary.status is Origin.ESTIMATED

    @property
    def primary_j(self) -> tuple[float | None, float | None]:
        """Primary energy of the checked window and its ±, in joules."""
        source, name = self.primary, self.window_name
        return source_energy_j(self, source, name), source_uncertainty_j(self, source, name)

    @property
    def counted_channels(self) -> frozenset[str]:
        """Names of the channels whose faults are faults of the run.

        For each component these are all readings of its most trusted meters. Estimates count only
        where nothing has a sensor, and CodeCarbon only where no other meter is as trusted.
        """
        has_sensor = not all(channel.origin.is_estimated for channel in self.channels)
        names = set[str]()
        for domain in Domain:
            channels = [c for readings in list_readings(self.channels, domain) for c in readings]
            is_model = any(channel.origin.is_estimated for channel in channels)
            if not is_model or (domain in PRIMARY_DOMAINS and not has_sensor):
                names.update(channel.name for channel in channels)
        return frozenset(names)

    @property
    def counted_traces(self) -> tuple[TraceFacts, ...]:
        """The traces of ``counted_channels``."""
        names = self.counted_channels
        return tuple(trace for trace in self.traces if trace.channel.name in names)


def list_some(names: Iterable[str]) -> str:
    """``epoch-1, epoch-2, epoch-3, epoch-4 and 6 more``."""
    distinct = list(dict.fromkeys(names))
    rest = len(distinct) - MOST_NAMES
    return ", ".join(distinct[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def run_checks(evidence: Evidence) -> tuple[QualityWarning, ...]:
    """Every warning, in the order of the registry."""
    return tuple(
        warning
        for name in registry.CHECKS
        for warning in registry.load_part("check", name)(evidence)
    )
