"""A run counts once, whatever its folder is called, and one bad record hides no other run."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from builders.machine import PROVENANCE
from builders.run import failed_record, make_record, make_spec, run_dir, save
from builders.study import draw
from program import wbcbench
from wbcbench import table
from wbcbench.core.errors import UsageError
from wbcbench.core.record import Attachment
from wbcbench.core.run_folder import Local, RunDir, list_folders, study_runs
from wbcbench.core.study_folder import find_run, studies
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import WindowEnergy
from wbcbench.report.publish import read_report_study
from wbcbench.run.finalise import finalise, finalise_abandoned
from wbcbench.study.progress import Progress
from wbcbench.table.merge import merge_studies
from wbcbench.table.recount import recount
from wbcbench.table.view import read_study

# What reads all runs of a study, from ``results`` and the study's folder.
READERS = {
    "table": lambda results, study: len(table.load_rows(study)),
    "records": lambda results, study: len(table.load_records(study)),
    "data frame": lambda results, study: len(table.load_runs(study)),
    "comparison": lambda results, study: len(read_study(study).runs),
    "report": lambda results, study: len(read_report_study(results, study.name).runs),
    "sweep": lambda results, study: len(list(Progress(results, study.name))),
    "merge": lambda results, study: merge_studies([study], results / "all").copied,
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return save(tmp_path, *draw(2), failed_record(spec=make_spec(seed=77, study="study")))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["{} (copy)", "run.bak", "Kopie von {}", "{}-2", ".{}.tmp"])
def test_a_copy_beside_its_run_never_counts(study, reader, name):
    run = study_runs(study.parent, study.name)[0]
    shutil.copytree(run.path, study / name.format(run.run_id))
    assert READERS[reader](study.parent, study) == 9


def test_a_copy_is_named_once_with_the_way_out(study, caplog):
    run = study_runs(study.parent, study.name)[0]
    copy = Path(shutil.copytree(run.path, study / f"{run.run_id} (copy)"))
    with caplog.at_level(logging.WARNING):
        table.write_table(study)
        table.write_table(study)
    [message] = [r.getMessage() for r in caplog.records]
    assert str(copy) in message
    assert "Move it out" in message


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["best", "{}.old"])
def test_a_renamed_run_is_refused_with_its_name(study, reader, name):
    run = study_runs(study.parent, study.name)[0]
    run.path.rename(study / name.format(run.run_id))
    with pytest.raises(UsageError, match="renamed") as caught:
        READERS[reader](study.parent, study)
    assert run.run_id in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_with_the_name_of_another_run_is_refused(study, reader):
    run = study_runs(study.parent, study.name)[0]
    shutil.copytree(run.path, study / f"{run.run_id[:-8]}{'0' * 8}")
    with pytest.raises(UsageError, match=f"holds the run {run.run_id}"):
        READERS[reader](study.parent, study)


def test_readers_of_one_run_refuse_a_copy_by_its_path(study):
    run = study_runs(study.parent, study.name)[0]
    copy = RunDir(Path(shutil.copytree(run.path, study / "run.bak")))
    for read in (RunDir.read_record, RunDir.read_own_record, recount):
        with pytest.raises(UsageError, match="copied or renamed"):
            read(find_run(study.parent, str(copy.path)))
    assert find_run(study.parent, run.run_id) == run


def test_a_run_without_a_record_is_not_accounted_for_under_two_names(tmp_path):
    spec = make_spec(study="study")
    run = RunDir(tmp_path / "study" / spec.run_id)
    run.create(spec, Local())
    copy = RunDir(Path(shutil.copytree(run.path, tmp_path / "study" / "run.bak")))
    finalise_abandoned(tmp_path, "study")
    with pytest.raises(UsageError, match="copied or renamed"):
        finalise(copy, force=True)
    assert not copy.is_finished


def test_a_renamed_run_of_one_study_stops_no_other(study):
    save(study.parent, make_record(spec=make_spec(study="other")))
    study_runs(study.parent, study.name)[0].path.rename(study / "best")
    assert studies(study.parent) == ["other", "study"]
    assert len(read_study(study.parent / "other").runs) == 1


def test_a_run_of_another_version_keeps_its_name_and_a_link_to_a_run_is_that_run(study):
    run = study_runs(study.parent, study.name)[0]
    (study.parent / "latest").symlink_to(run.path)
    assert RunDir(study.parent / "latest").read_record().run_id == run.run_id
    record = replace(run.read_record(), run_id=f"{run.run_id[:-8]}0badcafe")
    RunDir(study / record.run_id).create(record.spec, Local())
    RunDir(study / record.run_id).write_record(record)
    assert len(study_runs(study.parent, study.name)) == 10


def test_a_copied_study_is_merged_once_and_not_compared_with_itself(study):
    copy = Path(shutil.copytree(study, study.parent / "copy"))
    merged = merge_studies([study, copy], study.parent / "all")
    assert (merged.copied, merged.same) == (9, 9)
    ended = wbcbench("compare", "study", "copy", "--results", str(study.parent))
    assert ended.code == 2
    assert "cannot differ from itself" in " ".join(ended.err.split())


def test_list_shows_what_it_cannot_read_beside_the_others(study):
    runs = study_runs(study.parent, study.name)
    runs[0].record_path.write_bytes(b"")
    runs[1].record_path.unlink()
    runs[1].record_path.mkdir()
    runs[2].record_path.write_text("[" * 100_000)
    runs[3].attachment_path.write_text("{}")
    newer = json.loads(runs[4].record_path.read_bytes()) | {"schema": "9.0"}
    runs[4].record_path.write_text(json.dumps(newer))
    shutil.copytree(runs[5].path, study / "run.bak")
    ended = wbcbench("list", "--results", str(study.parent), "--json")
    assert ended.code == 0
    listed = {run["run_id"]: run for run in ended.json["runs"]}
    unreadable = {name for name, run in listed.items() if run["status"] == "unreadable"}
    assert unreadable == {run.run_id for run in runs[:5]} | {"run.bak"}
    assert all(listed[name]["about"] for name in unreadable)
    assert "9.0" in listed[runs[4].run_id]["about"]
    assert len(listed) == len(list_folders(study.parent, study.name)) == 10
    text = wbcbench("list", "study", "--results", str(study.parent))
    assert (text.code, text.out.count(" unreadable ")) == (0, 6)
    assert "6 unreadable" in " ".join(text.out.split())
    refused = wbcbench("compare", "study", "--results", str(study.parent))
    assert refused.code == 2
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    "data",
    [
        b"run_id,schema_version\nleaky \xb1,2.1\n",
        b'run_id,schema_version\n"leaky,2.1\n',
        "run_id;schema_version\nleaky;9.0\n".encode("utf-16"),
        b"",
    ],
)
def test_a_table_that_a_spreadsheet_spoiled_is_made_again(study, data):
    expected = table.write_table(study).read_bytes()
    (study / "runs.csv").write_bytes(data)
    assert table.write_table(study).read_bytes() == expected


def test_a_newer_table_is_refused_also_with_a_mark_of_the_byte_order(study):
    (study / "runs.csv").write_bytes("schema_version\n9.0\n".encode("utf-8-sig"))
    with pytest.raises(UsageError, match=r"schema 9\.0"):
        table.write_table(study)


def test_merge_says_that_synthetic_and_real_runs_do_not_compare(tmp_path):
    save(tmp_path, make_record(spec=make_spec(study="real")))
    made = make_record(spec=make_spec(study="made", seed=2), synthetic=True)
    other = {**PROVENANCE, "host_id": "another", "cpu_model": "Another CPU"}
    save(tmp_path, replace(made, provenance=other))
    save(tmp_path, failed_record(spec=make_spec(study="made", seed=3), provenance={}))
    words = ("merge", "real", "made", "--into", "all", "--results", str(tmp_path))
    ended = wbcbench(*words)
    assert ended.code == 0
    assert "differ in synthetic, cpu_model" in " ".join(ended.out.split())
    assert "refuses" in ended.out
    again = merge_studies([tmp_path / "real"], tmp_path / "all")  # what is there counts, too
    assert again.differing == ("synthetic", "cpu_model")
    alike = merge_studies([tmp_path / "real"], tmp_path / "alone")
    assert alike.differing == ()


def test_a_failed_run_without_a_host_is_no_second_machine(tmp_path):
    save(tmp_path, make_record(spec=make_spec(study="study")))
    save(tmp_path, failed_record(spec=make_spec(study="study", seed=2), provenance={}))
    study = read_report_study(tmp_path, "study")
    from wbcbench.report.sections.methods import build_limits

    assert build_limits(study).parts[0].startswith("1 machine, ")
    assert run_dir(tmp_path, make_record(spec=make_spec(study="study"))).is_finished


def test_a_merged_study_with_everything_at_once_counts_each_run_once(tmp_path):
    """A copied run, a failed one without a host, a wall meter, and seeds that come again."""
    here = save(tmp_path, *draw(3, study="here"))
    again = [replace(r, run_id=s.run_id, spec=s) for r, s in rename_study(draw(3), "there")]
    there = save(
        tmp_path, *again, failed_record(spec=make_spec(seed=9, study="there"), provenance={})
    )
    run = study_runs(tmp_path, "here")[0]
    attach_wall_meter(run)
    copy = Path(shutil.copytree(run.path, here / "run.bak"))
    merged = merge_studies([here, there], tmp_path / "both")
    assert (merged.copied, merged.differing) == (25, ())
    both = tmp_path / "both"
    assert len(table.load_rows(both)) == 25
    assert copy.name not in {r.run_id for r in list_folders(tmp_path, "both")}
    [attached] = [r for r in read_study(both).runs if r.row["energy_wall_train_j"] is not None]
    assert attached.run_id == run.run_id
    comparison = read_report_study(tmp_path, "both").comparison
    assert (len(comparison.blocks.runs), comparison.blocks.spare) == (3, 12)
    alone = read_report_study(tmp_path, "here").comparison
    assert comparison.effects == alone.effects
    (both / "run.bak").mkdir()
    shutil.copytree(copy, both / "run.bak", dirs_exist_ok=True)
    assert len(table.load_rows(both)) == 25


def rename_study(records, study):
    return [(record, replace(record.spec, study=study)) for record in records]


def attach_wall_meter(run: RunDir) -> None:
    channel = Channel("wall/plug", Kind.SAMPLED, Origin.MEASURED, Domain.SYSTEM)
    joules = WindowEnergy("train", channel.name, 9000.0, 90.0, 100.0, 90, 1.0)
    made = Attachment("log.csv", "ab", "W", 0.0, -5.0, "2026-03-02T00:00:00Z", channel, (joules,))
    run.write_attachment(made, Trace(channel, [0.0, 1.0], [100.0, 100.0]))
