"""The planned contrasts: differences within blocks, with interval, test and what they show."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.compare.render import difference, p_words, sections, status_words
from wbcbench.compare.result import Comparison, Effect, contrast_key
from wbcbench.core.text import UNKNOWN
from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.sections.contrasts_forest import forest
from wbcbench.report.sentences import contrast_name, metric_words
from wbcbench.study.plan import checked_contrasts

_BY_PHOTOGRAPH = "By photograph"
HEADINGS = (
    "contrast",
    "of",
    "difference [95 %]",
    "finding",
    "p",
    "Holm p",
    "d_z",
    "blocks won",
    "p equivalent",
)
_WORDS = frozenset({0, 1, 3})


def section(study: ReportStudy) -> Block | None:
    """Every contrast with all its numbers; ``None`` where nothing is compared."""
    found = study.comparison
    if found is None or not found.effects:
        return None
    tables = tuple(_tables(study, found))
    drawn = forest(study)
    figures = (drawn,) if drawn else ()
    return Block("contrasts", "What differs", tuple(_words(found)), tables, figures)


def _words(found: Comparison) -> Iterator[str]:
    settings = found.settings
    primary = [effect for effect in found.effects if effect.family == "primary"]
    yield (
        "A block is one seed with every variant once. Differences are taken inside blocks, so "
        "that what a block shares cancels: joules and seconds as ratios, told in per cent of the "
        "side named last; accuracies in percentage points (pp)."
    )
    yield (
        "p is from the exact sign-flip test: how often chance alone would give a difference as "
        f"large.{_floor(primary)} Holm p is corrected for the {len(primary)} primary tests. d_z "
        "is the mean difference over its standard deviation. "
        f"Equivalent: shown to lie within ±{settings.region_pct:g} % (joules, seconds) or "
        f"±{settings.region_pp:g} pp (accuracies) by two one-sided tests at 5 %. What is neither "
        "different nor equivalent is 'cannot tell', never 'the same'."
    )
    yield from found.notes


def _floor(primary: list[Effect]) -> str:
    """The least p there can be; nothing is tested with a single block."""
    if not primary or primary[0].p_floor is None:
        return ""
    return f" With {primary[0].n} blocks it cannot fall below {p_words(primary[0].p_floor)}."


def _tables(study: ReportStudy, found: Comparison) -> Iterator[DataTable]:
    told = {
        "primary": f"Primary contrasts{_fixed(study, found)}",
        "secondary": "Secondary pairs: estimates, on whose account nothing is called different",
    }
    for family, words in told.items():
        effects = [effect for effect in found.effects if effect.family == family]
        if effects:
            caption = f"{words}. {_joules(found)}{study.stamp}"
            rows = tuple(_line(effect) for effect in effects)
            keys = tuple(contrast_key(effect) for effect in effects)
            folded = family == "secondary"
            yield DataTable(caption, HEADINGS, rows, _WORDS, "contrasts.csv", keys, folded)
    yield from _photographs(study, found)


def _fixed(study: ReportStudy, found: Comparison) -> str:
    if study.plan is None:
        return "; there is no plan to show that they were chosen beforehand"
    planned = {each.name for each in checked_contrasts(study.plan)}
    made = {effect.contrast for effect in found.effects if effect.family == "primary"}
    if planned == made:
        return ", fixed before the first run"
    return "; not those of the plan, for not all of its variants have run"


def _photographs(study: ReportStudy, found: Comparison) -> Iterator[DataTable]:
    """What the few photographs behind the test set leave open; nothing where they are unknown."""
    for each in sections(found):
        if each.title == _BY_PHOTOGRAPH:
            caption = f"{'. '.join(each.below)}.{study.stamp}"
            yield DataTable(caption, each.headings, each.rows, frozenset({0, 1}))


def _joules(found: Comparison) -> str:
    words = found.energy.words
    return f"{words[:1].upper()}{words[1:]}."


def _line(effect: Effect) -> tuple[str, ...]:
    return (
        contrast_name(effect.contrast, effect.against),
        metric_words(effect.metric.name) + status_words(effect.status),
        difference(effect.estimate, effect.interval, effect.metric),
        effect.finding.value,
        p_words(effect.p),
        p_words(effect.p_holm),
        UNKNOWN if effect.d_z is None else f"{effect.d_z:+.2f}",
        _won(effect),
        p_words(effect.p_equivalence),
    )


def _won(effect: Effect) -> str:
    """Blocks in which the contrast goes the better way; nobody wins an interaction."""
    if effect.share_won is None:
        return "–"
    return f"{effect.share_won * effect.n:g} of {effect.n}"
