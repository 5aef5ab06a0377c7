"""Honest studies without training: folders whose every number follows from what lies beside.

`python -m builders.bundle formats/bundle-N.zip`, in `tests/`, writes the reference bundle.

Only the outermost edges are invented: what a GPU's sensor reads of a known load, and what a network
predicts. Everything else is the program's own work on them: the plan, the run folders, joules and
cautions from traces and marks, scores from predictions, the table. Nothing in them is marked
synthetic, for to the program these are readings; use them in tests alone.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from builders.evidence import without
from builders.folder import (
    Timed,
    messages,
    meter_of,
    write_end,
    write_measurements,
    write_messages,
    write_traces,
)
from builders.machine import COUNTER, CPU_MODEL, GPU, METERS, POWER, PROVENANCE, RAM_MODEL, Load
from builders.run import make_model
from builders.study import VARIANTS, card_of
from builders.timeline import add_bill_windows, make_epochs, make_loops, make_windows
from wbcbench import table
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.write import Order, submit
from wbcbench.compare.metric import PlannedClaim
from wbcbench.core.record import (
    AFTER_RUN,
    AbsentMeter,
    Circumstances,
    DatasetFacts,
    Epoch,
    Failure,
    Sampling,
    Status,
)
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.run_state import ProcessIdentity, identify
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import PLAN, earlier_plan, pilot_study
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.data.read import PUBLISHED_ID, PUBLISHED_SHA256, dataset_sha256
from wbcbench.data.splits import published_images
from wbcbench.energy.account import account
from wbcbench.energy.attach import attach_wall_meter
from wbcbench.registry import load_part
from wbcbench.run.finalise import NEVER_BEGAN, RECORDER_DIED
from wbcbench.study import plan
from wbcbench.study.experiment import (
    Experiment,
    Pauses,
    PlannedAnalysis,
    Until,
)
from wbcbench.study.progress import InterimAnalyses
from wbcbench.study.statement import SubmissionDetails
from wbcbench.table import derive
from wbcbench.train.scores import score, write_predictions
from wbcbench.train.variants import ModelSettings, count_network

PLANNED_UTC = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PLANNED_S = 5000.0  # the same moment on the monotonic clock
EVERY_S = 600.0  # from run to run: longer than the longest that is built, 25 epochs
SERIAL = "1320221045678"
HOME = "/home/alice"
HOST = "alices-tower"

NVML = METERS["nvml/gpu0"] | {"serial": SERIAL}
CODECARBON = METERS["codecarbon"] | {
    "country": "DEU",
    "measure_power_s": 1.0,
    "lock": f"{HOME}/.codecarbon.lock",
}

ENDS: Mapping[str, tuple[Status, Failure | None]] = {
    "done": ("done", None),
    "failed": ("failed", Failure("killed", "The trainer was ended by signal 9 (SIGKILL).", -9)),
    "interrupted": ("interrupted", Failure("interrupted", "Stopped by the user.")),
    "unwatched": ("interrupted", RECORDER_DIED),
    "early": ("failed", Failure("out-of-memory", "The GPU has no memory left.")),
    "never-began": ("interrupted", NEVER_BEGAN),
    "superseded": ("interrupted", Failure("superseded", "another was the same run, done first")),
    "spoiled": ("done", None),
    "diverged": ("done", None),
}


@dataclass(frozen=True)
class Board:
    """A GPU and what is read of it: its counter, its power, or both."""

    name: str = "Example GPU"
    uuid: str = GPU
    limit_w: float = 400.0
    readings: Sequence[str] = ("counter", "power")


@dataclass(frozen=True)
class Machine:
    """What runs are carried out on.

    Attributes:
        boards: Its GPUs.
        rapl: Zones that may be read, such as ``package-0``, ``dram-0`` and ``psys-0``.
        codecarbon: CodeCarbon's parts: ``cpu`` and ``ram``, models without a sensor.
        facts: What else stands in the provenance of its runs.
    """

    boards: Sequence[Board] = (Board(),)
    rapl: Sequence[str] = ()
    codecarbon: Sequence[str] = ("cpu",)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is read in its runs."""
        power = replace(POWER, update_s=0.1, averaging_s=0.1)
        read = {"counter": COUNTER, "power": power}
        boards = (
            replace(
                read[reading],
                name=f"nvml/gpu{i}/{reading}",
                limit_w=board.limit_w,
                device=board.uuid,
            )
            for i, board in enumerate(self.boards)
            for reading in board.readings
        )
        models = {"cpu": CPU_MODEL, "ram": RAM_MODEL}
        return (*boards, *map(_zone, self.rapl), *(models[part] for part in self.codecarbon))

    @property
    def meters(self) -> dict[str, dict[str, Any]]:
        """What the meters say of themselves."""
        boards = {
            f"nvml/gpu{i}": NVML
            | {
                "index": i,
                "name": board.name,
                "uuid": board.uuid,
                "power_limit_enforced_w": board.limit_w,
            }
            for i, board in enumerate(self.boards)
        }
        modes = {"cpu": "cpu_load", "ram": "constant"}
        parts = {part: {"mode": modes[part]} for part in self.codecarbon}
        return (
            ({"codecarbon": CODECARBON | {"parts": parts}} if self.codecarbon else {})
            | boards
            | ({"rapl": {"zones": list(self.rapl)}} if self.rapl else {})
        )


def _zone(name: str) -> Channel:
    domain = {"package": Domain.CPU, "dram": Domain.DRAM, "psys": Domain.SYSTEM}[
        name.partition("-")[0]
    ]
    # A processor's counter starts again at 262 kJ, the memory's sooner.
    return Channel(
        f"rapl/{name}/counter", Kind.COUNTER, Origin.MEASURED, domain, f"rapl_{name[:-2]}",
        wrap_j=65_712.0 if domain is Domain.DRAM else 262_143.328, update_s=0.001,
    )  # fmt: skip


@dataclass(frozen=True)
class WallMeter:
    """A meter of the whole machine, with a log of its own.

    Attributes:
        energy: Whether it counts watt-hours instead of watts.
        step_s: Between two of its readings.
        offset_s: By how much its clock is slow.
        until: Share of the run that its log covers.
    """

    energy: bool = False
    step_s: float = 0.937
    offset_s: float = 0.0
    until: float = 1.5


@dataclass(frozen=True)
class StudyDesign:
    """What an honest study is drawn from.

    Attributes:
        study, blocks, variants, seed, epochs: Of the plan; ``seed`` draws everything else.
        planned: Whether a plan was written before the first run.
        gpu: A GPU with its sensors, or a bare machine with a model alone.
        published: The published TEST set (2,487 images), or a small set of its own (120).
        ends: How each run ends: ``done``, ``failed``, ``interrupted`` or ``unwatched``;
            ``superseded``: whole, but done after another attempt; ``early``: before
            training; ``never-began``; ``spoiled``: done, with a hole in what was read;
            ``diverged``: done, with weights that are no numbers; ``left``: its recorder was
            killed, and nobody has written its record yet.
        again: Blocks that were carried out twice, the first time with a failed run.
        retried: Whether a run that did not end well is carried out once more.
        factors: What varies beside the network.
        analysis, until: Of the plan.
        singles: Runs of no plan beside it.
        at_once: Whether two runs of a block are carried out at the same time.
        blocks_at_once: How many blocks go on side by side, each on a board of its own.
        replaced: Blocks that were carried out under an earlier plan, in another order.
        pilots: Runs that were made only to know the cost.
        is_untidy: Whether logs hold what no text should, and files what a kill tore.
        machine: What each run is carried out on; by default a GPU, or none.
        wall_meter: What is attached to each run.
        joules: Variant → factor on the power of training.
        changes: Fields of every spec.
        facts: What else stands in the provenance of every run.
        bend: What becomes of each trace of a run, in the order of ``channels``.
        claims, submission: Of the plan.
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
    retried: bool = False
    factors: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    analysis: PlannedAnalysis = field(default_factory=PlannedAnalysis)
    until: Until | None = None
    singles: int = 0
    at_once: bool = False
    blocks_at_once: int = 1
    replaced: int = 0
    pilots: int = 0
    is_untidy: bool = False
    machine: Callable[[RunSpec], Machine] | None = None
    wall_meter: Callable[[RunSpec], WallMeter | None] = lambda _: None
    joules: Mapping[str, float] = field(default_factory=lambda: {"relu-batchnorm": 0.93})
    changes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    bend: Callable[[RunSpec, Trace], Trace] = lambda _, trace: trace
    claims: Mapping[str, PlannedClaim] = field(default_factory=dict)
    submission: SubmissionDetails = field(default_factory=SubmissionDetails)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is read in its runs, unless their machine has more."""
        return Machine(boards=(Board(),) if self.gpu else ()).channels

    def machine_of(self, spec: RunSpec) -> Machine:
        """What a run is carried out on; another machine than the usual has boards of its own."""
        machine = self.machine(spec) if self.machine else Machine((Board(),) if self.gpu else ())
        host = machine.facts.get("host_id", self.facts.get("host_id"))
        if host is None or not machine.boards or machine.boards[0].uuid != GPU:
            return machine
        own = hashlib.sha256(str(host).encode()).hexdigest()[:4]
        boards = [replace(board, uuid=board.uuid[:-4] + own) for board in machine.boards]
        return replace(machine, boards=boards)


def bundle_study(results: Path, design: StudyDesign | None = None) -> Path:
    """Write a whole study; returns its folder, ``results/<study>``."""
    design = design or StudyDesign()
    the_plan = plan.make_plan(_experiment(design))
    folder = results / design.study
    folder.mkdir(parents=True)
    before = plan.make_plan(replace(_experiment(design), order_seed=7))
    plans = dict.fromkeys(range(1, design.replaced + 1), before)
    clock = _Clock(PLANNED_S)
    for number in range(design.pilots):
        first = plan.make_plan(_experiment(design)).runs[0].identity
        pilot = replace(
            first, study=pilot_study(design.study), epochs=1, block=0, repeat=number + 1
        )
        start_s = PLANNED_S - EVERY_S * (design.pilots - number)
        _write_run(results, _with_images(pilot, design), design, start_s, "done", {})
    kept, last = None, dict[str, str]()  # the last run by its machine
    for number in range(1, the_plan.most_blocks + 1, design.blocks_at_once):
        if design.planned and plans.get(number, the_plan) is not kept:
            if kept:
                (folder / PLAN).rename(folder / earlier_plan(kept.sha256))
            kept = plans.get(number, the_plan)
            (folder / PLAN).write_bytes(plan.to_json(kept, _utc(clock.now_s)))
        numbers = range(number, min(number + design.blocks_at_once, the_plan.most_blocks + 1))
        runs = [each for n in numbers for each in _runs(design, (kept or the_plan).block(n))]
        if design.blocks_at_once > 1:
            runs.sort(key=lambda each: each[0].order_in_block)
        for spec, end in runs:
            host = str(design.machine_of(spec).facts.get("host_id"))
            facts = {AFTER_RUN: last.get(host)} | ({"plan_sha256": kept.sha256} if kept else {})
            _write_run(results, spec, design, clock.start_run(design, spec), end, facts)
            last[host] = spec.run_id
        if (
            design.until
            and number >= the_plan.blocks
            and InterimAnalyses(folder, the_plan).check(number).stops
        ):
            break
    for number in range(design.singles):
        single = replace(the_plan.runs[0].identity, block=0, seed=number + 1)
        start_s = clock.start_run(design, single)
        _write_run(results, _with_images(single, design), design, start_s, "done", {})
    table.write_table(folder)
    return folder


@dataclass
class _Clock:
    """When runs begin: one after the other, or two at once."""

    now_s: float

    def start_run(self, design: StudyDesign, spec: RunSpec) -> float:
        """The moment at which the next one begins."""
        is_beside = design.at_once and spec.order_in_block % 2 == 0
        is_beside |= (spec.block - 1) % design.blocks_at_once > 0
        self.now_s += 5.0 if is_beside else EVERY_S
        return self.now_s - EVERY_S + 60.0


def write_reference_bundle(target: Path) -> Path:
    """Write the bundle that later versions must verify: two blocks, the last run failed."""
    design = StudyDesign(
        blocks=2,
        variants=("leaky-dropout", "relu-dropout"),
        epochs=2,
        ends=lambda spec: "failed" if spec.order_global == 4 else "done",
    )
    with tempfile.TemporaryDirectory() as room:
        study = bundle_study(Path(room) / "results", design)
        order = Order(
            study.parent,
            study.name,
            (Author("Ada Lovelace", "0000-0002-1825-0097"),),
            "MIT",
            title=f"Reference bundle of {layout.SCHEMA}",
            out=target,
            as_zip=True,
            force=True,
            formats=("html", "md", "csv"),
        )
        return submit(order).path


def _experiment(design: StudyDesign) -> Experiment:
    most_blocks = design.until.max_blocks if design.until else design.blocks
    return Experiment(
        study=design.study,
        seeds=tuple(1000 + design.seed * 100 + i for i in range(1, most_blocks + 1)),
        blocks=design.blocks,
        factors={"variant": tuple(design.variants), **design.factors},
        run={"epochs": design.epochs, "target_value": 0.6, "country": "DEU", **design.changes},
        about="Made for a test.",
        pauses=Pauses(rest_s=1.0),
        analysis=design.analysis,
        until=design.until,
        claims=design.claims,
        submission=design.submission,
    )


def _with_images(spec: RunSpec, design: StudyDesign) -> RunSpec:
    dataset_id, sha256 = identity(published=design.published)
    return replace(spec, dataset_id=dataset_id, dataset_sha256=sha256)


def _runs(design: StudyDesign, block: Sequence[RunSpec]) -> Iterator[tuple[RunSpec, str]]:
    """Every run of a block in its order; a spoiled block comes twice."""
    specs = [_with_images(spec, design) for spec in block]
    if block[0].block in design.again:
        yield specs[0], "done"
        yield specs[1], "failed"
        specs = [replace(spec, block_attempt=2) for spec in specs]
    for spec in specs:
        end = design.ends(spec)
        yield spec, end
        if design.retried and end in ENDS and ENDS[end][0] != "done":
            yield replace(spec, repeat=2), "done"


# --- images ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """One image as the data manifest lists it."""

    name: str
    sha256: str
    original_id: int
    group_id: int
    also_in_train: bool


@cache
def listed(*, published: bool) -> tuple[Listed, ...]:
    """Every image of TRAIN and TEST, by name."""
    if published:
        known = published_images().items()
        rows = [Listed(p.name, sha, p.original_id, p.group_id, p.also_in_train) for sha, p in known]
        return tuple(sorted((r for r in rows if "_SIMPLE" not in r.name), key=lambda r: r.name))
    return tuple(sorted(_own_images(), key=lambda image: image.name))


def _own_images() -> Iterator[Listed]:
    """4 classes × (8 + 6) photographs × 5 images; no photograph in both."""
    photograph = 0
    for split, photographs in (("TRAIN", 8), ("TEST", 6)):
        for label in CLASSES:
            for _ in range(photographs):
                photograph += 1
                for copy in range(5):
                    name = f"{split}/{label}/_{photograph}_{copy}.jpeg"
                    digest = hashlib.sha256(f"pixels of {name}".encode()).hexdigest()
                    leaks = split == "TEST" and photograph % 9 == 0
                    yield Listed(name, digest, photograph, photograph, leaks)


@cache
def identity(*, published: bool) -> tuple[str, str]:
    """Name and digest of the data set."""
    if published:
        return PUBLISHED_ID, PUBLISHED_SHA256
    sha256 = dataset_sha256((image.name, image.sha256) for image in listed(published=False))
    return f"custom-{sha256[:8]}", sha256


def write_images(folder: Path) -> Path:
    """The set of its own as files: of each image the bytes that its digest is of."""
    for image in listed(published=False):
        path = folder / image.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"pixels of {image.name}".encode())
    return folder


def _split(name: str, design: StudyDesign) -> list[Listed]:
    return [i for i in listed(published=design.published) if i.name.startswith(f"{name}/")]


def _count_trained(spec: RunSpec, design: StudyDesign) -> int:
    """Images of TRAIN that are not held out; as many are as TEST has."""
    held_out = 0 if spec.validation == "published" else len(_split("TEST", design))
    return len(_split("TRAIN", design)) - held_out


def _test_images(design: StudyDesign) -> ImageSet:
    """TEST without pixels."""
    images = _split("TEST", design)
    return ImageSet(
        images=np.zeros((len(images), 1, 1, 3), np.uint8),
        labels=np.array([CLASSES.index(image.name.split("/")[1]) for image in images]),
        files=tuple(image.name for image in images),
        sha256=tuple(image.sha256 for image in images),
        group_id=np.array([image.group_id for image in images]),
        original_id=np.array([image.original_id for image in images]),
        also_in_train=np.array([image.also_in_train for image in images]),
    )


# --- one run -----------------------------------------------------------------------------------


def _write_run(
    results: Path,
    spec: RunSpec,
    design: StudyDesign,
    start_s: float,
    end: str,
    facts: Mapping[str, Any],
) -> None:
    run = RunDir(results / spec.study / spec.run_id)
    run.create(spec, Local(data=f"{HOME}/cells", plan_sha256=facts.get("plan_sha256")))
    if end == "never-began":
        record = account(run, Circumstances(_utc(start_s), {}), *ENDS[end])
        run.write_record(replace(record, ended_utc=_utc(start_s + 2.0)))
        return
    machine = design.machine_of(spec)
    rng = np.random.default_rng([design.seed, spec.seed, int(spec.digest[:8], 16)])
    shared = np.random.default_rng([design.seed, spec.seed]).normal(0, 0.01)
    factor = design.joules.get(spec.variant, 1.0) * math.exp(shared + rng.normal(0, 0.004))
    epochs = _epochs(spec, design, start_s + 20.5, rng)
    if end == "diverged":
        epochs = tuple(replace(each, loss=math.nan, val_loss=math.nan) for each in epochs)
    loops = make_loops(epochs, spec.loops if isinstance(spec.loops, int) else 1)
    windows = make_windows(epochs, loops)
    # A trainer that fails has got through its first epoch; a kill leaves every window open.
    killed_s = {
        "done": math.inf,
        "superseded": math.inf,
        "spoiled": math.inf,
        "diverged": math.inf,
        "early": windows[1].start_s + 4.0,
    }.get(end, epochs[0].evaluate_end_s + 2.0)
    end_s = min(windows[-1].end_s, killed_s + 1.0)
    traces = write_measurements(run, machine.channels, windows, rng, factor=factor, until_s=end_s)
    if end == "spoiled":
        hole_s = (epochs[0].start_s + 1.0, epochs[-1].end_s - 1.0)
        traces = [without(trace, *hole_s) for trace in traces]
    traces = [design.bend(spec, trace) for trace in traces]
    write_traces(run, traces)
    began = _at_start(start_s, design, machine, facts)
    run.write_began(began)
    timed = [
        *messages(add_bill_windows(windows), epochs, loops),
        *_results(spec, design, machine, windows),
    ]
    timed += _scores(run, design, windows) if killed_s == math.inf else []
    write_messages(run, timed, min(killed_s, end_s))
    run.log_path.write_text(f"Reading {HOME}/cells\nalice@{HOST}: trained\n")
    if design.is_untidy:
        _leave_untidy(run, is_killed=math.isfinite(killed_s))
    if end == "left":
        run.write_state(
            replace(run.read_state(), runner=_gone_process(), running_utc=_utc(start_s))
        )
        return
    status, error = ENDS[end]
    circumstances = began
    if end != "unwatched":
        circumstances = _at_end(began, traces, end_s - start_s)
        is_on_own = design.blocks_at_once > 1 or _is_neighbour_elsewhere(design, spec)
        circumstances = replace(
            circumstances,
            shared=design.at_once and not is_on_own,
            cpu_shared=is_on_own and (design.at_once or design.blocks_at_once > 1),
        )
        write_end(run, circumstances)
    record = replace(account(run, circumstances, status, error), ended_utc=_utc(end_s + 2.0))
    run.write_record(record)
    if record.epochs:
        run.epochs_path.write_bytes(derive.format_epochs_csv(record))
    if (wall_meter := design.wall_meter(spec)) is not None:
        _attach(run, wall_meter, windows, start_s, end_s)


def _is_neighbour_elsewhere(design: StudyDesign, spec: RunSpec) -> bool:
    """Whether the run that goes on at the same time as this one is on other boards."""
    step = 1 if spec.order_in_block % 2 else -1
    neighbour = replace(
        spec, order_in_block=spec.order_in_block + step, order_global=spec.order_global + step
    )
    mine, others = (
        {board.uuid for board in design.machine_of(each).boards} for each in (spec, neighbour)
    )
    return bool(mine) and bool(others) and not mine & others


def _leave_untidy(run: RunDir, *, is_killed: bool) -> None:
    """What libraries print and a kill tears."""
    with run.log_path.open("ab") as log:
        log.write(b"\x1b[2Kstep 3\rstep 4 \xff\xfe\n\0\0 threading.local 10.0.0.7\n")
    if is_killed:
        with run.marks_path.open("ab") as marks, run.cpu_time_path.open("ab") as samples:
            marks.write(b'{"epoch": {"ind')
            samples.write(b"5101.2,1")


def _attach(
    run: RunDir, meter: WallMeter, windows: Sequence[Window], start_s: float, end_s: float
) -> None:
    """Attach a log of 500 W at rest and 1,200 W under load."""
    step_s, shift_s = meter.step_s, PLANNED_UTC.timestamp() - PLANNED_S - meter.offset_s
    times = np.arange(start_s - 30.0, start_s + meter.until * (end_s - start_s), step_s)
    begin_s = windows[3].start_s
    load = Load(500.0, 1200.0, begin_s, max(begin_s, end_s - 3.0), times[0])
    values = load.energy_j(times) / 3600 if meter.energy else load.power_w(times)
    name = "energy_wh" if meter.energy else "power_w"
    lines = [
        f"{datetime.fromtimestamp(t_s + shift_s, UTC).isoformat()},{value:.4f}"
        for t_s, value in zip(times.tolist(), values.tolist(), strict=True)
    ]
    with tempfile.TemporaryDirectory() as room:
        log = Path(room) / "wall meter.csv"
        log.write_text("\n".join([f"time,{name}", *lines, ""]))
        attach_wall_meter(run, log, offset_s=meter.offset_s)


@cache
def _gone_process() -> ProcessIdentity:
    """A process of this machine that has ended."""
    with subprocess.Popen(["sleep", "60"]) as process:
        identity_ = identify(process.pid)
        process.kill()
    return identity_


def _epochs(
    spec: RunSpec, design: StudyDesign, start_s: float, rng: np.random.Generator
) -> tuple[Epoch, ...]:
    noise = 0.005 * rng.normal(size=spec.epochs)
    images = _test_images(design)
    sizes = np.bincount(images.labels)
    hits = [
        np.round(sizes * (0.82 - 0.5 * math.exp(-(i + 1) / 2) + x)) for i, x in enumerate(noise)
    ]
    epochs = make_epochs(
        [float(right.sum() / sizes.sum()) for right in hits],
        start_s=start_s,
        epoch_s=(7.5 * (1 + 0.01 * rng.normal(size=spec.epochs))).tolist(),
        validation_s=2.0,
        images=_count_trained(spec, design),
        learning_rate=spec.learning_rate,
    )
    lost = [(epoch.loss or 0.0) * (1 + float(x)) for epoch, x in zip(epochs, noise, strict=True)]
    epochs = tuple(replace(e, loss=loss) for e, loss in zip(epochs, lost, strict=True))
    if spec.validation != "published":
        return epochs
    # The last validation and the test are of the same weights, on the same images.
    tested = score(_predict(spec, design), images.labels, None, CLASSES)
    balanced = [*(float(np.mean(right / sizes)) for right in hits[:-1]), tested.balanced_accuracy]
    last = replace(epochs[-1], val_loss=tested.loss, val_accuracy=tested.accuracy)
    return tuple(
        replace(epoch, val_balanced_accuracy=share)
        for epoch, share in zip((*epochs[:-1], last), balanced, strict=True)
    )


def _results(
    spec: RunSpec, design: StudyDesign, machine: Machine, windows: Sequence[Window]
) -> Iterator[Timed]:
    """What the trainer says beside its windows and epochs, but for scores."""
    at = {window.name: window for window in windows}
    test = _split("TEST", design)
    dataset = DatasetFacts(
        spec.dataset_id,
        spec.dataset_sha256,
        synthetic=False,
        grouped=True,
        n_train=_count_trained(spec, design),
        n_val=len(test),
        n_test=len(test),
        n_test_leaky=sum(image.also_in_train for image in test),
    )
    model = make_model(has_gpu=bool(machine.boards))
    # Of one seed, activation by activation: equal layers draw equal weights.
    network = f"{spec.variant.partition('-')[2]} {spec.seed} {spec.image_size}"
    order = f"{spec.seed} {spec.dataset_sha256} {spec.batch_size} {spec.validation}"
    size = count_network(load_part("variant", spec.variant), ModelSettings(spec.image_size))
    names = ("params_total", "params_trainable", "flops_per_image")
    model = replace(
        model,
        steps_per_epoch=math.ceil(dataset.n_train / spec.batch_size),
        **dict(zip(names, size, strict=True)),
        first_weights_sha256=hashlib.sha256(network.encode()).hexdigest(),
        image_order_sha256=hashlib.sha256(order.encode()).hexdigest(),
    )
    yield at["startup"].end_s - 0.8, {"dataset": asdict(dataset)}
    yield at["startup"].end_s - 0.3, {"model": asdict(model)}
    for name, batch in (("infer-b1", 1), ("infer-b64", 64)):
        # Batches go as fast as validation does, single images four times as slowly.
        batches = round(len(test) / at["validate-1"].duration_s * 3.0 / max(batch, 4))
        done = {"window": name, "batch_size": batch, "images": batches * batch}
        yield at[name].end_s, {"inference": done}
    yield at["infer-b64"].end_s + 0.2, {"end": "done"}


def _predict(spec: RunSpec, design: StudyDesign) -> np.ndarray:
    """The probabilities that the network of a run gives TEST."""
    rng = np.random.default_rng([design.seed, int(spec.digest[:8], 16)])
    images = _test_images(design)
    if design.ends(spec) == "diverged":
        return np.full((len(images), 5), np.nan, np.float32)
    logits = rng.normal(size=(len(images), 5)).astype(np.float32)
    logits[np.arange(len(images)), images.labels + 1] += 2.2
    logits[:, 0] -= 4.0
    odds = np.exp(logits)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def _scores(run: RunDir, design: StudyDesign, windows: Sequence[Window]) -> Iterator[Timed]:
    """Predict TEST, write the predictions, score them as the trainer does."""
    [at_s] = [window.end_s for window in windows if window.name == "evaluate"]
    images, probabilities = _test_images(design), _predict(run.read_spec(), design)
    write_predictions(run.predictions_path, images, probabilities)
    for name, chosen in (
        ("test", np.ones(len(images), bool)),
        ("test_leakage_free", ~images.also_in_train),
    ):
        photographs = images.original_id[chosen]
        scores = score(probabilities[chosen], images.labels[chosen], photographs, CLASSES)
        yield at_s, {"scores": {"name": name, **asdict(scores)}}


def _utc(at_s: float) -> str:
    moment = PLANNED_UTC + timedelta(seconds=at_s - PLANNED_S)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _at_start(
    start_s: float, design: StudyDesign, machine: Machine, facts: Mapping[str, Any]
) -> Circumstances:
    utc_s = PLANNED_UTC.timestamp() + start_s - PLANNED_S
    provenance = PROVENANCE | {
        "command": ["wbcbench", "sweep", "plan.json", "--data", f"{HOME}/cells"],
        "git_commit": None,
        "git_dirty": None,
        "python_version": "3.11.7",
        "packages": {
            "tensorflow": "2.21.0",
            "keras": "3.15.1",
            "numpy": "2.4.6",
            "codecarbon": CODECARBON["codecarbon_version"] if machine.codecarbon else None,
        },
        "cpu_governor": "performance",
        "loadavg_start": 0.01,
        "virtualised": False,
        "clock_pair": {"utc_s": utc_s, "monotonic_s": start_s},
        **facts,
        **design.facts,
        **machine.facts,
    }
    absent = AbsentMeter("rapl", "There is no /sys/class/powercap, so CPU energy cannot be read.")
    absents = () if machine.rapl else (absent,)
    cards = tuple(card_of(c) for c in machine.channels if c.name.startswith("nvml"))
    return Circumstances(_utc(start_s), provenance, machine.meters, absents, sensor_cards=cards)


def _at_end(began: Circumstances, traces: Sequence[Trace], length_s: float) -> Circumstances:
    times = {meter_of(trace.channel): trace.t_s for trace in traces}
    return replace(
        began,
        sampling=tuple(
            Sampling(
                name,
                0.1,
                float(steps.mean()),
                float(steps.max()),
                len(steps) + 1,
                missed=max(round(float(steps.sum()) / 0.1) - len(steps), 0),
                failed=0,
            )
            for name, steps in ((name, np.diff(times[name])) for name in sorted(times))
        ),
        recorder_cpu_s=0.6,
        trainer_cpu_s=0.9 * length_s,
        trainer_rss_peak_bytes=1_500_000_000,
    )


if __name__ == "__main__":
    print(write_reference_bundle(Path(sys.argv[1])))
