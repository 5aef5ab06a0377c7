"""Studies as a sweep leaves them on disk: plan, records, traces, telemetry and predictions.

Each variant is worked out once, from its traces by the real appraisal; its runs are that one with
other joules and other scores, and share its traces through hard links. So a thousand runs take
seconds and the space of four.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np

from compared_studies import CLEAR, scaled
from data_folders import image_set
from records_factory import (
    GPU_MACHINE,
    METERS,
    START_S,
    failed_record,
    make_record,
    make_scores,
    make_windows,
    power_w,
)
from wbcbench.joules.energy import Channel, Kind, Trace, Window
from wbcbench.planning.experiment import Experiment, PlannedAnalysis
from wbcbench.planning.plan import FILE_NAME, Plan, plan, to_json
from wbcbench.reckoning import aftermath
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import Epoch, RunRecord
from wbcbench.runs.rundir import RunDir
from wbcbench.runs.study import RunSpec
from wbcbench.sensors.board_state import COLUMNS, BoardSample, to_line
from wbcbench.sensors.sensor_card import SensorCard
from wbcbench.training.predictions import write_predictions
from wbcbench.trust.apart import budgets_alone, steps_alone
from wbcbench.trust.appraisal import appraise

VARIANTS = ("relu-dropout", "relu-batchnorm", "leaky-dropout", "leaky-batchnorm")
POLL_S = 0.1
DRAWN_BLOCKS = 8
BOARD = METERS["nvml/gpu0"]["uuid"]


@dataclass(frozen=True)
class Size:
    """How much a study holds."""

    blocks: int = 3
    epochs: int = 4
    epoch_s: float = 10.0
    validation_s: float = 1.0
    images: int = 400


SMALL = Size()


def planned(size: Size, study: str = "runs", about: str = "") -> Plan:
    """The plan of four variants in so many blocks."""
    asked = {
        "epochs": size.epochs,
        "dataset_id": "bccd-kaggle",
        "dataset_sha256": "ab" * 32,
        "target_value": 0.8,
    }
    return plan(
        Experiment(
            study=study,
            seeds=tuple(range(1001, 1001 + size.blocks)),
            blocks=size.blocks,
            factors={"variant": VARIANTS},
            run=asked,
            about=about,
            analysis=PlannedAnalysis(baseline="relu-dropout"),
        )
    )


def write_study(
    results: Path, size: Size = SMALL, *, study: str = "runs", failed: int = 0, about: str = ""
) -> Path:
    """Write the study whole; its last ``failed`` runs failed. Returns its folder."""
    made = planned(size, study, about)
    (results / study).mkdir(parents=True)
    (results / study / FILE_NAME).write_bytes(to_json(made, "2026-03-01T09:00:00Z"))
    finished, spoiled = made.runs[: len(made.runs) - failed], made.runs[len(made.runs) - failed :]
    _write_finished(results, finished, size)
    for spec in spoiled:
        run = RunDir(results / study / spec.run_id)
        run.create(spec, Local(plan_sha256=made.sha256))
        run.write_record(failed_record(spec=spec))
    return results / study


def _write_finished(results: Path, specs: Sequence[RunSpec], size: Size) -> None:
    """Runs of the first blocks are drawn; those of later ones are theirs again, by another name."""
    rng = np.random.default_rng(1)
    first: dict[str, tuple[RunRecord, RunDir]] = {}
    drawn: dict[tuple[str, int], RunDir] = {}
    for spec in specs:
        if spec.variant not in first:
            first[spec.variant] = _first_of(results, spec, size)
        key = (spec.variant, spec.block % DRAWN_BLOCKS)
        run = RunDir(results / spec.study / spec.run_id)
        if key in drawn:
            _write_again(run, spec, drawn[key])
        else:
            drawn[key] = run
            _write_run(run, spec, *first[spec.variant], float(rng.normal()))


def _first_of(results: Path, spec: RunSpec, size: Size) -> tuple[RunRecord, RunDir]:
    """The record that a variant's runs are like, and a folder with the traces they share."""
    epochs = _epochs(size)
    windows = make_windows(epochs)
    traces = [_trace(channel, windows) for channel in GPU_MACHINE]
    found = appraise(traces, windows)
    record = make_record(
        spec=spec,
        epochs=epochs,
        energies=steps_alone(found.energies, windows),
        budgets=budgets_alone(found.budgets, windows),
        agreements=found.agreements,
        sensor_cards=tuple(
            _card(channel) for channel in GPU_MACHINE if channel.name.startswith("nvml")
        ),
    )
    run = RunDir(results.parent / f"{results.name}-shared" / spec.study / spec.variant)
    run.create(spec, Local())
    _write_traces(run, traces)
    _write_looks(run, windows)
    _write_predictions(run, size.images)
    return record, run


def _epochs(size: Size) -> tuple[Epoch, ...]:
    step_s = size.epoch_s + size.validation_s
    return tuple(_epoch(i, START_S + i * step_s, size) for i in range(size.epochs))


def _epoch(i: int, start_s: float, size: Size) -> Epoch:
    share = 0.9 - 0.5 * 0.6 ** (i + 1)
    end_s = start_s + size.epoch_s
    return Epoch(
        i + 1, start_s, end_s, end_s + size.validation_s, 1.2 / (i + 1), share, 1.3 / (i + 1),
        share, share, 8400, 0.0007,
    )  # fmt: skip


def _trace(channel: Channel, windows: Sequence[Window]) -> Trace:
    """Polls from before the first window to after the last, the load with a slow swell."""
    t_s = np.arange(windows[0].start_s - 1.0, max(w.end_s for w in windows) + 1.0, POLL_S)
    watts = np.full_like(t_s, power_w(channel, windows[0]))
    for window in windows:
        inside = (t_s >= window.start_s) & (t_s < window.end_s)
        watts[inside] = power_w(channel, window)
    watts *= 1 + 0.03 * np.sin(t_s / 3)
    joules = np.concatenate([[0.0], np.cumsum(watts[:-1] * POLL_S)])
    values = joules if channel.kind is Kind.COUNTER else watts
    return Trace(channel, t_s.round(6).tolist(), values.round(3).tolist())


def _card(channel: Channel) -> SensorCard:
    counts = channel.kind is Kind.COUNTER
    return SensorCard(
        channel.name,
        0.1,
        28.0 if counts else None,
        0.001,
        "counter" if counts else "held",
        5.0,
        900,
    )


def _write_traces(run: RunDir, traces: Sequence[Trace]) -> None:
    for meter in sorted({_meter(trace.channel) for trace in traces}):
        own = [trace for trace in traces if _meter(trace.channel) == meter]
        names = ",".join(trace.channel.name for trace in own)
        polls = zip(own[0].t_s, *(trace.value for trace in own), strict=True)
        lines = (",".join(map(repr, poll)) for poll in polls)
        run.trace_path(meter).write_text("\n".join([f"t_s,{names}", *lines, ""]))
    run.write_channels([trace.channel for trace in traces])


def _meter(channel: Channel) -> str:
    return "nvml/gpu0" if channel.name.startswith("nvml") else channel.name.split("/")[0]


def _write_looks(run: RunDir, windows: Sequence[Window]) -> None:
    """One look a second: the board warms up to 66 °C."""
    path = run.telemetry_path(BOARD)
    path.parent.mkdir()
    start_s, end_s = windows[0].start_s, max(w.end_s for w in windows)
    looks = [
        BoardSample(
            t_s, 66.0 - 21.0 * 0.97 ** (t_s - start_s), 1.4e9, 1.2e9, 0.9, 2e9, 400.0, (), (7,), ()
        )
        for t_s in np.arange(start_s, end_s, 1.0).tolist()
    ]
    path.write_text("\n".join([",".join(COLUMNS), *map(to_line, looks), ""]))


def _write_predictions(run: RunDir, images: int) -> None:
    """Every fifth image is taken for the next class, by a network that is rather sure."""
    labels = [i % 4 for i in range(images)]
    said = [(label + (i % 5 == 0)) % 4 for i, label in enumerate(labels)]
    probabilities = np.full((images, 5), 0.05, np.float32)
    probabilities[np.arange(images), np.array(said) + 1] = 0.8
    shown = image_set([i // 35 for i in range(images)], labels)
    write_predictions(run.predictions_path, shown, probabilities)


def _write_run(run: RunDir, spec: RunSpec, like: RunRecord, shared: RunDir, drawn: float) -> None:
    log_j = CLEAR.joules.get(spec.variant, 0.0) + 0.004 * drawn
    accuracy = 0.8 + CLEAR.shares.get(spec.variant, 0.0) + 0.004 * drawn
    record = replace(
        scaled(like, float(np.exp(log_j))),
        run_id=spec.run_id,
        spec=spec,
        test=make_scores(accuracy),
    )
    copytree(shared.path, run.path, copy_function=_link)
    run.write_asked(spec, Local())
    run.write_record(record)
    run.epochs_path.write_bytes(aftermath.epochs_csv(record))


def _write_again(run: RunDir, spec: RunSpec, like: RunDir) -> None:
    """The same run with another spec, set in the text: to write a record anew takes long."""
    own = ignore_patterns(like.record_path.name, like.epochs_path.name)
    copytree(like.path, run.path, copy_function=_link, ignore=own)
    run.write_asked(spec, Local())
    asked = json.dumps(asdict(spec), indent=1, sort_keys=True).replace("\n", "\n ")
    text = like.record_path.read_text(encoding="utf-8").replace(like.run_id, run.run_id)
    start = text.index('"spec": {') + len('"spec": ')
    end = text.index("\n }", start) + len("\n }")
    run.record_path.write_text(text[:start] + asked + text[end:], encoding="utf-8")
    epochs = like.epochs_path.read_text().replace(like.run_id, run.run_id)
    run.epochs_path.write_text(epochs)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
