"""Limits: is each candidate within what was allowed, beyond it, or can nobody tell yet?"""

from __future__ import annotations

from collections.abc import Mapping

from wbcbench.comparison.blocks import Blocks
from wbcbench.comparison.design import Design
from wbcbench.comparison.effects import matrix
from wbcbench.comparison.result import Judged
from wbcbench.comparison.settings import Gate, Settings
from wbcbench.stats.factorial import contrast, pair
from wbcbench.stats.gates import Outcome, blocks_to_settle, judge
from wbcbench.stats.intervals import interval


def judged(
    design: Design, blocks: Blocks, settings: Settings, statuses: Mapping[str, str]
) -> tuple[Judged, ...]:
    """Every gate for every candidate."""
    return tuple(
        _judged(design, blocks, settings, statuses[gate.metric.name], gate, positions)
        for gate in settings.gates
        for positions in design.pairs
    )


def _judged(
    design: Design,
    blocks: Blocks,
    settings: Settings,
    status: str,
    gate: Gate,
    positions: tuple[int, int],
) -> Judged:
    candidate, baseline = (design.arms[i].label for i in positions)
    if not blocks.runs:
        return Judged(gate, candidate, baseline, None, Outcome.CANNOT_TELL, None, status)
    weights = pair(*positions, len(design.arms))
    differences = contrast(matrix(blocks, gate.metric), weights)
    inner = interval(differences, settings.method)
    told = inner.mapped(gate.metric.told) if inner else None
    outcome = judge(told, gate.limit, above_is_worse=gate.above_is_worse)
    more = None
    if outcome is Outcome.CANNOT_TELL:
        more = blocks_to_settle(differences, gate.metric.untold(gate.limit))
    return Judged(gate, candidate, baseline, told, outcome, more, status)
