"""Checks of the machine: the right device, nobody else on it, throttling, heat, idle drift."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.board_state import Telemetry, same_bus
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, IDLE_COLD
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import idle_power
from wbcbench.energy.checks import Doubt, Evidence, list_some

WRONG = Doubt(
    "wrong-gpu",
    "invalid for every reading of a GPU: TensorFlow trained on a board with another PCI bus id",
    "The joules are those of a board that did not train. Name the GPU by its UUID with --gpus, and "
    "leave CUDA_VISIBLE_DEVICES alone.",
)
UNUSED = Doubt(
    "gpu-not-used",
    "invalid for every measured reading of a GPU: TensorFlow trained on the processor",
    "The joules are those of an idle board. Install TensorFlow with CUDA (see log.txt for why it "
    "found no GPU), or measure the processor: --meters rapl,codecarbon.",
)

_ALONE = "Joules of a board are those of everybody on it. Stop the others and repeat the run."

# Names as in NVML's clock-event reasons. A power cap is how a board keeps to its limit: reported.
SLOWED = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake")
CAPPED = "sw_power_cap"


def check_device(evidence: Evidence) -> Iterator[QualityWarning]:
    """Whether the GPU that was measured is the one that trained."""
    measured = _buses(evidence)
    if not measured or not evidence.device:
        return
    if "GPU" not in evidence.device.upper():
        detail = f"TensorFlow trained on {evidence.device}, not on the GPU that was measured."
        yield from _of_measured_gpus(evidence, UNUSED, detail)
    elif evidence.device_bus and not any(same_bus(evidence.device_bus, bus) for bus in measured):
        detail = (
            f"TensorFlow trained on the GPU at {evidence.device_bus}; measured was the one at "
            f"{', '.join(measured)}."
        )
        yield from _of_measured_gpus(evidence, WRONG, detail)


def _buses(evidence: Evidence) -> list[str]:
    """PCI bus ids of the measured GPUs, as far as their meters tell them."""
    told = (
        facts.get("pci_bus_id") for facts in evidence.meters.values() if isinstance(facts, dict)
    )
    return [bus for bus in told if isinstance(bus, str) and bus]


def _of_measured_gpus(evidence: Evidence, doubt: Doubt, detail: str) -> Iterator[QualityWarning]:
    for channel in evidence.channels:
        if channel.domain is Domain.GPU and channel.origin is Origin.MEASURED:
            yield doubt.warning(
                Severity.INVALID, detail, window=evidence.judged, channel=channel.name
            )


FOREIGN = Doubt("foreign-process", "suspect", _ALONE)
BUSY = Doubt("busy-before", "suspect", _ALONE, ("busy_share",))
HIDDEN = Doubt(
    "pids-hidden",
    "info",
    "The driver does not show this run's own process, as in most containers, so a stranger's could "
    "not be told either. See on the host that nobody else uses the board.",
)
SHARED = Doubt(
    "shared-machine",
    "suspect",
    "Another harness was measuring here at the same time (--share): both runs contain each other's "
    "joules. Run them one after the other.",
)


def check_foreign_processes(evidence: Evidence) -> Iterator[QualityWarning]:
    """Other people's work on the machine, which a board's counter charges to this run."""
    if evidence.shared:
        yield SHARED.warning(Severity.SUSPECT, "Another harness held this machine as well.")
    for device in dict.fromkeys(each.device for each in evidence.telemetry):
        seen = [each for each in evidence.telemetry if each.device == device]
        yield from _processes(evidence, device, seen)
        yield from _busy(evidence, device, seen)


def _processes(evidence: Evidence, device: str, seen: list[Telemetry]) -> Iterator[QualityWarning]:
    uses_board = "GPU" in evidence.device.upper()
    sees_own = any(each.sees_own for each in seen)
    certain = sees_own or not uses_board
    foreign_processes = [
        each for each in seen if each.foreign_pids and (certain or _is_strange(evidence, each))
    ]
    if foreign_processes:
        pids = sorted({pid for each in foreign_processes for pid in each.foreign_pids})
        detail = (
            f"Processes that are not this run's were on {device}: {list_some(map(str, pids))}. "
            f"Windows: {list_some(each.window for each in foreign_processes)}."
        )
        yield FOREIGN.warning(Severity.SUSPECT, detail, window=foreign_processes[0].window)
    if uses_board and not sees_own:
        yield HIDDEN.warning(Severity.INFO, f"The trainer's process was never listed on {device}.")


def _is_strange(evidence: Evidence, state: Telemetry) -> bool:
    """Where own processes look foreign, one of them is taken for the trainer."""
    return _is_before(evidence, state) or (state.processes_most or 0) > 1


def _is_before(evidence: Evidence, state: Telemetry) -> bool:
    """Whether nothing of this run was on the board yet; a span of that name is no such time."""
    return state.window == IDLE_COLD != evidence.judged


def _busy(evidence: Evidence, device: str, seen: list[Telemetry]) -> Iterator[QualityWarning]:
    for each in seen:
        load = each.utilization or 0.0
        if _is_before(evidence, each) and load > thresholds.BUSY_SHARE:
            detail = f"{device} was busy for {100 * load:.0f} % of the time before the run began."
            yield BUSY.warning(Severity.SUSPECT, detail, window=IDLE_COLD)


THROTTLED = Doubt(
    "throttled",
    "suspect for any throttling while work was done; invalid for more than a fifth of `train`",
    "Time and joules are those of a slowed-down board. Cool it, check power supply and fans, wait "
    "between runs, and repeat.",
    ("throttled_share",),
)
POWER_CAPPED = Doubt(
    "power-capped",
    "info",
    "The board ran at its power limit, as boards under full load do. Compare only runs with the "
    "same limit.",
)


def check_throttling(evidence: Evidence) -> Iterator[QualityWarning]:
    """Clocks that the board or its driver held down."""
    for device in dict.fromkeys(each.device for each in evidence.telemetry):
        seen = [t for t in evidence.telemetry if t.device == device and evidence.is_work(t.window)]
        yield from _slowed(evidence, seen)
        yield from _capped(evidence, seen)


def slowed_s(state: Telemetry) -> float:
    """Seconds in which a board was slowed down; reasons overlap, so the longest counts."""
    return max((state.throttled_s.get(reason, 0.0) for reason in SLOWED), default=0.0)


def _slowed(evidence: Evidence, seen: list[Telemetry]) -> Iterator[QualityWarning]:
    slowed = [state for state in seen if slowed_s(state) > 0]
    if not slowed:
        return
    worst = max(slowed, key=lambda state: (state.window == evidence.judged, slowed_s(state)))
    share = _share(evidence, worst, slowed_s(worst))
    is_most = worst.window == evidence.judged and share > thresholds.THROTTLED_SHARE
    reasons = ", ".join(reason for reason in worst.throttled_s if reason in SLOWED)
    yield THROTTLED.warning(
        Severity.INVALID if is_most else Severity.SUSPECT,
        f"{worst.device} was slowed down for {slowed_s(worst):.0f} s ({100 * share:.0f} %) of "
        f"{worst.window}: {reasons}.",
        window=worst.window,
    )


def _capped(evidence: Evidence, seen: list[Telemetry]) -> Iterator[QualityWarning]:
    for state in seen:
        capped_s = state.throttled_s.get(CAPPED, 0.0)
        if state.window == evidence.judged and capped_s > 0:
            share = 100 * _share(evidence, state, capped_s)
            detail = f"{state.device} was at its power limit for {share:.0f} % of `{state.window}`."
            yield POWER_CAPPED.warning(Severity.INFO, detail, window=state.window)


def _share(evidence: Evidence, state: Telemetry, held_s: float) -> float:
    window = evidence.window(state.window)
    return held_s / window.duration_s if window and window.duration_s > 0 else 0.0


COLD = Doubt(
    "began-cold",
    "info",
    "Energy follows temperature. Warm the board up first (--warmup-steps) and start all runs of a "
    "study in one temperature band.",
    ("warm_up_c",),
)
HOT = Doubt(
    "ran-hot",
    "info",
    "The board is near the temperature at which it slows down. Improve the cooling, or rest longer "
    "between runs.",
    ("hot_c",),
)
WARM = Doubt(
    "began-warm",
    "suspect: warmer at its start than `--cooldown` asked for",
    "Energy follows temperature, and this run did not begin where the others did. Give the board "
    "longer to cool, or ask for a temperature that it reaches.",
    ("band_c",),
)


def check_temperature(evidence: Evidence) -> Iterator[QualityWarning]:
    """Boards that began too cold or got too hot."""
    yield from _warm(evidence)
    for each in evidence.telemetry:
        if each.window != evidence.judged:
            continue
        start_c, mean_c, max_c = (
            each.temperature_start_c,
            each.temperature_mean_c,
            each.temperature_max_c,
        )
        if start_c is not None and mean_c is not None and mean_c - start_c > thresholds.WARM_UP_C:
            detail = (
                f"{each.device} began `{each.window}` at {start_c:.0f} °C; "
                f"its mean is {mean_c:.0f}."
            )
            yield COLD.warning(Severity.INFO, detail, window=each.window)
        if max_c is not None and max_c >= thresholds.HOT_C:
            detail = f"{each.device} reached {max_c:.0f} °C in `{each.window}`."
            yield HOT.warning(Severity.INFO, detail, window=each.window)


def _warm(evidence: Evidence) -> Iterator[QualityWarning]:
    """Compare each board's first temperature with what was asked for."""
    asked_c = evidence.spec.cooldown_c if evidence.spec else None
    firsts = {each.device: each for each in reversed(evidence.telemetry)}
    for device, first in firsts.items():
        began_c = first.temperature_start_c
        if asked_c is None or began_c is None or began_c <= asked_c + thresholds.BAND_C:
            continue
        detail = f"{device} began at {began_c:.0f} °C; --cooldown asked for {asked_c:g} °C."
        yield WARM.warning(Severity.SUSPECT, detail, window=first.window)


DRIFT = Doubt(
    "idle-drift",
    "info: gross joules do not depend on it, net joules do",
    "Use gross joules, or rest longer before the run. The drift is part of the stated ± of net "
    "joules.",
    ("idle_drift_pct",),
)


def check_idle_drift(evidence: Evidence) -> Iterator[QualityWarning]:
    """Idle power that is not the same after the run as before."""
    for trace in evidence.weighty_traces:
        name = trace.channel.name
        before = idle_power(evidence.energies, evidence.windows, name, IDLE_BEFORE)
        after = idle_power(evidence.energies, evidence.windows, name, IDLE_AFTER)
        if before is None or after is None or before.power_w <= 0:
            continue
        apart_w = abs(after.power_w - before.power_w)
        noise_w = before.uncertainty_w + after.uncertainty_w
        if apart_w - noise_w > thresholds.IDLE_DRIFT_PCT / 100 * before.power_w:
            detail = (
                f"{name} read {before.power_w:.1f} W idle before and {after.power_w:.1f} W after."
            )
            yield DRIFT.warning(Severity.INFO, detail, window=IDLE_AFTER[0], channel=name)


DOUBTS = (
    WRONG,
    UNUSED,
    FOREIGN,
    BUSY,
    HIDDEN,
    SHARED,
    THROTTLED,
    POWER_CAPPED,
    COLD,
    HOT,
    WARM,
    DRIFT,
)
