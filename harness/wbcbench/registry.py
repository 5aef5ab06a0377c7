"""Every part that is chosen by name. To add a part: one file, one line here.

Values are ``"module:attribute"`` inside this package; nothing is imported until it is needed,
so listing names costs nothing. Launchers may also come from somebody else's package, as entry
points of the group ``wbcbench.launcher``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from wbcbench.core.errors import unknown_name

VARIANTS: Mapping[str, str] = {
    "leaky-dropout": "train.variants:LEAKY_DROPOUT",
    "relu-dropout": "train.variants:RELU_DROPOUT",
    "leaky-batchnorm": "train.variants:LEAKY_BATCHNORM",
    "relu-batchnorm": "train.variants:RELU_BATCHNORM",
}

# In this order `--meters auto` tries them; `simulated` only when named.
METERS: Mapping[str, str] = {
    "nvml": "power.nvml:open_meters",
    "amd": "power.amd:open_meters",
    "rapl": "power.rapl:open_meters",
    "codecarbon": "power.codecarbon:open_meters",
    "simulated": "power.simulated:open_meters",
}

LAUNCHERS: Mapping[str, str] = {
    "local": "run.launchers.local:launch",
    "slurm": "run.launchers.slurm:launch",
}

# In this order the sections stand in the report.
SECTIONS: Mapping[str, str] = {
    "result": "report.sections.result:build_result",
    "comparison": "report.sections.comparison:build_comparison",
    "learning": "report.sections.learning:build_learning",
    "breakdown": "report.sections.breakdown:build_breakdown",
    "confusion": "report.sections.accuracy:build_confusion",
    "claims": "report.sections.claims:build_claims",
    "claims-in-full": "report.sections.claims:build_claim_statements",
    "measurement": "report.sections.measurement:build_measurement",
    "inference": "report.sections.accuracy:build_inference",
    "carbon": "report.sections.carbon:build_carbon",
    "accuracy": "report.sections.accuracy:build_accuracy",
    "methods": "report.sections.methods:build_methods",
    "uncertainty": "report.sections.measurement:build_uncertainty",
    "runs": "report.sections.methods:build_runs",
    "environment": "report.sections.methods:build_environment",
    "limits": "report.sections.methods:build_limits",
    "reproduce": "report.sections.methods:build_reproduce",
}

# In this order warnings stand in a record.
CHECKS: Mapping[str, str] = {
    "unknown-energy": "energy.checks.sources:check_unknown_energy",
    "device": "energy.checks.machine:check_device",
    "variables": "energy.checks.machine:check_variables",
    "heartbeat": "energy.checks.sensors:check_heartbeat",
    "cut-window": "energy.checks.sampling:check_cut_window",
    "sensor-faults": "energy.checks.sensors:check_sensor_faults",
    "agreement": "energy.checks.sources:check_agreement",
    "check-depth": "energy.checks.sensors:check_depth",
    "gaps": "energy.checks.sensors:check_gaps",
    "failed-reads": "energy.checks.sensors:check_failed_reads",
    "foreign-processes": "energy.checks.machine:check_foreign_processes",
    "job": "energy.checks.job:check_job",
    "busy-processor": "energy.checks.machine:check_busy_processor",
    "above-idle": "energy.checks.machine:check_above_idle",
    "throttling": "energy.checks.machine:check_throttling",
    "temperature": "energy.checks.machine:check_temperature",
    "aliasing": "energy.checks.sampling:check_aliasing",
    "few-samples": "energy.checks.sampling:check_few_samples",
    "short-window": "energy.checks.sampling:check_short_window",
    "wide-interval": "energy.checks.sampling:check_wide_interval",
    "idle-drift": "energy.checks.machine:check_idle_drift",
    "cross-check": "energy.checks.sources:check_codecarbon",
    "energy-status": "energy.checks.sources:check_status",
    "validated-on-test": "energy.checks.sources:check_validated_on_test",
    "one-class": "energy.checks.training:check_one_class",
}

# In this order `doctor` goes through the machine.
CHECKUPS: Mapping[str, str] = {
    "packages": "doctor.environment:check_packages",
    "device": "doctor.device:check_device",
    "meters": "doctor.device:check_meters",
    "quiet machine": "doctor.machine:check_quiet_machine",
    "data": "doctor.environment:check_data",
    "storage and time": "doctor.environment:check_storage",
}

# In this order `verify` goes through a bundle.
VERIFICATIONS: Mapping[str, str] = {
    "V01": "bundle.verify.files:check_bag",
    "V02": "bundle.verify.files:check_required",
    "V03": "bundle.verify.records:check_rows",
    "V04": "bundle.verify.plan:check_plan",
    "V05": "bundle.verify.records:check_seeds",
    "V06": "bundle.verify.energies:check_energies",
    "V07": "bundle.verify.energies:check_samples",
    "V08": "bundle.verify.scores:check_scores",
    "V09": "bundle.verify.scores:check_leakage",
    "V10": "bundle.verify.plan:check_machines",
    "V11": "bundle.verify.statements:check_statements",
    "V12": "bundle.verify.statements:check_rendering",
    "V13": "bundle.verify.plan:check_purity",
    "V14": "bundle.verify.files:check_secrets",
    "V15": "bundle.verify.statements:check_crate",
    "V16": "bundle.verify.files:check_citation",
    "V17": "bundle.verify.scores:check_convergence",
    "V18": "bundle.verify.plausible:check_runs",
    "V19": "bundle.verify.neighbours:check_neighbours",
    "V20": "bundle.verify.history:check_history",
    "V21": "bundle.verify.identity:check_identity",
    "V22": "bundle.verify.code:check_code",
    "V23": "bundle.verify.files:check_signature",
}

KINDS: Mapping[str, Mapping[str, str]] = {
    "variant": VARIANTS,
    "meter": METERS,
    "launcher": LAUNCHERS,
    "section": SECTIONS,
    "check": CHECKS,
    "checkup": CHECKUPS,
    "verification": VERIFICATIONS,
}


def load_part(kind: str, name: str) -> Any:
    """Import and return the part ``name`` of ``kind``.

    Raises:
        UsageError: There is no such part; the message names the nearest match.
    """
    parts = KINDS[kind]
    if name not in parts:
        others = {each.name: each for each in entry_points(group=f"wbcbench.{kind}")}
        if kind == "launcher" and name in others:
            return others[name].load()
        raise unknown_name(kind, name, [*parts, *others])
    module, attribute = parts[name].split(":")
    return getattr(import_module(f"wbcbench.{module}"), attribute)


def summary(kind: str, name: str) -> str:
    """The first line of a part's own docstring."""
    return (load_part(kind, name).__doc__ or "").strip().partition("\n")[0]
