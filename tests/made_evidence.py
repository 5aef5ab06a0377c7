"""Evidence of made-up runs: 3 s idle, 70 s of training in two epochs, evaluation, 3 s idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wbcbench.checks import Evidence, cautions
from wbcbench.joules.energy import Channel, Domain, Kind, Origin, Trace, Window
from wbcbench.runs.records import Epoch
from wbcbench.runs.study import RunSpec
from wbcbench.sensors.board_state import Telemetry
from wbcbench.trust.appraisal import appraise
from wbcbench.verdict import Caution, Verdict, verdict

GPU = "GPU-1"
COUNTER = Channel(
    "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy",
    gain_error=0.05, limit_w=400.0, device=GPU,
)  # fmt: skip
POWER = replace(COUNTER, name="nvml/gpu0/power", kind=Kind.SAMPLED, reading="power_instant")
CPU_MODEL = Channel(
    "codecarbon/cpu", Kind.COUNTER, Origin.MODELLED, Domain.CPU, "tdp_load", update_s=1.0
)

WINDOWS = (
    Window("idle_cold", 11.0, 14.0),
    Window("train", 15.0, 85.0),
    Window("epoch-1", 15.0, 50.0),
    Window("epoch-2", 50.0, 85.0),
    Window("evaluate", 85.5, 96.0),
    Window("idle_post", 97.0, 100.0),
)
STEPS = 100  # an epoch of 35 s in 100 steps of 350 ms
TRUE_TRAIN_J = 70 * 250.0

TIMES = tuple(10.0 + 0.1 * i for i in range(911))


def load_w(t_s: float) -> float:
    """60 W idle; 250 W from 14.5 s to 96.5 s, with a ripple of 2 W that sums to nothing."""
    ripple = 2.0 if int(t_s * 10 + 0.5) % 2 else -2.0
    return (250.0 if 14.5 <= t_s < 96.5 else 60.0) + ripple


def load_j(t_s: float) -> float:
    """Joules since 10 s, without the ripple."""
    return 60.0 * (t_s - 10.0) + 190.0 * (min(max(t_s, 14.5), 96.5) - 14.5)


def counter(change: Callable[[float, float], float | None] = lambda _, j: j) -> Trace:
    """The counter, each reading changed by ``change(t_s, joules)``."""
    return Trace(COUNTER, TIMES, [change(t, load_j(t)) for t in TIMES])


def power(change: Callable[[float, float], float | None] = lambda _, w: w) -> Trace:
    """The power reading, each changed by ``change(t_s, watts)``."""
    return Trace(POWER, TIMES, [change(t, load_w(t)) for t in TIMES])


def modelled_cpu() -> Trace:
    return Trace(CPU_MODEL, [9.0 + i for i in range(94)], [45.0 * i for i in range(94)])


def without(trace: Trace, start_s: float, end_s: float) -> Trace:
    """The trace with no poll at all between two moments: the driver hung."""
    kept = [i for i, t in enumerate(trace.t_s) if not start_s <= t < end_s]
    return Trace(trace.channel, [trace.t_s[i] for i in kept], [trace.value[i] for i in kept])


def _epoch(index: int, start_s: float, end_s: float) -> Epoch:
    return Epoch(index, start_s, end_s, end_s, 0.5, 0.8, 0.5, 0.8, 0.8, 1000, 0.001)


EPOCHS = (_epoch(1, 15.0, 50.0), _epoch(2, 50.0, 85.0))


def evidence(*traces: Trace, windows: tuple[Window, ...] = WINDOWS, **fields) -> Evidence:
    """The evidence of a run on these traces, appraised as a real one is."""
    found = appraise(traces, windows)
    made = Evidence(
        spec=RunSpec("relu-dropout"),
        traces=traces,
        windows=windows,
        energies=found.energies,
        cut=(),
        sampling=(),
        absent=(),
        meters={},
        trained=True,
        faults=found.faults,
        agreements=found.agreements,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        device="/GPU:0",
    )
    return replace(made, **fields)


def healthy_board(window: str = "train", **fields) -> Telemetry:
    made = Telemetry(
        window,
        GPU,
        samples=70,
        temperature_start_c=55.0,
        temperature_mean_c=62.0,
        temperature_max_c=64.0,
        utilization=0.9 if window == "train" else 0.0,
        sees_own=True,
        processes_most=1,
    )
    return replace(made, **fields)


def doubts(made: Evidence) -> dict[str, Caution]:
    """The cautions by code; the worst of one code is kept."""
    order = ("info", "suspect", "invalid")
    found = sorted(cautions(made), key=lambda caution: order.index(caution.severity))
    return {caution.code: caution for caution in found}


def judged(made: Evidence) -> Verdict:
    return verdict(cautions(made))
