"""Settings: what a user would otherwise repeat with every command.

    command line > WBCBENCH_… > ./wbcbench.toml > [tool.wbcbench] of ./pyproject.toml
    > wbcbench.toml in the user's configuration folder > the command's own default

A setting is an environment variable with a name in files. What a file sets is put into the
environment where the variable is not set, so that options and the processes that a command starts
read one place. What was requested of a run is in its ``spec.json``.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wbcbench.core.errors import UsageError, list_problems, suggest
from wbcbench.core.files import load_toml

FILE_NAME = "wbcbench.toml"
DEFAULT = "default"
BASELINE = "WBCBENCH_BASELINE"

Kind = Literal["folder", "word", "words"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: Its key in files.
        kind: A folder (relative to the file that names it), a word, or words joined by commas.
        default: What commands do when it is not set.
        meaning: One line for people.
    """

    name: str
    kind: Kind
    default: str
    meaning: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"WBCBENCH_{self.name.upper()}"


SETTINGS = (
    Setting("data", "folder", "the embedded synthetic images", "folder of the images"),
    Setting("results", "folder", "results", "folder that holds the runs"),
    Setting("reports", "folder", "reports", "folder that holds the reports"),
    Setting("study", "word", "runs", "study of commands that name none"),
    Setting(
        "baseline",
        "word",
        "the plan's, or of the lowest levels",
        "variant that comparisons are against where the plan fixes none",
    ),
    Setting("meters", "words", "auto", "meters of `run` and `monitor`"),
    Setting("gpus", "words", "every visible one", "GPUs of `run` and `monitor`"),
    Setting("country", "word", "none: a range of grids", "ISO 3166 code of the grid of `run`"),
    Setting(
        "author",
        "word",
        "the experiment file's",
        "authors of a bundle: NAME[, ORCID], separated by ;",
    ),
    Setting("licence", "word", "the experiment file's", "licence of a bundle, as its SPDX name"),
    Setting("cache", "folder", "the user's cache folder", "folder for decoded images"),
    Setting(
        "lock_dir",
        "folder",
        "the user's state folder",
        "locks and notes of power limits; one for all on a machine",
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Resolved:
    """The value of one setting, and where it is from: ``default``, a variable or a file."""

    setting: Setting
    value: str
    origin: str


def apply(environment: MutableMapping[str, str], here: Path) -> None:
    """Put what the files set into the environment where it is not set there.

    Raises:
        UsageError: A file is not TOML; or everything that is wrong in its keys.
    """
    for resolved in resolve(environment, here):
        if resolved.origin not in (DEFAULT, resolved.setting.variable):
            environment[resolved.setting.variable] = resolved.value


def resolve(environment: Mapping[str, str], here: Path) -> list[Resolved]:
    """The value of every setting; raises like :func:`apply`.

    Args:
        environment: Where variables are looked up; an empty one sets nothing.
        here: The folder whose files are read.
    """
    files = list(_read_files(here))
    resolved = []
    for setting in SETTINGS:
        variable = setting.variable
        sources = [(values[setting.name], path) for path, values in files if setting.name in values]
        if environment.get(variable):
            resolved.append(Resolved(setting, environment[variable], variable))
        else:
            resolved.append(Resolved(setting, *next(iter(sources), (setting.default, DEFAULT))))
    return resolved


def find_results() -> Path:
    """Where a command of this folder would look for runs; raises like :func:`apply`."""
    values = {each.setting.name: each.value for each in resolve(os.environ, Path())}
    return Path(values["results"])


def chosen_baseline() -> str | None:
    """The baseline that the settings choose; ``None`` if they choose none."""
    return os.environ.get(BASELINE) or None


def _read_files(here: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Every file that sets something with its values, the strongest first."""
    import platformdirs

    own, project = here / FILE_NAME, here / "pyproject.toml"
    user = Path(platformdirs.user_config_dir("wbcbench")) / FILE_NAME
    tools = _read_toml(project).get("tool", {})
    tables = {
        own: _read_toml(own),
        project: tools.get("wbcbench", {}) if isinstance(tools, dict) else None,
        user: _read_toml(user),
    }
    for path, keys in tables.items():
        if not isinstance(keys, dict):
            raise UsageError(
                f"{path}: tool.wbcbench is not a table; write [tool.wbcbench] above its keys."
            )
        if problems := [found for pair in keys.items() if (found := _find_problem(*pair))]:
            raise list_problems(path, problems)
        yield str(path), {name: _parse_value(path, name, value) for name, value in keys.items()}


def _read_toml(path: Path) -> dict[str, Any]:
    """The file's keys; none if there is no file."""
    if path.is_fifo():
        raise UsageError(f"{path} is a pipe, which holds no settings. Remove it.")
    try:
        return load_toml(path)
    except (FileNotFoundError, NotADirectoryError):  # as below /dev/null
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The settings in {path} cannot be read: {error}. Repair the file, or remove it."
        ) from error


def _find_problem(name: str, value: Any) -> str:
    """Why a key cannot stand in a file of settings, in one sentence; empty if it can."""
    if name not in _BY_NAME:
        guess = suggest(name, _BY_NAME) or f"Known: {', '.join(sorted(_BY_NAME))}."
        return f"There is no setting {reprlib.repr(name)}. {guess}"
    setting = _BY_NAME[name]
    if setting.kind == "words" and isinstance(value, list):
        value = ",".join(map(str, value))
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return ""
    return f"{name} is {reprlib.repr(value)}, but must be text: {setting.meaning}."


def _parse_value(path: Path, name: str, value: Any) -> str:
    """One key's value as the variable would hold it."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if _BY_NAME[name].kind != "folder":
        return str(value)
    return str(path.parent / os.path.expanduser(value))  # noqa: PTH111 may name no user of here
