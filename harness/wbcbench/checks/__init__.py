"""The doubts a run gives rise to: one file a check, each ``check(evidence) -> Iterable[Caution]``.

Checks look at what was measured and never change it. To add one: a file here and a line in
``catalog.CHECKS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from wbcbench.energy import Trace, Window, WindowEnergy
from wbcbench.records import AbsentMeter, Sampling
from wbcbench.study import RunSpec
from wbcbench.verdict import Caution


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the checks look at.

    Attributes:
        spec: What was asked.
        traces, windows, energies: What was measured.
        cut: Names of windows that were still open when the trace ended.
        sampling: How well each meter was sampled.
        absent: Meters that do not work here.
        meters: What the meters said of themselves, by meter.
        trained: Whether at least one epoch ended.
    """

    spec: RunSpec
    traces: tuple[Trace, ...]
    windows: tuple[Window, ...]
    energies: tuple[WindowEnergy, ...]
    cut: tuple[str, ...]
    sampling: tuple[Sampling, ...]
    absent: tuple[AbsentMeter, ...]
    meters: Mapping[str, JsonValue]
    trained: bool


def cautions(evidence: Evidence) -> tuple[Caution, ...]:
    """Every doubt, in a stable order."""
    del evidence
    return ()
