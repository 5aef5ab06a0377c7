"""The reference bundle of the rules is read and verified by every version that has them.

Where a change makes it fail, the same evidence gives something else: before a release it is
written again (`python -m builders.bundle`), after one `layout.RULES` rises, too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import bagit
import pytest

from tamperings.bag import Bag
from wbcbench import registry, table
from wbcbench.bundle import document, layout
from wbcbench.bundle.describe import SubmittedStudy, list_renderers
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.inspect import Result, as_text, verify
from wbcbench.commands.verify import verify as verify_command
from wbcbench.core.errors import PartlyVerifiedError

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


def test_it_still_verifies_without_tensorflow_and_in_json():
    script = """
import sys
from wbcbench.cli import main
sys.argv[1:] = ["verify", sys.argv[1], "--json"]
try:
    main()
except SystemExit:
    pass
finally:
    heavy = {"tensorflow", "keras", "codecarbon", "pynvml", "cv2", "torch"}
    print(heavy & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(REFERENCE)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().endswith("set()")
    found = json.loads(done.stdout)
    assert list(found) == ["schema", "verified", "result", "remarks", "checks", "claims"]
    assert found["schema"] == "wbcbench.verify/2"
    assert found["verified"] is True
    assert [check["id"] for check in found["checks"]] == list(registry.VERIFICATIONS)
    assert {tuple(check) for check in found["checks"]} == {("id", "status", "detail")}


def test_a_drawing_by_another_program_is_verified_in_part_and_by_this_one_wrong(bag, tmp_path):
    opened = Bag(bag, tmp_path / "spare")
    path = opened.report / layout.FIGURES / "learning-curves.svg"
    text = path.read_text(encoding="utf-8")
    opened.write(path, re.sub(r"(<path d=\"M )(\d+)", r"\g<1>1\2", text, count=4))
    here, other = list_renderers(), {**list_renderers(), "matplotlib": "3.9.0"}
    opened.edit_json(opened.data / layout.SUBMISSION, lambda d: d.update(renderer=other))
    opened.refit()
    found = verify(opened.root)
    assert found.result is Result.IN_PART
    assert found.outcomes["V12"].status is Status.NOT_CHECKED
    assert "matplotlib 3.9.0 ≠" in found.outcomes["V12"].detail
    assert "\nVERIFIED IN PART " in as_text(found)
    with pytest.raises(PartlyVerifiedError) as caught:
        verify_command([opened.root])
    assert caught.value.exit_code == 8
    opened.edit_json(opened.data / layout.SUBMISSION, lambda d: d.update(renderer=here))
    opened.refit()
    found = verify(opened.root)
    assert found.outcomes["V12"].status is Status.ERROR
    opened.restore()
