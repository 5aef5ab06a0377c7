"""Limits: is each candidate within what was allowed, beyond it, or can nobody tell yet?"""

from __future__ import annotations

from collections.abc import Mapping

from wbcbench.compare.blocks import Blocks
from wbcbench.compare.design import ComparisonDesign
from wbcbench.compare.effects import matrix
from wbcbench.compare.result import GateResult
from wbcbench.compare.settings import Gate, Settings
from wbcbench.stats.intervals import interval
from wbcbench.stats.tests import GateOutcome, blocks_to_settle, contrast, judge, pair


def judged(
    design: ComparisonDesign, blocks: Blocks, settings: Settings, statuses: Mapping[str, str]
) -> tuple[GateResult, ...]:
    """Every gate for every candidate."""
    return tuple(
        _judged(design, blocks, settings, statuses[gate.metric.name], gate, positions)
        for gate in settings.gates
        for positions in design.pairs
    )


def _judged(
    design: ComparisonDesign,
    blocks: Blocks,
    settings: Settings,
    status: str,
    gate: Gate,
    positions: tuple[int, int],
) -> GateResult:
    candidate, baseline = (design.arms[i].label for i in positions)
    if not blocks.runs:
        return GateResult(gate, candidate, baseline, None, GateOutcome.CANNOT_TELL, None, status)
    weights = pair(*positions, len(design.arms))
    differences = contrast(matrix(blocks, gate.metric), weights)
    inner = interval(differences, settings.method)
    told = inner.mapped(gate.metric.told) if inner else None
    outcome = judge(told, gate.limit, above_is_worse=gate.above_is_worse)
    more = None
    if outcome is GateOutcome.CANNOT_TELL:
        more = blocks_to_settle(differences, gate.metric.untold(gate.limit))
    return GateResult(gate, candidate, baseline, told, outcome, more, status)
