"""Evidence edited so that everything made from it agrees, and what of the evidence then does not.

Each edit changes the files that stand beneath (`began.json`, plan, log, source) and the record
alike, as a forger does who lets the program make the rest again.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from builders.bundle import StudyDesign, bundle_study
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify import Outcome, Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.code import check_code
from wbcbench.bundle.verify.files import check_required
from wbcbench.bundle.verify.history import check_history
from wbcbench.bundle.verify.identity import check_identity
from wbcbench.bundle.verify.records import check_rows
from wbcbench.bundle.write import Order, submit
from wbcbench.core import run_folder
from wbcbench.core.provenance import program_sha256, run_git, source_root
from wbcbench.core.record import RECORD_SCHEMA
from wbcbench.core.run_folder import RunDir
from wbcbench.study import plan as plans

pytestmark = pytest.mark.usefixtures("sketches")

INTEL, EPYC = "Intel(R) Xeon(R) Platinum 8488C", "AMD EPYC 9654 96-Core Processor"
A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
PROGRAM = PurePosixPath("harness/wbcbench")

Document = dict[str, Any]
Edit = Callable[["Study"], None]


class Study:
    """The study in a bundle whose files are edited."""

    def __init__(self, payload: Path) -> None:
        self.payload = payload
        self.folder = payload / layout.study_dir("study")
        paths = (path.parent for path in self.folder.glob("*/spec.json"))
        runs = [RunDir(path) for path in paths]
        self.runs = sorted(runs, key=lambda run: run.read_own_record().started_utc)

    def edit(self, place: int, change: Callable[[Document], Any]) -> None:
        """Change what stands of a run both before it and in its record."""
        for name in (run_folder.BEGAN, run_folder.RECORD):
            self._edit_json(self.runs[place].path / name, change)

    def edit_record(self, place: int, change: Callable[[Document], Any]) -> None:
        """Change what stands in the record alone, or in messages that no check here reads."""
        self._edit_json(self.runs[place].path / run_folder.RECORD, change)

    def edit_all(self, change: Callable[[Document], Any]) -> None:
        for place in range(len(self.runs)):
            self.edit(place, change)

    def edit_plan(self, change: Callable[[plans.Plan], plans.Plan]) -> None:
        """Store a changed plan under its new digest."""
        path = self.folder / layout.PLAN
        date = json.loads(path.read_text())["stored_utc"]
        path.write_bytes(plans.to_json(change(plans.from_json(path)), date))

    def _edit_json(self, path: Path, change: Callable[[Document], Any]) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))


def extract_program(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(archive) as files:
        for member in files:
            inside = PurePosixPath(member.name)
            if not member.isdir() and inside.is_relative_to(PROGRAM):
                yield inside.relative_to(PROGRAM), files.extractfile(member).read()


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("identity")
    root = source_root()
    commit = run_git(root, "rev-parse", "HEAD") if root and (root / ".git").exists() else None
    facts: Document = {"cpu_model": INTEL, "cpu_count": 2}
    if commit is not None:
        archive = room / "source.tar"
        archive.write_bytes(run_git(root, "archive", commit.decode().strip()))
        files = sorted(extract_program(archive))
        lines = "\n".join(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in files)
        facts["program_sha256"] = hashlib.sha256(lines.encode()).hexdigest()
        facts |= {"git_commit": commit.decode().strip(), "git_dirty": False}
    variants = ("leaky-dropout", "relu-batchnorm", "relu-dropout")
    design = StudyDesign(blocks=2, variants=variants, epochs=2, facts=facts)
    study = bundle_study(room / "results", design)
    order = Order(
        study.parent, study.name, (Author("Ada"),), "MIT", out=room / "bag", formats=("html", "md")
    )
    return submit(order).path


@pytest.fixture
def study(submitted: Path, tmp_path: Path) -> Study:
    shutil.copytree(submitted, tmp_path / "bag")
    return Study(tmp_path / "bag" / layout.PAYLOAD)


def check(study: Study, check_bundle: Callable[..., Outcome]) -> Outcome:
    return check_bundle(load_bundle(study.payload.parent))


def move_start(months: int, *names: str) -> Callable[[Document], None]:
    """Move the start of a run, and the moment at which its clocks were read."""

    def move(document: Document) -> None:
        year, month, rest = document["started_utc"].split("-", 2)
        document["started_utc"] = f"{year}-{int(month) + months:02d}-{rest}"
        if "clock_pair" in names:
            document["provenance"]["clock_pair"]["utc_s"] += months * 30.5 * 86_400

    return move


def compress_windows(document: Document) -> None:
    """Let a run take a quarter of its time."""
    start_s = document["provenance"]["clock_pair"]["monotonic_s"]
    for window in document.get("windows", []):
        for name in ("start_s", "end_s"):
            window[name] = start_s + 0.25 * (window[name] - start_s)


def date_log(study: Study, line: str) -> None:
    study.runs[0].log_path.write_text(f"Reading\n{line}\n")


def remove_run(study: Study) -> None:
    shutil.rmtree(study.runs[2].path)


def drop_variant(plan: plans.Plan) -> plans.Plan:
    kept = [run for run in plan.runs if run.variant != "leaky-dropout"]
    places = dict.fromkeys(range(1, plan.most_blocks + 1), 0)
    runs = []
    for number, run in enumerate(kept, 1):
        places[run.block] += 1
        runs.append(replace(run, order_global=number, order_in_block=places[run.block]))
    return replace(plan, runs=tuple(runs), order_seed=plan.order_seed)


def exchange_in_last_block(plan: plans.Plan) -> plans.Plan:
    *others, one, two = plan.runs
    variants = {"variant": two.variant}, {"variant": one.variant}
    return replace(plan, runs=(*others, replace(one, **variants[0]), replace(two, **variants[1])))


def shorten_block(plan: plans.Plan) -> plans.Plan:
    return replace(
        plan, runs=tuple(replace(run, epochs=1) if run.block == 2 else run for run in plan.runs)
    )


def give_one_seed(plan: plans.Plan) -> plans.Plan:
    return replace(plan, runs=tuple(replace(run, seed=7) for run in plan.runs))


PAST: dict[str, tuple[Edit, str]] = {
    "start moved by months": (lambda s: s.edit(1, move_start(-2)), "but its clock stood at"),
    "start and clock moved back": (
        lambda s: s.edit(1, move_start(-2, "clock_pair")),
        "by the clock of their machine, but is dated",
    ),
    "start and clock moved ahead": (
        lambda s: s.edit(0, move_start(2, "clock_pair")),
        "by the clock of their machine, but is dated",
    ),
    "end moved before the end": (
        lambda s: s.edit_record(0, lambda d: d.update(ended_utc="2026-01-02T00:00:00Z")),
        "but by its clock",
    ),
    "clock of another boot": (
        lambda s: s.edit(0, lambda d: d["provenance"]["clock_pair"].update(monotonic_s=9e6)),
        "windows do not begin where its clock was read",
    ),
    "run compressed in time": (lambda s: s.edit(0, compress_windows), "s of 2 processors in"),
    "run dated after its log": (
        lambda s: date_log(s, "I0000 00:00:1700000000.675429   20855 port.cc:153] oneDNN"),
        "but its log 2023-11-14",
    ),
    "run dated before its log": (
        lambda s: date_log(s, "2026-08-01 10:00:00.123456: I tensorflow/core/x.cc:1] note"),
        "but its log 2026-08-01",
    ),
    "run removed": (remove_run, "which is missing"),
    "run said to follow a later one": (
        lambda s: s.edit(0, lambda d: d["provenance"].update(after_run=s.runs[5].run_id)),
        "which began later",
    ),
    "variant dropped with its plan": (lambda s: s.edit_plan(drop_variant), "order is not the one"),
    "order of the plan edited": (lambda s: s.edit_plan(exchange_in_last_block), "is not the one"),
    "settings of a block edited": (lambda s: s.edit_plan(shorten_block), "other settings than"),
    "seeds of the plan made one": (lambda s: s.edit_plan(give_one_seed), "one seed each"),
}


@pytest.mark.parametrize("kind", PAST)
def test_a_history_that_no_machine_has_is_found(study: Study, kind: str) -> None:
    edit, words = PAST[kind]
    edit(study)
    outcome = check(study, check_history)
    assert outcome.status is Status.ERROR and words in outcome.detail


def name_board(driver: str, tensorflow: str) -> Callable[[Document], None]:
    def name(document: Document) -> None:
        document["meters"]["nvml/gpu0"].update(name=driver, architecture="Ampere")
        if document.get("model"):
            document["model"]["device"] = f"GPU:0 {tensorflow}"

    return name


def name_processor(name: str) -> Callable[[Document], None]:
    return lambda document: document["meters"]["codecarbon"].update(cpu_model=name)


def give_digest(study: Study, field: str) -> None:
    """Let a run of the second block have a digest of the first block's."""
    digest = study.runs[0].read_own_record().model
    study.edit_record(3, lambda d: d["model"].update({field: getattr(digest, field)}))


def move_country(study: Study) -> None:
    study.edit_record(0, lambda d: d["spec"].update(country="NOR"))


def rename_split(study: Study) -> None:
    """Let every run have held photographs out."""
    for place in range(len(study.runs)):
        study.edit_record(place, lambda d: d["spec"].update(validation="by-photograph"))


def miss_codecarbon(document: Document) -> None:
    reason = "CodeCarbon is not installed. Install it, or leave the codecarbon meter out."
    document["absent"].append({"meter": "codecarbon", "reason": reason, "domain": None})


NAMES: dict[str, tuple[Edit, str]] = {
    "processor renamed": (
        lambda s: s.edit_all(name_processor(EPYC)),
        f"the system names the processor {INTEL}, CodeCarbon {EPYC}",
    ),
    "processor of one run renamed": (
        lambda s: s.edit(1, lambda d: d["provenance"].update(cpu_model=EPYC)),
        "names the processor",
    ),
    "board renamed": (
        lambda s: s.edit_all(name_board(H100, A100)),
        f"the driver names the board {H100}, TensorFlow {A100}",
    ),
    "board renamed everywhere": (
        lambda s: s.edit_all(name_board(H100, H100)),
        f"the driver names the board {H100}, which is no Ampere",
    ),
    "board of one run renamed": (lambda s: s.edit(1, name_board(H100, H100)), "names the board"),
    "device renamed": (
        lambda s: s.edit_record(0, lambda d: d["model"].update(device="CPU:0")),
        "TensorFlow ran on CPU:0, but on the board 0000:01:00.0",
    ),
    "meter said to be absent": (
        lambda s: s.edit(0, miss_codecarbon),
        "CodeCarbon 3.3.2 was installed, but its meter is absent as not installed",
    ),
    "split renamed": (rename_split, "but the last validation scored TEST"),
    "country changed": (move_country, "its country is NOR, that of CodeCarbon DEU"),
    "version changed": (
        lambda s: s.edit(0, lambda d: d["provenance"]["packages"].update(tensorflow="2.19.0")),
        "tensorflow 2.19.0 was installed, but 2.21.0 loaded",
    ),
    "weights of another seed": (
        lambda s: give_digest(s, "first_weights_sha256"),
        "have two seeds, but one first weights",
    ),
    "order of another seed": (
        lambda s: give_digest(s, "image_order_sha256"),
        "have two seeds, but one order of images",
    ),
    "weights of one run changed": (
        lambda s: s.edit_record(1, lambda d: d["model"].update(image_order_sha256="ab" * 32)),
        "have one seed, but not one order of images",
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_and_networks_that_contradict_each_other_are_found(study: Study, kind: str) -> None:
    edit, words = NAMES[kind]
    edit(study)
    outcome = check(study, check_identity)
    assert outcome.status is Status.ERROR and words in outcome.detail


def test_honest_names_dates_and_logs_are_no_contradiction(study: Study) -> None:
    def be_real(document: Document) -> None:
        name_board(A100, f"{A100} MIG 3g.40gb")(document)
        name_processor(f" {INTEL} ")(document)
        document["meters"]["codecarbon"].update(gpu_model=f"1 x {A100}", gpu_ids=[0])
        document["provenance"]["packages"]["tensorflow"] = "2.21.0+nv26.1"

    study.edit_all(be_real)
    began_s = study.runs[0].read_own_record().provenance["clock_pair"]["utc_s"]
    date_log(study, f"I0000 00:00:{began_s + 9:.6f}   20855 port.cc:153] oneDNN")
    for each in (check_history, check_identity):
        outcome = check(study, each)
        assert outcome.status is Status.OK, outcome.detail


def test_runs_of_two_machines_and_boots_and_older_runs_contradict_nothing(study: Study) -> None:
    def restart(document: Document) -> None:
        document["provenance"].update(boot_id="later", cpu_model=EPYC)

    def age(document: Document) -> None:
        for name in ("boot_id", "after_run", "program_sha256", "clock_pair", "git_commit"):
            document["provenance"].pop(name)
        if document.get("model"):
            document["model"].update(first_weights_sha256=None, image_order_sha256=None)

    for place in (3, 4):
        study.edit(place, restart)
    study.edit(5, age)
    for each in (check_history, check_identity, check_code):
        outcome = check(study, each)
        assert outcome.status is Status.OK, outcome.detail


def test_a_board_without_a_log_is_a_warning(study: Study) -> None:
    for path in study.runs[0].path.glob("telemetry/GPU-*.csv"):
        path.unlink()
    outcome = check(study, check_required)
    assert outcome.status is Status.WARNING and "has no log of its board" in outcome.detail


def test_a_run_that_was_removed_from_single_runs_is_a_warning(study: Study) -> None:
    (study.folder / layout.PLAN).unlink()
    remove_run(study)
    outcome = check(study, check_history)
    assert outcome.status is Status.WARNING and "which is missing" in outcome.detail


def test_a_clock_that_was_set_during_a_run_is_a_warning(study: Study) -> None:
    ended_utc = study.runs[0].read_own_record().ended_utc
    later = ended_utc.replace("T09", "T11")
    study.edit_record(0, lambda d: d.update(ended_utc=later))
    outcome = check(study, check_history)
    assert outcome.status is Status.WARNING and "differ by 7,2" in outcome.detail


def edit_last_message(study: Study, change: Callable[[list[Document]], Any]) -> None:
    path = study.runs[0].marks_path
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    change(messages)
    path.write_text("".join(json.dumps(message) + "\n" for message in messages))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m[-1]["recorder"].update(shared=True), "warnings"),
        (lambda m: m[-1]["recorder"].update(trainer_cpu_s=1.0), "trainer_cpu_s"),
        (lambda m: m.pop(), "the recorder's last message is missing"),
    ],
    ids=["warning removed", "processor seconds edited", "message removed"],
)
def test_what_the_recorder_said_at_the_end_must_be_what_the_record_states(study, change, words):
    edit_last_message(study, change)
    outcome = check(study, check_rows)
    assert outcome.status is Status.ERROR and words in outcome.detail


def edit_archive(study: Study, name: str) -> None:
    """Write the archive again with one file changed; it keeps its commit."""
    path = study.payload / layout.SOURCE
    with tarfile.open(path) as old:
        members = [(member, old.extractfile(member)) for member in old]
        contents = [(member, file.read() if file else b"") for member, file in members]
        headers = old.pax_headers
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as new:
        for member, data in contents:
            changed = data + b"#" if member.name == name else data
            member.size = len(changed) if member.isreg() else 0
            new.addfile(member, io.BytesIO(changed) if member.isreg() else None)


def replace_commit(study: Study) -> None:
    def commit(document: Document) -> None:
        document["provenance"]["git_commit"] = "f" * 40

    study.edit_all(commit)
    for name in (layout.GIT, layout.SUBMISSION):
        path = study.payload / name
        text = path.read_text()
        old = json.loads((study.payload / layout.GIT).read_text())["commits"][0]
        path.write_text(text.replace(old, "f" * 40) if name == layout.SUBMISSION else text)


def drop_evidence(study: Study) -> None:
    def drop(document: Document) -> None:
        document["provenance"].pop("program_sha256")
        document.update({"schema": "2.1"} if "schema" in document else {})

    study.edit_all(drop)


SOURCES: dict[str, tuple[Edit, str]] = {
    "archive emptied": (
        lambda s: (s.payload / layout.SOURCE).write_bytes(b""),
        "cannot be read",
    ),
    "a file of the archive edited": (
        lambda s: edit_archive(s, "harness/wbcbench/energy/integrate.py"),
        "gives another program than the runs",
    ),
    "commit replaced": (replace_commit, "is of the commit"),
    "runs of another program": (
        lambda s: s.edit_all(lambda d: d["provenance"].update(program_sha256="cd" * 32)),
        "gives another program than the runs",
    ),
    "one run of another program": (
        lambda s: s.edit(0, lambda d: d["provenance"].update(program_sha256="cd" * 32)),
        "had several programs",
    ),
    "evidence dropped as in older records": (
        drop_evidence,
        f"is of version {RECORD_SCHEMA} (core/record.py)",
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_source_that_is_not_that_of_the_runs_is_found(study: Study, kind: str) -> None:
    if not (study.payload / layout.SOURCE).is_file():
        pytest.skip("there is no git checkout here")
    assert check(study, check_code).status is Status.OK
    edit, words = SOURCES[kind]
    edit(study)
    outcome = check(study, check_code)
    assert outcome.status is Status.ERROR and words in outcome.detail


def test_runs_with_uncommitted_changes_need_not_have_the_program_of_their_commit(study: Study):
    study.edit_all(lambda d: d["provenance"].update(git_dirty=True, program_sha256="cd" * 32))
    assert check(study, check_code).status is Status.OK


def test_a_clean_checkout_states_the_program_that_an_archive_of_its_commit_gives(tmp_path: Path):
    root = source_root()
    if root is None or run_git(root, "status", "--porcelain", "--", "harness") != b"":
        pytest.skip("there is no checkout here, or it has changes")
    archive = tmp_path / "source.tar"
    archive.write_bytes(run_git(root, "archive", "HEAD"))
    lines = [f"{n} {hashlib.sha256(d).hexdigest()}" for n, d in sorted(extract_program(archive))]
    assert program_sha256() == hashlib.sha256("\n".join(lines).encode()).hexdigest()
