"""Forged evidence inside a run: joules, windows, sensors, time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tamperings.kinds import forged
from tamperings.made_again import Floats, Forgery, Messages, UnfitError, read_traces, write_traces
from wbcbench.core.run_folder import TRACES, RunDir


def scale(study: Forgery, run: RunDir, by: float, part: str = "") -> None:
    """Multiply what the channels of one part say, on the steps of its sensor."""
    study.edit_traces(
        run, lambda name, t_s, value: (t_s, (value * by).round(3) if part in name else value)
    )


def scale_counters(study: Forgery, run: RunDir, by: float) -> None:
    """Let every counter go by other steps from its first reading on."""

    def change(name: str, t_s: Floats, value: Floats) -> tuple[Floats, Floats]:
        first = value[np.isfinite(value)][0]
        is_scaled = is_counter(study, run, name)
        return t_s, (first + by * (value - first)).round(3) if is_scaled else value

    study.edit_traces(run, change)


def span(messages: Messages, window: str) -> tuple[float, float]:
    """When a window was opened and closed."""
    edges = {m["mark"]: m["t_s"] for m in messages if m.get("window") == window and "mark" in m}
    return edges["open"], edges["close"]


def window_of(study: Forgery, run: RunDir, name: str) -> tuple[float, float]:
    """When a window of a run was opened and closed, as its record has it."""
    for window in study.record(run)["windows"]:
        if window["name"] == name:
            return window["start_s"], window["end_s"]
    raise UnfitError(f"no window {name}")


def move_edges(
    study: Forgery, run: RunDir, window: str, *, start_s: float = 0.0, end_s: float = 0.0
) -> None:
    """Move the edges of a window by so many seconds."""
    by = {"open": start_s, "close": end_s}

    def edit(messages: Messages) -> None:
        for message in messages:
            if message.get("window") == window and "mark" in message:
                message["t_s"] += by[message["mark"]]

    study.edit_messages(run, edit)


def reshape(
    study: Forgery, run: RunDir, span_s: tuple[float, float], by: float, *, only_counters: bool
) -> None:
    """Multiply the power in a span of time; counters go on from where they are."""
    start_s, end_s = span_s

    def change(name: str, t_s: Floats, value: Floats) -> tuple[Floats, Floats]:
        inside = (t_s > start_s) & (t_s <= end_s)
        if is_counter(study, run, name):
            steps_j = np.diff(value, prepend=value[:1])
            return t_s, (value[0] + np.cumsum(np.where(inside, by, 1.0) * steps_j)).round(3)
        return t_s, value if only_counters else np.where(inside, by * value, value).round(3)

    study.edit_traces(run, change)


def is_counter(study: Forgery, run: RunDir, name: str) -> bool:
    kinds = {c["name"]: c["kind"] for c in study.record(run)["channels"]}
    return bool(kinds[name] == "counter")


def require(study: Forgery, run: RunDir, part: str) -> None:
    """Raise ``UnfitError`` without a channel of this name."""
    if not any(part in name for name, _, _ in read_traces(run.path / TRACES)):
        raise UnfitError(f"no {part}")


# --- joules ---------------------------------------------------------------------------------------


@forged("joules of a variant scaled, in all its traces")
def scaled_variant(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        scale(study, run, 0.9)


@forged("joules of a variant scaled, off the steps of its sensors")
def scaled_off_steps(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_traces(run, lambda _, t_s, value: (t_s, 0.93 * value))


@forged("joules of a variant scaled, while it is under load only")
def scaled_load(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        start_s, _ = window_of(study, run, "warmup")
        reshape(
            study, run, (start_s, window_of(study, run, "infer-b64")[1]), 0.93, only_counters=False
        )


@forged("joules of a variant scaled, while it trains only")
def scaled_training(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        reshape(study, run, window_of(study, run, "train"), 0.9, only_counters=False)


@forged("counter alone scaled by −4 %")
def counter_less(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)
    require(study, run, "gpu0/counter")
    scale(study, run, 0.96, "gpu0/counter")


@forged("counter alone scaled by −20 %")
def counter_far_less(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)
    require(study, run, "gpu0/counter")
    scale(study, run, 0.8, "gpu0/counter")


@forged("power reading alone scaled")
def power_less(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)
    require(study, run, "gpu0/power")
    scale(study, run, 0.88, "gpu0/power")


@forged("trace smoothed")
def smoothed(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)

    def change(name: str, t_s: Floats, value: Floats) -> tuple[Floats, Floats]:
        if is_counter(study, run, name):
            return t_s, np.interp(t_s, t_s[::8], value[::8]).round(3)
        return t_s, np.convolve(np.pad(value, 4, "edge"), np.ones(9) / 9, "valid").round(3)

    study.edit_traces(run, change)


@forged("a hot phase cut out of the trace")
def cut_out(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)
    start_s, _ = window_of(study, run, "epoch-1")

    def change(name: str, t_s: Floats, value: Floats) -> tuple[Floats, Floats]:
        kept = (t_s < start_s + 1.0) | (t_s > start_s + 4.0)
        if is_counter(study, run, name):
            after = t_s > start_s + 4.0
            gap_j = value[after][0] - value[t_s < start_s + 1.0][-1]
            value = np.where(after, value - gap_j, value)
        return t_s[kept], value[kept]

    study.edit_traces(run, change)


@forged("traces of two runs of a block exchanged")
def exchanged_traces(study: Forgery, rng: random.Random) -> None:
    block = rng.choice([run.read_spec().block for run in study.runs()])
    if len(inside := study.runs(block=block)) < 2:
        raise UnfitError("no two runs")
    one, other = rng.sample(inside, 2)
    held = {run.run_id: read_traces(run.path / TRACES) for run in (one, other)}
    for run, source in ((one, other), (other, one)):
        by_s = window_of(study, run, "train")[0] - window_of(study, source, "train")[0]
        polls = {name: (t_s + by_s, value) for name, t_s, value in held[source.run_id]}
        study.edit_traces(run, lambda name, *_, polls=polls: polls[name])


@forged("runs of a variant made more alike")
def made_alike(study: Forgery, rng: random.Random) -> None:
    runs = study.runs(variant=study.variant(rng))
    energies = [_train_j(study, run) for run in runs]
    mean_j = float(np.mean(energies))
    if len(runs) < 2 or np.ptp(energies) < 1e-6 * mean_j:
        raise UnfitError("one run")
    for run, energy_j in zip(runs, energies, strict=True):
        scale(study, run, 0.1 + 0.9 * mean_j / energy_j)


def _train_j(study: Forgery, run: RunDir) -> float:
    found = [e for e in study.record(run)["energies"] if e["window"] == "train" and e["energy_j"]]
    return float(max(e["energy_j"] for e in found))


# --- windows --------------------------------------------------------------------------------------


@forged("training opened late")
def opened_late(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        move_edges(study, run, "train", start_s=2.0)


@forged("training opened late, and its first epoch with it")
def opened_late_whole(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        move_edges(study, run, "train", start_s=2.0)
        move_edges(study, run, "epoch-1", start_s=2.0)
        study.edit_each(
            run, "epoch", lambda e: e.update(start_s=e["start_s"] + 2 * (e["index"] == 1))
        )


@forged("training closed early")
def closed_early(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        move_edges(study, run, "train", end_s=-2.0)


@forged("validation widened over training steps")
def widened_validation(study: Forgery, rng: random.Random) -> None:
    widen_validation(study, study.variant(rng), 1.5)


@forged("validation widened over training steps, by less than a second")
def hardly_widened_validation(study: Forgery, rng: random.Random) -> None:
    widen_validation(study, study.variant(rng), 0.9)


def widen_validation(study: Forgery, variant: str, by_s: float) -> None:
    """Let each epoch of a variant end earlier, and its validation begin so."""
    for run in study.runs(variant=variant):
        for epoch in study.record(run)["epochs"]:
            move_edges(study, run, f"epoch-{epoch['index']}", end_s=-by_s)
            move_edges(study, run, f"validate-{epoch['index']}", start_s=-by_s)
        study.edit_each(run, "epoch", lambda epoch: epoch.update(end_s=epoch["end_s"] - by_s))


@forged("one epoch made shorter")
def shorter_epoch(study: Forgery, rng: random.Random) -> None:
    run = study.run(rng)
    name = f"validate-{study.record(run)['epochs'][0]['index']}"
    move_edges(study, run, "epoch-1", end_s=-2.0)
    move_edges(study, run, name, start_s=-2.0, end_s=-2.0)

    def change(epoch: dict[str, Any]) -> None:
        for field in ("end_s", "evaluate_end_s"):
            epoch[field] -= 2.0 * (epoch["index"] == 1)

    study.edit_each(run, "epoch", change)


@forged("idle windows moved into the load")
def idle_under_load(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        by_s = window_of(study, run, "train")[0] + 1.0 - window_of(study, run, "idle_context")[0]
        for window in ("idle_cold", "idle_context"):
            move_edges(study, run, window, start_s=by_s, end_s=by_s)


@forged("last idle window moved into inference")
def last_idle_under_load(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        move_edges(study, run, "idle_post", start_s=-3.5, end_s=-3.5)


@forged("idle windows left out")
def no_idle(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_messages(
            run, lambda all_: [m for m in all_ if not str(m.get("window")).startswith("idle_c")]
        )


@forged("warm-up left out")
def no_warm_up(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        study.edit_messages(run, lambda all_: [m for m in all_ if m.get("window") != "warmup"])


@forged("a run compressed in time")
def compressed(study: Forgery, rng: random.Random) -> None:
    by = rng.choice([0.8, 0.9])
    for run in study.runs(variant=study.variant(rng)):
        start_s = window_of(study, run, "idle_cold")[0]
        study.retime(run, lambda t_s, start_s=start_s: start_s + by * (t_s - start_s))
        scale_counters(study, run, by)


@forged("training alone compressed in time")
def compressed_training(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(variant=study.variant(rng)):
        start_s, end_s = window_of(study, run, "train")

        def to(t_s: Floats, start_s: float = start_s, end_s: float = end_s) -> Floats:
            inside_s = np.clip(t_s, start_s, end_s) - start_s
            return t_s - 0.1 * inside_s

        reshape(study, run, (start_s, end_s), 0.9, only_counters=True)
        study.retime(run, to)


@forged("a run moved by months against its pair of clocks")
def moved_start(study: Forgery, rng: random.Random) -> None:
    move_calendar(study, study.runs(done=False), "2026-03", "2026-07")


def move_calendar(study: Forgery, runs: list[RunDir], old: str, new: str) -> None:
    """Change the month in which runs began and ended."""
    for run in runs:
        for name in ("began.json", "record.json"):
            study.edit_json(
                run,
                name,
                lambda v: v.update(
                    {k: v[k].replace(old, new) for k in ("started_utc", "ended_utc") if k in v}
                ),
            )


@forged("a study moved by months, its pairs of clocks with it")
def moved_study(study: Forgery, rng: random.Random) -> None:
    move_calendar(study, study.runs(done=False), "2026-03", "2026-07")
    later_s = 122 * 86400.0

    def change(began: Any) -> None:
        began["provenance"]["clock_pair"]["utc_s"] += later_s

    for run in study.runs(done=False):
        study.edit_began(run, change)


@forged("end of a run moved")
def moved_end(study: Forgery, rng: random.Random) -> None:
    study.edit_record(
        study.run(rng),
        lambda record: record.update(ended_utc=record["ended_utc"][:11] + "23:59:00Z"),
    )


# --- sensors and machine --------------------------------------------------------------------------


def board_log(study: Forgery, change: Callable[[dict[str, str]], None]) -> None:
    """Change every line of the boards' logs of all runs."""
    runs = [run for run in study.all_runs() if len([*run.path.glob("telemetry/*.csv")]) > 1]
    if not runs:
        raise UnfitError("no board")
    for run in runs:
        study.edit_log(run, change, cpu=False)


@forged("sensor's gain error made smaller")
def smaller_gain(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        require(study, run, "nvml")
        study.edit_channels(
            run, lambda channel: channel.update(gain_error=channel["gain_error"] and 0.005)
        )


@forged("power limit of the board changed")
def other_limit(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        require(study, run, "nvml")
        study.edit_channels(
            run, lambda c: c.update(limit_w=300.0 if c["name"].startswith("nvml") else c["limit_w"])
        )
        change_board(study, run, power_limit_enforced_w=300.0)


def change_board(study: Forgery, run: RunDir, **facts: Any) -> None:
    """Change what the first board states of itself."""

    def change(began: Any) -> None:
        if "nvml/gpu0" not in began["meters"]:
            raise UnfitError("no board")
        began["meters"]["nvml/gpu0"] |= facts

    study.edit_began(run, change)


@forged("power limit changed in the board's log alone")
def other_logged_limit(study: Forgery, rng: random.Random) -> None:
    board_log(study, lambda row: row.update(power_limit_w="300.0"))


@forged("pace of a counter changed")
def other_pace(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():
        study.edit_channels(run, lambda c: c.update(update_s=c["update_s"] and 3 * c["update_s"]))


@forged("estimated renamed measured")
def renamed_measured(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        study.edit_channels(run, lambda channel: channel.update(origin="measured"))


@forged("estimate given the name of a sensor")
def renamed_sensor(study: Forgery, rng: random.Random) -> None:
    new = {"codecarbon/cpu": "rapl/package-0/counter", "codecarbon/ram": "rapl/dram-0/counter"}

    for run in study.all_runs():
        traces = [name for name, _, _ in read_traces(run.path / TRACES)]
        if "codecarbon/cpu" not in traces:
            raise UnfitError("no estimate")

        def rename(channel: Any) -> None:
            if channel["name"] in new:
                zone = new[channel["name"]].split("/")[1]
                channel |= {"name": new[channel["name"]], "origin": "measured", "reading": zone}
                channel |= {"update_s": 0.001}

        study.edit_channels(run, rename)
        path = run.path / TRACES
        write_traces(path, [(new.get(n, n), t_s, v) for n, t_s, v in read_traces(path)])
        study.edit_began(run, _claim_rapl)
        study.edit_end(run, _rename_sampling)


def _claim_rapl(began: Any) -> None:
    began["meters"].pop("codecarbon")
    began["meters"]["rapl"] = {"zones": ["package-0"]}
    began["absent"] = [absent for absent in began["absent"] if absent["meter"] != "rapl"]


def _rename_sampling(record: Any) -> None:
    for each in record.get("sampling", ()):
        each["meter"] = each["meter"].replace("codecarbon", "rapl")


@forged("processor's estimate left out")
def no_estimate(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        require(study, run, "codecarbon")
        names = [name for name, _, _ in read_traces(run.path / TRACES)]
        if all(name.startswith("codecarbon") for name in names):
            raise UnfitError("nothing else was read")
        study.edit_traces(run, lambda n, t, v: None if n.startswith("codecarbon") else (t, v))
        study.edit_json(
            run,
            "channels.json",
            lambda all_: all_.__setitem__(
                slice(None), [c for c in all_ if not c["name"].startswith("codecarbon")]
            ),
        )
        study.edit_began(run, _miss_codecarbon)


def _miss_codecarbon(began: Any) -> None:
    del began["meters"]["codecarbon"]
    reason = "codecarbon is not installed."
    began["absent"].append({"meter": "codecarbon", "reason": reason, "domain": None})


@forged("reason of an absent meter changed")
def other_reason(study: Forgery, rng: random.Random) -> None:
    def change(began: Any) -> None:
        if not began["absent"]:
            raise UnfitError("every meter is there")
        began["absent"][0]["reason"] = "This machine has no such sensor."

    for run in study.all_runs():
        study.edit_began(run, change)


@forged("load of the board lowered in its log")
def less_load(study: Forgery, rng: random.Random) -> None:
    board_log(study, lambda row: row.update(utilization=str(0.5 * float(row["utilization"]))))


@forged("board made cooler in its log")
def cooler(study: Forgery, rng: random.Random) -> None:
    board_log(study, lambda row: row.update(temperature_c=str(float(row["temperature_c"]) - 12)))


@forged("clock of the board raised in its log")
def faster_clock(study: Forgery, rng: random.Random) -> None:
    board_log(study, lambda row: row.update(clock_sm_hz=str(1.2 * float(row["clock_sm_hz"]))))


@forged("the board's log removed")
def no_board_log(study: Forgery, rng: random.Random) -> None:
    runs = [run for run in study.runs() if len([*run.path.glob("telemetry/*.csv")]) > 1]
    if not runs:
        raise UnfitError("no board")
    for run in runs:
        for path in run.path.glob("telemetry/*.csv"):
            if path.name != "cpu.csv":
                path.unlink()
        study.edit_record(run, lambda record: record.update(telemetry=[]))


@forged("processor time of others taken out of its log")
def no_others(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():
        study.edit_log(run, lambda row: row.update(busy_s=row["own_s"]), cpu=True)


@forged("processor time of the trainer halved")
def less_cpu_time(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():
        study.edit_end(run, lambda end: end.update(trainer_cpu_s=end["trainer_cpu_s"] / 2))


@forged("GPU renamed")
def renamed_gpu(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        change_board(study, run, name="Better GPU")


@forged("driver replaced")
def other_driver(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        change_board(study, run, driver="999.9")


@forged("processor renamed")
def renamed_processor(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        study.edit_began(run, _rename_processor)


def _rename_processor(began: Any) -> None:
    began["provenance"]["cpu_model"] = "Better CPU 5.0 GHz"
    codecarbon = began["meters"].get("codecarbon", {})
    codecarbon |= {"cpu_model": "Better CPU 5.0 GHz"} if "cpu_model" in codecarbon else {}


@forged("memory of the machine made more")
def more_memory(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        study.edit_began(run, lambda b: b["provenance"].update(ram_bytes=64_000_000_000))


@forged("some runs given to another machine")
def other_machine(study: Forgery, rng: random.Random) -> None:
    for run in study.runs(done=False, block=study.last_block()):
        study.edit_began(run, lambda b: b["provenance"].update(host_id="0123456789ab"))


@forged("two machines made one")
def one_machine(study: Forgery, rng: random.Random) -> None:
    runs = study.runs(done=False)
    hosts = {study.record(run)["provenance"]["host_id"] for run in runs}
    if len(hosts) < 2:
        raise UnfitError("one machine")
    for run in runs:
        if study.record(run)["provenance"]["host_id"] != min(hosts):
            study.edit_began(run, lambda b: b["provenance"].update(host_id=min(hosts)))


@forged("commit replaced")
def other_commit(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        study.edit_began(
            run, lambda b: b["provenance"].update(git_commit="ab" * 20, git_dirty=False)
        )


@forged("lock of the packages replaced")
def other_lock(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        study.edit_began(run, lambda b: b["provenance"].update(lock_sha256="ef" * 32))


@forged("version of TensorFlow replaced")
def other_tensorflow(study: Forgery, rng: random.Random) -> None:
    for run in study.runs():
        study.edit_each(run, "model", lambda model: model["versions"].update(tensorflow="2.30.0"))


@forged("version of this program replaced")
def other_version(study: Forgery, rng: random.Random) -> None:
    for run in study.all_runs():
        study.edit_began(run, lambda b: b["provenance"].update(wbcbench_version="0.0.9"))


@forged("wall meter's log shifted")
def shifted_wall(study: Forgery, rng: random.Random) -> None:
    _edit_wall(study, lambda t_s, value: (t_s + 25.0, value))


@forged("wall meter's log scaled")
def scaled_wall(study: Forgery, rng: random.Random) -> None:
    _edit_wall(study, lambda t_s, value: (t_s, 0.92 * value))


def _edit_wall(study: Forgery, change: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> None:
    runs = [run for run in study.runs() if run.has_attachment]
    if not runs:
        raise UnfitError("no wall meter")
    for run in runs:
        study.edit_attached(run, change)
