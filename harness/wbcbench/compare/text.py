"""A comparison for people: plain text, GitHub's Markdown, or LaTeX."""

from __future__ import annotations

from wbcbench.compare.result import Comparison
from wbcbench.compare.sections import ComparisonTable, counts, headline, sections
from wbcbench.core.files import aligned, latex, latex_text, markdown
from wbcbench.core.text import printable


def as_text(found: Comparison) -> str:
    """Tables padded for a terminal."""
    blocks = [headline(found)]
    for each in sections(found):
        below = "".join(f"\n  {line}" for line in each.below)
        blocks.append(f"{aligned(each.headings, each.rows)}{below}")
    blocks.append("\n".join([*counts(found), *(f"Note: {note}" for note in found.notes)]))
    return printable("\n\n".join(blocks))


def as_markdown(found: Comparison) -> str:
    """Headed pipe tables, fit for a job summary."""
    blocks = [f"## Comparison of {', '.join(found.studies)}", headline(found)]
    for each in sections(found):
        blocks += [f"### {each.title}", markdown(each.headings, each.rows), *each.below]
    blocks.append("\n".join(f"- {line}" for line in [*counts(found), *found.notes]))
    return printable("\n\n".join(blocks))


def as_latex(found: Comparison) -> str:
    """One ``tabular`` for each table, the words around them as comments."""
    blocks = ["\n".join(f"% {printable(line)}" for line in [headline(found), *_said(found)])]
    blocks += [_latex(each) for each in sections(found)]
    return "\n\n".join(blocks)


def _said(found: Comparison) -> list[str]:
    return [*counts(found), *found.notes]


def _latex(each: ComparisonTable) -> str:
    below = "".join(f"\n\n{latex_text(line)}." for line in each.below)
    return f"% {each.title}\n{latex(each.headings, each.rows)}{below}"
