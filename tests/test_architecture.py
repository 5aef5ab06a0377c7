"""The architecture page says what the code is: its map, its counts, and its three walks."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from house_map import PACKAGE, PAGE, Step, function, layers, room_map, walks, written

MOST_FILES = {
    "`wbcbench run`, from command to record": 12,
    "An NVML reading, to a joule in `runs.csv`": 10,
    "A row of the table, to a sentence in the report": 10,
    "`wbcbench monitor` and `Meter`, from command to record": 6,
}
WALKS = walks()
STEPS = [step for steps in WALKS.values() for step in steps]


def test_the_map_is_the_one_that_the_layer_contract_gives() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "run `make map`"


def test_every_folder_of_the_package_is_a_room_of_the_contract() -> None:
    rooms = {room for layer in layers() for room in layer}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__init__", "__pycache__"} == rooms


def test_no_folder_lies_deeper_than_two() -> None:
    folders = [p for p in PACKAGE.rglob("*") if p.is_dir() and any(p.glob("*.py"))]
    assert max(len(path.relative_to(PACKAGE).parts) for path in folders) <= 2
    assert room_map()


def test_the_page_has_these_walks() -> None:
    assert set(WALKS) == set(MOST_FILES)


@pytest.mark.parametrize("walk", MOST_FILES)
def test_a_walk_passes_few_files(walk: str) -> None:
    assert len({step.file for step in WALKS[walk]}) <= MOST_FILES[walk]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.file}:{step.function}")
def test_every_step_of_a_walk_is_in_the_code(step: Step) -> None:
    assert function(step) is not None


@pytest.mark.parametrize("walk", MOST_FILES)
def test_the_steps_of_a_walk_hang_together(walk: str) -> None:
    """Calls lead from the first step to every other, in either direction.

    Where a process is started, a part is chosen by its name or a file is read, a step follows from
    the one before it.
    """
    steps = WALKS[walk]
    reached = {steps[0]}
    for _ in steps:
        reached |= {
            step
            for before, step in zip([None, *steps], steps, strict=False)
            if (step.handed_over and before in reached)
            or any(_calls(other, step) or _calls(step, other) for other in reached)
        }
    assert not [f"{step.file}:{step.function}" for step in steps if step not in reached]


def _calls(here: Step, there: Step) -> bool:
    """Whether ``here`` names ``there``, and its file is the same or imports from that module."""
    is_known = here.file == there.file or _module(there) in _imported(here)
    return is_known and there.function.rsplit(".", 1)[-1] in _names(here)


def _module(step: Step) -> str:
    dotted = step.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"wbcbench.{dotted}"


@cache
def _imported(step: Step) -> set[str]:
    """Every module that the file of a step imports, or imports from."""
    froms = [n for n in ast.walk(ast.parse(step.path.read_text())) if isinstance(n, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
    return names | {str(node.module) for node in froms}


@cache
def _names(step: Step) -> set[str]:
    """Every name in the definition of a step."""
    node = function(step)
    assert node is not None
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
