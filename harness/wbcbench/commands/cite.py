"""``wbcbench cite``: the references to give with results."""

from __future__ import annotations

import json

import typer

from wbcbench.commands import options

SCHEMA = "wbcbench.cite/1"


def cite(as_json: options.AsJson = False) -> None:
    """Print the program, the images and the methods as BibTeX."""
    from wbcbench.report.sections.about import references

    text = references()
    typer.echo(json.dumps({"schema": SCHEMA, "bibtex": text}, indent=1) if as_json else text)
