"""``wbcbench config show``: which settings hold here, and who said so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

SCHEMA = "wbcbench.config/1"

app = typer.Typer(help="Show the settings that hold here.", no_args_is_help=True)

Origin = Annotated[bool, typer.Option("--origin", help="Say where each value comes from, too.")]


@app.callback()
def config() -> None:
    """Show the settings that hold here."""


@app.command()
def show(origin: Origin = False, as_json: options.AsJson = False) -> None:
    """Show every setting's value: of the environment, a file, or the default."""
    from wbcbench.core import settings
    from wbcbench.core.text import aligned_table

    found = settings.resolve(os.environ, Path())
    if as_json:
        values = {each.setting.name: {"value": each.value, "origin": each.origin} for each in found}
        typer.echo(json.dumps({"schema": SCHEMA, "settings": values}, indent=1))
        return
    headings = ("setting", "value", "origin", "meaning")
    rows = [(e.setting.name, e.value, e.origin, e.setting.meaning) for e in found]
    shown = (0, 1, 2, 3) if origin else (0, 1, 3)
    typer.echo(
        aligned_table([headings[i] for i in shown], [[row[i] for i in shown] for row in rows])
    )
