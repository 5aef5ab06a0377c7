"""What was attached to a finished run: an external meter's channel, its joules and its doubts.

A record is never written twice. An attachment stands beside it, and reading the run puts the two
together; the run's verdict stays the one its own meters gave it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from pydantic import TypeAdapter, ValidationError

from wbcbench.core.accuracy import Budget
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Caution
from wbcbench.core.records import RunRecord, refuse_newer
from wbcbench.core.trace import Channel
from wbcbench.core.window import WindowEnergy

SCHEMA = "1.0"


@dataclass(frozen=True, slots=True)
class Attachment:
    """An external meter's part of a run.

    Attributes:
        source: Name of the log, without its folder.
        source_sha256: Digest of the log.
        column: The column that was read.
        offset_s: What the user had added to the log's times.
        utc_minus_monotonic_s: How the log's times became the run's; includes ``offset_s``.
        attached_utc: When.
        channel: The meter as a channel.
        energies: Joules of every window of the run; ``None`` where the log does not reach.
        budgets: Where their uncertainty comes from.
        cautions: What had to be assumed or is missing; they inform and judge nothing.
    """

    source: str
    source_sha256: str
    column: str
    offset_s: float
    utc_minus_monotonic_s: float
    attached_utc: str
    channel: Channel
    energies: tuple[WindowEnergy, ...]
    budgets: tuple[Budget, ...] = ()
    cautions: tuple[Caution, ...] = ()
    schema: str = SCHEMA


@cache
def _adapter() -> TypeAdapter[Attachment]:
    return TypeAdapter(Attachment)


def to_json(attachment: Attachment) -> bytes:
    """JSON, one field a line."""
    return _adapter().dump_json(attachment, indent=1) + b"\n"


def from_json(data: bytes, source: str) -> Attachment:
    """Read an attachment; raises ``UsageError`` if ``source`` holds none, or a newer schema's."""
    try:
        found = _adapter().validate_json(data)
        refuse_newer(found.schema, source)
    except (ValueError, ValidationError) as error:
        raise UsageError(f"{source} is not an attachment: {error}") from error
    return found


def merged(record: RunRecord, attachment: Attachment) -> RunRecord:
    """The record with the attached channel among its own."""
    return replace(
        record,
        channels=(*record.channels, attachment.channel),
        energies=(*record.energies, *attachment.energies),
        budgets=(*record.budgets, *attachment.budgets),
        cautions=(*record.cautions, *attachment.cautions),
    )
