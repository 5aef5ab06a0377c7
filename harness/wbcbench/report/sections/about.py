"""What was done, with what, what it cannot show, how to do it again and how to cite it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import resources

from wbcbench.compare.render import count_lines
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, human_duration, human_energy, human_share
from wbcbench.core.units import kwh_from_j
from wbcbench.registry import VARIANTS
from wbcbench.report import Block, DataTable, Listing, Statement, results_sha256
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.words import analysis_lines
from wbcbench.study.limits import option_name
from wbcbench.study.plan import Plan
from wbcbench.table.derive import spent
from wbcbench.table.view import Run

_SOFTWARE = (
    ("wbcbench", "wbcbench_version"),
    ("Python", "python_version"),
    ("TensorFlow", "tensorflow_version"),
    ("CUDA", "cuda_version"),
    ("driver", "driver_version"),
    ("CodeCarbon", "codecarbon_version"),
)

Line = tuple[str, str]

COLUMNS = (
    "dataset_id",
    "dataset_sha256",
    "n_train",
    "n_val",
    "n_test",
    "n_test_photographs",
    "epochs_planned",
    "batch_size",
    "learning_rate",
    "optimizer",
    "params_total",
    "flops_per_image",
    "precision",
    "xla",
    "deterministic_ops",
    "steps_per_execution",
    "target_metric",
    "target_value",
    "host_id",
    "gpu_name",
    "gpu_count",
    "gpu_power_limit_w",
    "driver_version",
    "cpu_model",
    "cpu_count",
    "ram_bytes",
    "in_container",
    "virtualised",
    "os",
    "python_version",
    "tensorflow_version",
    "cuda_version",
    "cudnn_version",
    "codecarbon_version",
    "codecarbon_cpu_mode",
    "wbcbench_version",
    "git_commit",
    "git_dirty",
    "lock_sha256",
)

_PARTS = {
    "gpu": "the GPU boards alone: not the processor, the memory, the cooling or the building",
    "cpu": "the processor alone: not the memory, a GPU, the cooling or the building",
    "system": "the whole machine: not the cooling or the building",
}

HEADINGS = (
    "run",
    "status",
    "verdict",
    "why",
    "accuracy",
    "95 % by photograph",
    "without leaks",
    "energy, training",
    "read as",
    "time, training",
    "epochs",
)
_WORDS = frozenset({0, 1, 2, 3, 8})

_MOST_RUNS = 4
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_NO_OPTION = (
    "variant", "study", "block", "block_attempt", "order_in_block", "order_global", "repeat",
    "dataset_id", "dataset_sha256",
)  # fmt: skip

FILE = "references.bib"


def methods_section(study: ReportStudy) -> Block:
    """What was done and how, from the plan and the specs: nothing here is written by hand."""
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
    yield from analysis_lines(study)
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
    told = count_lines(study.comparison) if study.comparison else []
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


def environment_section(study: ReportStudy) -> Block:
    """What made the numbers: data, settings, machine, software, as the results table has them."""
    rows = tuple((name, values) for name in COLUMNS if (values := _values(study, name)))
    caption = f"Settings and circumstances; several values where runs differ.{study.stamp}"
    facts = DataTable(caption, ("column of runs.csv", "value"), rows, frozenset({0, 1}))
    return Block("environment", "Environment", tables=(facts,), folded=True)


def _values(study: ReportStudy, name: str) -> str:
    found = {str(run.row[name]) for run in study.runs if run.row[name] is not None}
    return ", ".join(sorted(found))


def limits_section(study: ReportStudy) -> Block:
    """What these numbers cannot show, in plain words."""
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
    yield f"The energy is of {_PARTS.get(row['primary_domain'], 'one part of the machine')}."
    if row["primary_status"] != "measured":
        yield (
            f"The joules are {row['primary_status']}, not measured. They follow the time a run "
            "takes and the load it shows, not what the hardware drew: no saving may be claimed."
        )


def _test_set(study: ReportStudy) -> Iterator[str]:
    photographs = [n for n in known_values(study.done, "n_test_photographs") if n]
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


def every_run_section(study: ReportStudy) -> Block:
    """Every run, failed ones included: nothing that was tried is left out."""
    rows = tuple(_line(run) for run in study.runs)
    caption = f"Every run of the study with a record. Energy is gross.{study.energy_stamp}"
    keys = tuple(run.run_id for run in study.runs)
    table = DataTable(caption, HEADINGS, rows, _WORDS, RUNS_TABLE, keys)
    return Block("runs", "Every run", tables=(table,), folded=True)


def _line(run: Run) -> tuple[str, ...]:
    row, error = run.row, run.record.error
    read_as = " ".join(str(row[n] or "") for n in ("primary_domain", "primary_status"))
    return (
        run.run_id,
        str(row["status"]) + (", synthetic" if row["synthetic"] else ""),
        str(row["quality"]),
        f"{error.kind}: {error.message}" if error else "–",
        human_share(row["accuracy"]),
        _interval(run),
        human_share(row["accuracy_leakage_free"]),
        human_energy(run.train_energy_j),
        read_as.strip(),
        human_duration(row["time_train_s"]),
        f"{row['epochs_run']} of {row['epochs_planned']}",
    )


def _interval(run: Run) -> str:
    low, high = run.row["accuracy_ci_low"], run.row["accuracy_ci_high"]
    return "unknown" if low is None or high is None else f"{low:.2f}–{high:.2f}"


def reproduce_section(study: ReportStudy) -> Block:
    """How to do it again: the commands, and what it will cost, from what it cost."""
    listing = Listing("In a clone of the program's repository:", "\n".join(_commands(study)))
    paragraphs = tuple(_words(study))
    return Block(
        "reproduce", "How to reproduce", paragraphs, claims=_cost(study), listings=(listing,)
    )


def _words(study: ReportStudy) -> Iterator[str]:
    if any(run.spec.dataset_id and not run.record.synthetic for run in study.runs):
        yield "FOLDER is where the images lie; the README says how to get them."
    yield (
        "The same seeds give nearly the same accuracies, and on the same machine nearly the same "
        "joules; neither is exact, because the order of sums on several threads is not fixed."
    )


def _cost(study: ReportStudy) -> tuple[Statement, ...]:
    done = [spent(run.record) for run in study.done]
    times_s = [each.time_s for each in done if each.time_s is not None]
    energies_j = [each.energy_j for each in done if each.energy_j is not None]
    statuses = sorted({each.status for each in done if each.energy_j is not None})
    if not times_s:
        return ()
    time_s, energy_j = sum(times_s), sum(energies_j)
    text = f"The {count_of(len(done), 'finished run')} took {human_duration(time_s)}"
    if len(statuses) == 1:
        text += f" and {kwh_from_j(energy_j):.2g} kWh ({statuses[0]})"
    values = {"done": len(done), "time_s": time_s, "energy_j": energy_j if statuses else None}
    return (Statement("effort", f"{text}.", RUNS_TABLE, "", values),)


def _commands(study: ReportStudy) -> Iterator[str]:
    commits = sorted({str(run.row["git_commit"]) for run in study.runs})
    known = [commit for commit in commits if _COMMIT.fullmatch(commit)]
    yield f"git checkout {known[-1]} && make setup" if known else "make setup"
    data = _data_option(study)
    name = shlex.quote(study.name)
    if study.plan:
        yield f"wbcbench sweep results/{name}/plan.json --results again{data}"
    else:
        yield from _runs(study, data)
    yield f"wbcbench report {name} --results again"


def _data_option(study: ReportStudy) -> str:
    real = any(run.spec.dataset_id and not run.record.synthetic for run in study.runs)
    return " --data FOLDER" if real else ""


def _runs(study: ReportStudy, data: str) -> Iterator[str]:
    """Each run by what differs from the defaults; of many the first few."""
    name = shlex.quote(study.name)
    known = [run for run in study.runs if run.spec.variant in VARIANTS]
    for run in known[:_MOST_RUNS]:
        spec = run.spec
        options = "".join(f" {word}" for word in _options(spec))
        variant = shlex.quote(spec.variant)
        yield f"wbcbench run --variant {variant}{options} --study {name} --results again{data}"
    left = len(study.runs) - len(known[:_MOST_RUNS])
    if left:
        yield f"# … and {left} more, as their spec.json says"


def _options(spec: RunSpec) -> Iterator[str]:
    for each in fields(RunSpec):
        value = getattr(spec, each.name)
        if each.name in _NO_OPTION or value == each.default:
            continue
        option = option_name(each.name)
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
        else:
            told = ",".join(value) if isinstance(value, tuple) else str(value)
            yield f"{option} {shlex.quote(told)}"


def citation_section(study: ReportStudy) -> Block:
    """How to cite the program, the data and the methods."""
    words = (
        f"Name these results by their digest: study {study.name}, sha256 of runs.csv "
        f"{results_sha256(study)}.",
    )
    listing = Listing("BibTeX of the program, the images and the methods:", references())
    return Block("citation", "Citation", words, listings=(listing,))


def references() -> str:
    """The references as BibTeX."""
    path = resources.files("wbcbench.report") / FILE
    return path.read_text(encoding="utf-8").strip()
