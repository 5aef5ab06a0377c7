"""Known loads on a board whose readings are polled densely: its active sensor card.

The board's meter is read a thousand times a second by a thread here, and loaded by a program of its
own; both stamp on the monotonic clock. A driver that hangs or loses the board ends it: nothing is
said of a board that was not read all the time.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.lock import HOST, machine_lock
from wbcbench.core.trace import Origin, PollValues, Trace
from wbcbench.core.window import Clock, Window, utc_now
from wbcbench.doctor.load_program import LoadPlayer
from wbcbench.energy.acceptance import COLD, CONTEXT, judge_board
from wbcbench.energy.board_card import Board, BoardCard
from wbcbench.energy.load_plan import IDLE_S, PROCESSOR, Bout, Played, list_bouts
from wbcbench.power.device import Device, UnreadGpuError
from wbcbench.power.meter import AUTO, EnergyMeter, open_meters
from wbcbench.power.probing import store_cards
from wbcbench.power.session import MeteringRequest

METERS = ("nvml", "rapl")  # of boards that the load can run on, the first that works
POLL_S = 0.001
HUNG_S = 3.0  # without an answer of the driver
LOST_S = 1.0  # without a good reading
WARM_S = 3.0  # after the load's program has warmed the board up

StartLoad = Callable[[Device | None, Callable[[], None]], AbstractContextManager[LoadPlayer]]
"""Starts what loads a board, or the processor; the second argument is to be called meanwhile."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A card and what it rests on.

    Attributes:
        card: What was found.
        traces: Every poll of every reading.
        played: The loads.
        stored: Where later runs find the card; ``None`` where it is kept nowhere.
    """

    card: BoardCard
    traces: tuple[Trace, ...]
    played: tuple[Played, ...]
    stored: Path | None


def accept_board(
    request: MeteringRequest, clock: Clock, start_load: StartLoad, tell: Callable[[str], None]
) -> Acceptance:
    """Play the plan of known loads on the first board of the request, and judge what was read.

    Args:
        request: Which meters and GPUs.
        clock: The machine's monotonic one: the load's program stamps on it.
        start_load: ``LoadProgram``, or what stands for it.
        tell: Hears what goes on.

    Raises:
        CannotMeasureError: No board can be loaded and read here, another run measures on it, or it
            stopped answering.
        UsageError: There is no meter or GPU of that name.
    """
    with ExitStack() as stack:
        meter = _open_board(request, stack)
        device = meter.device
        stack.enter_context(machine_lock(device.gpu.uuid if device else HOST, share=False))
        poller = stack.enter_context(_polling(meter, clock))
        tell(f"{meter.name}: idle")
        idle = [_rest(COLD, IDLE_S, clock, poller)]
        tell("starting TensorFlow")
        with start_load(device, poller.check) as load:
            if device is not None and "GPU" not in load.loaded_on:
                raise CannotMeasureError(
                    f"TensorFlow sees no GPU here, so {device.gpu} cannot be loaded. "
                    "Run: pip install 'wbcbench[cuda]'"
                )
            tell("idle with TensorFlow's context")
            _rest(CONTEXT, WARM_S, clock, poller)  # its clocks come down
            idle.append(_rest(CONTEXT, IDLE_S, clock, poller))
            played = tuple(_play(load, poller, has_board=device is not None, tell=tell))
        traces = poller.stop()
        tell("working out the card")
        facts = meter.describe()
        board = Board(
            device.gpu.name if device else str(facts.get("name") or meter.name),
            device.gpu.uuid if device else "",
            str(facts.get("driver") or ""),
            load.loaded_on,
        )
        card = judge_board(board, traces, played, idle, utc_now())
        return Acceptance(card, traces, played, store_cards(meter, card.cards))


def _open_board(request: MeteringRequest, stack: ExitStack) -> EnergyMeter:
    """Open the meter of the first board that has a sensor and can be loaded."""
    asked = replace(
        request.request, one_gpu=not request.gpus, for_training=True, every_reading=True
    )
    reasons: list[str] = []
    for name in METERS if AUTO in request.meters else request.meters:
        try:
            meters = open_meters((name,), asked, stack).meters
        except UnreadGpuError:
            raise
        except CannotMeasureError as error:
            reasons.append(str(error))
            continue
        for meter in meters:
            is_loadable = meter.device is None or meter.device.can_train
            is_sensor = all(channel.origin is Origin.MEASURED for channel in meter.channels)
            if is_sensor and is_loadable and meter.interval_s is None:
                return meter
        reasons.append(f"{name} reads no sensor of a board that TensorFlow can load.")
    raise CannotMeasureError(f"Known loads can test no sensor here. {reasons[0]}")


def _rest(name: str, for_s: float, clock: Clock, poller: _Poller) -> Window:
    start_s = clock.now_s()
    clock.sleep_until(start_s + for_s)
    poller.check()
    return Window(name, start_s, clock.now_s())


def _play(
    load: LoadPlayer, poller: _Poller, *, has_board: bool, tell: Callable[[str], None]
) -> Iterator[Played]:
    """Every load of the plan; that of the processor alone only beside a board."""
    bouts = [bout for bout in list_bouts() if has_board or bout.name != PROCESSOR]

    def kind(bout: Bout) -> str:
        return bout.name.partition("-")[0]

    for name, group in groupby(bouts, kind):
        of_kind = [*group]
        tell(f"load: {name} ({sum(bout.length_s for bout in of_kind):.0f} s)")
        for bout in of_kind:
            yield load.play(bout)
            poller.check()


class _Poller:
    """One meter, read by a thread as fast as is sensible, every poll kept in memory."""

    def __init__(self, meter: EnergyMeter, clock: Clock) -> None:
        """Prepare; nothing is read yet."""
        self._meter, self._clock, self._stop = meter, clock, threading.Event()
        self._times_s, self._columns = array("d"), [array("d") for _ in meter.channels]
        self._answered_s = self._good_s = clock.now_s()
        self._thread = threading.Thread(target=self._run, name="acceptance", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            before_s = self._clock.now_s()
            values = self._meter.read()
            self._answered_s = self._clock.now_s()
            self._keep(0.5 * (before_s + self._answered_s), values)
            self._clock.sleep_until(before_s + POLL_S)

    def _keep(self, t_s: float, values: Sequence[float | None]) -> None:
        if self._times_s and t_s <= self._times_s[-1]:
            return
        self._times_s.append(t_s)
        for column, value in zip(self._columns, values, strict=True):
            column.append(float("nan") if value is None else value)
        if any(value is not None for value in values):
            self._good_s = t_s

    def check(self) -> None:
        """Raise ``CannotMeasureError`` where the board does not answer."""
        hung_s = self._clock.now_s() - self._answered_s
        lost_s = self._answered_s - self._good_s
        for length_s, most_s, what in (
            (hung_s, HUNG_S, "has not answered"),
            (lost_s, LOST_S, "has given no reading"),
        ):
            if length_s > most_s:
                raise CannotMeasureError(
                    f"{self._meter.name} {what} for {length_s:.1f} s: a board that is not read "
                    "all the time cannot be accepted. Check `nvidia-smi`, then repeat it."
                )

    def stop(self) -> tuple[Trace, ...]:
        """End it; returns a trace for each channel."""
        self._stop.set()
        self._clock.sleep_until(self._clock.now_s() + 2 * POLL_S)  # the last poll ends meanwhile
        self._thread.join(HUNG_S)
        count = min(map(len, self._columns))  # a call that hangs adds nothing
        times_s = self._times_s[:count]
        channels = zip(self._meter.channels, self._columns, strict=True)
        return tuple(
            Trace(channel, times_s, PollValues(column[:count])) for channel, column in channels
        )


@contextmanager
def _polling(meter: EnergyMeter, clock: Clock) -> Iterator[_Poller]:
    poller = _Poller(meter, clock)
    poller.start()
    try:
        yield poller
    finally:
        poller.stop()
