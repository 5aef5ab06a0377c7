"""Every part that is chosen by name. To add a part: one file, one line here.

Values are ``"module:attribute"`` inside this package; nothing is imported until it is asked for,
so listing names costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from wbcbench.errors import unknown_name

VARIANTS: Mapping[str, str] = {
    "leaky-dropout": "models.leaky_dropout:VARIANT",
    "relu-dropout": "models.relu_dropout:VARIANT",
    "leaky-batchnorm": "models.leaky_batchnorm:VARIANT",
    "relu-batchnorm": "models.relu_batchnorm:VARIANT",
}

# In this order `--meters auto` tries them; `synthetic` only when named.
METERS: Mapping[str, str] = {
    "nvml": "meters.nvml:open_meters",
    "rapl": "meters.rapl:open_meters",
    "codecarbon": "meters.codecarbon:open_meters",
    "synthetic": "meters.synthetic:open_meters",
}

LAUNCHERS: Mapping[str, str] = {
    "local": "launchers.local:launch",
}

# In this order the sections stand in the report.
SECTIONS: Mapping[str, str] = {
    "answer": "report.answer:section",
    "quality": "report.quality:section",
    "summary": "report.summary:section",
    "tradeoff": "report.tradeoff:section",
    "contrasts": "report.contrasts:section",
    "target": "report.target:section",
    "learning": "report.learning:section",
    "why": "report.why:section",
    "timelines": "report.timelines:section",
    "order": "report.order:section",
    "meters": "report.meters:section",
    "accuracy-depth": "report.accuracy_depth:section",
    "inference": "report.inference:section",
    "carbon-places": "report.carbon_places:section",
    "uncertainty": "report.uncertainty:section",
    "methods": "report.methods:section",
    "every-run": "report.every_run:section",
    "sampling": "report.sampling:section",
    "environment": "report.environment:section",
    "limits": "report.limits:section",
    "reproduce": "report.reproduce:section",
    "citation": "report.citation:section",
}

# In this order doubts stand in a record.
CHECKS: Mapping[str, str] = {
    "unknown-energy": "checks.unknown_energy:check",
    "device": "checks.device:check",
    "heartbeat": "checks.heartbeat:check",
    "cut-window": "checks.cut_window:check",
    "sensor-faults": "checks.sensor_faults:check",
    "witnesses": "checks.witnesses:check",
    "gaps": "checks.gaps:check",
    "failed-reads": "checks.failed_reads:check",
    "strangers": "checks.strangers:check",
    "throttling": "checks.throttling:check",
    "temperature": "checks.temperature:check",
    "aliasing": "checks.aliasing:check",
    "few-samples": "checks.few_samples:check",
    "short-window": "checks.short_window:check",
    "wide-interval": "checks.wide_interval:check",
    "idle-drift": "checks.idle_drift:check",
    "cross-check": "checks.cross_check:check",
    "status-of-headline": "checks.status_of_headline:check",
    "validated-on-test": "checks.validated_on_test:check",
}

# In this order `doctor` goes through the machine.
CHECKUPS: Mapping[str, str] = {
    "packages": "doctor.packages:check",
    "device": "doctor.device:check",
    "meters": "doctor.meters:check",
    "quiet machine": "doctor.quiet_machine:check",
    "data": "doctor.data:check",
    "storage and time": "doctor.storage:check",
}

# In this order `verify` goes through a bundle.
VERIFICATIONS: Mapping[str, str] = {
    "V01": "submission.verification.bag:check",
    "V02": "submission.verification.required:check",
    "V03": "submission.verification.rows:check",
    "V04": "submission.verification.planned:check",
    "V05": "submission.verification.seeds:check",
    "V06": "submission.verification.energies:check",
    "V07": "submission.verification.samples:check",
    "V08": "submission.verification.scores:check",
    "V09": "submission.verification.leakage:check",
    "V10": "submission.verification.machines:check",
    "V11": "submission.verification.statements:check",
    "V12": "submission.verification.rendering:check",
    "V13": "submission.verification.purity:check",
    "V14": "submission.verification.secrets:check",
    "V15": "submission.verification.crate:check",
    "V16": "submission.verification.citation:check",
    "V17": "submission.verification.convergence:check",
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
        raise unknown_name(kind, name, parts)
    module, attribute = parts[name].split(":")
    return getattr(import_module(f"wbcbench.{module}"), attribute)
