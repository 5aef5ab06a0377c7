"""The reference bundle of the rules is read and verified by every version that has them.

Where a change makes it fail, the same evidence gives something else: before a release it is
written again (`python -m builders.bundle`), after one `layout.RULES` rises, too.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import bagit
import pytest

from wbcbench import table
from wbcbench.bundle import document, layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.verify.inspect import as_text, verify

REFERENCE = Path(__file__).parents[1] / "formats" / f"bundle-{layout.RULES}.zip"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("reference")
    with zipfile.ZipFile(REFERENCE) as archive:
        archive.extractall(room)
    (folder,) = room.iterdir()
    return folder


def test_it_is_as_it_was_written(bag):
    assert bagit.Bag(str(bag)).validate()


def test_its_document_and_its_records_are_still_read(bag):
    path = bag / layout.PAYLOAD / layout.SUBMISSION
    made = document.from_json(path.read_bytes(), str(path))
    assert (made.schema, made.study) == (layout.SCHEMA, "study")
    assert (made.n_runs.planned, made.n_runs.done, made.n_runs.failed) == (4, 3, 1)
    study = SubmittedStudy(bag / layout.PAYLOAD, made.study)
    assert len(table.load_records(study.folder)) == 4
    assert study.plan is not None
    assert study.plan.sha256 == made.design.plan_sha256
    assert study.comparison is not None


def test_it_still_verifies():
    inspection = verify(REFERENCE)
    assert inspection.verified, as_text(inspection)
