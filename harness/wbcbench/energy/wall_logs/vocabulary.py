"""What a column's name says: a unit, a zone, whether it is power, energy or a time."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from wbcbench.core.trace import Kind
from wbcbench.core.units import ENERGY_J, POWER_W

WORDS: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("words.toml").read_text(encoding="utf-8")
)
NO_READING = frozenset(WORDS["no_reading"])
_FOREIGN = frozenset(WORDS["foreign_units"])

Unit = tuple[Kind, float]
"""What a unit measures, and the watts or joules of one."""

UNITS: dict[str, Unit] = {
    **{name: (Kind.SAMPLED, factor) for name, factor in POWER_W.items()},
    **{name: (Kind.COUNTER, factor) for name, factor in ENERGY_J.items()},
}
_BY_CASE = {"mWh", "MWh", "MJ"}  # not to be told apart in lower case
_LOWER = {name.lower(): unit for name, unit in UNITS.items() if name not in _BY_CASE}

_BRACKETS = re.compile(r"[\[({]\s*([^\[\](){}]*?)\s*[\])}]")
_SEPARATORS = re.compile(r"[\s_\-./:,;#|]+")
_ZONE = re.compile(
    r"\b(?:UTC|GMT)\s?(?:[+-]\d{1,2}(?::?\d{2})?)?(?![A-Za-z])"
    r"|\b(?:Africa|America|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific)/[\w/+-]+"
)
_HOURS = re.compile(
    r"(?<![A-Za-z])([kKmM]?)(?:ilo|ega)?[wW](?:att)?s?[\s_·*-]*(?:h|hr|hrs|hours?)(?![A-Za-z])",
    re.IGNORECASE,
)

_CAMEL = re.compile(r"(?<![A-Za-z])([A-Za-z]+[a-z])(M?Wh?|K[wW]h?|Watts?)(?![A-Za-z])")


def _part_unit(match: re.Match[str]) -> str:
    """``ConsumedWatts`` as two words; ``PowerkW`` is in kilowatts, and ``RackW`` is not."""
    word, unit = match.groups()
    before = re.split(r"(?=[A-Z])", word[:-1])[-1].lower()
    if unit[0] == "W" and word[-1] in "km" and before in {*WORDS["power"], *WORDS["energy"]}:
        word, unit = word[:-1], word[-1] + unit
    return f"{word} {unit}"


def find_unit(word: str) -> Unit | None:
    """The unit of power or energy that a word is; milliwatts and megawatts differ by case."""
    if word in _FOREIGN:
        return None
    return UNITS.get(word) or _LOWER.get(word.lower())


def is_unit(word: str) -> bool:
    """Whether a word is a unit of anything that meters log."""
    return word in _FOREIGN or find_unit(word) is not None


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column's name, taken apart.

    Attributes:
        text: As the file has it.
        words: In lower case, without the unit.
        unit: As written; empty where it names none.
        zone: Time zone that it names; empty where it names none.
    """

    text: str
    words: frozenset[str]
    unit: str
    zone: str

    @classmethod
    def from_text(cls, text: str) -> ColumnName:
        """Take a name apart: ``Power (kW)``, ``Power, W``, ``power_kw``, ``ENERGY.Power``."""
        zone = match[0] if (match := _ZONE.search(text)) else ""
        spelled = _HOURS.sub(r"\1Wh", text)  # ``kW-h``, ``Watt Hours``
        bare = _BRACKETS.sub(" ", spelled)
        marked = [*_BRACKETS.findall(spelled), *map(str.strip, bare.split(",")[1:])]
        unit = next((word for word in marked if is_unit(word)), "")
        text_in_use = _BRACKETS.sub(lambda m: " " if is_unit(m[1]) else f" {m[1]} ", spelled)
        if path := re.fullmatch(
            r"(?:.*\.)?([\w:]+\.[\w:]*[^\W\d][\w:]*)", text
        ):  # of a JSON object
            leaf = path[1].rpartition(".")[2]
            unit, text_in_use = WORDS["units"].get(leaf, unit), leaf
            unit = WORDS["units"].get(path[1], unit)
        unit = WORDS["units"].get(text, unit)
        text_in_use = _CAMEL.sub(_part_unit, text_in_use)
        tokens = [w for w in _SEPARATORS.split(text_in_use) if w.strip("+-") and w != unit]
        named = [word for word in tokens if find_unit(word) or (len(word) > 1 and is_unit(word))]
        if named and not unit:  # of ``power_kw_avg``, too
            unit = named[-1]
            tokens.remove(unit)
        split = " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", token) for token in tokens).lower()
        pairs = (f"{a} {b}" for a, b in pairwise(split.split()))
        return cls(text, frozenset((*split.split(), *pairs)), unit, zone)

    def has(self, kind: str) -> bool:
        """Whether one of its words is in that list of ``words.toml``."""
        return not self.words.isdisjoint(WORDS[kind])

    @property
    def is_time(self) -> bool:
        """Whether it is named like a time."""
        return self.has("time") and self.kind is None and "minute ts" not in self.words

    @property
    def says_zone(self) -> bool:
        """Whether it says of which zone its times are."""
        return bool(self.zone) or self.has("zoned")

    @property
    def is_meter(self) -> bool:
        """Whether it is named like a column that says of which meter a row is."""
        words = {word for word in self.words if " " not in word}
        return self.has("meter") and words <= {*WORDS["meter"], "id", "no", "number", "label"}

    @property
    def kind(self) -> Kind | None:
        """Power or energy, where the name says so; not apparent, a limit or what was exported."""
        unit = find_unit(self.unit)
        is_exported = re.search(r"[(\[]-[)\]]\W*$", self.text) is not None
        if (
            any(map(self.has, ("other", "validity", "flags")))
            or is_exported
            or (self.unit and unit is None)
        ):
            return None
        if unit is not None:
            return unit[0]
        has_power = self.has("power") or any(re.fullmatch(r"p\d", word) for word in self.words)
        return Kind.SAMPLED if has_power and not self.has("energy") else None

    @property
    def stem(self) -> frozenset[str]:
        """Its words without numbers, so that ``PSU1`` and ``PSU2`` are alike."""
        words = {word for word in self.words if " " not in word} or {self.unit.lower()}
        bare = {word.rstrip("0123456789") for word in words}
        return frozenset(word for word in bare if len(word) > 1) or frozenset(bare - {""})

    @property
    def is_numbered(self) -> bool:
        """Whether a number or a letter tells it from others: ``Power 2``, ``Phase A``, ``L1``."""
        known = {*WORDS["power"], *WORDS["energy"]}
        return any(re.fullmatch(r"[a-z]|[a-z]*\d+", word) for word in self.words - known)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is named but the quantity."""
        lists = ("power", "energy", "plain", "average", "total")
        known = {word for kind in lists for word in WORDS[kind]}
        return all(word in known for word in self.words if " " not in word)


def list_names(names: Sequence[str]) -> str:
    """The names of columns, for a message."""
    return ", ".join(quote(name, 24) for name in names[:6]) + ", …" * (len(names) > 6) or "nothing"


def quote(text: str, most: int = 40) -> str:
    """A cell as it stands in a message: short, and without control characters."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")
