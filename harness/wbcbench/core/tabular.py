"""Headings and rows of words, set for a terminal, as Markdown or as LaTeX; pure text."""

from __future__ import annotations

from collections.abc import Sequence

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "·": r"$\cdot$",
}

Rows = Sequence[Sequence[str]]


def aligned(headings: Sequence[str], rows: Rows) -> str:
    """Columns padded with spaces, two between; lines end without spaces."""
    table = [headings, *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(headings))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def markdown(headings: Sequence[str], rows: Rows) -> str:
    """A pipe table as GitHub renders it."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_markdown(word) for word in line)} |" for line in lines)


def latex(headings: Sequence[str], rows: Rows) -> str:
    """A ``tabular`` that needs the package booktabs; the first column is left, others right."""
    columns = "l" + "r" * (len(headings) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_line(headings),
            r"\midrule",
            *(_latex_line(row) for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def latex_text(text: str) -> str:
    """Text with every character that LaTeX gives a meaning written so that it has none."""
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_line(words: Sequence[str]) -> str:
    return " & ".join(latex_text(word) for word in words) + r" \\"


def _markdown(word: str) -> str:
    plain = word if set(word) == {"-"} else word.replace("\\", "\\\\")
    for mark in ("|", "<", "*", "`", "["):
        plain = plain.replace(mark, f"\\{mark}")
    return plain.replace("\n", " ")
