"""How far the joules can be trusted: sensors, warnings, two readings, drift, uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import SensorCard
from wbcbench.core.text import UNKNOWN, count_of, human_energy, human_power
from wbcbench.core.trace import Channel
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import phase
from wbcbench.energy import thresholds
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.energy.uncertainty import describe_limits
from wbcbench.report import Cells, DataTable, Part, Place, Section
from wbcbench.report.figures import run_order
from wbcbench.report.figures.agreement import (
    Pairs,
    build_agreement,
    build_agreement_statements,
    format_percent,
    pair_readings,
)
from wbcbench.report.figures.power import build_power_figures
from wbcbench.report.study import ReportStudy, describe_status, known_values, mean_of_known
from wbcbench.report.summaries import ENERGY, NONE, build_summary_rows, format_value
from wbcbench.table.view import Run

_ORDER = (Severity.INVALID, Severity.SUSPECT, Severity.INFO)
_OWN_TABLE = "meter-absent"  # stands among the meters that did not work

_PARTS = {"gpu": "GPU", "cpu": "CPU", "dram": "DRAM", "wall": "whole machine"}

_INCIDENTS = {
    "GPU throttled": "gpu_throttle_s", "other processes on the GPU": "gpu_foreign_processes",
}  # fmt: skip
_CARD_HEADINGS = (
    "channel", "reading", "status", "updated every (s)", "counter step (J)", "resolution",
    "averaged over (s)", "gain error (±%)", "kind of sensor", "what could not be probed",
)  # fmt: skip

# Part of a budget, what it is, and whether it cancels in a difference on one machine.
_BUDGET = (
    ("gain", "the sensor reads too high or too low throughout", "yes"),
    ("quantisation", "steps of the counter or of the reading", "no"),
    ("edges", "when the window began and ended", "no"),
    ("sampling", "changes between two readings", "no"),
    ("baseline", "the idle power, in joules above idle only", "no"),
)


def build_measurement(study: ReportStudy) -> Section:
    """Parts with their status, warnings, readings against each other, drift, power, sampling."""
    pairs, series = pair_readings(study), run_order.collect_series(study)
    parts: list[Part] = [
        _build_circumstances(study),
        *(table for table in (_build_warnings(study), _build_absent(study)) if table.rows),
        *build_agreement_statements(pairs),
        *_describe_depths(study, pairs),
        *describe_limits(_list_channels(study).values()),
        *filter(None, [build_agreement(study, pairs)]),
        *run_order.build_drift_statements(study, series),
        *run_order.describe_order(study, series),
        *filter(None, [run_order.build_run_order(study, series)]),
        *build_power_figures(study),
        *([_build_cards(study)] if _list_channels(study) else []),
    ]
    return Section("measurement", "Measurement", tuple(parts), Place.FOLDED, _summarise(study))


def _summarise(study: ReportStudy) -> str:
    states = Counter(Quality(run.row["quality"]) for run in study.done)
    total = len(study.runs)
    words = [f"{states[Quality.VALID]} of {count_of(total, 'run')} valid"]
    if states[Quality.SUSPECT]:
        words.append(f"{states[Quality.SUSPECT]} suspect")
    differences = [abs(pct) for pct in known_values(study.done, "counter_vs_integral_pct")]
    if differences:
        words.append(f"counter and integral agree within {max(differences):.2g} %")
    return ", ".join(words)


def _build_circumstances(study: ReportStudy) -> DataTable:
    """One line a circumstance, with a word where a reader should take it into account."""
    rows = tuple(
        (about, words, "note" if is_flagged else "ok")
        for about, words, is_flagged in _iterate_circumstances(study)
    )
    caption = "Measured: a sensor of that part was read. Estimated: a model. Absent: not known."
    return DataTable(f"{caption}{study.stamp}", ("What", "state", "note"), rows, (0, 1, 2))


def _iterate_circumstances(study: ReportStudy) -> Iterator[tuple[str, str, bool]]:
    """Nothing of what no run knows."""
    for part, name in _PARTS.items():
        yield _describe_part(study, part, name)
    for whose, count in Counter(each.whose for each in study.evidence.values()).items():
        if whose:
            yield "runs in a part of a node", f"{count_of(count, 'run')}: {whose}", True
    samples = known_values(study.done, "samples_train")
    if samples:
        least = thresholds.PRIMARY_SAMPLES
        words = f"{_format_span(samples)} in training, {least:g} recommended"
        yield "samples a run", words, min(samples) < least
    gaps_ms = known_values(study.done, "sample_gap_max_ms")
    if gaps_ms:
        is_long = max(gaps_ms) > ms_from_s(thresholds.GAP_LEAST_S)
        yield "longest gap", f"{max(gaps_ms):.0f} ms", is_long
    idle_w = [study.evidence[run].idle_w for run in study.done]
    before, after = (mean_known([pair[i] for pair in idle_w]) for i in (0, 1))
    if before is not None or after is not None:
        limit = thresholds.IDLE_DRIFT_PCT / 100
        drifts = before and after and abs(after - before) > limit * before
        yield (
            "idle power",
            f"{human_power(before)} before, {human_power(after)} after",
            bool(drifts),
        )
    for about, column in _INCIDENTS.items():
        counts = known_values(study.done, column)
        if counts:
            hit = sum(count > 0 for count in counts)
            yield about, f"in {hit} of {count_of(len(counts), 'run')}", bool(hit)
    clocks_mhz = known_values(study.done, "gpu_clock_mean_mhz")
    if clocks_mhz:
        yield "GPU clock", f"{_format_span(clocks_mhz)} MHz on average", False
    recorder_s = known_values(study.done, "recorder_cpu_s")
    if recorder_s:
        yield "cost of recording", f"{_format_span(recorder_s, '.1f')} s of CPU a run", False


def _describe_part(study: ReportStudy, part: str, name: str) -> tuple[str, str, bool]:
    """Measured, estimated or absent; in how many runs, where they differ."""
    counts = Counter(_format_status(run, part) for run in study.runs)
    states = sorted(counts.items())
    words = states[0][0]
    if len(states) > 1:
        words = "; ".join(f"{state} in {count_of(n, 'run')}" for state, n in states)
    is_clean = all(state.startswith(("measured", "absent")) for state in counts)
    return name, words, len(states) > 1 or not is_clean


def _format_status(run: Run, part: str) -> str:
    status = run.origins["system" if part == "wall" else part]
    method = run.row[f"{part}_energy_method"]
    return status if status == "absent" else describe_status(status, method)


def _build_warnings(study: ReportStudy) -> DataTable:
    """Each kind of warning once, the most severe first, with the first run that has it."""
    kinds: dict[tuple[int, str, str, str], dict[str, QualityWarning]] = {}
    for run in study.runs:
        for warning in study.evidence[run].warnings:
            place = _ORDER.index(warning.severity)
            key = (place, warning.code, phase(warning.window), warning.channel)
            if warning.code != _OWN_TABLE:
                kinds.setdefault(key, {}).setdefault(run.run_id, warning)
    rows = []
    for (_, _, phase_name, _), by_run in sorted(kinds.items()):
        run_id, warning = next(iter(by_run.items()))
        windows = {each.window for each in by_run.values()}
        window = (phase_name if len(windows) > 1 else warning.window) or "whole run"
        detail = f"{warning.detail} ({run_id})"
        rows.append(
            (warning.code, warning.severity.value, window, str(len(by_run)), detail, warning.advice)
        )
    headings = ("Warning", "severity", "window", "runs", "detail, and where", "advice")
    caption = "Warnings, each kind once. Invalid and suspect ones decide the quality of a run."
    return DataTable(caption, headings, tuple(rows), (0, 1, 2, 4, 5))


def _build_absent(study: ReportStudy) -> DataTable:
    counts = Counter((a.meter, a.reason) for run in study.runs for a in study.evidence[run].absent)
    rows = tuple(
        (meter, f"{count} of {count_of(len(study.runs), 'run')}", reason)
        for (meter, reason), count in sorted(counts.items())
    )
    return DataTable("Meters that did not work.", ("Meter", "absent in", "why"), rows, (0, 1, 2))


def _describe_depths(study: ReportStudy, pairs: Pairs) -> Iterator[str]:
    """How deep each counter was checked in training, over the runs."""
    if study.comparable and not pairs:
        yield (
            "No part of the machine was read in two ways: the joules rest on one reading alone, "
            "and nothing here can show it to be wrong."
        )
    depths: dict[str, list[tuple[float | None, int]]] = {}
    for run in study.done:
        for counter, depth in study.evidence[run].depths.items():
            depths.setdefault(counter, []).append(depth)
    for counter, own in depths.items():
        known = [pct for pct, _ in own if pct is not None]
        if known:
            readings = count_of(sum(count for _, count in own), "reading")
            yield (
                f"{counter} was checked to ±{format_percent(median(known))} % in the median run, "
                f"by {readings} of its board's power in all."
            )


def _list_channels(study: ReportStudy) -> dict[str, Channel]:
    return {c.name: c for run in study.runs for c in study.evidence[run].channels}


def _build_cards(study: ReportStudy) -> DataTable:
    """One line a channel: its period as probed or known, its step, its averaging, its error."""
    cards: dict[str, list[SensorCard]] = {}
    for run in study.runs:
        for card in study.evidence[run].cards:
            cards.setdefault(card.channel, []).append(card)
    channels = _list_channels(study)
    values = [_build_card(channel, cards.get(name, [])) for name, channel in channels.items()]
    caption = (
        "Sensor cards: medians of a probe before each run, else what is known of the sensor. "
        "Averaging and gain error: from its maker or the literature, averaging also by known loads."
    )
    rows = tuple(
        tuple(f"{cell:.3g}" if isinstance(cell, float) else format_value(cell) for cell in row)
        for row in values
    )
    return DataTable(
        f"{caption}{study.stamp}", _CARD_HEADINGS, rows, (0, 1, 2, 8, 9),
        values=tuple(values), is_folded=True,
    )  # fmt: skip


def _describe_kind(card: SensorCard) -> str:
    how = ", by known loads" if card.is_active else ""
    return f"{card.kind_guess.replace('_', ' ')}{how}"


def _build_card(channel: Channel, cards: list[SensorCard]) -> Cells:
    update_s = _find_median([card.update_s for card in cards])
    gain = channel.gain_error
    return (
        channel.name,
        f"{channel.kind}: {channel.reading}" if channel.reading else channel.kind.value,
        channel.origin.value,
        channel.update_s if update_s is None else update_s,
        _find_median([card.step_j for card in cards]),
        _find_median([card.resolution for card in cards]),
        channel.averaging_s,
        None if gain is None else 100 * gain,
        ", ".join(sorted({_describe_kind(card) for card in cards})) or "not probed",
        "; ".join(sorted({card.reason for card in cards if card.reason})),
    )


def _find_median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _format_span(values: list[float], form: str = ".0f") -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"


def build_uncertainty(study: ReportStudy) -> Section | None:
    """Where the uncertainty of the joules comes from, and what of it cancels in a difference."""
    runs = study.comparable
    if not runs:
        return None
    words = [
        "A constant gain error of a sensor cancels in percentage differences between runs on one "
        "machine. An offset, a gain that changes with the load, bursts that the sensor missed, and "
        "anything that differs between machines does not. No more is claimed."
    ]
    if study.energy_status == "estimated":
        unknown = (
            "The joules are estimated: how far the model is from the truth is not known here, so "
            "no ± is stated. A published comparison found such models up to 40 % off "
            "(arXiv:2509.22092)."
        )
        return _fold_uncertainty((unknown, *words), "unknown, because the joules are estimated")
    table, summary = _build_budget(study, runs)
    return _fold_uncertainty((*words, table), summary)


def _fold_uncertainty(parts: tuple[Part, ...], summary: str) -> Section:
    return Section("uncertainty", "Uncertainty budget", parts, Place.FOLDED, summary)


def _build_budget(study: ReportStudy, runs: Sequence[Run]) -> tuple[DataTable, str]:
    energy_j = mean_of_known(runs, ENERGY)
    runs_j = mean_known([row["energy_runs_j"] for row in build_summary_rows(study)])
    halves: list[tuple[str, str, float | None, str]] = [
        (name, words, mean_known([study.evidence[run].budget_j[name] for run in runs]), cancels)
        for name, words, cancels in _BUDGET
    ]
    if study.comparison and study.comparison.blocks.boards.way in {"unpaired", "mixed"}:
        halves[0] = (*halves[0][:3], "no")  # the gain, which each board has of its own
    halves.append(("runs", "run to run: half of the 95 % CI", runs_j, "no"))
    rows, values, largest = [], [], (0.0, "")
    for name, words, half_j, cancels in halves:
        share = ratio(half_j, energy_j)
        percent = NONE if share is None else f"{format_percent(100 * share)} %"
        rows.append((name, words, human_energy(half_j), percent, cancels))
        values.append((name, words, half_j, share, cancels))
        if share is not None:
            largest = max(largest, (share, f"{name} ±{percent}"))
    table = DataTable(
        f"Half-widths at about 95 %, means over runs.{study.energy_stamp}",
        ("Part", "what it is", "±", "of the joules", "cancels in differences"),
        tuple(rows),
        (0, 1, 4),
        values=tuple(values),
    )
    return table, f"largest: {largest[1]}" if largest[1] else UNKNOWN
