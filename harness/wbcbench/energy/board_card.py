"""What is known of a board's sensors: the document that an acceptance leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from wbcbench.core.errors import UsageError
from wbcbench.core.record import SensorCard
from wbcbench.core.strict_json import read_document
from wbcbench.core.trace import Kind
from wbcbench.energy.sensor_fit import Estimate, SensorFit

CARD_SCHEMA = "wbcbench.card/1"

ClaimState = Literal["pass", "fail", "unknown", "absent"]
Scope = Literal["board", "module"]


@dataclass(frozen=True, slots=True)
class BoardClaim:
    """One promise of MEASUREMENT.md, and what this board shows of it.

    Attributes:
        name: Stable, for programs.
        text: The promise.
        state: ``absent`` where the board has nothing to judge it by; ``unknown`` where it has, but
            what was read does not tell.
        found: The number in words, or why there is none.
        value, limit: What is compared; ``None`` if unknown.
    """

    name: str
    text: str
    state: ClaimState
    found: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """What was loaded.

    Attributes:
        name, device, driver: Of the board; empty where it has none.
        loaded_on: Where the load ran, as TensorFlow names it.
    """

    name: str
    device: str
    driver: str
    loaded_on: str


@dataclass(frozen=True, slots=True)
class ReadingCard:
    """One reading of the board."""

    channel: str
    reading: str
    kind: Kind
    fit: SensorFit


@dataclass(frozen=True, slots=True)
class DutyPoint:
    """The joules of a load of one duty.

    Attributes:
        name: Of the bout.
        on_share: Share of its window in which it was on.
        power_w, half_w: Its joules over the window's length, and their ±.
        line_w: What the line through all duties says.
    """

    name: str
    on_share: float
    power_w: float
    half_w: float
    line_w: float


@dataclass(frozen=True, slots=True)
class BoardCard:
    """What is known of a board's sensors; written as ``card.json``.

    Attributes:
        schema: Version of the format.
        measured_utc: When.
        board: What was loaded.
        readings: All, in the order of the meter's channels.
        context_w: By how much a context without work raises the idle power.
        processor_w: By how much a load of the processor alone moves the board's reading.
        scope: Whether the reading holds the board alone or a module with the processor; ``None``
            where ``scope_reason`` says why.
        duties: Joules against duty.
        claims: What MEASUREMENT.md says, judged.
        cards: What later runs take from it.
    """

    measured_utc: str
    board: Board
    readings: tuple[ReadingCard, ...]
    context_w: Estimate
    processor_w: Estimate
    scope: Scope | None
    scope_reason: str
    duties: tuple[DutyPoint, ...]
    claims: tuple[BoardClaim, ...]
    cards: tuple[SensorCard, ...]
    schema: str = CARD_SCHEMA

    def list_claims(self, state: ClaimState) -> list[BoardClaim]:
        """Those in one state."""
        return [claim for claim in self.claims if claim.state == state]

    def to_json(self) -> bytes:
        """The document, one field a line."""
        return TypeAdapter(BoardCard).dump_json(self, indent=1) + b"\n"


def read_card(data: bytes, source: str) -> BoardCard:
    """Read ``card.json``; raises ``UsageError`` where it is none, or of another schema."""
    try:
        card = read_document(BoardCard, data)
    except ValueError as error:
        raise UsageError(f"{source} is not a card: {error}.") from error
    if card.schema != CARD_SCHEMA:
        raise UsageError(
            f"{source} has schema {card.schema}; this wbcbench reads {CARD_SCHEMA}. Make the card "
            "again with `wbcbench doctor --acceptance`."
        )
    return card
