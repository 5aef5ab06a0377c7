"""Every kind of file that a user can hand in, and the commands that read it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builders.bundle import StudyDesign, bundle_study
from builders.evidence import VALIDATED_EPOCHS, VALIDATED_WINDOWS, counter, power
from builders.folder import Timed, messages, write_messages, write_traces
from builders.run import make_spec
from data_folders import write_folder, write_table
from fuzz.wall_logs import write_logs
from wbcbench.bundle.document import Author
from wbcbench.bundle.write import Order, submit
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.study.statement import format_template

STUDY, OTHER = "study", "other"
TWO = ("leaky-dropout", "relu-batchnorm")
ROOT = Path(__file__).resolve().parents[2]

EXPERIMENT = """\
about = "Does batch normalisation cost energy?"
seeds = [1001, 1002, 1003]

[run]
epochs = 3
batch_size = 64
dataset_id = "synthetic"

[factors]
variant = ["relu-dropout", "leaky-batchnorm"]

[analysis]
baseline = "relu-dropout"
metrics = ["energy_gpu_train_j", "test_balanced_accuracy"]
"""
SETTINGS = """\
results = "results"
study = "study"
country = "DEU"
"""

Words = tuple[str, ...]


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    Attributes:
        make: Writes a world around such files into an empty folder.
        patterns: Globs, in that folder, of the files that are spoiled.
        commands: Chooses a command that reads the file: the folder, the file, a generator.
        weight: How often it is chosen, beside the others.
        survivor: A command that must end well whatever became of the file; ``None``: none need.
    """

    make: Callable[[Path], object]
    patterns: Sequence[str]
    commands: Callable[[Path, Path, random.Random], Words]
    weight: int = 2
    survivor: Words | None = None


def _write_study(folder: Path) -> None:
    for number, name in enumerate((STUDY, OTHER), start=1):
        design = StudyDesign(study=name, blocks=2, variants=TWO, epochs=2, seed=number)
        bundle_study(folder / "results", design)


def _write_example(folder: Path) -> None:
    shutil.copytree(ROOT / "results" / "example", folder / "results" / "example")
    (run,) = study_runs(folder / "results", "example")
    write_logs(folder, json.loads(run.record_path.read_bytes()))


def _write_attached(folder: Path) -> None:
    from fuzz.commands import say

    _write_example(folder)
    (run,) = study_runs(folder / "results", "example")
    done = say(["attach", run.run_id, "--wall-meter", "plain.csv"], folder)
    assert done.code == 0, done.err


def _write_unfinished(folder: Path) -> None:
    """A finished run, and one that was killed and has no record."""
    _write_study(folder)
    spec = make_spec(study=STUDY, epochs=2, seed=77)
    run = RunDir(folder / "results" / STUDY / spec.run_id)
    run.create(spec, Local())
    traces = (counter(), power())
    run.write_channels([trace.channel for trace in traces])
    write_traces(run, traces)
    gone = replace(run.read_state().submitter, start_ticks=1)
    run.write_state(replace(run.read_state(), submitter=gone, runner=gone))
    timed: list[Timed] = list(messages(VALIDATED_WINDOWS, VALIDATED_EPOCHS))
    write_messages(run, timed)


def _write_bundle(folder: Path) -> None:
    _write_study(folder / "made")
    for name, as_zip in (("bag", False), ("bag.zip", True)):
        submit(
            Order(
                folder / "made" / "results",
                STUDY,
                (Author("Alice Doe"),),
                "MIT",
                out=folder / name,
                as_zip=as_zip,
                formats=("md", "csv"),
            )
        )
    shutil.rmtree(folder / "made")


def _write_documents(folder: Path) -> None:
    _write_study(folder)
    (folder / "e.toml").write_text(EXPERIMENT)
    shutil.copy(ROOT / "experiments" / "claims.toml", folder / "claims.toml")
    said = format_template().replace('= ""', '= "MIT"')
    (folder / "statement.toml").write_text(said)
    (folder / "wbcbench.toml").write_text(SETTINGS)
    text = "".join(f"{line}\n" for line in SETTINGS.splitlines())
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\n\n[tool.wbcbench]\n{text}')


def _write_images(folder: Path) -> None:
    cells = write_folder(folder / "cells", per_class=2)
    names = [str(p.relative_to(cells)) for p in sorted(cells.rglob("*.jpeg"))]
    write_table(cells, {name: (i, i // 2, False) for i, name in enumerate(names)})


def _choose_reading(folder: Path, path: Path, rng: random.Random) -> Words:
    """A command that reads studies; with the edited file's run, where it is of one."""
    inside = path.relative_to(folder / "results").parts
    run = inside[1] if len(inside) > 2 else ""
    study = inside[0]
    choices: list[Words] = [
        ("list", "--json"),
        ("list", study),
        ("compare", study, "--json"),
        ("export", study, "--format", "json"),
        ("report", study, "--format", "md,csv", "--out", "reports"),
        ("merge", study, "--into", "merged"),
        ("claims", study, "--json"),
        (
            "submit",
            study,
            "--author",
            "A B",
            "--licence",
            "MIT",
            "--no-verify",
            "--out",
            "bag",
        ),
    ]
    if run:
        choices += [
            ("show", run, "--json"),
            ("show", run),
            ("explain", run, "energy_gpu_train_j", "--json"),
            ("finalise", run, "--force"),
        ]
    return rng.choice(choices)


def _choose_verify(folder: Path, path: Path, rng: random.Random) -> Words:
    target = "bag.zip" if path.name == "bag.zip" else "bag"
    into = ("reproduce", target, "--into", "again")
    return rng.choice((("verify", target, "--json"), ("verify", target), into))


def _choose_document(folder: Path, path: Path, rng: random.Random) -> Words:
    by_name: dict[str, list[Words]] = {
        "e.toml": [("plan", "e.toml", "--json"), ("plan", "e.toml", "--set", "epochs=2")],
        "claims.toml": [("claims", STUDY, "--claims", "claims.toml", "--json")],
        "statement.toml": [
            ("submit", STUDY, "--statement", "statement.toml", "--no-verify", "--out", "bag")
        ],
    }
    return rng.choice(by_name.get(path.name, [("list", "--json"), ("config", "show")]))


RUN_FILES = (
    "spec.json", "state.json", "local.json", "began.json", "channels.json", "marks.jsonl",
    "traces.parquet", "telemetry/*.csv", "predictions.parquet", "epochs.csv",
)  # fmt: skip
KILLED_FILES = (
    "spec.json", "state.json", "local.json", "channels.json", "marks.jsonl", "trace/*.csv",
)  # fmt: skip
LIST_ALL = ("list", "--json")


def _choose_attach(folder: Path, path: Path, rng: random.Random) -> Words:
    how = rng.choice(((), ("--dry-run",), ("--dry-run",)))
    return ("attach", "leaky", "--wall-meter", path.name, "--json", *how)


def _choose_finalise(folder: Path, path: Path, rng: random.Random) -> Words:
    run = path.relative_to(folder / "results").parts[1]
    return ("finalise", run, "--force")


def _choose_check(folder: Path, path: Path, rng: random.Random) -> Words:
    return rng.choice((("data", "check", "cells", "--json"), ("data", "check", "cells")))


KINDS: dict[str, FileKind] = {
    "wall log": FileKind(
        _write_example,
        ("*.csv", "*.txt", "*.jsonl", "*.tsv"),
        _choose_attach,
        weight=5,
        survivor=LIST_ALL,
    ),
    "record": FileKind(
        _write_study,
        (f"results/{STUDY}/*/record.json",),
        _choose_reading,
        weight=6,
        survivor=LIST_ALL,
    ),
    "other file of a run": FileKind(
        _write_study,
        tuple(f"results/{STUDY}/*/{name}" for name in RUN_FILES),
        _choose_reading,
        weight=6,
        survivor=LIST_ALL,
    ),
    "file of a study": FileKind(
        _write_study,
        (f"results/{STUDY}/runs.csv", f"results/{STUDY}/plan.json"),
        _choose_reading,
        weight=3,
        survivor=LIST_ALL,
    ),
    "attachment": FileKind(
        _write_attached,
        ("results/example/*/attached.json", "results/example/*/attached.parquet"),
        _choose_reading,
        survivor=LIST_ALL,
    ),
    "run that was killed": FileKind(
        _write_unfinished,
        tuple(f"results/{STUDY}/*-s77-*/{name}" for name in KILLED_FILES),
        _choose_finalise,
        weight=3,
        survivor=LIST_ALL,
    ),
    "document": FileKind(
        _write_documents,
        ("e.toml", "claims.toml", "statement.toml", "wbcbench.toml", "pyproject.toml"),
        _choose_document,
        weight=4,
    ),
    "images": FileKind(
        _write_images,
        ("cells/*/*/*.jpeg", "cells/*.csv"),
        _choose_check,
        weight=3,
    ),
    "bundle": FileKind(
        _write_bundle, ("bag.zip", "bag/*", "bag/data/**/*"), _choose_verify, weight=4
    ),
}
