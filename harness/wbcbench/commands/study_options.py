"""Options that ``plan`` and ``sweep`` share, and the question before much energy is spent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.core.errors import CannotTellError, GateFailedError, UsageError

if TYPE_CHECKING:
    from wbcbench.study.forecast import Cost

PlanFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="An experiment file such as experiments/quick.toml, or a plan.json.",
        show_default=False,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file: --set epochs=3."),
]
ConfirmOver = Annotated[
    str | None,
    typer.Option(
        metavar="ENERGY",
        help="Ask first when more is predicted, e.g. 0.5kWh; off a terminal the answer is no.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Answer that question with yes.")]


def limit_j(text: str | None) -> float | None:
    """Joules of ``--confirm-over``; raises ``UsageError`` when it is no energy."""
    from wbcbench.core.units import j_from_text

    if text is None:
        return None
    try:
        return j_from_text(text)
    except ValueError as error:
        raise UsageError(f"--confirm-over: {error}.") from error


def confirm(costs: Cost, most_j: float | None, *, yes: bool) -> None:
    """Ask when the predicted joules are above the limit.

    Raises:
        GateFailedError: The answer is no.
        CannotTellError: The joules cannot be predicted.
    """
    from wbcbench.core.text import human_energy

    if most_j is None or yes:
        return
    if costs.energy_j is None:
        raise CannotTellError(
            "--confirm-over: the joules cannot be predicted, for there is no finished run to "
            "learn from. Make one with `wbcbench plan FILE --pilot`, or say --yes."
        )
    if costs.energy_j <= most_j:
        return
    text = f"{human_energy(costs.energy_j)} {costs.status} are predicted, above the limit of "
    text += human_energy(most_j)
    if sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(f"{text}. Go on?", err=True):
        return
    raise GateFailedError(f"{text}. Nothing was started. Say --yes, or plan less.")
