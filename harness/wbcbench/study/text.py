"""A plan and a sweep in words and as documents, and the lines that a sweep prints on the way."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import prod
from shutil import get_terminal_size
from typing import Any

from wbcbench.compare.metric import ACCURACY, PRIMARY, find_metric
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import (
    aligned_table,
    count_of,
    energy_scale,
    human_duration,
    human_energy,
    human_share,
    human_size,
    round_to_sum,
)
from wbcbench.core.units import kwh_from_j
from wbcbench.core.window import (
    EVALUATE,
    IDLE,
    INFERENCE_PHASE,
    STARTUP,
    TRAIN,
    VALIDATION_PHASE,
    WARMUP,
    WRITE,
)
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.stats.order import count_blocks_of_balance
from wbcbench.stats.tests import MOST_BLOCKS_TO_SETTLE, TARGET_POWER
from wbcbench.study.boards import JOB_OVERHEAD_S, BoardForecast
from wbcbench.study.forecast import Cost
from wbcbench.study.plan import Plan
from wbcbench.study.power import LITTLE_CHANCE, LearnedSpread, PowerAnalysis
from wbcbench.study.progress import Account, InterimAnalysis, State, SweepOutcome
from wbcbench.table.derive import BETWEEN, EVERY_EPOCH, PartCost, Sum, spent
from wbcbench.table.view import Run

_MOST_BALANCED = 8  # configurations whose balance is shown as a table
_ORDER: tuple[State, ...] = ("done", "failed", "interrupted", "invalid", "running", "todo")
_METRICS = {PRIMARY: "energy", ACCURACY: "accuracy"}
_WIDEST = 80
_KWH_FROM_J = 36_000.0  # a hundredth of a kWh: less is easier to grasp in joules
_PAUSES = "pauses"
_PARTS = {
    STARTUP: "start-up",
    IDLE: "idle",
    WARMUP: "warm-up",
    TRAIN: "training",
    VALIDATION_PHASE: "validation",
    EVALUATE: "test",
    INFERENCE_PHASE: "inference",
    WRITE: "writing",
    BETWEEN: "between these",
    _PAUSES: "pauses",
}


def describe_plan(
    plan: Plan, power: PowerAnalysis, cost: Cost, boards: BoardForecast | None = None
) -> str:
    """What a plan is, tests, costs and can show, a few lines each."""
    facts = {
        "Study": f"{plan.study}: {plan.about}" if plan.about else plan.study,
        "Design": _describe_design(plan, power),
        "Tests": _describe_tests(plan, power),
        "Cost": _describe_cost(plan, cost),
        **({"Boards": describe_boards(boards)} if boards else {}),
        "Power": _describe_power(power),
    }
    if until := plan.until:
        unit = find_metric(until.metric or PRIMARY).unit
        facts["Until"] = (
            f"two stages (Stein): the spread of {until.contrast} in the first "
            f"{count_of(plan.blocks, 'seed')} decides how many there are, so that the upper end "
            f"of its 95 % interval lies {until.width:g} {unit} above the lower; "
            f"{until.max_blocks} at most"
        )
    if plan.claims:
        stated = (f"{name}: {claim.statement}" for name, claim in sorted(plan.claims.items()))
        facts["Claims"] = f"{'; '.join(stated)} (Holm)"
    return _format_facts(facts)


def describe_plan_details(plan: Plan, power: PowerAnalysis, cost: Cost) -> str:
    """The rest: cost by part, order, equivalence, what earlier runs teach, the digest."""
    facts = {"Equal": _describe_equivalence(plan, power)}
    if power.learned:
        facts["Earlier"] = "; ".join(_describe_learned(power, each) for each in power.learned)
    facts["Order"] = _describe_balance(power)
    facts["Digest"] = plan.sha256
    tables = [_format_balance(power), _format_parts(plan, cost)]
    return "\n\n".join(part for part in (_format_facts(facts), *tables) if part)


def _format_facts(facts: Mapping[str, str]) -> str:
    """Each with its name in front, wrapped at the width of the terminal, 80 at most."""
    width = min(get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    indent = max(map(len, facts)) + 2
    return "\n".join(
        textwrap.fill(
            text,
            max(width, indent + 20),
            initial_indent=name.ljust(indent),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for name, text in facts.items()
    )


def _describe_design(plan: Plan, power: PowerAnalysis) -> str:
    """``2 × 2 (activation, regulariser), 8 seeds, 32 runs, order 20260301, each variant …``."""
    block = plan.block(1)
    if power.crossed:
        shape = f"2 × 2 ({', '.join(power.crossed)})"
    else:
        levels = {name: len({str(getattr(run, name)) for run in block}) for name in plan.factors}
        shape = " × ".join(f"{count} {name}" for name, count in levels.items())
        if plan.factors == ("variant",) or prod(levels.values()) > len(block):
            shape = count_of(len(block), _name_configurations(plan))
    parts = [
        shape,
        count_of(plan.blocks, "seed"),
        count_of(len(block) * plan.blocks, "run"),
        f"order {plan.order_seed}",
    ]
    if len(block) > 1:
        at = _format_counts(n for row in power.balance.places for n in row)
        parts.append(f"each {_name_configurations(plan)} {at} at each place")
    return ", ".join(parts)


def _name_configurations(plan: Plan) -> str:
    return "variant" if plan.factors == ("variant",) else "configuration"


def _describe_tests(plan: Plan, power: PowerAnalysis) -> str:
    """``energy and accuracy, 3 variants against relu-dropout: 6 tests, Holm``."""
    if not power.contrasts:
        return "none: a single configuration"
    metrics = " and ".join(_METRICS.get(name, name) for name in power.metrics)
    if power.family == "factors":
        among = f"{', '.join(power.contrasts)}"
    else:
        others = count_of(len(power.contrasts), _name_configurations(plan))
        among = f"{others} against {power.baseline}"
    tests = f"{count_of(power.tests, 'test')}, Holm"
    lowest = plan.analysis.lowest_status
    joules = "" if lowest == "measured" else f"; {lowest} joules will do"
    return f"{metrics}, {among}: {'exploratory, no test' if power.exploratory else tests}{joules}"


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
    places = (str(number + 1) for number in range(size))
    headings = ("times at place", *places, "after A", *letters[1:])
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
    """``about 1 h 45 min, 0.40 kWh measured, 0.9 GB (from 1 epoch of 5.0 s and 1.38 kJ)``."""
    if cost.time_s is None:
        return (
            f"unknown: no finished run with {cost.missing} to learn from; --pilot carries out one "
            "epoch"
        )
    energy = "joules unknown"
    if cost.energy_j is not None:
        is_small = cost.energy_j < _KWH_FROM_J
        words = human_energy(cost.energy_j) if is_small else f"{kwh_from_j(cost.energy_j):.2g} kWh"
        energy = f"{words} {cost.status}".rstrip()
    time = human_duration(cost.time_s + _rest_s(plan, cost))
    text = f"about {time}, {energy}, {human_size(cost.disk_bytes)}"
    if not cost.runs or not cost.parts:
        return text
    # An epoch with its validation.
    epoch = human_duration((cost.train_s or 0.0) / cost.epochs)
    total_j = sum_if_all_known(
        [part.energy_j for name, part in cost.parts.items() if name in EVERY_EPOCH]
    )
    if total_j is not None and cost.status:
        epoch += f" and {human_energy(total_j / cost.epochs)}"
    return f"{text} (from {count_of(cost.based_on_epochs, 'epoch')} of {epoch})"


def describe_boards(own: BoardForecast) -> str:
    """``on 4 boards about 27 min: 8 blocks, each a job; …``."""
    thing = "run" if own.is_spread else "block"
    text = (
        f"on {count_of(own.boards, 'board')} about {human_duration(own.wall_s)}: "
        f"{count_of(own.jobs, thing)}, each a job"
    )
    if own.jobs > 1:
        text += f" of {human_duration(own.longest_job_s)} at most"
    if own.boards_used < own.boards:
        why = f", for max_parallel is {own.at_once}" if own.at_once < own.jobs else ""
        text += f"; {own.boards - own.boards_used} of the boards have none{why}"
    return (
        f"{text}; {human_duration(own.board_s)} of boards in all. The joules are the same. "
        f"{JOB_OVERHEAD_S:g} s a job are in it, waiting in the queue is not"
    )


def _rest_s(plan: Plan, cost: Cost) -> float:
    return plan.pauses.rest_s * max(cost.runs - 1, 0)


def _list_parts(plan: Plan, cost: Cost) -> list[tuple[str, PartCost]]:
    """The parts that make up the cost, with the pauses, whose joules nobody reads."""
    parts = dict(cost.parts or {})
    if rest_s := _rest_s(plan, cost):
        parts[_PAUSES] = PartCost(rest_s, None)
    order = list(_PARTS)
    return sorted(parts.items(), key=lambda part: order.index(part[0]))


def _format_parts(plan: Plan, cost: Cost) -> str:
    """Time and joules by part, rounded so that the column adds up to its last line."""
    if not cost.parts:
        return ""
    parts = _list_parts(plan, cost)
    times = round_to_sum([part.time_s for _, part in parts])
    known = [part.energy_j for _, part in parts if part.energy_j is not None]
    energies: Iterator[str] = iter(())
    unit = ""
    if cost.energy_j is not None:
        divisor, unit = energy_scale(cost.energy_j)
        energies = iter(round_to_sum([energy_j / divisor for energy_j in known]))
    rows = [
        (_PARTS[name], time, next(energies, "–") if part.energy_j is not None else "–")
        for (name, part), time in zip(parts, times, strict=False)
    ]
    rows.append(("in all", times[-1], next(energies, "unknown")))
    heading = f"energy {unit}" if unit else "energy"
    return aligned_table(("part", "time s", heading), rows, right=("time s", heading))


def _describe_power(power: PowerAnalysis) -> str:
    """``8 seeds find an energy difference of 1.9 × its seed-to-seed s.d. in 80 of 100 studies``."""
    if power.p_floor is None or power.exploratory:
        return "nothing is tested"
    floor = (
        f"smallest attainable p {_format_p(power.p_floor)}, needed {_format_p(power.p_level or 0)}"
    )
    seeds = count_of(power.blocks, "seed")
    if not power.can_show:
        return f"{seeds} are too few to show anything; {power.blocks_wanted} can ({floor})"
    if power.detectable_d_z is None:
        return f"no difference is found in {TARGET_POWER:.0%} of studies; {floor}: ok"
    return (
        f"{seeds} find a difference of {power.detectable_d_z:.2g} × its seed-to-seed s.d. in "
        f"{100 * TARGET_POWER:.0f} of 100 studies; {floor}: ok"
    )


def _format_p(p: float) -> str:
    """``.0078``."""
    return f"{p:.2g}".removeprefix("0")


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


def build_plan_document(
    plan: Plan, power: PowerAnalysis, cost: Cost, boards: BoardForecast | None = None
) -> dict[str, Any]:
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
            "parts": {name: asdict(part) for name, part in _list_parts(plan, cost)},
            "time_s": None
            if cost.time_s is None
            else sum(part.time_s for _, part in _list_parts(plan, cost)),
            "train_s": cost.train_s,
            "rest_s": rest_s,
            "energy_j": cost.energy_j,
            "energy_status": cost.status or None,
            "disk_bytes": cost.disk_bytes,
            "based_on_runs": cost.based_on,
        },
        "boards": None if boards is None else asdict(boards),
    }


def describe_sweep(
    plan: Plan, outcome: SweepOutcome, account: Account, *, is_queued: bool = False
) -> str:
    """Counts, joules, waste; a queue's runs that are under way may still wait in it."""
    words = {"running": "waiting or running"} if is_queued else {}
    states = outcome.states()
    counts = ", ".join(
        f"{states[name]} {words.get(name, name)}" for name in _ORDER if name in states
    )
    lines = [
        f"{plan.study}: {counts} of {count_of(len(outcome.specs), 'run')}; "
        f"{outcome.started} {'submitted' if is_queued else 'carried out'} now",
        f"counted  {describe_sum(account.counted)}",
    ]
    if account.all_wasted.runs:
        parts = ", ".join(f"{kind} {describe_sum(own)}" for kind, own in account.wasted.items())
        lines.append(f"wasted   {describe_sum(account.all_wasted)}: {parts}")
    if outcome.interim_analyses:
        lines.append(describe_interim(outcome.interim_analyses[-1], plan.most_blocks))
    return "\n".join(lines)


def describe_sum(total: Sum) -> str:
    """Joules of whole runs by status, never added across them."""
    if not total.runs:
        return "no run"
    joules = " + ".join(f"{human_energy(j)} {status}" for status, j in total.energy_j.items())
    least = "at least " if total.unknown and joules else ""
    return f"{least}{joules or 'joules unknown'} ({count_of(total.runs, 'whole run')})"


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
