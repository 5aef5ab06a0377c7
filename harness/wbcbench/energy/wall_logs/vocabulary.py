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
from wbcbench.core.units import ENERGY_J, POWER_W, TIME_S

WORDS: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("words.toml").read_text(encoding="utf-8")
)
NO_READING = frozenset(WORDS["no_reading"])
_FOREIGN = frozenset(WORDS["foreign_units"])
TIME_UNITS = {word: TIME_S[unit] for unit, words in WORDS["time_units"].items() for word in words}
_QUANTITY = ("power", "energy", "plain", "average", "total")
_KNOWN = {
    word
    for kind in (*_QUANTITY, "time", "start", "other", "running", "interval", "meter", "timed")
    for word in WORDS[kind]
}

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
_PLACE = re.compile(r"\(column \d+\)$")  # of a name that stands there twice
ZONE = re.compile(
    r"\b(?:UTC|GMT)(?![A-Za-z])(?:\s?[+\-−±]\s?\d[\w:.,]*)?"
    r"|\b(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Brazil|Canada|Chile|Etc|Europe"
    r"|Indian|Mexico|Pacific|US)/[\w/+-]+|(?<=[(\[])(?![YMDHSAP/]+[)\]])"
    r"(?:[A-Z]{3,5}|[A-Z][a-z]+/[A-Z]\w+)(?=[)\]])"
)
_FORM = re.compile(r"[%YyMmDdHhSsfAaPp.:/ ,-]+(?:T[%HhMmSsf.:]+Z?)?")  # ``dd.MM.yyyy HH:mm``
_FACTOR = re.compile(r"(\d{1,6}(?:[.,]\d{1,6})?)\s*([^\W\d].*)")
# What may scale the unit beside it, and prefixes that are none of ours.
_SCALE = re.compile(
    r"(?<![A-Za-z\d])[xX][\s_]*\d|[*×÷·^]\s*\d|\d[eE][+-]?\d|/\s*10+\b|\d[\s_]*[x×*](?![A-Za-z\d])"
    r"|(?:\d|(?:\d[.,]\d+|(?<![A-Za-z\d])10+)[\s_]+)[kKmM]?(?:[wW](?:att)?|J)s?h?(?![A-Za-z])"
    r"|(?<![A-Za-z])(?:(?:da|[dchuµnGT])(?:Wh?|J)|[dcuµn]wh?)(?![A-Za-z])"
    r"|(?i:(?<![a-z])(?:raw|scaled?|deci|centi|hecto)(?![a-z])|tenth|hundredth|zehntel|hundertstel|(?:deci|centi|deca|hecto|micro|nano|mega|giga)watt)"
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


def split_factor(word: str) -> tuple[float, str]:
    """A unit and how much of it one is: of ``0.1 W`` a tenth."""
    match = _FACTOR.fullmatch(word.strip())
    return (float(match[1].replace(",", ".")), match[2]) if match else (1.0, word)


def find_unit(word: str) -> Unit | None:
    """The unit of power or energy that a word is; milliwatts and megawatts differ by case."""
    factor, name = split_factor(word)
    unit = None if name in _FOREIGN else UNITS.get(name) or _LOWER.get(name.lower())
    return (unit[0], factor * unit[1]) if unit and factor else None


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
        zone: Time zone that it names, or what may be one; empty where it names none.
    """

    text: str
    words: frozenset[str]
    unit: str
    zone: str

    @classmethod
    def from_text(cls, text: str) -> ColumnName:
        """Take a name apart: ``Power (kW)``, ``Power, W``, ``power_kw``, ``ENERGY.Power``."""
        zone = match[0] if (match := ZONE.search(text)) else ""
        spelled = _HOURS.sub(r"\1Wh", _PLACE.sub("", text))  # ``kW-h``, ``Watt Hours``
        bare = _BRACKETS.sub(" ", spelled)
        marked = [*_BRACKETS.findall(spelled), *map(str.strip, bare.split(",")[1:])]
        marks = [unit for unit in map(_read_mark, marked) if unit]
        unit = next((unit for unit in marks if is_unit(unit)), "".join(marks[:1]))
        if _SCALE.search(_BRACKETS.sub(lambda m: " " if is_unit(m[1]) else m[0], spelled)):
            unit = text
        text_in_use = _BRACKETS.sub(lambda m: " " if is_unit(m[1]) else f" {m[1]} ", spelled)
        if path := re.fullmatch(
            r"(?:.*\.)?([\w:]+\.[\w:]*[^\W\d][\w:]*)", text
        ):  # of a JSON object
            leaf = path[1].rpartition(".")[2]
            unit, text_in_use = WORDS["units"].get(leaf, unit), leaf
            unit = WORDS["units"].get(path[1], unit)
        unit = WORDS["units"].get(text, unit)
        text_in_use = _CAMEL.sub(_part_unit, text_in_use)
        tokens = [w for w in _SEPARATORS.split(text_in_use) if w.strip("+-")]
        tokens = [word for word in tokens if word != unit or not is_unit(unit)]
        named = [word for word in tokens if find_unit(word) or (len(word) > 1 and is_unit(word))]
        if len({*map(find_unit, named)} - {None}) > 1:
            unit = unit or text
        if named and not unit:  # of ``power_kw_avg``, too
            unit = named[-1]
            tokens.remove(unit)
        split = " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", token) for token in tokens).lower()
        pairs = (f"{a} {b}" for a, b in pairwise(split.split()))
        zones = (word.upper() for word in split.split() if word in WORDS["zones"])
        strange = (m for m in marks if not (is_unit(m) or _is_time_unit(m) or _FORM.fullmatch(m)))
        zone = zone or next(zones, "") or next(strange, "")
        return cls(text, frozenset((*split.split(), *pairs)), unit, zone)

    def has(self, kind: str) -> bool:
        """Whether one of its words is in that list of ``words.toml``."""
        return not self.words.isdisjoint(WORDS[kind])

    @property
    def is_time(self) -> bool:
        """Whether it is named like a time."""
        is_other = self.has("zone") or "minute ts" in self.words
        return self.has("time") and self.kind is None and not is_other

    @property
    def unit_s(self) -> float | None:
        """Seconds of one, of times since a start; ``None`` if the name is not understood.

        A name that says nothing of it means seconds.
        """
        factor, unit = split_factor(self.unit.lower().rstrip("."))
        words = {unit} if unit else self.words
        known = {TIME_UNITS[word] for word in words if word in TIME_UNITS}
        if len(known) != 1 and (known or unit or self.has("index")):
            return None
        return factor * max(known, default=1.0) or None

    @property
    def says_zone(self) -> bool:
        """Whether it says of which zone its times are."""
        return self.has("zoned") or (bool(self.zone) and not self.has("local"))

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
        is_foreign = unit is None and is_unit(self.unit)
        others = ("other", "scale", "validity", "flags")
        if any(map(self.has, others)) or is_exported or is_foreign:
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
        known = {word for kind in _QUANTITY for word in WORDS[kind]}
        return all(word in known for word in self.words if " " not in word)


def _is_time_unit(word: str) -> bool:
    return split_factor(word.lower().rstrip("."))[1] in TIME_UNITS


def _read_mark(mark: str) -> str:
    """The unit in brackets or after a comma, all of it where it is not understood, or nothing."""
    if is_unit(mark):
        return mark
    tokens = [token for token in re.split(r"[\s,;:_/-]+", mark) if token.strip("+-")]
    units = [token for token in tokens if find_unit(token)]
    others = [token for token in tokens if token not in units and token.lower() not in _KNOWN]
    if ZONE.fullmatch(mark) or not (units or others):
        return ""
    return units[0] if len(units) == 1 and not others and "/" not in mark else mark


def list_names(names: Sequence[str]) -> str:
    """The names of columns, for a message."""
    return ", ".join(quote(name, 24) for name in names[:6]) + ", …" * (len(names) > 6) or "nothing"


def quote(text: str, most: int = 40) -> str:
    """A cell as it stands in a message: short, and without control characters."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")
