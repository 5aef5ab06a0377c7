"""What a spec may ask for; one line a rule, so that files and options are refused alike."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.spec import MEASURED, MOST_LOOPS, RunSpec
from wbcbench.registry import METERS, VARIANTS
from wbcbench.train.variants import has_reduced_pools

_LARGEST = 2**32 - 1  # of whole numbers: seeds of NumPy end here

_Rule = tuple[Callable[[Any], bool], str]

_RULES: Mapping[str, _Rule] = {
    "study": (lambda v: v != MEASURED and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", v)),
          "must be a plain folder name of letters, digits, '.', '_' and '-', not 'measured'"),
    "seed": (lambda v: v >= 0, "must lie between 0 and 4294967295"),
    "split_seed": (lambda v: v >= 0, "must lie between 0 and 4294967295"),
    "epochs": (lambda v: v >= 1, "must be at least 1"),
    "batch_size": (lambda v: v >= 1, "must be at least 1"),
    "learning_rate": (lambda v: 0 < v < 10, "must be above 0 and below 10"),
    "schedule": (lambda v: v in ("constant", "cosine", "one-cycle"),
          "must be constant, cosine or one-cycle"),
    "leaky_slope": (lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    "dropout_conv": (lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    "dropout_dense": (lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    "batchnorm_momentum": (lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    "image_size": (lambda v: 32 <= v <= 512, "must lie between 32 and 512 pixels"),
    "precision": (lambda v: v in ("float32", "mixed_float16", "mixed_bfloat16"),
          "must be float32, mixed_float16 or mixed_bfloat16"),
    "steps_per_execution": (lambda v: v >= 1, "must be at least 1"),
    "path": (lambda v: v in ("resident", "fit"), "must be resident or fit"),
    "loops": (lambda v: v in (None, "auto") or (type(v) is int and 1 <= v <= MOST_LOOPS),
          f"must be auto or lie between 1 and {MOST_LOOPS}"),
    "train_window_s": (lambda v: 1 <= v <= 3600, "must lie between 1 and 3600 seconds"),
    "threads": (lambda v: v is None or v >= 1, "must be at least 1"),
    "validation": (lambda v: v in ("by-photograph", "published"),
          "must be by-photograph or published"),
    "validation_fraction": (lambda v: 0 < v <= 0.5, "must be above 0 and at most 0.5"),
    "target_value": (lambda v: 0 < v <= 1, "must be above 0 and at most 1"),
    "target_metric": (lambda v: v in ("val_balanced_accuracy", "val_accuracy"),
          "must be val_balanced_accuracy or val_accuracy"),
    "interval_s": (lambda v: 0.01 <= v <= 10, "must lie between 0.01 and 10 seconds"),
    "idle_s": (lambda v: 0 <= v <= 3600, "must lie between 0 and 3600 seconds"),
    "inference_s": (lambda v: 0 <= v <= 3600, "must lie between 0 and 3600 seconds"),
    "warmup_steps": (lambda v: v >= 0, "must not be negative"),
    "cooldown_c": (lambda v: v is None or 0 < v <= 120,
          "must be above 0 and at most 120 °C"),
    "power_limit_w": (lambda v: v is None or 0 < v < 1e5, "must be above 0 and below 100000 watts"),
    "country": (lambda v: v is None or bool(re.fullmatch(r"[A-Z]{3}", v)),
          "must be a three-letter ISO 3166 code such as DEU"),
    "meters": (lambda v: len(v) > 0, "must name at least one meter"),
}  # fmt: skip
_ANY: _Rule = (lambda _: True, "")


def check_spec(spec: RunSpec, name_field: Callable[[str], str] | None = None) -> RunSpec:
    """Return ``spec`` if it can be carried out.

    Args:
        spec: What was asked.
        name_field: The word for a field in messages; the command line's option by default.

    Raises:
        UsageError: A field is out of its range or names a part that does not exist; the message
            names the option.
    """
    name = name_field or option_name
    for field in ("variant", *_RULES):
        check_field(field, getattr(spec, field), name(field))
    if spec.steps_per_execution > 1 and spec.path != "fit":
        raise UsageError(
            f"{name('steps_per_execution')} is of the plain loop of Keras: add {name('path')} fit, "
            "or leave it out. The resident path makes an epoch in one call."
        )
    if spec.deterministic and spec.xla and not has_reduced_pools(spec):
        raise UsageError(
            f"{name('deterministic')} and {name('xla')}: XLA has no deterministic max-pooling on "
            "a GPU. Only the built-in variants, tuned, do without it. Leave one of the two out."
        )
    return spec


def check_field(field: str, value: Any, name: str) -> None:
    """Raise ``UsageError`` if a field may not have this value; ``name`` is its word for people."""
    if problem := find_problem(field, value, name):
        raise UsageError(problem)


def find_problem(field: str, value: Any, name: str) -> str:
    """Why a field may not have this value, in one sentence; empty if it may."""
    kinds = {"variant": ("variant", VARIANTS), "meters": ("meter", [*METERS, "auto"])}
    if field in kinds:
        kind, known = kinds[field]
        unknown = (each for each in ([value] if field == "variant" else value) if each not in known)
        if (first := next(unknown, None)) is not None:
            return str(unknown_name(kind, first, known))
    is_valid, requirement = _RULES.get(field, _ANY)
    if isinstance(value, int) and value > _LARGEST:
        requirement = f"must be at most {_LARGEST}"
    elif is_valid(value):
        return ""
    return f"{name} {requirement}; it is {reprlib.repr(value)}."


def describe_limit(field: str) -> str:
    """What is asked of a field's values: ``must be at least 1``; empty if anything will do."""
    return _RULES.get(field, _ANY)[1]


def option_name(field: str) -> str:
    """The command line's word for a field: ``interval_s`` is ``--interval``."""
    return "--" + re.sub(r"_[swc]$", "", field).replace("_", "-")
