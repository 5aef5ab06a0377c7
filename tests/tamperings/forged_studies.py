"""Forged studies: which runs there are, as what they were asked for, under which plan."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tamperings.forged_results import fill
from tamperings.forged_runs import move_calendar, scale
from tamperings.kinds import forged
from tamperings.made_again import Forgery, UnfitError
from wbcbench.core.run_folder import ATTACHED_TRACE, RunDir
from wbcbench.core.study_folder import PLAN
from wbcbench.study.plan import Plan

# --- which runs -----------------------------------------------------------------------------------


@forged("a failed run deleted and its repeat renumbered")
def renumbered(study: Forgery, rng: random.Random) -> None:
    again = {run.read_spec().block for run in study.runs(done=False, block_attempt=2)}
    if not again:
        raise UnfitError("nothing was repeated")
    for block in again:
        study.drop(study.runs(done=False, block=block, block_attempt=1))
        for run in study.runs(done=False, block=block):
            study.respec(run, block_attempt=1)


@forged("a failed run deleted, its repeat left as it is")
def deleted_failure(study: Forgery, rng: random.Random) -> None:
    again = {run.read_spec().block for run in study.runs(done=False, block_attempt=2)}
    if not again:
        raise UnfitError("nothing was repeated")
    for block in again:
        study.drop(study.runs(done=False, block=block, block_attempt=1))


@forged("a run deleted with its plan entry")
def deleted_run(study: Forgery, rng: random.Random) -> None:
    victim = study.run(rng).read_spec()
    study.keep_planned(lambda s: (s.block, s.variant) != (victim.block, victim.variant))


@forged("the last block dropped with its plan entry")
def no_last_block(study: Forgery, rng: random.Random) -> None:
    last = study.last_block()
    if last < 2:
        raise UnfitError("one block")
    study.keep_planned(lambda spec: spec.block < last)


@forged("the last block dropped, the plan left as it is")
def no_last_block_but_planned(study: Forgery, rng: random.Random) -> None:
    if (last := study.last_block()) < 2:
        raise UnfitError("one block")
    study.drop(study.runs(done=False, block=last))


@forged("a variant dropped with its plan entry")
def no_variant(study: Forgery, rng: random.Random) -> None:
    if len({spec.variant for spec in study.plan.runs}) < 3:
        raise UnfitError("two variants")
    dropped = study.variant(rng)
    study.keep_planned(lambda spec: spec.variant != dropped)


@forged("a block copied as a new one with small changes")
def copied_block(study: Forgery, rng: random.Random) -> None:
    old, new = rng.choice([r.read_spec().block for r in study.runs()]), study.last_block() + 1
    seed = 7 + max(run.read_spec().seed for run in study.runs())
    attempt = max(run.read_spec().block_attempt for run in study.runs(block=old))
    sources = study.runs(block=old, block_attempt=attempt)
    place = study.plan.runs[-1].order_global

    def add(made: Plan) -> Plan:
        runs = [
            replace(spec, block=new, seed=seed, order_global=place + i)
            for i, spec in enumerate(made.block(old), start=1)
        ]
        return replace(made, runs=(*made.runs, *runs), blocks=new)

    study.replan(add)
    for source in sources:
        spec = source.read_spec()
        new_place = place + spec.order_in_block
        changes = {"block": new, "seed": seed, "order_global": new_place, "block_attempt": 1}
        later_s = 600.0 * (new_place - spec.order_global)
        run = study.copy_run(source, later_s, **changes)
        fill(study, run, [run], rng)


@forged("a run copied in the place of another of its variant")
def copied_run(study: Forgery, rng: random.Random) -> None:
    runs = study.runs(variant=study.variant(rng))
    if len(runs) < 2:
        raise UnfitError("one run")
    run, source = rng.sample(runs, 2)
    fill(study, run, [source], rng)


@forged("the pilot dropped")
def no_pilot(study: Forgery, rng: random.Random) -> None:
    pilots = study.results / f"{study.name}-pilot"
    if not pilots.is_dir():
        raise UnfitError("no pilot")
    from shutil import rmtree

    rmtree(pilots)


@forged("two variants exchanged in one block")
def exchanged_runs(study: Forgery, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in study.runs()])
    if len(inside := study.runs(block=block)) < 2:
        raise UnfitError("no two runs")
    one, other = rng.sample(inside, 2)
    exchange(study, one, other, "variant", "order_in_block", "order_global")


@forged("two variants exchanged in every block, but for what each network says of itself")
def exchanged_variants(study: Forgery, rng: random.Random) -> None:
    first, second = sorted({run.read_spec().variant for run in study.runs()})[:2]
    for run in study.runs(variant=first):
        spec = run.read_spec()
        others = study.runs(variant=second, block=spec.block)
        if len(others) != 1:
            continue
        own, its = (find_messages(each, "model") for each in (run, others[0]))
        study.edit_each(run, "model", lambda model, its=its: model.update(its[0]))
        study.edit_each(others[0], "model", lambda model, own=own: model.update(own[0]))
        exchange(study, run, others[0], "variant", "order_in_block", "order_global")


def find_messages(run: RunDir, kind: str) -> list[dict[str, Any]]:
    """What the trainer said of one kind."""
    messages = map(json.loads, run.marks_path.read_text().splitlines())
    return [message[kind] for message in messages if kind in message]


def exchange(study: Forgery, one: RunDir, other: RunDir, *names: str) -> None:
    """Let two runs have been asked for what the other was, but for these fields alone."""
    a, b = one.read_spec(), other.read_spec()
    aside = study.respec(one, seed=999_983)
    study.respec(other, **{name: getattr(a, name) for name in names})
    study.respec(aside, seed=a.seed, **{name: getattr(b, name) for name in names})


# --- order ----------------------------------------------------------------------------------------


@forged("order of two runs of a block exchanged")
def exchanged_order(study: Forgery, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in study.runs()])
    if len(inside := study.runs(block=block, block_attempt=1)) < 2:
        raise UnfitError("no two runs")
    one, other = rng.sample(inside, 2)
    a, b = one.read_spec(), other.read_spec()
    to = {
        a.variant: (b.order_in_block, b.order_global),
        b.variant: (a.order_in_block, a.order_global),
    }
    _place(study, block, to)


def _place(study: Forgery, block: int, to: dict[str, tuple[int, int]]) -> None:
    """Let the runs of a block have stood elsewhere, in the plan, too."""

    def moved(made: Plan) -> Plan:
        runs = list(made.runs)
        for at, spec in enumerate(runs):
            if spec.block == block and spec.variant in to:
                inside, overall = to[spec.variant]
                runs[at] = replace(spec, order_in_block=inside, order_global=overall)
        return replace(made, runs=tuple(sorted(runs, key=lambda spec: spec.order_global)))

    study.replan(moved)
    for run in study.runs(done=False, block=block):
        if (variant := run.read_spec().variant) in to:
            inside, overall = to[variant]
            study.respec(run, order_in_block=inside, order_global=overall)


@forged("order of two blocks exchanged")
def exchanged_blocks(study: Forgery, rng: random.Random) -> None:
    blocks = sorted({spec.block for spec in study.plan.runs})
    again = {run.read_spec().block for run in study.runs(done=False, block_attempt=2)}
    if len(blocks) < 2 or again & set(blocks[-2:]):
        raise UnfitError("one block")
    one, other = blocks[-2:]
    seeds = {block: study.plan.block(block)[0].seed for block in (one, other)}
    swapped = {one: seeds[other], other: seeds[one]}

    def change(made: Plan) -> Plan:
        runs = (replace(s, seed=swapped.get(s.block, s.seed)) for s in made.runs)
        return replace(made, runs=tuple(runs))

    study.replan(change)
    places = {(s.block, s.variant): s for s in study.plan.runs}
    aside = [
        study.respec(run, block=900 + run.read_spec().block)
        for run in study.runs(done=False)
        if run.read_spec().block in swapped
    ]
    for run in aside:
        spec = run.read_spec()
        new = one if spec.block == 900 + other else other
        there = places[new, spec.variant]
        study.respec(
            run,
            block=new,
            order_in_block=there.order_in_block,
            order_global=there.order_global,
        )


# --- what was asked -------------------------------------------------------------------------------


@forged("seed of a block changed")
def other_seed(study: Forgery, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in study.runs()])
    study.respec_all(lambda spec: spec.block == block, seed=rng.randrange(2000, 9000))


@forged("learning rate changed")
def other_rate(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, learning_rate=0.002)


@forged("learning rate changed, as every epoch says it")
def other_rate_whole(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():
        study.edit_each(run, "epoch", lambda epoch: epoch.update(learning_rate=0.002))
    study.respec_all(lambda spec: True, learning_rate=0.002)


@forged("size of the images changed")
def other_size(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, image_size=160)


@forged("batch size changed")
def other_batch(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, batch_size=128)


@forged("batch size changed, the steps of an epoch with it")
def other_batch_whole(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(done=False):
        images = study.record(run)["dataset"]["n_train"]
        study.edit_each(
            run,
            "model",
            lambda m, n=images: m.update(steps_per_epoch=-(-n // 128)),
        )
    study.respec_all(lambda spec: True, batch_size=128)


@forged("precision changed")
def other_precision(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, precision="mixed_float16")


@forged("more epochs asked for than were trained")
def more_epochs(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, epochs=study.run(rng).read_spec().epochs + 4)


@forged("target of energy to accuracy lowered")
def lower_target(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, target_value=0.4)


@forged("country changed")
def other_country(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, country="SWE")


@forged("country changed, as CodeCarbon says it")
def other_country_whole(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(done=False):
        study.edit_began(run, lambda began: began["meters"]["codecarbon"].update(country="SWE"))
    study.respec_all(lambda spec: True, country="SWE")


@forged("wall meter's log taken away from every run")
def no_wall_meter(study: Forgery, rng: random.Random) -> None:
    attached = [run for run in study.all_runs() if run.has_attachment]
    if not attached:
        raise UnfitError("no wall meter")
    for run in attached:
        run.attachment_path.unlink()
        (run.path / ATTACHED_TRACE).unlink()


@forged("dropout of the dense layer changed")
def other_dropout(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, dropout_dense=0.25)


@forged("split of validation renamed")
def other_validation(study: Forgery, rng: random.Random) -> None:
    study.respec_all(lambda spec: True, validation="by-photograph")


# --- plan -----------------------------------------------------------------------------------------


@forged("plan backdated")
def backdated(study: Forgery, rng: random.Random) -> None:
    moment = datetime.fromisoformat(study.stored_utc) - timedelta(days=rng.choice([2, 9]))
    study.replan(lambda made: made, stored_utc=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


@forged("plan made after the runs, and dated before them")
def late_plan(study: Forgery, rng: random.Random) -> None:
    study.replan(
        lambda made: replace(made, order_seed=made.order_seed + 1, about="Made in time."),
        stored_utc=study.stored_utc[:-3] + "11Z",
    )


@forged("region of equivalence changed afterwards")
def other_region(study: Forgery, rng: random.Random) -> None:
    study.replan(
        lambda m: replace(m, analysis=replace(m.analysis, equivalent_pct=9.0, equivalent_pp=4.0))
    )


@forged("primary metric changed afterwards")
def other_metric(study: Forgery, rng: random.Random) -> None:
    study.replan(lambda m: replace(m, analysis=replace(m.analysis, metrics=("time_train_s",))))


@forged("baseline changed afterwards")
def other_baseline(study: Forgery, rng: random.Random) -> None:
    labels = sorted({spec.variant for spec in study.plan.runs})
    others = [label for label in labels if label != study.plan.analysis.baseline]
    if not others or study.plan.until:
        raise UnfitError("one variant, or a rule that names the baseline")
    new = rng.choice(others)
    study.replan(lambda m: replace(m, analysis=replace(m.analysis, baseline=new)))


@forged("tests given up afterwards")
def no_tests(study: Forgery, rng: random.Random) -> None:
    study.replan(lambda m: replace(m, analysis=replace(m.analysis, exploratory=True)))


@forged("stopping rule taken out of the plan")
def no_stopping_rule(study: Forgery, rng: random.Random) -> None:
    if study.plan.until is None:
        raise UnfitError("no stopping rule")
    study.replan(lambda made: replace(made, until=None))


@forged("seed of the order changed")
def other_order_seed(study: Forgery, rng: random.Random) -> None:
    study.replan(lambda made: replace(made, order_seed=made.order_seed + 7))


@forged("plan taken away, the runs single ones")
def unplanned(study: Forgery, rng: random.Random) -> None:
    (study.folder / PLAN).unlink()
    for run in study.runs(done=False):
        study.edit_began(run, lambda began: began["provenance"].pop("plan_sha256", None))


@forged("a plan without a date")
def undated(study: Forgery, rng: random.Random) -> None:
    from wbcbench.study import plan

    (study.folder / PLAN).write_bytes(plan.to_json(study.plan))


@forged("one run moved to another month")
def moved_run(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)
    move_calendar(study, [run], "2026-03", "2026-05")
    study.edit_began(
        run,
        lambda b: b["provenance"]["clock_pair"].update(
            utc_s=b["provenance"]["clock_pair"]["utc_s"] + 61 * 86400.0
        ),
    )


@forged("best run of each variant kept, the others made like it")
def best_of(study: Forgery, rng: random.Random) -> None:
    for variant in sorted({run.read_spec().variant for run in study.runs()}):
        runs = study.runs(variant=variant)
        for run in runs[1:]:
            fill(study, run, [runs[0]], rng)
            scale(study, run, 1.001)
