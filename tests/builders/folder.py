"""The files of a run's folder, as watcher and trainer leave them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from builders.evidence import VALIDATED_EPOCHS, VALIDATED_WINDOWS, counter, power
from builders.machine import GPU, Load
from builders.run import make_spec
from data_folders import image_set
from wbcbench.core import cpu_load
from wbcbench.core.board_state import COLUMNS, BoardSample, sample_to_line
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.messages import append_line
from wbcbench.core.record import AT_END, Circumstances, Epoch, TrainingLoop
from wbcbench.core.run_folder import GROWING_TRACES, TRACES, Local, RunDir
from wbcbench.core.trace import Channel, Trace
from wbcbench.core.window import Window
from wbcbench.energy.account import account
from wbcbench.train import scores

TRAIN_STEPS_J = 250.0 * (70.0 - 4.0)  # of a `run_folder`: training without validation

Timed = tuple[float, dict[str, Any]]


def write_traces(run: RunDir, traces: Iterable[Trace]) -> None:
    """One file a meter, a column a channel, or what a finished run has instead of them."""
    (run.path / TRACES).unlink(missing_ok=True)
    (run.path / GROWING_TRACES).mkdir(exist_ok=True)
    by_meter = defaultdict[str, list[Trace]](list)
    for trace in traces:
        by_meter[meter_of(trace.channel)].append(trace)
    for meter, own in by_meter.items():
        polls = zip(own[0].t_s, *(trace.value for trace in own), strict=True)
        lines = [
            ",".join([f"{t_s:.6f}", *("" if v is None else repr(v) for v in values)])
            for t_s, *values in polls
        ]
        header = ",".join(["t_s", *(trace.channel.name for trace in own)])
        run.trace_path(meter).write_text("\n".join([header, *lines, ""]), encoding="ascii")
    if run.is_finished:
        run.pack_traces()


def meter_of(channel: Channel) -> str:
    """The meter that reads a channel: one for each GPU, one for all of RAPL and CodeCarbon."""
    first, second, *_ = channel.name.split("/")
    return f"{first}/{second}" if first == "nvml" else first


def write_telemetry(run: RunDir, looks: Iterable[BoardSample], device: str = GPU) -> None:
    """The log of a board's state."""
    path = run.telemetry_path(device)
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "\n".join([",".join(COLUMNS), *map(sample_to_line, looks), ""]), encoding="ascii"
    )


def write_cpu_time(run: RunDir, start_s: float, end_s: float, others: float = 0.02) -> None:
    """The log of the processor's time: two cores, one busy with the run, a share with others."""
    path = run.cpu_time_path
    path.parent.mkdir(exist_ok=True)
    times = np.arange(start_s, end_s + 1.0, 1.0).tolist()
    samples = [CpuSample(t, (1.0 + 2 * others) * (t - start_s), t - start_s, 2) for t in times]
    lines = [",".join(cpu_load.COLUMNS), *(sample.line for sample in samples), ""]
    path.write_text("\n".join(lines), encoding="ascii")


def write_measurements(
    run: RunDir,
    channels: Sequence[Channel],
    windows: Sequence[Window],
    rng: np.random.Generator,
    *,
    factor: float = 1.0,
    until_s: float = math.inf,
    jitter_s: float = 0.03,
) -> list[Trace]:
    """Channels, traces and the board's log of a run with these windows; ends at ``until_s``.

    Polls come ten times a second, as unevenly as the sampler's, from before the first window to
    after the last.
    """
    start_s = windows[0].start_s - 0.5
    end_s = min(max(w.end_s for w in windows), until_s) + 1.0
    ticks = start_s + 0.1 * np.arange(round((end_s - start_s) * 10))
    t_s = (ticks + rng.uniform(-jitter_s, jitter_s, len(ticks)) + 0.05).round(6)
    loads = {channel: Load.of_run(channel, windows, factor) for channel in channels}
    traces = [load.trace(channel, t_s, rng) for channel, load in loads.items()]
    run.write_channels(channels)
    write_traces(run, traces)
    write_cpu_time(run, start_s, end_s)
    for channel, load in loads.items():
        if channel.device is not None:
            write_telemetry(run, _looks(load, start_s, end_s, channel.limit_w), channel.device)
    return traces


def _looks(
    load: Load, start_s: float, end_s: float, limit_w: float | None
) -> Iterator[BoardSample]:
    """One look a second at a board that runs as it should."""
    for t_s in np.arange(start_s, end_s, 1.0).tolist():
        is_loaded = load.start_s <= t_s < load.end_s
        yield BoardSample(
            t_s,
            temperature_c=62.0 if is_loaded else 50.0,
            clock_sm_hz=1.4e9,
            clock_memory_hz=1.2e9,
            utilization=0.95 if is_loaded else 0.0,
            memory_used_bytes=2e9 if is_loaded else 1e8,
            power_limit_w=limit_w,
            reasons=(),
            own=(4711,) if is_loaded else (),
            foreign=(),
        )


def messages(
    windows: Iterable[Window], epochs: Iterable[Epoch], loops: Sequence[TrainingLoop] = ()
) -> Iterator[Timed]:
    """Marks, epochs and loops with their moments; one without end (``math.inf``) stays open."""
    if loops:
        yield loops[0].spans_s[0][0], {"loops": len(loops)}
    for loop in loops:  # before the window that holds them is closed
        yield loops[-1].spans_s[-1][1], {"loop": asdict(loop)}
    for window in windows:
        for edge, t_s in (("open", window.start_s), ("close", window.end_s)):
            yield t_s, {"mark": edge, "window": window.name, "t_s": t_s}
    for epoch in epochs:
        yield epoch.evaluate_end_s, {"epoch": asdict(epoch)}


def write_messages(run: RunDir, timed: Iterable[Timed], until_s: float = 1e9) -> None:
    """What trainer and watcher said up to a moment, in its order."""
    ordered = sorted((pair for pair in timed if pair[0] <= until_s), key=lambda pair: pair[0])
    run.marks_path.write_text("".join(json.dumps(message) + "\n" for _, message in ordered))


def write_end(run: RunDir, circumstances: Circumstances) -> None:
    """The recorder's last message: what it knew at the end."""
    at_end = {name: getattr(circumstances, name) for name in AT_END}
    with run.marks_path.open("a") as stream:
        append_line(stream, json.dumps({"recorder": at_end}, default=asdict))


def write_predictions(
    run: RunDir,
    right: Sequence[bool] | np.ndarray,
    photographs: Sequence[int | None] | np.ndarray,
    also_in_train: np.ndarray | None = None,
) -> None:
    """Predictions in which image ``i`` is right or not; classes go round by photograph."""
    labels = [(p or 0) % 4 for p in photographs]
    chosen = [(label + (not ok)) % 4 for label, ok in zip(labels, right, strict=True)]
    probabilities = np.full((len(labels), 5), 0.05, np.float32)
    probabilities[np.arange(len(labels)), np.array(chosen) + 1] = 0.8
    images = image_set([-1 if p is None else p for p in photographs], labels)
    if also_in_train is not None:
        images = replace(images, also_in_train=also_in_train)
    scores.write_predictions(run.predictions_path, images, probabilities)


def run_folder(results: Path, *traces: Trace, study: str = "runs") -> RunDir:
    """A finished run on the traces of ``evidence``, or on others, accounted for from its files."""
    spec = make_spec(study=study, epochs=2)
    run = RunDir(results / study / spec.run_id)
    run.create(spec, Local())
    traces = traces or (counter(), power())
    run.write_channels([trace.channel for trace in traces])
    write_traces(run, traces)
    write_messages(run, messages(VALIDATED_WINDOWS, VALIDATED_EPOCHS))
    circumstances = Circumstances("2026-03-01T10:00:00Z", {"git_commit": "abc", "cpu_count": 2})
    run.write_record(account(run, circumstances, "done"))
    return run
