"""Ways to tamper with a bundle: each a function that changes one thing, chosen by its seed."""

from __future__ import annotations

from collections.abc import Mapping

from tamperings import measurement, runs, statements, studies, surroundings
from tamperings.kinds import KINDS

__all__ = ["KINDS", "UNCAUGHT", "measurement", "runs", "statements", "studies", "surroundings"]
# Importing the modules enters their kinds.

UNCAUGHT: Mapping[str, str] = {
    "a line of the log edited": (
        "The log is what libraries printed. No number is taken from it, and nothing else knows it."
    ),
}
"""Tamperings that need not be found, and why, as ``harness/VERIFICATION.md`` says, too."""
