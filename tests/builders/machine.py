"""The machine of all built runs: its channels, what each part draws, what it states of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wbcbench.core.board_state import Telemetry
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window

GPU = "GPU-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901"

COUNTER = Channel(
    "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy",
    update_s=0.1, gain_error=0.05, limit_w=400.0, device=GPU,
)  # fmt: skip
POWER = replace(
    COUNTER, name="nvml/gpu0/power", kind=Kind.SAMPLED, reading="power_instant", update_s=None
)
CPU_MODEL = Channel(
    "codecarbon/cpu", Kind.COUNTER, Origin.ESTIMATED, Domain.CPU, "tdp_load", update_s=1.0
)
RAM_MODEL = replace(CPU_MODEL, name="codecarbon/ram", domain=Domain.DRAM, reading="constant")

GPU_CHANNELS = (COUNTER, POWER)
RAPL_CHANNELS = tuple(
    Channel(f"rapl/{zone}/counter", Kind.COUNTER, Origin.MEASURED, domain, zone)
    for zone, domain in (
        ("package-0", Domain.CPU),
        ("package-1", Domain.CPU),
        ("dram-0", Domain.DRAM),
    )
)
CODECARBON_CHANNELS = (CPU_MODEL, RAM_MODEL)
SYNTHETIC_CHANNELS = (
    Channel("simulated/gpu0/counter", Kind.COUNTER, Origin.SIMULATED, Domain.GPU),
)
GPU_MACHINE = GPU_CHANNELS + RAPL_CHANNELS + CODECARBON_CHANNELS
LAPTOP = CODECARBON_CHANNELS

IDLE_W, LOAD_W = 60.0, 280.0
WATTS = {
    Domain.GPU: (IDLE_W, LOAD_W),
    Domain.CPU: (10.0, 40.0),
    Domain.DRAM: (5.0, 6.0),
    Domain.SYSTEM: (120.0, 400.0),
}
"""What each part draws idle and under load."""

PROVENANCE = {
    "host_id": "5f1e9c",
    "boot_id": "7a10b2",
    "program_sha256": "ab" * 32,
    "wbcbench_version": "0.1.0",
    "git_commit": "0123456789abcdef",
    "git_dirty": False,
    "lock_sha256": "cd" * 32,
    "os": "Linux 6.1",
    "cpu_model": "Example CPU 2.0 GHz",
    "cpu_count": 2,
    "ram_bytes": 8_000_000_000,
    "in_container": False,
}
METERS: dict[str, dict[str, Any]] = {
    "codecarbon": {"codecarbon_version": "3.3.2", "parts": {"cpu": {"mode": "cpu_load"}}},
    "nvml/gpu0": {
        "index": 0,
        "name": "Example GPU",
        "uuid": GPU,
        "driver": "555.1",
        "mig_mode": False,
        "power_limit_enforced_w": 400.0,
    },
}
TELEMETRY = Telemetry(
    window="train",
    device=GPU,
    samples=40,
    temperature_start_c=45.0,
    temperature_mean_c=60.0,
    temperature_max_c=66.0,
    clock_sm_hz=1.4e9,
    clock_memory_hz=1.2e9,
    throttled_s={"sw_power_cap": 3.0, "hw_thermal_slowdown": 0.5},
    utilization=0.9,
    memory_peak_bytes=2_000_000_000,
    power_limit_w=400.0,
    sees_own=True,
    processes_most=1,
)


def power_w(channel: Channel, window: Window) -> float:
    """The constant power of a channel's part in a window."""
    idle_w, load_w = WATTS[channel.domain]
    return idle_w if window.name.startswith("idle") else load_w


@dataclass(frozen=True)
class Load:
    """What one part draws: idle, but for one span under load.

    Attributes:
        idle_w, load_w: Its two powers.
        start_s, end_s: From when to when it is under load.
        since_s: When its counter stood at zero.
    """

    idle_w: float
    load_w: float
    start_s: float
    end_s: float
    since_s: float

    @classmethod
    def of_run(cls, channel: Channel, windows: Sequence[Window], factor: float = 1.0) -> Load:
        """Under load, at ``factor`` times the usual power, from warm-up to the last inference."""
        idle_w, load_w = WATTS[channel.domain]
        [start_s] = [w.start_s for w in windows if w.name == "warmup"]
        end_s = max(w.end_s for w in windows if not w.name.startswith("idle"))
        return cls(idle_w, load_w * factor, start_s, end_s, windows[0].start_s - 1.0)

    def power_w(self, t_s: Any) -> Any:
        """Watts at a moment, or at each of an array."""
        return np.where((t_s >= self.start_s) & (t_s < self.end_s), self.load_w, self.idle_w)

    def energy_j(self, t_s: Any) -> Any:
        """Joules since ``since_s``."""
        loaded_s = np.clip(t_s, self.start_s, self.end_s) - self.start_s
        return self.idle_w * (t_s - self.since_s) + (self.load_w - self.idle_w) * loaded_s

    def trace(self, channel: Channel, t_s: np.ndarray, rng: np.random.Generator) -> Trace:
        """What polls at these times read from a sensor that renews its value in steps."""
        update_s = channel.update_s or 0.001
        seen_s = self.since_s + np.floor((t_s - self.since_s) / update_s) * update_s
        if channel.kind is Kind.COUNTER:
            values = self.energy_j(seen_s)
            if channel.wrap_j:  # in the middle of a run
                values = (values + 0.995 * channel.wrap_j) % channel.wrap_j
        else:  # real readings are never quite still
            values = self.power_w(seen_s) + 0.8 * rng.normal(size=len(t_s))
        # Sensors tell whole thousandths, models all digits.
        is_whole = channel.origin is Origin.MEASURED
        return Trace(channel, t_s.tolist(), (values.round(3) if is_whole else values).tolist())
