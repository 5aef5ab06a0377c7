"""Ways to tamper with a bundle: each a function that changes one thing, drawn anew by its seed."""

from __future__ import annotations

from collections.abc import Mapping

import tamperings_of_measurement
import tamperings_of_runs
import tamperings_of_statements
import tamperings_of_studies
import tamperings_of_surroundings
from tampering_kinds import KINDS

__all__ = ["KINDS", "PARTS", "UNCAUGHT"]

PARTS = (
    tamperings_of_measurement,
    tamperings_of_runs,
    tamperings_of_studies,
    tamperings_of_statements,
    tamperings_of_surroundings,
)
"""Importing them enters their kinds."""

UNCAUGHT: Mapping[str, str] = {
    "a line of the log edited": (
        "The log is what libraries printed. No number is taken from it, and nothing else knows it."
    ),
}
"""Tamperings that need not be found, and why, as ``harness/VERIFICATION.md`` says, too."""
