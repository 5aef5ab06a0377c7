"""Standard output as a place for tables: as wide as the terminal, or as wide as needed if piped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough that no table is ever folded in a file.
_PIPED_WIDTH = 500


def console() -> Console:
    """A rich console on standard output; without colour and never folded when piped."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, color_system=None, force_terminal=False, width=_PIPED_WIDTH)
