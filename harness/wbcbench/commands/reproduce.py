"""``wbcbench reproduce BUNDLE``: set a bundle's study up to be run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

Into = Annotated[Path, typer.Option(help="An empty or new folder.")]


def reproduce(
    bundle: options.Bundle, into: Into = Path("reproduced"), as_json: options.AsJson = False
) -> None:
    """Set a bundle's study up again in an empty folder: plan, lock, source, steps."""
    from wbcbench.bundle.rerun import reproduce as set_up

    project = set_up(bundle, into)
    document = {
        "folder": str(project.folder),
        "study": project.submission.study,
        "files": project.files,
        "commands": project.commands,
    }
    files = f"{project.folder}: {', '.join(project.files)}"
    steps = (f"      {command}" for command in project.commands)
    text = "\n".join([files, f"Next: cd {project.folder}", *steps])
    options.print_result(document, text, "reproduce", as_json=as_json)
