"""What a sweep has come to, in words and as a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from wbcbench.core.text import count_of, human_energy
from wbcbench.study.plan import Plan
from wbcbench.study.standing import State
from wbcbench.study.study_account import Account
from wbcbench.study.sweep import SweepOutcome
from wbcbench.table.derive import Sum

_ORDER: tuple[State, ...] = ("done", "failed", "interrupted", "invalid", "running", "todo")


def in_words(made: Plan, outcome: SweepOutcome, account: Account) -> str:
    """Counts, joules, waste."""
    states = outcome.states()
    counts = ", ".join(f"{states[name]} {name}" for name in _ORDER if states.get(name))
    lines = [
        f"{made.study}: {counts} of {count_of(len(outcome.specs), 'run')}; "
        f"{outcome.carried_out} carried out now",
        f"counted  {_joules(account.counted)}",
    ]
    if account.all_wasted.runs:
        parts = ", ".join(f"{kind} {_joules(found)}" for kind, found in account.wasted.items())
        lines.append(f"wasted   {_joules(account.all_wasted)}: {parts}")
    if outcome.looks:
        narrow = "narrow enough" if outcome.looks[-1].stops else "not narrow enough"
        lines.append(f"looks    {len(outcome.looks)}, the last one {narrow}")
    return "\n".join(lines)


def _joules(found: Sum) -> str:
    """Joules by status, never added across them."""
    if not found.runs:
        return "no run"
    told = " + ".join(f"{human_energy(j)} {status}" for status, j in found.energy_j.items())
    least = "at least " if found.unknown and told else ""
    return f"{least}{told or 'joules unknown'} ({count_of(found.runs, 'run')})"


def document(made: Plan, outcome: SweepOutcome, account: Account) -> dict[str, Any]:
    """The same for programs."""
    return {
        "study": made.study,
        "plan_sha256": made.sha256,
        "interrupted": outcome.interrupted,
        "carried_out": outcome.carried_out,
        "states": {str(name): count for name, count in outcome.states().items()},
        "runs": [
            {
                "order_global": spec.order_global,
                "block": spec.block,
                "block_attempt": spec.block_attempt,
                "seed": spec.seed,
                "variant": spec.variant,
                "state": outcome.standing.state(spec),
                "run_ids": [each.run.run_id for each in outcome.standing.of(spec)],
            }
            for spec in outcome.specs
        ],
        "counted": asdict(account.counted),
        "wasted": {str(kind): asdict(found) for kind, found in account.wasted.items()},
        "all_wasted": asdict(account.all_wasted),
        "looks": [asdict(look) for look in outcome.looks],
    }
