"""Fixtures for all tests live in modules under ``fakes``; this file only names them."""

import os
import signal
import sys

import pytest
from hypothesis import settings

pytest_plugins = ("fakes.nvml_plugin", "cells")

# A suite started in the background of a script inherits an ignored Ctrl-C, and so would everything
# it starts; the tests of interrupts need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Few tests, each of them minutes: begun last, one core would still be at them when all is done.
LONG = (
    "test_program_run",
    "test_faults_of_a_run",
    "test_faults_by_kill",
    "test_faults_end_to_end",
    "test_report_bytes",
    "test_sweep",
    "test_trainer",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first; goes with ``--no-loadscope-reorder``."""
    items.sort(key=lambda item: item.path.stem not in LONG)


# Tests start dozens of Pythons, many with TensorFlow. Where the environment forbids bytecode files,
# as container images like to, each would compile all of it again: 17 instead of 7 CPU seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says how busy the machine is, and nothing of the program.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
