"""The bill of a run: what each part of it cost, from the first poll to the end of the last phase.

No part is a remainder: each has windows of its own, the whole is read at its two ends, and what
the parts leave of it is shown as what it is, unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from wbcbench.core import window
from wbcbench.core.record import PROCESS_START_S, RunRecord
from wbcbench.core.trace import Domain
from wbcbench.core.window import RUN, STARTUP, STARTUP_PARTS, TRAIN, Window
from wbcbench.energy.appraise import steps_duration_s
from wbcbench.energy.metrics import ratio, scale, sum_if_all_known
from wbcbench.energy.source import (
    EnergySource,
    choose_source,
    source_energy_j,
    source_uncertainty_j,
    spent_j,
)

OTHER, UNEXPLAINED = "other", "unexplained"
PARTS = (
    "start-up", window.IMPORT, window.CONTEXT, window.DATA, window.BUILD, window.COMPILE,
    "warm-up", TRAIN, "validate", "test", "inference", "idle", window.WRITE, OTHER,
    UNEXPLAINED,
)  # fmt: skip
"""What a run does, in order, and the rest. Older records have their start-up in one."""

ROUNDING = 1e-9  # of the whole: a smaller rest is none

MEASURED = frozenset({TRAIN, "validate", "test", "inference", "idle"})
"""What is measured on purpose; all else is overhead."""

_PARTS = {
    STARTUP: "start-up",
    **{name: name for name in (*STARTUP_PARTS, window.COMPILE, window.WRITE)},
    window.BATCH: window.DATA,
    window.COMPILE_INFERENCE: window.COMPILE,
    window.WARMUP: "warm-up",
    TRAIN: TRAIN,
    window.CUT_LOOP: TRAIN,
    window.EVALUATE: "test",
    window.EVALUATE_LOOPS: "test",
    window.EXIT: window.WRITE,
}


def name_part(name: str) -> str:
    """The word of ``PARTS`` for a window."""
    if window.is_idle(name):
        return "idle"
    if window.is_validation(name):
        return "validate"
    return _PARTS.get(name) or ("inference" if window.is_work(name) else OTHER)


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a bill.

    Attributes:
        name: A word of ``PARTS``, or what it stands for.
        time_s: Seconds.
        energy_j: Part of the machine → joules as measured; ``None`` is unknown.
        uncertainty_j: The same for the half-width at about 95 %; ``None`` for a model.
    """

    name: str
    time_s: float
    energy_j: Mapping[Domain, float | None] = field(default_factory=dict)
    uncertainty_j: Mapping[Domain, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a run cost.

    Attributes:
        parts: What it did, in the order of ``PARTS``, each once.
        whole: From its first poll to the end of its last phase, read at these two ends; of a record
            that has no such window, the sum of its parts.
        unexplained: What the parts leave of the whole; may be negative, within its ±.
        overhead: What the parts that are measured on purpose leave of the whole.
        is_whole_read: Whether the whole was read apart from its parts.
        prepared_s: Seconds from the recorder's start to the whole's: meters are opened, sensors
            probed, and no joules known; ``None`` is unknown.
    """

    parts: tuple[Item, ...]
    whole: Item
    unexplained: Item
    overhead: Item
    is_whole_read: bool
    prepared_s: float | None

    @property
    def lines(self) -> tuple[Item, ...]:
        """The parts and, where the whole was read, what they leave of it: together the whole."""
        return (*self.parts, self.unexplained) if self.is_whole_read else self.parts

    def share(self, item: Item, domain: Domain | None = None) -> float | None:
        """Share of the whole's joules of one part of the machine; of its seconds without one."""
        if domain is None:
            return ratio(item.time_s, self.whole.time_s)
        return ratio(item.energy_j.get(domain), self.whole.energy_j.get(domain))


def make_bill(record: RunRecord) -> Bill:
    """The bill of a run; that of a program knows no parts but ``other``."""
    sources = _choose_sources(record)
    groups: dict[str, list[Window]] = {}
    for each in list_phases(record):
        groups.setdefault(name_part(each.name), []).append(each)
    parts = tuple(
        add_up(part, [_read_item(record, sources, each) for each in groups[part]])
        for part in PARTS
        if part in groups
    )
    run = None if record.spec.is_program else record.window(RUN)
    whole = _read_item(record, sources, run) if run else add_up("", parts)
    measured = [item for item in parts if item.name in MEASURED]
    process_s = record.provenance.get(PROCESS_START_S)
    return Bill(
        parts=parts,
        whole=replace(whole, name="whole run"),
        unexplained=_subtract(UNEXPLAINED, whole, parts),
        overhead=_subtract("overhead", whole, measured),
        is_whole_read=run is not None,
        prepared_s=run.start_s - process_s if run and isinstance(process_s, float) else None,
    )


def list_phases(record: RunRecord) -> list[Window]:
    """Windows whose energies add up to the run's.

    None lies in another but the validation passes, which ``train`` excludes.
    """
    windows = record.windows
    if not record.spec.is_program:  # whose windows may be called anything
        names = {each.name for each in windows}
        whole = {RUN, STARTUP} if names.intersection(STARTUP_PARTS) else {RUN}
        windows = tuple(each for each in windows if each.name not in whole)
    outer, latest_s = set[tuple[float, float]](), -math.inf
    for edges in sorted(set(map(_span, windows))):
        if latest_s < -edges[1]:  # nothing that began before, or then, ends as late
            outer.add(edges)
            latest_s = -edges[1]
    phases: dict[tuple[float, float], Window] = {}
    for each in windows:
        span = _span(each)
        if span in outer and (span not in phases or window.is_epoch(phases[span].name)):
            phases[span] = each  # training that stopped in its first epoch is one window
    kept = {each.name for each in phases.values()}
    return [each for each in windows if window.is_validation(each.name) or each.name in kept]


def _span(each: Window) -> tuple[float, float]:
    return each.start_s, -each.end_s


def _choose_sources(record: RunRecord) -> dict[Domain, EnergySource]:
    """One source for all of a bill: that of the training, or one that knows the whole."""
    sources: dict[Domain, EnergySource] = {}
    for domain in Domain:
        found = [choose_source(record, domain, name) for name in (TRAIN, RUN)]
        known = (each for each in found if source_energy_j(record, each, RUN) is not None)
        source = next(known, found[0])
        if source is not None and source.channels:
            sources[domain] = source
    return sources


def _read_item(record: RunRecord, sources: Mapping[Domain, EnergySource], each: Window) -> Item:
    """One window as it was paid for: a training that was repeated counts with all its loops."""
    is_train = each.name == TRAIN and not record.spec.is_program
    steps_s = steps_duration_s(record.windows) if is_train else None
    loops = record.loop_count if is_train else 1
    energies_j = {d: spent_j(record, s, each.name) for d, s in sources.items()}
    widths_j = {d: source_uncertainty_j(record, s, each.name) for d, s in sources.items()}
    return Item(
        each.name,
        each.duration_s if steps_s is None else steps_s,
        energies_j,
        {domain: scale(width_j, loops) for domain, width_j in widths_j.items()},
    )


def add_up(name: str, items: Sequence[Item]) -> Item:
    """Several lines as one."""
    return _combine(name, items, [1.0] * len(items))


def _subtract(name: str, whole: Item, items: Sequence[Item]) -> Item:
    return _combine(name, [whole, *items], [1.0, *[-1.0] * len(items)])


def _combine(name: str, items: Sequence[Item], signs: Sequence[float]) -> Item:
    """Items added, or taken away; errors at different edges are independent, and add in squares."""
    energy_j, uncertainty_j = dict[Domain, float | None](), dict[Domain, float | None]()
    for domain in dict.fromkeys(domain for item in items for domain in item.energy_j):
        known_j = [item.energy_j.get(domain) for item in items]
        widths_j = [item.uncertainty_j.get(domain) for item in items]
        terms = zip(signs, known_j, strict=True)
        total_j = sum_if_all_known([None if j is None else sign * j for sign, j in terms])
        is_nothing = total_j is not None and abs(total_j) < ROUNDING * abs(known_j[0] or 0.0)
        energy_j[domain] = 0.0 if is_nothing else total_j
        squares_j2 = sum_if_all_known([None if w is None else w * w for w in widths_j])
        uncertainty_j[domain] = None if squares_j2 is None else math.sqrt(squares_j2)
    time_s = math.fsum(sign * item.time_s for sign, item in zip(signs, items, strict=True))
    return Item(name, time_s, energy_j, uncertainty_j)
