"""Records → a report that answers and shows its evidence: ``reports/<study>/``.

A section is a function of ``sections/`` and one line of ``registry.SECTIONS``: from the study to a
``Block`` of text, tables and figures, or ``None`` where there is no content. Sections know nothing
of HTML or Markdown; the formats set them and know nothing of energy. The same records give the same
bytes: nothing here depends on the time, the place or the machine.

A sentence with a number that a reader could quote is a ``Statement``: it names the row and the
table its numbers are from, so that a reader can check and a program can compute it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench import table
from wbcbench.core.quality import Quality
from wbcbench.core.text import count_of
from wbcbench.energy.source import describe_model
from wbcbench.registry import SECTIONS, load_part
from wbcbench.report.study import ReportStudy
from wbcbench.study.statement import SubmissionDetails

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


PAGE = "report.html"
TEXT = "report.md"
PAPER = "report.pdf"
FIGURES = "figures"
FIGURE_DATA = "figure-data"
"""Files and folders of a report, below its own folder."""

Value = str | int | float | bool | None
"""A number or word of a claim; ``None`` is unknown."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of the report and the row of a table that it follows from.

    The text follows from the values alone: the row is enough to make the sentence again.

    Attributes:
        id: Unique in the report; letters, digits and hyphens.
        text: Whole sentences, plain text.
        source: The table: ``contrasts.csv``, ``summary.csv`` or ``runs.csv``.
        row: Key of its row there; empty where the table as a whole is counted or summed.
        values: What the text was made of, by column of that table, unrounded.
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
        words: The state in words; never by colour alone.
        is_flagged: Whether a reader should take it into account.
    """

    about: str
    words: str
    is_flagged: bool = False


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
        words: Positions of columns that hold text; the others are set as numbers.
        source: The table of numbers behind it, as in ``Statement``; empty for none.
        keys: Key of each row in ``source``, as the target of claims; empty for none.
        folded: Whether it is folded away until a reader opens it.
        values: The same cells unrounded, for ``tables/*.csv``; empty where there is only text.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    source: str = ""
    keys: tuple[str, ...] = ()
    folded: bool = False
    values: tuple[tuple[Value, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its caption and the numbers behind it.

    Attributes:
        name: File name without ending; also the prefix of the ids inside the picture.
        draw: Draws it; called only when a picture is made, by ``to_svg`` or ``to_pdf`` of
            ``report.drawing``.
        title: For ``<title>``.
        description: For ``<desc>``: its content for a reader who cannot see it.
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
    """The content of a section.

    Attributes:
        key: Anchor on the page; letters and hyphens.
        title: Heading.
        paragraphs: Plain text, in order, after the claims and chips.
        tables: After the paragraphs.
        figures: After the tables.
        folded: Whether all tables are folded away until a reader opens them.
        claims: Its sentences with numbers, in order, before anything else.
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


Section = Callable[[ReportStudy], Block | None]
"""One part of the report; ``None`` where it has no content for this study."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report before it is set.

    Attributes:
        title: Of the page.
        facts: One line under the title: runs, machine, version, digest of the results.
        banners: What a reader must know before any number.
        blocks: The sections with content, in the registry's order.
        authors, course: Who submits the study, and to which course, as far as they are said.
    """

    title: str
    facts: str
    banners: tuple[str, ...]
    blocks: tuple[Block, ...]
    authors: tuple[str, ...] = ()
    course: str | None = None

    @property
    def byline(self) -> str:
        """Authors and course on one line; empty where neither is said."""
        return " · ".join(filter(None, (", ".join(self.authors), self.course)))

    @property
    def claims(self) -> tuple[Statement, ...]:
        """Every sentence with numbers, in order."""
        return tuple(claim for block in self.blocks for claim in block.claims)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in order."""
        return tuple(figure for block in self.blocks for figure in block.figures)

    @property
    def rows(self) -> frozenset[tuple[str, str]]:
        """Source and key of every row that a claim can lead to."""
        tables = [table for block in self.blocks for table in block.tables]
        return frozenset((table.source, key) for table in tables for key in table.keys)


def build(study: ReportStudy) -> Report:
    """Build every section of the registry and put the report together."""
    sections: list[Section] = [load_part("section", name) for name in SECTIONS]
    blocks = tuple(block for section in sections if (block := section(study)))
    title = f"Study {study.name}: energy and accuracy"
    facts, banners = _format_facts(study), tuple(iterate_banners(study))
    said = study.plan.submission if study.plan else SubmissionDetails()
    return Report(title, facts, banners, blocks, said.names, said.course)


def _format_facts(study: ReportStudy) -> str:
    """One line; the date is the results' own, because the same records give the same bytes."""
    variants, runs = count_of(len(study.variants), "variant"), count_of(len(study.runs), "run")
    blocks = len({(run.spec.block, run.spec.seed) for run in study.runs})
    is_full = len(study.variants) * blocks == len(study.runs) and blocks > 1
    commits = {(run.row["git_commit"], run.row["git_dirty"]) for run in study.runs}
    commit, is_dirty = min(commits, key=repr)
    state = {True: " (with uncommitted changes)", False: " (clean)"}.get(is_dirty, "")
    git = f"git {str(commit)[:12]}{state}" if commit else ""
    parts = (
        f"{variants} × {blocks} repetitions = {runs}" if is_full else f"{variants} · {runs}",
        f"last run ended {max(run.record.ended_utc for run in study.runs)}",
        _format_common(study, "gpu_name") or _format_common(study, "cpu_model"),
        f"wbcbench {_format_common(study, 'wbcbench_version') or 'of unknown version'}",
        f"{len(commits)} commits" if len(commits) > 1 else git,
        f"results sha256 {results_sha256(study)[:12]}",
    )
    return " · ".join(filter(None, parts))


def results_sha256(study: ReportStudy) -> str:
    """Digest of the results table that these records make."""
    return hashlib.sha256(table.to_csv([run.row for run in study.runs])).hexdigest()


def _format_common(study: ReportStudy, column: str) -> str:
    """The value that all runs share, or how many there are; empty where none is known."""
    values = study.distinct_values(column)
    return values[0] if len(values) == 1 else f"{len(values)} different {column}" if values else ""


def iterate_banners(study: ReportStudy) -> Iterator[str]:
    """One sentence or two for each thing to know, the most severe first."""
    n, done = count_of(len(study.runs), "run"), count_of(len(study.done), "finished run")
    if study.is_synthetic:
        yield (
            "SYNTHETIC. The images are synthetic or the energy is that of a simulated sensor. "
            "These numbers show that the program works; they say nothing about real cells or real "
            "joules."
        )
    models = [
        describe_model(run.record.meters, str(run.row["primary_method"]))
        for run in study.done
        if run.row["primary_status"] == "estimated"
    ]
    if count := len(models):
        words = "; ".join(sorted({model for model in models if model}))
        source = (
            "On this machine neither the GPU's nor the processor's energy can be read, so the "
            "joules come from a model"
            if count == len(study.done)
            else f"In {count} of {done} the joules come from a model"
        )
        yield (
            f"ESTIMATED. {source}{f' ({words})' if words else ''}. They are no measurement, and no "
            "saving may be claimed from them."
        )
    if study.done and not study.comparable:
        yield (
            "NO ENERGY. No run of this study has joules of its training; accuracy and time are "
            "not affected."
        )
    elif study.left_out:
        yield (
            f"MIXED. {study.left_out} of {done} used another energy source, machine or data set, "
            "or have no joules: they are in the table of runs but in no mean and no figure."
        )
    failed = len(study.runs) - len(study.done)
    if study.runs and not study.done:
        yield "NOTHING FINISHED. Every run failed, was stopped or is invalid."
    elif failed:
        yield (
            f"INCOMPLETE. {failed} of {n} failed, stopped early or are invalid; in the table of "
            "runs but in no mean."
        )
    if study.planned > len(study.done):
        yield f"INCOMPLETE. {len(study.done)} of {study.planned} planned runs are finished."
    elif study.unfinished:
        yield f"INCOMPLETE. {count_of(study.unfinished, 'run')} without a record so far."
    if suspect := sum(run.record.quality is Quality.SUSPECT for run in study.done):
        yield f"SUSPECT. {suspect} of {done} have warnings; see below."
    if any(run.row["git_dirty"] for run in study.runs):
        yield "DIRTY. At least one run was made with uncommitted changes to the program."
