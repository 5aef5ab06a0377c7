"""What a run states of itself: quality, epochs, surroundings, predictions, scores."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamperings.bag import Bag
from tamperings.kinds import edited
from wbcbench.core.run_folder import RunDir


@edited("quality changed")
def other_quality(bag: Bag, rng: random.Random) -> None:
    worse = rng.choice(["suspect", "invalid"])
    bag.edit_record(
        bag.run(rng), lambda r: r.update(quality="valid" if r["quality"] == worse else worse)
    )


@edited("warnings removed")
def no_warnings(bag: Bag, rng: random.Random) -> None:
    run = rng.choice([r for r in bag.runs() if bag.json(r.record_path)["warnings"]])
    bag.edit_record(run, lambda r: r["warnings"].pop(rng.randrange(len(r["warnings"]))))
    bag.rederive(run)


@edited("status of a failed run made done")
def made_done(bag: Bag, rng: random.Random) -> None:
    every = bag.runs(done=False)
    failed = [r for r in every if bag.json(r.record_path)["status"] != "done"]
    run = rng.choice(failed or every)
    status = "done" if failed else "failed"
    bag.edit_record(run, lambda r: r.update(status=status, error=None))
    bag.rederive(run)


@edited("metric of an epoch edited in the record")
def other_epoch(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(record: Any) -> None:
        rng.choice(record["epochs"])["val_balanced_accuracy"] = 0.99

    bag.edit_record(run, change)
    bag.rederive(run)


@edited("metric of an epoch edited in marks, record and table")
def other_epoch_everywhere(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(message: dict[str, Any]) -> None:
        if "epoch" in message:
            message["epoch"]["val_balanced_accuracy"] = 0.93

    bag.edit_messages(run, change)
    bag.reaccount(run)


@edited("images seen made more, in marks, record and table")
def more_images(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(message: dict[str, Any]) -> None:
        if "epoch" in message:
            message["epoch"]["images_seen"] *= 2

    bag.edit_messages(run, change)
    bag.reaccount(run)


@edited("circumstances of a run edited (began.json)")
def other_circumstances(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(
        bag.run(rng).path / "began.json", lambda b: b["provenance"].update(loadavg_start=9.0)
    )


@edited("one run given another driver, everywhere")
def other_driver(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(value: Any) -> None:
        value["provenance"]["host_id"] = "0123456789ab"

    bag.edit_json(run.path / "began.json", change)
    bag.edit_record(run, change)
    bag.rederive(run)


@edited("one run given another lock, everywhere")
def other_lock(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(value: Any) -> None:
        value["provenance"]["lock_sha256"] = "ef" * 32

    bag.edit_json(run.path / "began.json", change)
    bag.edit_record(run, change)
    bag.rederive(run)


def edit_predictions(bag: Bag, run: RunDir, change: Callable[[dict[str, list[Any]]], None]) -> None:
    held = pq.read_table(run.predictions_path)
    columns = held.to_pydict()
    change(columns)
    out = io.BytesIO()
    pq.write_table(pa.table(columns, schema=held.schema), out, compression="zstd", version="2.6")
    bag.write(run.predictions_path, out.getvalue())


@edited("prediction of an image altered")
def altered_prediction(bag: Bag, rng: random.Random) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        wrong = [i for i, said in enumerate(columns["y_pred"]) if said != columns["y_true"][i]]
        at = rng.choice(wrong)
        columns["y_pred"][at] = columns["y_true"][at]

    edit_predictions(bag, bag.run(rng), change)


@edited("probability of an image altered")
def altered_probability(bag: Bag, rng: random.Random) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        at = rng.randrange(len(columns["file"]))
        columns["p_monocyte"][at] += 0.05

    edit_predictions(bag, bag.run(rng), change)


@edited("true class of images altered")
def altered_truth(bag: Bag, rng: random.Random) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        for at in rng.sample(range(len(columns["file"])), 3):
            columns["y_true"][at] = columns["y_pred"][at] = "EOSINOPHIL"

    edit_predictions(bag, bag.run(rng), change)


@edited("images dropped from the predictions")
def dropped_images(bag: Bag, rng: random.Random) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        for cells in columns.values():
            del cells[5:9]

    edit_predictions(bag, bag.run(rng), change)


@edited("accuracy edited in record, marks and table")
def other_accuracy(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(message: dict[str, Any]) -> None:
        if "scores" in message:
            message["scores"]["balanced_accuracy"] += 0.02

    bag.edit_messages(run, change)

    def changed(record: Any) -> None:
        for name in ("test", "test_leakage_free"):
            record[name]["balanced_accuracy"] += 0.02

    bag.edit_record(run, changed)
    bag.rederive(run)


@edited("interval over photographs narrowed")
def other_interval(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        low, high = record["test"]["interval"]
        record["test"]["interval"] = [low + 0.02, high - 0.02]

    bag.edit_record(bag.run(rng), change)
