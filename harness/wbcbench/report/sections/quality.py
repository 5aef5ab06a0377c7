"""How far the numbers can be trusted: circumstances, warnings, sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.text import count_of, human_power
from wbcbench.core.units import ms_from_s
from wbcbench.energy import thresholds
from wbcbench.report import Block, Chip, DataTable
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.summaries import cost_claim

_WEIGHT = {Severity.INVALID: 0, Severity.SUSPECT: 1, Severity.INFO: 2}
_TOLD_APART = "meter-absent"  # has a table of its own, one line a meter
_WORDS = (
    "Measured: read from a sensor of that part. Estimated: from a sensor of another part. "
    "Estimated: worked out from a rated power and the load, without a sensor. Absent: not known, "
    "and not zero."
)

_COLUMNS = (
    ("primary_method", "how the energy was read"),
    ("primary_status", "status"),
    ("samples_train", "samples in training"),
    ("sample_gap_max_ms", "longest gap (ms)"),
    ("counter_vs_integral_pct", "counter vs integral (%)"),
    ("recorder_cpu_s", "watcher's CPU (s)"),
)

_PARTS = {"gpu": "GPU", "cpu": "Processor", "dram": "Memory", "wall": "Whole machine"}
_METHODS = {
    "counter": "energy counter",
    "integral_instant": "power readings",
    "integral_average": "averaged power readings",
    "integral_unnamed": "power readings",
    "rapl_package": "RAPL counter",
    "rapl_dram": "RAPL counter",
    "codecarbon_tdp_load": "rated power × load",
    "codecarbon_constant": "a constant power",
}


def quality_section(study: ReportStudy) -> Block:
    """How far the numbers can be trusted: circumstances, doubts with advice, what is absent."""
    tables = [table for table in (_doubts(study), _absent(study)) if table.rows]
    return Block(
        "quality",
        "Measurement quality",
        (_WORDS,),
        tuple(tables),
        claims=cost_claim(study),
        chips=tuple(chips(study)),
    )


def _doubts(study: ReportStudy) -> DataTable:
    """Each kind of doubt once, the gravest first, with the first run that has it."""
    found: dict[tuple[int, str, str, str], list[tuple[str, QualityWarning]]] = {}
    for run in study.runs:
        for warning in run.record.warnings:
            if warning.code != _TOLD_APART:
                key = (_WEIGHT[warning.severity], warning.code, warning.window, warning.channel)
                found.setdefault(key, []).append((run.run_id, warning))
    rows = tuple(_doubt_line(*found[key][0], _runs(found[key])) for key in sorted(found))
    headings = ("doubt", "weight", "window", "runs", "what was seen, and where", "what to do")
    caption = (
        "Doubts and remarks that were stored with the runs, each kind once. Invalid and suspect "
        "weigh in the verdict on a run; info does not."
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 4, 5}))


def _runs(found: list[tuple[str, QualityWarning]]) -> int:
    return len({run_id for run_id, _ in found})


def _doubt_line(run_id: str, warning: QualityWarning, runs: int) -> tuple[str, ...]:
    window = warning.window or "whole run"
    weight = warning.severity.value
    seen = f"{warning.detail} ({run_id})"
    return (warning.code, weight, window, str(runs), seen, warning.advice)


def _absent(study: ReportStudy) -> DataTable:
    counts = Counter((a.meter, a.reason) for run in study.runs for a in run.record.absent)
    rows = tuple(
        (meter, f"{count} of {count_of(len(study.runs), 'run')}", reason)
        for (meter, reason), count in sorted(counts.items())
    )
    caption = "Meters that were looked for and did not work."
    return DataTable(caption, ("meter", "absent in", "why"), rows, frozenset({0, 1, 2}))


def sampling_section(study: ReportStudy) -> Block:
    """How the headline energy of each run was sampled, and what watching cost."""
    rows = tuple(
        (run.run_id, *(_cell(run.row[name]) for name, _ in _COLUMNS)) for run in study.runs
    )
    headings = ("run", *(words for _, words in _COLUMNS))
    words = "How the headline energy of each run was sampled, and what watching cost."
    caption = f"{words}{study.energy_stamp}"
    table = DataTable(caption, headings, rows, frozenset({0, 1, 2}))
    return Block("sampling", "Sampling of every run", tables=(table,), folded=True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def chips(study: ReportStudy) -> Iterator[Chip]:
    """What there is to say; nothing is said of what no run knows."""
    for part in _PARTS:
        yield _part(study, part)
    for made in (_samples, _gap, _agreement, _idle, _throttled, _strangers, _clock, _watching):
        chip = made(study)
        if chip:
            yield chip


def _part(study: ReportStudy, part: str) -> Chip:
    """Measured, estimated or absent; in how many runs, where they differ."""
    counts = Counter(_how(run.row, part) for run in study.runs)
    several = len(counts) > 1
    told = [
        f"{how} in {count_of(n, 'run')}" if several else how for how, n in sorted(counts.items())
    ]
    clean = all(how.startswith(("measured", "absent")) for how in counts)
    return Chip(_PARTS[part], "; ".join(told), mind=several or not clean)


def _how(row: dict[str, object], part: str) -> str:
    method = str(row[f"{part}_energy_method"])
    status = row.get(f"{part}_energy_status") or ("absent" if method == "none" else "measured")
    if status == "absent":
        return "absent"
    return f"{status} ({_METHODS.get(method, method.replace('_', ' '))})"


def _samples(study: ReportStudy) -> Chip | None:
    found = known_values(study.done, "samples_train")
    if not found:
        return None
    least = thresholds.PRIMARY_SAMPLES
    told = f"{_span(found)} in training, {least:g} wanted"
    return Chip("Samples a run", told, mind=min(found) < least)


def _gap(study: ReportStudy) -> Chip | None:
    found = known_values(study.done, "sample_gap_max_ms")
    limit_ms = ms_from_s(thresholds.GAP_LEAST_S)
    return Chip("Longest gap", f"{max(found):.0f} ms", max(found) > limit_ms) if found else None


def _agreement(study: ReportStudy) -> Chip | None:
    found = [abs(pct) for pct in known_values(study.done, "counter_vs_integral_pct")]
    if not found:
        return None
    told = f"at most {max(found):.1f} % apart"
    return Chip("Counter and integral", told, mind=max(found) > thresholds.AGREE_PCT)


def _idle(study: ReportStudy) -> Chip | None:
    """Idle power before and after, of the headline's part."""
    ends = [
        [w for run in study.done if (w := run.idle_w(run.primary, period)) is not None]
        for period in ("before", "after")
    ]
    before, after = (sum(end) / len(end) if end else None for end in ends)
    if before is None and after is None:
        return None
    told = f"{human_power(before)} before, {human_power(after)} after, on average"
    drifts = before and after and 100 * abs(after - before) / before > thresholds.IDLE_DRIFT_PCT
    return Chip("Idle power", told, mind=bool(drifts))


def _throttled(study: ReportStudy) -> Chip | None:
    found = known_values(study.done, "gpu_throttle_s")
    hit = [time_s for time_s in found if time_s > 0]
    told = f"in {len(hit)} of {count_of(len(found), 'run')}"
    longest = f", at most {max(hit):.1f} s" if hit else ""
    return Chip("GPU throttled", told + longest, mind=bool(hit)) if found else None


def _strangers(study: ReportStudy) -> Chip | None:
    found = known_values(study.done, "gpu_foreign_processes")
    hit = sum(count > 0 for count in found)
    told = f"in {hit} of {count_of(len(found), 'run')}"
    return Chip("Other processes on the GPU", told, mind=bool(hit)) if found else None


def _clock(study: ReportStudy) -> Chip | None:
    found = known_values(study.done, "gpu_clock_mean_mhz")
    return Chip("GPU clock", f"{_span(found)} MHz on average") if found else None


def _watching(study: ReportStudy) -> Chip | None:
    found = known_values(study.done, "recorder_cpu_s")
    return (
        Chip("Watching cost", f"{_span(found, '.1f')} s of processor time a run") if found else None
    )


def _span(values: list[float], form: str = ".0f") -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"
