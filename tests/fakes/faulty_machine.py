"""Driving ``wbcbench monitor`` on a machine whose GPU fails at a known moment."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fakes.nvml_scenario import VARIABLE, Counter, FakeGpu, Scenario, Sensor
from fakes.power_shapes import Constant
from program import command

POWER_W = 200.0
# Real readings are never quite still, and neither is this one.
READING = Sensor(update_s=0.02, window_s=0.02, noise_w=1.0)
HEALTHY = FakeGpu(power=Constant(POWER_W), instant=READING, counter=Counter(step_s=0.02))

Make = Callable[[float], Scenario]  # from the moment of the fault, in seconds of the scenario


@dataclass(frozen=True)
class Measured:
    """What ``monitor --json`` said of a command during which something happened."""

    code: int
    document: Mapping[str, Any]
    err: str

    @cached_property
    def codes(self) -> dict[str, str]:
        """Caution → its worst severity."""
        order = ("info", "suspect", "invalid")
        found = sorted(self.document["warnings"], key=lambda c: order.index(c["severity"]))
        return {warning["code"]: warning["severity"] for warning in found}

    @property
    def quality(self) -> str:
        return str(self.document["quality"])

    @property
    def primary(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["energy"]
        return found

    @property
    def true_j(self) -> float:
        boards = {channel["name"].split("/")[1] for channel in self.document["channels"]}
        return POWER_W * len(boards) * float(self.document["duration_s"])

    def channel(self, name: str) -> Mapping[str, Any]:
        (found,) = (c for c in self.document["channels"] if c["name"] == f"nvml/{name}")
        return found

    def states_the_truth(self) -> bool:
        """Whether the stated joules agree with the truth.

        The interval holds about 95 % of the truths: one measurement on a busy machine may lie just
        outside, so half as much again is allowed. How often it is inside is asserted elsewhere.
        """
        energy_j, u_j = self.primary["energy_j"], self.primary["uncertainty_j"]
        return energy_j is not None and abs(energy_j - self.true_j) <= 1.5 * u_j

    def invents_nothing(self) -> bool:
        """Whether every channel's joules are positive or unknown."""
        joules = [channel["energy_j"] for channel in self.document["channels"]]
        return all(energy_j is None or energy_j > 0 for energy_j in joules)


def environment(nvml_folder: Path, scenario: Path | None) -> dict[str, str]:
    """The environment of a machine with scripted GPUs; without a scenario, with no driver."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(nvml_folder)}
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", VARIABLE):
        env.pop(name, None)
    if scenario is None:
        return env
    cache = str(scenario.parent / "cache")  # cards of boards of this name
    return env | {VARIABLE: str(scenario), "WBCBENCH_CACHE": cache}


def measured(
    nvml_folder: Path,
    folder: Path,
    make: Make,
    *,
    for_s: float = 3.0,
    faults_at_s: tuple[float, ...] = (8.0, 20.0, 60.0),
    words: tuple[str, ...] = (),
    more: Mapping[str, str] | None = None,
) -> Measured:
    """Measure a command that began at least a second before the fault and goes on after it.

    When a loaded machine begins too late, the same is tried again with a later fault.

    Args:
        nvml_folder: Where the scripted library lies.
        folder: For the scenario; empty.
        make: The scenario with its fault at a given moment.
        for_s: How long the command goes on after that moment.
        faults_at_s: The moments that are tried; meters that open slowly need a later one.
        words: More options of ``monitor``.
        more: More variables of its environment.
    """
    for at_s in faults_at_s:
        folder.mkdir(parents=True, exist_ok=True)
        epoch_s = time.monotonic()
        path = make(at_s).write(folder, f"scenario-{at_s:g}.txt")
        env = environment(nvml_folder, path) | {
            "TMPDIR": str(folder),
            "WBCBENCH_RESULTS": str(folder / "results"),
            **(more or {}),
        }
        found = _carried_out(env, epoch_s + at_s, for_s, words)
        if found is not None:
            return found
    raise AssertionError("this machine is too busy to begin a measurement within a minute")


def _carried_out(
    env: Mapping[str, str], fault_s: float, for_s: float, words: tuple[str, ...]
) -> Measured | None:
    options = ("--meters", "nvml", "--interval", "0.05", "--json", *words)
    process = subprocess.Popen(
        command("monitor", *options, "--", "sh", "-c", "echo began; exec cat"),
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    began = process.stderr.readline()  # with --json the command's own words are told there
    in_time = time.monotonic() < fault_s - 1.0
    if in_time and began:
        time.sleep(max(fault_s + for_s - time.monotonic(), 0.0))
    out, err = process.communicate(timeout=120)
    if not in_time:
        return None
    return Measured(process.returncode, json.loads(out) if out else {}, began + err)
