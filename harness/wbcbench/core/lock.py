"""Who measures on a board, and on the processor: two would each include the other's joules.

A lock is the name of an abstract Unix socket: it needs no file and no permission, is the same for
every user and every temporary folder, and ends with the last process that holds the socket, however
that ends. Names belong to a network namespace: a harness in a container is seen by its processes on
the board alone.

A device has places. Who needs it alone holds the first, and nobody any other; who shares it holds
one of the others. Who comes to a device that is held says so to every holder by one datagram, which
stays unread in the holder's socket. A command takes its lock before it makes a run's folder and
passes the socket to the run's recorder, so that no other process gets it in between.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from wbcbench.core.errors import CannotMeasureError

HOST = "host"
PLACES = range(32)
_ALONE = 0
_TURN_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Hold:
    """A device while we measure on it.

    Attributes:
        is_exclusive: Whether no other run held it when this one came.
        socket: What holds the place; ``None`` where all of them are taken.
    """

    is_exclusive: bool
    socket: socket.socket | None

    @property
    def handle(self) -> int | None:
        """The open file, for a process that is to go on holding the place."""
        return None if self.socket is None else self.socket.fileno()

    @property
    def is_shared(self) -> bool:
        """Whether another run has measured on this device at the same time."""
        if not self.is_exclusive or self.socket is None:
            return True
        with contextlib.suppress(BlockingIOError):
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False


def is_held(device: str) -> bool:
    """Whether a run measures on a device; it does not learn that somebody asked."""
    return any(_reaches(device, place) for place in PLACES)


def require_free(device: str) -> None:
    """See that no run measures on a device.

    Raises:
        CannotMeasureError: One does; the message says the ways out.
    """
    if is_held(device):
        raise CannotMeasureError(_describe_holder(device))


@contextlib.contextmanager
def machine_lock(device: str, *, share: bool, alone: bool = True) -> Iterator[Hold]:
    """Hold ``device`` while a run is measured.

    Args:
        device: A board's UUID or ``HOST``.
        share: Whether to measure beside any other run; each of them will know.
        alone: Whether its joules are those of this run. If not, other runs of that kind are no
            hindrance: they are told, and tell us.

    Raises:
        CannotMeasureError: Another run holds it and ``share`` was not requested.
    """
    with contextlib.ExitStack() as stack:
        first = [_ALONE] if alone and (not share or not is_held(device)) else []
        own, place = _take_place(device, [*first, *(PLACES[1:] if share or not alone else ())])
        if own is not None:
            stack.enter_context(own)
        # Held first and looked at second: of two that come at once, one at least sees the other.
        others = [other for other in PLACES if other != place and _reaches(device, other)]
        is_refused = bool(others) if alone else _ALONE in others
        if not share and (own is None or is_refused):
            raise CannotMeasureError(_describe_holder(device))
        for other in others:
            _reaches(device, other, word=b"j")
        yield Hold(not others, own)


@contextlib.contextmanager
def inherited_lock(device: str, handle: int) -> Iterator[Hold]:
    """Keep the lock that the process that started this one holds, also after its end.

    Raises:
        CannotMeasureError: The open file is not that lock.
    """
    try:
        own = socket.socket(fileno=handle)
        is_lock = own.getsockname() in {_address(device, place) for place in PLACES}
    except OSError:
        is_lock = False
    if not is_lock:
        raise CannotMeasureError(
            "The lock of this machine, which the command that started this run held, is lost: it "
            "was not passed on, or WBCBENCH_LOCK_DIR differs. Start the run again."
        )
    with own:
        own.set_inheritable(False)  # the trainer and whatever it leaves behind do not hold it
        yield Hold(True, own)


@contextlib.contextmanager
def turn(name: str, wait_s: float) -> Iterator[bool]:
    """Wait until no process of this machine has this turn, take it, and give it back at the end.

    A process that ends, however, gives its turn back; one in a network namespace of its own neither
    sees it nor is seen.

    Args:
        name: Of what is done by one process at a time.
        wait_s: How long to wait for others, in seconds.

    Yields:
        Whether it is ours; otherwise another process has had it all the time.
    """
    end_s = time.monotonic() + wait_s
    own, _ = _take_place(name, [_ALONE])
    while own is None and time.monotonic() < end_s:
        time.sleep(_TURN_POLL_S)
        own, _ = _take_place(name, [_ALONE])
    with own or contextlib.nullcontext():
        yield own is not None


def _describe_holder(device: str) -> str:
    name = "this machine" if device == HOST else device
    return (
        f"Another wbcbench run is measuring on {name}. Two at once would each include the other's "
        "joules. Wait for it, or use --share: then both runs are marked contaminated."
    )


def _take_place(device: str, places: list[int]) -> tuple[socket.socket | None, int | None]:
    """The first free one of these places, held by a socket."""
    for place in places:
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            own.bind(_address(device, place))
        except OSError as error:
            own.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return own, place
    return None, None


def _reaches(device: str, place: int, word: bytes = b"") -> bool:
    """Whether somebody holds a place; with ``word``, who does is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        try:
            other.connect(_address(device, place))
            if word:
                other.send(word, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True  # it was told so often that its queue is full
        except ConnectionRefusedError:
            return False
        return True


def _address(device: str, place: int) -> bytes:
    """The abstract name; ``WBCBENCH_LOCK_DIR`` names a space of its own, for tests."""
    space = os.environ.get("WBCBENCH_LOCK_DIR", "")
    mark = hashlib.sha256(space.encode()).hexdigest()[:16] if space else ""
    return f"\0wbcbench/{mark}/{device}/{place}".encode()
