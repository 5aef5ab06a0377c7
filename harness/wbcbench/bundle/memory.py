"""A ceiling on memory while a stranger's file is decompressed by somebody else's library."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")


@contextmanager
def at_most(extra_bytes: int) -> Iterator[None]:
    """Let this process take ``extra_bytes`` more of memory and no more.

    Beyond it the library's allocation fails, which it reports, instead of the machine swapping.
    Where the system does not say how much is in use (no ``/proc``) there is no ceiling.
    """
    used = _used_bytes()
    if used is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = used + extra_bytes
    known = [limit for limit in (ceiling, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(known), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _used_bytes() -> int | None:
    """Private writable memory of this process, as the kernel holds it against the limit."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None
