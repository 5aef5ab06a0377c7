"""Columns: how well the headline was sampled, and what doubts there are."""

from __future__ import annotations

from wbcbench.core.quality import Severity, Verdict
from wbcbench.core.trace import Domain
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import disagreement_pct
from wbcbench.energy.source import Speaker, spoken_energy_j, spoken_gap_s, spoken_samples
from wbcbench.table.column import Column, ColumnGroup
from wbcbench.table.energy_gpu import integral_j
from wbcbench.table.view import Run

NO_METER = "no meter"

_QUALITY = {Verdict.VALID: "ok", Verdict.SUSPECT: "warn", Verdict.INVALID: "bad"}


def _period_ms(run: Run) -> float | None:
    period_s = run.sampling.period_s if run.sampling else None
    return None if period_s is None else ms_from_s(period_s)


def _gap_ms(run: Run) -> float | None:
    gap_s = spoken_gap_s(run.record, run.headline, TRAIN)
    return None if gap_s is None else ms_from_s(gap_s)


def _counter(run: Run) -> Speaker | None:
    who = run.speaker(Domain.GPU)
    return who if who and who.method == "counter" else None


def _counter_vs_integral_pct(run: Run) -> float | None:
    counter_j = spoken_energy_j(run.record, _counter(run), TRAIN)
    return disagreement_pct(counter_j, integral_j(run))


def _flags(run: Run) -> str:
    doubts = {c.code for c in run.record.cautions if c.severity is not Severity.INFO}
    return ";".join(sorted(doubts))


GROUP = ColumnGroup(
    "Sampling quality",
    (
        Column(
            "samples_train",
            "int",
            NO_METER,
            "good readings of the headline in `train`",
            lambda r: spoken_samples(r.record, r.headline, TRAIN),
            formula="good readings inside train less those inside validate-k; of several "
            "devices the fewest",
        ),
        Column(
            "sample_period_ms",
            "float",
            NO_METER,
            "mean period the headline's meter achieved",
            _period_ms,
            formula="mean time between polls of the headline's meter over the whole run",
        ),
        Column(
            "sample_gap_max_ms",
            "float",
            NO_METER,
            "longest gap of the headline in `train`",
            _gap_ms,
            formula="longest time without a good reading that touches train; of several "
            "devices the longest",
        ),
        Column(
            "counter_vs_integral_pct",
            "float",
            "no GPU counter, or no second witness",
            "GPU counter above integrated power in `train`",
            _counter_vs_integral_pct,
            formula="100 * ({energy_gpu_train_j} - {energy_gpu_train_integral_j}) / "
            "{energy_gpu_train_integral_j}",
        ),
        Column(
            "quality",
            "enum",
            "",
            "ok, warn or bad",
            lambda r: _QUALITY[r.record.verdict],
            formula="ok, warn or bad as {verdict} is valid, suspect or invalid",
        ),
        Column(
            "quality_flags",
            "str",
            "",
            "codes of cautions that weigh, by `;`; empty = none",
            _flags,
            formula="codes of all cautions that are not mere information",
        ),
        Column(
            "verdict",
            "enum",
            "",
            "valid, suspect or invalid",
            lambda r: r.record.verdict.value,
            formula="valid without cautions that weigh, else as the gravest of them",
        ),
        Column(
            "watcher_cpu_s",
            "float",
            "the watcher died",
            "processor time that watching cost",
            lambda r: r.record.watcher_cpu_s,
        ),
    ),
)
