"""The map of the package and its registry, for the page; ``make map`` writes them.

A room is a top-level package of ``wbcbench``; its first docstring line says what it is for. What a
room may import follows from ``[tool.importlinter]`` in ``pyproject.toml`` alone.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from wbcbench.registry import KINDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness" / "wbcbench"
PAGE = ROOT / "harness" / "ARCHITECTURE.md"
BLOCK = re.compile(r"(<!-- (map|parts): begin[^>]*-->).*?(<!-- \2: end -->)", re.DOTALL)
STEP = re.compile(r"^\d+\. `([\w/.]+\.py):([\w.]+)`")


@dataclass(frozen=True)
class Step:
    """One function of a walk; ``handed_over`` where nothing calls it by its name."""

    file: str
    function: str
    handed_over: bool

    @property
    def path(self) -> Path:
        return PACKAGE / self.file


def layers() -> list[list[str]]:
    """The rooms from the top down; rooms of one layer do not know each other."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [contract] = [c for c in tools["importlinter"]["contracts"] if c["type"] == "layers"]
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def room_map() -> str:
    """A table of the rooms: what each is for, and how many files it has."""
    lines = ["| room | what it is for | files |", "|---|---|---|"]
    for layer in layers():
        for room in layer:
            file = PACKAGE / f"{room}.py"
            files = [file] if file.exists() else sorted((PACKAGE / room).rglob("*.py"))
            shown = f"`{room}.py`" if file.exists() else f"`{room}/`"
            lines.append(f"| {shown} | {_about(files, room)} | {len(files)} |")
    arrows = " → ".join(" \\| ".join(layer) for layer in layers())
    return "\n".join([f"{arrows}", "", *lines])


def _about(files: list[Path], room: str) -> str:
    first = PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse((first if first in files else files[0]).read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def part_list() -> str:
    """A table of the registry: every part that is chosen by name, by kind."""
    lines = ["| kind | names |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(parts)} |" for kind, parts in KINDS.items()]
    return "\n".join(lines)


def walks() -> dict[str, list[Step]]:
    """The walks of the page, by heading: the numbered ``file:function`` lines below it."""
    found: dict[str, list[Step]] = {}
    heading = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif match := STEP.match(line):
            handed_over = line.endswith(("(process)", "(by name)", "(file)"))
            found.setdefault(heading, []).append(Step(match[1], match[2], handed_over))
    return found


def function(step: Step) -> ast.AST | None:
    """The definition a step names: a function, a class, or ``Class.method``."""
    node: ast.AST | None = ast.parse(step.path.read_text())
    for name in step.function.split("."):
        children = ast.iter_child_nodes(node) if node else ()
        node = next((child for child in children if _defines(child, name)), None)
    return node


def _defines(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Assign):
        return any(getattr(target, "id", "") == name for target in node.targets)
    return getattr(node, "name", "") == name


def written(page: str) -> str:
    """The page with its tables as the code has them now."""
    tables = {"map": room_map, "parts": part_list}
    return BLOCK.sub(lambda block: f"{block[1]}\n\n{tables[block[2]]()}\n\n{block[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
