"""Ways to tamper with a study: each a function that changes one thing, chosen by its seed.

What is here knows the formats and what the program's commands do, and nothing of its verifier.
"""

from __future__ import annotations

from tamperings import (
    documents,
    forged_results,
    forged_runs,
    forged_studies,
    measurement,
    runs,
    statements,
    studies,
    surroundings,
)
from tamperings.kinds import KINDS
from tamperings.known import BEYOND

__all__ = [
    "BEYOND",
    "KINDS",
    "documents",
    "forged_results",
    "forged_runs",
    "forged_studies",
    "measurement",
    "runs",
    "statements",
    "studies",
    "surroundings",
]
# Importing the modules enters their kinds.
