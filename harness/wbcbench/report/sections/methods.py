"""What was done and how, from the plan and the specs: nothing here is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wbcbench.compare.render import counts
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import count_of
from wbcbench.report import Block, DataTable
from wbcbench.report.analysis_words import analysis
from wbcbench.report.evidence import ReportStudy
from wbcbench.study.plan import Plan

_SOFTWARE = (
    ("wbcbench", "wbcbench_version"),
    ("Python", "python_version"),
    ("TensorFlow", "tensorflow_version"),
    ("CUDA", "cuda_version"),
    ("driver", "driver_version"),
    ("CodeCarbon", "codecarbon_version"),
)

Line = tuple[str, str]


def section(study: ReportStudy) -> Block:
    """One line for each question a reader may ask of the method."""
    rows = tuple(_lines(study))
    caption = f"Made from the plan and from what each run was asked.{study.stamp}"
    table = DataTable(caption, ("question", "answer"), rows, frozenset({0, 1}))
    return Block("methods", "Methods", tables=(table,))


def _lines(study: ReportStudy) -> Iterator[Line]:
    yield from _design(study)
    yield "data", _data(study)
    yield "training", _training(study)
    yield "phases of a run", _phases(study)
    yield (
        "what counts as training energy",
        (
            "The joules of the training steps of all epochs, the device synchronised at both ends, "
            "gross: as read, idle power included. Validation passes are counted apart. Net joules "
            "take away the mean idle power before and after, times the seconds."
        ),
    )
    yield "exclusions", _exclusions(study)
    yield from analysis(study)
    yield "software", _software(study)


def _design(study: ReportStudy) -> Iterator[Line]:
    plan = study.plan
    if plan is None:
        yield "design", "No plan was kept with this study: its runs were asked for one by one."
        return
    levels = "; ".join(f"{name}: {_levels(plan, name)}" for name in plan.factors)
    yield (
        "design",
        (
            f"{levels}. {count_of(plan.blocks, 'block')} of {count_of(len(plan.block(1)), 'run')}, "
            f"every combination once a block, order drawn with seed {plan.order_seed}. Plan sha256 "
            f"{plan.sha256[:12]}, fixed before the first run."
        ),
    )
    seeds = [plan.block(number)[0].seed for number in range(1, plan.most_blocks + 1)]
    yield (
        "seeds",
        (
            f"{', '.join(map(str, seeds))}: one a block, for initialisation, order of the images "
            "and dropout together."
        ),
    )
    if plan.until:
        yield (
            "stopping rule",
            (
                f"Blocks are added until the 95 % interval of {plan.until.contrast} is narrower "
                f"than {plan.until.width:g}, up to {plan.until.max_blocks}."
            ),
        )


def _levels(plan: Plan, name: str) -> str:
    found = dict.fromkeys(str(plan.levels(run)[name]) for run in plan.runs)
    return ", ".join(found)


def _data(study: ReportStudy) -> str:
    images = _each(study, lambda s: s.dataset_id or "the cells that come with wbcbench")
    splits = {
        "published": "validation watches TEST, as the published report did",
        "by-photograph": "validation is held out of TRAIN, whole photographs at a time",
    }
    return f"{images}; {_each(study, lambda s: splits[s.validation])}."


def _training(study: ReportStudy) -> str:
    parts: tuple[tuple[str, Callable[[RunSpec], object]], ...] = (
        ("epochs", lambda s: s.epochs),
        ("batch size", lambda s: s.batch_size),
        ("learning rate", lambda s: f"{s.learning_rate:g}"),
        ("precision", lambda s: s.precision),
        ("XLA", lambda s: "on" if s.xla else "off"),
        ("target", lambda s: f"{s.target_metric} of {s.target_value:g}, fixed before the runs"),
    )
    return "; ".join(f"{name}: {_each(study, read)}" for name, read in parts) + "."


def _phases(study: ReportStudy) -> str:
    def times(spec: RunSpec) -> str:
        return (
            f"{spec.idle_s:g} s idle, start-up, {spec.idle_s:g} s idle with the device held, "
            f"{count_of(spec.warmup_steps, 'warm-up step')} whose effect is undone, training with "
            "a validation pass after each epoch, test, inference one at a time and in batches (at "
            f"least {spec.inference_s:g} s each), {spec.idle_s:g} s idle; a look at each meter "
            f"every {spec.interval_s:g} s"
        )

    rest = f" {study.plan.pauses.rest_s:g} s of rest between runs." if study.plan else ""
    return f"{_each(study, times)}.{rest}"


def _exclusions(study: ReportStudy) -> str:
    rule = (
        "No run is left out for its value. A run that failed, was stopped or is invalid by the "
        "rules fixed beforehand leaves its whole block out."
    )
    told = counts(study.comparison) if study.comparison else []
    return " ".join([rule, *told])


def _software(study: ReportStudy) -> str:
    told = []
    for name, column in _SOFTWARE:
        found = sorted({str(r.row[column]) for r in study.runs if r.row[column] is not None})
        if found:
            told.append(f"{name} {' and '.join(found)}")
    return ", ".join(told) + "." if told else "unknown"


def _each(study: ReportStudy, read: Callable[[RunSpec], object]) -> str:
    """What the runs were asked, each different answer once, in the runs' order."""
    found = dict.fromkeys(str(read(run.spec)) for run in study.runs)
    return " or ".join(found)
