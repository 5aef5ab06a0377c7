"""The joules of every part of the machine in training, idle and active, by how they are known.

Idle is what the part would have drawn anyway: its idle power times the time of training; active is
the rest. Joules of one status may be stacked; measured and modelled ones never stand in one sum,
and those of the whole machine hold the parts and stand beside them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wbcbench.core.trace import Domain, Origin
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import mean_known
from wbcbench.report.evidence import ReportStudy
from wbcbench.table.view import Run

PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "DRAM", Domain.SYSTEM: "whole machine"}


@dataclass(frozen=True, slots=True)
class Share:
    """Mean joules of one part in training, over the runs of one arm that know them.

    Attributes:
        arm: Label.
        domain: The part.
        status: measured, estimated, modelled or synthetic.
        method: How it was read.
        runs: How many runs were averaged.
        energy_j: All of it, gross.
        idle_j: What it would have drawn idle; ``None`` where no idle power is known.
    """

    arm: str
    domain: Domain
    status: str
    method: str
    runs: int
    energy_j: float
    idle_j: float | None

    @property
    def active_j(self) -> float | None:
        """Above idle; negative where the idle power was higher than the load."""
        return None if self.idle_j is None else self.energy_j - self.idle_j

    @property
    def splits(self) -> bool:
        """Whether it can be drawn as idle and active."""
        active_j = self.active_j
        return active_j is not None and active_j >= 0 and (self.idle_j or 0.0) >= 0


def shares(study: ReportStudy) -> list[Share]:
    """By arm, then status with the most trusted first, then part; unknown parts are left out."""
    found: list[Share] = []
    for each in study.configurations:
        metered = study.metered(each)
        own = [share for domain in PARTS if (share := _share(each.label, metered, domain))]
        found += sorted(own, key=lambda s: (s.domain is Domain.SYSTEM, Origin(s.status).rank))
    return found


def bars(found: Sequence[Share]) -> list[list[Share]]:
    """What may be stacked on each other: one arm, one status; the whole machine by itself."""
    groups: dict[tuple[str, str, bool], list[Share]] = {}
    for each in found:
        key = (each.arm, each.status, each.domain is Domain.SYSTEM)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _share(arm: str, runs: Sequence[Run], domain: Domain) -> Share | None:
    """``None`` where no run knows the part's joules; the most frequent way of reading counts."""
    read = [(run, who) for run in runs if (who := run.speaker(domain))]
    known = [
        (run, (who.status.value, who.method))
        for run, who in read
        if _is_known(run.energy_j(domain))
    ]
    if not known:
        return None
    counts = Counter(way for _, way in known)
    (status, method) = max(counts, key=lambda way: (counts[way], way))
    own = [run for run, way in known if way == (status, method)]
    energy_j = mean_known([run.energy_j(domain) for run in own])
    idle_j = [_idle_j(run, domain) for run in own]
    complete = all(each is not None for each in idle_j)
    return Share(
        arm=arm,
        domain=domain,
        status=status,
        method=method,
        runs=len(own),
        energy_j=energy_j or 0.0,
        idle_j=mean_known(idle_j) if complete else None,
    )


def _idle_j(run: Run, domain: Domain) -> float | None:
    """Gross minus net, so that this is the idle energy of the results table."""
    gross_j = run.energy_j(domain, TRAIN)
    net_j = run.net_energy_j(run.speaker(domain))
    return None if gross_j is None or net_j is None else gross_j - net_j


def _is_known(energy_j: float | None) -> bool:
    return energy_j is not None and math.isfinite(energy_j)
