"""Numbers and tables as people read them, text that is safe in a cell, the width of a terminal.

Units scale themselves; files and code keep J, s, W. Every function turns ``None`` and what is not
finite into ``unknown``, never into zero. Numbers keep three significant digits, for no meter here
knows a fourth.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from wbcbench.core.units import TIME_S

UNKNOWN = "unknown"

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))

_TIMES = (("h", 3), ("min", 10))

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")

_FORMULA_START = re.compile(r"'*[=+\-@\t\r\n]")

Rows = Sequence[Sequence[str]]

Error = float | tuple[float, float]
"""A half-width, or how far an interval reaches below and above."""

MOST_LOPSIDED = 0.01

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~&#$^]|:(?=//)|(?<=[Ww]{3})\.)")

_LATEX = {mark: f"\\{mark}" for mark in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "·": r"$\cdot$",
}


def human_energy(energy_j: float | None) -> str:
    """``41.3 kJ``."""
    return _format_scaled(energy_j, "J")


def human_power(power_w: float | None) -> str:
    """``274 W``."""
    return _format_scaled(power_w, "W")


def human_mass(mass_g: float | None) -> str:
    """``1.32 g``; carbon dioxide equivalent, usually."""
    return _format_scaled(mass_g, "g")


def human_size(size_bytes: float | None) -> str:
    """``1.32 MB``."""
    return _format_scaled(size_bytes, "B")


def human_duration(time_s: float | None) -> str:
    """``0.42 s``, ``12.3 s``, ``2 min 31 s``, ``1 h 05 min``."""
    if time_s is None or not math.isfinite(time_s):
        return UNKNOWN
    if abs(time_s) < 59.95:
        return f"{format_digits(time_s)} s"
    minutes, seconds = divmod(round(abs(time_s)), 60)
    hours, minutes_left = divmod(minutes, 60)
    sign = "-" if time_s < 0 else ""
    if hours:
        return f"{sign}{hours} h {minutes_left:02d} min"
    return f"{sign}{minutes} min {seconds:02d} s"


def human_share(share: float | None, digits: int = 3) -> str:
    """``0.814``: an accuracy or a recall."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    return f"{share:.{digits}f}"


def human_energy_within(energy_j: float | None, **errors_j: Error | None) -> str:
    """``5.51 kJ ± 3.4 J (reading) ± 276 J (board)``: each error with its name."""
    return format_with_errors(energy_j, human_energy, errors_j)


def format_with_errors(
    value: float | None,
    human: Callable[[float | None], str],
    errors: Mapping[str, Error | None],
) -> str:
    """``41.2 kJ −2.10/+3.60 kJ (runs) ± 9 J (reading)``.

    One that is unknown is left out, and so is one of nothing: no quantity is without error. Two
    sides that differ by at most 1 % of the value are one ±.

    Args:
        value: What has the errors.
        human: Writes it, and its errors.
        errors: By name, in the unit of the value.
    """
    words = human(value)
    for name, error in errors.items():
        below, above = error if isinstance(error, tuple) else (error, error)
        if not below or not above:
            continue
        if abs(above - below) <= MOST_LOPSIDED * abs(value or 0.0):
            words += f" ± {human((below + above) / 2)} ({name})"
        else:
            left, right = human(below), human(above)
            number, _, unit = left.partition(" ")
            shared = right.partition(" ")[2] == unit
            words += f" −{number if shared else left}/+{right} ({name})"
    return words


def round_to_sum(values: Sequence[float], digits: int = 3) -> list[str]:
    """The values and, last, their sum, all with as many decimals as give the sum ``digits`` digits.

    What rounding would add or lose goes to the values it changes least: the words add up.
    """
    total = math.fsum(values)
    before_point = math.floor(math.log10(abs(total))) + 1 if total else 1
    decimals = min(max(digits - before_point, 0), 6)
    steps = [value * 10**decimals for value in values]
    whole = [math.floor(step) for step in steps]
    left = round(total * 10**decimals) - sum(whole)
    by_loss = sorted(range(len(steps)), key=lambda i: whole[i] - steps[i])
    for i in by_loss[: max(left, 0)]:
        whole[i] += 1
    return [f"{step / 10**decimals:.{decimals}f}" for step in (*whole, sum(whole))]


def human_count(count: int | None) -> str:
    """``12,444``."""
    return UNKNOWN if count is None else f"{count:,}"


def shell_word(value: object) -> str:
    """A path or name as a shell takes it for one word, in a command that is to be typed."""
    return shlex.quote(str(value))


def count_of(count: int, thing: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def energy_scale(largest_j: float) -> tuple[float, str]:
    """The divisor and unit for an axis or a column whose largest value is ``largest_j``."""
    return _choose_scale(largest_j, "J")


def power_scale(highest_w: float) -> tuple[float, str]:
    """The same for watts."""
    return _choose_scale(highest_w, "W")


def time_scale(longest_s: float) -> tuple[float, str]:
    """The same for seconds: minutes from ten on, hours from three on."""
    fitting = (unit for unit, least in _TIMES if longest_s >= least * TIME_S[unit])
    unit = next(fitting, "s")
    return TIME_S[unit], unit


def mass_scale(largest_g: float) -> tuple[float, str]:
    """The same for grams."""
    return _choose_scale(largest_g, "g")


def printable(text: str) -> str:
    """Text without control characters: what a file holds must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def one_line(text: str) -> str:
    """``printable`` text that cannot look like another row: no line end, no gap of a column."""
    return " ".join(printable(text).split())


def escaped(text: str) -> str:
    """A name with what a terminal would obey, or UTF-8 cannot hold, as Python escapes it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def encodable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a name that were none stand escaped."""
    return text.encode(errors="backslashreplace").decode()


def decode_word(word: str) -> str:
    """A word of the command line as UTF-8 whatever the locale; bytes that are none are replaced."""
    return word.encode(errors="surrogateescape").decode(errors="replace")


def _format_scaled(value: float | None, unit: str) -> str:
    if value is None or not math.isfinite(value):
        return UNKNOWN
    divisor, name = _choose_scale(value, unit)
    return f"{format_digits(value / divisor)} {name}"


def _choose_scale(value: float, unit: str) -> tuple[float, str]:
    # 999.6 would print as "1000", so the next prefix starts a little before its power of ten.
    prefixes = ((size, prefix) for size, prefix in _PREFIXES if abs(value) >= 0.9995 * size)
    size, prefix = next(prefixes, (1.0, "") if value == 0 else _PREFIXES[-1])
    return size, prefix + unit


def format_digits(value: float) -> str:
    """Three significant digits without an exponent: ``4.20``, ``123``."""
    if value == 0:
        return "0"
    before_point = math.floor(math.log10(abs(value) * 1.0005)) + 1
    return f"{value:.{min(max(3 - before_point, 0), 6)}f}"


# A spreadsheet carries out a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line
# break (OWASP, "CSV Injection"). Such *text* gets an apostrophe in front; numbers stay as they are.
# The rule can be undone: where the text begins so after an apostrophe, that one is taken away.
def safe_text(text: str) -> str:
    """Text that no spreadsheet carries out."""
    return f"'{text}" if _FORMULA_START.match(text) else text


def aligned_table(headings: Sequence[str], rows: Rows, right: Sequence[str] = ()) -> str:
    """Columns padded with spaces, two between; those in ``right`` are flush right."""
    table = [headings, *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(headings))]
    sides = [str.rjust if heading in right else str.ljust for heading in headings]
    return "\n".join(
        "  ".join(
            side(word, width) for side, word, width in zip(sides, line, widths, strict=True)
        ).rstrip()
        for line in table
    )


def markdown_table(headings: Sequence[str], rows: Rows) -> str:
    """A pipe table as GitHub renders it."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(escape_markdown(word) for word in line)} |" for line in lines)


def latex_table(headings: Sequence[str], rows: Rows) -> str:
    """A ``tabular`` that needs the package booktabs; the first column is left, others right."""
    columns = "l" + "r" * (len(headings) - 1)
    head, *body = (" & ".join(map(latex_text, row)) + r" \\" for row in (headings, *rows))
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def latex_text(text: str) -> str:
    """Text with every character that LaTeX gives a meaning written so that it has none."""
    return "".join(_LATEX.get(character, character) for character in text)


def markdown_text(text: str, longest: int = 300) -> str:
    """One line of somebody else's text in which Markdown sees no link, picture, tag or cell."""
    line = one_line(text)
    return _MARKDOWN.sub(r"\\\1", line if len(line) <= longest else f"{line[: longest - 1]}…")


def escape_markdown(word: str) -> str:
    """A whole text on one line in which Markdown sees no link, tag or cell; `---` stays a rule."""
    plain = word if set(word) == {"-"} else word.replace("\\", "\\\\")
    for mark in ("|", "<", "*", "`", "["):
        plain = plain.replace(mark, f"\\{mark}")
    return plain.replace("\n", " ")


def parse_number(word: str) -> float:
    """A number as Python and JSON write one: no space, no plus, no ``1_000``, digits of ASCII.

    Raises:
        ValueError: It is none, or is not finite.
    """
    if not _NUMBER.fullmatch(word) or not math.isfinite(value := float(word)):
        raise ValueError(f"{word[:20]!r} is no number")
    return value


def csv_quoted(text: str) -> str:
    """As RFC 4180; the standard library's writer leaves a lone carriage return unquoted."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def finite_or_none(cell: str | float | bool | None) -> str | float | bool | None:
    """A cell of a document: what is not finite is unknown there."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def csv_cell(cell: str | float | bool | None) -> str:
    """A cell that no spreadsheet carries out; floats as Python writes them, unknown empty."""
    if isinstance(cell, str):
        return csv_quoted(safe_text(cell))
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if finite_or_none(cell) is None else repr(cell)
