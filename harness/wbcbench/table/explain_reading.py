"""What lies under a cell: the joules of one window on one channel, and the test predictions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbcbench.core.errors import UsageError
from wbcbench.core.record import Budget, RunRecord, Scores
from wbcbench.core.trace import Channel, Trace
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_validation
from wbcbench.energy.integrate import EnergyCurve, energy_curve
from wbcbench.train.scores import score


@dataclass(frozen=True, slots=True)
class Point:
    """One reading: joules of a counter, or watts."""

    t_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a window on the cumulative curve of a trace.

    Attributes:
        t_s: The mark.
        before, after: Knots of the curve around it; ``None`` where the curve ends.
        energy_j: Cumulative joules at the mark, interpolated between the two.
    """

    t_s: float
    before: Point | None
    after: Point | None
    energy_j: float


@dataclass(frozen=True, slots=True)
class Samples:
    """The good readings inside a window; ``first`` and ``last`` are ``None`` if there are none."""

    count: int
    first: Point | None
    last: Point | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of joules and all it rests on.

    Attributes:
        window: The span between its marks; ``None`` if the run did not get there.
        channel: What was read.
        recorded: The number as the record has it.
        again: The number worked out from the trace; ``None`` without a trace.
        budget: Where its uncertainty comes from, as just worked out, else as recorded.
        passes: Validation passes taken out of ``train``, as just worked out, else as recorded.
        samples, start, end: From the trace; ``None`` without one.
    """

    window: Window | None
    channel: Channel
    recorded: WindowEnergy
    again: WindowEnergy | None
    budget: Budget | None
    passes: tuple[WindowEnergy, ...] = ()
    samples: Samples | None = None
    start: Edge | None = None
    end: Edge | None = None


def explain_readings(
    lookups: Sequence[tuple[str, str]],
    recorded: RunRecord,
    again: RunRecord | None,
    traces: Mapping[str, Trace],
) -> tuple[Reading, ...]:
    """Take apart the joules that were looked up by window and channel.

    Args:
        lookups: Windows and channels; those the record knows nothing of are left out.
        recorded: The record as it stands.
        again: The record made again from traces; ``None`` if they were not kept.
        traces: By name of the channel.
    """
    channels = {channel.name: channel for channel in recorded.channels}
    return tuple(
        _reading(energy, channels[channel], recorded, again, traces.get(channel))
        for window, channel in lookups
        if (energy := recorded.energy(window, channel)) and channel in channels
    )


def _reading(
    energy: WindowEnergy,
    channel: Channel,
    recorded: RunRecord,
    again: RunRecord | None,
    trace: Trace | None,
) -> Reading:
    source = again if again and trace else recorded
    window = source.window(energy.window)
    reading = Reading(
        window=window,
        channel=channel,
        recorded=energy,
        again=again.energy(energy.window, channel.name) if again and trace else None,
        budget=_budget(source, energy),
        passes=_passes(source, energy),
    )
    return _with_trace(reading, window, trace) if window and trace else reading


def _budget(record: RunRecord, energy: WindowEnergy) -> Budget | None:
    own = (b for b in record.budgets if (b.window, b.channel) == (energy.window, energy.channel))
    return next(own, None)


def _passes(record: RunRecord, energy: WindowEnergy) -> tuple[WindowEnergy, ...]:
    if energy.window != TRAIN:
        return ()
    return tuple(
        each
        for each in record.energies
        if each.channel == energy.channel and is_validation(each.window)
    )


def _with_trace(reading: Reading, window: Window, trace: Trace) -> Reading:
    has_curve = bool(energy_curve(trace).t_s)
    return Reading(
        window,
        reading.channel,
        reading.recorded,
        reading.again,
        reading.budget,
        reading.passes,
        _samples(trace, window),
        _edge(energy_curve(trace), window.start_s) if has_curve else None,
        _edge(energy_curve(trace), window.end_s) if has_curve else None,
    )


def _samples(trace: Trace, window: Window) -> Samples:
    times, values = trace.good
    first = bisect_right(times, window.start_s)
    end = bisect_right(times, window.end_s)
    if first == end:
        return Samples(0, None, None)
    return Samples(
        end - first,
        Point(times[first], values[first]),
        Point(times[end - 1], values[end - 1]),
    )


def _edge(curve: EnergyCurve, at_s: float) -> Edge:
    after = bisect_left(curve.t_s, at_s)
    return Edge(at_s, _knot(curve, after - 1), _knot(curve, after), curve.at(at_s))


def _knot(curve: EnergyCurve, i: int) -> Point | None:
    return Point(curve.t_s[i], curve.energy_j[i]) if 0 <= i < len(curve.t_s) else None


@dataclass(frozen=True, slots=True)
class TestPredictions:
    """The predictions of one run.

    Attributes:
        probabilities: ``[n, classes + 1]``; column 0 is the output that is never used.
        labels: ``[n]``, true classes.
        photographs: ``[n]``; -1 is unknown.
        also_in_train: ``[n]``, whether TRAIN shows the same cell.
        classes: Names.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    photographs: NDArray[np.int64]
    also_in_train: NDArray[np.bool_]
    classes: tuple[str, ...]

    def scores(self, *, grouped: bool) -> Scores:
        """The scores; with an interval if the images are ``grouped`` by photograph."""
        photographs = self.photographs if grouped else None
        return score(self.probabilities, self.labels, photographs, self.classes)

    def unseen(self) -> TestPredictions | None:
        """The images of cells that TRAIN does not show; ``None`` if there are none."""
        chosen = ~self.also_in_train
        if not chosen.any():
            return None
        return TestPredictions(
            self.probabilities[chosen],
            self.labels[chosen],
            self.photographs[chosen],
            self.also_in_train[chosen],
            self.classes,
        )


def read_test_predictions(path: Path, classes: Sequence[str]) -> TestPredictions:
    """Read a predictions table.

    Raises:
        UsageError: The file is damaged, or is of other classes.
    """
    import pyarrow.parquet as pq

    names = ["p_unused", *(f"p_{name.lower()}" for name in classes)]
    try:
        table = pq.read_table(path)
        columns = [table[name].to_numpy() for name in names]
        labels = [classes.index(name) for name in table["y_true"].to_pylist()]
        photographs = [-1 if p is None else p for p in table["original_id"].to_pylist()]
        seen = table["also_in_train"].to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as predictions ({error}), so the scores cannot be worked out "
            "again. Take the file from the study it came with."
        ) from error
    return TestPredictions(
        np.column_stack(columns),
        np.asarray(labels, dtype=np.int64),
        np.asarray(photographs, dtype=np.int64),
        np.asarray(seen, dtype=np.bool_),
        tuple(classes),
    )
