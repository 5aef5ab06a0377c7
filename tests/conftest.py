"""Fixtures for all tests live in modules under ``fakes``; this file only names them."""

import os
import signal
import sys

import pytest
from hypothesis import settings

pytest_plugins = ("fakes.nvml_plugin", "fakes.amdsmi_plugin", "cells")

# A suite started in the background of a script inherits an ignored Ctrl-C, and so would everything
# it starts; the tests of interrupts need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The files that take longest, longest first: begun last, one core would still be at them when all
# is done.
LONG = (
    "test_faults_of_a_run",
    "test_verify",
    "test_faults_by_kill",
    "test_submit",
    "test_report_browser",
    "test_report",
    "test_trainer",
    "test_program_run",
    "test_sweep",
    "test_faults_of_sensors",
    "test_report_files",
    "test_report_degenerate",
    "test_bundle_mutations",
    "test_uncertainty",
    "test_meters_codecarbon",
    "test_monitor",
    "test_report_figures",
    "test_report_bytes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first; goes with ``--no-loadscope-reorder``."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors: many tests wait, for a sensor or for a process's end."""
    return (os.cpu_count() or 1) + 1


# Tests start dozens of Pythons, many with TensorFlow. Where the environment forbids bytecode files,
# as container images like to, each would compile all of it again: 17 instead of 7 CPU seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says how busy the machine is, and nothing of the program.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
