"""``wbcbench config show``: the settings in force here, and where each comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

app = typer.Typer(help="Show the settings in force here.", no_args_is_help=True)

Origin = Annotated[bool, typer.Option("--origin", help="Also show where each value comes from.")]


@app.callback()
def config() -> None:
    """Show the settings in force here."""


@app.command()
def show(origin: Origin = False, as_json: options.AsJson = False) -> None:
    """Show every setting's value: from the environment, a file, or the default."""
    from wbcbench.core import settings

    values = settings.resolve(os.environ, Path())
    document = {v.setting.name: {"value": v.value, "origin": v.origin} for v in values}
    headings = ("setting", "value", *["origin"] * origin, "meaning")
    rows = [(v.setting.name, v.value, *[v.origin] * origin, v.setting.meaning) for v in values]
    if as_json:
        options.print_json({"settings": document}, "config")
    else:
        options.print_table(headings, rows, folds="meaning")
