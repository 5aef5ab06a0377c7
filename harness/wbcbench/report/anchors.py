"""Where a claim leads: the id of a table's row, the same in the page and in the Markdown."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 40


def anchor(source: str, row: str) -> str:
    """An id of letters, digits and hyphens, different for each row of each table."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{source.removesuffix('.csv')} {row}".lower())
    digest = hashlib.sha256(f"{source}\n{row}".encode()).hexdigest()[:8]
    return f"{words.strip('-')[:_LONGEST].strip('-')}-{digest}"
