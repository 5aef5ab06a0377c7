"""The program, its documents, templates and example files use the field's words.

Which word stands for which old one is said in `CHANGELOG.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness" / "wbcbench"
RETIRED = re.compile(
    r"\b(modelled|headline|doubt|caution|verdict|witness|stranger|net of idle|cannot[ -]tell"
    r"|least p\b|drawn cells|made-up|blocks won|right alone|hand(s|ed|ing)? in\b|by photograph"
    r"|without leaks|watcher|gross)",
    re.IGNORECASE,
)
DOCUMENTS = ("*.md", "harness/*.md", "harness/decisions/*.md", "results/*.md", "experiments/*.*")
DOCUMENTS += ("reports/*/REVIEW.md",)


def retired_words(paths: Iterable[Path]) -> list[str]:
    """Each line with a retired word, with its place."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(_without_renames(path.read_text()).splitlines(), start=1)
        if RETIRED.search(line)
    ]


def _without_renames(text: str) -> str:
    """The changelog without its table of old and new names."""
    return re.sub(r"<!-- renamed: begin -->.*<!-- renamed: end -->", "", text, flags=re.DOTALL)


def test_code_and_templates_have_no_retired_word() -> None:
    kinds = {".py", ".j2", ".typ", ".toml", ".html", ".css"}
    files = [path for path in PACKAGE.rglob("*") if path.suffix in kinds]
    assert len(files) > 100
    assert retired_words(sorted(files)) == []


def test_documents_have_no_retired_word() -> None:
    files = [path for pattern in DOCUMENTS for path in ROOT.glob(pattern)]
    assert len(files) > 30
    assert retired_words(sorted(files)) == []
