"""``wbcbench submit STUDY``: a bundle that a stranger can check without running anything."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError

if TYPE_CHECKING:
    from wbcbench.bundle.document import Author
    from wbcbench.bundle.write import Written
    from wbcbench.study.experiment import SubmissionDetails as Planned

SCHEMA = "wbcbench.submit/1"

_ORCID = re.compile(r"(?:https://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")

Authors = Annotated[
    list[str] | None,
    typer.Option("--author", metavar="NAME[, ORCID]", help="Who hands it in; may be given again."),
]
Licence = Annotated[
    str | None, typer.Option("--licence", help="An SPDX name such as MIT or CC-BY-4.0.")
]
Course = Annotated[str | None, typer.Option("--course", help="What it is handed in for.")]
Title = Annotated[str | None, typer.Option("--title", help="Of the bundle.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder or zip. [default: submission-STUDY-DATE here]"),
]
Zip = Annotated[bool, typer.Option("--zip", help="One zip file instead of a folder.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="WBCBENCH_DATA", help="Images, for the list of their digests."),
]
NoRedact = Annotated[
    bool,
    typer.Option(
        "--no-redact", help="Leave paths, user and host names, serials and UUIDs as they are."
    ),
]
AllowSynthetic = Annotated[
    bool, typer.Option("--allow-synthetic", help="Practise with a study of made-up signals.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")]


def submit(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    author: Authors = None,
    licence: Licence = None,
    course: Course = None,
    title: Title = None,
    out: Out = None,
    as_zip: Zip = False,
    data: Data = None,
    no_redact: NoRedact = False,
    allow_synthetic: AllowSynthetic = False,
    force: Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a study as a bundle: plan, runs, traces, report, papers, digests of everything."""
    from wbcbench.bundle.write import Order
    from wbcbench.bundle.write import submit as write
    from wbcbench.core.study_folder import require_study

    planned = _planned(require_study(results, study))
    people = planned.author or os.environ.get("WBCBENCH_AUTHOR", "")
    named = author or (people.split(";") if people else [])
    terms = licence or planned.licence or os.environ.get("WBCBENCH_LICENCE")
    order = Order(
        results=results,
        study=study,
        authors=_authors(named or [_asked("author", "Author", "--author NAME")]),
        licence=_licence(terms or _asked("licence", "Licence", "--licence")),
        course=course or planned.course,
        title=title or planned.title,
        out=out,
        as_zip=as_zip or (out is not None and out.suffix == ".zip"),
        data=data,
        redact=not no_redact,
        allow_synthetic=allow_synthetic,
        force=force,
    )
    _tell(write(order), as_json=as_json)


def _planned(folder: Path) -> Planned:
    """What the experiment file says of the submission."""
    from wbcbench.core.study_folder import PLAN
    from wbcbench.study import plan
    from wbcbench.study.experiment import SubmissionDetails

    path = folder / PLAN
    return plan.from_json(path).submission if path.exists() else SubmissionDetails()


def _asked(key: str, word: str, option: str) -> str:
    """Ask a person; raises ``UsageError`` where there is nobody to ask."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return str(typer.prompt(word, err=True))
    raise UsageError(
        f"The bundle needs {'an author' if key == 'author' else 'a licence'}: who may use it how "
        f'must stand in it. Say {option}, or write {key} = "…" under [submission] in the '
        "experiment file and plan again."
    )


def _authors(named: list[str]) -> tuple[Author, ...]:
    from wbcbench.bundle.document import Author

    found = []
    for text in named:
        name, _, rest = text.partition(",")
        orcid = _ORCID.fullmatch(rest.strip())
        if not name.strip() or (rest.strip() and orcid is None):
            raise UsageError(
                f"'{text}' is no author: a name, or a name, a comma and an ORCID such as "
                "0000-0002-1825-0097."
            )
        found.append(Author(" ".join(name.split()), orcid[1] if orcid else None))
    return tuple(found)


def _licence(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+ -]*", text.strip()):
        raise UsageError(
            f"'{text}' is no licence name: letters, digits, dots and hyphens, as in MIT, "
            "CC-BY-4.0 or CC0-1.0 (https://spdx.org/licenses)."
        )
    return text.strip()


def _tell(made: Written, *, as_json: bool) -> None:
    from wbcbench.bundle.write import submitted_document, submitted_lines

    if as_json:
        document = {"schema": SCHEMA, **submitted_document(made)}
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(submitted_lines(made)))
