"""Evidence of one run from its traces: 3 s idle, 70 s of training in two epochs, 3 s idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from builders.machine import COUNTER, CPU_MODEL, GPU, POWER, Load
from builders.timeline import epoch_windows, make_epochs
from wbcbench.core.board_state import Telemetry
from wbcbench.core.quality import Quality, QualityWarning, worst_quality
from wbcbench.core.record import Epoch
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Domain, Trace
from wbcbench.core.window import Window
from wbcbench.energy.appraise import appraise
from wbcbench.energy.checks import Evidence, run_checks


def _windows(epochs: tuple[Epoch, ...]) -> tuple[Window, ...]:
    return (
        Window("idle_cold", 11.0, 14.0),
        Window("train", 15.0, 85.0),
        *epoch_windows(epochs),
        Window("evaluate", 85.5, 96.0),
        Window("idle_post", 97.0, 100.0),
    )


EPOCHS = make_epochs((0.8, 0.8), start_s=15.0, epoch_s=35.0, validation_s=0.0)
WINDOWS = _windows(EPOCHS)
VALIDATED_EPOCHS = make_epochs((0.8, 0.8), start_s=15.0, epoch_s=33.0, validation_s=2.0)
VALIDATED_WINDOWS = _windows(VALIDATED_EPOCHS)
STEPS = 100  # an epoch of 35 s in 100 steps of 350 ms

LOAD = Load(idle_w=60.0, load_w=250.0, start_s=14.5, end_s=96.5, since_s=10.0)
TRUE_TRAIN_J = 70 * 250.0
TIMES = tuple(10.0 + 0.1 * i for i in range(911))


def load_w(t_s: float) -> float:
    """The load, with a ripple of 2 W that sums to nothing."""
    return float(LOAD.power_w(t_s)) + (2.0 if int(t_s * 10 + 0.5) % 2 else -2.0)


def load_j(t_s: float) -> float:
    """Joules since 10 s, without the ripple."""
    return float(LOAD.energy_j(t_s))


def counter(change: Callable[[float, float], float | None] = lambda _, j: j) -> Trace:
    """The counter, each reading changed by ``change(t_s, joules)``."""
    return Trace(COUNTER, TIMES, [change(t, load_j(t)) for t in TIMES])


def power(change: Callable[[float, float], float | None] = lambda _, w: w) -> Trace:
    """The power reading, each changed by ``change(t_s, watts)``."""
    return Trace(POWER, TIMES, [change(t, load_w(t)) for t in TIMES])


def estimated_cpu(polls: int = 94) -> Trace:
    """CodeCarbon's model: 45 W, told once a second."""
    return Trace(CPU_MODEL, [9.0 + i for i in range(polls)], [45.0 * i for i in range(polls)])


def without(trace: Trace, start_s: float, end_s: float) -> Trace:
    """The trace with no poll at all between two moments: the driver hung."""
    polls = zip(trace.t_s, trace.value, strict=True)
    times, values = zip(*((t, v) for t, v in polls if not start_s <= t < end_s), strict=True)
    return Trace(trace.channel, times, values)


def evidence(*traces: Trace, windows: tuple[Window, ...] = WINDOWS, **fields: object) -> Evidence:
    """The evidence of a run on these traces, appraised as a real one is."""
    appraisal = appraise(traces, windows)
    whole = Evidence(
        spec=RunSpec("relu-dropout"),
        window_name="train",
        traces=appraisal.traces,
        windows=windows,
        energies=appraisal.energies,
        cut=(),
        sampling=(),
        absent=(),
        meters={},
        trained=True,
        faults=appraisal.faults,
        budgets=appraisal.budgets,
        agreements=appraisal.agreements,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        device="/GPU:0" if any(t.channel.domain is Domain.GPU for t in traces) else "/CPU:0",
    )
    return replace(whole, **fields)  # type: ignore[arg-type]


def healthy_board(window: str = "train", **fields: object) -> Telemetry:
    """What a board did in a window in which nothing was wrong with it."""
    telemetry = Telemetry(
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
    return replace(telemetry, **fields)  # type: ignore[arg-type]


def find_warnings(whole: Evidence) -> dict[str, QualityWarning]:
    """The warnings by code; the worst of one code counts."""
    order = ("info", "suspect", "invalid")
    ranked = sorted(run_checks(whole), key=lambda warning: order.index(warning.severity))
    return {warning.code: warning for warning in ranked}


def grade_run(whole: Evidence) -> Quality:
    """The quality of a run with this evidence."""
    return worst_quality(run_checks(whole))
