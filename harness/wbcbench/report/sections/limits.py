"""What these numbers cannot show, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.text import count_of
from wbcbench.report import Block
from wbcbench.report.evidence import ReportStudy, known

_PARTS = {
    "gpu": "the GPU boards alone: not the processor, the memory, the cooling or the building",
    "cpu": "the processor alone: not the memory, a GPU, the cooling or the building",
    "system": "the whole machine: not the cooling or the building",
}


def section(study: ReportStudy) -> Block:
    """One sentence or two for each limit."""
    return Block("limits", "Limits", tuple(_limits(study)))


def _limits(study: ReportStudy) -> Iterator[str]:
    if study.is_synthetic:
        yield "Synthetic: drawn images or a made-up signal. Nothing here is about blood cells."
    yield _scope(study)
    yield from _energy(study)
    yield from _test_set(study)
    yield (
        "Not counted: the joules of making the hardware, of trying things out before this study, "
        "and of storing and moving the data."
    )


def _scope(study: ReportStudy) -> str:
    hosts = {run.row["host_id"] for run in study.runs}
    images = {run.row["dataset_id"] for run in study.runs if run.row["dataset_id"]}
    seeds = {run.spec.seed for run in study.done}
    return (
        f"{count_of(len(hosts), 'machine')}, {count_of(len(images), 'data set')}, "
        f"{count_of(len(seeds), 'seed')}, {count_of(len(study.done), 'finished run')}. Another "
        "machine, other images or other settings may rank the variants otherwise."
    )


def _energy(study: ReportStudy) -> Iterator[str]:
    if not study.comparable:
        yield "No joules were read, so nothing is said about energy."
        return
    row = study.comparable[0].row
    yield f"The energy is of {_PARTS.get(row['headline_domain'], 'one part of the machine')}."
    if row["headline_status"] != "measured":
        yield (
            f"The joules are {row['headline_status']}, not measured. They follow the time a run "
            "takes and the load it shows, not what the hardware drew: no saving may be claimed."
        )


def _test_set(study: ReportStudy) -> Iterator[str]:
    photographs = [n for n in known(study.done, "n_test_photographs") if n]
    if photographs:
        yield (
            f"The test images come from {photographs[0]:g} photographs, made many by turning and "
            "mirroring. Accuracy on other photographs may lie anywhere in the interval by "
            "photograph."
        )
    if any(run.spec.validation == "published" for run in study.done):
        yield (
            "TEST was watched during training, as in the published report. The accuracy stated is "
            "of the last epoch; no epoch and no setting may be chosen by it."
        )
