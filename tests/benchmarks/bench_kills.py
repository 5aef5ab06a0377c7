"""Twenty runs killed at random moments; ``tests/run/test_faults_by_kill.py`` looks at what is left.

In the suite it is five.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    os.environ["WBCBENCH_TEST_KILLS"] = "20"
    sys.exit(pytest.main(["-q", str(Path(__file__).parents[1] / "run" / "test_faults_by_kill.py")]))
