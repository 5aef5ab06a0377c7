"""What a report says of a study in sentences; pure: the same rows give the same words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from wbcbench.core.quality import Quality
from wbcbench.core.text import (
    UNKNOWN,
    count_of,
    human_duration,
    human_energy,
    human_energy_within,
    human_share,
)
from wbcbench.core.trace import Origin
from wbcbench.report import Notice, results_sha256
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import ENERGY, WALL, Row, format_range, get_mean

_LONGEST = 40
_COMPARED = (  # in the order of COMPARABLE
    "the part that was read", "how it was read", "its status", "being synthetic", "their images",
    "the GPU", "its driver", "the processor",
)  # fmt: skip


def make_anchor(source: str, row: str) -> str:
    """An id of letters, digits and hyphens, different for each row of each table."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{source.removesuffix('.csv')} {row}".lower())
    digest = hashlib.sha256(f"{source}\n{row}".encode()).hexdigest()[:8]
    return f"{words.strip('-')[:_LONGEST].strip('-')}-{digest}"


def describe_study(study: ReportStudy) -> str:
    """One line; the date is the results' own, because the same records give the same bytes."""
    variants, runs = count_of(len(study.labels), "variant"), study.done or study.runs
    seeds = len({(run.spec.block, run.spec.seed) for run in runs})
    is_full = len(study.labels) * seeds == len(runs)
    parts = (
        f"{variants} × {count_of(seeds, 'seed')}"
        if is_full
        else f"{variants}, {count_of(len(study.runs), 'run')}",
        format_common(study, "gpu_name") or format_common(study, "cpu_model"),
        max(str(run.row["ended_utc"]) for run in study.runs)[:10],
        f"results {results_sha256(study)[:12]}",
    )
    return " · ".join(filter(None, parts))


def format_common(study: ReportStudy, column: str) -> str:
    """The value that all runs share, or how many there are; empty where none is known."""
    values = study.distinct_values(column)
    kind = {"gpu_name": "GPU models", "cpu_model": "processor models"}.get(column, column)
    return values[0] if len(values) == 1 else f"{len(values)} {kind}" if values else ""


def list_notices(study: ReportStudy) -> Iterator[Notice]:
    """What a reader must know before any number, the most severe first; each in one sentence."""
    done, n = len(study.done), len(study.runs)
    if study.is_synthetic:
        yield Notice("synthetic", "Synthetic images or a simulated sensor: no result to quote.")
    yield from _describe_energy(study)
    if study.runs and not study.done:
        yield Notice("nothing finished", "Every run failed, was stopped or is invalid.")
    elif missing := _describe_missing(study):
        is_whole = 0 < study.planned <= done and not study.unfinished
        yield Notice("left out" if is_whole else "incomplete", missing)
    if study.comparable and study.left_out:
        yield Notice(
            "mixed",
            f"{study.left_out} of {count_of(done, 'finished run')} differ in "
            f"{_name_differences(study)}; their energy is in no mean.",
        )
    if suspect := sum(run.row["quality"] == Quality.SUSPECT for run in study.done):
        yield Notice("suspect", f"{suspect} of {count_of(n, 'run')} have warnings.")
    if any(run.row["git_dirty"] for run in study.runs):
        yield Notice("uncommitted", "The program had uncommitted changes.")


def _name_differences(study: ReportStudy) -> str:
    """What sets the finished runs apart whose energy is in no mean."""
    kept = set(study.comparable)
    others = [run.comparable_by for run in study.done if run not in kept]
    sides = zip(_COMPARED, study.comparable[0].comparable_by, *others, strict=True)
    words = [name for name, own, *rest in sides if any(each != own for each in rest)]
    *most, last = words or ["having no joules"]
    return " and ".join(filter(None, (", ".join(most), last)))


def _describe_energy(study: ReportStudy) -> Iterator[Notice]:
    estimated = [run for run in study.done if run.row["primary_status"] == Origin.ESTIMATED]
    metered = sum(run.row["energy_wall_train_j"] is not None for run in study.comparable)
    if estimated:
        models = sorted({study.evidence[run].model for run in estimated} - {""})
        n = len(study.done)
        share = "" if len(estimated) == n else f" in {len(estimated)} of {count_of(n, 'run')}"
        part = {"cpu": " of the CPU", "gpu": " of the GPU"}.get(
            str(estimated[0].row["primary_domain"]), ""
        )
        words = f"Energy{part}{share} is no measurement but an estimate"
        words += f" ({'; '.join(models)})" if models else ""
        yield Notice(
            "estimated",
            f"{words}: no saving may be claimed from it." + _describe_wall(study, metered),
        )
    elif study.done and not study.comparable:
        yield Notice("no energy", "No run has joules of its training.")


def _describe_wall(study: ReportStudy, metered: int) -> str:
    runs = len(study.comparable)
    share = "" if metered == runs else f" in {metered} of {count_of(runs, 'run')}"
    methods = {str(run.row["wall_energy_method"]) for run in study.comparable}
    by = " by a wall meter" if any(method.startswith("wall") for method in methods) else ""
    return f" The whole machine's is measured{by}{share}." if metered else ""


def _describe_missing(study: ReportStudy) -> str:
    done, failed = len(study.done), len(study.runs) - len(study.done)
    be, they = ("is", "it is") if failed == 1 else ("are", "they are")
    words = f"{failed} of {count_of(len(study.runs), 'run')} failed, stopped early or {be} invalid"
    parts = [f"{words}; {they} in no mean"] if failed else []
    if gone := len(study.deleted):
        parts.append(f"{count_of(gone, 'run')} {'was' if gone == 1 else 'were'} deleted")
    if study.planned > done:
        parts.append(f"{done} of {study.planned} planned runs are finished")
    elif parts and study.planned:
        parts.append(f"all {study.planned} planned runs are finished")
    if study.unfinished:
        parts.append(f"{count_of(study.unfinished, 'run')} without a record so far")
    return f"{'; '.join(parts)}." if parts else ""


def describe_variant(row: Row, *, is_machine: bool = False) -> str:
    """The cost and accuracy of a configuration, with both errors of each.

    Args:
        row: Of the configuration.
        is_machine: Whether its energy is the whole machine's already.
    """
    has_energy, time_s, share = row[ENERGY] is not None, row["time_train_s"], row["accuracy"]
    cost = f"used {format_both_errors(row)}" if has_energy else "trained"
    if time_s is not None:
        cost += f" {'in' if has_energy else 'for'} {human_duration(time_s)}"
    photographs = format_photographs(row)
    over = f" (95 % CI over photographs {photographs})" if photographs != UNKNOWN else ""
    wall_j = row[WALL]
    wall = (
        f"; the whole machine used {human_energy(wall_j)}, measured"
        if wall_j and not is_machine
        else ""
    )
    if share is not None:
        cost += f" and reached an accuracy of {human_share(share)}{over}"
    return f"{row['configuration']} {cost} in {count_of(row['n'], 'run')}{wall}."


def format_both_errors(row: Row) -> str:
    """``41.2 kJ ± 600 J (runs) ± 9 J (reading) ± 2.1 kJ (board)``, and the joules' status."""
    errors_j: dict[str, float | tuple[float, float] | None] = {}
    # Of an estimate the scatter over runs would pass for its error, which nobody knows.
    if row["energy_status"] != Origin.ESTIMATED:
        mean = get_mean(row, ENERGY)
        sides = (mean.mean - mean.low, mean.high - mean.mean) if mean else None
        errors_j = {
            "runs": sides if mean and mean.has_interval else None,
            "reading": row["energy_reading_j"],
            "board": row["energy_board_j"],
        }
    status = row["energy_status"]
    suffix = "" if status in {None, "measured"} else f" ({status})"
    return human_energy_within(row[ENERGY], **errors_j) + suffix


def format_photographs(row: Row) -> str:
    """``0.70–0.90``: the accuracy's 95 % interval for other photographs."""
    return format_range([row[f"accuracy_photographs_{end}"] for end in ("low", "high")])
