"""An experiment file that is written: every key explained, and read back as what was asked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from program import wbcbench
from wbcbench.commands.schema import describe_experiment
from wbcbench.core.errors import UsageError
from wbcbench.registry import VARIANTS
from wbcbench.study import experiment, plan
from wbcbench.study.experiment import ExperimentFile, published_design, read_experiment
from wbcbench.study.template import format_experiment, format_value

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SCHEMA = describe_experiment()
KEY = re.compile(r"# (\w+) = (.*)")


def keys_of(text: str) -> list[tuple[str, str, int]]:
    """Table, key and line of every key that is commented out."""
    found, table = [], ""
    for number, line in enumerate(text.splitlines()):
        if head := re.fullmatch(r"(?:# )?\[([\w.]+)\]", line):
            table = head[1]
        elif key := KEY.fullmatch(line):
            found.append((table, key[1], number))
    return found


def opened(text: str, *numbers: int) -> str:
    lines = text.splitlines()
    for number in numbers:
        lines[number] = lines[number].removeprefix("# ")
    return "\n".join(lines)


_HEADS = ("run", "factors", "pauses", "analysis", "until", "claims", "submission", "cluster")
TEXT = format_experiment(SCHEMA, published_design())


def test_every_key_of_the_schema_stands_in_the_file_with_its_meaning() -> None:
    tables = {"": ExperimentFile.model_json_schema()["properties"]}
    tables |= {
        "run": SCHEMA["$defs"]["Run"]["properties"],
        "pauses": SCHEMA["$defs"]["Pauses"]["properties"],
        "analysis": SCHEMA["$defs"]["PlannedAnalysis"]["properties"],
        "until": SCHEMA["$defs"]["Until"]["properties"],
        "claims.NAME": SCHEMA["$defs"]["PlannedClaim"]["properties"],
        "submission": SCHEMA["$defs"]["SubmissionDetails"]["properties"],
        "cluster": SCHEMA["$defs"]["ClusterSettings"]["properties"],
    }
    lines = TEXT.splitlines()
    of_the_top = set(_HEADS)
    for table, known in tables.items():
        start = next((i for i, own in enumerate(lines) if table and own.endswith(f"[{table}]")), 0)
        for key in set(known) - (of_the_top if table == "" else set()):
            found = (i for i in range(start, len(lines)) if re.match(rf"(# )?{key} = ", lines[i]))
            said, number = "", next(found) - 1
            while lines[number].startswith("# ") and not KEY.fullmatch(lines[number]):
                said, number = f"{lines[number].removeprefix('# ')} {said}", number - 1
            assert str(known[key]["description"]) in said, (table, key)


def test_the_file_as_it_is_written_is_the_published_design(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert tomllib.loads(TEXT) == {
        **published_design(),
        "pauses": {},
        "submission": {},
        "cluster": {},
    }
    made = plan.read_plan(path)
    assert {run.variant for run in made.block(1)} == set(VARIANTS)
    shipped = plan.read_plan(EXPERIMENTS / "published.toml")
    names = ("variant", "seed", "epochs", "order_global", "batch_size")
    assert [[getattr(run, n) for n in names] for run in made.runs] == [
        [getattr(run, n) for n in names] for run in shipped.runs
    ]


@pytest.mark.parametrize(("table", "key", "number"), keys_of(TEXT), ids=str)
def test_each_key_may_be_opened_as_it_stands(
    table: str, key: str, number: int, tmp_path: Path
) -> None:
    wanted = [number]
    if table in {"until", "claims.NAME"}:  # open the table and what it must have
        wanted += [i for i, line in enumerate(TEXT.splitlines()) if line == f"# [{table}]"]
        needed = {"contrast", "width", "max_blocks", "metric", "variants"}
        wanted += [n for t, k, n in keys_of(TEXT) if t == table and k in needed]
    text = opened(TEXT, *wanted)
    # In both tables a key would be one too many.
    if (table, key) == ("run", "variant"):
        text = text.replace("\nvariant = [", "\n# variant = [")
    if (table, key) == ("factors", "epochs"):
        text = text.replace("\nepochs = 25", "\n# epochs = 25")
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    document = tomllib.loads(text)
    for part in filter(None, table.split(".")):
        document = document[part]
    assert key in document
    read_experiment(path)


texts = st.text(max_size=40)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts | st.floats(allow_nan=False),
    lambda own: st.lists(own, max_size=3) | st.dictionaries(texts, own, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_value_is_read_back_as_it_was_written(value: Any) -> None:
    assert tomllib.loads(f"key = {format_value(value)}")["key"] == value


@pytest.mark.parametrize("name", ["published", "quick", "until", "power-limit"])
def test_a_shipped_file_kept_anew_asks_for_the_same(name: str, tmp_path: Path) -> None:
    shipped, kept = EXPERIMENTS / f"{name}.toml", tmp_path / f"{name}.toml"
    ended = wbcbench("plan", str(shipped), "--out", str(kept))
    assert ended.code == 0, ended.err
    assert read_experiment(kept) == read_experiment(shipped)


def test_init_writes_a_file_that_plan_takes_and_replaces_none(tmp_path: Path) -> None:
    assert wbcbench("init", cwd=tmp_path).code == 0
    written = (tmp_path / "experiment.toml").read_bytes()
    assert written.decode() == TEXT
    assert wbcbench("plan", "experiment.toml", cwd=tmp_path).code == 0
    again = wbcbench("init", cwd=tmp_path)
    assert (again.code, "--force" in again.err) == (2, True)
    (tmp_path / "experiment.toml").write_text("mine")
    assert wbcbench("init", "--force", cwd=tmp_path).code == 0
    assert (tmp_path / "experiment.toml").read_bytes() == written


@pytest.mark.parametrize("name", ["a b.toml", "measured.toml", "x.json", "no/such/../..", "-"])
def test_a_file_that_could_name_no_study_is_not_written(name: str, tmp_path: Path) -> None:
    ended = wbcbench("init", "--force", "--", name, cwd=tmp_path)
    assert ended.code == 2 and "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_plan_without_a_file_is_the_published_design_and_options_change_it(tmp_path: Path) -> None:
    document = wbcbench("plan", "--json", cwd=tmp_path).json
    assert (document["study"], len(document["runs"])) == ("published", 32)
    assert document["cost"]["energy_j"] is None and document["cost"]["time_s"] is None
    words = ("--seeds", "9", "--epochs", "3", "--target", "0.8", "--variant", "leaky-dropout",
             "--variant", "relu-dropout")  # fmt: skip
    ended = wbcbench("plan", *words, "--out", "two.toml", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.json["study"] == "two"
    made = plan.read_plan(tmp_path / "two.toml")
    assert made.sha256 == ended.json["plan_sha256"]
    assert (made.blocks, len(made.runs)) == (9, 18)
    assert {(run.epochs, run.target_value) for run in made.runs} == {(3, 0.8)}
    assert [path.name for path in tmp_path.iterdir()] == ["two.toml"]


def test_options_change_a_file_and_drop_what_they_replace(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "seeds = [5, 6]\n[run]\nvariant = 'relu-dropout'\n[analysis]\nexploratory = true\n"
    )
    document = experiment.load_design(path)
    experiment.change_design(document, seeds=3, variants=["relu-dropout", "leaky-dropout"])
    found = experiment.parse_design(document, path, "mine")
    assert (found.seeds, found.factors) == (
        (1001, 1002, 1003),
        {"variant": ("relu-dropout", "leaky-dropout")},
    )
    one = experiment.load_design(path)
    experiment.change_design(one, variants=["leaky-dropout"], epochs=2)
    assert experiment.parse_design(one, path, "mine").run == {
        "variant": "leaky-dropout",
        "epochs": 2,
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--variant", "leeky"), "There is no variant 'leeky'"),
        (("--epochs", "0"), "key 'run.epochs' must be at least 1"),
        (("--target", "2"), "key 'run.target_value'"),
        (("--seeds", "3"), "Take 8 blocks (seeds)"),
        (("--seeds", "0"), "--seeds"),
        (("plan.json", "--epochs", "3"), "--epoch cannot change it"),
    ],
)
def test_what_the_options_cannot_mean_is_refused(
    words: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    wbcbench("plan", "--out", "plan.json", cwd=tmp_path)
    ended = wbcbench("plan", *words, cwd=tmp_path)
    assert (ended.code, says in ended.err) == (2, True), ended.err


def test_a_sweep_without_a_file_says_how_to_get_one(tmp_path: Path) -> None:
    ended = wbcbench("sweep", cwd=tmp_path)
    assert (ended.code, "wbcbench plan --out FILE" in ended.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", [50, 80])
def test_a_plan_fits_the_terminal(columns: int, tmp_path: Path) -> None:
    ended = wbcbench("plan", "--all", cwd=tmp_path, env={"COLUMNS": str(columns)})
    assert ended.code == 0
    digest = [line for line in ended.out.splitlines() if re.search(r"[0-9a-f]{64}", line)]
    others = [line for line in ended.out.splitlines() if line not in digest]
    assert max(map(len, others)) <= columns
    assert [line.split()[0] for line in others if re.match("[A-Z][a-z]+ {2}", line)][:5] == [
        "Study", "Design", "Tests", "Cost", "Power",
    ]  # fmt: skip


def test_a_table_that_is_none_is_refused_as_a_whole() -> None:
    document: dict[str, Any] = {"run": 3}
    experiment.change_design(document, epochs=2, variants=["relu-dropout"])
    with pytest.raises(UsageError, match="key 'run'"):
        experiment.parse_design(document, "x", "x")


def test_plan_replaces_no_file_and_starts_nothing_else_than_it_shows(tmp_path: Path) -> None:
    kept = tmp_path / "mine.toml"
    kept.write_text("# my own words\n", encoding="utf-8")
    ended = wbcbench("plan", "--out", str(kept))
    assert (ended.code, kept.read_text(encoding="utf-8")) == (2, "# my own words\n")
    assert "--force" in ended.err
    assert wbcbench("plan", "--out", str(kept), "--force").code == 0
    changed = wbcbench("plan", str(kept), "--seeds", "12")
    assert "Keep it with --out FILE." in changed.err
    assert "Start:" not in changed.err
    assert "Start: wbcbench sweep" in wbcbench("plan", str(kept)).err
    digest = tmp_path / "plan.json"
    assert [wbcbench("plan", "--out", str(digest)).code for _ in range(2)] == [0, 0]  # the same
    assert wbcbench("plan", "--seeds", "16", "--out", str(digest)).code == 2
