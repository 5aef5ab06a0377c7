"""Checks of the machine: the right device, foreign processes, throttling, heat, idle drift."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from wbcbench.core.board_state import Telemetry, same_bus
from wbcbench.core.cpu_load import CpuLoad
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import COMPUTING_VARIABLES, FOREIGN_TRACKERS
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, IDLE_COLD
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import find_idle
from wbcbench.energy.checks import Evidence, list_some
from wbcbench.energy.metrics import mean_known
from wbcbench.energy.source import source_power_w
from wbcbench.energy.warnings import make_warning

# Names as in NVML's clock-event reasons. A power cap is how a board keeps to its limit: reported.
SLOWED = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake")
CAPPED = "sw_power_cap"


def check_device(evidence: Evidence) -> Iterator[QualityWarning]:
    """Whether the GPU that was measured is the one that trained."""
    measured = [
        str(bus)
        for facts in evidence.meters.values()
        if isinstance(facts, dict) and (bus := facts.get("pci_bus_id"))
    ]
    trained_on = evidence.device_bus
    if not measured or not evidence.device:
        return
    if not _uses_gpu(evidence):
        code = "gpu-not-used"
        detail = f"TensorFlow trained on {evidence.device}, but a GPU was measured."
    elif trained_on and not any(same_bus(trained_on, bus) for bus in measured):
        code = "wrong-gpu"
        detail = f"TensorFlow trained on GPU {trained_on}; measured: {', '.join(measured)}."
    else:
        return
    for channel in evidence.channels:
        if channel.domain is Domain.GPU and channel.origin is Origin.MEASURED:
            yield make_warning(code, detail, window=evidence.window_name, channel=channel.name)


def check_variables(evidence: Evidence) -> Iterator[QualityWarning]:
    """Variables of the user by which the trainer computes in another way, or at another cost."""
    variables = evidence.provenance.get(COMPUTING_VARIABLES)
    if isinstance(variables, dict) and variables:
        yield make_warning("computing-variables", f"Set by the user: {list_some(variables)}.")


def check_foreign_processes(evidence: Evidence) -> Iterator[QualityWarning]:
    """Other processes on the machine, whose energy a board's counter includes."""
    if evidence.shared:
        yield make_warning("shared-machine", "Another measurement ran on this machine.")
    if evidence.cpu_shared:
        yield make_warning("shared-processor", "Another run used another GPU of this machine.")
    trackers = evidence.provenance.get(FOREIGN_TRACKERS)
    if isinstance(trackers, list) and trackers:
        yield make_warning("foreign-tracker", f"Measuring, too: {list_some(map(str, trackers))}.")
    for device in dict.fromkeys(state.device for state in evidence.telemetry):
        states = [state for state in evidence.telemetry if state.device == device]
        sees_own = any(state.sees_own for state in states)
        is_certain = sees_own or not _uses_gpu(evidence)
        # Where the run's own process looks foreign, one process is taken to be the trainer.
        foreign = [
            state
            for state in states
            if state.foreign_pids
            and (is_certain or _is_before(evidence, state) or (state.processes_most or 0) > 1)
        ]
        if foreign:
            pids = sorted({pid for state in foreign for pid in state.foreign_pids})
            detail = (
                f"Foreign processes on {device}: {list_some(map(str, pids))}. "
                f"Windows: {list_some(state.window for state in foreign)}."
            )
            yield make_warning("foreign-process", detail, window=foreign[0].window)
        if not is_certain:
            detail = f"The trainer's process was never listed on {device}."
            yield make_warning("pids-hidden", detail)
        for state in states:
            load = state.utilization or 0.0
            if _is_before(evidence, state) and load > thresholds.BUSY_SHARE:
                detail = f"{device} was busy for {100 * load:.0f} % of the time before the run."
                yield make_warning("busy-before-start", detail, window=IDLE_COLD)


def _uses_gpu(evidence: Evidence) -> bool:
    return "GPU" in evidence.device.upper()


def _is_before(evidence: Evidence, state: Telemetry) -> bool:
    """Whether nothing of this run was on the board yet; a window of a user may be named so."""
    return state.window == IDLE_COLD != evidence.window_name


def check_busy_processor(evidence: Evidence) -> Iterator[QualityWarning]:
    """Other processes and virtual machines, whose processor time may be in the joules."""
    source, busy = evidence.primary, _list_busy(evidence)
    own = next((load for load in busy if load.window == evidence.window_name), None)
    worst = own or max(busy, key=lambda load: load.others_share or 0.0, default=None)
    if worst is None or worst.others_share is None or worst.cores is None:
        return
    share, cores = worst.others_share, worst.cores
    detail = (
        f"Other processes or virtual machines took {100 * share:.0f} % of the processor time in "
        f"`{worst.window}` ({share * cores:.1f} of {cores} cores)."
    )
    if len(busy) > 1:
        detail += f" Windows: {list_some(load.window for load in busy)}."
    is_in_joules = source is not None and source.domain in (Domain.CPU, Domain.SYSTEM)
    if is_in_joules and evidence.is_estimated:
        detail += " The estimate follows the load of the machine, theirs included."
    severity = Severity.SUSPECT if own and is_in_joules else Severity.INFO
    yield make_warning("busy-processor", detail, severity, window=worst.window)


def _list_busy(evidence: Evidence) -> list[CpuLoad]:
    limit = thresholds.OTHERS_CPU_SHARE
    return [load for load in evidence.cpu_loads if (load.others_share or 0.0) > limit]


def check_above_idle(evidence: Evidence) -> Iterator[QualityWarning]:
    """Windows that drew less than idle windows did, and whether others explain it."""
    source, name = evidence.primary, evidence.window_name
    power_w = source_power_w(evidence, source, name)
    known_w = dict[str, float]()
    for names in (IDLE_BEFORE, IDLE_AFTER):
        known = ((w, p) for w in names if (p := source_power_w(evidence, source, w)) is not None)
        known_w.update(islice(known, 1))
    idle_w = mean_known([*known_w.values()])
    if power_w is None or idle_w is None or power_w >= idle_w or name in known_w:
        return
    busy = [load.window for load in _list_busy(evidence) if load.window in known_w]
    cause = f" Others were busy in {list_some(busy)}." if busy else ""
    detail = f"`{name}` drew {power_w:.1f} W, the idle windows {idle_w:.1f} W.{cause}"
    yield make_warning("above-idle-negative", detail, window=name)


def check_throttling(evidence: Evidence) -> Iterator[QualityWarning]:
    """Clocks that the board or its driver reduced."""
    states = [state for state in evidence.telemetry if evidence.is_work(state.window)]
    for device in dict.fromkeys(state.device for state in states):
        slowed = [state for state in states if state.device == device and slowed_s(state) > 0]
        if slowed:
            yield _describe_slowdown(evidence, slowed)
        for state in states:
            capped_s = state.throttled_s.get(CAPPED, 0.0)
            if state.device == device and state.window == evidence.window_name and capped_s > 0:
                share = 100 * _share_of_window(evidence, state, capped_s)
                detail = f"{device} was at its power limit for {share:.0f} % of `{state.window}`."
                yield make_warning("power-capped", detail, window=state.window)


def slowed_s(state: Telemetry) -> float:
    """Seconds in which a board was slowed down; reasons overlap, so the longest counts."""
    return max((state.throttled_s.get(reason, 0.0) for reason in SLOWED), default=0.0)


def _describe_slowdown(evidence: Evidence, slowed: list[Telemetry]) -> QualityWarning:
    worst = max(slowed, key=lambda state: (state.window == evidence.window_name, slowed_s(state)))
    share = _share_of_window(evidence, worst, slowed_s(worst))
    is_long = worst.window == evidence.window_name and share > thresholds.THROTTLED_SHARE
    reasons = ", ".join(reason for reason in worst.throttled_s if reason in SLOWED)
    return make_warning(
        "throttled",
        f"{worst.device} was slowed down for {slowed_s(worst):.0f} s ({100 * share:.0f} %) of "
        f"`{worst.window}`: {reasons}.",
        Severity.INVALID if is_long else Severity.SUSPECT,
        window=worst.window,
    )


def _share_of_window(evidence: Evidence, state: Telemetry, length_s: float) -> float:
    window = evidence.window(state.window)
    return length_s / window.duration_s if window and window.duration_s > 0 else 0.0


def check_temperature(evidence: Evidence) -> Iterator[QualityWarning]:
    """Boards that began too cold or too warm, or got too hot."""
    wanted_c = evidence.spec.cooldown_c if evidence.spec else None
    for device, first in {state.device: state for state in reversed(evidence.telemetry)}.items():
        start_c = first.temperature_start_c
        if wanted_c is None or start_c is None or start_c <= wanted_c + thresholds.BAND_C:
            continue
        detail = f"{device} began at {start_c:.0f} °C; --cooldown demands {wanted_c:g} °C."
        yield make_warning("warm-start", detail, window=first.window)
    for state in evidence.telemetry:
        start_c, mean_c = state.temperature_start_c, state.temperature_mean_c
        max_c, window = state.temperature_max_c, state.window
        if window != evidence.window_name:
            continue
        if start_c is not None and mean_c is not None and mean_c - start_c > thresholds.WARM_UP_C:
            detail = (
                f"{state.device} began `{window}` at {start_c:.0f} °C; the mean is {mean_c:.0f} °C."
            )
            yield make_warning("cold-start", detail, window=window)
        if max_c is not None and max_c >= thresholds.HOT_C:
            detail = f"{state.device} reached {max_c:.0f} °C in `{window}`."
            yield make_warning("high-temperature", detail, window=window)


def check_idle_drift(evidence: Evidence) -> Iterator[QualityWarning]:
    """Idle power that differs before and after the run."""
    for trace in evidence.counted_traces:
        name = trace.channel.name
        before = find_idle(evidence.energies, evidence.windows, name, IDLE_BEFORE)
        after = find_idle(evidence.energies, evidence.windows, name, IDLE_AFTER)
        if before is None or after is None or before.power_w <= 0:
            continue
        noise_w = before.uncertainty_w + after.uncertainty_w
        drift_w = abs(after.power_w - before.power_w) - noise_w
        if drift_w > thresholds.IDLE_DRIFT_PCT / 100 * before.power_w:
            detail = (
                f"{name} read {before.power_w:.1f} W idle before and {after.power_w:.1f} W after."
            )
            yield make_warning("idle-drift", detail, window=IDLE_AFTER[0], channel=name)
