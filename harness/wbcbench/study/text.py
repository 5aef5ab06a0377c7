"""A plan and a sweep in words and as documents, and the lines that a sweep prints on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from wbcbench.compare.metric import PRIMARY, find_metric
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import aligned_table, count_of, human_duration, human_energy, human_share
from wbcbench.core.units import kwh_from_j, mb_from_bytes
from wbcbench.stats.order import count_blocks_of_balance
from wbcbench.stats.tests import MOST_BLOCKS_TO_SETTLE, TARGET_POWER
from wbcbench.study.forecast import Cost
from wbcbench.study.plan import Plan
from wbcbench.study.power import LITTLE_CHANCE, LearnedSpread, PowerAnalysis
from wbcbench.study.progress import Account, InterimAnalysis, State, SweepOutcome
from wbcbench.table.derive import Sum, spent
from wbcbench.table.view import Run

_MOST_BALANCED = 8  # configurations whose balance is shown as a table
_ORDER: tuple[State, ...] = ("done", "failed", "interrupted", "invalid", "running", "todo")


def describe_plan(plan: Plan, power: PowerAnalysis, cost: Cost) -> str:
    """Everything but the table of runs."""
    block = plan.block(1)
    levels = {name: {str(getattr(run, name)) for run in block} for name in plan.factors}
    factors = " × ".join(f"{name} ({len(own)})" for name, own in levels.items())
    runs = count_of(len(block) * plan.blocks, "run")
    lines = {
        "Study": f"{plan.study}: {plan.about}" if plan.about else plan.study,
        "Design": f"{factors}, {count_of(plan.blocks, 'block')}, {runs}",
        "Tests": _describe_tests(plan, power),
        "Cost": _describe_cost(plan, cost),
        "Power": _describe_power(power),
        "Equivalence": _describe_equivalence(plan, power),
    }
    if power.learned:
        lines["Earlier runs"] = "; ".join(_describe_learned(power, each) for each in power.learned)
    if until := plan.until:
        unit = find_metric(until.metric or PRIMARY).unit
        lines["Until"] = (
            f"two stages (Stein): the spread of {until.contrast} in the first "
            f"{count_of(plan.blocks, 'block')} decides how many there are, so that the upper end "
            f"of its 95 % interval lies {until.width:g} {unit} above the lower; "
            f"{until.max_blocks} at most"
        )
    if plan.claims:
        stated = (f"{name}: {claim.statement}" for name, claim in sorted(plan.claims.items()))
        lines["Claims"] = f"{'; '.join(stated)} (Holm)"
    lines["Digest"] = plan.sha256
    lines["Order"] = f"{_describe_balance(power)}; order seed {plan.order_seed}"
    text = "\n".join(f"{name:<13}{line}" for name, line in lines.items())
    return f"{text}\n{_format_balance(power)}".rstrip()


def _describe_tests(plan: Plan, power: PowerAnalysis) -> str:
    if not power.contrasts:
        return "no contrast: a single configuration"
    named = f"{', '.join(power.contrasts)} on {', '.join(power.metrics)}"
    if power.family == "baseline":
        named = f"each against {power.baseline}: {named}"
    joules = f"joules {plan.analysis.lowest_status}"
    return f"{named} ({'exploratory, nothing tested' if power.exploratory else 'Holm'}); {joules}"


def _describe_balance(power: PowerAnalysis) -> str:
    balance, size = power.balance, len(power.balance.names)
    if size == 1:
        return "one run a block"
    places, both = count_blocks_of_balance(size)
    at = _format_counts(n for row in balance.places for n in row)
    after = _format_counts(
        n for i, row in enumerate(balance.after) for j, n in enumerate(row) if i != j
    )
    squares = "Williams squares" if balance.is_balanced else "unbalanced, not of Williams squares"
    only = f", of {places} for the places" if places != both else ""
    return (
        f"{squares}: each variant {at} at each place and {after} right after each other one (equal "
        f"for multiples of {both} blocks{only})"
    )


def _format_counts(counts: Iterable[int]) -> str:
    """``2 times``, ``2 to 3 times``."""
    known = sorted(counts)
    least, most = known[0], known[-1]
    return count_of(least, "time") if least == most else f"{least} to {most} times"


def _format_balance(power: PowerAnalysis) -> str:
    """How often each stands at each place and right after each other one."""
    balance = power.balance
    size = len(balance.names)
    if not 1 < size <= _MOST_BALANCED:
        return ""
    letters = [chr(ord("A") + number) for number in range(size)]
    headings = (
        "variant",
        *(f"place {n + 1}" for n in range(size)),
        *(f"after {x}" for x in letters),
    )
    rows = [
        (
            f"{letters[i]} {balance.names[i]}",
            *map(str, balance.places[i]),
            *("–" if i == j else str(balance.after[i][j]) for j in range(size)),
        )
        for i in range(size)
    ]
    return aligned_table(headings, rows)


def _describe_cost(plan: Plan, cost: Cost) -> str:
    if cost.time_s is None:
        return "unknown: no finished run to learn from; --pilot carries out one epoch"
    rest_s = _rest_s(plan, cost)
    energy = "joules unknown"
    if cost.energy_j is not None:
        kwh = kwh_from_j(cost.energy_j)
        energy = f"{human_energy(cost.energy_j)} {cost.status} ({kwh:.3g} kWh)"
    return (
        f"about {human_duration(cost.time_s + rest_s)} (training "
        f"{human_duration(cost.train_s)}, rest {human_duration(rest_s)}) · {energy} · "
        f"{mb_from_bytes(cost.disk_bytes or 0):.2g} MB of disk; from "
        f"{count_of(cost.based_on, 'finished run')}"
    )


def _rest_s(plan: Plan, cost: Cost) -> float:
    return plan.pauses.rest_s * max(cost.runs - 1, 0)


def _describe_power(power: PowerAnalysis) -> str:
    if power.p_floor is None or power.exploratory:
        return "nothing is tested"
    text = (
        f"smallest attainable p with {count_of(power.blocks, 'block')} {power.p_floor:.2g}; Holm's "
        f"first step over {power.tests} tests needs {power.p_level:.2g}"
    )
    if not power.can_show:
        return f"{text}: too few blocks to show anything; {power.blocks_wanted} can"
    if power.detectable_d_z is None:
        return f"{text}: ok, but no effect is found with a power of {TARGET_POWER:.0%}"
    return (
        f"{text}: ok. Power of {TARGET_POWER:.0%} for a difference of {power.detectable_d_z:.2f} "
        "times its spread between blocks"
    )


def _describe_equivalence(plan: Plan, power: PowerAnalysis) -> str:
    """The chance to show that nothing differs, by how much blocks scatter."""
    if power.equivalence_power is None or power.exploratory:
        return "nothing is tested"
    halves = plan.analysis.equivalent_pct, plan.analysis.equivalent_pp

    def both(factor: float) -> str:
        return f"{factor * halves[0]:.2g} % or {factor * halves[1]:.2g} pp"

    wanted = power.equivalence_blocks or f"more than {MOST_BLOCKS_TO_SETTLE:,}"
    return (
        f"to ±{both(1)} where nothing differs: chance {power.equivalence_power:.0%} if blocks "
        f"scatter by as much; {TARGET_POWER:.0%} take {wanted} blocks, or a scatter of "
        f"{both(power.equivalence_spread or 0.0)}; above {both(power.equivalence_limit or 0.0)} "
        "it cannot be shown"
    )


def _describe_learned(power: PowerAnalysis, learned: LearnedSpread) -> str:
    """What the plan can show if runs scatter as those of an earlier study did."""
    unit = find_metric(learned.metric).unit
    blocks = count_of(learned.blocks, "block")
    text = (
        f"{learned.metric} scatters by {learned.spread:.2g} {unit} in {blocks} of {learned.study}"
    )
    if learned.detectable is not None and power.can_show and not power.exploratory:
        text += f": {learned.detectable:.2g} {unit} are found with a power of {TARGET_POWER:.0%}"
    cannot = "cannot be shown, chance" if learned.equivalence_power < LITTLE_CHANCE else "chance"
    text += f", equivalence to ±{learned.region:g} {unit}: {cannot} {learned.equivalence_power:.0%}"
    if learned.equivalence_power < TARGET_POWER:
        wanted = learned.equivalence_blocks or f"more than {MOST_BLOCKS_TO_SETTLE:,}"
        text += f", {wanted} blocks would do"
    return text


def format_runs(plan: Plan, states: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """A line a run: place, block, seed, what it is, and its state if that is known."""
    lines = []
    for i, run in enumerate(plan.runs):
        place = (str(run.order_global), str(run.block), str(run.seed))
        lines.append((*place, plan.label(run), *states[i : i + 1]))
    return lines


def build_plan_document(plan: Plan, power: PowerAnalysis, cost: Cost) -> dict[str, Any]:
    """The plan for programs."""
    rest_s = _rest_s(plan, cost)
    keys = ("order_global", "order_in_block", "block", "seed", "variant")
    return {
        "study": plan.study,
        "plan_sha256": plan.sha256,
        "most_blocks": plan.most_blocks,
        "order_seed": plan.order_seed,
        "factors": list(plan.factors),
        "claims": {name: asdict(claim) for name, claim in plan.claims.items()},
        "runs": [
            {**{key: getattr(run, key) for key in keys}, "levels": plan.levels(run)}
            for run in plan.runs
        ],
        **asdict(power),
        "cost": {
            "runs": cost.runs,
            "time_s": None if cost.time_s is None else cost.time_s + rest_s,
            "train_s": cost.train_s,
            "rest_s": rest_s,
            "energy_j": cost.energy_j,
            "energy_status": cost.status or None,
            "disk_bytes": cost.disk_bytes,
            "based_on_runs": cost.based_on,
        },
    }


def describe_sweep(plan: Plan, outcome: SweepOutcome, account: Account) -> str:
    """Counts, joules, waste."""
    states = outcome.states()
    counts = ", ".join(f"{states[name]} {name}" for name in _ORDER if name in states)
    lines = [
        f"{plan.study}: {counts} of {count_of(len(outcome.specs), 'run')}; "
        f"{outcome.started} carried out now",
        f"counted  {_describe_sum(account.counted)}",
    ]
    if account.all_wasted.runs:
        parts = ", ".join(f"{kind} {_describe_sum(own)}" for kind, own in account.wasted.items())
        lines.append(f"wasted   {_describe_sum(account.all_wasted)}: {parts}")
    if outcome.interim_analyses:
        lines.append(describe_interim(outcome.interim_analyses[-1], plan.most_blocks))
    return "\n".join(lines)


def _describe_sum(total: Sum) -> str:
    """Joules by status, never added across them."""
    if not total.runs:
        return "no run"
    joules = " + ".join(f"{human_energy(j)} {status}" for status, j in total.energy_j.items())
    least = "at least " if total.unknown and joules else ""
    return f"{least}{joules or 'joules unknown'} ({count_of(total.runs, 'run')})"


def build_sweep_document(plan: Plan, outcome: SweepOutcome, account: Account) -> dict[str, Any]:
    """The same for programs."""
    keys = ("order_global", "block", "block_attempt", "seed", "variant")
    progress = outcome.progress
    return {
        "study": plan.study,
        "plan_sha256": plan.sha256,
        "interrupted": outcome.interrupted,
        "carried_out": outcome.started,
        "states": outcome.states(),
        "runs": [
            {
                **{key: getattr(spec, key) for key in keys},
                "state": progress.state(spec),
                "run_ids": [attempt.run.run_id for attempt in progress.of(spec)],
            }
            for spec in outcome.specs
        ],
        "interim_analyses": [asdict(analysis) for analysis in outcome.interim_analyses],
        **asdict(account),
    }


def describe_start(spec: RunSpec, place: str, levels: Mapping[str, Any]) -> str:
    """``run 3/12, block 1/3: relu-dropout, batch_size 64, seed 1001``."""
    settings = [f"{name} {value}" for name, value in levels.items() if name != "variant"]
    repeat = f", attempt {spec.block_attempt}" if spec.block_attempt > 1 else ""
    return f"{place}{repeat}: {', '.join([spec.variant, *settings, f'seed {spec.seed}'])}"


def describe_end(record: RunRecord, place: str) -> str:
    """``run 3/12 done, accuracy 0.902, train 41.3 kJ measured, 52 kJ in 2 min 31 s``."""
    run = Run(record)
    total = spent(run)
    words = [f"{place} {run.status}"]
    if run.status in {"done", "invalid"}:
        words.append(f"accuracy {human_share(record.test.accuracy if record.test else None)}")
        words.append(f"train {human_energy(run.train_energy_j)} {total.status}")
    words.append(f"{human_energy(total.energy_j)} in {human_duration(total.time_s)}")
    why = record.error.message if record.error else run.invalid_reason
    return ", ".join(words) + (f": {why}" if why else "")


def describe_repeat(block: int, attempt: int, most: int) -> str:
    """``block 3 has an invalid run and is repeated: attempt 2 of 3``."""
    return f"block {block} has an invalid run and is repeated: attempt {attempt} of {most}"


def describe_interim(analysis: InterimAnalysis, most: int) -> str:
    """``first stage, 8 complete blocks: spread 3.1 %, 14 are needed in all``, then how many."""
    if analysis.needed is None:
        return f"after block {analysis.blocks}: no stage is complete ({analysis.reason})"
    width = f"interval {analysis.width:.3g} {analysis.unit} wide"
    over = f", but {most} are the most" if analysis.needed > most else ""
    if analysis.used == analysis.first:
        start = f"first stage, {count_of(analysis.first, 'complete block')}"
        spread = f"spread {analysis.spread:.3g} {analysis.unit}, {width}"
        return f"{start}: {spread}; {analysis.needed} are needed in all{over}"
    return f"second stage, {analysis.used} of {analysis.needed} complete blocks{over}: {width}"
