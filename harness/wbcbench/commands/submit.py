"""``wbcbench submit STUDY``: a bundle that a third party can check without running anything."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import PartlyVerifiedError, UsageError, VerificationError
from wbcbench.core.terminal import fill
from wbcbench.core.text import decode_word

Authors = Annotated[
    list[str] | None, typer.Option(metavar="NAME[, ORCID]", help="Author of the study; repeatable.")
]
Licence = Annotated[str | None, typer.Option(help="An SPDX name such as MIT or CC-BY-4.0.")]
Course = Annotated[str | None, typer.Option(help="Course it is submitted to.")]
Title = Annotated[str | None, typer.Option(help="Title of the bundle.")]
Statement = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML file of what its author says: answers, author, …"),
]
Template = Annotated[
    bool, typer.Option("--statement-template", help="Print a statement to fill in, and exit.")
]
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
NoPdf = Annotated[
    bool, typer.Option("--no-pdf", help="Leave out the paper and its figures: 0.4 MB less.")
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
    statement: Statement = None,
    statement_template: Template = False,
    out: Out = None,
    as_zip: Zip = False,
    data: Data = None,
    no_redact: NoRedact = False,
    allow_synthetic: AllowSynthetic = False,
    no_pdf: NoPdf = False,
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
    from wbcbench.report.publish import ALL_FORMATS
    from wbcbench.study import statement as statements

    if statement_template:
        typer.echo(statements.format_template(), nl=False)
        return
    said = _read_details(results, study, statement)
    given = {"author": ";".join(author or ()), "licence": licence, "course": course, "title": title}
    said |= {key: decode_word(text) for key, text in given.items() if text}
    for key in ("author", "licence"):
        if key not in said:
            said[key] = os.environ.get(f"WBCBENCH_{key.upper()}") or _ask(key)
    statements.require_sound(said, "What is said of the submission")
    authors = map(statements.parse_author, statements.split_authors(said["author"]))
    order = Order(
        results=results,
        study=study,
        authors=tuple(authors),
        licence=statements.find_licence(said["licence"]) or "",
        course=said.get("course"),
        title=said.get("title"),
        answers={key: text for key, text in said.items() if key in statements.ANSWERS},
        out=out,
        as_zip=as_zip or (out is not None and out.suffix == ".zip"),
        data=data,
        formats=tuple(name for name in ALL_FORMATS if name != "pdf" or not no_pdf),
        redact=not no_redact,
        allow_synthetic=allow_synthetic,
        force=force,
    )
    written = write_bundle(order)
    found = None if no_verify else verify_within_budget(written.path)
    lines = [fill(line, rest="  ") for line in format_lines(written)]
    lines += inspect.format_faults(found) if found else []
    document = build_document(written) | {"verify": inspect.as_document(found) if found else None}
    options.print_result(document, "\n".join(lines), "submit", as_json=as_json)
    if found and not found.verified:
        is_wrong = found.result is inspect.Result.NOT_VERIFIED
        raise (VerificationError if is_wrong else PartlyVerifiedError)(
            f"{written.path} is written, and is {found.result}: see the checks above. "
            "Mend the study and submit it again with --force."
        )


def _read_details(results: Path, study: str, statement: Path | None) -> dict[str, str]:
    """What the study's plan says about the submission, and a statement, which wins."""
    from wbcbench.core.study_folder import PLAN, require_study
    from wbcbench.study import plan
    from wbcbench.study.statement import read_statement

    path = require_study(results, study) / PLAN
    planned = plan.from_json(path).submission.given if path.exists() else {}
    return planned | (read_statement(statement).given if statement else {})


def _ask(key: str) -> str:
    """Ask for a value on a terminal; raises ``UsageError`` elsewhere."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return str(typer.prompt(key.capitalize(), err=True))
    raise UsageError(
        f'The bundle needs its {key}. Add --{key} NAME, or --statement FILE with {key} = "…"; '
        "--statement-template prints such a file."
    )
