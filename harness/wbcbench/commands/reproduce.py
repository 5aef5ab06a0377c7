"""``wbcbench reproduce BUNDLE``: a bundle's study, set up to be run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

SCHEMA = "wbcbench.reproduce/1"

Bundle = Annotated[Path, typer.Argument(help="A bundle: its folder or its zip.")]
Into = Annotated[Path, typer.Option("--into", help="An empty or new folder.")]


def reproduce(
    bundle: Bundle, into: Into = Path("reproduced"), as_json: options.AsJson = False
) -> None:
    """Set a bundle's study up again in an empty folder: plan, lock, source, steps."""
    from wbcbench.bundle.rerun import reproduce as set_up

    made = set_up(bundle, into)
    if as_json:
        document = {
            "schema": SCHEMA,
            "folder": str(made.folder),
            "study": made.submission.study,
            "files": list(made.files),
            "commands": list(made.commands),
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{made.folder}: {', '.join(made.files)}")
    typer.echo(f"Next: cd {made.folder}")
    typer.echo("\n".join(f"      {command}" for command in made.commands))
