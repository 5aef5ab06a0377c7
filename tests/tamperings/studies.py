"""Which runs there are, with which seeds, in which tables, under which plan."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from dataclasses import replace
from typing import Any

from tamperings.bag import Bag
from tamperings.kinds import edited
from wbcbench.bundle import layout
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.study import plan


def respec(bag: Bag, run: RunDir, **changes: Any) -> RunDir:
    """The run with another spec, under the name that this makes."""
    spec = run.read_spec()
    new = replace(spec, **changes)
    for name in ("spec.json", "record.json"):
        bag.edit_json(
            run.path / name,
            lambda value: value.get("spec", value).update(changes),
        )
    bag.edit_record(run, lambda record: record.update(run_id=new.run_id))
    moved = RunDir(run.path.parent / new.run_id)
    bag.move(run.path, moved.path)
    bag.rederive(moved)
    return moved


@edited("seed changed in the spec")
def other_seed(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)
    bag.edit_json(run.path / "spec.json", lambda spec: spec.update(seed=7))


@edited("seed changed everywhere, the run renamed")
def other_seed_everywhere(bag: Bag, rng: random.Random) -> None:
    respec(bag, bag.run(rng), seed=rng.randrange(10_000))


@edited("learning rate changed everywhere, the run renamed")
def other_rate(bag: Bag, rng: random.Random) -> None:
    respec(bag, bag.run(rng), learning_rate=0.001)


@edited("two variants exchanged, everywhere")
def swapped_variants(bag: Bag, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in bag.runs()])
    inside = [run for run in bag.runs() if run.read_spec().block == block]
    one, other = rng.sample(inside, 2)
    a, b = one.read_spec(), other.read_spec()
    _exchange(bag, one, other, a, b)


@edited("two runs exchanged: folders under each other's names")
def swapped_runs(bag: Bag, rng: random.Random) -> None:
    one, other = bag.two(rng)
    spare = bag.results / "spare"
    bag.move(one.path, spare)
    bag.move(other.path, one.path)
    bag.move(spare, other.path)


def _exchange(bag: Bag, one: RunDir, other: RunDir, a: RunSpec, b: RunSpec) -> None:
    """The measurements of ``a`` get the name of ``b``, and the other way round."""
    from dataclasses import asdict

    spare = bag.results / "spare"
    bag.move(one.path, spare)
    bag.move(other.path, one.path)
    bag.move(spare, other.path)
    for run, spec in ((one, a), (other, b)):
        plain = json.loads(json.dumps(asdict(spec)))
        bag.edit_json(run.path / "spec.json", lambda value, plain=plain: value.update(plain))
        bag.edit_record(
            run, lambda r, spec=spec, plain=plain: r.update(run_id=spec.run_id, spec=plain)
        )
        bag.reaccount(run)


@edited("failed run dropped, table made to fit")
def dropped_failed(bag: Bag, rng: random.Random) -> None:
    every = bag.runs(done=False)
    failed = [r for r in every if bag.json(r.record_path)["status"] != "done"]
    bag.remove(rng.choice(failed or every).path)
    bag.retable()


@edited("done run dropped, table made to fit")
def dropped_done(bag: Bag, rng: random.Random) -> None:
    bag.remove(bag.run(rng).path)
    bag.retable()


@edited("last block dropped, table made to fit")
def dropped_block(bag: Bag, rng: random.Random) -> None:
    last = max(run.read_spec().block for run in bag.runs(done=False))
    for run in bag.runs(done=False):
        if run.read_spec().block == last:
            bag.remove(run.path)
    bag.retable()


@edited("block duplicated under another seed")
def duplicated_block(bag: Bag, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in bag.runs()])
    for run in bag.runs():
        if run.read_spec().block == block:
            extra = RunDir(bag.results / "extra")
            bag.copy(run.path, extra.path)
            respec(bag, extra, seed=4242, block=99)


@edited("row of the table edited")
def other_cell(bag: Bag, rng: random.Random) -> None:
    column = rng.choice(["primary_energy_train_j", "balanced_accuracy", "time_train_s", "seed"])
    path = bag.results / layout.RUNS_TABLE
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    row = rng.choice([r for r in rows if r[column]])
    row[column] = str(float(row[column]) * 0.98)
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    bag.write(path, out.getvalue())


@edited("row of the table removed")
def no_row(bag: Bag, rng: random.Random) -> None:
    path = bag.results / layout.RUNS_TABLE
    bag.edit_lines(path, lambda lines: [*lines[:2], *lines[3:]])


@edited("epochs.csv, phases.csv or boamps.json edited")
def other_side_file(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)
    name = rng.choice(["epochs.csv", layout.PHASES, layout.BOAMPS])
    path = run.path / name
    number = rng.choice(re.findall(r"\d+\.\d+", path.read_text())[:10])
    bag.edit_text(path, number, f"{float(number) * 0.9 + 1:.4f}")


@edited("plan dated after the first run")
def late_plan(bag: Bag, rng: random.Random) -> None:
    def change(document: Any) -> None:
        document["stored_utc"] = "2026-12-24T18:00:00Z"

    bag.edit_json(bag.results / layout.PLAN, change)


@edited("plan edited under its old digest")
def edited_plan(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(
        bag.results / layout.PLAN,
        lambda d: d["plan"]["analysis"].update(equivalent_pct=rng.choice([1.0, 5.0, 9.0])),
    )


@edited("plan edited, with a new digest")
def replanned(bag: Bag, rng: random.Random) -> None:
    path = bag.results / layout.PLAN
    made = plan.from_json(path)
    kept = bag.json(path)["stored_utc"]
    region = replace(made.analysis, equivalent_pct=rng.choice([1.0, 5.0, 9.0]))
    bag.write(path, plan.to_json(replace(made, analysis=region), kept))


@edited("plan removed")
def unplanned(bag: Bag, rng: random.Random) -> None:
    bag.remove(bag.results / layout.PLAN)
