"""``wbcbench cite``: the references to give with results."""

from __future__ import annotations

import typer

from wbcbench.commands import options


def cite(as_json: options.AsJson = False) -> None:
    """Print references for the program, the images and the methods as BibTeX."""
    from wbcbench.report.sections.about import references

    if as_json:
        options.print_json({"bibtex": references()}, "cite")
    else:
        typer.echo(references())
