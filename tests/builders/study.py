"""Studies: records drawn from a known truth, and whole folders as a sweep leaves them on disk.

Of a whole study each variant is worked out once, from its traces by the real appraisal; its runs
are that one with other joules and other scores, and share its traces through hard links. So a
thousand runs take seconds and the space of four.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np

from builders.folder import write_measurements, write_predictions
from builders.machine import GPU_CHANNELS, GPU_MACHINE
from builders.run import failed_record, make_record, make_scores, make_spec, scaled
from builders.timeline import make_epochs, make_windows
from wbcbench.core.record import RunRecord, SensorCard
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import PLAN
from wbcbench.core.trace import Channel, Kind
from wbcbench.energy.appraise import appraise, remove_validation, remove_validation_from_budgets
from wbcbench.report.study import ReportStudy
from wbcbench.study.experiment import Experiment, PlannedAnalysis
from wbcbench.study.plan import Plan, make_plan, to_json
from wbcbench.table import derive
from wbcbench.table.view import Run

VARIANTS = ("relu-dropout", "relu-batchnorm", "leaky-dropout", "leaky-batchnorm")
DRAWN_BLOCKS = 8


@dataclass(frozen=True)
class Truth:
    """What a study's runs are drawn from.

    ``joules`` are log ratios to relu-dropout, ``shares`` differences of the balanced accuracy.
    """

    joules: Mapping[str, float]
    shares: Mapping[str, float]
    noise_j: float = 0.004
    noise_share: float = 0.004


CLEAR = Truth(
    joules={"leaky-dropout": 0.04, "relu-batchnorm": -0.08, "leaky-batchnorm": -0.04},
    shares={"leaky-dropout": 0.02, "relu-batchnorm": 0.0, "leaky-batchnorm": 0.02},
)
NOTHING = Truth({}, {})


def draw(
    blocks: int,
    truth: Truth = CLEAR,
    *,
    variants: Sequence[str] = VARIANTS,
    channels: Sequence[Channel] = GPU_MACHINE,
    study: str = "study",
    seed: int = 1,
    **spec: object,
) -> list[RunRecord]:
    """Records of every variant in every block; what a block shares is drawn, too."""
    rng = np.random.default_rng(seed)
    records = []
    for block in range(1, blocks + 1):
        shared = rng.normal(0, 0.05)
        for variant in variants:
            log_j = shared + truth.joules.get(variant, 0.0) + truth.noise_j * rng.normal()
            share = 0.8 + truth.shares.get(variant, 0.0) + truth.noise_share * rng.normal()
            run_spec = make_spec(variant, 1000 + block, block=block, study=study, **spec)
            record = make_record(spec=run_spec, channels=channels, test=make_scores(share - 0.01))
            records.append(scaled(record, math.exp(log_j)))
    return records


@dataclass(frozen=True)
class Size:
    """How much a whole study holds."""

    blocks: int = 3
    epochs: int = 4
    epoch_s: float = 10.0
    validation_s: float = 1.0
    images: int = 400


def planned(size: Size, study: str = "runs", about: str = "") -> Plan:
    """The plan of four variants in so many blocks."""
    spec = make_spec(epochs=size.epochs)
    names = ("epochs", "dataset_id", "dataset_sha256", "target_value")
    return make_plan(
        Experiment(
            study=study,
            seeds=tuple(range(1001, 1001 + size.blocks)),
            blocks=size.blocks,
            factors={"variant": VARIANTS},
            run={name: getattr(spec, name) for name in names},
            about=about,
            analysis=PlannedAnalysis(baseline="relu-dropout"),
        )
    )


def write_study(
    results: Path, size: Size | None = None, *, study: str = "runs", failed: int = 0
) -> Path:
    """Write the study whole; its last ``failed`` runs failed. Returns its folder."""
    size = size or Size()
    the_plan = planned(size, study)
    store_plan(the_plan, results / study)
    done = len(the_plan.runs) - failed
    _write_finished(results, the_plan.runs[:done], size)
    for spec in the_plan.runs[done:]:
        run = RunDir(results / study / spec.run_id)
        run.create(spec, Local(plan_sha256=the_plan.sha256))
        run.write_record(failed_record(spec=spec))
    return results / study


def store_plan(plan: Plan, folder: Path) -> None:
    """Put a plan beside its runs as one that was stored before the first of them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLAN).write_bytes(to_json(plan, "2026-03-01T09:00:00Z"))


def gather(
    name: str, records: Sequence[RunRecord], unfinished: int = 0, folder: Path | None = None
) -> ReportStudy:
    """These records as a study that the report reads; with ``folder`` they lie there."""
    runs = [Run(r, RunDir(folder / r.run_id) if folder else None, name) for r in records]
    return ReportStudy(name, tuple(sorted(runs, key=lambda run: run.place)), unfinished, folder)


def _write_finished(results: Path, specs: Sequence[RunSpec], size: Size) -> None:
    """Runs of the first blocks are drawn; those of later ones are theirs again, by another name."""
    rng = np.random.default_rng(1)
    first: dict[str, tuple[RunRecord, RunDir]] = {}
    drawn: dict[tuple[str, int], RunDir] = {}
    for spec in specs:
        if spec.variant not in first:
            first[spec.variant] = _first_of(results, spec, size, rng)
        key = (spec.variant, spec.block % DRAWN_BLOCKS)
        run = RunDir(results / spec.study / spec.run_id)
        if key in drawn:
            _write_again(run, spec, drawn[key])
        else:
            drawn[key] = run
            _write_run(run, spec, *first[spec.variant], float(rng.normal()))


def _first_of(
    results: Path, spec: RunSpec, size: Size, rng: np.random.Generator
) -> tuple[RunRecord, RunDir]:
    """The record that a variant's runs are like, and a folder with the files they share."""
    shares = [0.9 - 0.5 * 0.6 ** (i + 1) for i in range(size.epochs)]
    epochs = make_epochs(shares, epoch_s=size.epoch_s, validation_s=size.validation_s)
    windows = make_windows(epochs)
    run = RunDir(results.parent / f"{results.name}-shared" / spec.study / spec.variant)
    run.create(spec, Local())
    appraisal = appraise(write_measurements(run, GPU_MACHINE, windows, rng), windows)
    images = range(size.images)
    write_predictions(run, [i % 5 != 0 for i in images], [i // 35 for i in images])
    record = make_record(
        spec=spec,
        epochs=epochs,
        energies=remove_validation(appraisal.energies, windows),
        budgets=remove_validation_from_budgets(appraisal.budgets, windows),
        agreements=appraisal.agreements,
        sensor_cards=tuple(map(card_of, GPU_CHANNELS)),
    )
    return record, run


def card_of(channel: Channel) -> SensorCard:
    """What a probe of a sensor found."""
    counts = channel.kind is Kind.COUNTER
    way = "counter" if counts else "held"
    return SensorCard(channel.name, 0.1, 28.0 if counts else None, 0.001, way, 5.0, 900)


def _write_run(run: RunDir, spec: RunSpec, like: RunRecord, shared: RunDir, drawn: float) -> None:
    log_j = CLEAR.joules.get(spec.variant, 0.0) + 0.004 * drawn
    accuracy = 0.8 + CLEAR.shares.get(spec.variant, 0.0) + 0.004 * drawn
    record = replace(
        scaled(like, math.exp(log_j)), run_id=spec.run_id, spec=spec, test=make_scores(accuracy)
    )
    copytree(shared.path, run.path, copy_function=_link)
    run.write_requested(spec, Local())
    run.write_record(record)
    run.epochs_path.write_bytes(derive.format_epochs_csv(record))


def _write_again(run: RunDir, spec: RunSpec, like: RunDir) -> None:
    """The same run with another spec, set in the text: to write a record anew takes long."""
    own = ignore_patterns(like.record_path.name, like.epochs_path.name)
    copytree(like.path, run.path, copy_function=_link, ignore=own)
    run.write_requested(spec, Local())
    spec_text = json.dumps(asdict(spec), indent=1, sort_keys=True).replace("\n", "\n ")
    text = like.record_path.read_text(encoding="utf-8").replace(like.run_id, run.run_id)
    start = text.index('"spec": {') + len('"spec": ')
    end = text.index("\n }", start) + len("\n }")
    run.record_path.write_text(text[:start] + spec_text + text[end:], encoding="utf-8")
    epochs = like.epochs_path.read_text().replace(like.run_id, run.run_id)
    run.epochs_path.write_text(epochs)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def runs_with(variants: Sequence[str], **columns: Sequence[Sequence[float]]) -> list[Run]:
    """A finished run for each seed and variant, with ``[seeds][variants]`` cells in its row."""
    seeds = len(next(iter(columns.values())))
    runs = []
    for seed, place in np.ndindex(seeds, len(variants)):
        run = copy(_bare_run(variants[place], seed + 1))
        run.row = {**run.row, **{name: float(c[seed][place]) for name, c in columns.items()}}
        runs.append(run)
    return runs


@cache
def _bare_run(variant: str, seed: int) -> Run:
    run = Run(make_record(spec=make_spec(variant, seed, block=seed)), study="study")
    assert run.row  # worked out once
    return run
