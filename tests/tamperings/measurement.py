"""What was measured: joules, traces, windows, telemetry."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from builders.folder import meter_of
from tamperings.bag import Bag
from tamperings.kinds import kind, known, reaccount, rederive
from wbcbench.core.trace import Trace


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


Poll = tuple[float, float | None]


def edit_polls(
    bag: Bag, rng: random.Random, change: Callable[[list[Poll]], Sequence[Poll]]
) -> None:
    """Change the polls of one meter in one run."""
    run = bag.run(rng)
    meter = rng.choice(sorted({meter_of(trace.channel) for trace in run.read_traces()}))

    def changed(trace: Trace) -> Trace:
        if meter_of(trace.channel) != meter:
            return trace
        polls = change(list(zip(trace.t_s, trace.value, strict=True)))
        return Trace(trace.channel, [t_s for t_s, _ in polls], [value for _, value in polls])

    bag.edit_traces(run, lambda traces: list(map(changed, traces)))


@kind("trace shifted in time")
def shifted(bag: Bag, rng: random.Random) -> None:
    by_s = rng.choice([-2.0, 0.7, 3.0])
    edit_polls(bag, rng, lambda polls: [(t_s + by_s, value) for t_s, value in polls])


@kind("trace scaled")
def scaled(bag: Bag, rng: random.Random) -> None:
    by = rng.choice([0.5, 0.95, 0.99, 1.1])
    edit_polls(bag, rng, lambda polls: [(t_s, value and value * by) for t_s, value in polls])


@kind("hole cut into a trace")
def holed(bag: Bag, rng: random.Random) -> None:
    share = rng.uniform(1 / 3, 1 / 2)

    def change(polls: list[Poll]) -> list[Poll]:
        at = int(share * len(polls))
        return polls[:at] + polls[at + 30 :]

    edit_polls(bag, rng, change)


@kind("polls of a trace in another order")
def disordered(bag: Bag, rng: random.Random) -> None:
    def change(polls: list[Poll]) -> list[Poll]:
        at = len(polls) // 2
        return [*polls[:at], polls[at + 1], polls[at], *polls[at + 2 :]]

    edit_polls(bag, rng, change)


@kind("traces of another run put in their place")
def borrowed_traces(bag: Bag, rng: random.Random) -> None:
    one, other = bag.two(rng)
    bag.edit_traces(one, lambda _: other.read_traces())


@kind("trace removed")
def no_trace(bag: Bag, rng: random.Random) -> None:
    def change(traces: list[Trace]) -> list[Trace]:
        meter = rng.choice(sorted({meter_of(trace.channel) for trace in traces}))
        return [trace for trace in traces if meter_of(trace.channel) != meter]

    bag.edit_traces(bag.run(rng), change)


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
