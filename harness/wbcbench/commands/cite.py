"""``wbcbench cite``: the references to give with results."""

from __future__ import annotations

from wbcbench.commands import options


def cite(as_json: options.AsJson = False) -> None:
    """Print references as BibTeX: program, published report, images, CodeCarbon, Keras, methods."""
    from wbcbench.report.sections.methods import references

    options.print_result({"bibtex": references()}, references(), "cite", as_json=as_json)
