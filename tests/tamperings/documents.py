"""What is put into a bundle, or changed in it, that no run knows: files, cells, words, versions."""

from __future__ import annotations

import csv
import io
import json
import random
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamperings.bag import Bag
from tamperings.kinds import edited
from tamperings.made_again import UnfitError
from wbcbench.bundle import layout

BOAST = "It used 40 % less energy (p < 0.001)."


def append(bag: Bag, path: Path, text: str) -> None:
    bag.write(path, path.read_text(encoding="utf-8") + text)


# --- renderers ------------------------------------------------------------------------------------


@edited("source of the renderer faked, and a boast in the report")
def boasted(bag: Bag, rng: random.Random) -> None:
    fake(bag, "source", "0" * 12)
    for name in (layout.REPORT_PAGE, layout.REPORT_TEXT):
        path = bag.report / name
        text = path.read_text(encoding="utf-8")
        start, middle, end = text.partition("</p>" if name.endswith("html") else ".\n")
        assert middle
        bag.write(path, f"{start} {BOAST}{middle}{end}")


def fake(bag: Bag, renderer: str, version: str) -> None:
    """Say that another version of a package has drawn the report."""
    bag.edit_json(bag.data / layout.SUBMISSION, lambda d: d["renderer"].update({renderer: version}))


def change_text(bag: Bag, path: Path, rng: random.Random) -> None:
    """Put a boast behind any full stop."""
    parts = path.read_text(encoding="utf-8").split(". ")
    at = rng.randrange(1, len(parts))
    bag.write(path, ". ".join([*parts[:at], BOAST.rstrip("."), *parts[at:]]))


@edited("version of matplotlib faked, and a figure changed")
def other_drawing(bag: Bag, rng: random.Random) -> None:
    fake(bag, "matplotlib", "1.5.0")
    path = rng.choice(sorted((bag.report / layout.FIGURES).glob("*.svg")))
    bag.edit_text(path, "</svg>", f"<text>{BOAST}</text></svg>")


@edited("version of jinja2 faked, and the page changed")
def other_page(bag: Bag, rng: random.Random) -> None:
    fake(bag, "jinja2", "1.0")
    change_text(bag, bag.report / layout.REPORT_PAGE, rng)


@edited("version of typst faked, and a paper put in")
def other_paper(bag: Bag, rng: random.Random) -> None:
    fake(bag, "typst", "0.1")
    bag.write(bag.report / "report.pdf", f"%PDF-1.4\n% {BOAST}\n%%EOF\n")


@edited("version of wbcbench faked, and the text changed")
def other_words(bag: Bag, rng: random.Random) -> None:
    fake(bag, "wbcbench", "0.0.1")
    change_text(bag, bag.report / layout.REPORT_TEXT, rng)


@edited("a sentence hidden in the page by a style")
def hidden_sentence(bag: Bag, rng: random.Random) -> None:
    path = bag.report / layout.REPORT_PAGE
    bag.edit_text(path, "</head>", "<style>p:nth-of-type(2){display:none}</style></head>")


@edited("a script put into the page")
def scripted(bag: Bag, rng: random.Random) -> None:
    text = f"<script>document.querySelector('p').textContent = '{BOAST}'</script></body>"
    bag.edit_text(bag.report / layout.REPORT_PAGE, "</body>", text)


@edited("a comment put into the page")
def commented(bag: Bag, rng: random.Random) -> None:
    bag.edit_text(bag.report / layout.REPORT_PAGE, "</body>", f"<!-- {BOAST} --></body>")


@edited("a claim added")
def more_claims(bag: Bag, rng: random.Random) -> None:
    def change(document: Any) -> None:
        document["claims"].append({**document["claims"][0], "id": "boast", "text": BOAST})

    bag.edit_json(bag.data / layout.SUBMISSION, change)


# --- files ----------------------------------------------------------------------------------------


def put(place: Callable[[Bag], Path], bag: Bag, rng: random.Random) -> None:
    path = place(bag)
    bag.write(path, BOAST + "\n")


for words, place in {
    "a second report": lambda bag: bag.report.parent / "corrected" / "report.html",
    "an erratum": lambda bag: bag.data / "ERRATUM.md",
    "an erratum beside the manifests": lambda bag: bag.root / "ERRATUM.md",
    "a README in the results": lambda bag: bag.results / "README.md",
    "a README in the report": lambda bag: bag.report / "README.md",
    "a hidden file": lambda bag: bag.data / ".corrected.json",
    "a figure more": lambda bag: bag.report / layout.FIGURES / "savings.svg",
    "a table more": lambda bag: bag.report / "tables" / "savings.csv",
    "a file more in a run's folder": lambda bag: bag.runs()[0].path / "corrected.json",
    "a log of a board that was not there": lambda bag: (
        bag.runs()[0].path / "telemetry" / "GPU-0000.csv"
    ),
    "a plan of earlier": lambda bag: bag.results / f"plan-{'0' * 12}.json",
    "a diff of uncommitted changes": lambda bag: bag.data / layout.DIFF,
    "a lock of packages": lambda bag: bag.data / layout.LOCK,
}.items():
    edited(f"{words} put in")(partial(put, place))


def put_tar(bag: Bag, files: dict[str, bytes]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    bag.write(bag.data / layout.SOURCE, out.getvalue())
    for name in (layout.GIT, layout.SUBMISSION):
        value = bag.json(bag.data / name)
        git = value if name == layout.GIT else value["git"]
        if not git["source"]:
            git |= {"source": True, "note": ""}
            bag.edit_json(bag.data / name, lambda d, value=value: d.update(value))


@edited("an empty archive of the source")
def empty_source(bag: Bag, rng: random.Random) -> None:
    put_tar(bag, {})


@edited("an archive of other source")
def other_source(bag: Bag, rng: random.Random) -> None:
    put_tar(bag, {"train.py": b"print('trained')\n"})


# --- rows, columns, keys --------------------------------------------------------------------------


def more_cells(place: Callable[[Bag], Path], sort: str, bag: Bag, rng: random.Random) -> None:
    """Add a row like the last one, or a column, to a table."""
    path = place(bag)
    rows = list(csv.reader(io.StringIO(path.read_text())))
    if len(rows) < 2:
        raise UnfitError("an empty table")
    if sort == "row":
        rows.append(rows[-1])
    else:
        rows = [[*row, "saved" if i == 0 else "0.4"] for i, row in enumerate(rows)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    bag.write(path, out.getvalue())


for words, place in {
    "runs.csv": lambda bag: bag.results / layout.RUNS_TABLE,
    "contrasts.csv": lambda bag: bag.results / layout.CONTRASTS,
    "summary.csv": lambda bag: bag.report / "summary.csv",
    "the numbers behind a figure": lambda bag: sorted(
        (bag.report / layout.FIGURE_DATA).glob("*.csv")
    )[0],
    "files.csv": lambda bag: bag.data / layout.IMAGES,
    "epochs.csv": lambda bag: bag.runs()[0].epochs_path,
    "phases.csv": lambda bag: bag.runs()[0].path / layout.PHASES,
}.items():
    for sort in ("row", "column"):
        edited(f"a {sort} more in {words}")(partial(more_cells, place, sort))


def more_keys(place: Callable[[Bag], Path], bag: Bag, rng: random.Random) -> None:
    path = place(bag)
    value = bag.json(path)
    target = value[0] if isinstance(value, list) else value
    target["saved_pct"] = 40.0
    bag.write(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


for words, place in {
    "record.json": lambda bag: bag.runs()[0].record_path,
    "spec.json": lambda bag: bag.runs()[0].path / layout.SPEC,
    "began.json": lambda bag: bag.runs()[0].path / "began.json",
    "channels.json": lambda bag: bag.runs()[0].path / "channels.json",
    "boamps.json": lambda bag: bag.runs()[0].path / layout.BOAMPS,
    "plan.json": lambda bag: bag.results / layout.PLAN,
    "submission.json": lambda bag: bag.data / layout.SUBMISSION,
    "resolved.json": lambda bag: bag.data / layout.RESOLVED,
    "environment.json": lambda bag: bag.data / layout.ENVIRONMENT,
    "host.json": lambda bag: bag.data / layout.HOST,
    "dataset.json": lambda bag: bag.data / layout.DATASET,
    "git.json": lambda bag: bag.data / layout.GIT,
    "the crate": lambda bag: bag.data / layout.CRATE,
}.items():
    edited(f"a key more in {words}")(partial(more_keys, place))


@edited("a message more among the trainer's")
def more_messages(bag: Bag, rng: random.Random) -> None:
    append(bag, bag.run(rng).marks_path, json.dumps({"note": BOAST}) + "\n")


def edit_parquet(bag: Bag, path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    out = io.BytesIO()
    pq.write_table(change(pq.read_table(path)), out, compression="zstd")
    bag.write(path, out.getvalue())


@edited("a column more in the predictions")
def more_predicted(bag: Bag, rng: random.Random) -> None:
    edit_parquet(
        bag,
        bag.run(rng).predictions_path,
        lambda t: t.append_column("better", pa.array(["yes"] * len(t))),
    )


@edited("words in the metadata of the predictions")
def told_predictions(bag: Bag, rng: random.Random) -> None:
    edit_parquet(
        bag, bag.run(rng).predictions_path, lambda t: t.replace_schema_metadata({"note": BOAST})
    )


@edited("a column more in the traces")
def more_traced(bag: Bag, rng: random.Random) -> None:
    edit_parquet(
        bag,
        bag.run(rng).path / "traces.parquet",
        lambda t: t.append_column("better", pa.array(["yes"] * len(t))),
    )


@edited("words in the metadata of the traces")
def told_traces(bag: Bag, rng: random.Random) -> None:
    edit_parquet(
        bag,
        bag.run(rng).path / "traces.parquet",
        lambda t: t.replace_schema_metadata({"note": BOAST}),
    )


@edited("a channel more in the traces that no file names")
def unnamed_channel(bag: Bag, rng: random.Random) -> None:
    def change(table: pa.Table) -> pa.Table:
        row = table.slice(0, 1).to_pydict() | {"channel": ["nvml/gpu9/counter"]}
        return pa.concat_tables([table, pa.table(row, schema=table.schema)])

    edit_parquet(bag, bag.run(rng).path / "traces.parquet", change)


# --- words ----------------------------------------------------------------------------------------


def change_word(name: str, old: str, new: str, bag: Bag, rng: random.Random) -> None:
    path = (bag.root if name == layout.BAG_INFO else bag.data) / name
    bag.edit_text(path, old, new)


_NAMED = (layout.SUBMISSION, layout.CITATION, layout.CRATE, layout.BAG_INFO, layout.README)
for name in _NAMED:
    edited(f"author changed in {name} alone")(
        partial(change_word, name, "Alice Doe", "Mallory Roe")
    )
    edited(f"title changed in {name} alone")(
        partial(change_word, name, "Energy and accuracy of", "Savings of")
    )
for name in (layout.SUBMISSION, layout.CITATION, layout.CRATE, layout.LICENCE, layout.README):
    edited(f"licence changed in {name} alone")(partial(change_word, name, "MIT", "CC0-1.0"))


def change_field(name: str, change: Callable[[Any], None], bag: Bag, rng: random.Random) -> None:
    bag.edit_json(bag.data / name, change)


def of_crate(kind: str, **changes: str) -> Callable[[Any], None]:
    """Change an entity of a kind in the crate."""

    def change(crate: Any) -> None:
        found = [e for e in crate["@graph"] if kind in (e["@type"], e["@id"])]
        found[-1].update(changes)

    return change


for words, name, change in (
    ("a course named", layout.SUBMISSION, lambda d: d.update(course="Honours")),
    (
        "date of the bundle changed", layout.SUBMISSION,
        lambda d: d.update(created_utc="2025-01-01T00:00:00Z"),
    ),
    (
        "version of the program changed", layout.SUBMISSION,
        lambda d: d.update(wbcbench_version="0.0.9"),
    ),
    ("redaction denied", layout.SUBMISSION, lambda d: d["redaction"].update(applied=False)),
    (
        "what was redacted changed", layout.SUBMISSION,
        lambda d: d["redaction"].update(counts={"path": 99}),
    ),
    (
        "hosts changed", layout.SUBMISSION,
        lambda d: d.update(host_ids=["0123456789ab", "ba9876543210"]),
    ),
    ("alpha of the tests changed", layout.SUBMISSION, lambda d: d["analysis"].update(alpha=0.2)),
    ("planned, though nothing was", layout.SUBMISSION, lambda d: d["design"].update(order_seed=3)),
    (
        "note on the source changed", layout.GIT,
        lambda d: d.update(note="Everything was committed."),
    ),
    ("a licence for the images", layout.DATASET, lambda d: d.update(licence="CC0-1.0")),
    ("description in the crate changed", layout.CRATE, of_crate("./", description=BOAST)),
    (
        "date in the crate changed", layout.CRATE,
        of_crate("./", datePublished="2025-01-01T00:00:00Z"),
    ),
    ("name of an action in the crate changed", layout.CRATE, of_crate("CreateAction", name=BOAST)),
    ("description of an action changed", layout.CRATE, of_crate("CreateAction", description=BOAST)),
    ("an error of an action made up", layout.CRATE, of_crate("CreateAction", error=BOAST)),
    (
        "start of an action changed", layout.CRATE,
        of_crate("CreateAction", startTime="2026-02-01T00:00:00Z"),
    ),
    (
        "version of the instrument changed", layout.CRATE,
        of_crate("SoftwareApplication", softwareVersion="9.9"),
    ),
    ("profile of the crate changed", layout.CRATE, of_crate("ro-crate-metadata.json", about=BOAST)),
    ("schema of submission.json loosened", layout.SUBMISSION_SCHEMA, lambda d: d.pop("required")),
    ("schema of records loosened", layout.RECORD_SCHEMA, lambda d: d.pop("required")),
):  # fmt: skip
    edited(words)(partial(change_field, name, change))


@edited("meaning of a column changed in the table's schema")
def other_meaning(bag: Bag, rng: random.Random) -> None:
    def change(schema: Any) -> None:
        rng.choice(schema["fields"])["description"] = BOAST

    bag.edit_json(bag.results / layout.RUNS_SCHEMA, change)


@edited("licence changed in a run's boamps.json alone")
def other_boamps(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(
        bag.run(rng).path / layout.BOAMPS, lambda d: d["header"].update(licensing="CC0-1.0")
    )


def add_line(name: str, bag: Bag, rng: random.Random) -> None:
    append(bag, bag.data / name, f"\n{BOAST}\n")


for name in (
    layout.README, layout.MODEL_CARD, layout.IMPACT, layout.APPENDIX, layout.CHECKLIST,
    layout.LICENCE,
):  # fmt: skip
    edited(f"a line more in {name}")(partial(add_line, name))


@edited("a comment in the citation")
def told_citation(bag: Bag, rng: random.Random) -> None:
    append(bag, bag.data / layout.CITATION, f"# {BOAST}\n")


@edited("a key more in the citation")
def more_citation(bag: Bag, rng: random.Random) -> None:
    append(bag, bag.data / layout.CITATION, f'abstract: "{BOAST}"\n')


@edited("a label more in bag-info.txt")
def more_info(bag: Bag, rng: random.Random) -> None:
    append(bag, bag.root / layout.BAG_INFO, f"Internal-Sender-Description: {BOAST}\n")


@edited("identifier changed in bag-info.txt")
def other_identifier(bag: Bag, rng: random.Random) -> None:
    bag.edit_text(bag.root / layout.BAG_INFO, "External-Identifier: ", "External-Identifier: best-")


@edited("date changed in bag-info.txt")
def other_bagging(bag: Bag, rng: random.Random) -> None:
    bag.edit_text(bag.root / layout.BAG_INFO, "Bagging-Date: 2026", "Bagging-Date: 2024")


# --- forms and versions ---------------------------------------------------------------------------


def edit_cell(bag: Bag, change: Callable[[str], str]) -> None:
    """Write one number of the table otherwise."""
    path = bag.results / layout.RUNS_TABLE
    rows = list(csv.reader(io.StringIO(path.read_text())))
    at = rows[0].index("primary_energy_train_j")
    row = next(row for row in rows[1:] if row[at])
    row[at] = change(row[at])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    bag.write(path, out.getvalue())


@edited("a decimal comma in the table")
def decimal_comma(bag: Bag, rng: random.Random) -> None:
    edit_cell(bag, lambda cell: cell.replace(".", ","))


@edited("a number with an underscore in the table")
def underscored(bag: Bag, rng: random.Random) -> None:
    edit_cell(bag, lambda cell: f"{cell[0]}_{cell[1:]}")


@edited("a number rounded in the table")
def rounded(bag: Bag, rng: random.Random) -> None:
    edit_cell(bag, lambda cell: f"{float(cell):.4g}")


@edited("a formula in the table")
def formula(bag: Bag, rng: random.Random) -> None:
    edit_cell(bag, lambda cell: f"={cell}*0.6")


@edited("a key that a document says twice")
def said_twice(bag: Bag, rng: random.Random) -> None:
    path = bag.data / layout.SUBMISSION
    bag.edit_text(path, "{\n", '{\n "licence": "CC0-1.0",\n')


@edited("ends of lines changed in the table")
def other_ends(bag: Bag, rng: random.Random) -> None:
    path = bag.results / layout.RUNS_TABLE
    bag.write(path, path.read_bytes().replace(b"\n", b"\r\n"))


@edited("format of the bundle changed to an unknown one")
def other_format(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(bag.data / layout.SUBMISSION, lambda d: d.update(schema="wbcbench.submission/9"))


@edited("format of the plan changed to an unknown one")
def other_plan_format(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(bag.results / layout.PLAN, lambda d: d.update(schema="wbcbench.plan/9"))


@edited("rules of the bundle changed to unknown ones")
def other_rules(bag: Bag, rng: random.Random) -> None:
    def change(document: Any) -> None:
        if "rules" not in document:
            raise UnfitError("no rules")
        document["rules"] = 999

    bag.edit_json(bag.data / layout.SUBMISSION, change)


@edited("format of a record changed to an unknown one")
def other_record_format(bag: Bag, rng: random.Random) -> None:
    bag.edit_record(bag.run(rng), lambda record: record.update(schema="2.9"))
