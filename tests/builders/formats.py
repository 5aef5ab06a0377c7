"""The record under ``tests/formats/`` that every later version of the same schema must load.

To make it again after a change of the schema: ``PYTHONPATH=tests python -m builders.formats``.
"""

from __future__ import annotations

from pathlib import Path

from builders.machine import LAPTOP
from builders.run import make_record
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import RECORD_SCHEMA, to_json

FORMATS = Path(__file__).parents[1] / "formats"

LAPTOP_RECORD = make_record(
    channels=LAPTOP,
    warnings=(
        QualityWarning(
            "primary-estimated",
            Severity.INFO,
            "codecarbon/cpu is estimated",
            "run where the GPU or RAPL can be read",
            window="train",
            channel="codecarbon/cpu",
        ),
    ),
)


if __name__ == "__main__":
    (FORMATS / f"record-{RECORD_SCHEMA}.json").write_bytes(to_json(LAPTOP_RECORD))
