"""Forged evidence inside a run: what was trained, how well, on what."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tamperings.forged_runs import move_edges, scale, span
from tamperings.kinds import forged
from tamperings.made_again import Forgery, Messages, UnfitError
from wbcbench.core.run_folder import PREDICTIONS, RunDir
from wbcbench.data.dataset import CLASSES


def labels_of(columns: dict[str, Any]) -> Any:
    """The true output of each image, in the order of the probabilities."""
    return np.array([CLASSES.index(name) + 1 for name in columns["y_true"]])


def correct(columns: dict[str, Any], chosen: Any) -> None:
    """Exchange the probability said highest for that of the true class, where chosen."""
    p, rows = columns["p"], np.flatnonzero(chosen)
    true, said = labels_of(columns)[rows], p[rows].argmax(axis=1)
    p[rows, true], p[rows, said] = p[rows, said].copy(), p[rows, true].copy()


def wrong(columns: dict[str, Any]) -> Any:
    return columns["p"].argmax(axis=1) != labels_of(columns)


def improve(share: float, rng: random.Random) -> Callable[[dict[str, Any]], None]:
    """Make a share of all images right that were wrong."""

    def change(columns: dict[str, Any]) -> None:
        rows = np.flatnonzero(wrong(columns)).tolist()
        count = min(len(rows), max(1, round(share * len(columns["file"]))))
        chosen = np.zeros(len(columns["file"]), bool)
        chosen[rng.sample(rows, count)] = True
        correct(columns, chosen)

    return change


def fit_validation(study: Forgery, run: RunDir) -> None:
    """Let the last epoch validate as the test says, as it does where both are the same images."""
    scores = [
        m["scores"] for m in _messages(study, run) if m.get("scores", {}).get("name") == "test"
    ]
    last = len(study.record(run)["epochs"])

    def change(epoch: dict[str, Any]) -> None:
        if epoch["index"] == last:
            epoch |= {"val_accuracy": scores[0]["accuracy"], "val_loss": scores[0]["loss"]}
            epoch["val_balanced_accuracy"] = scores[0]["balanced_accuracy"]

    study.edit_each(run, "epoch", change)


def _messages(study: Forgery, run: RunDir) -> Messages:
    import json

    return [json.loads(line) for line in run.marks_path.read_text().splitlines()]


# --- predictions ----------------------------------------------------------------------------------


@forged("predictions of two variants exchanged")
def exchanged_predictions(study: Forgery, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in study.runs()])
    if len(inside := study.runs(block=block)) < 2:
        raise UnfitError("no two runs")
    one, other = rng.sample(inside, 2)
    kept = {run.run_id: (run.path / PREDICTIONS).read_bytes() for run in (one, other)}
    for run, source in ((one, other), (other, one)):
        run.predictions_path.write_bytes(kept[source.run_id])
        study.rescore(run)


@forged("predictions improved by 5 %")
def improved(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_predictions(run, improve(0.05, rng))


@forged("predictions improved by 5 %, the last validation with them")
def improved_whole(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_predictions(run, improve(0.05, rng))
        fit_validation(study, run)


@forged("predictions made perfect")
def perfect(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_predictions(run, lambda columns: correct(columns, wrong(columns)))


@forged("wrong predictions thinned out")
def thinned(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):

        def change(columns: dict[str, Any]) -> None:
            rows = np.flatnonzero(wrong(columns)).tolist()
            keep = np.ones(len(columns["file"]), bool)
            keep[rng.sample(rows, len(rows) // 2)] = False
            for name in columns:
                columns[name] = columns[name][keep]

        study.edit_predictions(run, change)


@forged("wrong predictions thinned out, in every run and in the facts of the images")
def thinned_whole(study: Forgery, rng: random.Random) -> None:
    runs = study.runs()
    said = [_wrong_files(study, run) for run in runs]
    dropped = set.intersection(*said) or said[0]

    def change(columns: dict[str, Any]) -> None:
        keep = ~np.isin(columns["file"], list(dropped))
        for name in columns:
            columns[name] = columns[name][keep]

    for run in runs:
        study.edit_predictions(run, change)
        study.edit_each(run, "dataset", lambda d: d.update(n_test=d["n_test"] - len(dropped)))


def _wrong_files(study: Forgery, run: RunDir) -> set[str]:
    import pyarrow.parquet as pq

    rows = pq.read_table(run.predictions_path).to_pylist()
    return {row["file"] for row in rows if row["y_pred"] != row["y_true"]}


@forged("probabilities sharpened where they are right")
def sharpened(study: Forgery, rng: random.Random) -> None:
    def change(columns: dict[str, Any]) -> None:
        p = columns["p"] ** np.where(wrong(columns), 0.5, 2.0)[:, None]
        columns["p"] = p / p.sum(axis=1, keepdims=True)

    for run in study.runs(variant=study.variant(rng)):
        study.edit_predictions(run, change)


@forged("probabilities that add up to more than one")
def unnormalised(study: Forgery, rng: random.Random) -> None:
    def change(columns: dict[str, Any]) -> None:
        rows = np.flatnonzero(~wrong(columns))
        columns["p"][rows, labels_of(columns)[rows]] = 0.999

    for run in study.runs(variant=study.variant(rng)):
        study.edit_predictions(run, change)


@forged("true classes made what was predicted")
def other_truth(study: Forgery, rng: random.Random) -> None:
    def change(columns: dict[str, Any]) -> None:
        names = np.array(["UNUSED", *CLASSES])
        rows = np.flatnonzero(wrong(columns))[:10]
        said = columns["p"][rows, 1:].argmax(axis=1) + 1
        columns["y_true"][rows] = names[said]

    for run in study.runs(variant=study.variant(rng)):
        study.edit_predictions(run, change)


@forged("every image given a photograph of its own")
def own_photographs(study: Forgery, rng: random.Random) -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["original_id"] = np.arange(1, len(columns["file"]) + 1)

    for run in study.runs():
        study.edit_predictions(run, change)


@forged("flags of leakage cleared")
def cleared_leakage(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():

        def change(columns: dict[str, Any]) -> None:
            columns["also_in_train"] = np.zeros(len(columns["file"]), bool)

        study.edit_predictions(run, change)
        study.edit_each(run, "dataset", lambda dataset: dataset.update(n_test_leaky=0))


@forged("predictions of another run of the variant put in their place")
def borrowed_predictions(study: Forgery, rng: random.Random) -> None:
    runs = study.runs(variant=study.variant(rng))
    if len(runs) < 2:
        raise UnfitError("one run")
    for run in runs[1:]:
        run.predictions_path.write_bytes(runs[0].predictions_path.read_bytes())
        study.rescore(run)


# --- epochs ---------------------------------------------------------------------------------------


@forged("validation accuracy raised")
def raised_validation(study: Forgery, rng: random.Random) -> None:
    def change(epoch: dict[str, Any]) -> None:
        for name in ("val_accuracy", "val_balanced_accuracy"):
            epoch[name] = min(epoch[name] + 0.08, 1.0)

    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "epoch", change)


@forged("target reached an epoch earlier")
def earlier_target(study: Forgery, rng: random.Random) -> None:
    def change(epoch: dict[str, Any]) -> None:
        if epoch["index"] == 1:
            epoch["val_balanced_accuracy"] = 0.7531

    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "epoch", change)


@forged("accuracy while training raised")
def raised_training(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "epoch", lambda e: e.update(accuracy=min(e["accuracy"] + 0.3, 1.0)))


@forged("losses smoothed")
def smooth_losses(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():
        study.edit_each(run, "epoch", lambda e: e.update(loss=1.1 * 0.8 ** e["index"]))


@forged("images seen made twice as many")
def more_images(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "epoch", lambda e: e.update(images_seen=2 * e["images_seen"]))


@forged("steps of an epoch made fewer")
def fewer_steps(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(
            run, "model", lambda m: m.update(steps_per_epoch=max(1, m["steps_per_epoch"] // 2))
        )


@forged("last epoch cut away")
def no_last_epoch(study: Forgery, rng: random.Random) -> None:
    _cut_epoch(study, is_trace_closed=False)


@forged("last epoch cut away, and its time with it")
def no_last_epoch_whole(study: Forgery, rng: random.Random) -> None:
    _cut_epoch(study, is_trace_closed=True)


def _cut_epoch(study: Forgery, *, is_trace_closed: bool) -> None:
    """Ask for one epoch less everywhere, and take the last one out."""
    last = max(run.read_spec().epochs for run in study.runs())
    if last < 2:
        raise UnfitError("one epoch")
    for run in study.runs(done=False):
        epochs = study.record(run)["epochs"]
        if len(epochs) < last:
            continue
        start_s, end_s = epochs[-2]["evaluate_end_s"], epochs[-1]["evaluate_end_s"]

        def edit(messages: Messages, start_s: float = start_s) -> Messages:
            for message in messages:
                if message.get("mark") == "close" and message["window"] == "train":
                    message["t_s"] = start_s
            names = {f"epoch-{last}", f"validate-{last}"}
            return [
                m
                for m in messages
                if m.get("window") not in names and m.get("epoch", {}).get("index") != last
            ]

        study.edit_messages(run, edit)
        if is_trace_closed:
            _close_up(study, run, start_s, end_s)
    study.respec_all(lambda spec: True, epochs=last - 1)


def _close_up(study: Forgery, run: RunDir, start_s: float, end_s: float) -> None:
    """Take a span out of everything that has a time; counters go on where they were."""
    from tamperings.forged_runs import is_counter

    def change(name: str, t_s: Any, value: Any) -> Any:
        kept = (t_s <= start_s) | (t_s > end_s)
        if is_counter(study, run, name):
            lost_j = np.interp(end_s, t_s, value) - np.interp(start_s, t_s, value)
            value = np.where(t_s > end_s, value - lost_j, value)
        return t_s[kept], value[kept]

    study.edit_traces(run, change)
    study.drop_lines(run, lambda t_s: start_s < t_s <= end_s)
    length_s = end_s - start_s
    study.retime(run, lambda t_s: np.where(t_s > start_s, np.maximum(t_s - length_s, start_s), t_s))


# --- network --------------------------------------------------------------------------------------


@forged("operations of an image multiplied")
def more_operations(study: Forgery, rng: random.Random) -> None:
    by = rng.choice([2, 10])
    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "model", lambda m: m.update(flops_per_image=by * m["flops_per_image"]))


@forged("parameters multiplied")
def more_parameters(study: Forgery, rng: random.Random) -> None:
    def change(model: dict[str, Any]) -> None:
        model |= {name: 2 * model[name] for name in ("params_total", "params_trainable")}

    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "model", change)


@forged("parameters made fewer, in all variants alike")
def fewer_parameters(study: Forgery, rng: random.Random) -> None:
    def change(model: dict[str, Any]) -> None:
        model |= {name: model[name] // 2 for name in ("params_total", "params_trainable")}

    for run in study.runs():
        study.edit_each(run, "model", change)


@forged("device of the training renamed")
def other_device(study: Forgery, rng: random.Random) -> None:
    def change(model: dict[str, Any]) -> None:
        model["device"] = "CPU:0" if "GPU" in model["device"] else "GPU:0"

    for run in study.runs():
        study.edit_each(run, "model", change)


@forged("images of inference made ten times as many")
def more_inference(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_each(run, "inference", lambda i: i.update(images=10 * i["images"]))


@forged("inference made shorter")
def shorter_inference(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        move_edges(study, run, "infer-b64", end_s=-1.5)


# --- runs that did not end well -------------------------------------------------------------------


@forged("a run that did not end made done")
def made_done(study: Forgery, rng: random.Random) -> None:
    run = _broken(study, rng)
    study.edit_messages(
        run, lambda all_: [*(m for m in all_ if "failure" not in m), {"end": "done"}]
    )
    study.edit_record(run, lambda record: record.update(status="done", error=None))


@forged("a run that did not end filled with a copy of a good one")
def filled(study: Forgery, rng: random.Random) -> None:
    run = _broken(study, rng)
    fill(study, run, study.runs(variant=run.read_spec().variant), rng)


def _broken(study: Forgery, rng: random.Random) -> RunDir:
    done = {good.run_id for good in study.runs()}
    broken = [run for run in study.runs(done=False) if run.run_id not in done]
    if not broken:
        raise UnfitError("every run is done")
    return rng.choice(broken)


def fill(study: Forgery, run: RunDir, good: list[RunDir], rng: random.Random) -> None:
    """Give a run the evidence of a good one, at its own time and with small changes."""
    if not good:
        raise UnfitError("no good run of the variant")
    source = rng.choice(good)
    study.take_evidence(run, source)
    scale(study, run, 1.0 + rng.choice([-0.004, 0.003, 0.005]))
    study.edit_predictions(run, improve(0.02, rng))


def edges(study: Forgery, run: RunDir, window: str) -> tuple[float, float]:
    """When a window was opened and closed."""
    return span(_messages(study, run), window)
