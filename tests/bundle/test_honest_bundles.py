"""Whatever the program writes, it accepts: random studies through ``submit`` and ``verify``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from builders.bundle import Board, Machine, StudyDesign, WallMeter, bundle_study, write_images
from builders.study import VARIANTS
from program import wbcbench
from tamperings.trials import FORMATS
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.inspect import as_text, verify
from wbcbench.bundle.write import Order, Written, format_lines, submit
from wbcbench.compare.metric import PlannedClaim
from wbcbench.core.errors import UsageError
from wbcbench.core.provenance import lock_sha256, run_git, source_root
from wbcbench.core.record import attachment_to_json, to_json
from wbcbench.core.run_folder import study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import studies
from wbcbench.study.cleanup import delete, find_garbage
from wbcbench.study.experiment import PlannedAnalysis, Until
from wbcbench.table import write_table
from wbcbench.table.merge import merge_studies

pytestmark = pytest.mark.usefixtures("sketches")

EXAMPLES = Path(__file__).parents[2] / "results"

SECOND = Board("Example GPU", "GPU-2b2c3d4e-5f60-7182-93a4-b5c6d7e8f902")
OTHER = Board("Smaller GPU", "GPU-3b2c3d4e-5f60-7182-93a4-b5c6d7e8f903", 330.0, ("power",))
COUNTER_ALONE = Board(readings=("counter",))
ELSEWHERE = {"host_id": "0ther1", "cpu_model": "Other CPU 3.0 GHz"}
ABROAD = {"host_id": "abr0ad", "driver_version": "560.1"}


def head() -> str | None:
    """The commit of this checkout."""
    root = source_root()
    found = root and run_git(root, "rev-parse", "HEAD")
    return found.decode().strip() if found else None


machines = st.builds(
    Machine,
    boards=st.sampled_from(
        [
            (Board(),),
            (Board(), SECOND),
            (Board(), OTHER),
            (OTHER,),
            (COUNTER_ALONE,),
            (),
        ]
    ),
    rapl=st.sampled_from(
        [(), ("package-0",), ("package-0", "package-1", "dram-0"), ("package-0", "psys-0")]
    ),
    codecarbon=st.sampled_from([("cpu",), ("cpu", "ram")]),
)
wall_meters = st.builds(
    WallMeter,
    energy=st.booleans(),
    step_s=st.sampled_from([0.5, 0.937, 1.0, 2.0]),
    offset_s=st.sampled_from([0.0, 3600.0, -17.25]),
    until=st.sampled_from([1.5, 1.5, 0.75]),
)
ends = st.sampled_from(
    [
        "failed",
        "interrupted",
        "unwatched",
        "early",
        "never-began",
        "spoiled",
        "diverged",
        "left",
        "superseded",
    ]
)
commits = st.sampled_from(
    [
        {},
        {"git_commit": head(), "lock_sha256": lock_sha256()},
        {"git_commit": head(), "git_dirty": True},
        {"git_commit": "0" * 40, "git_dirty": True},
    ]
)
names = st.sampled_from(["Ada Lovelace", "José Núñez", "李小龍", "Zoë O'Brien", "a <b> & c"])


@dataclass(frozen=True)
class Case:
    """Studies that were carried out, and how; ``is_tidy``: failed runs are deleted then."""

    designs: tuple[StudyDesign, ...]
    merged: str | None
    options: dict[str, Any]
    out: str
    is_tidy: bool


@st.composite
def designs(
    draw: st.DrawFn,
    seed: int,
    study: str,
    facts: Mapping[str, str] | None = None,
    *,
    published: bool,
) -> StudyDesign:
    """One study of at most a dozen runs."""
    variants = draw(st.sampled_from([VARIANTS[:1], VARIANTS[:2], VARIANTS[1:4]]))
    factors = draw(st.sampled_from([{}, {}, {"batch_size": (32, 64)}]))
    per_block = len(variants) * (2 if factors else 1)
    blocks = draw(st.integers(1, max(1, 6 // per_block)))
    first, second = draw(machines), draw(machines)
    count = draw(st.sampled_from([0, 1, min(3, blocks)]))
    places = st.integers(1, blocks * per_block)
    kinds = draw(st.dictionaries(places, ends, min_size=min(count, 1), max_size=count))
    walls = draw(st.dictionaries(st.integers(1, blocks * per_block), wall_meters, max_size=3))
    everywhere = draw(st.one_of(st.none(), wall_meters))
    elsewhere = ELSEWHERE | {"host_id": "abr0ad2" if facts else "0ther1"}
    by = draw(st.sampled_from(["one machine", "one machine", "by block", "by place"]))

    def machine(spec: RunSpec) -> Machine:
        number = {"one machine": 0, "by block": spec.block, "by place": spec.order_global}[by]
        return replace(second, facts=elsewhere) if number % 2 else first

    def wall_meter(spec: RunSpec) -> WallMeter | None:
        return walls.get(spec.order_global, everywhere)

    def end(spec: RunSpec) -> str:
        return kinds.get(spec.order_global, "done")

    # What is merged into a planned study was planned, too: single runs have no block.
    planned = facts is not None or draw(st.sampled_from([True, True, False]))
    until = None
    analysis = PlannedAnalysis(exploratory=draw(st.booleans()))
    claims = {}
    if planned and len(variants) == 2 and not factors:
        pair = tuple(sorted(variants))
        if draw(st.booleans()):
            until = Until(variants[1], width=draw(st.sampled_from([0.5, 50.0])), max_blocks=6)
            blocks = max(blocks, 3)
        if not analysis.exploratory and draw(st.booleans()):
            claims = {
                "less": PlannedClaim("energy_gpu_train_j", pair, direction="lower", margin=1.0)
            }
    return StudyDesign(
        study=study,
        blocks=blocks,
        variants=variants,
        seed=seed,
        epochs=draw(st.integers(1, 3)),
        planned=planned,
        facts={**(facts or {}), **draw(commits)},
        ends=end,
        again=(1,) if per_block > 1 and draw(st.booleans()) else (),
        retried=draw(st.booleans()),
        factors=factors,
        analysis=analysis,
        until=until,
        replaced=draw(st.integers(0, 1)) if planned else 0,
        singles=draw(st.integers(0, 1)),
        at_once=draw(st.sampled_from([False, False, True])),
        pilots=draw(st.integers(0, 1)),
        machine=machine,
        wall_meter=wall_meter,
        claims=claims,
        published=published,
        is_untidy=draw(st.booleans()),
        changes={
            "target_value": draw(st.sampled_from([0.5, 0.99])),
            "country": draw(st.sampled_from(["DEU", None])),
            "validation": draw(st.sampled_from(["published", "by-photograph"])),
        },
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One study, or two that were merged."""
    merged = draw(st.sampled_from([None, None, "both", "first"]))
    study = draw(st.sampled_from(["study", "2026-03.a_b"]))
    published = draw(st.sampled_from([False, False, False, True]))
    made = [draw(designs(1, study, published=published))]
    if merged:
        other = draw(st.sampled_from([study, "other"]))
        seed = draw(st.sampled_from([2] if other == study else [1, 2]))
        made.append(draw(designs(seed, other, ABROAD, published=published)))
    options = {
        "title": draw(st.sampled_from([None, "Größe = 42 % <of> «it» & more"])),
        "course": draw(st.sampled_from([None, "Máster, 2º año"])),
        "licence": draw(st.sampled_from(["MIT", "CC-BY-4.0", "GPL-3.0-only"])),
        "redact": draw(st.booleans()),
        "data": draw(st.booleans()),
    }
    options["authors"] = tuple(map(Author, draw(st.lists(names, min_size=1, max_size=2))))
    out = draw(st.sampled_from(["bag", "my bag", "b.zip"]))
    return Case(tuple(made), merged, options, out, draw(st.booleans()))


def carry_out(case: Case, room: Path) -> Path:
    """The folder of the study that is submitted."""
    folders = [
        bundle_study(room / f"machine {number}", design)
        for number, design in enumerate(case.designs)
    ]
    for folder, design in zip(folders, case.designs, strict=True):
        if case.is_tidy and design.planned:
            tidy(folder)
    if case.merged is None:
        return folders[0]
    into = room / "all" / "both" if case.merged == "both" else folders[0]
    sources = folders if case.merged == "both" else folders[1:]
    merge_studies(sources, into)
    write_table(into)
    return into


def tidy(study: Path) -> None:
    """Delete the runs without a result, unless none is left then."""
    garbage = find_garbage(study.parent, with_caches=False)[0]
    if {run.path for run in study_runs(study.parent, study.name)} - {g.path for g in garbage}:
        delete(study.parent, garbage)


def verify_study(study: Path, room: Path, **options: Any) -> Written:
    """Submit a study, and require that its bundle is verified."""
    given: dict[str, Any] = {
        "authors": (Author("Ada Lovelace"),),
        "licence": "MIT",
        "formats": FORMATS,
    }
    given |= {"out": room / "bag"} | options
    written = submit(Order(study.parent, study.name, **given))
    inspection = verify(written.path)
    assert inspection.verified, as_text(inspection)
    return written


def check(case: Case, room: Path) -> None:
    study = carry_out(case, room)
    out, options = room / case.out, case.options
    data = write_images(room / "images") if options["data"] else None
    verify_study(study, room, **options | {"out": out, "as_zip": ".zip" in case.out, "data": data})


TWO = VARIANTS[:2]
SMALL = StudyDesign(blocks=2, variants=TWO, epochs=1)


def test_records_of_another_version_are_accounted_again_and_the_study_stays(tmp_path):
    design = replace(SMALL, wall_meter=lambda spec: WallMeter() if spec.block == 2 else None)
    study = bundle_study(tmp_path / "results", design)
    one, other = (
        next(r for r in study_runs(study.parent, study.name) if r.has_attachment is is_attached)
        for is_attached in (False, True)
    )
    record = replace(one.read_own_record(), schema="2.0", warnings=(), agreements=())
    one.record_path.write_bytes(to_json(record))
    attachment = other.read_attachment()
    narrow = [replace(e, uncertainty_j=None) for e in attachment.energies]
    other.attachment_path.write_bytes(
        attachment_to_json(replace(attachment, energies=tuple(narrow), budgets=()))
    )
    written = verify_study(study, tmp_path)
    assert set(written.remade[one.run_id]) == {"warnings", "agreements"}
    assert set(written.remade[other.run_id]) == {"energies", "budgets"}
    assert len(written.remade) == 2
    [note] = [line for line in format_lines(written) if "accounted again" in line]
    assert note.startswith("Note: 2 runs accounted again by today's rules, in the bundle alone: ")
    assert one.read_own_record() == record


def test_a_record_of_a_version_that_knew_fewer_fields_is_verified(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1))
    path = study_runs(study.parent, study.name)[0].record_path
    known = json.loads(path.read_bytes())
    path.write_text(
        json.dumps({name: value for name, value in known.items() if value or value == 0})
    )
    assert verify_study(study, tmp_path).remade == {}


def test_a_plan_that_replaced_another_is_verified_with_the_runs_of_both(tmp_path):
    design = replace(SMALL, replaced=1, pilots=1, singles=1, seed=4)
    study = bundle_study(tmp_path / "results", design)
    bag = verify_study(study, tmp_path).path
    assert "The plan was replaced 1 time(s)" in verify(bag).outcomes["V04"].detail


def test_a_study_with_a_rule_a_claim_and_runs_of_every_end_is_verified(tmp_path):
    ends = dict(enumerate(("interrupted", "unwatched", "never-began", "early", "failed"), start=3))
    less = PlannedClaim("energy_gpu_train_j", TWO, direction="lower", margin=1.0)
    design = StudyDesign(
        blocks=6,
        variants=TWO,
        epochs=1,
        until=Until(TWO[1], width=50.0, max_blocks=8),
        claims={"less": less},
        retried=True,
        ends=lambda spec: ends.get(spec.order_global, "done"),
    )
    written = verify_study(bundle_study(tmp_path / "results", design), tmp_path)
    runs = written.submission.n_runs
    assert (runs.failed, runs.interrupted) == (2, 3)


def test_a_study_whose_runs_are_all_invalid_is_verified(tmp_path):
    design = replace(SMALL, machine=lambda _: Machine(boards=(), codecarbon=()))
    written = verify_study(bundle_study(tmp_path / "results", design), tmp_path)
    assert written.submission.n_runs.invalid == 4


def test_two_runs_at_once_on_two_boards_and_one_whose_record_came_later_are_verified(tmp_path):
    def machine(spec: RunSpec) -> Machine:
        return Machine(boards=(SECOND,) if spec.order_in_block == 1 else (Board(),))

    ends = {2: "left", 3: "unwatched"}
    design = replace(
        SMALL, at_once=True, machine=machine, ends=lambda spec: ends.get(spec.order_global, "done")
    )
    study = bundle_study(tmp_path / "results", design)
    assert verify_study(study, tmp_path).submission.n_runs.interrupted == 2


def test_boards_keep_their_order_under_their_redacted_names(tmp_path):
    boards = [Board(uuid=f"GPU-{n}b2c3d4e-5f60-7182-93a4-b5c6d7e8f901") for n in range(4)]
    design = replace(SMALL, blocks=1, machine=lambda _: Machine(boards=boards))
    assert verify_study(bundle_study(tmp_path / "results", design), tmp_path).remade == {}


def test_runs_of_another_plan_and_another_machine_may_be_merged_into_a_study(tmp_path):
    own = bundle_study(tmp_path / "here", SMALL)
    abroad = replace(SMALL, seed=2, facts=ABROAD)
    other = replace(SMALL, study="other", gpu=False, facts={"host_id": "bey0nd"})
    merge_studies(
        [
            bundle_study(tmp_path / "there", abroad),
            bundle_study(tmp_path / "beyond", other),
        ],
        own,
    )
    bag = verify_study(own, tmp_path).path
    outcomes = verify(bag).outcomes
    assert "8 runs of a plan that is not in the bundle." in outcomes["V04"].detail
    assert "merged from the study 'other'" in outcomes["V05"].detail
    assert outcomes["V10"].status is Status.WARNING


def test_a_study_of_two_sets_of_images_is_not_submitted(tmp_path):
    own = bundle_study(tmp_path / "here", replace(SMALL, blocks=1))
    other = replace(SMALL, blocks=1, seed=2, published=True)
    merge_studies([bundle_study(tmp_path / "there", other)], own)
    with pytest.raises(UsageError, match=r"2 sets of images .*and a bundle lists one"):
        verify_study(own, tmp_path)


def test_who_asked_for_no_redaction_is_warned_and_a_key_is_still_an_error(tmp_path):
    study = bundle_study(tmp_path / "results", replace(SMALL, blocks=1))
    bag = verify_study(study, tmp_path, redact=False).path
    secrets = verify(bag).outcomes["V14"]
    assert secrets.status is Status.WARNING
    assert "holds a home folder" in secrets.detail
    log = study_runs(study.parent, study.name)[0].log_path
    log.write_text("ghp_" + "a" * 36)
    submit(
        Order(
            study.parent, study.name, (Author("Ada"),), "MIT", out=bag, redact=False, force=True,
            formats=FORMATS,
        )
    )  # fmt: skip
    assert verify(bag).outcomes["V14"].status is Status.ERROR


def test_everything_at_once_is_verified_by_the_commands_in_all_formats(tmp_path):
    ends = {2: "failed", 3: "diverged", 4: "diverged", 5: "spoiled", 6: "left"}
    design = StudyDesign(
        blocks=3,
        variants=TWO,
        epochs=2,
        pilots=1,
        retried=True,
        is_untidy=True,
        machine=lambda _: Machine((Board(), OTHER), ("package-0", "dram-0"), ("cpu", "ram")),
        wall_meter=lambda spec: WallMeter(energy=True) if spec.block == 1 else None,
        ends=lambda spec: ends.get(spec.order_global, "done"),
    )
    study = bundle_study(tmp_path / "my results", design)
    words = ["--results", str(study.parent), "--author", "José Núñez", "--licence", "MIT"]
    submitted = wbcbench("submit", study.name, *words, "--out", str(tmp_path / "my bag.zip"))
    assert submitted.code == 0, submitted.out + submitted.err
    assert submitted.out.splitlines()[-1].startswith("VERIFIED  ")


def test_a_study_of_more_than_a_hundred_runs_is_verified(tmp_path):
    design = StudyDesign(
        blocks=30,
        epochs=1,
        gpu=False,
        ends=lambda spec: "failed" if spec.order_global % 40 == 0 else "done",
    )
    written = verify_study(bundle_study(tmp_path / "results", design), tmp_path)
    assert written.submission.n_runs.done == 117


@pytest.mark.parametrize("study", studies(EXAMPLES))
def test_every_example_that_is_kept_is_verified(study, tmp_path):
    copytree(EXAMPLES / study, tmp_path / "results" / study)
    verify_study(tmp_path / "results" / study, tmp_path, allow_synthetic=True)


def test_attempts_that_came_second_count_as_waste_and_nothing_else(tmp_path: Path) -> None:
    """On a cluster a run may be carried out twice; both are whole, one is published."""

    def end(spec: RunSpec) -> str:
        return "superseded" if spec.block == 2 and spec.repeat == 1 else "done"

    design = StudyDesign(blocks=3, retried=True, ends=end)
    runs = verify_study(bundle_study(tmp_path, design), tmp_path).submission.n_runs
    assert runs.interrupted == len(design.variants)


@given(cases())
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a study that fails is told at once; to make it smaller takes hours
    suppress_health_check=list(HealthCheck),
)
def test_a_bundle_of_any_honest_study_is_verified(case):
    with TemporaryDirectory() as room:
        check(case, Path(room))
