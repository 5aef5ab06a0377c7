"""Files of a bundle that other programs read, checked by those programs themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import bagit
import pytest
from codecarbon.output_methods.boamps.models import BoAmpsReport
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from rocrate.rocrate import ROCrate

from builders.bundle import ENDS, StudyDesign, bundle_study
from wbcbench.bundle import document, layout
from wbcbench.bundle.describe import submission_schema
from wbcbench.bundle.document import Author
from wbcbench.bundle.documents import LICENCES_OF_CFF, make_documents
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.files import check_citation
from wbcbench.bundle.write import Order, submit
from wbcbench.core.run_folder import study_runs

pytestmark = pytest.mark.usefixtures("sketches")

EVERY_END = (*ENDS, "left")
SMALL = StudyDesign(blocks=5, variants=("leaky-dropout", "relu-dropout"), epochs=2, pilots=1)
STUDIES = {
    "every end": replace(SMALL, ends=lambda s: EVERY_END[s.order_global % len(EVERY_END)]),
    "no GPU, no place": replace(SMALL, blocks=2, gpu=False, changes={"country": None}),
}
AUTHORS = (Author("Ada Lovelace", "0000-0002-1825-0097"), Author('Søren: O\'Neill, #2 "Bob\\"'))


@pytest.fixture(scope="module", params=STUDIES)
def bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("standards")
    study = bundle_study(room / "results", STUDIES[request.param])
    order = Order(
        study.parent, study.name, AUTHORS, "CC-BY-4.0", "A: title, #1", 'Green "AI": 101',
        out=room / "bag", formats=("md",),
    )  # fmt: skip
    return submit(order).path


@pytest.fixture
def payload(bag: Path) -> Path:
    return bag / layout.PAYLOAD


def test_the_bag_is_valid_by_bagit(bag):
    opened = bagit.Bag(str(bag))
    assert opened.validate()
    assert opened.version_info == (1, 0)
    assert opened.info["Contact-Name"].startswith("Ada Lovelace, ")


def test_the_results_table_fits_its_table_schema_by_frictionless(payload):
    frictionless = pytest.importorskip("frictionless")
    folder = payload / layout.study_dir("study")
    table = frictionless.Resource(
        path=layout.RUNS_TABLE, schema=layout.RUNS_SCHEMA, basepath=str(folder)
    )
    found = table.validate()
    assert found.flatten(["fieldName", "rowNumber", "message"]) == []
    assert len(table.read_rows()) == len(study_runs(payload / layout.RESULTS, "study"))


def test_the_crate_is_read_by_rocrate_and_written_again_the_same(payload):
    crate = ROCrate(str(payload))
    assert [each["name"] for each in crate.root_dataset["author"]] == [a.name for a in AUTHORS]
    assert crate.root_dataset["license"].id == "https://spdx.org/licenses/CC-BY-4.0"
    stated = json.loads((payload / layout.CRATE).read_bytes())["@graph"]
    written = crate.metadata.generate()["@graph"]
    assert {e["@id"]: e for e in written} == {e["@id"]: e for e in stated}
    missing = [e.id for e in crate.data_entities if not (payload / e.id).exists()]
    assert missing == []


@pytest.mark.parametrize("licence", ["CC-BY-4.0", "Elastic-2.0", "CC-BY-3.0-DE"])
def test_the_citation_fits_the_schema_of_cff(bag, licence, tmp_path):
    pytest.importorskip("check_jsonschema")
    bundle = load_bundle(bag)
    made = make_documents(bundle.study, replace(bundle.document, licence=licence))
    path = tmp_path / layout.CITATION
    path.write_bytes(made[layout.CITATION])
    assert (licence == bundle.document.licence) == (path.read_bytes() == bundle.read(path.name))
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema",
         "vendor.citation-file-format", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_licence_of_the_citation_is_on_the_list_of_cff():
    check_jsonschema = pytest.importorskip("check_jsonschema")
    schema = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor"
    known = json.loads((schema / "citation-file-format.json").read_bytes())["definitions"]
    licences = set(pytest.importorskip("license_expression").get_spdx_licensing().known_symbols)
    ours = {name for name in licences if LICENCES_OF_CFF.fullmatch(name)}
    assert len(ours) > 40
    assert ours <= set(known["license-enum"]["enum"])


def test_the_citation_names_authors_however_they_are_written(bag):
    assert check_citation(load_bundle(bag)).status is Status.OK


# What the schemas of Boavizta/BoAmps ask for beyond names and types, which CodeCarbon's model has.
BOAMPS = {
    "required": ["task", "measures", "infrastructure"],
    "properties": {
        "header": {"required": ["reportDatetime"]},
        "task": {
            "required": ["taskStage", "taskFamily", "algorithms", "dataset"],
            "properties": {
                "measuredAccuracy": {"minimum": 0, "maximum": 1},
                "dataset": {
                    "minItems": 1,
                    "items": {
                        "required": ["dataUsage", "dataType"],
                        "properties": {
                            "dataUsage": {"enum": ["input", "output"]},
                            "dataType": {"const": "image"},
                            "dataFormat": {"const": "jpeg"},
                        },
                    },
                },
            },
        },
        "measures": {"minItems": 1, "items": {"required": ["measurementMethod"]}},
        "system": {"required": ["os"]},
        "software": {"required": ["language"]},
        "infrastructure": {
            "required": ["infraType", "components"],
            "properties": {
                "infraType": {"enum": ["publicCloud", "privateCloud", "onPremise", "other"]},
                "components": {
                    "items": {
                        "required": ["componentType", "nbComponent"],
                        "properties": {"memorySize": {"type": "integer"}},
                    }
                },
            },
        },
        "environment": {"required": ["country"]},
    },
}


def test_energy_reports_are_read_by_codecarbon_as_boamps(payload):
    reports = sorted((payload / layout.study_dir("study")).glob(f"*/{layout.BOAMPS}"))
    assert reports
    for path in reports:
        stated = json.loads(path.read_bytes())
        report = BoAmpsReport.from_dict(stated)
        assert report.to_dict() == stated
        TypeAdapter(BoAmpsReport).validate_json(json.dumps(asdict(report)), strict=True)
        Draft202012Validator(BOAMPS).validate(stated)
        assert "None" not in path.read_text(encoding="utf-8")


def test_the_document_fits_its_json_schema(payload):
    stated = json.loads((payload / layout.SUBMISSION).read_bytes())
    assert json.loads((payload / layout.SUBMISSION_SCHEMA).read_bytes()) == submission_schema()
    Draft202012Validator(submission_schema()).validate(stated)


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("MIT", "MIT"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("GPL-3.0-or-later", "GPL-3.0-or-later"),
        ("CC-BY", None),
        ("MIT License", None),
        ("MIT OR Apache-2.0", None),
        ("GPL-2.0-only WITH Classpath-exception-2.0", None),
    ],
)
def test_a_licence_is_one_of_spdx_by_license_expression(name, licence):
    spdx = pytest.importorskip("license_expression").get_spdx_licensing()
    assert document.find_licence(name) == licence
    known = spdx.validate(name)
    assert (licence is None) == bool(known.errors or " " in known.normalized_expression)
    assert licence is None or known.normalized_expression == licence


@pytest.mark.parametrize("name", ["MIT+", "(MIT)", "GPL-2.0+", "any-OSI", "LicenseRef-x"])
def test_an_expression_is_no_licence(name):
    assert document.find_licence(name) is None
