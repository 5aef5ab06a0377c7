"""A plan and a sweep in words and as documents, and the lines that a sweep says on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import count_of, human_duration, human_energy, human_share
from wbcbench.core.units import kwh_from_j, mb_from_bytes
from wbcbench.study.forecast import Cost
from wbcbench.study.plan import Plan, PowerAnalysis
from wbcbench.study.progress import Account, State, state_of
from wbcbench.table.derive import Sum, spent
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.study.progress import SweepOutcome

UNKNOWN_COST = "unknown: no finished run to learn from; --pilot carries out one epoch"

_ORDER: tuple[State, ...] = ("done", "failed", "interrupted", "invalid", "running", "todo")


def describe_plan(made: Plan, will: PowerAnalysis, costs: Cost) -> str:
    """Everything but the table of runs."""
    lines = [
        ("Study", f"{made.study}: {made.about}" if made.about else made.study),
        ("Design", _design(made)),
        ("Primary", _primary(will, made)),
        ("Cost", _cost(made, costs)),
        ("Shows", _shows(will)),
    ]
    if made.until:
        lines.append(("Until", _until(made)))
    lines.append(("Digest", made.sha256))
    return "\n".join(f"{name:<9}{text}" for name, text in lines)


def _design(made: Plan) -> str:
    block = made.block(1)
    levels = {name: {str(getattr(run, name)) for run in block} for name in made.factors}
    factors = " × ".join(f"{name} ({len(found)})" for name, found in levels.items())
    runs = count_of(len(block) * made.blocks, "run")
    return f"{factors}, {count_of(made.blocks, 'block')}, {runs}, order seed {made.order_seed}"


def _primary(will: PowerAnalysis, made: Plan) -> str:
    if not will.contrasts:
        return "no contrast: a single arm"
    metrics = ", ".join(will.metrics)
    return f"{', '.join(will.contrasts)} on {metrics} (Holm); joules {made.analysis.channel}"


def _cost(made: Plan, costs: Cost) -> str:
    if costs.time_s is None:
        return UNKNOWN_COST
    rest_s = made.pauses.rest_s * max(costs.runs - 1, 0)
    energy = "joules unknown"
    if costs.energy_j is not None:
        kwh = kwh_from_j(costs.energy_j)
        energy = f"{human_energy(costs.energy_j)} {costs.status} ({kwh:.3g} kWh)"
    return (
        f"about {human_duration(costs.time_s + rest_s)} (training "
        f"{human_duration(costs.train_s)}, rest {human_duration(rest_s)}) · {energy} · "
        f"{mb_from_bytes(costs.disk_bytes or 0):.2g} MB of disk; from "
        f"{count_of(costs.based_on, 'finished run')}"
    )


def _shows(will: PowerAnalysis) -> str:
    if will.p_floor is None or will.level is None:
        return "nothing is tested"
    text = f"least p with {count_of(will.blocks, 'block')} {will.p_floor:.2g}; Holm's first step "
    text += f"over {len(will.contrasts) * len(will.metrics)} tests needs {will.level:.2g}: "
    if not will.can_show:
        return f"{text}too few blocks to show anything; {will.blocks_wanted} would do"
    found = will.detectable_d_z
    if found is None:
        return f"{text}ok, but no effect is found with a chance of {will.promise:.0%}"
    return (
        f"{text}ok. {will.promise:.0%} chance to find a difference of {found:.2f} times its "
        "spread between blocks"
    )


def _until(made: Plan) -> str:
    until = made.until
    assert until is not None
    return (
        f"blocks are added until the interval of {until.contrast} is at most {until.width:g} "
        f"wide, {until.max_blocks} blocks at most; looks are counted"
    )


def table_of_runs(made: Plan, states: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """A line a run: place, block, seed, what it is, and its state if that is known."""
    lines = []
    for i, run in enumerate(made.runs):
        settings = [f"{k}={v}" for k, v in made.levels(run).items() if k != "variant"]
        what = " ".join([run.variant, *settings])
        state = (states[i],) if states else ()
        lines.append((str(run.order_global), str(run.block), str(run.seed), what, *state))
    return lines


def plan_document(made: Plan, will: PowerAnalysis, costs: Cost) -> dict[str, Any]:
    """The plan for programs."""
    rest_s = made.pauses.rest_s * max(costs.runs - 1, 0)
    return {
        "study": made.study,
        "plan_sha256": made.sha256,
        "blocks": made.blocks,
        "most_blocks": made.most_blocks,
        "order_seed": made.order_seed,
        "factors": list(made.factors),
        "runs": [_run(made, run) for run in made.runs],
        "contrasts": list(will.contrasts),
        "metrics": list(will.metrics),
        "p_floor": will.p_floor,
        "p_level": will.level,
        "can_show": will.can_show,
        "blocks_wanted": will.blocks_wanted,
        "detectable_d_z": will.detectable_d_z,
        "cost": {
            "runs": costs.runs,
            "time_s": None if costs.time_s is None else costs.time_s + rest_s,
            "train_s": costs.train_s,
            "rest_s": rest_s,
            "energy_j": costs.energy_j,
            "energy_status": costs.status or None,
            "disk_bytes": costs.disk_bytes,
            "based_on_runs": costs.based_on,
        },
    }


def _run(made: Plan, run: RunSpec) -> dict[str, Any]:
    return {
        "order_global": run.order_global,
        "order_in_block": run.order_in_block,
        "block": run.block,
        "seed": run.seed,
        "variant": run.variant,
        "levels": dict(made.levels(run)),
    }


def describe_sweep(made: Plan, outcome: SweepOutcome, account: Account) -> str:
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


def sweep_document(made: Plan, outcome: SweepOutcome, account: Account) -> dict[str, Any]:
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


def began_line(spec: RunSpec, place: str, levels: Mapping[str, Any]) -> str:
    """``run 3/12, block 1/3: relu-dropout, batch_size 64, seed 1001``."""
    settings = [f"{name} {value}" for name, value in levels.items() if name != "variant"]
    again = f", attempt {spec.block_attempt}" if spec.block_attempt > 1 else ""
    return f"{place}{again}: {', '.join([spec.variant, *settings, f'seed {spec.seed}'])}"


def ended_line(record: RunRecord, place: str) -> str:
    """``run 3/12 done  accuracy 0.902  train 41.3 kJ measured  total 52 kJ  2 min 31 s``."""
    state = state_of(record)
    total = spent(record)
    words = [f"{place} {state}"]
    if state in {"done", "invalid"}:
        run = Run(record)
        train_j = run.train_energy_j
        words.append(f"accuracy {human_share(record.test.accuracy if record.test else None)}")
        words.append(f"train {human_energy(train_j)} {total.status}")
    words.append(f"{human_energy(total.energy_j)} in {human_duration(total.time_s)}")
    why = _why_bad(record)
    return ", ".join(words) + (f": {why}" if why else "")


def _why_bad(record: RunRecord) -> str:
    if record.error is not None:
        return record.error.message
    return Run(record).invalid_reason or ""


def repeat_line(block: int, attempt: int, most: int) -> str:
    """``block 3 holds an invalid run and is repeated whole: attempt 2 of 3``."""
    return f"block {block} holds an invalid run and is repeated whole: attempt {attempt} of {most}"
