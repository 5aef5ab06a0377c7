"""Every answer of the NVIDIA driver in a file, with its time: what boards did, to be replayed.

The file grows as answers come: JSON, a value a line, in gzip where its name ends in ``.gz``. A torn
last line is what a kill left of one. The first line says what it is, and when it began by the wall
clock and by the monotonic one; a call is described when it is first made, and named by its ``id``
from then on:

    {"schema": "wbcbench.nvml-recording/1", "version": "0.1.0", "started_utc": …, "start_us": …}
    {"id": 3, "call": "nvmlDeviceGetClockInfo", "in": [0, 1]}
    [3, 25, 17, [0, 1410]]
    [3, 1000036, 15]

``in`` is what the call was given, a handle as the index of its board. An answer is its call; the
microseconds of the monotonic clock to the call since that of the answer before, or since the start
(below 0 where several threads call); those that it took; and ``[return code, what it wrote]``,
which is left out where the same call wrote it last. What it wrote is a number or a text, a
structure by its fields, or a list of them. Of field values (whose ids follow the board) it is
``[code, type, number]`` each, and a fifth item says how many microseconds before the call they were
stamped by the wall clock, where that has changed; one number where all have one stamp. Of processes
it is ``[process, bytes]`` each, or how many there are.

UUIDs, serial numbers and process ids are replaced by others that are the same throughout the file.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from wbcbench.core.units import us_from_ns
from wbcbench.core.version import __version__
from wbcbench.core.window import utc_now
from wbcbench.power import nvml

SCHEMA = "wbcbench.nvml-recording/1"
READINGS_S, STATE_S = 0.008, 1.0  # from poll to poll
FLUSH_US = 500_000
JOIN_S = 2.0  # a driver that hangs longer is left behind: its thread is a daemon
RECORDED = ("nvmlDeviceGet", "nvmlSystemGet")
BY_INDEX, FIELDS = "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetFieldValues"
PROCESSES = "RunningProcesses"
WRITING = (0, 7)  # codes of calls that write: success, and how much room would be enough
HIDDEN, SERIAL_DIGITS = ("UUID", "Serial"), 13  # what calls with these words give or take
LEAST_PID = 1 << 22  # Linux gives none of these


@contextmanager
def record_answers(path: Path, gpus: Sequence[str]) -> Iterator[AnswerLog]:
    """Keep every answer that the driver gives this process, and ask for more than is measured.

    Readings are asked for more than 100 times a second, in every way that there is, and all else
    that programs ask for once a second, each in threads of its own.

    Args:
        path: The file, which is replaced.
        gpus: The boards to ask, as ``MeterRequest`` has them.

    Raises:
        CannotMeasureError: There is no NVIDIA library, driver or GPU.
        UsageError: A name matches no GPU or several.
        OSError: The file cannot be written. Later errors stand in ``AnswerLog.error``.
    """
    should_stop = threading.Event()
    with nvml.session("--record"), ExitStack() as stack:
        boards = nvml.choose_gpus(gpus, nvml.list_gpus(), os.environ)
        recording = stack.enter_context(closing(AnswerLog(path)))
        stack.enter_context(nvml.replaced_library(lambda real: RecordedLibrary(real, recording)))
        nvml.list_gpus()  # once more: who the boards are belongs into the file
        threads = [
            threading.Thread(target=_poll, args=(ask, handle, period_s, should_stop), daemon=True)
            for handle in filter(None, map(nvml.find_handle, boards))
            for ask, period_s in ((nvml.ask_readings, READINGS_S), (nvml.ask_state, STATE_S))
        ]
        for thread in threads:
            thread.start()
        try:
            yield recording
        finally:
            should_stop.set()
            for thread in threads:
                thread.join(JOIN_S)


def _poll(
    ask: Callable[[Any], None], handle: Any, period_s: float, should_stop: threading.Event
) -> None:
    """Ask at once and then each period, or as fast as the driver answers."""
    due_s = time.monotonic()
    while not should_stop.wait(max(due_s - time.monotonic(), 0.0)):
        ask(handle)
        due_s = max(due_s + period_s, time.monotonic())


def _now_us() -> int:
    return us_from_ns(time.monotonic_ns())


class RecordedLibrary:
    """The driver's library; each answer that it gives is kept."""

    def __init__(self, library: Any, recording: AnswerLog) -> None:
        """Stand before ``library``."""
        self._library, self._recording = library, recording

    def __getattr__(self, name: str) -> Any:
        """A function of the library; raises ``AttributeError`` where it has none of that name."""
        function = getattr(self._library, name)
        if not name.startswith(RECORDED):
            return function

        def call(*arguments: Any) -> int:
            before_us = _now_us()
            code: int = function(*arguments)
            self._recording.keep(name, arguments, code, before_us, _now_us())
            return code

        setattr(self, name, call)
        return call


class AnswerLog:
    """The file of a recording; threads may write at once.

    Attributes:
        error: Why it is incomplete; ``None`` if it is not.
    """

    def __init__(self, path: Path) -> None:
        """Begin it; raises ``OSError``."""
        opener: Callable[..., TextIO] = gzip.open if path.suffix == ".gz" else open
        self._stream = opener(path, "wt", encoding="ascii")
        self._lock, self._is_open = threading.Lock(), True
        self._last_us = self._flushed_us = _now_us()
        self._wall_us = us_from_ns(time.time_ns()) - self._last_us
        self._ids, self._last = dict[str, int](), dict[tuple[int, int], Any]()
        self._boards, self._pids = dict[int | None, int](), dict[int, int]()
        self._secret = uuid.uuid4()
        self.error: OSError | None = None
        began = {"started_utc": utc_now(), "start_us": self._last_us}
        what = {"schema": SCHEMA, "version": __version__, **began}
        self._stream.write(json.dumps(what) + "\n")

    def close(self) -> None:
        """End it; what a hanging call answers later is kept no more."""
        with self._lock:
            self._is_open = False
            try:
                self._stream.close()
            except OSError as error:
                self.error = self.error or error

    def keep(
        self, call: str, arguments: Sequence[Any], code: int, before_us: int, after_us: int
    ) -> None:
        """Keep an answer: what the call left in its arguments, and its times."""
        with self._lock:
            if not self._is_open or self.error:
                return
            try:
                self._keep(call, arguments, code, before_us, after_us)
                if after_us > self._flushed_us + FLUSH_US:
                    self._flushed_us = after_us
                    self._stream.flush()
            except OSError as error:
                self.error = error

    def _keep(
        self, call: str, arguments: Sequence[Any], code: int, before_us: int, after_us: int
    ) -> None:
        given, written, stamps_us = self._describe(call, arguments, code)
        if code not in WRITING:
            written, stamps_us = None, []
        key = json.dumps({"call": call, "in": given}, default=repr)
        if (number := self._ids.get(key)) is None:
            number = self._ids[key] = len(self._ids)
            self._stream.write(f'{{"id": {number}, {key[1:]}\n')
        line: list[Any] = [number, before_us - self._last_us, after_us - before_us]
        self._last_us = before_us
        ages_us = [before_us + self._wall_us - stamp_us for stamp_us in dict.fromkeys(stamps_us)]
        for place, new in enumerate(([code, written], ages_us)):
            if self._last.get((number, place), []) != new:
                self._last[number, place] = new
                line += [None] * (3 + place - len(line)) + [new]
        self._stream.write(json.dumps(line, separators=(",", ":"), default=repr) + "\n")

    def _describe(
        self, call: str, arguments: Sequence[Any], code: int
    ) -> tuple[list[Any], Any, list[int]]:
        """What a call was given, what it wrote, and the stamps of that, as plain values."""
        values = [getattr(argument, "_obj", argument) for argument in arguments]  # of ``byref``
        if call == FIELDS:
            handle, _, fields = values
            written = [[f.nvmlReturn, f.valueType, nvml.decode_field(f, f.value)] for f in fields]
            given = [self._make_plain(call, handle), *(field.fieldId for field in fields)]
            return given, written, [field.timestamp for field in fields]
        if PROCESSES in call:
            handle, count, processes = values
            found = None if processes is None else processes[: count.value]
            written = [
                [self._hide_pid(process.pid), process.usedGpuMemory] for process in found or ()
            ]
            return [self._make_plain(call, handle)], count.value if found is None else written, []
        given, results = list[Any](), list[Any]()
        for argument, value in zip(arguments, values, strict=True):
            is_result = value is not argument or isinstance(value, ctypes.Array)
            (results if is_result else given).append(value)
        if call == BY_INDEX and code == 0:
            self._boards[_find_address(results[0])] = given[0].value
        given, results = ([self._make_plain(call, v) for v in each] for each in (given, results))
        return given, results[0] if len(results) == 1 else results, []

    def _make_plain(self, call: str, value: Any) -> Any:
        """A value of C as one of JSON; ``None`` for what has no plain value."""
        if isinstance(value, ctypes.Structure):
            names = [name for name, *_ in value._fields_]
            raw = {name: ctypes.Structure.__getattribute__(value, name) for name in names}
            return {name: self._make_plain(call, part) for name, part in raw.items()}
        if isinstance(value, ctypes._Pointer):
            return self._boards.get(_find_address(value))
        value = getattr(value, "value", value)
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if text and isinstance(text, str) and (word := next((w for w in HIDDEN if w in call), "")):
            alias = uuid.uuid5(self._secret, text)
            return f"GPU-{alias}" if word == "UUID" else str(alias.int)[:SERIAL_DIGITS]
        return text

    def _hide_pid(self, pid: int) -> int:
        return self._pids.setdefault(pid, LEAST_PID + len(self._pids))


def _find_address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
