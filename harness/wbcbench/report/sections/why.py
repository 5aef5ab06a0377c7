"""Why the joules differ: energy is mean power times time, and which part of the machine drew it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from wbcbench.compare.metric import TIME, Metric
from wbcbench.compare.render import difference, status_words
from wbcbench.compare.result import Comparison, Effect, Split, contrast_key
from wbcbench.core.text import UNKNOWN, human_duration, human_energy, human_power
from wbcbench.energy.metrics import ratio
from wbcbench.report import Block, DataTable, Statement
from wbcbench.report.evidence import ReportStudy, average
from wbcbench.report.sections.energy_parts import figure
from wbcbench.report.sections.parts import shares
from wbcbench.report.sentences import contrast_name
from wbcbench.stats.intervals import Interval
from wbcbench.table.view import Run

_WORDS = (
    "Energy is mean power times time. A network that needs fewer joules either draws less power or "
    "is done sooner, and the two call for different remedies."
)
_PER_CENT = Metric(TIME, "ratio", lower_is_better=True)


def section(study: ReportStudy) -> Block | None:
    """Mean power and time of every arm, the split of every contrast, the parts of the machine."""
    tables = [_levels(study)] if study.comparable else []
    compared = study.comparison
    if compared is not None and compared.splits:
        tables.append(_splits(study, compared))
    found = shares(study)
    figures = (figure(study, found),) if found else ()
    if not tables and not figures:
        return None
    return Block(
        "why",
        "Why the joules differ",
        (_WORDS,),
        tuple(tables),
        figures,
        claims=tuple(_claims(study)),
    )


def _claims(study: ReportStudy) -> Iterator[Statement]:
    """The splits of which at least one part is sure."""
    compared = study.comparison
    if compared is None:
        return
    sure = [each for each in compared.splits if _is_sure(each)]
    for place, each in enumerate(sure, start=1):
        values = {"energy": each.energy, "time": each.time, "power": each.power}
        effect = next(e for e in compared.effects if _is_of(e, each, compared))
        text = _sentence(each, compared.energy.status)
        yield Statement(f"why-{place}", text, "contrasts.csv", contrast_key(effect), values)


def _is_of(effect: Effect, split: Split, compared: Comparison) -> bool:
    same = (effect.contrast, effect.against) == (split.contrast, split.against)
    return same and effect.metric.name == compared.energy.metric


def _is_sure(each: Split) -> bool:
    return any(
        found is not None and found.excludes(0.0)
        for found in (each.time_interval, each.power_interval)
    )


def _sentence(each: Split, status: str) -> str:
    time = difference(each.time, each.time_interval, _PER_CENT)
    power = difference(each.power, each.power_interval, _PER_CENT)
    kind = status_words(status)
    return f"{contrast_name(each.contrast, each.against)}: time {time}, mean power {power}{kind}."


def _levels(study: ReportStudy) -> DataTable:
    metered = {each.label: study.metered(each) for each in study.configurations}
    rows = tuple(_level(label, runs) for label, runs in metered.items() if runs)
    headings = ("variant", "runs", "time, training", "mean power", "energy, training")
    caption = (
        "Means over the runs that the summary counts. Mean power is mean energy over mean time, so "
        f"that power times time is energy in every line. Energy: {study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows)


def _level(arm: str, runs: Sequence[Run]) -> tuple[str, ...]:
    timed = [run for run in runs if run.row["time_train_s"] is not None]
    energy_j = average(timed, "headline_energy_train_j")
    time_s = average(timed, "time_train_s")
    return (
        arm,
        str(len(timed)),
        human_duration(time_s),
        human_power(ratio(energy_j, time_s)),
        human_energy(energy_j),
    )


def _splits(study: ReportStudy, compared: Comparison) -> DataTable:
    intervals = {
        (each.contrast, each.against): each.interval
        for each in compared.effects
        if each.metric.name == compared.energy.metric and each.family == "primary"
    }
    rows = tuple(
        (
            contrast_name(each.contrast, each.against),
            _told(each.time, each.time_interval),
            _told(each.power, each.power_interval),
            _told(each.energy, intervals.get((each.contrast, each.against))),
        )
        for each in compared.splits
    )
    headings = ("contrast", "time", "mean power", "energy")
    caption = (
        "Differences within blocks with their 95 % intervals. As factors, time × mean power = "
        "energy exactly: +3 % time and -5 % power make 1.03 × 0.95 = -2.15 % energy. Energy: "
        f"{compared.energy.words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows)


def _told(value: float, found: Interval | None) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    return difference(value, found, _PER_CENT)
