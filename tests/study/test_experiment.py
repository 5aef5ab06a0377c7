"""An experiment file lists what differs from the defaults; everything wrong is named by its key."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from program import wbcbench
from wbcbench.core.errors import UsageError
from wbcbench.study import plan
from wbcbench.study.experiment import (
    BLOCKS,
    RUN_KEYS,
    Experiment,
    ExperimentFile,
    Pauses,
    json_schema,
    read_experiment,
)
from wbcbench.study.plan import check_contrasts

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SHIPPED = [
    EXPERIMENTS / f"{name}.toml"
    for name in (
        "quick", "published", "batch-and-precision", "power-limit", "until", "gpu",
        "speedrun-search", "speedrun",
    )
]  # fmt: skip
SMALLEST = '[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\n'


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_that_says_little_is_filled_with_the_defaults(tmp_path: Path) -> None:
    found = read_experiment(written(tmp_path, SMALLEST))
    assert found == Experiment(
        study="mine",
        seeds=tuple(range(1001, 1001 + BLOCKS)),
        blocks=BLOCKS,
        factors={"variant": ("relu-dropout", "leaky-dropout")},
    )
    assert found.pauses == Pauses()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nepohcs = 3\n", "no key 'epohcs' in table [run]. Did you mean 'epochs'?"),
        ("blokcs = 3\n", "no key 'blokcs' in the file. Did you mean 'blocks'?"),
        ("epochs = 3\n", "'epochs' belongs into [run]"),
        ("rest_s = 3\n", "'rest_s' belongs into [pauses]"),
        ("[run]\nseed = 3\n", "no key 'seed'"),
        ("[factors]\nvariants = ['relu-dropout']\n", "Did you mean 'variant'?"),
        ("[pauses]\nrest = 3\n", "Did you mean 'rest_s'?"),
        ("[run]\nepochs = '3'\n", "key 'run.epochs'"),
        ("[run]\nprecision = 'float8'\n", "key 'run.precision'"),
        ("[until]\nwidth = 1\n", "key 'until.contrast' is missing"),
        ("blocks = 0\n", "key 'blocks'"),
        (
            "[pauses]\nrest_s = -1\n" + SMALLEST,
            "key 'pauses.rest_s': Input should be greater than or equal to 0",
        ),
        ("[run]\nepochs = 0\n" + SMALLEST, "key 'run.epochs' must be at least 1"),
        ("[factors]\nvariant = ['leeky-dropout']\n", "Did you mean 'leaky-dropout'?"),
        ("[run]\nmeters = ['nvlm']\n" + SMALLEST, "Did you mean 'nvml'?"),
        ("[run]\nvariant = 'relu-dropout'\n" + SMALLEST, "in both [run] and [factors]"),
        ("[factors]\nvariant = ['relu-dropout', 'relu-dropout']\n", "names a level twice"),
        ("[factors]\nvariant = []\n", "key 'factors.variant'"),
        ("configurations = [{epohcs = 3}]\n" + SMALLEST, "key 'epohcs'"),
        (
            "configurations = [{epochs = 0}]\n" + SMALLEST,
            "'configurations.epochs' must be at least",
        ),
        ("configurations = [{idle_s = 2.0}]\n" + SMALLEST, "makes no other configuration"),
        ("configurations = [{epochs = 3}, {epochs = 3}]\n" + SMALLEST, "names one twice"),
        (
            "configurations = [{epochs = 3}]\n[run]\nepochs = 2\n" + SMALLEST,
            "in both [run] and [configurations]",
        ),
        (
            "configurations = [{variant = 'relu-dropout'}]\n" + SMALLEST,
            "in both [factors] and [configurations]",
        ),
        ("blocks = 2\n", "key 'variant' is missing"),
        (
            SMALLEST + '[until]\ncontrast = "variant"\nwidth = 1\nmax_blocks = 3\n',
            "key 'until.max_blocks' is 3, but 8 blocks",
        ),
        ("seeds = [1, 1]\n" + SMALLEST, "2 different seeds"),
        ("seeds = [1, 2]\nblocks = 3\n" + SMALLEST, "3 different seeds"),
        ("study = '../elsewhere'\n" + SMALLEST, "key 'study'"),
        ("x =\n", "is not TOML"),
        (
            f"[run]\nvariant = 'relu-dropout'\n[factors]\nepochs = {list(range(1, 1200))}\n",
            "1,199 combinations",
        ),
        ("run = 3\n", "key 'run'"),
        ("[[run]]\nepochs = 3\n", "key 'run'"),
        ("[[factors]]\nepochs = [3]\n", "key 'factors'"),
        (f"{SMALLEST}[[analysis]]\nbaseline = 'x'\n", "key 'analysis'"),
        (f"{SMALLEST}[analysis]\nmetrics = {'[' * 250}{']' * 250}\n", "nested too deeply"),
        (f"{SMALLEST}[analysis]\nmetrics = {'[' * 5000}{']' * 5000}\n", "nested too deeply"),
        (f"{'a.' * 3000}b = 1\n", "nested too deeply"),
        (f"blocks = {'9' * 5000}\n", "is not TOML"),
        (f"blocks = {'9' * 500}\n", "key 'blocks'"),
        (f"[run]\nepochs = {'9' * 500}\n{SMALLEST}", "key 'run.epochs' must be at most"),
        (f"[run]\npower_limit_w = inf\n{SMALLEST}", "key 'run.power_limit_w'"),
        (f"[run]\nlearning_rate = nan\n{SMALLEST}", "key 'run.learning_rate'"),
        ("blocks = 1\nblocks = 2\n", "is not TOML"),
        ("study = 'a\0b'\n", "is not TOML"),
        ("study = 'a b'\n" + SMALLEST, "key 'study'"),
        (f"study = '{'a' * 65}'\n" + SMALLEST, "key 'study'"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        plan.read_plan(path)
    assert says in str(error.value)
    assert str(error.value).startswith(str(path))
    assert error.value.exit_code == 2


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = (
        "bloks = 3\nstudy = 'a b'\n[run]\nepohcs = 3\nepochs = 0\nrest_s = 2\nblocks = 3\n"
        "nosuch = 1\n"
        "[factors]\nvariant = ['leeky-dropout']\nbatch_size = [64, 'x']\n[pauses]\nrest_s = -1\n"
    )
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_experiment(path)
    first, *lines = str(error.value).splitlines()
    assert first == f"{path}: 10 errors"
    assert set(lines) == {
        "there is no key 'bloks' in the file. Did you mean 'blocks'?",
        "key 'study' must be a plain folder name of letters, digits, '.', '_' and '-', not "
        "'measured'; it is 'a b'.",
        "there is no key 'epohcs' in table [run]. Did you mean 'epochs'?",
        "key 'run.epochs' must be at least 1; it is 0.",
        "there is no key 'rest_s' in table [run]. 'rest_s' belongs into [pauses].",
        "there is no key 'blocks' in table [run]. 'blocks' belongs above the tables.",
        "there is no key 'nosuch' in table [run]. `wbcbench init` explains every key.",
        "There is no variant 'leeky-dropout'. Did you mean 'leaky-dropout'? Known: "
        "leaky-batchnorm, leaky-dropout, relu-batchnorm, relu-dropout.",
        "key 'factors.batch_size.1': Input should be a valid integer; it is 'x'.",
        "key 'pauses.rest_s': Input should be greater than or equal to 0; it is -1.",
    }


def test_of_many_errors_ten_are_said_and_the_rest_counted(tmp_path: Path) -> None:
    keys = "".join(f"'x{number}\\n\\u009b' = 1\n" for number in range(40)).replace("'", '"')
    write = written(tmp_path, keys + SMALLEST)
    ended = wbcbench("plan", str(write))
    first, *lines = ended.err.splitlines()
    assert ended.code == 2 and "Traceback" not in ended.err
    assert first.endswith("mine.toml: 40 errors")
    assert len(lines) == 11 and lines[-1].strip() == "… and 30 more."
    assert all(line.startswith("  ") and line.isprintable() for line in lines)
    assert max(map(len, lines)) <= 160  # two lines of a terminal


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read"):
        read_experiment(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not TOML"):
        read_experiment(path)


def test_changes_win_over_the_file_and_go_where_their_key_belongs(tmp_path: Path) -> None:
    path = written(tmp_path, "blocks = 4\n[run]\nepochs = 2\n" + SMALLEST)
    found = read_experiment(
        path, ["epochs=5", "blocks=2", "study=other", "meters=['simulated']", "xla=true"]
    )
    assert (found.blocks, found.study) == (2, "other")
    assert found.run == {"epochs": 5, "meters": ("simulated",), "xla": True}


@pytest.mark.parametrize("text", ["run = 3\n", "[[run]]\n", SMALLEST])
@pytest.mark.parametrize(
    "change",
    ["a..b=1", "=1", "=", "run=3", "run.epochs=2", f"epochs={'[' * 3000}", f"epochs={'9' * 5000}"],
)
def test_no_change_makes_sense_of_what_has_none(text: str, change: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match="key ") as refused:
        plan.read_plan(path, [change, change])
    assert len(str(refused.value)) < 800


def test_a_file_with_a_mark_at_its_start_is_read(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_text(SMALLEST, encoding="utf-8-sig")
    assert read_experiment(path).study == "marked"


def test_a_change_without_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give KEY=VALUE"):
        read_experiment(written(tmp_path, SMALLEST), ["epochs"])


def test_the_stopping_rule_brings_a_seed_for_every_block_there_may_be(tmp_path: Path) -> None:
    rule = '[until]\ncontrast = "activation"\nwidth = 2.0\nmax_blocks = 11\n'
    found = read_experiment(written(tmp_path, f"blocks = 3\n{SMALLEST}{rule}"))
    assert found.blocks == 3
    assert found.seeds == tuple(range(1001, 1012))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_makes_a_plan_whose_contrasts_are_as_it_says(path: Path) -> None:
    made = plan.read_plan(path)
    assert made.study == path.stem
    assert len(made.block(1)) >= 2
    assert check_contrasts(made)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_lists_only_what_differs_from_the_defaults(path: Path) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    defaults = TypeAdapter(ExperimentFile).dump_python(ExperimentFile())
    repeated = [
        (table, name)
        for table, own in document.items()
        for name, value in (own.items() if isinstance(own, dict) else [(table, own)])
        if value == (defaults[table] if table == name else (defaults[table] or {}).get(name))
    ]
    assert repeated == []


def test_the_published_file_asks_for_the_published_design() -> None:
    made = plan.read_plan(EXPERIMENTS / "published.toml")
    assert made.blocks == 8
    assert {run.epochs for run in made.runs} == {25}
    assert {run.dataset_id for run in made.runs} == {"bccd-kaggle"}
    assert len(made.block(1)) == 4


RECIPES = """
configurations = [{epochs = 9, batch_size = 32}, {epochs = 3, precision = "mixed_float16"}]
blocks = 8
[run]
variant = "leaky-dropout"
"""


def test_settings_that_go_together_are_compared_with_the_first(tmp_path: Path) -> None:
    made = plan.read_plan(written(tmp_path, RECIPES))
    block = {(run.epochs, run.batch_size, run.precision) for run in made.block(1)}
    assert block == {(9, 32, "float32"), (3, 64, "mixed_float16")}
    assert made.factors == ("batch_size", "epochs", "precision")
    published = "leaky-dropout epochs=9 batch_size=32 precision=float32"
    assert made.analysis.baseline == published
    assert [contrast.against for contrast in check_contrasts(made)] == [published]
    ended = wbcbench("plan", str(tmp_path / "mine.toml"))
    assert "2 configurations, 8 seeds, 16 runs" in ended.out


def test_settings_that_go_together_meet_every_level_of_the_factors(tmp_path: Path) -> None:
    text = RECIPES.replace('[run]\nvariant = "leaky-dropout"\n', SMALLEST)
    made = plan.read_plan(written(tmp_path, text), exploratory=True)
    assert len({(run.variant, run.epochs) for run in made.block(1)}) == 4


def test_two_configurations_that_the_defaults_make_equal_are_refused(tmp_path: Path) -> None:
    text = RECIPES.replace(
        '{epochs = 3, precision = "mixed_float16"}',
        '{epochs = 9, batch_size = 32, precision = "float32"}',
    )
    with pytest.raises(UsageError, match="two are the same"):
        plan.read_plan(written(tmp_path, text))


def test_the_speedrun_is_searched_without_test_and_confirmed_on_other_seeds() -> None:
    search, confirm = (
        plan.read_plan(EXPERIMENTS / f"{n}.toml") for n in ("speedrun-search", "speedrun")
    )
    assert {run.validation for run in search.runs} == {"by-photograph"}
    assert not {run.seed for run in search.runs} & {run.seed for run in confirm.runs}
    assert confirm.blocks >= 8
    published = plan.read_plan(EXPERIMENTS / "published.toml").runs[0]
    first = next(run for run in confirm.runs if run.epochs == published.epochs)
    assert f"epochs={first.epochs} " in str(confirm.analysis.baseline)
    for name in ("epochs", "batch_size", "learning_rate", "schedule", "precision"):
        assert getattr(first, name) == getattr(published, name)


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Run"]["properties"]) == set(RUN_KEYS)
    for table in schema["$defs"].values():
        assert table["additionalProperties"] is False
    assert schema["additionalProperties"] is False


def test_the_program_prints_the_schema_with_the_help_of_the_options() -> None:
    ended = wbcbench("schema", "experiment")
    assert ended.code == 0
    keys = ended.json["$defs"]["Run"]["properties"]
    said = "Passes over the training images. It must be at least 1."
    assert keys["epochs"]["description"] == said
    assert json.loads(ended.out)["$schema"].startswith("https://json-schema.org/")
