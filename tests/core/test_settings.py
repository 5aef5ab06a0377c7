"""Settings: who is stronger than whom, what is refused, and that options see them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from builders.run import make_record, save
from builders.study import Size, write_study
from program import wbcbench
from wbcbench.cli import COMMANDS, build_app
from wbcbench.core import settings
from wbcbench.core.errors import UsageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's configuration folder of wbcbench, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "wbcbench"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def here(tmp_path, home):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def found(here, name, environment=None):
    by_name = {each.setting.name: each for each in settings.resolve(environment or {}, here)}
    return by_name[name].value, by_name[name].origin


def test_the_nearer_is_the_stronger(here, home):
    assert found(here, "study") == ("runs", "default")
    (home / "wbcbench.toml").write_text('study = "of-the-user"\n')
    assert found(here, "study") == ("of-the-user", str(home / "wbcbench.toml"))
    (here / "pyproject.toml").write_text('[tool.wbcbench]\nstudy = "of-the-project"\n')
    assert found(here, "study") == ("of-the-project", str(here / "pyproject.toml"))
    (here / "wbcbench.toml").write_text('study = "of-the-folder"\n')
    assert found(here, "study") == ("of-the-folder", str(here / "wbcbench.toml"))
    variable = {"WBCBENCH_STUDY": "of-the-shell"}
    assert found(here, "study", variable) == ("of-the-shell", "WBCBENCH_STUDY")


def test_an_empty_variable_says_nothing(here):
    assert found(here, "study", {"WBCBENCH_STUDY": ""}) == ("runs", "default")


def test_a_folder_is_meant_from_where_the_file_lies(here, home):
    (home / "wbcbench.toml").write_text('data = "cells"\nresults = "/abs"\nreports = "~/r"\n')
    assert found(here, "data")[0] == str(home / "cells")
    assert found(here, "results")[0] == "/abs"
    assert found(here, "reports")[0] == os.path.expanduser("~/r")  # noqa: PTH111


def test_words_may_be_a_list_or_joined_by_commas(here):
    (here / "wbcbench.toml").write_text('meters = ["rapl", "nvml"]\ngpus = "0,1"\n')
    assert found(here, "meters")[0] == "rapl,nvml"
    assert found(here, "gpus")[0] == "0,1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('resuts = "x"', "no setting 'resuts'. Did you mean 'results'"),
        ("study = 3", "study is 3, but must be text"),
        ('study = " "', "must be text"),
        ('meters = "a\nb"', "cannot be read"),
        ("[study]\nname = 1", "must be text"),
        ('results = "a\\u0000b"', "must be text"),
        ("study." + "a." * 2000 + "b = 1", "must be text"),
        ("study = " + "[" * 3000, "nested too deeply"),
        ("study = " + "9" * 5000, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_file(here, text, says):
    (here / "wbcbench.toml").write_text(text)
    with pytest.raises(UsageError, match=r"wbcbench\.toml") as refused:
        settings.resolve({}, here)
    assert says in str(refused.value)


def test_everything_that_is_wrong_in_a_file_is_said_at_once(here):
    (here / "wbcbench.toml").write_text('resuts = "x"\nstudy = 3\nnosuch = 1\nmeters = []\n')
    with pytest.raises(UsageError) as refused:
        settings.resolve({}, here)
    first, *lines = str(refused.value).splitlines()
    assert first == f"{here / 'wbcbench.toml'}: 4 errors"
    assert lines[0] == "There is no setting 'resuts'. Did you mean 'results'?"
    assert lines[1] == "study is 3, but must be text: study of commands that name none."
    assert lines[2].startswith("There is no setting 'nosuch'. Known: author, baseline,")
    assert lines[3].startswith("meters is ''")


@pytest.fixture
def two_variants(here):
    """Three runs of each, without a plan."""
    records = [
        make_record(variant, seed)
        for seed in (1, 2, 3)
        for variant in ("relu-dropout", "leaky-dropout")
    ]
    save(here / "results", *records)
    return here


def baseline_of(ended):
    assert ended.code == 0, ended.err
    return ended.json["baseline"]


def test_the_baseline_of_the_settings_counts_where_no_plan_fixes_one(two_variants):
    words = ("compare", "runs", "--json")
    assert baseline_of(wbcbench(*words, cwd=two_variants)) == "relu-dropout"
    (two_variants / "wbcbench.toml").write_text('baseline = "leaky-dropout"\n')
    ended = wbcbench(*words, cwd=two_variants)
    assert (baseline_of(ended), ended.err) == ("leaky-dropout", "")
    shown = wbcbench("config", "show", "--origin", "--json", cwd=two_variants).json
    assert shown["settings"]["baseline"] == {"value": "leaky-dropout", "origin": "wbcbench.toml"}
    said = wbcbench(*words, cwd=two_variants, env={"WBCBENCH_BASELINE": "relu-dropout"})
    assert baseline_of(said) == "relu-dropout"
    line = wbcbench(*words, "--baseline", "relu-dropout", cwd=two_variants)
    assert (baseline_of(line), line.err) == ("relu-dropout", "")


def test_a_baseline_that_a_study_lacks_is_said_and_not_used(two_variants):
    (two_variants / "wbcbench.toml").write_text('baseline = "relu-batchnorm"\n')
    ended = wbcbench("compare", "runs", "--json", cwd=two_variants)
    assert baseline_of(ended) == "relu-dropout"
    assert "Against relu-dropout, which the runs allow; your settings say relu-b" in ended.err


def test_a_plans_baseline_wins_over_the_settings_and_it_is_said(here):
    write_study(here / "results", Size(blocks=3, images=40))
    environment = {"WBCBENCH_BASELINE": "leaky-dropout"}
    ended = wbcbench("compare", "runs", "--json", cwd=here, env=environment)
    assert baseline_of(ended) == "relu-dropout"
    assert "which the plan fixes; your settings say leaky-dropout" in ended.err


def test_a_report_obeys_the_settings_baseline_and_a_bundle_knows_nothing_of_it(two_variants):
    """Whoever submits it or checks it."""
    environment = {"WBCBENCH_BASELINE": "leaky-dropout", "WBCBENCH_AUTHOR": "Ada"}
    for words in (
        ("report", "runs", "--format", "csv"),
        ("submit", "runs", "--licence", "MIT", "--no-verify"),
    ):
        ended = wbcbench(*words, cwd=two_variants, env=environment)
        assert ended.code == 0, ended.err
    compared = {
        path.relative_to(two_variants).parts[0].partition("-")[0]: {
            row["contrast"] for row in csv.DictReader(path.open(encoding="utf-8"))
        }
        for path in two_variants.rglob("contrasts.csv")
    }
    assert compared == {
        "reports": {"relu-dropout"},
        "submission": {"leaky-dropout"},
    }


def test_a_project_file_without_our_table_says_nothing_and_a_table_must_be_one(here):
    (here / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert found(here, "study")[1] == "default"
    for text in ("[tool]\nwbcbench = 3\n", "tool = 3\n", "[[tool]]\nx = 1\n", "tool.wbcbench = []"):
        (here / "pyproject.toml").write_text(text)
        with pytest.raises(UsageError, match="not a table"):
            settings.resolve({}, here)


def test_a_user_who_is_not_known_here_is_a_folder_of_that_name(here):
    (here / "wbcbench.toml").write_text('results = "~no-such-user/x"\n')
    assert found(here, "results")[0].endswith("~no-such-user/x")


def test_files_fill_the_environment_only_where_it_is_silent(here):
    (here / "wbcbench.toml").write_text('study = "file"\nmeters = "rapl"\n')
    environment = {"WBCBENCH_METERS": "nvml"}
    settings.apply(environment, here)
    assert environment == {"WBCBENCH_METERS": "nvml", "WBCBENCH_STUDY": "file"}


OF_COMMANDS = {each.variable for each in settings.SETTINGS} - {
    "WBCBENCH_AUTHOR",
    "WBCBENCH_BASELINE",
    "WBCBENCH_LICENCE",
    "WBCBENCH_CACHE",
    "WBCBENCH_LOCK_DIR",
}


def test_every_setting_of_an_option_is_named_by_one():
    commands = get_command(build_app(COMMANDS)).commands.values()
    flat = [each for one in commands for each in getattr(one, "commands", {"": one}).values()]
    named = {p.envvar for each in flat for p in each.params if getattr(p, "envvar", None)}
    assert named == OF_COMMANDS


def test_the_program_shows_and_obeys_them(here):
    (here / "wbcbench.toml").write_text('results = "elsewhere"\n')
    shown = wbcbench("config", "show", "--json", cwd=here)
    assert shown.json["schema"] == "wbcbench.config/2"
    assert shown.json["settings"]["results"] == {"value": "elsewhere", "origin": "wbcbench.toml"}
    obeyed = wbcbench("compare", cwd=here)
    assert (obeyed.code, "elsewhere/" in obeyed.err) == (2, True)
    stronger = wbcbench("compare", "--results", "third", cwd=here)
    assert "third/" in stronger.err


def test_a_bad_file_ends_every_command_with_two(here):
    (here / "wbcbench.toml").write_text('resuts = "x"\n')
    for words in (("config", "show"), ("list",)):
        ended = wbcbench(*words, cwd=here)
        assert (ended.code, "Did you mean 'results'" in ended.err) == (2, True)


def test_a_folder_of_settings_that_is_no_folder_holds_none(here, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    assert found(here, "study")[0] == "runs"


def test_references_are_printed_and_one_document_with_json():
    text = wbcbench("cite").out
    assert text.count("@") >= 3
    document = wbcbench("cite", "--json").json
    assert document["schema"] == "wbcbench.cite/2"
    assert document["bibtex"] + "\n" == text


def test_the_shell_is_offered_variants_studies_and_runs(tmp_path):
    record = make_record()
    save(tmp_path / "results", record)
    program = Path(sys.executable).with_name("wbcbench")

    def offered(line: str) -> list[str]:
        words = {"WBCBENCH_RESULTS": "", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        env = {**os.environ, "_WBCBENCH_COMPLETE": "complete_bash", **words}
        done = subprocess.run([program], env=env, cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode().split()

    assert offered("wbcbench run --variant relu-d") == ["relu-dropout"]
    assert offered("wbcbench show lea") == [record.run_id]
    assert offered(f"wbcbench report {record.spec.study[:2]}") == [record.spec.study]
