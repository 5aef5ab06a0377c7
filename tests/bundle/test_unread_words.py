"""Words in a run's files that nothing reads: no check is of them, so none may be there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.bundle import StudyDesign, WallMeter, bundle_study
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.files import check_secrets
from wbcbench.bundle.verify.plan import check_plan
from wbcbench.bundle.verify.records import check_rows
from wbcbench.bundle.write import Order, submit
from wbcbench.core import run_folder
from wbcbench.core.run_folder import RunDir

pytestmark = pytest.mark.usefixtures("sketches")

BOAST = "we are best"


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def more_message(**message: Any) -> Callable[[RunDir], None]:
    def change(run: RunDir) -> None:
        with run.marks_path.open("a") as stream:
            stream.write(json.dumps(message) + "\n")

    return change


def more_key(name: str) -> Callable[[RunDir], None]:
    def change(run: RunDir) -> None:
        edit_json(
            run.path / name,
            lambda document: (
                document[0].update(note=BOAST)
                if isinstance(document, list)
                else document.update(note=BOAST)
            ),
        )

    return change


def more_metadata(name: str) -> Callable[[RunDir], None]:
    def change(run: RunDir) -> None:
        table = pq.read_table(run.path / name).replace_schema_metadata({"note": BOAST})
        pq.write_table(table, run.path / name)

    return change


def more_field_metadata(run: RunDir) -> None:
    table = pq.read_table(run.predictions_path)
    fields = [table.schema.field(0).with_metadata({"note": BOAST}), *list(table.schema)[1:]]
    pq.write_table(table.cast(pa.schema(fields)), run.predictions_path)


def more_channel(run: RunDir) -> None:
    path = run.path / run_folder.TRACES
    table = pq.read_table(path)
    row = table.slice(0, 1).to_pydict() | {"channel": [BOAST]}
    pq.write_table(pa.concat_tables([table, pa.table(row, schema=table.schema)]), path)


def more_line(name: str) -> Callable[[RunDir], None]:
    def change(run: RunDir) -> None:
        path = run.telemetry_path(name)
        head, *lines = path.read_text().split("\n")
        path.write_text("\n".join([head, BOAST, *lines]))

    return change


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every end that a run may have, and logs as a kill tears them."""
    room = tmp_path_factory.mktemp("form")
    ends = ("done", "failed", "unwatched", "diverged", "early", "never-began")
    design = StudyDesign(
        blocks=3,
        variants=("relu-dropout", "leaky-dropout"),
        epochs=2,
        is_untidy=True,
        ends=lambda spec: ends[spec.order_global - 1],
        wall_meter=lambda spec: WallMeter() if spec.order_global == 1 else None,
    )
    study = bundle_study(room / "results", design)
    order = Order(
        study.parent, study.name, (Author("Ada"),), "MIT", out=room / "bag", formats=("html", "md")
    )
    return submit(order).path


@pytest.fixture
def payload(submitted: Path, tmp_path: Path) -> Path:
    shutil.copytree(submitted, tmp_path / "bag")
    return tmp_path / "bag" / layout.PAYLOAD


def find_run(payload: Path) -> RunDir:
    """The run that is done and has a wall meter."""
    folder = payload / layout.study_dir("study")
    [run] = [RunDir(path.parent) for path in folder.glob(f"*/{run_folder.ATTACHMENT}")]
    return run


def test_runs_of_every_end_hold_nothing_that_is_not_read(submitted):
    assert check_rows(load_bundle(submitted)).status is Status.OK


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("began.json", more_key(run_folder.BEGAN)),
        ("spec.json", more_key(run_folder.SPEC)),
        ("channels.json", more_key(run_folder.CHANNELS)),
        ("attached.json", more_key(run_folder.ATTACHMENT)),
        ("record.json", more_key(run_folder.RECORD)),
        ("no program sends", more_message(note=BOAST)),
        ("no program sends", more_message(end="done", note=BOAST)),
        ("no program sends", more_message(mark="open", window="train", t_s=1.0, note=BOAST)),
        ("the end", more_message(end=BOAST)),
        ("kind epoch", more_message(epoch={"note": BOAST})),
        ("kind epoch", more_message(epoch=BOAST)),
        ("kind scores", more_message(scores={"name": BOAST})),
        ("kind recorder", more_message(recorder={"note": BOAST})),
        ("traces.parquet", more_metadata(run_folder.TRACES)),
        ("attached.parquet", more_metadata(run_folder.ATTACHED_TRACE)),
        ("predictions.parquet", more_metadata(run_folder.PREDICTIONS)),
        ("predictions.parquet", more_field_metadata),
        ("which no meter has", more_channel),
        ("cpu.csv has a line", more_line("cpu")),
    ],
)
def test_words_that_nothing_reads_are_an_error(payload, place, change):
    change(find_run(payload))

    found = check_rows(load_bundle(payload.parent))

    assert found.status is Status.ERROR
    assert place in found.detail


def test_a_log_of_a_board_holds_samples_alone(payload):
    run = find_run(payload)
    [board] = [path.stem for path in run.path.glob("telemetry/*.csv") if path.stem != "cpu"]
    more_line(board)(run)

    assert "is no sample" in check_rows(load_bundle(payload.parent)).detail


def test_a_plan_has_no_more_keys_than_plans_have(payload):
    edit_json(payload / layout.study_dir("study") / layout.PLAN, lambda p: p.update(note=BOAST))

    assert "which no plan has" in check_plan(load_bundle(payload.parent)).detail


def test_a_plan_says_nothing_of_a_submission(payload):
    said = {"agreement": "<script>alert(1)</script> The lab confirmed these joules.\n" * 2000}
    path = payload / layout.study_dir("study") / layout.PLAN
    edit_json(path, lambda p: p["plan"].update(submission=said))

    assert "says who submits" in check_plan(load_bundle(payload.parent)).detail


def test_nothing_was_redacted_but_what_redaction_knows(payload):
    edit_json(
        payload / layout.SUBMISSION, lambda document: document["redaction"]["counts"].update(best=1)
    )

    assert "was redacted" in check_secrets(load_bundle(payload.parent)).detail
