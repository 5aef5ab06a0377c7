"""What a spec may ask for; one line a rule, so that files and options are refused alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.spec import RunSpec
from wbcbench.registry import METERS, VARIANTS


@dataclass(frozen=True, slots=True)
class _Rule:
    field: str
    holds: Callable[[Any], bool]
    says: str


_RULES = (
    _Rule("study", lambda v: bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", v)),
          "must be a plain folder name of letters, digits, '.', '_' and '-'"),
    _Rule("seed", lambda v: 0 <= v < 2**32, "must lie between 0 and 4294967295"),
    _Rule("epochs", lambda v: v >= 1, "must be at least 1"),
    _Rule("batch_size", lambda v: v >= 1, "must be at least 1"),
    _Rule("learning_rate", lambda v: 0 < v < 10, "must be above 0 and below 10"),
    _Rule("leaky_slope", lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    _Rule("dropout_conv", lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    _Rule("dropout_dense", lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    _Rule("image_size", lambda v: 32 <= v <= 512, "must lie between 32 and 512 pixels"),
    _Rule("precision", lambda v: v in ("float32", "mixed_float16", "mixed_bfloat16"),
          "must be float32, mixed_float16 or mixed_bfloat16"),
    _Rule("steps_per_execution", lambda v: v >= 1, "must be at least 1"),
    _Rule("threads", lambda v: v is None or v >= 1, "must be at least 1"),
    _Rule("validation", lambda v: v in ("by-photograph", "published"),
          "must be by-photograph or published"),
    _Rule("validation_fraction", lambda v: 0 < v <= 0.5, "must be above 0 and at most 0.5"),
    _Rule("target_value", lambda v: 0 < v <= 1, "must be above 0 and at most 1"),
    _Rule("target_metric", lambda v: v in ("val_balanced_accuracy", "val_accuracy"),
          "must be val_balanced_accuracy or val_accuracy"),
    _Rule("interval_s", lambda v: 0.01 <= v <= 10, "must lie between 0.01 and 10 seconds"),
    _Rule("idle_s", lambda v: 0 <= v <= 3600, "must lie between 0 and 3600 seconds"),
    _Rule("inference_s", lambda v: 0 <= v <= 3600, "must lie between 0 and 3600 seconds"),
    _Rule("warmup_steps", lambda v: v >= 0, "must not be negative"),
    _Rule("cooldown_c", lambda v: v is None or 0 < v <= 120,
          "must be above 0 and at most 120 °C"),
    _Rule("power_limit_w", lambda v: v is None or v > 0, "must be above 0 watts"),
    _Rule("country", lambda v: bool(re.fullmatch(r"[A-Z]{3}", v)),
          "must be a three-letter ISO 3166 code such as DEU"),
    _Rule("meters", lambda v: len(v) > 0, "must name at least one meter"),
)  # fmt: skip


def check_spec(spec: RunSpec, named: Callable[[str], str] | None = None) -> RunSpec:
    """Return ``spec`` if it can be carried out.

    Args:
        spec: What is asked.
        named: The word for a field where it was asked; the command line's option by default.

    Raises:
        UsageError: A field is out of its range or names a part that does not exist; the message
            names the option.
    """
    if spec.variant not in VARIANTS:
        raise unknown_name("variant", spec.variant, VARIANTS)
    for meter in spec.meters:
        if meter != "auto" and meter not in METERS:
            raise unknown_name("meter", meter, [*METERS, "auto"])
    for rule in _RULES:
        value = getattr(spec, rule.field)
        if not rule.holds(value):
            word = (named or option_name)(rule.field)
            raise UsageError(f"{word} {rule.says}; it is {value!r}.")
    return spec


def option_name(field: str) -> str:
    """The command line's word for a field: ``interval_s`` is ``--interval``."""
    return "--" + re.sub(r"_[swc]$", "", field).replace("_", "-")
