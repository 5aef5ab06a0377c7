"""A row of a table in one sentence; pure: the same row gives the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wbcbench.compare.render import decimals, p_words
from wbcbench.core.text import count_of
from wbcbench.stats.intervals import Interval

Row = Mapping[str, Any]

_METRICS = {
    "headline_energy_train_j": "energy in training",
    "energy_gpu_train_j": "GPU energy in training",
    "time_train_s": "time in training",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
}
_UNITS = {"%": " %", "pp": " percentage points", "": ""}
_NO_MEASUREMENT = {
    "modelled": "the joules are modelled, not measured, so no saving or cost is shown",
    "estimated": "the joules are estimated from another part's sensor",
    "synthetic": "the joules are a made-up signal, so this shows nothing about energy",
    "measured": "the joules are measured",
}


def metric_words(name: str) -> str:
    """A column's name as people say it."""
    return _METRICS.get(name, name.replace("_", " "))


def contrast_name(contrast: str, against: str) -> str:
    """``regulariser batchnorm vs dropout``; an interaction is *of* two factors."""
    return f"{contrast} {'of' if contrast == 'interaction' else 'vs'} {against}"


def contrast_sentence(row: Row) -> str:
    """A line of ``contrasts.csv``: what it shows, with its number, interval, p and status."""
    made = {"less": _differs, "more": _differs, "equivalent": _equivalent}
    words = _without_interval if row["ci_low"] is None else made.get(row["verdict"], _open)
    told = words(row)
    status = _NO_MEASUREMENT.get(row["energy_status"] or "")
    return f"{told}; {status}." if status else f"{told}."


def _differs(row: Row) -> str:
    if row["contrast"] == "interaction":
        return f"{_interaction(row)} {_size(row)} {_tested(row)}"
    with_, than = _sides(row)
    return f"With {with_}, {_metric(row)} was {_size(row)} than with {than} {_tested(row)}"


def _equivalent(row: Row) -> str:
    shown = f"shown to lie within ±{row['rope_high']:g}{_unit(row)}"
    metric = f"{_metric(row)[:1].upper()}{_metric(row)[1:]}"
    if row["contrast"] == "interaction":
        told = f"{metric} shows practically no interaction {row['against']}"
    else:
        told = "{} is practically the same with {} as with {}".format(metric, *_sides(row))
    return f"{told}: {_signed(row)} {_tested(row)}, {shown}"


def _open(row: Row) -> str:
    return (
        f"Whether {_question(row)} changes {_metric(row)} cannot be told: {_signed(row)} "
        f"{_tested(row)}"
    )


def _without_interval(row: Row) -> str:
    if row["estimate"] is None:
        return f"Whether {_question(row)} changes {_metric(row)} cannot be told: no block"
    return (
        f"In {count_of(row['n'], 'block')}, {_metric(row)} differed by {_signed(row)} with "
        f"{_question(row)}: an estimate without an interval, so no difference is shown"
    )


def _sides(row: Row) -> tuple[str, str]:
    return str(row["contrast"]), str(row["against"])


def _question(row: Row) -> str:
    if row["contrast"] == "interaction":
        return f"the interaction {row['against']}"
    return "{} instead of {}".format(*_sides(row))


def _interaction(row: Row) -> str:
    return f"The two factors do not simply add up ({row['against']}): together, {_metric(row)} was"


def _metric(row: Row) -> str:
    """What is compared; joules that no sensor read say so in the same breath."""
    status = row["energy_status"]
    kind = f"{status} " if status not in {None, "measured"} else ""
    return kind + metric_words(row["metric"])


def _unit(row: Row) -> str:
    return _UNITS.get(row["unit"], f" {row['unit']}")


def _size(row: Row) -> str:
    way = "lower" if row["estimate"] < 0 else "higher"
    return f"{_number(row).lstrip('+-')}{_unit(row)} {way}"


def _signed(row: Row) -> str:
    return f"{_number(row)}{_unit(row)}"


def _number(row: Row) -> str:
    if row["ci_low"] is None:
        return f"{row['estimate']:+.3g}"
    return f"{row['estimate']:+.{_decimals(row)}f}"


def _tested(row: Row) -> str:
    low, high = (f"{row[end]:+.{_decimals(row)}f}" for end in ("ci_low", "ci_high"))
    return (
        f"(95 % interval {low} to {high}{' ' if row['unit'] else ''}{row['unit']}, p = "
        f"{p_words(row['p_holm'])} after Holm's correction, {row['n']} blocks)"
    )


def _decimals(row: Row) -> int:
    return decimals(Interval(row["ci_low"], row["ci_high"], 0.95, row["ci_method"]))
