"""Settings: what a user would otherwise repeat with every command.

    command line > WBCBENCH_… > ./wbcbench.toml > [tool.wbcbench] of ./pyproject.toml
    > wbcbench.toml in the user's configuration folder > the command's own default

A setting is an environment variable with a name in files. Values of files are put into the
environment where it has none, so that options and the processes that a command starts have one
place to look. The settings of a run are stored in its ``spec.json``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wbcbench.core.errors import UsageError, unknown_name

FILE_NAME = "wbcbench.toml"
DEFAULT = "default"

Kind = Literal["folder", "word", "words"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: Its key in files.
        kind: A folder (relative to the file that names it), a word, or words joined by commas.
        default: What commands do without it.
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
    Setting("meters", "words", "auto", "meters of `run` and `monitor`"),
    Setting("gpus", "words", "every visible one", "GPUs of `run` and `monitor`"),
    Setting("country", "word", "DEU", "ISO 3166 code of the grid of `run`"),
    Setting(
        "author",
        "word",
        "the experiment file's",
        "authors of a bundle: NAME[, ORCID], separated by ;",
    ),
    Setting("licence", "word", "the experiment file's", "licence of a bundle, as its SPDX name"),
    Setting("cache", "folder", "the user's cache folder", "folder for decoded images"),
    Setting(
        "lock_dir", "folder", "the system's temporary folder", "folder for this machine's lock"
    ),
)
_BY_NAME = {each.name: each for each in SETTINGS}


@dataclass(frozen=True, slots=True)
class Resolved:
    """The value of one setting, and where it comes from: ``default``, a variable or a file."""

    setting: Setting
    value: str
    origin: str


def apply(environment: MutableMapping[str, str], here: Path) -> None:
    """Set the environment variables that only files give a value.

    Raises:
        UsageError: A file is not TOML, or holds an unknown setting.
    """
    for found in resolve(environment, here):
        if found.origin not in (DEFAULT, found.setting.variable):
            environment[found.setting.variable] = found.value


def resolve(environment: Mapping[str, str], here: Path) -> list[Resolved]:
    """The value of every setting; raises like :func:`apply`.

    Args:
        environment: Where variables are looked up; an empty one counts as unset.
        here: The folder whose files are read.
    """
    said = list(_files(here))
    return [_resolved(each, environment, said) for each in SETTINGS]


def _resolved(
    setting: Setting, environment: Mapping[str, str], said: list[tuple[Path, dict[str, str]]]
) -> Resolved:
    if environment.get(setting.variable):
        return Resolved(setting, environment[setting.variable], setting.variable)
    for path, values in said:
        if setting.name in values:
            return Resolved(setting, values[setting.name], str(path))
    return Resolved(setting, setting.default, DEFAULT)


def _files(here: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Every file that exists with its settings, the strongest first."""
    import platformdirs

    yield from _said(here / FILE_NAME, _toml(here / FILE_NAME))
    project = here / "pyproject.toml"
    yield from _said(project, _toml(project).get("tool", {}).get("wbcbench", {}))
    user = Path(platformdirs.user_config_dir("wbcbench")) / FILE_NAME
    yield from _said(user, _toml(user))


def _toml(path: Path) -> dict[str, Any]:
    """The file's keys; none if it is not there."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The settings in {path} cannot be read: {error}. Correct the file or remove it."
        ) from error


def _said(path: Path, keys: Any) -> Iterator[tuple[Path, dict[str, str]]]:
    if not isinstance(keys, dict):
        raise UsageError(
            f"{path}: tool.wbcbench is not a table; write [tool.wbcbench] above its keys."
        )
    if keys:
        yield path, {name: _text(path, name, value) for name, value in keys.items()}


def _text(path: Path, name: str, value: Any) -> str:
    """One key's value as the variable would hold it."""
    try:
        setting = _BY_NAME[name]
    except KeyError:
        error = unknown_name("setting", name, _BY_NAME)
        raise UsageError(f"{path}: {error}") from None
    if setting.kind == "words" and isinstance(value, list):
        value = ",".join(map(str, value))
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{path}: {name} is {value!r}; it must be text ({setting.meaning}).")
    return str(path.parent / Path(value).expanduser()) if setting.kind == "folder" else value
