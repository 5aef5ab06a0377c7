"""``wbcbench doctor --acceptance``: known loads on a board, and what its readings are worth."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wbcbench.commands import options
from wbcbench.core.errors import CannotMeasureError, ThresholdExceededError

if TYPE_CHECKING:
    from wbcbench.doctor.acceptance import Acceptance
    from wbcbench.energy.board_card import BoardCard
    from wbcbench.power.session import MeteringRequest

FOLDER = Path("acceptance")
_NAME = 9


def accept(request: MeteringRequest, out: Path | None, *, as_json: bool) -> None:
    """Load a board, write its card and page, and print the claims.

    Raises:
        CannotMeasureError: Nothing can be loaded and read here, or a claim cannot be judged.
        ThresholdExceededError: A claim fails.
    """
    from wbcbench.core.extras import require_training
    from wbcbench.core.window import MonotonicClock
    from wbcbench.doctor.acceptance import accept_board
    from wbcbench.doctor.load_program import LoadProgram

    require_training("tensorflow")
    if out is not None:
        options.require_folder(out)
    clock = MonotonicClock()
    start_s = clock.now_s()

    def tell(text: str) -> None:
        typer.echo(f"{clock.now_s() - start_s:4.0f} s  {text} …", err=True)

    accepted = accept_board(
        request, clock, lambda device, watch: LoadProgram(device, clock, watch), tell
    )
    page = _write_files(accepted, out)
    card = accepted.card
    if as_json:
        document = json.loads(card.to_json())
        options.print_json({"schema": document.pop("schema"), **document, "page": str(page)})
    else:
        typer.echo("\n".join(describe(accepted, page)))
    require_claims(card, page)


def require_claims(card: BoardCard, page: Path) -> None:
    """Raise where a claim fails or cannot be judged; see ``accept``."""
    if failed := card.list_claims("fail"):
        names = ", ".join(claim.name for claim in failed)
        raise ThresholdExceededError(
            f"This board does not keep what is promised: {names}. See {page}, and state its joules "
            "with that."
        )
    if unknown := card.list_claims("unknown"):
        names = ", ".join(claim.name for claim in unknown)
        raise CannotMeasureError(
            f"What was read does not tell: {names}. Repeat it while nothing else runs here."
        )


def _write_files(accepted: Acceptance, out: Path | None) -> Path:
    """Write the card and the page, by default into a folder of the board; returns the page."""
    from wbcbench.report.acceptance import CARD_FILE, CARD_PAGE, build_page
    from wbcbench.report.formats import to_html

    card = accepted.card
    folder = out or FOLDER / re.sub(r"[^\w.-]+", "-", card.board.device or card.board.name)
    page = folder / CARD_PAGE
    options.write_output(folder / CARD_FILE, card.to_json())
    options.write_output(page, to_html(build_page(card, accepted.traces, accepted.played)))
    return page


def describe(accepted: Acceptance, page: Path) -> Iterator[str]:
    """The board, each reading, each claim, and where the card is."""
    from wbcbench.core.terminal import fill
    from wbcbench.core.text import printable
    from wbcbench.report.acceptance import describe_board, describe_reading

    card = accepted.card
    board = f"{card.board.name}, driver {card.board.driver or 'unknown'}"
    yield fill(printable(f"{board}, loaded on {card.board.loaded_on}"), rest="  ")
    for text in (*map(describe_reading, card.readings), *describe_board(card)):
        yield fill(printable(text), "  ", "    ")
    for claim in card.claims:
        yield fill(
            printable(f"{claim.text}: {claim.found}"), f"{claim.state:<{_NAME}}", " " * _NAME
        )
    kept = "Later runs on this board use the card until its driver changes."
    yield f"Saved {page}" + (f"\n{kept}" if accepted.stored else "")
