"""What a reader must know before any number: synthetic, modelled, mixed, incomplete, unsure."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Verdict
from wbcbench.core.text import count_of
from wbcbench.report.evidence import ReportStudy


def banners(study: ReportStudy) -> tuple[str, ...]:
    """One sentence or two for each thing to know, the gravest first."""
    return tuple(_banners(study))


def _banners(study: ReportStudy) -> Iterator[str]:
    if study.is_synthetic:
        yield (
            "SYNTHETIC. The images are drawn or the energy signal is made up. These numbers show "
            "that the program works; they say nothing about real cells or real joules."
        )
    yield from _energy(study)
    yield from _completeness(study)
    if any(run.row["git_dirty"] for run in study.runs):
        yield "DIRTY. At least one run was made with uncommitted changes to the program."


def _energy(study: ReportStudy) -> Iterator[str]:
    statuses = [run.row["headline_status"] for run in study.done]
    if "modelled" in statuses:
        yield f"MODELLED. {_modelled(statuses)}"
    if "estimated" in statuses:
        yield "ESTIMATED. The joules are derived from a sensor of another part of the machine."
    if study.done and not study.comparable:
        yield "NO ENERGY. No run of this study has joules of its training; accuracy and time stand."
    elif study.left_out:
        yield (
            f"MIXED. {study.left_out} of {count_of(len(study.done), 'finished run')} read in "
            "another way, made on another machine or of other images, or without joules: in the "
            "table of runs but in no mean and no figure."
        )


def _modelled(statuses: list[str | None]) -> str:
    count, done = statuses.count("modelled"), len(statuses)
    where = (
        "On this machine neither the GPU's nor the processor's energy can be read, so the joules "
        "come from a model"
        if count == done
        else f"In {count} of {count_of(done, 'finished run')} the joules come from a model"
    )
    return (
        f"{where} (processor power rating × load). They are no measurement, and no saving may be "
        "claimed from them."
    )


def _completeness(study: ReportStudy) -> Iterator[str]:
    spoiled = len(study.runs) - len(study.done)
    if study.runs and not study.done:
        yield "NOTHING FINISHED. Every run failed, was stopped or is invalid."
    elif spoiled:
        yield (
            f"INCOMPLETE. {spoiled} of {count_of(len(study.runs), 'run')} failed, stopped early or "
            "invalid; in the table of runs but in no mean."
        )
    if study.planned > len(study.done):
        yield f"INCOMPLETE. {len(study.done)} of {study.planned} planned runs are finished."
    elif study.unfinished:
        yield f"INCOMPLETE. {count_of(study.unfinished, 'run')} without a record yet."
    suspect = sum(run.record.verdict is Verdict.SUSPECT for run in study.done)
    if suspect:
        done = count_of(len(study.done), "finished run")
        yield f"SUSPECT. {suspect} of {done} with doubts; see below."
