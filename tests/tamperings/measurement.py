"""What was measured: joules, traces, windows, telemetry."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tamperings.bag import Bag
from tamperings.kinds import edited
from wbcbench.core.run_folder import TRACES
from wbcbench.core.trace_file import parquet_from_polls, read_parquet_polls


def known(record: Any, rng: random.Random) -> Any:
    """Any energy of a record that is known, of training if there is one."""
    found = [each for each in record["energies"] if each["energy_j"]]
    return rng.choice([e for e in found if e["window"] == "train"] or found)


@edited("joules of a window edited in the record")
def edited_joules(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        known(record, rng)["energy_j"] *= rng.choice([0.9, 0.97, 0.995, 1.02])

    bag.edit_record(bag.run(rng), change)


@edited("joules edited, and table, epochs and phases made to fit")
def fitted_joules(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(record: Any) -> None:
        factor = rng.choice([0.9, 0.97, 0.995])
        for each in record["energies"]:
            for name in ("energy_j", "mean_power_w"):
                each[name] = each[name] and each[name] * factor

    bag.edit_record(run, change)
    bag.rederive(run)


@edited("uncertainty of joules narrowed")
def narrowed(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        for each in record["energies"]:
            each["uncertainty_j"] = each["uncertainty_j"] and each["uncertainty_j"] / 3
        record["budgets"] = record["budgets"][: rng.randrange(3)]

    bag.edit_record(bag.run(rng), change)


@edited("samples of a window made more")
def more_samples(bag: Bag, rng: random.Random) -> None:
    bag.edit_record(bag.run(rng), lambda record: known(record, rng).update(samples=5000))


@edited("estimated re-labelled as measured in the record")
def relabelled(bag: Bag, rng: random.Random) -> None:
    def change(record: Any) -> None:
        for channel in record["channels"]:
            channel["origin"] = "measured"

    run = bag.run(rng)
    bag.edit_record(run, change)
    bag.rederive(run)


@edited("estimated re-labelled as measured everywhere, and the run accounted again")
def relabelled_whole(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)

    def change(channels: Any) -> None:
        for channel in channels:
            channel["origin"] = "measured"

    bag.edit_json(run.path / "channels.json", change)
    bag.reaccount(run)


@edited("meter's pace changed in channels.json")
def other_pace(bag: Bag, rng: random.Random) -> None:
    def change(channels: Any) -> None:
        rng.choice(channels)["update_s"] = 3.0

    bag.edit_json(bag.run(rng).path / "channels.json", change)


Poll = tuple[float, float | None]


def edit_trace(bag: Bag, rng: random.Random, change: Callable[[list[Poll]], list[Poll]]) -> None:
    """Change the polls of one channel of a run."""
    path = bag.run(rng).path / TRACES
    traces = read_parquet_polls(path)
    at = rng.randrange(len(traces))
    name, t_s, value = traces[at]
    changed = change(list(zip(t_s, value, strict=True)))
    traces[at] = (name, [t for t, _ in changed], [v for _, v in changed])
    bag.write(path, parquet_from_polls(traces))


@edited("trace shifted in time")
def shifted(bag: Bag, rng: random.Random) -> None:
    by_s = rng.choice([-2.0, 0.7, 3.0])
    edit_trace(bag, rng, lambda polls: [(t_s + by_s, value) for t_s, value in polls])


@edited("trace scaled")
def scaled(bag: Bag, rng: random.Random) -> None:
    by = rng.choice([0.5, 0.95, 0.99, 1.1])
    edit_trace(bag, rng, lambda polls: [(t_s, value and by * value) for t_s, value in polls])


@edited("hole cut into a trace")
def holed(bag: Bag, rng: random.Random) -> None:
    def change(polls: list[Poll]) -> list[Poll]:
        at = rng.randrange(len(polls) // 3, len(polls) // 2)
        return polls[:at] + polls[at + 30 :]

    edit_trace(bag, rng, change)


@edited("polls of a trace in another order")
def disordered(bag: Bag, rng: random.Random) -> None:
    def change(polls: list[Poll]) -> list[Poll]:
        at = len(polls) // 2
        return [*polls[:at], polls[at + 1], polls[at], *polls[at + 2 :]]

    edit_trace(bag, rng, change)


@edited("traces of another run put in their place")
def borrowed_trace(bag: Bag, rng: random.Random) -> None:
    run, other = bag.two(rng)
    bag.write(run.path / TRACES, (other.path / TRACES).read_bytes())


@edited("trace removed")
def no_trace(bag: Bag, rng: random.Random) -> None:
    path = bag.run(rng).path / TRACES
    traces = read_parquet_polls(path)
    traces.pop(rng.randrange(len(traces)))
    bag.write(path, parquet_from_polls(traces))


@edited("file of traces removed")
def no_traces(bag: Bag, rng: random.Random) -> None:
    bag.remove(bag.run(rng).path / TRACES)


@edited("edge of a window moved")
def moved_edge(bag: Bag, rng: random.Random) -> None:
    moved = False

    def change(message: dict[str, Any]) -> None:
        nonlocal moved
        if message.get("mark") == "close" and message["window"] == "train" and not moved:
            message["t_s"] -= 1.5
            moved = True

    bag.edit_messages(bag.run(rng), change)


@edited("telemetry of the board edited")
def cooled(bag: Bag, rng: random.Random) -> None:
    run = bag.run(rng)
    found = sorted((run.path / "telemetry").glob("*.csv"))
    bag.edit_lines(found[0], lambda lines: [lines[0], *lines[len(lines) // 3 :]])
