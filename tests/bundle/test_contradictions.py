"""Evidence is edited and the program makes everything else again: what contradicts itself is found.

The edits know the formats of a run's folder only.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.bundle import StudyDesign
from tamperings.bag import Bag
from tamperings.made_again import remake
from tamperings.trials import FORMATS, TWO, bundle
from wbcbench.bundle.document import Author
from wbcbench.bundle.open import read_predictions
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.neighbours import check_neighbours
from wbcbench.bundle.verify.plausible import check_runs
from wbcbench.bundle.verify.scores import check_leakage
from wbcbench.bundle.write import Order, submit
from wbcbench.core.run_folder import TRACES, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Trace
from wbcbench.core.trace_file import Polls, parquet_from_polls, read_parquet_polls
from wbcbench.data.dataset import CLASSES
from wbcbench.data.read import PUBLISHED_SHA256
from wbcbench.train.scores import score

pytestmark = pytest.mark.usefixtures("sketches")

ROOT = Path(__file__).parents[2]
Edit = Callable[[Bag], None]

COUNTER, POWER = "nvml/gpu0/counter", "nvml/gpu0/power"


def find(root: Path) -> dict[str, tuple[Status, str]]:
    """What the two checks say."""
    opened = load_bundle(root)
    return {
        name: (outcome.status, outcome.detail)
        for name, outcome in (("V18", check_runs(opened)), ("V19", check_neighbours(opened)))
    }


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Bag:
    room = tmp_path_factory.mktemp("contradictions")
    return Bag(bundle(StudyDesign(blocks=5, variants=TWO, epochs=2), room), room / "spare")


@pytest.fixture
def opened(bag: Bag) -> Iterator[Bag]:
    """The bundle, put back afterwards."""
    yield bag
    bag.restore()


# --- edits -------------------------------------------------------------------------------------


def first_run(bag: Bag) -> RunDir:
    return bag.runs()[0]


def runs_of(bag: Bag, variant: str = TWO[0]) -> list[RunDir]:
    return [run for run in bag.runs() if run.read_spec().variant == variant]


def edit_marks(bag: Bag, run: RunDir, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change messages; one that becomes false is left out."""
    messages = list(map(json.loads, run.marks_path.read_text().splitlines()))
    kept = [message for message in messages if change(message) is not False]
    bag.write(run.marks_path, "".join(json.dumps(message) + "\n" for message in kept))
    remake(run)


def in_marks(change: Callable[[dict[str, Any]], Any]) -> Edit:
    """An edit of the messages of one run."""
    return lambda bag: edit_marks(bag, first_run(bag), change)


def field(kind: str, name: str, change: Callable[[Any], Any]) -> Edit:
    """An edit of one field of every message of a kind."""

    def edit(message: dict[str, Any]) -> None:
        if kind in message:
            message[kind][name] = change(message[kind][name])

    return in_marks(edit)


def in_channels(channel: str, **changes: Any) -> Edit:
    """An edit of a channel of one run; by another name in its traces, too."""

    def edit(bag: Bag) -> None:
        run, path = first_run(bag), first_run(bag).path / TRACES

        def change(channels: Any) -> None:
            next(each for each in channels if each["name"] == channel).update(changes)

        bag.edit_json(run.path / "channels.json", change)
        if new := changes.get("name"):
            polls = [(n.replace(channel, new), t, v) for n, t, v in read_parquet_polls(path)]
            bag.write(path, parquet_from_polls(polls))
        remake(run)

    return edit


def leave_out(channel: str) -> Edit:
    """A channel that was never there, though its meter says that it reads it."""

    def edit(bag: Bag) -> None:
        run, path = first_run(bag), first_run(bag).path / TRACES
        held = json.loads((run.path / "channels.json").read_text())
        kept = [each for each in held if each["name"] != channel]
        bag.write(run.path / "channels.json", json.dumps(kept))
        polls = [each for each in read_parquet_polls(path) if each[0] != channel]
        bag.write(path, parquet_from_polls(polls))
        remake(run)

    return edit


def edit_traces(bag: Bag, run: RunDir, change: Callable[[Polls], Polls]) -> None:
    path = run.path / TRACES
    bag.write(path, parquet_from_polls([change(polls) for polls in read_parquet_polls(path)]))
    remake(run)


def scale(factor: float, *names: str, digits: int | None = 3) -> Callable[[Polls], Polls]:
    """Increments of a counter or watts times a factor, rounded as the sensor does."""

    def change(polls: Polls) -> Polls:
        name, t_s, values = polls
        if name not in names:
            return polls
        start = values[0] if name == COUNTER else 0.0
        scaled = [start + factor * (value - start) for value in values]
        return name, t_s, scaled if digits is None else [round(v, digits) for v in scaled]

    return change


def predict(bag: Bag, run: RunDir, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Other probabilities, with the scores that the trainer would have sent of them."""
    table, old = pq.read_table(run.predictions_path), read_predictions(run.predictions_path)
    labels = np.array([CLASSES.index(name) for name in old.y_true])
    new = change(old.probabilities.copy(), labels).astype(np.float32)
    columns = {name: table[name] for name in table.column_names}
    columns |= {name: pa.array(new[:, i]) for i, name in enumerate(old.outputs)}
    columns["y_pred"] = pa.array([("UNUSED", *CLASSES)[i] for i in new.argmax(axis=1)])
    out = io.BytesIO()
    pq.write_table(pa.table(columns).select(table.column_names), out)
    bag.write(run.predictions_path, out.getvalue())

    def rescore(message: dict[str, Any]) -> None:
        if "scores" in message:
            name = message["scores"]["name"]
            chosen = np.ones(len(labels), bool) if name == "test" else ~old.also_in_train
            photographs = old.original_id[chosen]
            again = score(new[chosen], labels[chosen], photographs, CLASSES)
            message["scores"] = {"name": name, **asdict(again)}

    edit_marks(bag, run, rescore)


def perfect(_: np.ndarray, labels: np.ndarray) -> np.ndarray:
    odds = np.random.default_rng(1).uniform(0.01, 0.05, (len(labels), 5))
    odds[np.arange(len(labels)), labels + 1] = 1.0
    return odds / odds.sum(axis=1, keepdims=True)


def take_predictions(bag: Bag) -> None:
    """Those of another network."""
    other = read_predictions(runs_of(bag, TWO[1])[0].predictions_path).probabilities
    predict(bag, runs_of(bag)[0], lambda *_: other)


def move_edges(**moves: dict[str, float]) -> Callable[[dict[str, Any]], None]:
    """Edges of windows: ``train={"open": 2.0}`` opens it two seconds later."""

    def change(message: dict[str, Any]) -> None:
        if "mark" in message:
            message["t_s"] += moves.get(message["window"], {}).get(message["mark"], 0.0)

    return change


def widen_validation(message: dict[str, Any]) -> None:
    """Over the last four seconds of training steps, windows and epochs alike."""
    edges = (("epoch-", "close"), ("validate-", "open"))
    if "mark" in message and any(
        message["window"].startswith(start) and message["mark"] == edge for start, edge in edges
    ):
        message["t_s"] -= 4.0
    if "epoch" in message:
        message["epoch"]["end_s"] -= 4.0


def cut_epoch(bag: Bag) -> None:
    """The last epoch was never made, and training ended before it."""
    run = first_run(bag)
    end_s = run.read_own_record().epochs[0].evaluate_end_s

    def change(message: dict[str, Any]) -> bool:
        if message.get("window") == "train" and message["mark"] == "close":
            message["t_s"] = end_s
        is_second = str(message.get("window")).endswith("-2")
        return not is_second and message.get("epoch", {}).get("index") != 2

    edit_marks(bag, run, change)


def shorten_epoch(message: dict[str, Any]) -> None:
    """The first epoch and its validation end two seconds earlier."""
    if message.get("window") in {"validate-1", "epoch-1"}:
        both = message["window"] == "validate-1" or message["mark"] == "close"
        message["t_s"] -= 2.0 if both else 0.0
    if message.get("epoch", {}).get("index") == 1:
        message["epoch"]["end_s"] -= 2.0
        message["epoch"]["evaluate_end_s"] -= 2.0


def cut_hole(bag: Bag) -> None:
    """Nothing was read for a second."""
    edit_traces(
        bag, first_run(bag), lambda polls: (polls[0], *(x[:300] + x[310:] for x in polls[1:]))
    )


def poll_otherwise(bag: Bag, change: Callable[[Polls], Polls]) -> None:
    """Other readings of the first run, which its sampler counted as they are."""
    run = first_run(bag)
    times = change(read_parquet_polls(run.path / TRACES)[0])[1]
    steps_s = np.diff(times)
    sampling = {"samples": len(times), "period_s": steps_s.mean(), "max_gap_s": steps_s.max()}

    def count(message: dict[str, Any]) -> None:
        for each in message.get("recorder", {}).get("sampling", ()):
            each.update(sampling)

    edit_marks(bag, run, count)
    edit_traces(bag, run, change)


def cut_polls(bag: Bag) -> None:
    """Nothing was read for four seconds."""
    poll_otherwise(bag, lambda polls: (polls[0], *(x[:300] + x[340:] for x in polls[1:])))


def hasten_polls(bag: Bag) -> None:
    """Those of training alone took nine tenths of their time, so that all that follow are early."""
    train = first_run(bag).read_own_record().window("train")
    assert train is not None

    def hasten(polls: Polls) -> Polls:
        name, t_s, values = polls
        early_s = 0.1 * (np.clip(t_s, train.start_s, train.end_s) - train.start_s)
        return name, (np.array(t_s) - early_s).tolist(), values

    poll_otherwise(bag, hasten)


def halve_time(message: dict[str, Any]) -> None:
    """The trainer took half of its processor time."""
    if "recorder" in message:
        message["recorder"]["trainer_cpu_s"] /= 2


def compress(bag: Bag) -> None:
    """All took four fifths of its time."""
    run = first_run(bag)

    def change(message: dict[str, Any]) -> None:
        for content in (message, message.get("epoch", {})):
            for name in content:
                if name.endswith("_s"):
                    content[name] *= 0.8

    polls = read_parquet_polls(run.path / TRACES)
    slower = [(name, [0.8 * t for t in t_s], values) for name, t_s, values in polls]
    bag.write(run.path / TRACES, parquet_from_polls(slower))
    edit_marks(bag, run, change)


def work_more(bag: Bag) -> None:
    """More processor time than there is."""
    run = first_run(bag)

    def change(lines: list[str]) -> list[str]:
        cells = [line.split(",") for line in lines[1:-1]]
        return [lines[0], *(f"{t},{3 * float(b)},{own},{n}" for t, b, own, n in cells), ""]

    bag.edit_lines(run.cpu_time_path, change)
    remake(run)


def in_variant(change: Callable[[Polls], Polls]) -> Edit:
    """An edit of the traces of every run of one variant."""

    def edit(bag: Bag) -> None:
        for run in runs_of(bag):
            edit_traces(bag, run, change)

    return edit


def infer_more(bag: Bag) -> None:
    """Ten times the images in every run of one variant."""

    def change(message: dict[str, Any]) -> None:
        if "inference" in message:
            message["inference"]["images"] *= 10

    for run in runs_of(bag):
        edit_marks(bag, run, change)


def copy_trace(bag: Bag) -> None:
    """The power of another run, a little more of it, at this run's own times."""
    one, other = runs_of(bag)[:2]
    power_w = {name: values for name, _, values in read_parquet_polls(one.path / TRACES)}[POWER]
    noise = np.random.default_rng(1).normal(0, 0.1, len(power_w))

    def change(polls: Polls) -> Polls:
        name, t_s, values = polls
        if name != POWER:
            return polls
        copied = [round(1.01 * w + x, 3) for w, x in zip(power_w, noise, strict=True)]
        return name, t_s, [*copied, *values][: len(values)]

    edit_traces(bag, other, change)


def copy_times(bag: Bag) -> None:
    """Another run's polls, later by as much as the run itself."""
    one, other = runs_of(bag)[:2]
    times = next(t_s for _, t_s, _ in read_parquet_polls(one.path / TRACES))

    def change(polls: Polls) -> Polls:
        name, t_s, values = polls
        moved = [round(t + t_s[0] - times[0], 6) for t in times[: len(t_s)]]
        return name, moved, values[: len(moved)]

    edit_traces(bag, other, change)


def copy_predictions(bag: Bag) -> None:
    """Those of another seed, each a little changed."""
    one, other = runs_of(bag)[:2]
    near = read_predictions(one.predictions_path).probabilities
    noise = np.exp(np.random.default_rng(1).normal(0, 0.02, near.shape))
    changed = near * noise / (near * noise).sum(axis=1, keepdims=True)
    predict(bag, other, lambda *_: changed)


def copy_losses(bag: Bag) -> None:
    one, other = runs_of(bag)[:2]
    losses = [epoch.loss for epoch in one.read_own_record().epochs]

    def change(message: dict[str, Any]) -> None:
        if "epoch" in message:
            message["epoch"]["loss"] = losses[message["epoch"]["index"] - 1]

    edit_marks(bag, other, change)


IN_RUNS: dict[str, tuple[Edit, str]] = {
    "parameters": (field("model", "params_total", lambda n: 2 * n), "params_total is"),
    "trainable": (field("model", "params_trainable", lambda n: n - 1), "params_trainable is"),
    "operations": (field("model", "flops_per_image", lambda n: n * 10), "flops_per_image is"),
    "steps": (field("model", "steps_per_epoch", lambda n: 2 * n), "steps an epoch do not feed"),
    "images seen": (field("epoch", "images_seen", lambda n: 2 * n), "epoch 1 saw 320 of 160"),
    "images of the data": (field("dataset", "n_test", lambda n: n - 1), "but TEST"),
    "learning rate": (field("epoch", "learning_rate", lambda x: 2 * x), "had the learning rate"),
    "torn batch": (field("inference", "images", lambda n: n + 1), "images, not batches of 64"),
    "accuracy raised": (field("epoch", "val_accuracy", lambda x: x + 0.0031), "no number of"),
    "balance raised": (field("epoch", "val_balanced_accuracy", lambda x: x + 0.001), "no number"),
    "training raised": (field("epoch", "accuracy", lambda x: x + 0.002), "no number of images"),
    "last accuracy": (field("epoch", "val_accuracy", lambda x: x - 0.05), "scored twice"),
    "last loss": (field("epoch", "val_loss", lambda x: 0.9 * (x or 0)), "scored twice"),
    "other predictions": (take_predictions, "scored twice with the same weights"),
    "perfect predictions": (lambda b: predict(b, first_run(b), perfect), "scored twice"),
    "rounded probabilities": (
        lambda b: predict(b, first_run(b), lambda p, _: np.round(p, 3)),
        "do not add up to one as closely",
    ),
    "train opened late": (in_marks(move_edges(train={"open": 2.0})), "the window train is not"),
    "train closed early": (in_marks(move_edges(train={"close": -2.0})), "the window train is not"),
    "validation widened": (in_marks(widen_validation), "every validation took"),
    "idle in the load": (
        in_marks(move_edges(idle_context={"open": 10.0, "close": 10.0})),
        "warmup begins before idle_context ends",
    ),
    "idle shortened": (in_marks(move_edges(idle_cold={"close": -1.0})), "less than 3 s"),
    "epoch cut": (cut_epoch, "tested after 1 of 2 epochs"),
    "load left out": (cut_epoch, "as in training"),
    "epoch shortened": (in_marks(shorten_epoch), "as in training"),
    "time compressed": (compress, "longer than it was polled"),
    "hole cut": (cut_hole, "readings; "),
    "polls cut": (cut_polls, "but only 0 were missed"),
    "polls hastened": (hasten_polls, "in less time than one every"),
    "trainer's time": (in_marks(halve_time), "of processor time, but"),
    "processor time": (work_more, "do not fit into"),
    "gain": (in_channels(COUNTER, gain_error=0.01), "gain_error 0.01"),
    "limit": (in_channels(COUNTER, limit_w=300.0), "limit_w 300.0"),
    "limit of the log": (in_channels(COUNTER, limit_w=300.0), "but the board's log 400 W"),
    "pace of a counter": (in_channels(COUNTER, update_s=0.3), "but a probe 0.1"),
    "pace of an estimate": (in_channels("codecarbon/cpu", update_s=0.5), "update_s 0.5, but"),
    "estimate left out": (leave_out("codecarbon/cpu"), "reads codecarbon/cpu, which is left out"),
    "images held out": (
        field("dataset", "sha256", lambda _: PUBLISHED_SHA256),
        "are not the 9,957 of TRAIN",
    ),
    "origin": (in_channels("codecarbon/cpu", origin="measured"), "origin measured"),
    "renamed": (
        in_channels("codecarbon/cpu", name="rapl/package-0/counter", origin="measured"),
        "belongs to no meter",
    ),
    "counter scaled": (
        lambda b: edit_traces(b, first_run(b), scale(0.96, COUNTER, digits=None)),
        "no multiple of",
    ),
}

BETWEEN_RUNS: dict[str, tuple[Edit, str]] = {
    "trace copied": (copy_trace, "has the power readings of"),
    "times copied": (copy_times, "has the times of polls of"),
    "predictions copied": (copy_predictions, "has the predictions of"),
    "losses copied": (copy_losses, "has the loss of each epoch of"),
    "many images": (infer_more, "images a second, in the other runs"),
    "counters scaled": (in_variant(scale(0.96, COUNTER)), "in the other runs"),
    "one counter scaled": (
        lambda b: edit_traces(b, first_run(b), scale(0.8, COUNTER)),
        "in the other runs",
    ),
    "all scaled": (in_variant(scale(0.9, COUNTER, POWER)), "% idle before"),
}


@pytest.mark.parametrize("kind", IN_RUNS)
def test_what_no_run_can_have_left_is_an_error(opened, kind):
    edit, words = IN_RUNS[kind]
    edit(opened)
    status, detail = find(opened.root)["V18"]
    assert status is Status.ERROR
    run = next(run for run in opened.runs() if run.run_id in detail)
    assert words in " ".join(_list_all(opened, run))


def _list_all(bag: Bag, run: RunDir) -> tuple[str, ...]:
    from wbcbench.bundle.verify.plausible import find_contradictions

    opened = load_bundle(bag.root)
    return find_contradictions(opened, next(r for r in opened.runs if r.run_id == run.run_id))


@pytest.mark.parametrize("kind", BETWEEN_RUNS)
def test_what_no_two_runs_can_have_left_is_an_error(opened, kind):
    edit, words = BETWEEN_RUNS[kind]
    edit(opened)
    status, detail = find(opened.root)["V19"]
    assert status is Status.ERROR
    assert words in detail


def test_which_published_images_train_shows_is_known(tmp_path):
    study = StudyDesign(blocks=1, variants=TWO[:1], epochs=1, published=True)
    bag = Bag(bundle(study, tmp_path), tmp_path / "spare")
    assert check_leakage(load_bundle(bag.root)).status is Status.WARNING
    path = first_run(bag).predictions_path
    table = pq.read_table(path)
    place = table.column_names.index("also_in_train")
    count = sum(table["also_in_train"].to_pylist())
    out = io.BytesIO()
    cleared = pa.array([False] * len(table))
    pq.write_table(table.set_column(place, "also_in_train", cleared), out)
    bag.write(path, out.getvalue())
    outcome = check_leakage(load_bundle(bag.root))
    assert outcome.status is Status.ERROR
    assert f"{count:,} images have another mark of TRAIN than published" in outcome.detail


# --- honest studies ----------------------------------------------------------------------------


def reset(spec: RunSpec, trace: Trace) -> Trace:
    """A counter that starts again in every second run, and a reading that fails now and then."""
    values = list(trace.value)
    if spec.block % 2 and trace.channel.name == COUNTER:
        half = len(values) // 2
        values[half:] = [v - values[half - 1] for v in values[half:]]
    return replace(trace, value=[None if i % 97 == 5 else v for i, v in enumerate(values)])


HONEST = {
    "as planned": StudyDesign(blocks=3, epochs=3),
    "without a GPU, by photograph": StudyDesign(
        blocks=2, gpu=False, changes={"validation": "by-photograph", "idle_s": 0.0}
    ),
    "with failures": StudyDesign(
        blocks=2,
        published=True,
        ends=lambda s: ("done", "failed", "interrupted", "unwatched")[s.order_global % 4],
        again=(2,),
    ),
    "on a board that stumbles": StudyDesign(blocks=2, variants=TWO, epochs=3, bend=reset),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_study_contradicts_itself_nowhere(name, tmp_path):
    found = find(bundle(HONEST[name], tmp_path))
    assert {check: status for check, (status, _) in found.items()} == {
        "V18": Status.OK,
        "V19": Status.OK,
    }, found


def go_on(spec: RunSpec, trace: Trace) -> Trace:
    """A counter that has counted for long, and goes on from run to run."""
    before_j = 1e7 + 2e4 * spec.order_global if trace.channel.name == COUNTER else 0.0
    return replace(trace, value=[v + before_j for v in trace.value])


def test_a_counter_goes_on_whatever_the_wall_clock_is_set_to_between_the_runs(tmp_path):
    room = Bag(
        bundle(StudyDesign(blocks=1, variants=TWO, epochs=1, bend=go_on), tmp_path),
        tmp_path / "spare",
    )
    last = max(room.runs(), key=lambda run: run.read_spec().order_global)
    record = json.loads(last.record_path.read_bytes())
    record["provenance"]["clock_pair"]["utc_s"] -= 3000.0
    last.record_path.write_text(json.dumps(record))
    status, detail = find(room.root)["V19"]
    assert status is Status.OK, detail


def test_real_runs_contradict_themselves_nowhere(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished[0], results)
    shutil.copytree(ROOT / "results" / "example", results / "example")
    for study in sorted(path.name for path in results.iterdir() if path.is_dir()):
        authors, out = (Author("Alice Doe"),), tmp_path / study
        order = Order(
            results, study, authors, "MIT", out=out, formats=FORMATS, allow_synthetic=True
        )
        found = find(submit(order).path)
        assert {status for status, _ in found.values()} == {Status.OK}, found
