"""What a grader writes down: one bundle in Markdown, and several as a table.

Joules of different status stand beside each other and are never added. Words of a bundle are put
where they can be no link, tag or cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.fingerprint import Alike
from wbcbench.bundle.verify.inspect import Inspection, Result, as_document, get_title
from wbcbench.bundle.verify.summary import SeedMeans, Summary, group_by_seed
from wbcbench.core.text import count_of, human_energy, human_share, markdown_text, one_line
from wbcbench.table.derive import Sum

SCHEMA = "wbcbench.verify-several/1"
HEADINGS = (
    "submission",
    "author",
    "result",
    "runs",
    "energy of the study",
    "best accuracy",
    "claims",
)
LEAVES = ("claims", "energy of the study", "author", "best accuracy", "runs")
"""Columns in the order in which they leave a narrow terminal."""

_BY_STATUS = {
    "estimated": "Estimated by a model, not measured",
    "absent": "Neither measured nor estimated",
}
_NAMED, _MOST_CLAIMS, _LONGEST = 3, 60, 600

Escape = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Submitted:
    """One of several bundles.

    Attributes:
        name: As it was given.
        found: What is found in it; ``None`` where there is no bundle.
        problem: Why there is none; else empty.
        is_compared: Whether it could be compared with the others.
    """

    name: str
    found: Inspection | None
    problem: str = ""
    is_compared: bool = False

    @property
    def result(self) -> str:
        """In words."""
        return self.found.result.value if self.found else "no bundle"


def format_markdown(name: str, found: Inspection) -> str:
    """One bundle, to be pasted into a grading sheet."""
    summary, statuses = found.summary, list(found.statuses.values())
    counts = f"{statuses.count(Status.OK)} ok, {count_of(found.warnings, 'warning')}, "
    counts += f"{count_of(found.errors, 'error')}, {statuses.count(Status.NOT_CHECKED)} not checked"
    lines = [f"## {markdown_text(summary.title if summary else name)}", ""]
    lines.append(f"- Submission: {markdown_text(name)}")
    if summary:
        course = f"; course: {markdown_text(summary.course)}" if summary.course else ""
        lines.append(f"- By: {_list_authors(summary, markdown_text)}{course}")
    lines.append(f"- Result: **{found.result.upper()}** ({len(statuses)} checks: {counts})")
    lines += [f"- Note: {markdown_text(remark)}" for remark in found.remarks]
    if summary:
        lines += [f"- {line}" for line in _describe_study(summary)]
        lines += ["", *_format_means(group_by_seed(summary.results)), "", "Claims:", ""]
        lines += [
            f"- {markdown_text(claim.text)} **{claim.result}**"
            for claim in summary.claims[:_MOST_CLAIMS]
        ] or ["- none"]
        if found.result is Result.NOT_VERIFIED:
            lines += ["", "The numbers above are the bundle's own, which is not verified."]
    for status, heading in (
        (Status.ERROR, "Failed"),
        (Status.NOT_CHECKED, "Not checked"),
        (Status.WARNING, "Warnings"),
    ):
        checks = [f"- {markdown_text(line, _LONGEST)}" for line in _list_checks(found, status)]
        if checks or status is Status.NOT_CHECKED:
            lines += ["", f"{heading}:", "", *(checks or ["- nothing"])]
    return "\n".join(lines)


def _list_authors(summary: Summary, escape: Escape) -> str:
    names = ", ".join(escape(name) for name in summary.authors[:_NAMED]) or "nobody named"
    more = len(summary.authors) - _NAMED
    return f"{names} and {more} more" if more > 0 else names


def _describe_study(summary: Summary) -> Iterator[str]:
    """Runs, images and joules, a line each."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(summary.states.items()))
    planned = "without a plan" if summary.planned is None else f"{summary.planned} planned"
    yield f"Runs: {planned}; {states or 'none'}"
    images = markdown_text(summary.dataset_id) or "unknown"
    yield f"Images: {images}{' (synthetic images or sensors)' if summary.is_synthetic else ''}"
    wasted = f"; of it {_format_sum(summary.wasted)} in runs without result"
    parts = " or ".join(summary.primary_parts)
    yield (
        f"Energy of the study ({parts}): {_format_sum(summary.energy)}"
        f"{wasted if summary.wasted.runs else ''}"
    )
    if summary.pilots.runs:
        yield f"Energy of pilots, besides: {_format_sum(summary.pilots)}"
    for status, words in _BY_STATUS.items():
        fitting = [part for part, known in summary.parts.items() if status in known]
        yield f"{words}: {', '.join(fitting) or 'nothing'}"


def _format_sum(energy: Sum) -> str:
    """Joules by status, side by side, and of how many runs they are unknown."""
    known = [f"{human_energy(j)} {status}" for status, j in sorted(energy.energy_j.items())]
    if energy.unknown or not known:
        known.append(f"unknown or in part in {count_of(energy.unknown, 'run')}")
    return " and ".join(known)


def _format_means(groups: Mapping[str, SeedMeans]) -> Iterator[str]:
    yield "| variant | runs | balanced accuracy (mean ± SD of seeds) | energy of training (mean) |"
    yield "|---|--:|--:|--:|"
    for label, means in groups.items():
        energy = f"{human_energy(means.energy_j)} {means.status}"
        yield f"| {markdown_text(label)} | {means.runs} | {_format_accuracy(means)} | {energy} |"


def _format_accuracy(means: SeedMeans) -> str:
    """``0.812 ± 0.010``, with how many of them are no result."""
    spread = f" ± {human_share(means.accuracy_sd)}" if means.accuracy_sd is not None else ""
    hit = f" (no result: one class predicted in {means.one_class} of {count_of(means.runs, 'run')})"
    return f"{human_share(means.accuracy)}{spread}{hit if means.one_class else ''}"


def _list_checks(found: Inspection, status: Status) -> Iterator[str]:
    """Checks that ended so; those of one reason share a line."""
    groups: dict[str, list[str]] = {}
    for name, own in found.statuses.items():
        if own is status:
            groups.setdefault(" ".join(found.outcomes[name].detail.split()), []).append(name)
    for detail, names in groups.items():
        title = f" {get_title(names[0])}" if len(names) == 1 else ""
        yield f"{', '.join(names)}{title}: {detail}"


def build_rows(
    submissions: Sequence[Submitted], escape: Escape = one_line
) -> list[tuple[str, ...]]:
    """A row a submission, under ``HEADINGS``."""
    return [tuple(escape(cell) for cell in _list_cells(each)) for each in submissions]


def _list_cells(submission: Submitted) -> Iterator[str]:
    summary = submission.found.summary if submission.found else None
    yield submission.name
    yield _list_authors(summary, str) if summary else "–"
    remarks = submission.found.remarks if submission.found else ()
    yield "; ".join([submission.result, *remarks])
    if summary is None:
        yield from ("–",) * 4
        return
    planned = sum(summary.states.values()) if summary.planned is None else summary.planned
    yield f"{summary.done} of {planned}"
    yield _format_sum(summary.energy)
    groups = group_by_seed(summary.results)
    known = {label: means.accuracy for label, means in groups.items() if means.accuracy is not None}
    best = max(known, key=lambda label: known[label], default=None)
    yield f"{_format_accuracy(groups[best])} {best}" if best else "unknown"
    counts = Counter(claim.result for claim in summary.claims)
    yield ", ".join(f"{count} × {result}" for result, count in counts.items()) or "none"


def describe_problems(submissions: Sequence[Submitted]) -> Iterator[str]:
    """Why submissions are no bundle, not verified, or verified in part; a line a reason."""
    for each in submissions:
        if each.found is None:
            yield each.problem
            continue
        for status in (Status.ERROR, Status.NOT_CHECKED):  # the first that there is
            if lines := list(_list_checks(each.found, status)):
                yield from (f"{each.name}: {line}" for line in lines[:_NAMED])
                if len(lines) > _NAMED:
                    yield f"{each.name}: and {len(lines) - _NAMED} more; see it alone."
                break


def describe_alike(submissions: Sequence[Submitted], alike: Sequence[Alike]) -> Iterator[str]:
    """A line for what independent authors cannot share; the rest counted."""
    names, expected = [each.name for each in submissions], dict[str, list[Alike]]()
    for each in alike:
        if each.is_expected:
            expected.setdefault(each.what, []).append(each)
            continue
        first = f" ({' and '.join(each.runs[0])})" if each.runs else ""
        yield f"{names[each.one]} and {names[each.other]}: {each.text}{first}"
    for example, *others in expected.values():
        more = f", and {count_of(len(others), 'more pair')}" if others else ""
        pair = f"{names[example.one]} and {names[example.other]}"
        yield f"No sign of copying by itself: {example.text} ({pair}{more})"


def count_results(submissions: Sequence[Submitted], alike: Sequence[Alike]) -> str:
    """The last line."""
    counts = Counter(each.result for each in submissions)
    pairs = {(each.one, each.other) for each in alike if not each.is_expected}
    results = ", ".join(f"{count} {result}" for result, count in counts.items())
    total, alike_pairs = count_of(len(submissions), "submission"), count_of(len(pairs), "pair")
    left_out = sum(not each.is_compared for each in submissions)
    more = f", {count_of(left_out, 'submission')} not compared" if left_out else ""
    return f"{total}: {results}; {alike_pairs} alike{more}"


def format_markdown_table(submissions: Sequence[Submitted], alike: Sequence[Alike]) -> str:
    """Several bundles, to be pasted into a grading sheet."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *build_rows(submissions, markdown_text)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    for heading, texts in (
        ("Problems", describe_problems(submissions)),
        ("Alike", describe_alike(submissions, alike)),
    ):
        if own := [f"- {markdown_text(text, _LONGEST)}" for text in texts]:
            lines += ["", f"{heading}:", "", *own]
    return "\n".join([*lines, "", count_results(submissions, alike)])


def build_document(submissions: Sequence[Submitted], alike: Sequence[Alike]) -> dict[str, Any]:
    """Several bundles, for programs."""
    summaries = [each.found.summary if each.found else None for each in submissions]
    return {
        "schema": SCHEMA,
        "submissions": [
            {
                "submission": each.name,
                "result": each.result,
                "problem": each.problem,
                "compared": each.is_compared,
                "checked": as_document(each.found) if each.found else None,
                "summary": asdict(summary) if summary else None,
            }
            for each, summary in zip(submissions, summaries, strict=True)
        ],
        "alike": [
            asdict(each)
            | {"one": submissions[each.one].name, "other": submissions[each.other].name}
            for each in alike
        ],
    }
