"""From measured windows to the table of peers, and whether what is wanted holds.

Errors are per cent of the true joules. A row's best peer is chosen on seeds up to 0; ours is
compared with it on seeds from 1 on, window by window: the difference of the two root mean squares,
with the 95 % bounds of a bootstrap over seeds.
"""

from __future__ import annotations

import csv
import math
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "harness" / "MEASUREMENT.md"
COMMAND = "make bench-peers"
BEGIN, END = f"<!-- peers: begin, written by `{COMMAND}` -->", "<!-- peers: end -->"

OURS = "wbcbench"
TOOLS = {
    OURS: OURS,
    "zeus": "zeus",
    "codecarbon": "CodeCarbon",
    "carbontracker": "carbontracker",
    "loop": "100 Hz loop",
}
WRONG_PCT = 3.0  # a number of any tool that is further off than this is called wrong
LEAST_SEEDS = 10  # on which a row is compared
MARGIN_POINTS = 0.1  # ours may be above the best peer by this, beyond the bound
RESAMPLES = 4_000
# Warnings that are given of sound windows, too: they name no fault. That a counter could not be
# checked deeply enough does name one of a counter. The processor is busy with the other tools here.
NO_FAULT = frozenset(
    {"short-window", "few-samples", "check-depth", "meter-absent", "wide-interval"}
    | {"busy-processor"}
)


class Row(Protocol):
    """A row as ``peer_rows.Row`` describes it."""

    key: str
    board: str
    load: str
    fault: str
    is_faulty: bool
    has_counter: bool


@dataclass(frozen=True)
class Result:
    """One window of one tool.

    Attributes:
        row: The row's key.
        seed: Of phases and load; up to 0 for choosing the best peer.
        tool: One of ``TOOLS``.
        error_pct: Joules against the truth; ``None`` where the tool gave none.
        u_pct: Half-width of its interval, in per cent of the truth; only ours states one.
        late_ms: How late the window began or ended, whichever was more.
        cpu_s: Processor seconds of the window's process and of those that ended in it.
        messages: Of ours, the quality and the codes of warnings; of others, errors and warnings.
    """

    row: str
    seed: int
    tool: str
    error_pct: float | None
    u_pct: float | None = None
    late_ms: float | None = None
    cpu_s: float | None = None
    messages: str = ""

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds the truth."""
        return (
            self.error_pct is not None
            and self.u_pct is not None
            and abs(self.error_pct) <= self.u_pct
        )

    @property
    def fault_codes(self) -> set[str]:
        """Ours alone: codes of warnings that name a fault."""
        return set(self.messages.split()[1:]) - NO_FAULT


@dataclass(frozen=True)
class Comparison:
    """Ours against the best peer of a row, in points of per cent; above 0, ours is worse."""

    peer: str
    difference: float
    low: float
    high: float

    @property
    def is_worse(self) -> bool:
        return self.low > MARGIN_POINTS


def compute_rms(errors_pct: Iterable[float]) -> float:
    """Root mean square; NaN of nothing."""
    squares = [error**2 for error in errors_pct]
    return math.sqrt(sum(squares) / len(squares)) if squares else math.nan


def compare_with_best(results: Sequence[Result]) -> Comparison | None:
    """Ours against the best peer of one row; ``None`` where no peer or we have all windows."""
    choosing = [result for result in results if result.seed <= 0]
    errors = {tool: _errors(result for result in choosing if result.tool == tool) for tool in TOOLS}
    ranking = {
        tool: compute_rms(by_seed.values())
        for tool, by_seed in errors.items()
        if tool != OURS and by_seed and None not in by_seed.values()
    }
    if not ranking:
        return None
    best = min(ranking, key=lambda tool: ranking[tool])
    ours, theirs = (
        _errors(result for result in results if result.seed > 0 and result.tool == tool)
        for tool in (OURS, best)
    )
    seeds = [seed for seed in ours if seed in theirs]
    pairs = np.array([(ours[seed], theirs[seed]) for seed in seeds], dtype=float)
    if not seeds or np.isnan(pairs).any():
        return None
    drawn = np.random.default_rng(1).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    of_both = np.sqrt((pairs[drawn] ** 2).mean(axis=1))
    low, high = np.quantile(of_both[:, 0] - of_both[:, 1], (0.025, 0.975))
    of_seeds = np.sqrt((pairs**2).mean(axis=0))
    return Comparison(best, float(of_seeds[0] - of_seeds[1]), float(low), float(high))


def _errors(results: Iterable[Result]) -> dict[int, float | None]:
    return {result.seed: result.error_pct for result in results}


def is_silent_and_wrong(row: Row, result: Result) -> bool:
    """Ours alone: valid, no warning that names the fault, and the truth outside the interval."""
    quality, *codes = result.messages.split()
    is_silent = quality == "valid" and not result.fault_codes
    if row.has_counter and "check-depth" in codes:
        is_silent = False
    return is_silent and result.error_pct is not None and not result.is_inside


def check(rows: Iterable[Row], results: Sequence[Result]) -> list[str]:
    """What is wanted and does not hold, one line each."""
    misses = list[str]()
    for row in rows:
        own = [result for result in results if result.row == row.key]
        if row.is_faulty:
            wrong = sum(is_silent_and_wrong(row, result) for result in own if result.tool == OURS)
            if wrong:
                misses.append(f"{row.key}: {wrong} windows of ours are silent and wrong")
        else:
            comparison = compare_with_best(own)
            seeds = {result.seed for result in own if result.tool == OURS and result.seed > 0}
            if len(seeds) < LEAST_SEEDS:
                misses.append(f"{row.key}: {len(seeds)} seeds, wanted are {LEAST_SEEDS}")
            elif comparison is None:
                misses.append(f"{row.key}: ours cannot be compared, for somebody has no joules")
            elif comparison.is_worse:
                points = f"{comparison.difference:.2f} points, at least {comparison.low:.2f}"
                misses.append(f"{row.key}: ours is above {comparison.peer} by {points}")
    return misses


# --- the table ---------------------------------------------------------------------------------


def table(rows: Sequence[Row], results: Sequence[Result], facts: Mapping[str, str]) -> str:
    """Both tables in Markdown, each with what it shows in words below."""
    by_row = {row: [r for r in results if r.row == row.key] for row in rows}
    sound = {row: own for row, own in by_row.items() if not row.is_faulty}
    faulty = {row: own for row, own in by_row.items() if row.is_faulty}
    ordinary = {(r.tool, message) for own in sound.values() for r in own for message in _split(r)}
    seeds = len({result.seed for result in results if result.seed > 0})
    head = (
        f"`{COMMAND}` on {facts['date']}: {facts['packages']}; {facts['cores']} cores. Windows of "
        f"10 s, errors as root mean squares in per cent of the true joules over {seeds} seeds that "
        f"are the same for all tools; {facts['repeats']} late windows were measured again."
    )
    missing = facts.get("missing")
    blocks = [head, f"Not installed: {missing}." if missing else ""]
    if sound:
        heads = ("our ± (inside)", "best peer", "ours − best (95 %)")
        lines = [_format_sound(row, own) for row, own in sound.items()]
        blocks += [_join_table(("board", "load", *TOOLS.values(), *heads), lines)]
        blocks += [_summarise_sound(sound)]
    if faulty:
        heads = ("board", "fault", *TOOLS.values(), "what ours says")
        lines = [_format_faulty(row, own, ordinary) for row, own in faulty.items()]
        blocks += [_join_table(heads, lines), _summarise_faulty(faulty, ordinary)]
    return "\n\n".join(_wrap(block) for block in blocks if block)


def _wrap(block: str) -> str:
    return block if block.startswith("|") else textwrap.fill(block, 120, break_on_hyphens=False)


def _join_table(heads: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *lines])


def _summarise_sound(results: Mapping[Row, Sequence[Result]]) -> str:
    judged = {row.key: compare_with_best(own) for row, own in results.items()}
    compared = {key: each for key, each in judged.items() if each is not None}
    smaller = sum(comparison.difference <= 0 for comparison in compared.values())
    worse = [key for key, comparison in compared.items() if comparison.is_worse]
    ours = [r for own in results.values() for r in own if r.tool == OURS]
    alarms = [r for r in ours if r.fault_codes]
    codes = sorted({f"`{code}`" for r in alarms for code in r.fault_codes})
    return (
        "The best peer of a row is chosen on other seeds than it is compared on. "
        f"Ours has the smaller error in {smaller} of {len(judged)} rows, and one above the best "
        f"peer's by more than {MARGIN_POINTS} points, beyond the bound, in "
        f"{len(worse)}{_enumerate(worse)}. Its ± holds the truth in "
        f"{sum(r.is_inside for r in ours)} of {len(ours)} windows, and it warns of a fault in "
        f"{len(alarms)}{_enumerate(codes)}."
    )


def _summarise_faulty(
    results: Mapping[Row, Sequence[Result]], ordinary: Collection[tuple[str, str]]
) -> str:
    counts = {
        tool: sum(
            abs(r.error_pct or 0.0) > WRONG_PCT and not _warns(r, ordinary)
            for own in results.values()
            for r in own
            if r.tool == tool
        )
        for tool in TOOLS
    }
    windows = sum(r.tool == OURS for own in results.values() for r in own)
    listed = ", ".join(f"{name} {counts[tool]}" for tool, name in TOOLS.items())
    return (
        f"Numbers more than {WRONG_PCT:.0f} % off without a word, in {windows} windows: {listed}."
    )


def _enumerate(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _warns(result: Result, ordinary: Collection[tuple[str, str]]) -> bool:
    """Whether the tool says anything of a window that it does not say of sound boards, too."""
    if result.tool == OURS:
        return not result.messages.startswith("valid") or bool(result.fault_codes)
    return any((result.tool, message) not in ordinary for message in _split(result))


def _format_sound(row: Row, results: Sequence[Result]) -> str:
    compared = [result for result in results if result.seed > 0]
    cells = [row.board, row.load]
    cells += [_format_rms([r for r in compared if r.tool == tool]) for tool in TOOLS]
    ours = [r for r in compared if r.tool == OURS]
    widths = [r.u_pct for r in ours if r.u_pct is not None]
    inside = f"{sum(r.is_inside for r in ours)}/{len(ours)}"
    cells.append(f"{np.median(widths):.2f} ({inside})" if widths else "")
    comparison = compare_with_best(results)
    if comparison is None:
        cells += ["", ""]
    else:
        cells.append(TOOLS[comparison.peer])
        cells.append(
            f"{comparison.difference:+.2f} ({comparison.low:+.2f} … {comparison.high:+.2f})"
        )
    return "| " + " | ".join(cells) + " |"


def _format_rms(results: Sequence[Result]) -> str:
    known = [r.error_pct for r in results if r.error_pct is not None]
    text = f"{compute_rms(known):.2f}" if known else "none"
    missing = len(results) - len(known)
    return text if not missing or not known else f"{text}, {missing}/{len(results)} none"


def _format_faulty(
    row: Row, results: Sequence[Result], ordinary: Collection[tuple[str, str]]
) -> str:
    cells = [row.board, row.fault]
    for tool in TOOLS:
        own = [result for result in results if result.tool == tool]
        cell = _format_rms(own)
        if tool != OURS:
            warnings = sum(_warns(result, ordinary) for result in own)
            cell += ", silent" if not warnings else f", warns {warnings}/{len(own)}"
        cells.append(cell if own else "")
    cells.append(_summarise(row, [r for r in results if r.tool == OURS]))
    return "| " + " | ".join(cells) + " |"


def _summarise(row: Row, results: Sequence[Result]) -> str:
    """Qualities with their counts, and the warnings that most windows have."""
    if not results:
        return ""
    qualities = Counter(result.messages.split()[0] for result in results)
    codes = Counter(
        code for r in results for code in r.messages.split()[1:] if code not in NO_FAULT
    )
    often = [f"`{code}`" for code, count in codes.most_common(3) if 2 * count >= len(results)]
    wrong = sum(is_silent_and_wrong(row, result) for result in results)
    cell = ", ".join(f"{name} {count}" for name, count in qualities.most_common())
    cell += ": " + ", ".join(often) if often else ""
    return cell + (f"; **silent and wrong {wrong}**" if wrong else "")


def _split(result: Result) -> list[str]:
    return [message for message in result.messages.split(" | ") if message]


def write_page(text: str, page: Path = PAGE) -> None:
    """Put the table between its marks."""
    content = page.read_text(encoding="utf-8")
    before, after = content.split(BEGIN)[0], content.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


# --- the windows as a file ---------------------------------------------------------------------

_FACT = re.compile(r"# (\w+): (.*)")


def write_csv(path: Path, results: Iterable[Result], facts: Mapping[str, str]) -> None:
    """One line a window, after the facts as comments."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {name}: {value}\n" for name, value in facts.items())
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Result))
        for result in sorted(results, key=lambda r: (r.row, r.seed, r.tool)):
            writer.writerow(_format_value(getattr(result, f.name), f.name) for f in fields(Result))


def _format_value(value: object, name: str) -> object:
    """Two decimals; three of an error, so that a table made again is the same."""
    if value is None:
        return ""
    return f"{value:.{3 if name == 'error_pct' else 2}f}" if isinstance(value, float) else value


def read_csv(path: Path) -> tuple[list[Result], dict[str, str]]:
    """What ``write_csv`` wrote."""
    facts, lines = dict[str, str](), list[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _FACT.match(line):
            facts[match[1]] = match[2]
        else:
            lines.append(line)
    return [_parse(cells) for cells in csv.DictReader(lines)], facts


def _parse(cells: Mapping[str, str]) -> Result:
    def number(name: str) -> float | None:
        return float(cells[name]) if cells[name] else None

    return Result(
        row=cells["row"],
        seed=int(cells["seed"]),
        tool=cells["tool"],
        error_pct=number("error_pct"),
        u_pct=number("u_pct"),
        late_ms=number("late_ms"),
        cpu_s=number("cpu_s"),
        messages=cells["messages"],
    )
