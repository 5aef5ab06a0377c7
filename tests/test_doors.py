"""Each heavy or vendor library has its doors: the only modules that may import it.

Which room may import which is the contract of import-linter, in ``pyproject.toml``.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness" / "wbcbench"

DOORS = {
    "tensorflow": {"train"},
    "keras": {"train", "measure.keras"},
    "pynvml": {"power.nvml"},
    "amdsmi": {"power.amd"},
    "submitit": {"run.launchers.slurm"},
    "codecarbon": {"power.codecarbon_process"},
    "cv2": {"data.read", "data.jpeg", "data.synthetic"},
    "simplejpeg": {"data.jpeg"},
    "kagglehub": {"data"},
    "matplotlib": {"report.figures", "report.style"},
    "scipy": {"stats", "energy.sensor_fit"},
    "statsmodels": {"stats"},
    "pandas": {"energy.wall_logs", "table"},
    "tensorboard": {"train.tensorboard_log", "table.tensorboard"},
    "typst": {"report.paper"},
    "altair": {"report.interactive"},
    "typer": {"cli", "commands"},
    "rocrate": {"bundle"},
}


@cache
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


# Part of a declared library and released with it.
BROUGHT = {"markupsafe": "jinja2", "pydantic-core": "pydantic"}


def declared(project: dict[str, Any], *extras: str) -> set[str]:
    """The distributions that the project and these extras need."""
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def test_every_dependency_is_imported_and_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    of_library = packages_distributions()
    libraries = set(imports()) - set(sys.stdlib_module_names) - {"wbcbench"}
    imported = {
        canonicalize_name(name)
        for library in libraries
        for name in of_library.get(library, [library])
    }
    imported = {BROUGHT.get(name, name) for name in imported}
    assert declared(project, "train") - imported == set()
    assert imported - declared(project, "train", "amd", "kaggle", "interactive", "slurm") == set()


FACTORS = {1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9, 1024, 3600, 3.6e6}
NO_UNITS = {"power/nvml.py": "the digits of a CUDA version"}


def test_units_are_converted_in_one_place() -> None:
    """Nothing but ``core.units`` multiplies or divides by what one unit has of another."""

    def converts(node: ast.AST) -> bool:
        is_product = isinstance(node, ast.BinOp) and isinstance(
            node.op, ast.Mult | ast.Div | ast.FloorDiv
        )
        return is_product and any(
            isinstance(side, ast.Constant) and side.value in FACTORS
            for side in (node.left, node.right)
        )

    assert places_of(converts) <= {"core/units.py", *NO_UNITS}


def places_of(is_sought: Callable[[Any], bool]) -> set[str]:
    """The modules that hold such a node."""
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(map(is_sought, ast.walk(ast.parse(path.read_text()))))
    }


def test_nvml_is_opened_and_closed_in_one_place() -> None:
    def opens(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in {"nvmlInit", "nvmlShutdown"}

    assert places_of(opens) == {"power/nvml.py"}


def test_errors_become_exit_codes_at_the_door_of_each_program() -> None:
    """The command line's, and the trainer's, which is a process of its own."""

    def reads_exit_code(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "exit_code"

    def ends_the_process(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        return ast.unparse(node.func) in {"sys.exit", "exit"} or "_exit(status)" in ast.unparse(
            node
        )

    assert places_of(reads_exit_code) == {"cli.py", "train/trainer.py"}
    assert places_of(ends_the_process) == {"cli.py", "train/trainer.py"}


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
