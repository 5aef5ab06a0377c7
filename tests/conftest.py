"""Fixtures for all tests live in modules under ``fakes``; this file only names them."""

import os
import signal
import sys

import pytest
from hypothesis import settings

pytest_plugins = ("fakes.nvml_plugin", "fakes.amdsmi_plugin", "cells", "fakes.slurm_plugin")

# A suite started in the background of a script inherits an ignored Ctrl-C, and so would everything
# it starts; the tests of interrupts need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The files that take longest, longest first: begun last, one core would still be at them when all
# is done.
LONG = (
    "test_sweep_on_slurm",
    "test_sweep_on_slurm",
    "test_slurm_cluster",
    "test_honest_bundles",
    "test_acceptance",
    "test_fuzz",
    "test_streams",
    "test_installed",
    "test_user_settings",
    "test_report_bytes",
    "test_faults_of_a_run",
    "test_faults_by_kill",
    "test_verify",
    "test_toy_launcher",
    "test_sweep",
    "test_submit",
    "test_sums_over_boards",
    "test_faults_of_sensors",
    "test_cleanup",
    "test_kept_programs",
    "test_monitor",
    "test_recording",
    "test_gpu_scripts",
    "test_report_browser",
    "test_without_tensorflow",
    "test_meters_codecarbon",
    "test_run_lifecycle",
    "test_trainer",
    "test_report",
    "test_lying_sensors",
    "test_program_run",
    "test_scripted_trainer",
    "test_uncertainty",
    "test_energy_laws",
    "test_faults_of_the_machine",
    "test_accuracy_against_truth",
    "test_whose_joules",
    "test_meter_conformance",
    "test_api",
    "test_bundle_mutations",
    "test_compare",
    "test_doctor",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first; goes with ``--no-loadscope-reorder``."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.hookimpl(optionalhook=True)  # -p no:xdist has none
def pytest_xdist_auto_num_workers() -> int:
    """Four workers more than processors: many tests wait, for a sensor or for a process's end."""
    return (os.cpu_count() or 1) + 4


# Tests start dozens of Pythons, many with TensorFlow. Where the environment forbids bytecode files,
# as container images like to, each would compile all of it again: 17 instead of 7 CPU seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Nor do a shell's settings of how numbers are computed belong to the tests.
for name in [name for name in os.environ if name.startswith("OPENBLAS_")]:
    del os.environ[name]

# How long an example takes says how busy the machine is, and nothing of the program.
# The suite draws the same examples each time; `pytest --hypothesis-profile search` draws others.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("search", deadline=None, max_examples=500)
settings.load_profile("suite")
