"""The sentences a reader of a comparison must know: what was planned, and what cannot be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import permutations

from wbcbench.compare.design import notes_on_one_class
from wbcbench.compare.effects import CorrectAnswers, scale_values
from wbcbench.compare.metric import ACCURACY, Metric, Settings
from wbcbench.compare.planned import describe_stages
from wbcbench.compare.render import format_difference, format_p, name_contrast
from wbcbench.compare.result import ClaimOutcome, Comparison, ContrastResult, Effect, count_tests
from wbcbench.compare.sentences import name_metric
from wbcbench.core.text import count_of
from wbcbench.stats.boards import Way, find_imbalance
from wbcbench.stats.intervals import LEAST_FOR_BOOTSTRAP, LEAST_FOR_T
from wbcbench.stats.order import Balance
from wbcbench.stats.spreads import find_unequal_spreads
from wbcbench.stats.tests import find_least_blocks, p_floor

_MOST_NAMED = 3

_MOST_BOARDS = 4

BOARDS_DIFFER = (
    "Boards of one model differ: in speed by 8 % on average and up to 22 % (Sinha et al. 2022), in "
    "the gain of their sensors by up to 5 %."
)
_EXPLAIN_WAY: Mapping[Way | None, str] = {
    "factor": (
        "Joules and seconds are not tested; they are compared with the board as a factor, which "
        "takes for granted that boards change all variants alike."
    ),
    "unpaired": (
        "Joules and seconds are not tested; they are compared without pairing, each run on a board "
        "of its own, so that boards are part of the scatter."
    ),
    "mixed": (
        "Differences between boards cannot be told from differences between variants in joules "
        "and seconds, so these have no interval and are not tested."
    ),
}
_OPTIONS = {
    "metrics": "--metric",
    "baseline": "--baseline",
    "family": "--family",
    "lowest_status": "--lowest-status",
    "region_pct": "--equivalent-pct",
    "region_pp": "--equivalent-pp",
    "method": "--interval",
}


def iterate_notes(
    comparison: Comparison,
    answers: CorrectAnswers | None,
    differing: Iterable[str],
    excluded: Iterable[str],
) -> Iterator[str]:
    """Every sentence, in the order in which it is printed.

    Args:
        comparison: Whole but for its notes.
        answers: What the runs predicted; ``None`` if unknown.
        differing: Fields that differ between the runs, and may.
        excluded: A sentence about each configuration that is left out.
    """
    settings, metrics = comparison.settings, comparison.metrics
    yield from _notes_on_plan(comparison)
    yield from (f"{field} differs between the runs, as allowed." for field in differing)
    yield from excluded
    yield from notes_on_boards(comparison)
    yield from _notes_on_tests(comparison)
    yield from _notes_on_disagreements(comparison.effects, settings)
    yield from _notes_on_claims(comparison)
    yield from _notes_on_spreads(comparison)
    yield from _notes_on_order(comparison)
    yield from _notes_on_photographs(answers, metrics)


def iterate_limits(
    comparison: Comparison, differing: Iterable[str], excluded: Iterable[str]
) -> Iterator[str]:
    """Those of the sentences without which the result would seem to show more than it does."""
    yield from (f"{field} differs between the runs, as allowed." for field in differing)
    yield from excluded
    if comparison.blocks.boards.is_spread:
        yield from notes_on_boards(comparison)
    yield from _notes_on_energy(comparison)
    yield from _notes_on_tests(comparison)
    yield from _notes_on_spreads(comparison)
    yield from _notes_on_order(comparison)


def notes_on_boards(comparison: Comparison) -> Iterator[str]:
    """Which boards the runs came from, and what several of them leave open."""
    boards = comparison.blocks.boards
    if len(boards.blocks) < 2:
        return
    if not boards.is_spread:
        yield (
            f"The blocks come from {_list_counts(boards.blocks, 'block')}. Each was carried out on "
            "one of them, so what they differ in cancels in differences; a mean carries the gain "
            "of each."
        )
        return
    labels = [c.label for c in comparison.design.configurations]
    columns = zip(labels, zip(*boards.names, strict=True), strict=True)
    used = "; ".join(f"{x}: {_list_counts(Counter(own), 'run')}" for x, own in columns)
    yield f"The runs of a seed were spread over {len(boards.blocks)} boards. {used}."
    if any(metric.is_speed for metric in comparison.metrics):
        yield f"{_EXPLAIN_WAY[boards.way]} {BOARDS_DIFFER}"
    yield from _notes_on_imbalance(comparison)


def _notes_on_imbalance(comparison: Comparison) -> Iterator[str]:
    """How unlike boards would have to be to make the differences that are seen."""
    boards = comparison.blocks.boards
    if boards.way == "factor":
        return
    weights = {(c.name, c.against): c.weights for c in comparison.design.contrasts}
    for effect in comparison.effects:
        if effect.family != "primary" or not effect.metric.is_speed or effect.estimate is None:
            continue
        share = find_imbalance(boards.numbers, weights[effect.contrast, effect.against])
        if effect.metric.scale != "ratio" or share == 0:
            continue
        needed = effect.metric.to_unit(abs(effect.metric.from_unit(effect.estimate)) / share)
        yield (
            f"{name_contrast(effect)}, {name_metric(effect)}: boards that differ by "
            f"{float(f'{needed:.2g}'):g} % would explain it."
        )


def _list_counts(counts: Mapping[str, int], what: str) -> str:
    """``board 1a2b (4 blocks), board 3c4d (4 blocks)``; of many, how many there are."""
    names = sorted(counts)
    shown = [f"{name} ({count_of(counts[name], what)})" for name in names[:_MOST_BOARDS]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _notes_on_order(comparison: Comparison) -> Iterator[str]:
    """An order that lets drift or warm-up pass for a difference, and the drift that is seen."""
    order = comparison.order
    if order is None or order.balance.is_exact or comparison.energy.metric is None:
        return
    blocks = len(comparison.blocks.runs)
    if blocks < LEAST_FOR_T:
        return
    seen = [drift for drift in order.drifts if drift.is_seen]
    unbalanced = f"The order is unbalanced ({_name_place(order.balance, blocks)})"
    drifts = ", ".join(
        f"{drift.quantity} {drift.per_hour:+.3g} {drift.unit} an hour "
        f"[{drift.interval.low:+.3g}, {drift.interval.high:+.3g}]"
        for drift in seen
    )
    if seen:
        bias_pct = max(drift.bias_pct for drift in seen)
        unbalanced += (
            f", and the runs drift: {drifts}. Of a difference between two variants up to "
            f"{bias_pct:.2g} % may be this drift"
        )
    if not order.is_varied:
        unbalanced += (
            ". It hardly varies between blocks, so whatever changes within a block, such as "
            "warm-up, cannot be told from a difference between variants"
        )
    if seen or not order.is_varied:
        yield f"{unbalanced}."


def _name_place(balance: Balance, blocks: int) -> str:
    """Which stood at one place most unlike the others: ``a ran at place 1 in 8 of 8 blocks``."""
    even = blocks / len(balance.names)
    _, count, name, place = max(
        (abs(count - even), count, name, place + 1)
        for name, counts in zip(balance.names, balance.places, strict=True)
        for place, count in enumerate(counts)
    )
    return f"{name} ran at place {place} in {count} of {blocks} blocks"


def _notes_on_plan(comparison: Comparison) -> Iterator[str]:
    settings = comparison.settings
    if settings.plan_sha256:
        planned = f"Compared as in plan {settings.plan_sha256[:12]}"
        if any(effect.p is not None for effect in comparison.effects):
            planned = f"Compared as planned before the first run (plan {settings.plan_sha256[:12]})"
        # Limits and permissions are no part of a plan: naming them is no departure from it.
        departed = [_OPTIONS[name] for name in settings.departures if name in _OPTIONS]
        yield f"{planned}, but for {', '.join(departed)}." if departed else f"{planned}."
    yield from notes_on_untested(settings)
    if not settings.untested and not settings.plan_sha256:
        yield "No plan: what is compared was not fixed before the runs."
    if settings.two_stages:
        yield describe_stages(settings.two_stages, comparison.design, comparison.blocks)
    yield from _notes_on_energy(comparison)


def notes_on_untested(settings: Settings) -> Iterator[str]:
    """Why nothing is tested, where that is so."""
    if settings.untested:
        yield (
            f"{settings.untested}: here are estimates and intervals, and nothing is called "
            "different or equivalent."
        )


def _notes_on_energy(comparison: Comparison) -> Iterator[str]:
    """Why no joules are compared, or that they are not measured."""
    energy = comparison.energy
    if energy.metric is None and all(metric.part is None for metric in comparison.metrics):
        yield f"Energy: {energy.words}."
    elif energy.status not in {"", "measured"}:
        yield f"All joules here are {energy.status}, not measured."


def _notes_on_tests(comparison: Comparison) -> Iterator[str]:
    """What so many blocks can show, and runs of such networks."""
    design, effects, settings = comparison.design, comparison.effects, comparison.settings
    n, is_spread = len(comparison.blocks.runs), comparison.blocks.boards.is_spread
    yield from notes_on_one_class(design.configurations)
    if len(design.configurations) == 1:
        label = design.configurations[0].label
        yield f"There is one configuration, {label}: nothing to compare it with."
    elif not design.pairs:
        yield "No configuration is in both studies: nothing is compared."
    if n == 0:
        yield "No seed has all its runs: no difference can be computed."
    elif n < LEAST_FOR_T:
        yield (
            f"{count_of(n, 'complete seed')}: estimates only. Intervals need {LEAST_FOR_T} "
            "seeds, and without one nothing is called a difference."
        )
    tests = 0 if settings.untested else count_tests(effects, settings)
    if tests and n >= 2 and p_floor(n) > (first_step := settings.alpha / tests):
        yield (
            f"With {n} seeds p cannot fall below {p_floor(n):.2g}, but the first of {tests} "
            f"corrected tests needs {first_step:.2g}: no difference can be shown. "
            f"{find_least_blocks(first_step)} seeds can show one."
        )
    constant = {effect.metric for effect in effects if effect.d_z is None and effect.n > 1}
    measured = sorted(metric.name for metric in constant if metric.is_speed and not is_spread)
    if measured:
        yield (
            f"All seeds differ by exactly the same amount in {', '.join(measured)}: real "
            "runs scatter, so check whether these numbers were copied or invented."
        )
    if counted := sorted(metric.name for metric in constant if not metric.is_speed):
        yield (
            f"All seeds differ by exactly the same amount in {', '.join(counted)}: counts of few "
            "images may, and networks that take all images for one class do."
        )
    if settings.method == "bootstrap" and n < LEAST_FOR_BOOTSTRAP:
        yield (
            f"Bootstrap intervals need {LEAST_FOR_BOOTSTRAP} seeds; with fewer they are too "
            "narrow, so none is shown. Leave out --interval bootstrap for t intervals."
        )


# Interval, corrected p and result answer three questions, so they may seem to disagree.
class _Disagreement(StrEnum):
    """A kind of it, in words."""

    TOO_FEW = (
        "inconclusive although the interval excludes zero, because {n} seeds allow no p below "
        "{floor} before Holm's correction for {tests}"
    )
    CORRECTED = (
        "inconclusive although the interval excludes zero, because Holm's correction counts "
        "{tests}; a single test would have shown a difference"
    )
    SIGNS = (
        "inconclusive although the interval excludes zero, because not every seed goes the same "
        "way: the exact test counts patterns of signs, the interval takes the scatter for normal"
    )
    ASTRIDE = (
        "not called different although the corrected p is at most {alpha:g} %, because the "
        "interval includes zero: nearly all seeds go the same way, but by so different amounts "
        "that their mean is uncertain"
    )
    NOT_EQUIVALENT = (
        "not called equivalent although the interval lies within the region, because the "
        "corrected p of equivalence is above {alpha:g} %"
    )
    SMALL = (
        "equivalent although the interval excludes zero, because equivalent means a difference "
        "too small to matter, not none"
    )
    BEYOND = (
        "equivalent although the 95 % interval reaches beyond the region, because two one-sided "
        "tests at 5 % look at the 90 % interval, which lies within"
    )


def _notes_on_disagreements(effects: Sequence[Effect], settings: Settings) -> Iterator[str]:
    """One sentence for each kind, with the contrasts it concerns."""
    tested = [effect for effect in effects if effect.result is not ContrastResult.NOT_TESTED]
    for kind in _Disagreement:
        found = [e for e in tested if kind in _find_disagreements(e, settings.alpha)]
        if found:
            why = kind.format(
                n=found[0].n,
                floor=format_p(found[0].p_floor),
                tests=count_of(count_tests(effects, settings), "test"),
                alpha=100 * settings.alpha,
            )
            yield f"{_name_effects(found, kind)}: {why}."


def _notes_on_claims(comparison: Comparison) -> Iterator[str]:
    """Claims that are supported although their contrast is not called different."""
    open_contrasts = {
        (effect.contrast, effect.against, effect.metric)
        for effect in comparison.effects
        if effect.result is ContrastResult.INCONCLUSIVE
    }
    names = [
        result.name
        for result in comparison.claims
        if result.outcome is ClaimOutcome.SUPPORTED
        and {(*pair, result.metric) for pair in permutations(result.claim.variants)}
        & open_contrasts
    ]
    if names:
        yield (
            f"Supported although the contrast is inconclusive: {', '.join(names)}. A claim is "
            "fixed beforehand and corrected for the plan's claims alone, and its t test takes the "
            "scatter for normal, which the exact test of a contrast does not."
        )


def _find_disagreements(effect: Effect, alpha: float) -> Iterator[_Disagreement]:
    interval, p, p_holm = effect.interval, effect.p, effect.p_holm
    if interval is None or p is None or p_holm is None:
        return
    is_equivalent = effect.result is ContrastResult.EQUIVALENT
    if not interval.excludes(0.0):
        if p_holm <= alpha:
            yield _Disagreement.ASTRIDE
    elif is_equivalent:
        yield _Disagreement.SMALL
    elif p_holm > alpha:
        if p == effect.p_floor:
            yield _Disagreement.TOO_FEW
        else:
            yield _Disagreement.CORRECTED if p <= alpha else _Disagreement.SIGNS
    if effect.region is not None:
        low, high = effect.region
        is_within = low < interval.low and interval.high < high
        if is_within is not is_equivalent:
            yield _Disagreement.NOT_EQUIVALENT if is_within else _Disagreement.BEYOND


def _name_effects(effects: Sequence[Effect], kind: _Disagreement) -> str:
    """The first ones with their numbers, and how many more there are."""
    names = []
    for effect in effects[:_MOST_NAMED]:
        difference = format_difference(effect.estimate, effect.interval, effect.metric)
        test, p, p_holm = "p", effect.p, effect.p_holm
        if "equivalent" in kind:
            test = "p of equivalence"
            p, p_holm = effect.p_equivalence, effect.p_equivalence_holm
        numbers = f"{difference}, {test} = {format_p(p)}, corrected {format_p(p_holm)}"
        names.append(f"{name_contrast(effect)} on {effect.metric.name} ({numbers})")
    more = len(effects) - len(names)
    return "; ".join(names) + (f" and {more} more" if more else "")


def _notes_on_spreads(comparison: Comparison) -> Iterator[str]:
    """Of which metrics a configuration scatters so much more that tests err more often."""
    blocks, labels = comparison.blocks, [c.label for c in comparison.design.configurations]
    claimed = (result.metric for result in comparison.claims if result.p is not None)
    metrics = dict.fromkeys((*comparison.metrics, *claimed)) if blocks.runs else ()
    for metric in metrics:
        if blocks.boards.is_spread and metric.is_speed:
            continue  # boards scatter, too
        found = find_unequal_spreads(scale_values(blocks, metric))
        if found:
            yield (
                f"Unequal spreads: {metric.name} of {labels[found.widest]} scatters about "
                f"{found.factor:.2g} times as much between seeds as that of "
                f"{labels[found.narrowest]}. Where such noise is skewed, too, tests call a "
                'difference and support a claim too easily (STATISTICS.md, "Limits"): "different" '
                'and "supported" are weaker there than they read.'
            )


def _notes_on_photographs(
    answers: CorrectAnswers | None, metrics: Sequence[Metric]
) -> Iterator[str]:
    if all(metric.scale != "share" for metric in metrics):
        return
    if answers is None:
        yield (
            "The uncertainty of the test set is not shown: predictions are missing, or the "
            "photographs of the images are unknown."
        )
    else:
        photographs = len(set(answers.photographs.tolist()))
        yield (
            f"Intervals of {ACCURACY} over seeds hold for these {photographs} test "
            "photographs; those over photographs hold for other photographs, too."
        )
