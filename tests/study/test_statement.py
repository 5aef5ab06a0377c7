"""What an author says of a study: one TOML table, of which every fault is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from wbcbench.core.errors import UsageError
from wbcbench.study import plan
from wbcbench.study.experiment import json_schema, read_experiment
from wbcbench.study.statement import (
    ANSWERS,
    QUESTIONS,
    Author,
    format_template,
    is_orcid,
    parse_author,
    read_statement,
)

ADA = "0000-0002-1825-0097"


def write(folder: Path, text: str) -> Path:
    path = folder / "statement.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_template_asks_everything_and_answers_nothing(tmp_path):
    text = format_template()
    said = read_statement(write(tmp_path, text))
    assert said.given == {}
    assert [line for line in text.splitlines() if line.endswith(' = ""')] == [
        f'{key} = ""' for key in QUESTIONS
    ]
    assert len(ANSWERS) == 13
    assert max(map(len, text.splitlines())) <= 100


def test_a_text_of_several_lines_is_one_answer(tmp_path):
    said = read_statement(write(tmp_path, 'ethics = """\nNone:\n  cells of\tadults.\n"""\n'))
    assert said.given == {"ethics": "None: cells of adults."}


@pytest.mark.parametrize("words", ['study = "s"\nfactors.variant = ["relu-dropout"]\n', ""])
def test_an_experiment_file_is_a_statement_and_so_is_its_table_alone(tmp_path, words):
    text = f'{words}[submission]\nauthor = "Ada, {ADA}; Bob"\nlimits = "Few photographs."\n'
    said = read_statement(write(tmp_path, text))
    assert said.names == ("Ada", "Bob")
    assert said.given["limits"] == "Few photographs."


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    text = (
        'limits = "here"\n[submission]\nethic = "x"\ncourse = 3\nlicence = "MIT License"\n'
        f'author = "Ada, {ADA[:-1]}8"\nimpact = "<b>none</b>"\ndoi = "{"9" * 2001}"\n'
        'theory = "\\u202enon"\ntitle = "fine"\n'
    )
    with pytest.raises(UsageError) as caught:
        read_statement(write(tmp_path, text))
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/statement.toml: 8 errors",
        "'limits' stands above [submission].",
        "there is no key 'ethic' (did you mean 'ethics'?).",
        "course is no text in quotes.",
        "licence is 'MIT License', no SPDX identifier of one licence such as MIT or CC-BY-4.0 "
        "(see https://spdx.org/licenses).",
        f"author has the ORCID {ADA[:-1]}8, whose last digit does not fit the others.",
        "impact has < > ` or a link with a name.",
        "doi has not 1 to 2,000 characters.",
        "theory has a line break, or a character that nobody sees.",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ethics = none", "is not TOML"),
        ("submission = 1", "'submission' is no table"),
        ('ethics = "see [the report](better.html)"', "a link with a name"),
    ],
)
def test_what_is_no_statement_is_refused(tmp_path, text, says):
    with pytest.raises(UsageError, match=says):
        read_statement(write(tmp_path, text))


def test_a_statement_that_is_not_there_names_the_way_out(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be read.*--statement-template"):
        read_statement(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('etics = "none"', "Did you mean 'ethics'"),
        (f'author = "Ada, {ADA[:-1]}6"', "last digit"),
        ('ethics = "`none`"', "ethics has < > `"),
    ],
)
def test_an_experiment_file_is_held_to_the_same(tmp_path, line, says):
    text = f'study = "s"\nfactors.variant = ["relu-dropout"]\n[submission]\n{line}\n'
    with pytest.raises(UsageError, match=says):
        read_experiment(write(tmp_path, text))


def test_answers_lie_in_the_plan_and_are_no_part_of_its_digest(tmp_path):
    text = 'study = "s"\nfactors.variant = ["relu-dropout", "leaky-dropout"]\n'
    bare = plan.read_plan(write(tmp_path, text))
    said = plan.read_plan(write(tmp_path, f'{text}[submission]\nethics = "None."\n'))
    assert bare.sha256 == said.sha256
    (tmp_path / "plan.json").write_bytes(plan.to_json(said))
    assert plan.from_json(tmp_path / "plan.json").submission.given == {"ethics": "None."}


def test_the_schema_of_experiment_files_asks_the_questions():
    table = json_schema()["$defs"]["SubmissionDetails"]["properties"]
    assert {key: described["description"] for key, described in table.items()} == QUESTIONS
    Draft202012Validator(json_schema()).validate({"submission": dict.fromkeys(QUESTIONS, "x")})


@pytest.mark.parametrize(
    ("orcid", "valid"),
    [
        (ADA, True),
        ("0000-0002-1694-233X", True),
        ("0000-0001-5109-3700", True),
        ("0000-0002-1825-0079", False),  # two digits exchanged
        ("0000-0002-1694-2330", False),
        ("0000-0002-1825-009", False),
        ("٠٠٠٠-0002-1825-0097", False),
        ("", False),
    ],
)
def test_an_orcid_has_the_check_digit_of_its_standard(orcid, valid):
    assert is_orcid(orcid) is valid


@pytest.mark.parametrize(
    ("text", "author"),
    [
        ("Ada  Lovelace ", Author("Ada Lovelace")),
        (f"Ada, https://orcid.org/{ADA}", Author("Ada", ADA)),
        ("Ada, 0000-0002-1694-233x", Author("Ada", "0000-0002-1694-233X")),
    ],
)
def test_an_author_is_read_as_people_write_one(text, author):
    assert parse_author(text) == author


@pytest.mark.parametrize("text", ["Lovelace, Ada", f", {ADA}", "A" * 301, "Ada\u202e"])
def test_what_is_no_author_is_refused(text):
    with pytest.raises(UsageError, match="write a name"):
        parse_author(text)
