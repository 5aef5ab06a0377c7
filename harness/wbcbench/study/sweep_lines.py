"""The lines that a sweep says on the way, one when a run begins and one when it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import human_duration, human_energy, human_share
from wbcbench.study.standing import state_of
from wbcbench.table.columns_energy import headline_energy_j
from wbcbench.table.columns_run import invalid_reason
from wbcbench.table.derive import spent
from wbcbench.table.view import Run


def began(spec: RunSpec, place: str, levels: Mapping[str, Any]) -> str:
    """``run 3/12, block 1/3: relu-dropout, batch_size 64, seed 1001``."""
    settings = [f"{name} {value}" for name, value in levels.items() if name != "variant"]
    again = f", attempt {spec.block_attempt}" if spec.block_attempt > 1 else ""
    return f"{place}{again}: {', '.join([spec.variant, *settings, f'seed {spec.seed}'])}"


def ended(record: RunRecord, place: str) -> str:
    """``run 3/12 done  accuracy 0.902  train 41.3 kJ measured  total 52 kJ  2 min 31 s``."""
    state = state_of(record)
    total = spent(record)
    words = [f"{place} {state}"]
    if state in {"done", "invalid"}:
        run = Run(record)
        train_j = headline_energy_j(run)
        words.append(f"accuracy {human_share(record.test.accuracy if record.test else None)}")
        words.append(f"train {human_energy(train_j)} {total.status}")
    words.append(f"{human_energy(total.energy_j)} in {human_duration(total.time_s)}")
    why = _why(record)
    return ", ".join(words) + (f": {why}" if why else "")


def _why(record: RunRecord) -> str:
    if record.error is not None:
        return record.error.message
    return invalid_reason(Run(record)) or ""


def blocks_repeat(block: int, attempt: int, most: int) -> str:
    """``block 3 holds an invalid run and is repeated whole: attempt 2 of 3``."""
    return f"block {block} holds an invalid run and is repeated whole: attempt {attempt} of {most}"
