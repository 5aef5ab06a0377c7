"""One energy tool, measuring blocks of Python code as its documentation tells its users to.

    python peer_tools.py TOOL

Started by ``bench_peers.py`` in the tool's own environment, so it imports nothing but the standard
library and the tool. The tool is imported once; every window is then a process of its own, forked
from this one, that opens the driver anew, begins the tool's window, waits and ends it. Windows come
as JSON lines on standard input, answers go out as JSON lines. What a tool prints is in the window's
log. All times are seconds of ``CLOCK_MONOTONIC``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import resource
import select
import signal
import sys
import threading
import time
from typing import Any, ClassVar, Protocol

VARIABLE = "WBCBENCH_FAKE_NVML"
POLL_S = 0.01  # of the loop and of carbontracker
GIVE_UP_S = 150
JOULES_PER_KWH = 3.6e6


class Tool(Protocol):
    """``begin`` and ``end`` are timed; ``prepare`` and ``read`` may take as long as they like."""

    modules: ClassVar[tuple[str, ...]]

    def prepare(self) -> None: ...
    def begin(self) -> None: ...
    def end(self) -> None: ...
    def read(self) -> dict[str, Any]:
        """Joules of all boards, ``None`` where the tool gives none, as the entry ``joules``."""


class Wbcbench:
    """``Meter`` on the boards alone, without CodeCarbon beside it."""

    modules = ("wbcbench",)

    def prepare(self) -> None:
        from wbcbench import Meter

        self._meter = Meter(("nvml",), save=False)
        self._meter.__enter__()

    def begin(self) -> None:
        self._meter.open("train")

    def end(self) -> None:
        self._meter.close("train")

    def read(self) -> dict[str, Any]:
        self._meter.__exit__(None, None, None)
        energy = self._meter.energy
        return {
            "joules": energy.energy_j,
            "u_j": energy.uncertainty_j,
            "quality": self._meter.quality.value,
            "codes": sorted({warning.code for warning in self._meter.warnings}),
        }


class Zeus:
    """``ZeusMonitor`` on all boards: their counters, or power polled as fast as it goes.

    Nothing is to be waited for on a device, and its environment has no PyTorch to do so.
    """

    modules = ("zeus.monitor",)

    def prepare(self) -> None:
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor()

    def begin(self) -> None:
        self._monitor.begin_window("train", sync_execution=False)

    def end(self) -> None:
        self._measurement = self._monitor.end_window("train", sync_execution=False)

    def read(self) -> dict[str, Any]:
        return {"joules": self._measurement.total_energy}


class CodeCarbon:
    """A task of ``OfflineEmissionsTracker``, whose end always reads the counter.

    Its first task reads tables of emissions, so one is done before: in the second, little time
    passes between the reading at the beginning and the block.
    """

    # Else it imports them when its first task begins.
    modules = (
        "codecarbon",
        "codecarbon.core.emissions",
        "codecarbon.core.resource_tracker",
        "pandas",
    )

    def prepare(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self._tracker = OfflineEmissionsTracker(
            country_iso_code="DEU", measure_power_secs=1, save_to_file=False,
            allow_multiple_runs=True, log_level="warning", force_cpu_power=1, force_ram_power=1,
        )  # fmt: skip
        self._tracker.start_task("before")
        self._tracker.stop_task("before")

    def begin(self) -> None:
        self._tracker.start_task("train")

    def end(self) -> None:
        self._data = self._tracker.stop_task("train")

    def read(self) -> dict[str, Any]:
        return {"joules": JOULES_PER_KWH * self._data.gpu_energy}


class CarbonTracker:
    """One epoch of ``CarbonTracker``, of GPUs alone, without its factor for the data centre.

    It takes the mean of the power usage, which it reads every second unless told otherwise: errors
    of 1 to 15 %. Every 10 ms they are smallest.
    """

    modules = ("carbontracker.tracker",)

    def prepare(self) -> None:
        from carbontracker.tracker import CarbonTracker as Tracker

        self._tracker = Tracker(
            epochs=2, epochs_before_pred=0, components="gpu", update_interval=POLL_S
        )
        self._thread = self._tracker.tracker
        time.sleep(0.5)  # its thread opens the driver meanwhile

    def begin(self) -> None:
        self._tracker.epoch_start()

    def end(self) -> None:
        self._tracker.epoch_end()

    def read(self) -> dict[str, Any]:
        from carbontracker import constants

        (kwh,) = self._thread.total_energy_per_epoch() / constants.PUE_2023
        return {"joules": JOULES_PER_KWH * float(kwh)}


class Loop:
    """A thread that reads the power usage of every board every 10 ms and adds it up.

    A reading that fails is left out: the next one stands for the time since the last.
    """

    modules = ("pynvml",)

    def prepare(self) -> None:
        import pynvml

        self._read_power, self._error = pynvml.nvmlDeviceGetPowerUsage, pynvml.NVMLError
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        self._joules, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._add_up)

    def begin(self) -> None:
        self._last_s = time.monotonic()
        self._thread.start()

    def _add_up(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(POLL_S)
            with contextlib.suppress(self._error):
                power_w = sum(self._read_power(handle) for handle in self._handles) / 1000
                now_s = time.monotonic()
                self._joules += power_w * (now_s - self._last_s)
                self._last_s = now_s

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def read(self) -> dict[str, Any]:
        return {"joules": self._joules}


TOOLS: dict[str, type[Tool]] = {
    "wbcbench": Wbcbench,
    "zeus": Zeus,
    "codecarbon": CodeCarbon,
    "carbontracker": CarbonTracker,
    "loop": Loop,
}


def serve(name: str) -> None:
    """Measure each window that comes, in a process of its own, until the input ends."""
    for module in TOOLS[name].modules:
        importlib.import_module(module)
    _answer({"ready": name})
    running: dict[int, str] = {}
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.25)
        for pid, identity in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                if status:
                    _answer({"id": identity, "error": f"ended with status {status >> 8 or status}"})
        if not readable:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            job = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _measure_and_exit(name, job)
            running[pid] = job["id"]


def _measure_and_exit(name: str, job: dict[str, Any]) -> None:
    out = os.dup(1)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    silence = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((silence, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    signal.alarm(GIVE_UP_S)
    answer = {"id": job["id"], **measure(name, job)}
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(out, json.dumps(answer).encode() + b"\n")
    # Tools that left processes of their own end them when Python ends.
    sys.exit(0)


def measure(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Open the scenario, and measure from ``begin_s`` to ``end_s`` with the tool.

    Returns:
        The stamps right after the tool has begun and right before it ends, what it read, the
        processor seconds of the process, and the error if there was one.
    """
    _open_scenario(job["scenario"])
    tool, answer = TOOLS[name](), dict[str, Any]()
    try:
        tool.prepare()
        for process in multiprocessing.active_children():
            # A poller without a pause would slow the other tools.
            assert process.pid is not None
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)
        _sleep_until(job["begin_s"])
        tool.begin()
        answer["start_s"] = time.monotonic()
        _sleep_until(job["end_s"])
        answer["end_s"] = time.monotonic()
        tool.end()
        answer |= tool.read()
        usages = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        answer["cpu_s"] = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any failure is a result
        answer["error"] = f"{type(error).__name__}: {error}"[:200]
    return answer


def _open_scenario(path: str) -> None:
    """Give back every session of the parent's, so that the next one reads this scenario."""
    import pynvml

    os.environ[VARIABLE] = path
    was_open = False
    with contextlib.suppress(pynvml.NVMLError):
        while True:
            pynvml.nvmlShutdown()
            was_open = True
    if was_open:  # a tool that opens the driver when it is imported expects it open
        pynvml.nvmlInit()


def _sleep_until(at_s: float) -> None:
    time.sleep(max(at_s - time.monotonic(), 0.0))


def _answer(document: dict[str, Any]) -> None:
    os.write(1, json.dumps(document).encode() + b"\n")


if __name__ == "__main__":
    serve(sys.argv[1])
