"""Images, machine, commit, crate, documents, logs, and what is private."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from typing import Any

from tamperings.bag import Bag
from tamperings.kinds import edited
from wbcbench.bundle import layout


def edit_images(bag: Bag, change: Callable[[list[dict[str, str]]], None]) -> None:
    path = bag.data / layout.IMAGES
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    change(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, layout.IMAGE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    bag.write(path, out.getvalue())


@edited("image of TEST leaked into TRAIN")
def leaked(bag: Bag, rng: random.Random) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        row = rng.choice([r for r in rows if r["split"].lower() == "test"])
        rows.append({**row, "split": "train", "path": row["path"].replace("TEST", "TRAIN")})
        rows.sort(key=lambda r: r["path"])

    edit_images(bag, change)


@edited("label of an image edited in the list")
def other_label(bag: Bag, rng: random.Random) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        row = rng.choice([r for r in rows if r["split"].lower() == "test"])
        row["label"] = "MONOCYTE" if row["label"] != "MONOCYTE" else "NEUTROPHIL"

    edit_images(bag, change)


@edited("photograph of an image edited in the list")
def other_photograph(bag: Bag, rng: random.Random) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        row = rng.choice([r for r in rows if r["split"].lower() == "test"])
        row["group_id"] = str(int(row["group_id"] or 0) + 1)

    edit_images(bag, change)


@edited("data set edited in its document")
def other_dataset(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(bag.data / layout.DATASET, lambda d: d.update(licence="CC0", n_images=99))


@edited("setting or machine edited in config/ or env/")
def other_environment(bag: Bag, rng: random.Random) -> None:
    name = rng.choice([layout.RESOLVED, layout.ENVIRONMENT, layout.HOST])
    bag.edit_json(bag.data / name, lambda d: d.update(tensorflow_version="9.9"))


@edited("commit edited in code/git.json")
def other_commit(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(bag.data / layout.GIT, lambda d: d.update(commits=["0" * 40]))


@edited("time of an action edited in the crate")
def other_action(bag: Bag, rng: random.Random) -> None:
    def change(crate: Any) -> None:
        actions = [e for e in crate["@graph"] if e["@type"] == "CreateAction"]
        rng.choice(actions)["endTime"] = "2027-01-01T00:00:00Z"

    bag.edit_json(bag.data / layout.CRATE, change)


@edited("an action removed from the crate")
def no_action(bag: Bag, rng: random.Random) -> None:
    def change(crate: Any) -> None:
        action = next(e for e in crate["@graph"] if e["@type"] == "CreateAction")
        crate["@graph"].remove(action)

    bag.edit_json(bag.data / layout.CRATE, change)


@edited("a document removed")
def no_document(bag: Bag, rng: random.Random) -> None:
    bag.remove(bag.data / rng.choice([layout.README, layout.CITATION, layout.CHECKLIST]))


@edited("a token or a home folder put into the log")
def leaked_secret(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)
    line = rng.choice(["key: hf_" + "a1B2" * 9, "read /home/mallory/cells", "AKIA" + "A1B2" * 4])
    bag.write(run.log_path, run.log_path.read_text() + line + "\n")


@edited("another study put beside")
def another_study(bag: Bag, rng: random.Random) -> None:
    bag.copy(bag.results, bag.results.parent / "better")


@edited("a line of the log edited")
def other_log(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)
    bag.write(run.log_path, run.log_path.read_text() + "epoch 3: loss 0.01\n")
