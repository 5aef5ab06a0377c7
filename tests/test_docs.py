"""The documents: links lead somewhere, decisions are numbered once, parts are described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wbcbench import registry
from wbcbench.commands.list_runs import describe_part

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "harness").rglob("*.md"), *(ROOT / "results").glob("*.md")]
PAGES += (ROOT / "reports").glob("*/REVIEW.md")
PAGES = [page for page in PAGES if "node_modules" not in page.parts]
GUIDES = ["ARCHITECTURE.md", "MEASUREMENT.md"]
DECISION = re.compile(r"decisions/(\d{4}(?:-[a-z-]+)?)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("guide", GUIDES)
def test_every_module_that_a_guide_names_is_there(guide: str) -> None:
    text = (ROOT / "harness" / guide).read_text().split("## To add a part")[0]
    named = re.findall(r"`([\w/]+\.py)`", text)
    assert named
    assert not [each for each in named if not (ROOT / "harness" / "wbcbench" / each).exists()]


def test_every_decision_that_code_names_is_there() -> None:
    files = [*(ROOT / "harness" / "wbcbench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    files += [ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    named = {name for file in files for name in DECISION.findall(file.read_text())}
    assert named
    there = [path.name for path in (ROOT / "harness" / "decisions").glob("*.md")]
    assert {name for name in named if not any(file.startswith(name) for file in there)} == set()


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:4] for path in (ROOT / "harness" / "decisions").glob("*.md")]
    assert len(numbers) == len(set(numbers))
    assert all(number.isdigit() for number in numbers)


def test_the_locks_hold_no_download_addresses() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "://" not in lock.read_text()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, parts in registry.KINDS.items() for name in parts],
)
def test_every_part_of_the_registry_is_where_it_says_and_described(kind: str, name: str) -> None:
    """``wbcbench list parts`` prints the first line of a part's own docstring."""
    part = registry.load_part(kind, name)
    described = describe_part(kind, name)
    assert described[:1].isupper()
    assert len(described) >= 20
    inherited = (type(part).__doc__ or "").strip() if kind == "variant" else ""
    assert described != inherited.partition("\n")[0]
