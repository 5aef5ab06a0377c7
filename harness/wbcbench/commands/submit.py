"""``wbcbench submit STUDY``: a bundle that a third party can check without running anything."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import PartlyVerifiedError, UsageError, VerificationError
from wbcbench.core.text import decode_word

if TYPE_CHECKING:
    from wbcbench.bundle.document import Author
    from wbcbench.study.experiment import SubmissionDetails

_ORCID = re.compile(r"(?:https://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])", re.ASCII)

Authors = Annotated[
    list[str] | None, typer.Option(metavar="NAME[, ORCID]", help="Author of the study; repeatable.")
]
Licence = Annotated[str | None, typer.Option(help="An SPDX name such as MIT or CC-BY-4.0.")]
Course = Annotated[str | None, typer.Option(help="Course it is submitted to.")]
Title = Annotated[str | None, typer.Option(help="Title of the bundle.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder or zip to write; a dated folder if left out.")
]
Zip = Annotated[bool, typer.Option("--zip", help="One zip file instead of a folder.")]
Data = Annotated[
    Path | None, typer.Option(envvar="WBCBENCH_DATA", help="Images, to list the digest of each.")
]
NoRedact = Annotated[
    bool, typer.Option("--no-redact", help="Keep paths, user and host names, serials and UUIDs.")
]
AllowSynthetic = Annotated[
    bool, typer.Option("--allow-synthetic", help="Allow a study of the simulated sensor.")
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Write the bundle and do not check it.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")]


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
    no_verify: NoVerify = False,
    force: Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a study as a bundle, with digests of everything, and check it as `verify` does.

    It holds plan, runs, traces, report and documents. Exit 6 if the check finds a fault.
    """
    from wbcbench.bundle.verify import inspect
    from wbcbench.bundle.verify.budget import verify_within_budget
    from wbcbench.bundle.write import Order, build_document, format_lines
    from wbcbench.bundle.write import submit as write_bundle
    from wbcbench.core.study_folder import require_study

    details = _read_details(require_study(results, study))
    people = details.author or os.environ.get("WBCBENCH_AUTHOR", "")
    authors = author or (people.split(";") if people else [])
    terms = licence or details.licence or os.environ.get("WBCBENCH_LICENCE")
    order = Order(
        results=results,
        study=study,
        authors=_parse_authors(authors or [_ask("author", "an author", "--author NAME")]),
        licence=_check_licence(terms or _ask("licence", "a licence", "--licence NAME")),
        course=decode_word(course) if course else details.course,
        title=decode_word(title) if title else details.title,
        out=out,
        as_zip=as_zip or (out is not None and out.suffix == ".zip"),
        data=data,
        redact=not no_redact,
        allow_synthetic=allow_synthetic,
        force=force,
    )
    written = write_bundle(order)
    found = None if no_verify else verify_within_budget(written.path)
    lines = [*format_lines(written), *(inspect.format_faults(found) if found else ())]
    document = build_document(written) | {"verify": inspect.as_document(found) if found else None}
    options.print_result(document, "\n".join(lines), "submit", as_json=as_json)
    if found and not found.verified:
        is_wrong = found.result is inspect.Result.NOT_VERIFIED
        raise (VerificationError if is_wrong else PartlyVerifiedError)(
            f"{written.path} is written, and is {found.result}: see the checks above. "
            "Mend the study and submit it again with --force."
        )


def _read_details(folder: Path) -> SubmissionDetails:
    """What the experiment file says about the submission."""
    from wbcbench.core.study_folder import PLAN
    from wbcbench.study import plan
    from wbcbench.study.experiment import SubmissionDetails

    path = folder / PLAN
    return plan.from_json(path).submission if path.exists() else SubmissionDetails()


def _ask(key: str, what: str, option: str) -> str:
    """Ask for a value on a terminal; raises ``UsageError`` elsewhere."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return str(typer.prompt(key.capitalize(), err=True))
    raise UsageError(
        f'The bundle needs {what}. Add {option}, or write {key} = "…" under [submission] in the '
        "experiment file and plan again."
    )


def _parse_authors(texts: list[str]) -> tuple[Author, ...]:
    from wbcbench.bundle.document import Author

    authors = []
    for text in map(decode_word, texts):
        name, _, rest = text.partition(",")
        orcid = _ORCID.fullmatch(rest.strip())
        if not name.strip() or (rest.strip() and orcid is None):
            raise UsageError(
                f"'{text}' is no author. Write a name, or a name, a comma and an ORCID such as "
                "0000-0002-1825-0097."
            )
        authors.append(Author(" ".join(name.split()), orcid[1] if orcid else None))
    return tuple(authors)


def _check_licence(text: str) -> str:
    from wbcbench.bundle.document import find_licence

    licence = find_licence(text.strip())
    if licence is None:
        raise UsageError(
            f"'{text}' is no SPDX identifier of one licence, such as MIT, CC-BY-4.0 or CC0-1.0. "
            "https://spdx.org/licenses lists them."
        )
    return licence
