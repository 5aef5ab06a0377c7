"""What was done, with what, what it cannot show, how to do it again and how to cite it."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import resources

from wbcbench.compare.boards import LIMIT, name_board
from wbcbench.compare.metric import Settings
from wbcbench.compare.notes import BOARDS_DIFFER, notes_on_boards
from wbcbench.compare.render import count_lines
from wbcbench.compare.result import Comparison, count_tests
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import UNKNOWN, count_of, human_duration, human_energy, human_share
from wbcbench.registry import VARIANTS
from wbcbench.report import DataTable, Listing, Part, Place, Section, Statement, results_sha256
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import NONE, format_range
from wbcbench.stats.order import count_balance
from wbcbench.stats.tests import describe_sign_flips
from wbcbench.study.limits import option_name
from wbcbench.study.plan import Plan
from wbcbench.table.view import Run

Line = tuple[str, str]

_SOFTWARE = (
    ("wbcbench", "wbcbench_version"),
    ("Python", "python_version"),
    ("TensorFlow", "tensorflow_version"),
    ("CUDA", "cuda_version"),
    ("driver", "driver_version"),
    ("CodeCarbon", "codecarbon_version"),
)

_SETTINGS: tuple[tuple[str, Callable[[RunSpec], object]], ...] = (
    ("epochs", lambda s: s.epochs),
    ("batch size", lambda s: s.batch_size),
    ("learning rate", lambda s: f"{s.learning_rate:g}, {s.schedule}"),
    ("precision", lambda s: s.precision),
    ("target", lambda s: f"{s.target_metric} of {s.target_value:g}, fixed before the runs"),
)
_SPLITS = {
    "published": "validation is on TEST, as in the published report",
    "by-photograph": "validation is held out of TRAIN, whole photographs at a time",
}

COLUMNS = (
    "dataset_id", "dataset_sha256", "n_train", "n_val", "n_test", "n_test_photographs",
    "epochs_planned", "batch_size", "learning_rate", "schedule", "optimizer", "params_total",
    "flops_per_image", "precision", "xla", "path", "loops", "deterministic_ops",
    "steps_per_execution",
    "target_metric", "target_value", "host_id", "gpu_name", "gpu_count", "gpu_power_limit_w",
    "driver_version", "cpu_model", "cpu_count", "ram_bytes", "in_container", "virtualised", "os",
    "python_version", "tensorflow_version", "cuda_version", "cudnn_version", "codecarbon_version",
    "codecarbon_cpu_mode", "wbcbench_version", "git_commit", "git_dirty", "lock_sha256",
)  # fmt: skip

_PARTS = {
    "gpu": "the GPU boards alone: not the processor, the memory, the cooling or the building",
    "cpu": "the processor alone: not the memory, a GPU, the cooling or the building",
    "system": "the whole machine: not the cooling or the building",
}

_RUN_HEADINGS = (
    "Run", "status", "quality", "error", "accuracy", "over photographs", "leakage-free",
    "energy, training", "read as", "time, training", "epochs",
)  # fmt: skip

_MOST_RUNS = 4
_RECIPE = ("learning_rate", "batch_size", "schedule", "epochs_planned")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# Fields that begin so are no option of ``wbcbench run``, or one that is written anyway.
_NO_OPTION = ("variant", "study", "block", "order_", "repeat", "dataset_")

_REFERENCES = "references.bib"


def build_methods(study: ReportStudy) -> Section:
    """What was done and how, from the plan and the specs: nothing here is written by hand."""
    caption = f"Made from the plan and from the settings of each run.{study.stamp}"
    rows = tuple(_iterate_methods(study))
    table = DataTable(caption, ("Question", "answer"), rows, (0, 1))
    runs = count_of(len(study.runs), "run")
    summary = (
        "randomised blocks, paired sign-flip tests" if study.plan else f"{runs} without a plan"
    )
    if study.comparison and study.comparison.blocks.boards.is_spread:
        summary = "blocks spread over boards, so joules and seconds are not tested"
    return Section("methods", "Methods", (table,), Place.FOLDED, summary)


def _iterate_methods(study: ReportStudy) -> Iterator[Line]:
    if study.plan:
        yield from _iterate_design(study, study.plan)
    else:
        yield "design", "This study has no plan: its runs were started one by one."
    images = _list_different(study, lambda s: s.dataset_id or "the cells that come with wbcbench")
    yield "data", f"{images}; {_list_different(study, lambda s: _SPLITS[s.validation])}."
    settings = (f"{name}: {_list_different(study, read)}" for name, read in _SETTINGS)
    yield "training", f"{'; '.join(settings)}."
    rest = f" {study.plan.pauses.rest_s:g} s of rest between runs." if study.plan else ""
    yield "phases of a run", f"{_list_different(study, _describe_phases)}.{rest}"
    yield (
        "what counts as training energy",
        "The joules of the training steps of all epochs, idle power included, with the device "
        "synchronised at both ends. Validation passes are excluded and counted by "
        "themselves. Joules above idle are without the mean idle power before and after, times the "
        f"seconds.{_describe_loops(study)}",
    )
    rule = (
        "No run is left out for its value. A run that failed, was stopped or is invalid by the "
        "rules fixed beforehand leaves its whole block out, until it has been run again."
    )
    counts = count_lines(study.comparison) if study.comparison else []
    yield "exclusions", " ".join([rule, *counts])
    yield from _iterate_analysis(study)
    versions = {name: study.distinct_values(column) for name, column in _SOFTWARE}
    if not study.distinct_values("gpu_name"):
        del versions["CUDA"]  # TensorFlow was built with it, and did not use it
    known = [f"{name} {' and '.join(values)}" for name, values in versions.items() if values]
    yield "software", f"{', '.join(known)}." if known else "unknown"


_CLAIMS = (
    "Each check by its own 95 % interval, not corrected for their number. Differences: Student's "
    "t; shares: Clopper and Pearson; means over seeds: t corrected for skewness (Hall 1992), which "
    "may reach beyond every value."
)
_INTERVALS = {
    "t": "Student's t on the differences within blocks, from three blocks on",
    "bootstrap": "BCa bootstrap of the differences within blocks, from fifteen blocks on",
}


def _iterate_analysis(study: ReportStudy) -> Iterator[Line]:
    """Only the reason where nothing was compared."""
    comparison = study.comparison
    if comparison is None:
        yield "comparison", study.why_not_compared or "Nothing was compared."
        return
    settings = comparison.settings
    yield (
        "unit of comparison",
        "The block: one seed with every variant once. Differences are taken inside blocks; joules, "
        "seconds, watts and rates as logarithms of ratios, accuracies as they are.",
    )
    if comparison.blocks.boards.is_spread:
        yield "boards", " ".join(notes_on_boards(comparison))
    yield "primary family", _describe_family(comparison)
    yield (
        "intervals",
        f"{_INTERVALS[settings.method]}; 95 %. Those of a variant's mean stay above zero (joules, "
        "seconds, watts, rates) or within 0 and 1 (accuracies). Intervals of accuracy over "
        "photographs come from a cluster bootstrap: whole photographs are resampled within each "
        "class.",
    )
    yield from (
        [("tests", "none")] if settings.untested else _describe_tests(settings, study.blocks_used)
    )
    if study.planned_claims:
        yield "claims of the plan", "Student's t on the differences, Holm over the claims."
    if study.kept_claims:
        yield "claims", _CLAIMS
    if notes := [note for note in comparison.notes if note not in comparison.limits]:
        yield "notes", " ".join(notes)
    yield (
        "energy to target",
        "Kaplan and Meier's median over runs; a run that never reached the target counts as one "
        "that cost more than it used. Nothing is filled in.",
    )


def _describe_tests(settings: Settings, blocks: int) -> Iterator[Line]:
    yield (
        "tests",
        f"{describe_sign_flips(blocks)}, paired; p is corrected within the family by Holm's method "
        f"at {100 * settings.alpha:g} %.",
    )
    yield (
        "equivalence",
        f"Two one-sided tests at 5 %, corrected within the family by Holm's method, against "
        f"±{settings.region_pct:g} % (joules, seconds) and ±{settings.region_pp:g} percentage "
        "points (accuracies).",
    )


def _describe_family(comparison: Comparison) -> str:
    primary = [effect for effect in comparison.effects if effect.family == "primary"]
    if not primary:
        return "No contrast: there is nothing to compare."
    contrasts = dict.fromkeys(f"{e.contrast} ({e.against})" for e in primary)
    metrics = dict.fromkeys(e.metric.name for e in primary)
    tests = count_of(count_tests(primary, comparison.settings), "test")
    return (
        f"{', '.join(contrasts)}; each on {' and '.join(metrics)}: "
        f"{'nothing is tested' if comparison.settings.untested else tests}. Other contrasts are "
        "secondary: estimates only."
    )


def _iterate_design(study: ReportStudy, plan: Plan) -> Iterator[Line]:
    levels = {
        name: ", ".join(dict.fromkeys(str(plan.levels(run)[name]) for run in plan.runs))
        for name in plan.factors
    }
    blocks = [plan.block(number) for number in range(1, plan.blocks + 1)]
    is_balanced = count_balance([list(map(plan.label, block)) for block in blocks]).is_balanced
    yield (
        "design",
        f"{'; '.join(f'{name}: {values}' for name, values in levels.items())}. "
        f"{count_of(plan.blocks, 'block')} of {count_of(len(plan.block(1)), 'run')}, every "
        f"combination once a block, in {'a balanced' if is_balanced else 'an unbalanced'} order "
        f"drawn with seed {plan.order_seed}. Plan sha256 {plan.sha256[:12]}"
        f"{', fixed before the first run' if study.is_fixed_beforehand else ''}.",
    )
    seeds = [plan.block(number)[0].seed for number in range(1, plan.most_blocks + 1)]
    yield (
        "seeds",
        f"{', '.join(map(str, seeds))}: one a block, for initialisation, order of the images and "
        "dropout together.",
    )
    if plan.until:
        yield (
            "stopping rule",
            f"Two stages (Stein 1945): the spread of {plan.until.contrast} in the first "
            f"{count_of(plan.blocks, 'block')} decides how many there are, so that its 95 % "
            f"interval is {plan.until.width:g} wide, up to {plan.until.max_blocks}.",
        )


def _describe_phases(spec: RunSpec) -> str:
    return (
        f"{spec.idle_s:g} s idle, start-up, {spec.idle_s:g} s idle with the device held, "
        f"{count_of(spec.warmup_steps, 'warm-up step')} whose effect is undone, training with "
        "a validation pass after each epoch, test, inference one at a time and in batches (at "
        f"least {spec.inference_s:g} s each), {spec.idle_s:g} s idle; each meter is read every "
        f"{spec.interval_s:g} s"
    )


def _describe_loops(study: ReportStudy) -> str:
    counts = [int(count) for count in study.distinct_values("loops")]
    if max(counts, default=1) == 1:
        return ""
    often = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    return (
        f" Each training was made {often} times from the same start in one window, whose joules "
        "and seconds are shared equally; accuracy and curves are those of the first time."
    )


def _list_different(study: ReportStudy, read: Callable[[RunSpec], object]) -> str:
    """A setting of the runs, each different value once, in the runs' order."""
    return " or ".join(dict.fromkeys(str(read(run.spec)) for run in study.runs))


def build_environment(study: ReportStudy) -> Section:
    """Data, settings, machine and software, as in the results table."""
    values = {name: ", ".join(study.distinct_values(name)) for name in COLUMNS}
    rows = tuple((name, text) for name, text in values.items() if text)
    caption = f"Settings and circumstances; several values where runs differ.{study.stamp}"
    facts = DataTable(caption, ("Column of runs.csv", "value"), rows, (0, 1))
    known = ("gpu_name", "cpu_model", "tensorflow_version", "wbcbench_version")
    names = {"tensorflow_version": "TensorFlow ", "wbcbench_version": "wbcbench "}
    summary = ", ".join(f"{names.get(name, '')}{values[name]}" for name in known if values[name])
    boards = _build_boards(study)
    if boards:
        summary += f", {count_of(len(boards.rows), 'board')}"
    parts = (facts, boards) if boards else (facts,)
    return Section("environment", "Environment", parts, Place.FOLDED, summary)


def _build_boards(study: ReportStudy) -> DataTable | None:
    """Each board with its node and what else is known of it; ``None`` where there is one."""
    boards = defaultdict[str, list[Run]](list)
    for run in study.done:
        boards[name_board(run)].append(run)
    if len(boards) < 2:
        return None
    rows = []
    for name, own in sorted(boards.items()):
        facts = (
            ", ".join(sorted({UNKNOWN if (c := r.row[column]) is None else f"{c}" for r in own}))
            for column in ("node", "host_id", "gpu_name", "driver_version", LIMIT)
        )
        blocks = len({run.spec.block for run in own})
        rows.append((name, *facts, str(blocks), str(len(own))))
    caption = f"Boards that the finished runs came from.{study.stamp}"
    headings = ("Board", "node", "host", "GPU", "driver", "power limit, W", "blocks", "runs")
    return DataTable(caption, headings, tuple(rows), (0, 1, 2, 3, 4))


def build_limits(study: ReportStudy) -> Section:
    """What these numbers cannot show."""
    machines = len(study.distinct_values("host_id"))
    seeds = count_of(len({run.spec.seed for run in study.done}), "seed")
    summary = f"{count_of(machines, 'machine') if machines else 'unknown machines'}, {seeds}"
    return Section("limits", "Limits", tuple(_iterate_limits(study)), Place.FOLDED, summary)


def _iterate_limits(study: ReportStudy) -> Iterator[str]:
    seeds, machines = {run.spec.seed for run in study.done}, len(study.distinct_values("host_id"))
    yield (
        f"{count_of(machines, 'machine') if machines else 'Unknown machines'}, "
        f"{count_of(len(study.distinct_values('dataset_id')), 'data set')}, "
        f"{count_of(len(seeds), 'seed')}, {count_of(len(study.done), 'finished run')}. Another "
        "machine, other images or other settings may rank the variants otherwise."
    )
    boards = {name for run in study.done if (name := name_board(run)).startswith("board")}
    if len(boards) > 1:
        yield f"The runs come from {len(boards)} boards. {BOARDS_DIFFER}"
    if study.comparable:
        row = study.comparable[0].row
        yield f"The energy is of {_PARTS.get(row['primary_domain'], 'one part of the machine')}."
    else:
        yield "No joules were read, so these results say nothing about energy."
    if study.photographs:
        yield (
            f"The test images come from {study.photographs:g} photographs, multiplied by rotation "
            "and reflection; more runs say nothing of other photographs."
        )
    if len(study.labels) > 1 and all(len(study.distinct_values(name)) == 1 for name in _RECIPE):
        yield (
            "All variants were trained with one learning rate and one batch size; each of them may "
            "do better with its own."
        )
    if any(run.spec.validation == "published" for run in study.done):
        yield (
            "TEST was used for validation during training, as in the published report. The "
            "accuracy stated is of the last epoch; no epoch and no setting may be chosen by it."
        )
    yield (
        "Not counted: the joules of making the hardware, of trying things out before this study, "
        "and of storing and moving the data."
    )


def build_runs(study: ReportStudy) -> Section:
    """Every run that is there, failed ones included; deleted ones are counted."""
    failed = len(study.runs) - len(study.done)
    summary = f"{len(study.runs)}, {failed or 'none'} failed, stopped or invalid"
    if study.deleted:
        summary += f"; {len(study.deleted)} more deleted"
    table = DataTable(
        f"Every run with a record. Energy of training, idle power included.{study.stamp}",
        _RUN_HEADINGS,
        tuple(_build_row(study, run) for run in study.runs),
        (0, 1, 2, 3, 8),
        RUNS_TABLE,
        tuple(run.run_id for run in study.runs),
    )
    return Section("runs", "All runs", (table,), Place.FOLDED, summary)


def _build_row(study: ReportStudy, run: Run) -> tuple[str, ...]:
    row, error = run.row, study.evidence[run].error
    is_read = row["primary_status"] not in {None, "absent"}
    return (
        run.run_id,
        str(row["status"]) + (", synthetic" if row["synthetic"] else ""),
        str(row["quality"]),
        f"{error.kind}: {error.message}" if error else NONE,
        human_share(row["accuracy"]),
        format_range((row["accuracy_ci_low"], row["accuracy_ci_high"])),
        human_share(row["accuracy_leakage_free"]),
        human_energy(row["primary_energy_train_j"]),
        f"{str(row['primary_domain']).upper()}, {row['primary_status']}" if is_read else "absent",
        human_duration(row["time_train_s"]),
        f"{row['epochs_run']} of {row['epochs_planned']}",
    )


def build_reproduce(study: ReportStudy) -> Section:
    """How to reproduce the study and what that costs; how to cite program, data and methods."""
    commands = Listing("In a clone of the repository:", "\n".join(_iterate_commands(study)))
    words = [
        "The same seeds give nearly the same accuracies, and on the same machine nearly the same "
        "joules; the order of sums on several threads is not fixed."
    ]
    if _needs_data(study):
        words.append("FOLDER is where the images lie; the README says how to get them.")
    effort = _build_effort(study)
    parts: list[Part] = [
        *effort,
        commands,
        " ".join(words),
        f"Name these results by their digest: study {study.name}, sha256 of runs.csv "
        f"{results_sha256(study)}.",
        Listing("BibTeX of the program, the images and the methods:", references()),
    ]
    lines = count_of(commands.text.count("\n") + 1, "command")
    cost = f", {effort[0].text.partition(' took ')[2].rstrip('.')}" if effort else ""
    return Section("reproduce", "Reproduce, cite", tuple(parts), Place.FOLDED, f"{lines}{cost}")


def _needs_data(study: ReportStudy) -> bool:
    return any(run.spec.dataset_id and not run.row["synthetic"] for run in study.runs)


def _build_effort(study: ReportStudy) -> tuple[Statement, ...]:
    times_s = [cost_s for run in study.done if (cost_s := study.evidence[run].cost.time_s)]
    if not times_s:
        return ()
    text = f"The {count_of(len(times_s), 'finished run')} took {human_duration(sum(times_s))}."
    values = {"done": len(times_s), "time_s": sum(times_s)}
    return (Statement("effort", text, RUNS_TABLE, "", values),)


def _iterate_commands(study: ReportStudy) -> Iterator[str]:
    commits = filter(_COMMIT.fullmatch, sorted({str(run.row["git_commit"]) for run in study.runs}))
    checkout = [f"git checkout {commit} && " for commit in commits][-1:]
    yield f"{''.join(checkout)}make setup"
    data = " --data FOLDER" if _needs_data(study) else ""
    name = shlex.quote(study.name)
    if study.plan:
        yield f"wbcbench sweep results/{name}/plan.json --results again{data}"
    else:
        shown = [run.spec for run in study.runs if run.spec.variant in VARIANTS][:_MOST_RUNS]
        for spec in shown:
            words = " ".join((shlex.quote(spec.variant), *_iterate_options(spec)))
            yield f"wbcbench run --variant {words} --study {name} --results again{data}"
        if left := len(study.runs) - len(shown):
            yield f"# … and {left} more, as their spec.json says"
    yield f"wbcbench report {name} --results again"


def _iterate_options(spec: RunSpec) -> Iterator[str]:
    """The settings that differ from the defaults."""
    for field in fields(RunSpec):
        value = getattr(spec, field.name)
        if field.name.startswith(_NO_OPTION) or value == field.default:
            continue
        option = option_name(field.name)
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
        else:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            yield f"{option} {shlex.quote(text)}"


def references() -> str:
    """The references as BibTeX."""
    path = resources.files("wbcbench.report") / _REFERENCES
    return path.read_text(encoding="utf-8").strip()
