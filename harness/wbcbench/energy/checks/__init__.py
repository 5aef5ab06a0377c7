"""The doubts a window gives rise to: each check is ``check_…(evidence) -> Iterator[Caution]``.

One window is judged: the training of a run, or a span of somebody's code. Checks look at what was
measured and never change it. A file names the doubts of its checks in ``DOUBTS``, from which the
documentation is made. To add one: a function in a file here, a line in ``registry.CHECKS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from wbcbench import registry
from wbcbench.core.board_state import Telemetry
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import AbsentMeter, Agreement, Epoch, Sampling, Status
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Domain, Trace
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_work
from wbcbench.energy.faults import Fault
from wbcbench.energy.source import (
    PRIMARY_DOMAINS,
    EnergySource,
    is_codecarbon,
    primary_source,
    rank_sources,
    source_energy_j,
    source_uncertainty_j,
)


@dataclass(frozen=True, slots=True)
class Doubt:
    """One kind of caution.

    Attributes:
        code: Stable identifier.
        rule: When it is raised and how much it weighs, in words.
        advice: What to do about it; ``{judged}`` stands for the name of the judged window.
        limits: Names in ``thresholds.TABLE`` that decide.
    """

    code: str
    rule: str
    advice: str
    limits: tuple[str, ...] = ()

    def warning(
        self,
        severity: Severity,
        detail: str,
        *,
        window: str = "",
        channel: str = "",
        judged: str = TRAIN,
    ) -> QualityWarning:
        """This doubt about one run or span; ``detail`` is a whole sentence with numbers."""
        return QualityWarning(self.code, severity, detail, self.advice_on(judged), window, channel)

    def advice_on(self, judged: str = TRAIN) -> str:
        """The advice, naming the window that is judged."""
        return self.advice.replace("{judged}", judged)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the checks look at.

    Attributes:
        spec: What a run was asked to do; ``None`` for a span, of which nothing was asked.
        traces, windows, energies: What was measured.
        cut: Names of windows that were still open when the trace ended.
        sampling: How well each meter was sampled.
        absent: Meters that do not work here.
        meters: What the meters said of themselves, by meter.
        trained: Whether at least one epoch ended.
        faults, agreements, telemetry: What the traces and the boards' logs were found to say.
        epochs, steps_per_epoch: The training, for its step time; ``None`` if it never began.
        device: Where TensorFlow ran, e.g. ``/GPU:0``; empty if it never said.
        device_bus: PCI bus id of that GPU as CUDA spells it; ``None`` if it did not say.
        status: How the run ended.
        shared: Whether another harness was measuring on this machine.
        cautions: None yet; evidence is what cautions are made from.
        judged: Name of the window that is judged.
    """

    spec: RunSpec | None
    traces: tuple[Trace, ...]
    windows: tuple[Window, ...]
    energies: tuple[WindowEnergy, ...]
    cut: tuple[str, ...]
    sampling: tuple[Sampling, ...]
    absent: tuple[AbsentMeter, ...]
    meters: Mapping[str, JsonValue]
    trained: bool
    faults: tuple[Fault, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    telemetry: tuple[Telemetry, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    steps_per_epoch: int | None = None
    device: str = ""
    device_bus: str | None = None
    shared: bool = False
    status: Status = "done"
    warnings: tuple[QualityWarning, ...] = ()
    judged: str = TRAIN

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels."""
        return tuple(trace.channel for trace in self.traces)

    def energy(self, window: str, channel: str) -> WindowEnergy | None:
        """The joules of one window on one channel; ``None`` if there are none."""
        found = (e for e in self.energies if e.window == window and e.channel == channel)
        return next(found, None)

    def window(self, name: str) -> Window | None:
        """The window of that name; ``None`` if the run did not get there."""
        return next((window for window in self.windows if window.name == name), None)

    def is_work(self, window: str) -> bool:
        """Whether a window holds work: that of a run, or the span that is judged."""
        return window == self.judged or is_work(window)

    @property
    def primary(self) -> EnergySource | None:
        """Who speaks for the judged window; ``None`` if nobody."""
        return primary_source(self, self.judged)

    @property
    def primary_j(self) -> tuple[float | None, float | None]:
        """Joules of the judged window and their ±, as its headline states them."""
        who = self.primary
        return (
            source_energy_j(self, who, self.judged),
            source_uncertainty_j(self, who, self.judged),
        )

    @property
    def weighty(self) -> frozenset[str]:
        """Names of the channels whose faults are faults of the run.

        In each part of the machine these are the most trusted readings. What is only estimated
        weighs only where nothing has a sensor, and CodeCarbon only where it stands alone.
        """
        return _weighty(self.channels)

    @property
    def weighty_traces(self) -> tuple[Trace, ...]:
        """The traces of ``weighty``."""
        names = self.weighty
        return tuple(trace for trace in self.traces if trace.channel.name in names)


def _weighty(channels: Sequence[Channel]) -> frozenset[str]:
    any_sensor = not all(channel.origin.is_estimated for channel in channels)
    names = set[str]()
    for domain in Domain:
        sides = rank_sources(channels, domain)
        best = sides[0] if sides else None
        if best is None or (any_sensor and best.status.is_estimated):
            continue
        if best.status.is_estimated and domain not in PRIMARY_DOMAINS:
            continue
        alone = is_codecarbon(best.channels[0])
        for side in sides:
            if side.status == best.status and (alone or not is_codecarbon(side.channels[0])):
                names.update(side.channels)
    return frozenset(names)


def list_some(names: Iterable[str], most: int = 4) -> str:
    """``epoch-1, epoch-2, epoch-3, epoch-4 and 6 more``."""
    every = list(dict.fromkeys(names))
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")


def run_checks(evidence: Evidence) -> tuple[QualityWarning, ...]:
    """Every doubt, in the order of the registry."""
    return tuple(
        warning
        for name in registry.CHECKS
        for warning in registry.load_part("check", name)(evidence)
    )
