"""An experiment file with every key explained: what it sets stands open, the rest is commented out.

It is made from the JSON Schema of experiment files, so that it says what the reader enforces.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wbcbench.core.spec import TREATMENTS

_WIDTH = 88
_HEAD = """\
# An experiment. `wbcbench plan FILE` shows what it takes, `wbcbench sweep FILE` does it.
# A key after `#` is not set; it shows its default, or an example where it has none.
"""
_NOT_REPEATED = (
    "Lists of levels; a block has every combination once. [run] says what the keys mean."
)
_RUN = "Run"


def format_experiment(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The text of an experiment file.

    Args:
        schema: Of experiment files, with a description of each key.
        document: The keys that are set; checked before.
    """
    tables = {name: kind for name, own in schema["properties"].items() if (kind := _find_kind(own))}
    keys = {name: own for name, own in schema["properties"].items() if name not in tables}
    lines = [_HEAD, *_format_keys(keys, document)]
    for name, kind in tables.items():
        about = schema["properties"][name]["description"]
        own = schema["$defs"][kind]["properties"]
        given = document.get(name) or {}
        if name == "factors":
            own = _choose_factors(own, schema["$defs"][_RUN]["properties"], given)
            lines += [*_comment(_NOT_REPEATED), f"[{name}]", *_format_plainly(own, given), ""]
        elif name == "claims":
            for label, claim in given.items() or [("NAME", None)]:
                lines += [*_comment(about), *_format_table(f"claims.{label}", own, claim)]
        else:
            is_open = name != "until" or name in document
            lines += [*_comment(about), *_format_table(name, own, given if is_open else None)]
    return "\n".join(lines).rstrip() + "\n"


def _find_kind(described: Mapping[str, Any]) -> str:
    """The table that a key of the file is; empty if it is a plain value."""
    patterns = described.get("patternProperties", {})
    for each in (described, *described.get("anyOf", ()), *patterns.values()):
        if "$ref" in each:
            return str(each["$ref"]).rpartition("/")[2]
    return ""


def _format_table(
    name: str, keys: Mapping[str, Any], given: Mapping[str, Any] | None
) -> Iterator[str]:
    """A table with its keys; one that is not given is a comment as a whole."""
    yield f"[{name}]" if given is not None else f"# [{name}]"
    yield from _format_keys(keys, given or {})


def _format_keys(keys: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    for key, described in keys.items():
        yield from _comment(_describe(described))
        yield _format_key(key, described, given)
        yield ""


def _format_plainly(keys: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return [_format_key(key, described, given) for key, described in keys.items()]


def _format_key(key: str, described: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    if given.get(key) is not None:
        return f"{key} = {format_value(given[key])}"
    return f"# {key} = {format_value(_find_example(described))}"


def _choose_factors(
    keys: Mapping[str, Any], run: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The keys that may be varied, each with the default of [run] as its only level."""
    wanted = ("variant", *TREATMENTS, *given)
    examples = {key: [[_find_example(run[key])]] for key in keys if key in wanted}
    return {key: {**keys[key], "examples": example} for key, example in examples.items()}


def _find_example(described: Mapping[str, Any]) -> Any:
    """A value for a comment: the default, else an example, else one that is allowed."""
    for each in (described, *described.get("anyOf", ())):
        if each.get("examples"):
            return each["examples"][0]
        if each.get("default") is not None:
            return each["default"]
        if each.get("enum"):
            return each["enum"][0]
    return ""


def _describe(described: Mapping[str, Any]) -> str:
    """What a key means, and which values it takes."""
    text = str(described["description"])
    for each in (described, *described.get("anyOf", ())):
        if any(str(choice) not in text for choice in each.get("enum", ())):
            text += f" One of: {', '.join(each['enum'])}."
        if "minimum" in each and "maximum" in each:
            text += f" From {each['minimum']:g} to {each['maximum']:g}."
        elif "minimum" in each:
            text += f" At least {each['minimum']:g}."
    return text


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def format_value(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(map(_escape, value)) + '"'
        case Mapping():
            pairs = (
                f"{format_value(str(key))} = {format_value(own)}" for key, own in value.items()
            )
            return f"{{ {', '.join(pairs)} }}"
        case Iterable():
            return f"[{', '.join(map(format_value, value))}]"
    return json.dumps(value) if isinstance(value, int) else repr(value)


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable() or character == " ":
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"
