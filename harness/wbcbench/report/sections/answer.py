"""The answer: at most three sentences, each from one row of a table, and plainly none where none.

A difference is told only from the comparison's primary family. Modelled joules are told as such
and never as a saving.
"""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.compare.result import Comparison, ContrastResult, Effect, contrast_key, contrast_row
from wbcbench.core.text import count_of
from wbcbench.report import Block, Statement
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.sentences import contrast_sentence
from wbcbench.report.summary_rows import FILE, summary_rows
from wbcbench.report.summary_words import arm_sentence

_MOST = 3
_RANK = (
    ContrastResult.LESS,
    ContrastResult.MORE,
    ContrastResult.EQUIVALENT,
    ContrastResult.CANNOT_TELL,
    ContrastResult.ESTIMATE,
)
_FEWEST_BLOCKS = 3


def section(study: ReportStudy) -> Block:
    """What was found, or what cannot be shown and why; the latter first."""
    plainly = list(_plainly(study))[: _MOST - 1]
    values = {"runs": len(study.runs), "done": len(study.done), "blocks": _blocks(study)}
    claims = [
        Statement(f"cannot-{place}", text, "runs.csv", "", values)
        for place, text in enumerate(plainly, start=1)
    ]
    claims += list(_claims(study))[: _MOST - len(plainly)]
    return Block("answer", "Answer", claims=tuple(claims))


def _blocks(study: ReportStudy) -> int:
    return len(study.comparison.blocks.runs) if study.comparison else 0


def _claims(study: ReportStudy) -> Iterator[Statement]:
    found = study.comparison
    primary = [e for e in found.effects if e.family == "primary"] if found else []
    for place, effect in enumerate(_chosen(primary), start=1):
        row = contrast_row(effect)
        text = contrast_sentence(row) + _mark(study)
        yield Statement(f"answer-{place}", text, "contrasts.csv", contrast_key(effect), row)
    if not primary:
        yield from _alone(study)


def _alone(study: ReportStudy) -> Iterator[Statement]:
    """What each arm came to, where nothing is compared."""
    for place, row in enumerate(summary_rows(study), start=1):
        if row["n"]:
            text = arm_sentence(row) + _mark(study)
            yield Statement(f"answer-{place}", text, FILE, str(row["arm"]), row)


def _mark(study: ReportStudy) -> str:
    return " (Synthetic data.)" if study.is_synthetic else ""


def _chosen(primary: list[Effect]) -> list[Effect]:
    """The most decided of energy, of accuracy, and of what is left."""
    ranked = sorted(primary, key=_rank)
    first = [next((e for e in ranked if (e.metric.part is not None) is is_joules), None)
             for is_joules in (True, False)]  # fmt: skip
    chosen = [effect for effect in first if effect is not None]
    return (chosen + [effect for effect in ranked if effect not in chosen])[:_MOST]


def _rank(effect: Effect) -> tuple[bool, int, float, float, bool]:
    p = 1.0 if effect.p_holm is None else effect.p_holm
    is_open = effect.finding not in {ContrastResult.LESS, ContrastResult.MORE}
    raw = 1.0 if effect.p is None else effect.p
    aside = effect.contrast == "interaction" and is_open
    return (aside, _RANK.index(effect.finding), p, raw, effect.metric.part is None)


def _plainly(study: ReportStudy) -> Iterator[str]:
    """What cannot be shown and why."""
    nothing = _nothing(study)
    if nothing:
        yield nothing
    elif study.comparison:
        yield from _limits(study.comparison)


def _nothing(study: ReportStudy) -> str:
    """Why there is no comparison at all."""
    if not study.done:
        runs = count_of(len(study.runs), "run")
        return f"Nothing can be said: none of {runs} ended well, so there is no result."
    labels = [each.label for each in study.configurations]
    if len(labels) == 1:
        runs = count_of(len(study.done), "run")
        return (
            f"No difference can be shown: there is one variant ({labels[0]}, {runs}) and nothing "
            "to compare it with."
        )
    if study.comparison is None:
        why = study.why_not_compared
        return f"No difference can be shown. {why[:1].upper()}{why[1:]}"
    if not study.comparison.blocks.runs:
        return (
            "No difference can be shown: no block (one seed with every variant once) is complete."
        )
    return ""


def _limits(found: Comparison) -> Iterator[str]:
    """What the comparison cannot show for want of joules or of blocks."""
    if found.energy.metric is None and not any(metric.part for metric in found.metrics):
        yield f"No energy is compared: {found.energy.words}."
    blocks = len(found.blocks.runs)
    if blocks < _FEWEST_BLOCKS:
        yield (
            f"No difference can be shown: there {_are(blocks)}, and an interval needs "
            f"{_FEWEST_BLOCKS}."
        )
    else:
        yield from (note for note in found.notes if "p cannot fall below" in note)


def _are(blocks: int) -> str:
    return f"{'is' if blocks == 1 else 'are'} {count_of(blocks, 'complete block')}"
