"""Honest studies made without training: folders whose every number follows from what lies beside.

Only the outermost edges are made up: what a GPU's sensor would have said of a known load, and what
a network would have predicted. Everything else is the program's own work on them: the plan, the
run folders, joules and doubts from traces and marks, scores from predictions, the table. Nothing in
them is marked synthetic, for to the program these are readings; use them in tests alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from records_factory import make_model
from wbcbench import table
from wbcbench.data import CLASSES, ImageSet
from wbcbench.data.digest import PUBLISHED_ID, PUBLISHED_SHA256, dataset_sha256
from wbcbench.data.photographs import published_images
from wbcbench.joules.energy import Channel, Domain, Kind, Origin, Trace
from wbcbench.planning import plan
from wbcbench.planning.experiment import Experiment, Pauses, SubmissionDetails
from wbcbench.reckoning import aftermath
from wbcbench.reckoning.accounting import account
from wbcbench.reckoning.finalise import NOBODY_WATCHED
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import (
    AbsentMeter,
    Circumstances,
    DatasetFacts,
    Epoch,
    Failure,
    Sampling,
    Status,
)
from wbcbench.runs.rundir import RunDir
from wbcbench.runs.study import RunSpec
from wbcbench.sensors.board_state import COLUMNS, BoardSample, to_line
from wbcbench.training.predictions import write_predictions
from wbcbench.training.scores import score

VARIANTS = ("leaky-dropout", "relu-dropout", "leaky-batchnorm", "relu-batchnorm")
KEPT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
FIRST_S = 5000.0  # monotonic, when the plan was kept
EVERY_S = 600.0  # from run to run: longer than the longest that is made, 25 epochs
UUID = "GPU-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901"
SERIAL = "1320221045678"
HOME = "/home/alice"
HOST = "alices-tower"

COUNTER = Channel(
    "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy",
    update_s=0.1, gain_error=0.05, limit_w=400.0, device=UUID,
)  # fmt: skip
POWER = Channel(
    "nvml/gpu0/power", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, "power_instant",
    update_s=0.1, gain_error=0.05, limit_w=400.0, device=UUID, averaging_s=0.1,
)  # fmt: skip
MODEL = Channel(
    "codecarbon/cpu", Kind.COUNTER, Origin.MODELLED, Domain.CPU, "tdp_load",
    update_s=1.0, limit_w=65.0,
)  # fmt: skip
NVML = {
    "index": 0,
    "name": "Example GPU",
    "uuid": UUID,
    "serial": SERIAL,
    "driver": "555.42.06",
    "mig_mode": False,
    "power_limit_enforced_w": 400.0,
}
CODECARBON = {
    "codecarbon_version": "3.3.2",
    "country": "DEU",
    "lock": f"{HOME}/.codecarbon.lock",
    "parts": {"cpu": {"mode": "cpu_load", "tdp_w": 65}},
}


@dataclass(frozen=True)
class Made:
    """What a made study is drawn from.

    Attributes:
        study, blocks, variants, seed, epochs: Of the plan; ``seed`` draws everything else.
        planned: Whether a plan was kept before the first run.
        gpu: A GPU with its sensors, or a bare machine with a model alone.
        published: The published TEST set (2,487 images), or a small set of its own (120).
        ends: How each run ends: ``done``, ``failed``, ``interrupted`` or ``unwatched``.
        again: Blocks that were carried out twice, the first time with a failed run.
        joules: Variant → factor on the power of training.
        changes: Fields of every spec.
        facts: What else stands in the provenance of every run.
        submission: Of the plan.
    """

    study: str = "study"
    blocks: int = 3
    variants: Sequence[str] = VARIANTS
    seed: int = 1
    epochs: int = 4
    planned: bool = True
    gpu: bool = True
    published: bool = False
    ends: Callable[[RunSpec], str] = lambda _: "done"
    again: Sequence[int] = ()
    joules: Mapping[str, float] = field(default_factory=lambda: {"relu-batchnorm": 0.93})
    changes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    submission: SubmissionDetails = field(default_factory=SubmissionDetails)


def honest_study(results: Path, made: Made | None = None) -> Path:
    """Write a whole study; returns its folder, ``results/<study>``."""
    made = made or Made()
    the_plan = plan.plan(_experiment(made))
    folder = results / made.study
    folder.mkdir(parents=True)
    if made.planned:
        (folder / plan.FILE_NAME).write_bytes(plan.to_json(the_plan, _utc(FIRST_S)))
    for place, (spec, end) in enumerate(_carryings_out(made, the_plan)):
        _carry_out(results, spec, made, FIRST_S + 60.0 + EVERY_S * place, end, the_plan.sha256)
    table.write_table(folder)
    return folder


def _experiment(made: Made) -> Experiment:
    return Experiment(
        study=made.study,
        seeds=tuple(1000 + made.seed * 100 + i for i in range(1, made.blocks + 1)),
        blocks=made.blocks,
        factors={"variant": tuple(made.variants)},
        run={"epochs": made.epochs, "target_value": 0.6, **made.changes},
        about="Made for a test.",
        pauses=Pauses(rest_s=1.0),
        submission=made.submission,
    )


def _carryings_out(made: Made, the_plan: plan.Plan) -> Iterator[tuple[RunSpec, str]]:
    """Every run in its order, with the images' identity; a spoiled block comes twice."""
    for number in range(1, the_plan.most_blocks + 1):
        specs = [_with_images(spec, made) for spec in the_plan.block(number)]
        if number in made.again:
            yield specs[0], "done"
            yield specs[1], "failed"
            specs = [replace(spec, block_attempt=2) for spec in specs]
        for spec in specs:
            yield spec, made.ends(spec)


def _with_images(spec: RunSpec, made: Made) -> RunSpec:
    dataset_id, sha256 = identity(published=made.published)
    return replace(spec, dataset_id=dataset_id, dataset_sha256=sha256)


# --- images ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """One image as the data manifest lists it."""

    name: str
    sha256: str
    original_id: int
    group_id: int
    seen_in_train: bool


@cache
def listed(*, published: bool) -> tuple[Listed, ...]:
    """Every image of TRAIN and TEST, by name."""
    if published:
        known = published_images().items()
        rows = [Listed(p.name, sha, p.original_id, p.group_id, p.seen_in_train) for sha, p in known]
        return tuple(sorted((r for r in rows if "_SIMPLE" not in r.name), key=lambda r: r.name))
    return tuple(sorted(_own_images(), key=lambda each: each.name))


def _own_images() -> Iterator[Listed]:
    """4 classes × (8 + 6) photographs × 5 images; no photograph in both."""
    photograph = 0
    for split, photographs in (("TRAIN", 8), ("TEST", 6)):
        for label in CLASSES:
            for _ in range(photographs):
                photograph += 1
                for copy in range(5):
                    name = f"{split}/{label}/_{photograph}_{copy}.jpeg"
                    digest = f"{hash_of(name):064x}"
                    leaks = split == "TEST" and photograph % 9 == 0
                    yield Listed(name, digest, photograph, photograph, leaks)


def hash_of(name: str) -> int:
    """A number that stands for the content of an image of that name."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"pixels of {name}".encode()).digest())


@cache
def identity(*, published: bool) -> tuple[str, str]:
    """Name and digest of the data set."""
    if published:
        return PUBLISHED_ID, PUBLISHED_SHA256
    sha256 = dataset_sha256((each.name, each.sha256) for each in listed(published=False))
    return f"custom-{sha256[:8]}", sha256


@cache
def test_images(*, published: bool) -> ImageSet:
    """TEST without pixels."""
    found = [each for each in listed(published=published) if each.name.startswith("TEST/")]
    return ImageSet(
        images=np.zeros((len(found), 1, 1, 3), np.uint8),
        labels=np.array([CLASSES.index(each.name.split("/")[1]) for each in found]),
        files=tuple(each.name for each in found),
        sha256=tuple(each.sha256 for each in found),
        group_id=np.array([each.group_id for each in found]),
        original_id=np.array([each.original_id for each in found]),
        seen_in_train=np.array([each.seen_in_train for each in found]),
    )


# --- one run -----------------------------------------------------------------------------------


def _carry_out(
    results: Path, spec: RunSpec, made: Made, start_s: float, end: str, plan_sha256: str
) -> None:
    run = RunDir(results / spec.study / spec.run_id)
    facts = plan_sha256 if made.planned else None
    run.create(spec, Local(data=f"{HOME}/cells", plan_sha256=facts))
    rng = np.random.default_rng([made.seed, spec.seed, VARIANTS.index(spec.variant)])
    load = Load(spec, start_s, made, rng)
    # A trainer that fails has got through its first epoch; a kill leaves every window open.
    script = Script(load, spec, made, rng, until=None if end == "done" else load.epoch_s(2)[0])
    channels = (COUNTER, POWER, MODEL) if made.gpu else (MODEL,)
    run.write_channels(channels)
    _write_traces(run, load, script.end_s + 1.0, made, rng)
    began = _began(spec, start_s, made, facts)
    run.write_began(began)
    run.marks_path.write_text("".join(json.dumps(m) + "\n" for m in script.messages(run)))
    run.log_path.write_text(f"Reading {HOME}/cells\nalice@{HOST}: trained\n")
    status, error = _ENDS[end]
    seen = began if end == "unwatched" else _seen(began, channels, script.end_s - start_s)
    record = replace(account(run, seen, status, error), ended_utc=_utc(script.end_s + 2.0))
    run.write_record(record)
    if record.epochs:
        run.epochs_path.write_bytes(aftermath.epochs_csv(record))


_ENDS: Mapping[str, tuple[Status, Failure | None]] = {
    "done": ("done", None),
    "failed": ("failed", Failure("killed", "The trainer was ended by signal 9 (SIGKILL).", -9)),
    "interrupted": ("interrupted", Failure("interrupted", "Stopped by the user.")),
    "unwatched": ("interrupted", NOBODY_WATCHED),
}


def _utc(at_s: float) -> str:
    moment = KEPT + timedelta(seconds=at_s - FIRST_S)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _began(spec: RunSpec, start_s: float, made: Made, plan_sha256: str | None) -> Circumstances:
    known = {"plan_sha256": plan_sha256} if plan_sha256 else {}
    provenance = {
        "host_id": "5f1e9c5f1e9c",
        "wbcbench_version": "0.1.0",
        "command": ["wbcbench", "sweep", "plan.json", "--data", f"{HOME}/cells"],
        "git_commit": None,
        "git_dirty": None,
        "lock_sha256": "cd" * 32,
        "python_version": "3.11.7",
        "os": "Linux-6.1-x86_64",
        "packages": {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
        "cpu_model": "Example CPU 2.0 GHz",
        "cpu_count": 8,
        "cpu_governor": "performance",
        "ram_bytes": 33_000_000_000,
        "loadavg_start": 0.01,
        "in_container": False,
        "virtualised": False,
        "clock_pair": {"utc_s": KEPT.timestamp() + start_s - FIRST_S, "monotonic_s": start_s},
    }
    meters = {"codecarbon": CODECARBON} | ({"nvml/gpu0": NVML} if made.gpu else {})
    absent = AbsentMeter("rapl", "There is no /sys/class/powercap, so CPU energy cannot be read.")
    return Circumstances(_utc(start_s), {**provenance, **known, **made.facts}, meters, (absent,))


def _seen(began: Circumstances, channels: Sequence[Channel], length_s: float) -> Circumstances:
    names = sorted({channel.name.rsplit("/", 1)[0] for channel in channels})
    sampling = tuple(Sampling(name, 0.1, 0.1, 0.13, round(length_s * 10), 0, 0) for name in names)
    return replace(
        began,
        sampling=sampling,
        watcher_cpu_s=0.6,
        trainer_cpu_s=0.9 * length_s,
        trainer_rss_peak_bytes=1_500_000_000,
    )


class Load:
    """What the machine draws: idle, then a load that differs a little from epoch to epoch."""

    VALIDATE_S = 1.2

    def __init__(self, spec: RunSpec, start_s: float, made: Made, rng: np.random.Generator) -> None:
        block = np.random.default_rng([made.seed, spec.seed]).normal(0, 0.01)
        factor = made.joules.get(spec.variant, 1.0) * math.exp(block + rng.normal(0, 0.004))
        self.busy_w, self.idle_w = 240.0 * factor, 58.0
        self.start_s = start_s
        self.train_s = start_s + 12.0
        self.lengths_s = 7.5 * (1 + 0.01 * rng.normal(size=spec.epochs))

    def epoch_s(self, index: int) -> tuple[float, float]:
        """Start and end of the training steps of an epoch, counted from 1."""
        before = float(self.lengths_s[: index - 1].sum()) + self.VALIDATE_S * (index - 1)
        return self.train_s + before, self.train_s + before + float(self.lengths_s[index - 1])

    @property
    def busy_s(self) -> tuple[float, float]:
        """From the warm-up to the end of the last inference window."""
        return self.train_s - 2.0, self.epoch_s(len(self.lengths_s))[1] + self.VALIDATE_S + 9.0

    def power_w(self, t_s: np.ndarray) -> np.ndarray:
        start_s, end_s = self.busy_s
        return np.where((t_s >= start_s) & (t_s < end_s), self.busy_w, self.idle_w)

    def energy_j(self, t_s: np.ndarray) -> np.ndarray:
        start_s, end_s = self.busy_s
        busy_s = np.clip(t_s, start_s, end_s) - start_s
        return self.idle_w * (t_s - self.start_s) + (self.busy_w - self.idle_w) * busy_s


@dataclass(frozen=True)
class Script:
    """What the trainer and the watcher tell of one run, up to a kill at ``until``."""

    load: Load
    spec: RunSpec
    made: Made
    rng: np.random.Generator
    until: float | None

    @property
    def end_s(self) -> float:
        """When the last window ends."""
        return self.load.busy_s[1] + 4.0 if self.until is None else self.until + 3.0

    def messages(self, run: RunDir) -> list[dict[str, Any]]:
        told = sorted(self._all(run), key=lambda pair: pair[0])
        if self.until is None:
            return [message for _, message in told]
        return [message for t_s, message in told if t_s <= self.until + 2.0]

    def _all(self, run: RunDir) -> Iterator[tuple[float, dict[str, Any]]]:
        start_s, train_s = self.load.start_s, self.load.train_s
        end_s = self.load.busy_s[1]
        yield from _window("idle_cold", start_s + 0.5, start_s + 3.5)
        yield from _window("startup", start_s + 3.5, train_s - 5.2)
        yield train_s - 6.0, {"dataset": asdict(self._dataset())}
        yield train_s - 5.5, {"model": asdict(self._model())}
        yield from _window("idle_context", train_s - 5.2, train_s - 2.2)
        yield from _window("warmup", train_s - 2.0, train_s - 0.1)
        yield from _window("train", train_s, end_s - 9.0)
        for index in range(1, self.spec.epochs + 1):
            yield from self._epoch(index)
        yield from _window("evaluate", end_s - 8.5, end_s - 6.5)
        if self.until is None:
            for name, scores in self._scored(run):
                yield end_s - 6.4, {"scores": {"name": name, **asdict(scores)}}
        for name, batch, at_s in (("infer-b1", 1, -6.2), ("infer-b64", 64, -3.1)):
            yield from _window(name, end_s + at_s, end_s + at_s + 3.0)
            told = {"window": name, "batch_size": batch, "images": 300 * batch}
            yield end_s + at_s + 3.0, {"inference": told}
        yield end_s + 0.2, {"end": "done"}
        yield from _window("idle_post", end_s + 1.0, end_s + 4.0)

    def _epoch(self, index: int) -> Iterator[tuple[float, dict[str, Any]]]:
        start_s, end_s = self.load.epoch_s(index)
        validated_s = end_s + self.load.VALIDATE_S
        yield from _window(f"epoch-{index}", start_s, end_s)
        yield from _window(f"validate-{index}", end_s, validated_s)
        accuracy = 0.85 - 0.5 * math.exp(-index / 2) + 0.005 * float(self.rng.normal())
        made = Epoch(
            index, start_s, end_s, validated_s, 1.3 / index, accuracy, 1.4 / index,
            accuracy - 0.02, accuracy - 0.03, len(self._train()), self.spec.learning_rate,
        )  # fmt: skip
        yield validated_s, {"epoch": asdict(made)}

    def _dataset(self) -> DatasetFacts:
        test = test_images(published=self.made.published)
        return DatasetFacts(
            self.spec.dataset_id,
            self.spec.dataset_sha256,
            synthetic=False,
            grouped=True,
            n_train=len(self._train()),
            n_val=len(test),
            n_test=len(test),
            n_test_leaky=int(test.seen_in_train.sum()),
        )

    def _model(self) -> Any:
        return make_model() if self.made.gpu else replace(make_model(), device="CPU:0")

    def _train(self) -> list[Listed]:
        return [e for e in listed(published=self.made.published) if e.name.startswith("TRAIN/")]

    def _scored(self, run: RunDir) -> Iterator[tuple[str, Any]]:
        """Predict TEST, keep the predictions, score them as the trainer does."""
        images = test_images(published=self.made.published)
        logits = self.rng.normal(size=(len(images), 5)).astype(np.float32)
        logits[np.arange(len(images)), images.labels + 1] += 2.2
        logits[:, 0] -= 4.0
        wide = np.exp(logits)
        said = (wide / wide.sum(axis=1, keepdims=True)).astype(np.float32)
        write_predictions(run.predictions_path, images, said)
        for name, chosen in (
            ("test", np.ones(len(images), bool)),
            ("test_leak_free", ~images.seen_in_train),
        ):
            photographs = images.original_id[chosen]
            yield name, score(said[chosen], images.labels[chosen], photographs, CLASSES)


def _window(name: str, start_s: float, end_s: float) -> Iterator[tuple[float, dict[str, Any]]]:
    yield start_s, {"mark": "open", "window": name, "t_s": start_s}
    yield end_s, {"mark": "close", "window": name, "t_s": end_s}


def _write_traces(
    run: RunDir, load: Load, end_s: float, made: Made, rng: np.random.Generator
) -> None:
    """Polls ten times a second with the sampler's jitter; the model moves once a second."""
    ticks = load.start_s + 0.1 * np.arange(round((end_s - load.start_s) * 10))
    t_s = ticks + rng.uniform(-0.03, 0.03, len(ticks)) + 0.05
    seen_s = load.start_s + np.floor((t_s - load.start_s) / 0.1) * 0.1  # the sensor's own steps
    if made.gpu:
        counter = 7.1e6 + np.round(load.energy_j(seen_s), 3)
        power = np.round(load.power_w(seen_s) + 0.8 * rng.normal(size=len(t_s)), 3)
        _write(run.trace_path("nvml/gpu0"), t_s, {COUNTER.name: counter, POWER.name: power})
        _write_looks(run, load, end_s)
    whole_s = load.start_s + np.floor(t_s - load.start_s)
    share = 0.3 + 0.5 * (load.energy_j(whole_s) - load.energy_j(whole_s - 1)) / load.busy_w
    modelled = np.cumsum(np.where(np.diff(whole_s, prepend=whole_s[0]) > 0, 65.0 * share, 0.0))
    _write(run.trace_path("codecarbon"), t_s, {MODEL.name: np.round(modelled, 4)})


def _write(path: Path, t_s: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    rows = zip(t_s.tolist(), *(values.tolist() for values in columns.values()), strict=True)
    lines = [",".join([f"{row[0]:.6f}", *map(repr, row[1:])]) for row in rows]
    path.write_text("\n".join([f"t_s,{','.join(columns)}", *lines, ""]), encoding="ascii")


def _write_looks(run: RunDir, load: Load, end_s: float) -> None:
    path = run.telemetry_path(UUID)
    path.parent.mkdir(exist_ok=True)
    lines = [",".join(COLUMNS)]
    for t_s in np.arange(load.start_s, end_s, 1.0).tolist():
        busy = load.busy_s[0] <= t_s < load.busy_s[1]
        look = BoardSample(
            t_s,
            temperature_c=62.0 if busy else 50.0,
            clock_sm_hz=1.4e9,
            clock_memory_hz=1.2e9,
            utilization=0.95 if busy else 0.0,
            memory_used_bytes=2e9 if busy else 1e8,
            power_limit_w=400.0,
            reasons=(),
            own=(4711,) if busy else (),
            foreign=(),
        )
        lines.append(to_line(look))
    path.write_text("\n".join([*lines, ""]), encoding="ascii")


def traces(run: RunDir) -> dict[str, Trace]:
    """The traces of a run by channel."""
    return {trace.channel.name: trace for trace in run.read_traces()}
