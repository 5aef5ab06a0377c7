"""Numbers of the tables behind figures: enough digits to draw the figure again, none invented."""

from __future__ import annotations

import math

from wbcbench.core.text import UNKNOWN

_DIGITS = 6
_MOST_PLACES = 6


def number(value: float | None, digits: int = _DIGITS) -> str:
    """``5303.74``, ``0.799556``; what is not known or not finite is ``unknown``, never zero."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{min(max(digits - max(size, 0), 0), _MOST_PLACES)}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """``+2.813``, ``-6.913``: a difference."""
    told = number(value, digits)
    return f"+{told}" if value is not None and value > 0 and told != UNKNOWN else told
