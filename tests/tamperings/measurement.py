"""What was measured: joules, traces, windows, telemetry."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamperings.bag import Bag
from tamperings.kinds import kind, known, reaccount, rederive
from wbcbench.core.run_folder import RunDir


@kind("joules of a window edited in the record")
def edited_joules(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        known(record, rng)["energy_j"] *= rng.choice([0.9, 0.97, 0.995, 1.02])

    bag.edit_record(bag.run(rng), change)


@kind("joules edited, and table, epochs and phases made to fit")
def fitted_joules(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(record: Any) -> None:
        factor = rng.choice([0.9, 0.97, 0.995])
        for each in record["energies"]:
            for name in ("energy_j", "mean_power_w"):
                each[name] = each[name] and each[name] * factor

    bag.edit_record(run, change)
    rederive(bag, run)


@kind("uncertainty of joules narrowed")
def narrowed(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        for each in record["energies"]:
            each["uncertainty_j"] = each["uncertainty_j"] and each["uncertainty_j"] / 3
        record["budgets"] = record["budgets"][: rng.randrange(3)]

    bag.edit_record(bag.run(rng), change)


@kind("samples of a window made more")
def more_samples(bag: Bag, rng: random.Random) -> None:
    bag.edit_record(bag.run(rng), lambda record: known(record, rng).update(samples=5000))


@kind("estimated re-labelled as measured in the record")
def relabelled(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        for channel in record["channels"]:
            channel["origin"] = "measured"

    run = bag.run(rng)
    bag.edit_record(run, change)
    rederive(bag, run)


@kind("estimated re-labelled as measured everywhere, and the run accounted again")
def relabelled_whole(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(channels: Any) -> None:
        for channel in channels:
            channel["origin"] = "measured"

    bag.edit_json(run.path / "channels.json", change)
    reaccount(bag, run)


@kind("meter's pace changed in channels.json")
def other_pace(bag: Bag, rng: random.Random) -> None:
    def change(channels: Any) -> None:
        rng.choice(channels)["update_s"] = 3.0

    bag.edit_json(bag.run(rng).path / "channels.json", change)


def trace_path(run: RunDir, rng: random.Random) -> Path:
    return rng.choice(sorted((run.path / "trace").glob("*.csv")))


def each_poll(change: Callable[[list[str]], list[str]]) -> Callable[[list[str]], list[str]]:
    def changed(lines: list[str]) -> list[str]:
        polls = [",".join(change(line.split(","))) for line in lines[1:] if line]
        return [lines[0], *polls, ""]

    return changed


@kind("trace shifted in time")
def shifted(bag: Bag, rng: random.Random) -> None:
    by_s = rng.choice([-2.0, 0.7, 3.0])
    change = each_poll(lambda cells: [f"{float(cells[0]) + by_s:.6f}", *cells[1:]])
    bag.edit_lines(trace_path(bag.run(rng), rng), change)


@kind("trace scaled")
def scaled(bag: Bag, rng: random.Random) -> None:
    by = rng.choice([0.5, 0.95, 0.99, 1.1])
    change = each_poll(lambda cells: [cells[0], *(repr(float(c) * by) for c in cells[1:])])
    bag.edit_lines(trace_path(bag.run(rng), rng), change)


@kind("hole cut into a trace")
def holed(bag: Bag, rng: random.Random) -> None:
    def change(lines: list[str]) -> list[str]:
        at = rng.randrange(len(lines) // 3, len(lines) // 2)
        return lines[:at] + lines[at + 30 :]

    bag.edit_lines(trace_path(bag.run(rng), rng), change)


@kind("polls of a trace in another order")
def disordered(bag: Bag, rng: random.Random) -> None:
    def change(lines: list[str]) -> list[str]:
        at = len(lines) // 2
        return [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]

    bag.edit_lines(trace_path(bag.run(rng), rng), change)


@kind("trace of another run put in its place")
def borrowed_trace(bag: Bag, rng: random.Random) -> None:
    one, other = bag.two(rng)
    path = trace_path(one, rng)
    bag.write(path, (other.path / "trace" / path.name).read_bytes())


@kind("trace removed")
def no_trace(bag: Bag, rng: random.Random) -> None:
    bag.remove(trace_path(bag.run(rng), rng))


@kind("edge of a window moved")
def moved_edge(bag: Bag, rng: random.Random) -> None:
    moved = False

    def change(message: dict[str, Any]) -> None:
        nonlocal moved
        if message.get("mark") == "close" and message["window"] == "train" and not moved:
            message["t_s"] -= 1.5
            moved = True

    bag.edit_messages(bag.run(rng), change)


@kind("telemetry of the board edited")
def cooled(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)
    found = sorted((run.path / "telemetry").glob("*.csv"))
    if not found:
        return edited_joules(bag, rng)
    bag.edit_lines(found[0], lambda lines: [lines[0], *lines[len(lines) // 3 :]])
    return None
