"""Records → a report that answers and shows its evidence: ``reports/<study>/``.

A section is one file of ``sections/`` and one line of ``registry.SECTIONS``: a function from the
study to a ``Block`` of words, tables and figures, or ``None`` when it has nothing to say. Sections
know nothing of HTML or Markdown; the formats set them and know nothing of energy. The same records
give the same bytes: nothing here asks for the time, the place or the machine.

A sentence with a number that a reader could quote is a ``Statement``: it says from which row of
which table its numbers are, so that a reader can check and a program can work it out again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wbcbench import table
from wbcbench.core.quality import Quality
from wbcbench.core.text import count_of
from wbcbench.registry import SECTIONS, load_part
from wbcbench.report.study import ReportStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


PAGE = "report.html"
TEXT = "report.md"
PAPER = "report.pdf"
FIGURES = "figures"
FIGURE_DATA = "figure-data"
"""Files and folders of a report, below its own folder."""

Value = str | int | float | bool | None
"""What a claim's number is; ``None`` is unknown."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What the report says, and the row of a table that it says it from.

    The words follow from the values alone: whoever has the row can make the sentence again.

    Attributes:
        id: Unique in the report; letters, digits and hyphens.
        text: Whole sentences, plain text.
        source: The table: ``contrasts.csv``, ``summary.csv`` or ``runs.csv``.
        row: Key of its row there; empty where the table as a whole is counted or summed.
        values: What the words were made of, by column of that table, unrounded.
    """

    id: str
    text: str
    source: str
    row: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Chip:
    """One circumstance in a few words: ``GPU``, ``measured (energy counter)``.

    Attributes:
        about: What it is about.
        words: How it stands; never told by colour alone.
        mind: Whether a reader should take it into account.
    """

    about: str
    words: str
    mind: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines to copy as they are: commands, a reference.

    Attributes:
        caption: What they do.
        text: The lines.
    """

    caption: str
    text: str


@dataclass(frozen=True, slots=True)
class DataTable:
    """Cells ready to read.

    Attributes:
        caption: What the table holds; says measured, estimated or synthetic where it holds joules.
        headings: One for each column.
        rows: Cells; the first of each row names it.
        words: Positions of columns that hold words; the others are set as numbers.
        source: The table of numbers behind it, as in ``Statement``; empty for none.
        keys: Key of each row in ``source``, for claims to lead to; empty for none.
        folded: Whether it is folded away until asked for.
        values: The same cells unrounded, for ``tables/*.csv``; empty where there are only words.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})
    source: str = ""
    keys: tuple[str, ...] = ()
    folded: bool = False
    values: tuple[tuple[Value, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its words and the numbers behind it.

    Attributes:
        name: File name without ending; also the prefix of the ids inside the picture.
        draw: Draws it; called when, and only when, somebody wants a picture of it. What makes one
            is ``report.drawing``: ``to_svg`` and ``to_pdf``.
        title: For ``<title>``.
        description: For ``<desc>``: what a reader who cannot see it should know.
        caption: Below it; says measured, estimated or synthetic.
        data: The numbers behind it.
    """

    name: str
    draw: Callable[[], Canvas]
    title: str
    description: str
    caption: str
    data: DataTable


@dataclass(frozen=True, slots=True)
class Block:
    """What a section has to say.

    Attributes:
        key: Anchor on the page; letters and hyphens.
        title: Heading.
        paragraphs: Plain text, in order, after the claims and chips.
        tables: After the paragraphs.
        figures: After the tables.
        folded: Whether all tables are folded away until asked for.
        claims: What it says with numbers, in order, before anything else.
        chips: After the claims.
        listings: At the end.
    """

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[DataTable, ...] = ()
    figures: tuple[Figure, ...] = ()
    folded: bool = False
    claims: tuple[Statement, ...] = ()
    chips: tuple[Chip, ...] = ()
    listings: tuple[Listing, ...] = ()


class Section(Protocol):
    """One part of the report."""

    def __call__(self, study: ReportStudy) -> Block | None:
        """Say what this section has to say about the study; ``None`` if nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report before it is set.

    Attributes:
        title: Of the page.
        facts: One line under the title: runs, machine, version, digest of the results.
        banners: What a reader must know before any number.
        blocks: The sections that had something to say, in the registry's order.
    """

    title: str
    facts: str
    banners: tuple[str, ...]
    blocks: tuple[Block, ...]

    @property
    def claims(self) -> tuple[Statement, ...]:
        """Everything it says with numbers, in order."""
        return tuple(claim for block in self.blocks for claim in block.claims)

    @property
    def rows(self) -> frozenset[tuple[str, str]]:
        """Source and key of every row that a claim can lead to."""
        tables = [table for block in self.blocks for table in block.tables]
        return frozenset((table.source, key) for table in tables for key in table.keys)


def build(study: ReportStudy) -> Report:
    """Ask every section of the registry and put the report together."""
    sections: list[Section] = [load_part("section", name) for name in SECTIONS]
    blocks = tuple(block for section in sections if (block := section(study)))
    title = f"Study {study.name}: energy and accuracy"
    return Report(title, _facts_line(study), banners(study), blocks)


def _facts_line(study: ReportStudy) -> str:
    """One line; the date is the results' own, for a report made again must be the same."""
    parts = [
        _counts(study),
        f"last run ended {max(run.record.ended_utc for run in study.runs)}",
        _one(study, "gpu_name") or _one(study, "cpu_model"),
        f"wbcbench {_one(study, 'wbcbench_version') or 'of unknown version'}",
        _git(study),
        f"results sha256 {results_sha256(study)[:12]}",
    ]
    return " · ".join(part for part in parts if part)


def _counts(study: ReportStudy) -> str:
    """``4 variants × 8 blocks = 32 runs`` where that is so."""
    variants, runs = count_of(len(study.variants), "variant"), count_of(len(study.runs), "run")
    blocks = len({(run.spec.block, run.spec.seed) for run in study.runs})
    if len(study.variants) * blocks == len(study.runs) and blocks > 1:
        return f"{variants} × {blocks} blocks = {runs}"
    return f"{variants} · {runs}"


def _git(study: ReportStudy) -> str:
    """The commit and whether it was all; the banner tells which runs were made with changes."""
    found = {(run.row["git_commit"], run.row["git_dirty"]) for run in study.runs}
    if len(found) > 1:
        return f"{len(found)} states of the program"
    commit, is_dirty = found.pop()
    state = {True: " (with uncommitted changes)", False: " (clean)"}.get(is_dirty, "")
    return f"git {str(commit)[:12]}{state}" if commit else ""


def results_sha256(study: ReportStudy) -> str:
    """Digest of the results table that these records make."""
    return hashlib.sha256(table.to_csv([run.row for run in study.runs])).hexdigest()


def _one(study: ReportStudy, column: str) -> str:
    found = sorted({str(run.row[column]) for run in study.runs if run.row[column] is not None})
    return found[0] if len(found) == 1 else f"{len(found)} different {column}" if found else ""


def banners(study: ReportStudy) -> tuple[str, ...]:
    """One sentence or two for each thing to know, the gravest first."""
    return tuple(_banners(study))


def _banners(study: ReportStudy) -> Iterator[str]:
    if study.is_synthetic:
        yield (
            "SYNTHETIC. The images are drawn or the energy signal is made up. These numbers show "
            "that the program works; they say nothing about real cells or real joules."
        )
    yield from _energy(study)
    yield from _completeness(study)
    if any(run.row["git_dirty"] for run in study.runs):
        yield "DIRTY. At least one run was made with uncommitted changes to the program."


def _energy(study: ReportStudy) -> Iterator[str]:
    statuses = [run.row["primary_status"] for run in study.done]
    if "estimated" in statuses:
        yield f"ESTIMATED. {_estimated(statuses)}"
    if "estimated" in statuses:
        yield "ESTIMATED. The joules are derived from a sensor of another part of the machine."
    if study.done and not study.comparable:
        yield "NO ENERGY. No run of this study has joules of its training; accuracy and time stand."
    elif study.left_out:
        yield (
            f"MIXED. {study.left_out} of {count_of(len(study.done), 'finished run')} read in "
            "another way, made on another machine or of other images, or without joules: in the "
            "table of runs but in no mean and no figure."
        )


def _estimated(statuses: list[str | None]) -> str:
    count, done = statuses.count("estimated"), len(statuses)
    where = (
        "On this machine neither the GPU's nor the processor's energy can be read, so the joules "
        "come from a model"
        if count == done
        else f"In {count} of {count_of(done, 'finished run')} the joules come from a model"
    )
    return (
        f"{where} (processor power rating × load). They are no measurement, and no saving may be "
        "claimed from them."
    )


def _completeness(study: ReportStudy) -> Iterator[str]:
    spoiled = len(study.runs) - len(study.done)
    if study.runs and not study.done:
        yield "NOTHING FINISHED. Every run failed, was stopped or is invalid."
    elif spoiled:
        yield (
            f"INCOMPLETE. {spoiled} of {count_of(len(study.runs), 'run')} failed, stopped early or "
            "invalid; in the table of runs but in no mean."
        )
    if study.planned > len(study.done):
        yield f"INCOMPLETE. {len(study.done)} of {study.planned} planned runs are finished."
    elif study.unfinished:
        yield f"INCOMPLETE. {count_of(study.unfinished, 'run')} without a record yet."
    suspect = sum(run.record.quality is Quality.SUSPECT for run in study.done)
    if suspect:
        done = count_of(len(study.done), "finished run")
        yield f"SUSPECT. {suspect} of {done} with doubts; see below."
