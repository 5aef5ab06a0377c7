"""What only its author can say of a study: who submits it, and answers for a bundle's documents.

All of it is one table of TOML: ``[submission]`` of the experiment file, or a file of its own that
may be written when the runs are done. It is no part of a plan's digest.
"""

from __future__ import annotations

import re
import reprlib
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from wbcbench.core.errors import UsageError, list_problems, suggest
from wbcbench.core.files import load_toml

LONGEST_NAME = 300
_LONGEST_ANSWER = 2000
_ORCID = re.compile(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", re.ASCII)
# What could hide or dress up what stands around an answer: markup, a picture, a link with a name.
_MARKUP = re.compile(r"[<>`]|\][(\[]")
# What an expression of SPDX may be and one licence is not.
_NO_LICENCE = re.compile(r"[ ()+]|^(LicenseRef-|any-OSI)")

_HEAD = """\
# What only its author can say of a study: wbcbench submit STUDY --statement FILE
#
# Text without markup. What stays empty stays open, and can be answered in the documents of the
# bundle as well. The same keys may stand under [submission] in the experiment file.
"""


@dataclass(frozen=True, slots=True)
class Author:
    """Who submits the study."""

    name: str
    orcid: str | None = None


def _ask(question: str) -> Any:
    return field(default=None, metadata={"description": question})


@dataclass(frozen=True, slots=True)
class SubmissionDetails:
    """The keys of a statement, each with its question; ``None`` and empty texts are no answer.

    The first four are of the bundle as a whole; each of the others has its place in a document.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    author: str | None = _ask(
        "A name, or several with semicolons between; each may have an ORCID after a comma."
    )
    course: str | None = _ask("The course to which the study is submitted.")
    licence: str | None = _ask("The licence of the bundle: an SPDX name such as MIT or CC-BY-4.0.")
    title: str | None = _ask("The title of the bundle.")
    supports: str | None = _ask("Which claims of the paper does this bundle support?")
    availability: str | None = _ask("Is the bundle public, and where?")
    doi: str | None = _ask("The DOI under which it is archived.")
    assumptions: str | None = _ask("Which assumptions do setting, algorithm and model make?")
    theory: str | None = _ask("Statements of the paper that need proofs, and where those are.")
    data_source: str | None = _ask("Where can the data be downloaded?")
    new_data: str | None = _ask("How were new data of the paper collected, if there are any?")
    hyperparameters: str | None = _ask("How were hyper-parameters chosen, within which bounds?")
    limits: str | None = _ask("Which limits does the paper discuss?")
    ethics: str | None = _ask("Ethics, broader impact and safeguards.")
    agreement: str | None = _ask("Do the paper's claims match these results?")
    impact: str | None = _ask("Broader impact of the work, beside its energy.")
    intended_use: str | None = _ask(
        "Intended use of the networks, beyond comparing energy and accuracy."
    )

    @property
    def given(self) -> dict[str, str]:
        """What is answered, by key, each on one line."""
        texts = {key: " ".join((text or "").split()) for key, text in asdict(self).items()}
        return {key: text for key, text in texts.items() if text}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the authors."""
        return tuple(each.partition(",")[0].strip() for each in split_authors(self.author or ""))


QUESTIONS = {each.name: each.metadata["description"] for each in fields(SubmissionDetails)}
ANSWERS = tuple(QUESTIONS)[4:]
"""The keys of places in the documents."""


def read_statement(path: Path) -> SubmissionDetails:
    """Read a statement: a TOML file of its keys, or one that has them in a table ``submission``.

    Raises:
        UsageError: It cannot be read; or everything that is wrong in it.
    """
    try:
        document = load_toml(path)
    except OSError as error:
        raise UsageError(
            f"The statement {path} cannot be read: {error.strerror}. "
            "`wbcbench submit --statement-template` prints one to fill in."
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    table = document.get("submission", document)
    if not isinstance(table, dict):
        raise UsageError(f"{path}: 'submission' is no table. Write [submission] above its keys.")
    above = [key for key in document if key in QUESTIONS] if table is not document else []
    require_sound(table, str(path), [f"'{key}' stands above [submission]" for key in above])
    return SubmissionDetails(**table)


def require_sound(table: Mapping[str, Any], source: str, problems: Sequence[str] = ()) -> None:
    """Raise ``UsageError`` with everything that is wrong in a statement.

    Args:
        table: Its keys and texts.
        source: Where it is from.
        problems: What else is wrong there.
    """
    if found := [*problems, *_find_problems(table)]:
        raise list_problems(source, [f"{problem}." for problem in found])


def _find_problems(table: Mapping[str, Any]) -> Iterator[str]:
    for key, text in table.items():
        if key not in QUESTIONS:
            guess = suggest(key, QUESTIONS).replace("Did", "did")
            yield f"there is no key {reprlib.repr(key)}{guess and f' ({guess})'}"
        elif text is not None and not isinstance(text, str):
            yield f"{key} is no text in quotes"
        elif text and text.strip() and (problem := _find_problem(key, " ".join(text.split()))):
            yield f"{key} {problem}"


def _find_problem(key: str, text: str) -> str:
    """What is wrong with the text of a key; empty for nothing."""
    if key in ANSWERS:
        return find_answer_problem(text)
    if key == "author":
        return next(filter(None, map(_find_author_problem, split_authors(text))), "")
    if key == "licence" and find_licence(text) is None:
        return (
            f"is {reprlib.repr(text)}, no SPDX identifier of one licence such as MIT or CC-BY-4.0 "
            "(see https://spdx.org/licenses)"
        )
    return "" if is_name(text) else f"is not one line of up to {LONGEST_NAME} characters"


def find_answer_problem(text: str) -> str:
    """Why a text cannot stand in the place of an answer; empty if it can."""
    if not 0 < len(text) <= _LONGEST_ANSWER:
        return f"has not 1 to {_LONGEST_ANSWER:,} characters"
    # A character is seen, or a space of some width.
    if not all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text):
        return "has a line break, or a character that nobody sees"
    return "has < > ` or a link with a name" if _MARKUP.search(text) else ""


def is_name(text: str) -> bool:
    """Whether a text can be a name or a title: one line, and not endless."""
    return text.isprintable() and bool(text.strip()) and len(text) <= LONGEST_NAME


def find_licence(name: str) -> str | None:
    """The SPDX identifier of one licence, in its own spelling; ``None`` if there is none."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        licence = canonicalize_license_expression(name)
    except InvalidLicenseExpression:
        return None
    return None if _NO_LICENCE.search(licence) else licence


def split_authors(text: str) -> list[str]:
    """A text of each author."""
    return [each for each in text.split(";") if each.strip()]


def parse_author(text: str) -> Author:
    """An author as people write one: a name, which may have an ORCID after a comma.

    Raises:
        UsageError: It is none.
    """
    if problem := _find_author_problem(text):
        raise UsageError(f"The author {problem}.")
    name, orcid = _split_author(text)
    return Author(name, orcid or None)


def _find_author_problem(text: str) -> str:
    name, orcid = _split_author(text)
    if not is_name(name) or (orcid and not _ORCID.fullmatch(orcid)):
        return (
            f"is {reprlib.repr(text.strip())}; write a name, or a name, a comma and an ORCID such "
            "as 0000-0002-1825-0097"
        )
    if orcid and not is_orcid(orcid):
        return f"has the ORCID {orcid}, whose last digit does not fit the others"
    return ""


def _split_author(text: str) -> tuple[str, str]:
    name, _, orcid = text.partition(",")
    return " ".join(name.split()), orcid.strip().removeprefix("https://orcid.org/").upper()


def is_orcid(text: str) -> bool:
    """Whether a text is an ORCID, with the check digit of ISO 7064 MOD 11-2."""
    if not _ORCID.fullmatch(text):
        return False
    digits, total = text.replace("-", ""), 0
    for digit in digits[:-1]:
        total = 2 * (total + int(digit)) % 11
    return "0123456789X"[(12 - total) % 11] == digits[-1]


def format_template() -> str:
    """A statement to fill in: every key with its question."""
    lines = [_HEAD]
    for key, question in QUESTIONS.items():
        asked = textwrap.wrap(question, 98, initial_indent="# ", subsequent_indent="# ")
        lines += [*asked, f'{key} = ""', ""]
    return "\n".join(lines).rstrip() + "\n"
