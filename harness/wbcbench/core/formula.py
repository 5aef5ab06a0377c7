"""Text in a CSV cell that a spreadsheet would take for a formula, made harmless and back.

A spreadsheet carries out a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line
break (OWASP, "CSV Injection"). Such *text* gets an apostrophe in front; numbers stay as they are.
The rule can be undone, so that reading gives the same text.
"""

from __future__ import annotations

import re

_DANGEROUS = re.compile(r"'*[=+\-@\t\r\n]")


def safe_text(text: str) -> str:
    """Text that no spreadsheet carries out."""
    return f"'{text}" if _DANGEROUS.match(text) else text


def original_text(text: str) -> str:
    """The text that :func:`safe_text` made this from."""
    return text[1:] if text.startswith("'") and _DANGEROUS.match(text) else text
