"""How far the numbers can be trusted: circumstances, warnings, sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.text import count_of, human_power
from wbcbench.core.units import ms_from_s
from wbcbench.energy import thresholds
from wbcbench.energy.metrics import mean_known
from wbcbench.report import Block, Chip, DataTable
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.summaries import build_cost_claim

_ORDER = (Severity.INVALID, Severity.SUSPECT, Severity.INFO)
_OWN_TABLE = "meter-absent"  # has a table of its own, one line a meter
_WORDS = (
    "Measured: read from a sensor of that part. Estimated: computed from rated power and load. "
    "Simulated: from the demonstration sensor, not from hardware. Absent: not known, and not zero."
)

_COLUMNS = (
    ("primary_method", "how the energy was read"),
    ("primary_status", "status"),
    ("samples_train", "samples in training"),
    ("sample_gap_max_ms", "longest gap (ms)"),
    ("counter_vs_integral_pct", "counter vs integral (%)"),
    ("recorder_cpu_s", "recorder's CPU (s)"),
)

_PARTS = {"gpu": "GPU", "cpu": "Processor", "dram": "Memory", "wall": "Whole machine"}
_METHODS = {
    "counter": "energy counter",
    "integral_instant": "power readings",
    "integral_usage": "power readings",
    "integral_average": "averaged power readings",
    "integral_unnamed": "power readings",
    "rapl_package": "RAPL counter",
    "rapl_dram": "RAPL counter",
    "codecarbon_tdp_load": "a model of rated or assumed power and load",
    "codecarbon_constant": "a constant power",
}


def build_quality(study: ReportStudy) -> Block:
    """How far the numbers can be trusted: circumstances, warnings with advice, what is absent."""
    tables = tuple(t for t in (_build_warnings(study), _build_absent(study)) if t.rows)
    chips = tuple(_iterate_chips(study))
    claims = build_cost_claim(study)
    return Block("quality", "Measurement quality", (_WORDS,), tables, claims=claims, chips=chips)


def _build_warnings(study: ReportStudy) -> DataTable:
    """Each kind of warning once, the most severe first, with the first run that has it."""
    kinds: dict[tuple[int, str, str, str], dict[str, QualityWarning]] = {}
    for run in study.runs:
        for warning in run.record.warnings:
            place = _ORDER.index(warning.severity)
            key = (place, warning.code, warning.window, warning.channel)
            if warning.code != _OWN_TABLE:
                kinds.setdefault(key, {}).setdefault(run.run_id, warning)
    rows = []
    for _, by_run in sorted(kinds.items()):
        run_id, warning = next(iter(by_run.items()))
        row = (
            warning.code,
            warning.severity.value,
            warning.window or "whole run",
            str(len(by_run)),
            f"{warning.detail} ({run_id})",
            warning.advice,
        )
        rows.append(row)
    headings = ("warning", "severity", "window", "runs", "detail, and where", "advice")
    caption = (
        "Warnings that were stored with the runs, each kind once. Invalid and suspect ones decide "
        "the quality of a run; info does not."
    )
    return DataTable(caption, headings, tuple(rows), (0, 1, 2, 4, 5))


def _build_absent(study: ReportStudy) -> DataTable:
    counts = Counter((a.meter, a.reason) for run in study.runs for a in run.record.absent)
    rows = tuple(
        (meter, f"{count} of {count_of(len(study.runs), 'run')}", reason)
        for (meter, reason), count in sorted(counts.items())
    )
    caption = "Meters that did not work."
    return DataTable(caption, ("meter", "absent in", "why"), rows, (0, 1, 2))


def build_sampling(study: ReportStudy) -> Block:
    """How the primary energy of each run was sampled, and the cost of recording."""

    def format_cell(value: object) -> str:
        if value is None:
            return "–"
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    rows = tuple(
        (run.run_id, *(format_cell(run.row[name]) for name, _ in _COLUMNS)) for run in study.runs
    )
    headings = ("run", *(heading for _, heading in _COLUMNS))
    words = "How the primary energy of each run was sampled, and the cost of recording."
    table = DataTable(f"{words}{study.energy_stamp}", headings, rows, (0, 1, 2))
    return Block("sampling", "Sampling of every run", tables=(table,), folded=True)


def _iterate_chips(study: ReportStudy) -> Iterator[Chip]:
    """The circumstances; nothing of what no run knows."""
    for part, name in _PARTS.items():
        yield _build_part_chip(study, part, name)
    samples = known_values(study.done, "samples_train")
    if samples:
        least = thresholds.PRIMARY_SAMPLES
        words = f"{_format_span(samples)} in training, {least:g} recommended"
        yield Chip("Samples a run", words, min(samples) < least)
    gaps_ms = known_values(study.done, "sample_gap_max_ms")
    if gaps_ms:
        is_long = max(gaps_ms) > ms_from_s(thresholds.GAP_LEAST_S)
        yield Chip("Longest gap", f"{max(gaps_ms):.0f} ms", is_long)
    differences_pct = [abs(pct) for pct in known_values(study.done, "counter_vs_integral_pct")]
    if differences_pct:
        widest = max(differences_pct)
        words = f"at most {widest:.1f} % difference"
        yield Chip("Counter and integral", words, widest > thresholds.AGREE_PCT)
    yield from _iterate_idle_chips(study)
    throttled_s = known_values(study.done, "gpu_throttle_s")
    if throttled_s:
        hit = sum(time_s > 0 for time_s in throttled_s)
        longest = f", at most {max(throttled_s):.1f} s" if hit else ""
        words = f"in {hit} of {count_of(len(throttled_s), 'run')}{longest}"
        yield Chip("GPU throttled", words, bool(hit))
    foreign = known_values(study.done, "gpu_foreign_processes")
    if foreign:
        hit = sum(count > 0 for count in foreign)
        words = f"in {hit} of {count_of(len(foreign), 'run')}"
        yield Chip("Other processes on the GPU", words, bool(hit))
    clocks_mhz = known_values(study.done, "gpu_clock_mean_mhz")
    if clocks_mhz:
        yield Chip("GPU clock", f"{_format_span(clocks_mhz)} MHz on average")
    recorder_s = known_values(study.done, "recorder_cpu_s")
    if recorder_s:
        words = f"{_format_span(recorder_s, '.1f')} s of processor time a run"
        yield Chip("Cost of recording", words)


def _build_part_chip(study: ReportStudy, part: str, name: str) -> Chip:
    """Measured, estimated or absent; in how many runs, where they differ."""
    counts = Counter(_format_status(run.row, part) for run in study.runs)
    states = sorted(counts.items())
    words = states[0][0]
    if len(states) > 1:
        words = "; ".join(f"{state} in {count_of(n, 'run')}" for state, n in states)
    is_clean = all(state.startswith(("measured", "absent")) for state in counts)
    return Chip(name, words, len(states) > 1 or not is_clean)


def _format_status(row: Mapping[str, object], part: str) -> str:
    method = str(row[f"{part}_energy_method"])
    status = row.get(f"{part}_energy_status") or ("absent" if method == "none" else "measured")
    if status == "absent":
        return "absent"
    words = [_METHODS.get(way, way.replace("_", " ")) for way in method.split("+")]
    return f"{status} ({' and '.join(dict.fromkeys(words))})"


def _iterate_idle_chips(study: ReportStudy) -> Iterator[Chip]:
    """Idle power before and after, of the primary energy's part."""
    before, after = (
        mean_known([run.idle_w(run.primary, period) for run in study.done])
        for period in ("before", "after")
    )
    if before is not None or after is not None:
        words = f"{human_power(before)} before, {human_power(after)} after, on average"
        limit = thresholds.IDLE_DRIFT_PCT / 100
        drifts = before and after and abs(after - before) > limit * before
        yield Chip("Idle power", words, bool(drifts))


def _format_span(values: list[float], form: str = ".0f") -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"
