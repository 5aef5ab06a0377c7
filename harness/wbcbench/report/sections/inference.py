"""What using the trained network costs: joules an image, one at a time and in batches."""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench.compare.design import Configuration
from wbcbench.core.text import energy_scale
from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy, known
from wbcbench.report.means import mean_of, told
from wbcbench.table.columns_energy import TABLE_BATCH
from wbcbench.table.view import Run

_ONE = ("energy_per_infer_image_b1_j", "infer_images_per_s_b1")
_MANY = ("energy_per_infer_image_j", "infer_images_per_s")
_IMAGES = 1000
_WANTED_S = 60.0


def section(study: ReportStudy) -> Block | None:
    """A line an arm; ``None`` where no run timed inference."""
    timed = [run for run in study.done if _times_s(run)]
    if not timed:
        return None
    one, many = (
        energy_scale(_IMAGES * max(known(timed, columns[0]), default=0.0))
        for columns in (_ONE, _MANY)
    )
    headings = (
        "variant",
        "runs",
        f"one at a time ({one[1]})",
        "images/s",
        f"batches of {TABLE_BATCH} ({many[1]})",
        "images/s",
    )
    caption = (
        f"Energy for {_IMAGES} images, and speed, mean over runs [95 % t from three runs] "
        f"(lowest–highest of two). {_of(study)}{study.stamp}"
    )
    rows = tuple(_line(study, each, (one[0], many[0])) for each in study.configurations)
    table = DataTable(caption, headings, rows)
    return Block("inference", "Using the trained network", _words(timed), (table,))


def _of(study: ReportStudy) -> str:
    words = study.energy_words.replace("in training", "in the inference window")
    return f"Energy: {words}."


def _words(timed: Sequence[Run]) -> tuple[str, ...]:
    times_s = [time_s for run in timed for time_s in _times_s(run)]
    ends = dict.fromkeys(f"{time_s:.1f}" for time_s in (min(times_s), max(times_s)))
    told_s = f"{'–'.join(ends)} s"
    short = (
        f" A window of {_WANTED_S:g} s would be wanted, so these joules are rough."
        if min(times_s) < _WANTED_S
        else ""
    )
    return (
        "After training each run forwarded test images, one at a time and in batches; what came "
        f"before the first measured batch is left out. The windows lasted {told_s}.{short}",
    )


def _times_s(run: Run) -> list[float]:
    found = [run.duration_s(each.window) for each in run.record.inference]
    return [time_s for time_s in found if time_s is not None]


def _line(
    study: ReportStudy, configuration: Configuration, divisors: tuple[float, float]
) -> tuple[str, ...]:
    used, metered = study.used(configuration), study.metered(configuration)
    cells = [
        cell
        for (energy, speed), divisor in zip((_ONE, _MANY), divisors, strict=True)
        for cell in (
            told(mean_of([_IMAGES * j for j in known(metered, energy)]), divisor),
            told(mean_of(known(used, speed))),
        )
    ]
    return (configuration.label, str(len(used)), *cells)
