"""Records → a report that answers first and shows its evidence behind: ``reports/<study>/``.

A section is a function of ``sections/`` and one line of ``registry.SECTIONS``: from the study to a
``Section`` of sentences, tables and figures, or ``None`` where there is no content. Sections know
nothing of HTML or Markdown; the formats set them and know nothing of energy. The same records give
the same bytes: nothing here depends on the time, the place or the machine.

A sentence with a number that a reader could quote is a ``Statement``: it names the row and the
table its numbers are from, so that a reader can check and a program can compute it again. A figure
is drawn from one table alone, which is also the data behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from wbcbench import table
from wbcbench.registry import SECTIONS, load_part
from wbcbench.report.study import ReportStudy
from wbcbench.study.statement import SubmissionDetails

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from wbcbench.report.style import Style

PAGE = "report.html"
TEXT = "report.md"
PAPER = "report.pdf"
PAPERS = {"plain": PAPER, "ieee": "report-ieee.pdf", "slides": "slides.pdf"}
FIGURES = "figures"
FIGURE_DATA = "figure-data"
"""Files and folders of a report, below its own folder."""

MOST_ROWS, MOST_DATA_ROWS = 200, 30
"""Of a table on a page, and of the data behind a figure; the CSV has all."""

Value = str | int | float | bool | None
"""A number or word of a statement or a table; ``None`` is unknown."""

Cells = tuple[Any, ...]
"""A row of such values, by the headings of its table."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of the report and the row of a table that it follows from.

    The text follows from the values alone: they are enough to make the sentence again.

    Attributes:
        id: Unique in the report; letters, digits and hyphens.
        text: Whole sentences, plain text.
        source: The table: ``contrasts.csv``, ``summary.csv`` or ``runs.csv``.
        row: Key of its row there; empty where the table as a whole is counted or summed.
        values: What the text was made of, by column of that table, unrounded.
        strong: Words of the text that a reader should see first.
    """

    id: str
    text: str
    source: str
    row: str
    values: Mapping[str, Value]
    strong: tuple[str, ...] = ()


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
    """A table to read, and the numbers behind it.

    Attributes:
        caption: What it holds; says measured, estimated or synthetic where it holds joules.
        headings: One for each column.
        rows: Cells ready to read; the first of each row names it.
        words: Positions of columns that hold text; the others are set as numbers.
        source: The table of numbers behind it, as in ``Statement``; empty for none.
        keys: Key of each row in ``source``, as the target of statements; empty for none.
        values: The same cells unrounded, for CSV and figures; empty where there is only text.
        styles: Colour and shape of each row's variant; empty for none.
        is_folded: Whether it is folded away until a reader opens it.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    source: str = ""
    keys: tuple[str, ...] = ()
    values: tuple[Cells, ...] = ()
    styles: tuple[Style, ...] = ()
    is_folded: bool = False

    def select(self, *headings: str) -> Iterator[Cells]:
        """These columns of every row, unrounded."""
        places = [self.headings.index(heading) for heading in headings]
        return (tuple(row[place] for place in places) for row in self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A picture, which is drawn from one table.

    Attributes:
        name: File name without ending; also the prefix of the ids inside the picture.
        title: For ``<title>``; begins the caption.
        description: For ``<desc>``: its content for a reader who cannot see it.
        caption: What the marks mean; says measured, estimated or synthetic.
        data: The numbers that are drawn.
        draw: Draws them; called only when a picture is made.
    """

    name: str
    title: str
    description: str
    caption: str
    data: DataTable
    draw: Callable[[DataTable], Canvas]


@dataclass(frozen=True, slots=True)
class Pair:
    """Figures that stand side by side where there is room."""

    figures: tuple[Figure, ...]


Part = str | Statement | DataTable | Figure | Pair | Listing
"""What a section is made of; text is a paragraph."""


class Place(StrEnum):
    """Where a section stands."""

    FIRST = "first"  # on the first screen
    OPEN = "open"  # below it
    FOLDED = "folded"  # behind a line that says its result


@dataclass(frozen=True, slots=True)
class Section:
    """The content of one section.

    Attributes:
        key: Anchor on the page; letters and hyphens.
        title: Heading.
        parts: In order.
        place: Where it stands.
        summary: Its result in a few words, for the line that it is folded behind.
    """

    key: str
    title: str
    parts: tuple[Part, ...]
    place: Place = Place.OPEN
    summary: str = ""

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Its sentences with numbers, in order."""
        return tuple(part for part in self.parts if isinstance(part, Statement))

    @property
    def tables(self) -> tuple[DataTable, ...]:
        """Its tables, in order, without those behind figures."""
        return tuple(part for part in self.parts if isinstance(part, DataTable))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Its figures, in order."""
        pairs = (part.figures if isinstance(part, Pair) else (part,) for part in self.parts)
        return tuple(figure for pair in pairs for figure in pair if isinstance(figure, Figure))


BuildSection = Callable[[ReportStudy], Section | None]
"""Makes one section; ``None`` where it has no content for this study."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a reader must know before any number.

    Attributes:
        word: In one word: estimated, synthetic, incomplete.
        text: A sentence or two.
    """

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report before it is set.

    Attributes:
        title: Of the page.
        facts: One line beside the title: design, device, date, digest of the results.
        notices: The status line; empty where all is measured and complete.
        sections: Those with content, in the registry's order.
        authors, course: Who submits the study, and to which course, as far as they are said.
    """

    title: str
    facts: str
    notices: tuple[Notice, ...]
    sections: tuple[Section, ...]
    authors: tuple[str, ...] = ()
    course: str | None = None

    @property
    def byline(self) -> str:
        """Authors and course on one line; empty where neither is said."""
        return " · ".join(filter(None, (", ".join(self.authors), self.course)))

    @property
    def claims(self) -> tuple[Statement, ...]:
        """Every sentence with numbers, in order."""
        return tuple(each for section in self.sections for each in section.statements)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in order."""
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def rows(self) -> frozenset[tuple[str, str]]:
        """Source and key of every row that a statement can lead to."""
        tables = [data for section in self.sections for data in section.tables]
        shown = ((data.source, key) for data in tables for key in data.keys[:MOST_ROWS])
        return frozenset(shown)

    def at(self, place: str) -> Sequence[Section]:
        """The sections of one place."""
        return [section for section in self.sections if section.place == place]


def build(study: ReportStudy) -> Report:
    """Build every section of the registry and put the report together."""
    from wbcbench.report.words import describe_study, list_notices

    builders: list[BuildSection] = [load_part("section", name) for name in SECTIONS]
    sections = tuple(section for make in builders if (section := make(study)))
    said = study.plan.submission if study.plan else SubmissionDetails()
    title, notices = f"Study {study.name}: energy and accuracy", tuple(list_notices(study))
    return Report(title, describe_study(study), notices, sections, said.names, said.course)


def results_sha256(study: ReportStudy) -> str:
    """Digest of the results table that these records make."""
    return hashlib.sha256(table.to_csv([run.row for run in study.runs])).hexdigest()
