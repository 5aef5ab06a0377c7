"""A study as a bundle: complete, the same each time, readable as a study, without private data."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pyarrow.parquet as pq
import pytest
import typer
from rocrate.rocrate import ROCrate
from typer.testing import CliRunner

from builders.bundle import HOME, HOST, SERIAL, StudyDesign, bundle_study
from builders.machine import GPU, SYNTHETIC_CHANNELS
from builders.run import make_record, make_spec, save
from program import start, wbcbench
from wbcbench import table
from wbcbench.bundle import document, layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.open import read_predictions
from wbcbench.bundle.verify import report_not_checked, report_outcome
from wbcbench.bundle.verify.inspect import Inspection
from wbcbench.bundle.write import Order, Written, format_lines, submit
from wbcbench.commands.submit import submit as submit_command
from wbcbench.compare.analysis import compare
from wbcbench.compare.result import format_contrasts_csv
from wbcbench.core.errors import UsageError, VerificationError, WbcbenchError
from wbcbench.core.provenance import source_root
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.study_folder import PLAN
from wbcbench.core.units import kwh_from_j
from wbcbench.energy.metrics import intensity
from wbcbench.report.publish import ALL_FORMATS
from wbcbench.study import plan
from wbcbench.study.plan import choose_settings
from wbcbench.study.statement import SubmissionDetails as Planned
from wbcbench.table.view import read_study

pytestmark = pytest.mark.usefixtures("sketches")

TEXT = ("md",)
ADA = Author("Ada Lovelace", "0000-0002-1825-0097")
RUN_FILES = (
    "spec.json", "record.json", "began.json", "channels.json", "marks.jsonl", "phases.csv",
)  # fmt: skip
SMALL = StudyDesign(blocks=2, variants=("leaky-dropout", "relu-dropout"), epochs=2)


def order(results: Path, out: Path, **fields: object) -> Order:
    made = Order(results, "study", (ADA,), "MIT", out=out, formats=TEXT)
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks, the second of them repeated after a failed run."""
    results = tmp_path_factory.mktemp("made") / "results"
    return bundle_study(results, replace(SMALL, again=(2,)))


@pytest.fixture(scope="module")
def written(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    out = tmp_path_factory.mktemp("out") / "bundle"
    return submit(order(study.parent, out, formats=ALL_FORMATS))


@pytest.fixture(scope="module")
def payload(written: Written) -> Path:
    return written.path / layout.PAYLOAD


def load_document(payload: Path) -> document.Submission:
    path = payload / layout.SUBMISSION
    return document.from_json(path.read_bytes(), str(path))


def runs_of(payload: Path) -> list[RunDir]:
    return study_runs(payload / "results", "study")


# --- the bag -----------------------------------------------------------------------------------


def test_every_file_that_a_bundle_must_have_is_there(payload):
    assert not [name for name in layout.required_files("study") if not (payload / name).is_file()]
    for run in runs_of(payload):
        assert not [name for name in RUN_FILES if not (run.path / name).is_file()]


def test_the_same_study_makes_the_same_bytes(study, written, payload, tmp_path):
    again = submit(order(study.parent, tmp_path / "again", formats=ALL_FORMATS)).path
    files = [path.relative_to(written.path) for path in written.path.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert not [f for f in files if (again / f).read_bytes() != (written.path / f).read_bytes()]


def test_a_zip_is_the_same_bytes_whatever_it_is_called_and_when(study, tmp_path):
    first, second = (
        submit(order(study.parent, tmp_path / name, as_zip=True)).path
        for name in ("a.zip", "b.zip")
    )
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        entries = archive.infolist()
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.create_system for entry in entries} == {3}
        assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
        assert [entry.filename for entry in entries] == sorted(archive.namelist())
        assert len({name.split("/")[0] for name in archive.namelist()}) == 1


def test_nothing_in_a_bundle_is_newer_than_its_results(payload):
    assert load_document(payload).created_utc == max(
        run.read_record().ended_utc for run in runs_of(payload)
    )


# --- the study in it ---------------------------------------------------------------------------


def test_the_program_reads_a_bundle_as_it_reads_a_study(study, payload):
    inside = payload / layout.study_dir("study")
    differ = {"gpu_uuid_hash"}  # the board's identity is redacted
    for ours, theirs in zip(
        table.rows(table.load_records(study)), table.rows(table.load_records(inside)), strict=True
    ):
        assert {k: v for k, v in ours.items() if k not in differ} == {
            k: v for k, v in theirs.items() if k not in differ
        }
    found = compare(read_study(inside).runs, choose_settings([inside], {}), ["study"], 0)
    assert (inside / layout.CONTRASTS).read_text() == format_contrasts_csv(found)


def test_specs_plans_traces_and_predictions_are_copied_byte_by_byte(study, payload):
    inside = payload / layout.study_dir("study")
    assert (inside / "plan.json").read_bytes() == (study / "plan.json").read_bytes()
    for run in study_runs(study.parent, "study"):
        for name in ("spec.json", "epochs.csv", "predictions.parquet", "traces.parquet"):
            copied = inside / run.run_id / name
            if (run.path / name).exists():
                assert copied.read_bytes() == (run.path / name).read_bytes()
        assert not (inside / run.run_id / "local.json").exists()


def test_the_document_counts_what_was_done_and_what_was_wasted(payload):
    made = load_document(payload)
    assert (made.n_runs.planned, made.n_runs.done, made.n_runs.failed) == (4, 5, 1)
    assert made.energy_total_j.wasted["measured"] > 0
    assert made.energy_total_j.study["measured"] > 5 * made.energy_total_j.wasted["measured"]
    assert made.design.planned
    assert made.design.plan_saved_utc is not None
    assert made.design.plan_saved_utc < min(
        run.read_record().started_utc for run in runs_of(payload)
    )
    assert made.meter["primary"].status == "measured"
    assert made.meter["cpu"].status == "estimated"


def test_every_sentence_with_a_number_is_tied_to_a_row(payload):
    report = (payload / layout.report_dir("study") / layout.REPORT_PAGE).read_text()
    claims = load_document(payload).claims
    assert {claim.source for claim in claims} >= {"runs.csv", "summary.csv"}
    for claim in claims:
        assert claim.values
        assert f'id="claim-{claim.id}"' in report


def test_figures_have_the_numbers_behind_them_as_tables(payload):
    folder = payload / layout.report_dir("study")
    figures = {path.stem for path in (folder / layout.FIGURES).glob("*.svg")}
    assert figures
    assert figures <= {path.stem for path in (folder / layout.FIGURE_DATA).glob("*.csv")}


# --- documents ------------------------------------------------------------------------------------


def test_the_model_card_states_grams_a_thousand_times_the_kilograms(payload):
    front = (payload / layout.MODEL_CARD).read_text().split("---")[1]
    found = re.search(r"emissions: ([\d.e-]+)\n", front)
    assert found
    energy_j = load_document(payload).energy_total_j.study["measured"]
    grid = intensity("DEU")
    assert grid is not None
    emissions_kg = kwh_from_j(energy_j) * grid.g_per_kwh / 1000
    assert float(found[1]) == pytest.approx(emissions_kg * 1000, rel=1e-12)
    assert 'geographical_location: "Germany"' in front
    assert 'hardware_used: "Example GPU"' in front
    stated = re.search(r"\*\*([\d.]+) g CO2e\*\* \(([\d.e-]+) kg\)", _words(payload, layout.IMPACT))
    assert stated
    assert float(stated[1]) == pytest.approx(1000 * float(stated[2]), rel=1e-6)


def _words(payload: Path, name: str) -> str:
    return " ".join((payload / name).read_text().split())


def test_the_documents_say_what_is_measured_and_leave_to_the_author_what_is_his(payload):
    impact = _words(payload, layout.IMPACT)
    assert "GPU energy, measured (counter) on Example GPU" in impact
    assert "processor: estimated (codecarbon\\_tdp\\_load), in the records, not included here" in (
        impact.replace("codecarbon_tdp_load", "codecarbon\\_tdp\\_load")
    )
    assert "Embodied" in impact or "embodied" in impact
    checklist = _words(payload, layout.CHECKLIST)
    assert "**6** (5 done, 1 failed, 0 stopped early, 0 invalid; 4 planned)" in checklist
    assert "Assumptions stated: [author: assumptions]" in checklist
    assert "| Archived (DOI) | [author: doi] |" in _words(payload, layout.APPENDIX)
    for name in (layout.README, layout.APPENDIX):
        assert "--into again --run --data FOLDER_OF_THE_IMAGES" in _words(payload, name)
    readme = _words(payload, layout.README)
    assert "wbcbench verify" in readme
    assert "wbcbench reproduce" in readme


def test_without_a_country_there_is_a_range_of_emissions_and_no_mass(tmp_path):
    design = replace(SMALL, blocks=1, changes={"country": None})
    study = bundle_study(tmp_path / "results", design)
    payload = submit(order(study.parent, tmp_path / "bundle")).path / "data"
    impact, card = (_words(payload, name) for name in (layout.IMPACT, layout.MODEL_CARD))
    assert "No country was set" in impact
    assert "Over the grids of the table" in impact
    assert "**" not in impact.partition("No country was set")[2].partition("PUE")[0]
    assert "Germany" not in impact + card
    assert "emissions:" not in card
    assert "The emissions of the study are not stated here" in card


def test_estimated_joules_are_never_called_measured(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, gpu=False))
    payload = submit(order(study.parent, tmp_path / "bundle")).path / "data"
    impact = _words(payload, layout.IMPACT)
    assert "**estimated, not measured**" in impact
    assert "processor energy" in impact
    assert "from **estimated** joules" in _words(payload, layout.MODEL_CARD)
    assert load_document(payload).meter["gpu"].status == "absent"


def test_the_licence_is_written_out_and_the_citation_names_the_authors(payload):
    assert "Copyright (c) 2026 Ada Lovelace" in (payload / layout.LICENCE).read_text()
    citation = (payload / layout.CITATION).read_text()
    assert citation.startswith("cff-version: 1.2.0\n")
    assert 'orcid: "https://orcid.org/0000-0002-1825-0097"' in citation


# --- the crate ---------------------------------------------------------------------------------


def test_the_crate_tells_each_run_as_one_action(payload):
    crate = ROCrate(str(payload))
    root = crate.root_dataset
    assert root["conformsTo"].id == "https://w3id.org/ro/wfrun/process/0.5"
    actions = {action.id.removeprefix("#"): action for action in root["mentions"]}
    records = {run.run_id: run.read_record() for run in runs_of(payload)}
    assert actions.keys() == records.keys()
    for run_id, action in actions.items():
        record = records[run_id]
        assert action.type == "CreateAction"
        assert action["instrument"]["softwareVersion"] == "0.1.0"
        times = (record.started_utc, record.ended_utc)
        assert (action["startTime"], action["endTime"]) == tuple(
            time_utc.replace("Z", "+00:00") for time_utc in times
        )
        assert action["agent"]
        assert f"results/study/{run_id}/spec.json" in {each.id for each in action["object"]}
        assert f"results/study/{run_id}/record.json" in {each.id for each in action["result"]}
        failed = action["actionStatus"].endswith("FailedActionStatus")
        assert failed == (record.status != "done") == (action.get("error") is not None)


# --- redaction ---------------------------------------------------------------------------------


def test_a_bundle_says_nothing_of_persons_and_machines(written, payload):
    private = [HOME, HOST, SERIAL, GPU, "alice", str(Path.home())]
    for path in written.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [word for word in private if word != "/root" and word.encode() in data]
            assert GPU not in path.name
    assert written.submission.redaction.counts == {
        "GPU UUID": 1,
        "host name": 1,
        "path": 2,
        "serial number": 1,
        "user name": 1,
    }


def test_a_board_keeps_one_name_throughout(payload):
    for run in runs_of(payload):
        record = run.read_record()
        boards = {channel.device for channel in record.channels if channel.device}
        (board,) = boards
        assert board.startswith("GPU-")
        assert {trace.channel.device for trace in run.read_traces()} - {None} == boards
        assert run.read_telemetry().keys() == boards
        assert {each.device for each in record.telemetry} <= boards
        assert record.meters["nvml/gpu0"]["uuid"] == board


def test_without_redaction_everything_stays(study, tmp_path):
    made = submit(order(study.parent, tmp_path / "bare", redact=False))
    text = (made.path / "data" / layout.HOST).read_text()
    assert GPU in text
    assert SERIAL in text
    assert not made.submission.redaction.applied


def test_words_of_a_parquet_file_are_redacted_too(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1))
    run = study_runs(study.parent, "study")[0]
    table_ = pq.read_table(run.predictions_path)
    named = [f"{HOME}/cells/{name}" for name in table_.column("file").to_pylist()]
    at = table_.schema.get_field_index("file")
    pq.write_table(table_.set_column(at, "file", [named]), run.predictions_path)
    payload = submit(order(study.parent, tmp_path / "bundle")).path / "data"
    again = pq.read_table(RunDir(payload / "results" / "study" / run.run_id).predictions_path)
    assert all(name.startswith("<path>/") for name in again.column("file").to_pylist())
    assert again.column("p_monocyte") == table_.column("p_monocyte")


def test_a_uuid_that_a_run_was_asked_for_stays_and_is_named(tmp_path):
    made = replace(SMALL, blocks=1, changes={"gpus": (GPU,)})
    study = bundle_study(tmp_path / "results", made)
    found = submit(order(study.parent, tmp_path / "bundle"))
    assert found.submission.redaction.retained == ("GPU UUID in spec.gpus",)
    for run in runs_of(found.path / "data"):
        assert run.read_spec().run_id == run.run_id


# --- images and code ---------------------------------------------------------------------------


def test_the_published_images_are_listed_whole_without_being_at_hand(tmp_path):
    made = replace(SMALL, blocks=1, published=True)
    study = bundle_study(tmp_path / "results", made)
    found = submit(order(study.parent, tmp_path / "bundle")).submission.dataset
    assert found is not None
    assert (found.listed_from, found.complete, found.n_images) == ("published table", True, 12444)
    copies = {run.run_id: run for run in runs_of(tmp_path / "bundle" / layout.PAYLOAD)}
    for run in study_runs(study.parent, "study"):
        whole, copy = pq.read_table(run.predictions_path), copies[run.run_id].predictions_path
        assert pq.read_table(copy).equals(whole.drop_columns(["image_sha256"]))
        assert read_predictions(copy).image_sha256 == whole["image_sha256"].to_pylist()
        assert copy.stat().st_size < 0.6 * run.predictions_path.stat().st_size


def test_short_predictions_away_from_their_list_say_what_they_lack(tmp_path):
    made = replace(SMALL, blocks=1, published=True)
    study = bundle_study(tmp_path / "results", made)
    written = submit(order(study.parent, tmp_path / "bundle"))
    run = runs_of(written.path / layout.PAYLOAD)[0]
    (written.path / layout.PAYLOAD / layout.IMAGES).unlink()
    with pytest.raises(VerificationError, match=r"leaves the digests .* data-manifest/files.csv"):
        read_predictions(run.predictions_path)


def test_a_study_taken_out_of_a_bundle_can_be_submitted_again(tmp_path):
    made = replace(SMALL, blocks=1, published=True)
    study = bundle_study(tmp_path / "results", made)
    first = submit(order(study.parent, tmp_path / "first"))
    copytree(first.path / layout.PAYLOAD / "results", tmp_path / "taken")
    again = submit(order(tmp_path / "taken", tmp_path / "again"))
    for path in (first.path / layout.PAYLOAD / "results").rglob("*.parquet"):
        assert (again.path / path.relative_to(first.path)).read_bytes() == path.read_bytes()


def test_images_of_another_set_are_those_that_were_tested(payload):
    found = load_document(payload).dataset
    assert found is not None
    assert (found.listed_from, found.complete, found.n_images) == ("predictions", False, 120)
    lines = (payload / layout.IMAGES).read_text().splitlines()
    assert lines[0] == ",".join(layout.IMAGE_COLUMNS)
    assert len(lines) == 121


@pytest.mark.skipif(
    source_root() is None or not (source_root() / ".git").exists(), reason="not a git checkout"
)
def test_the_source_of_the_commit_is_in_the_bundle(tmp_path):
    commit = subprocess.run(
        ["git", "-C", str(source_root()), "rev-parse", "HEAD"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    facts = {"git_commit": commit, "git_dirty": False}
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1, facts=facts))
    made = submit(order(study.parent, tmp_path / "bundle"))
    assert made.submission.git.source
    assert not made.submission.git.note
    listed = subprocess.run(
        ["tar", "-tf", str(made.path / "data" / layout.SOURCE)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "harness/wbcbench/bundle/layout.py" in listed or "harness/wbcbench/cli.py" in listed


def test_a_dirty_commit_without_its_changes_is_said_plainly(tmp_path):
    facts = {"git_commit": "0" * 40, "git_dirty": True}
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1, facts=facts))
    git = submit(order(study.parent, tmp_path / "bundle")).submission.git
    assert git.dirty
    assert not git.source
    assert "not available" in git.note
    assert "no longer available" in git.note


# --- what is refused ---------------------------------------------------------------------------


def test_a_synthetic_study_is_for_practice_alone(tmp_path):
    records = [
        make_record(
            spec=make_spec("relu-dropout", seed, study="study"), channels=SYNTHETIC_CHANNELS
        )
        for seed in (1, 2)
    ]
    save(tmp_path / "results", *records)
    with pytest.raises(UsageError, match="--allow-synthetic"):
        submit(order(tmp_path / "results", tmp_path / "bundle"))
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]
    made = submit(order(tmp_path / "results", tmp_path / "bundle", allow_synthetic=True))
    assert made.submission.synthetic
    assert "SYNTHETIC" in (made.path / "data" / layout.README).read_text()


def test_synthetic_and_real_runs_are_never_in_one_bundle(tmp_path):
    real = make_record(spec=make_spec("relu-dropout", 1, study="study"))
    synthetic = make_record(
        spec=make_spec("relu-dropout", 2, study="study"), channels=SYNTHETIC_CHANNELS
    )
    save(tmp_path / "results", real, synthetic)
    with pytest.raises(UsageError, match="mixes 1 synthetic with 1 real"):
        submit(order(tmp_path / "results", tmp_path / "bundle", allow_synthetic=True))


def test_what_is_there_is_replaced_by_force_and_only_if_it_is_a_bundle(study, written, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="already exists"):
        submit(order(study.parent, taken))
    with pytest.raises(UsageError, match="not a bundle"):
        submit(order(study.parent, taken, force=True))
    assert (taken / "thesis.tex").exists()
    with pytest.raises(UsageError, match="already exists"):
        submit(order(study.parent, written.path))


def test_a_run_that_is_going_on_is_waited_for(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1))
    run = RunDir(study / "relu-dropout-s9-00000000")
    run.create(make_spec("relu-dropout", 9, study="study"), Local())
    with run.hold_lock(), pytest.raises(UsageError, match="is going on"):
        submit(order(study.parent, tmp_path / "bundle"))


def test_a_link_inside_a_run_is_not_followed(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1))
    secret = tmp_path / "secret.txt"
    secret.write_text("s3cret")
    log = study_runs(study.parent, "study")[0].log_path
    log.unlink()
    log.symlink_to(secret)
    with pytest.raises(UsageError, match="is a link"):
        submit(order(study.parent, tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """As on a full disk: writing beyond fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_half_written_is_left_where_there_is_no_room(study, tmp_path):
    with files_no_larger_than(20_000), pytest.raises(UsageError, match="cannot be written"):
        submit(order(study.parent, tmp_path / "bundle"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"title": r"C:\Users\ada\cells"}, "title looks as if it held a home folder"),
        ({"course": "token: abcdefgh1234"}, r"course .* a password"),
        ({"title": "ghp_" + "a" * 36, "redact": False}, r"title .* a token"),
        ({"authors": (ADA, Author("root@tower:/srv"))}, r"author .* the name of a machine"),
    ],
)
def test_private_words_of_the_author_are_refused_for_nothing_redacts_them(
    study, tmp_path, fields, reason
):
    with pytest.raises(UsageError, match=reason):
        submit(order(study.parent, tmp_path / "bundle", **fields))


def test_a_study_named_like_a_machine_is_submitted_without_redaction_alone(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, study="lab.local", blocks=1))
    asked = Order(study.parent, study.name, (ADA,), "MIT", out=tmp_path / "bag", formats=TEXT)
    with pytest.raises(UsageError, match=r"study.* the name of a machine"):
        submit(asked)
    assert submit(replace(asked, redact=False)).path.is_dir()


@pytest.mark.parametrize("redact", [True, False])
def test_who_submits_is_left_out_of_the_plan_which_keeps_its_digest(tmp_path, redact):
    about = Planned(author="Ada", title=f"{HOME}/cells", licence="MIT", agreement="<b>" * 999)
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1, submission=about))
    before = plan.from_json(study / PLAN)
    asked = order(study.parent, tmp_path / "bundle", redact=redact)
    bundled = submit(asked).path / "data" / "results" / "study"
    after = plan.from_json(bundled / PLAN)
    assert after.submission == Planned()
    assert after.sha256 == before.sha256


# --- the command -------------------------------------------------------------------------------


def command(*words: str) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    app.command()(submit_command)
    done = CliRunner().invoke(app, [*words, "--no-verify"])
    return done.exit_code, done.stdout, done.exception


def test_without_an_author_or_a_licence_and_nobody_to_ask_nothing_is_made(study, tmp_path):
    results = ("--results", str(study.parent), "--out", str(tmp_path / "bundle"))
    for words, missing in ((("--licence", "MIT"), "author"), (("--author", "A"), "licence")):
        _, _, error = command("study", *words, *results)
        assert isinstance(error, UsageError)
        assert f"needs its {missing}" in str(error)
        assert "--statement-template" in str(error)
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_without_pdfs_is_as_good(study, tmp_path):
    out = tmp_path / "bundle"
    who = ("--author", "Ada", "--licence", "MIT", "--out", str(out))
    ended = wbcbench("submit", "study", "--results", str(study.parent), *who, "--no-pdf")
    assert ended.code == 0, ended.out
    assert not [*out.rglob("*.pdf")]
    assert [*out.rglob("report.html")]


def test_the_experiment_file_says_who_submits(tmp_path):
    planned = Planned(
        author="Ada; Bob, 0000-0002-1825-0097", course="Green AI", licence="cc-by-4.0"
    )
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1, submission=planned))
    code, out, _ = command(
        "study", "--results", str(study.parent), "--out", str(tmp_path / "bundle"), "--json"
    )
    assert code == 0
    result = json.loads(out)
    assert result["schema"] == "wbcbench.submit/2"
    assert result["n_runs"]["done"] == 2
    made = load_document(Path(result["path"]) / "data")
    assert [author.name for author in made.authors] == ["Ada", "Bob"]
    assert (made.course, made.licence) == ("Green AI", "CC-BY-4.0")
    licence = (tmp_path / "bundle" / "data" / layout.LICENCE).read_text()
    assert "SPDX-License-Identifier: CC-BY-4.0" in licence


@pytest.mark.parametrize(
    "words",
    [
        ("--author", "A, not-an-orcid"),
        ("--licence", "<b>"),
        ("--licence", "MIT License"),
        ("--licence", "MIT OR Apache-2.0"),
    ],
)
def test_an_odd_author_or_licence_is_refused(study, words):
    fine = {"--author": "A", "--licence": "MIT"} | {words[0]: words[1]}
    asked = [word for pair in fine.items() for word in pair]
    _, _, error = command("study", "--results", str(study.parent), *asked)
    assert isinstance(error, UsageError)


@pytest.mark.parametrize(
    ("outcome", "words", "exit_code"),
    [
        (report_outcome("", ["It says 2, and there is 1."]), "NOT VERIFIED", 6),
        (report_not_checked("Nothing draws here."), "VERIFIED IN PART", 8),
    ],
)
def test_a_bundle_that_is_not_verified_is_told_of_and_stays(
    study, tmp_path, monkeypatch, capsys, outcome, words, exit_code
):
    found = Inspection({"V01": report_outcome("All is well."), "V02": outcome})
    monkeypatch.setattr("wbcbench.bundle.verify.budget.verify_within_budget", lambda _, **__: found)
    bag = tmp_path / "bag"
    with pytest.raises(WbcbenchError) as caught:
        submit_command("study", study.parent, ["Ada"], "MIT", out=bag)
    assert caught.value.exit_code == exit_code
    *_, fault, summary = capsys.readouterr().out.splitlines()
    assert outcome.detail in fault
    assert re.fullmatch(rf"{words} +1 ok, 0 warnings, \d errors?, \d skipped", summary)
    assert bag.is_dir()


@pytest.mark.parametrize("words", [("submit", "study"), ("seal",)], ids=["submit", "seal"])
def test_who_is_asked_to_end_takes_back_what_is_half_done(study, written, tmp_path, words):
    if words == ("seal",):
        options = (str(copytree(written.path, tmp_path / "bag")),)
    else:
        options = ("--results", str(study.parent), "--author", "Ada", "--licence", "MIT")
        options = (*options, "--out", str(tmp_path / "a bag"))
    before = sorted(tmp_path.iterdir())
    process = start(*words, *options)
    while sorted(tmp_path.iterdir()) == before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.terminate()
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert complained == ""
    assert sorted(tmp_path.iterdir()) == before


def test_what_was_taken_out_is_said(study, tmp_path):
    code, out, _ = command(
        "study", "--results", str(study.parent), "--out", str(tmp_path / "x.zip"),
        "--author", "Ada", "--licence", "MIT",
    )  # fmt: skip
    assert code == 0
    words = " ".join(out.split())
    assert "Redacted: GPU UUID, host name, 2 paths, serial number, user name" in words
    assert re.search(r"x\.zip \d+\.\d MB \(6 runs, 0\.0\d+ kWh measured; 1 spoiled run", words)


def test_letters_that_the_fonts_of_the_paper_lack_are_named(written):
    assert "the fonts of" not in "\n".join(format_lines(written))
    author = replace(written.submission, authors=(Author("Lǐ 李小龍"),), course="Καλό 龍")
    lines = "\n".join(format_lines(replace(written, submission=author)))
    assert "Note: the fonts of report.pdf have no 李小龍; the other documents show" in lines
