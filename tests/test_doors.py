"""Each heavy or vendor library has its doors: the only modules that may import it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "harness" / "wbcbench"

DOORS = {
    "tensorflow": {"train", "measure.meter"},
    "keras": {"train", "measure.keras"},
    "pynvml": {"power"},
    "codecarbon": {"power.codecarbon"},
    "cv2": {"data"},
    "kagglehub": {"data"},
    "matplotlib": {"report"},
    "scipy": {"stats"},
    "statsmodels": {"stats"},
    "tensorboard": {"train.tensorboard_log", "table.tensorboard"},
    "typst": {"report"},
    "altair": {"report"},
    "typer": {"cli", "commands"},
    "rocrate": {"bundle"},
}


def imports() -> dict[str, set[str]]:
    """Library → the modules of ours that import it, type checking left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for name in _imported(ast.parse(path.read_text())):
            found[name.split(".")[0]].add(module)
    return found


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        names |= _imported(node)
    return names


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_imported_through_its_doors_alone(library: str) -> None:
    doors = [f"{door}." for door in DOORS[library]]
    others = [each for each in imports()[library] if not f"{each}.".startswith(tuple(doors))]
    assert not others


def test_vendor_units_are_converted_in_one_place() -> None:
    """3.6e6 joules a kilowatt-hour stands in ``units`` and nowhere else in code."""
    places = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in {3.6e6}
    }
    assert places <= {"units.py"}


FILE = re.compile(
    r"(?:[\w.*{}-]+/)*([\w.*-]+\.(?:json|jsonl|csv|parquet|txt|md|cff|diff|tar|lock|html|pdf))"
)


def file_names(text: object) -> str | None:
    """The file that a string names, if it is a name or a path and no sentence."""
    found = FILE.fullmatch(text) if isinstance(text, str) else None
    return found[1] if found else None


def literals(path: Path) -> set[object]:
    """Every constant of a module's code, docstrings left out."""
    tree = ast.parse(path.read_text())
    words = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in constants if id(node) not in words}


OWNERS = ["core/run_folder.py", "core/study_folder.py", "bundle/layout.py", "report/__init__.py"]


@pytest.mark.parametrize("owner", OWNERS)
def test_one_module_knows_the_file_names_of_a_folder(owner: str) -> None:
    """A run's folder, a study's, a bundle, a report: nothing else spells their names."""
    names = {file_names(value) for value in literals(PACKAGE / owner)} - {None}
    assert len(names) >= 3
    elsewhere = {
        (str(path.relative_to(PACKAGE)), file_names(value))
        for path in PACKAGE.rglob("*.py")
        for value in literals(path)
        if path != PACKAGE / owner and file_names(value) in names
    }
    assert not elsewhere
