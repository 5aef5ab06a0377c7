"""What a run leaves beside its numbers, by which it can be told from an edited one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builders.bundle import StudyDesign, bundle_study
from wbcbench.bundle.verify.records import remake_record
from wbcbench.core.provenance import program_sha256
from wbcbench.core.record import AT_END, Circumstances
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.run.finalise import RECORDER_DIED, account_from_disk


def test_a_real_run_states_its_weights_order_program_boot_and_place_and_ends_with_its_recorder(
    finished,
):
    results, _ = finished
    [run] = study_runs(results, "runs")
    record = run.read_record()
    digests = record.model.first_weights_sha256, record.model.image_order_sha256
    assert all(len(digest) == 64 for digest in digests) and len(set(digests)) == 2
    facts = record.provenance
    assert facts["program_sha256"] == program_sha256()
    assert len(facts["boot_id"]) == 12 and facts["after_run"] is None
    at_end = run.read_end()
    assert set(at_end) == set(AT_END)
    assert not at_end["shared"] and at_end["trainer_cpu_s"] == record.trainer_cpu_s
    assert remake_record(run, record) == record


def test_a_run_names_the_one_that_began_last_before_it_on_its_host_and_no_other(tmp_path: Path):
    def begin(seed: int, started_utc: str, host: str) -> RunDir:
        spec = RunSpec(variant="relu-dropout", seed=seed)
        run = RunDir(tmp_path / "runs" / spec.run_id)
        run.create(spec, Local())
        run.write_began(Circumstances(started_utc, {"host_id": host}))
        return run

    first = begin(1, "2026-03-01T10:00:00Z", "here")
    assert first.find_run_before("there") is None
    second = begin(2, "2026-03-01T11:00:00Z", "here")
    begin(3, "2026-03-01T12:00:00Z", "there")
    assert first.find_run_before("here") == second.run_id
    (second.path / "began.json").write_text("{")
    assert first.find_run_before("here") == first.run_id


def test_what_the_recorder_said_at_the_end_counts_where_it_died_before_the_record(tmp_path: Path):
    study = bundle_study(tmp_path, StudyDesign(blocks=1, variants=("relu-dropout",), epochs=2))
    [run] = study_runs(study.parent, study.name)
    record = run.read_record()
    remade = account_from_disk(run, "interrupted", RECORDER_DIED)
    assert (remade.sampling, remade.trainer_cpu_s) == (record.sampling, record.trainer_cpu_s)
    with run.marks_path.open("a") as stream:
        stream.write('{"recorder": {"sampling": 3}}\n')
    assert run.read_end() == {}
    run.record_path.unlink()
    run.write_record(replace(remade, ended_utc=record.ended_utc))
    assert remake_record(run, run.read_record()).sampling == record.sampling
