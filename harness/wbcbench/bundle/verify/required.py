"""Files complete: everything a bundle has is there and of its schema, embedded and built in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from wbcbench.bundle import layout, schemas
from wbcbench.bundle.contents import strict_json
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir

_PATTERNS = frozenset({"pattern", "patternProperties", "$ref", "$dynamicRef"})
_LOCAL = "#/"


def check(bundle: Bundle) -> Outcome:
    """Look for every file, and read every document as what it must be."""
    study = bundle.document.study
    errors = [f"{name} is missing." for name in layout.required(study) if not bundle.has(str(name))]
    errors += _strangers(bundle)
    for run in (*bundle.runs, *bundle.pilots):
        errors += _run(bundle, run)
    warnings = [*_schemas(bundle)]
    good = f"{len(bundle.names())} files, {len(bundle.runs)} runs, all of their schemas."
    return outcome(good, errors, warnings)


def _strangers(bundle: Bundle) -> Iterator[str]:
    """Studies of which ``submission.json`` knows nothing."""
    said = {bundle.document.study, bundle.document.pilot_study}
    found = {name.split("/")[1] for name in bundle.names("results/") if name.count("/") > 1}
    yield from (
        f"results/{name} belongs to no study of this bundle." for name in sorted(found - said)
    )


def _run(bundle: Bundle, run: RunDir) -> Iterator[str]:
    folder = run.path.relative_to(bundle.data).as_posix()
    if not run.is_finished:
        yield f"{run.run_id} has no record."
        return
    record = bundle.record(run)
    needed = [layout.SPEC, layout.PHASES]
    if run.read_began() is not None and record.windows:
        needed += ["channels.json", "marks.jsonl"]
    if record.status == "done":
        needed += ["predictions.parquet", "epochs.csv", "began.json"]
    yield from (
        f"{folder}/{name} is missing." for name in needed if not bundle.has(f"{folder}/{name}")
    )
    yield from _traces(bundle, run, record)


def _traces(bundle: Bundle, run: RunDir, record: RunRecord) -> Iterator[str]:
    folder = run.path.relative_to(bundle.data).as_posix()
    for sampling in record.sampling:
        name = f"{folder}/trace/{run.trace_path(sampling.meter).name}"
        if sampling.samples and not bundle.has(name):
            yield f"{name} is missing: joules without a trace cannot be checked."


def _schemas(bundle: Bundle) -> Iterator[str]:
    """Where the embedded schema is this version's, reading the document has checked it already."""
    runs_schema = f"{layout.study_dir(bundle.document.study)}/{layout.RUNS_SCHEMA}"
    for name, made in ((layout.RECORD_SCHEMA, _record()), (runs_schema, schemas.runs_schema())):
        if strict_json(bundle.read(name)) != made:
            yield f"{name} is another version's; records and table are of this one's."
    embedded = strict_json(bundle.read(layout.SUBMISSION_SCHEMA))
    if embedded == _built_in():
        return
    yield "The embedded schema of submission.json is another version's."
    if _is_safe(embedded):
        yield from _violations(embedded, strict_json(bundle.read(layout.SUBMISSION)))


@cache
def _built_in() -> dict[str, Any]:
    return schemas.submission_schema()


@cache
def _record() -> dict[str, Any]:
    return schemas.record_schema()


def _is_safe(schema: Any) -> bool:
    """No pattern that could run for ever, no reference that leads out of the bundle."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            leads_out = not isinstance(value, str) or not value.startswith(_LOCAL)
            if key in _PATTERNS and ("pattern" in key or leads_out):
                return False
        return all(_is_safe(value) for value in schema.values())
    return all(_is_safe(item) for item in schema) if isinstance(schema, list) else True


def _violations(schema: Any, value: Any) -> Iterator[str]:
    import jsonschema
    from referencing import Registry

    found = jsonschema.Draft202012Validator(schema, registry=Registry())
    for error in found.iter_errors(value):
        yield f"submission.json breaks its embedded schema: {error.message[:120]}."
