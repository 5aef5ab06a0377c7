"""What a comparison shows, in sentences that a reader can repeat: one for each variant.

A difference is stated only where it was tested and is *different* or *equivalent*; what is
inconclusive is named as such, and estimates that nothing tested say so. The joules' status stands
in the sentence wherever they are not measured. The same effects give the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wbcbench.compare.design import notes_on_one_class
from wbcbench.compare.metric import ACCURACY, GPU_ENERGY, PRIMARY
from wbcbench.compare.render import decimals, format_p
from wbcbench.compare.result import Comparison, ContrastResult, Effect, count_tests
from wbcbench.core.text import count_of

INTERACTION = "interaction"

_MOST_DIGITS = 1  # a sentence that can be repeated; the tables have more
_DECIDED = (ContrastResult.DIFFERENT, ContrastResult.EQUIVALENT)
_ENERGIES = {
    "energy_wall_train_j": "energy of the whole machine",
    "energy_cpu_train_j": "CPU energy",
    "energy_dram_train_j": "DRAM energy",
}
_NAMES = {ACCURACY: "balanced accuracy", "accuracy": "accuracy", "time_train_s": "training time"}


@dataclass(frozen=True, slots=True)
class DifferenceSentence:
    """One contrast in words.

    Attributes:
        text: A sentence.
        strong: The words of it to see first: what is better, and by how much.
        effects: What it was made of, by metric.
    """

    text: str
    strong: tuple[str, ...]
    effects: tuple[Effect, ...]


def describe_differences(
    comparison: Comparison, *, in_a_row: bool = False
) -> list[DifferenceSentence]:
    """A sentence for each primary contrast of which something is shown, the most decided first.

    Args:
        comparison: Of what.
        in_a_row: Whether they are read one after the other, so that one against the same as the
            one before need not name it again.
    """
    shown = []
    for own in _group_effects(comparison).values():
        stated = [e for e in own if e.result in _DECIDED] or [
            e for e in own if e.result is ContrastResult.NOT_TESTED and _is_clear(e)
        ]
        if stated:
            shown.append(stated)
    shown.sort(key=lambda effects: min(map(_rank, effects)))
    before = ["", *(effects[0].against for effects in shown)] if in_a_row else [""] * len(shown)
    return [
        _describe(own, own[0].against == named) for own, named in zip(shown, before, strict=False)
    ]


def _is_clear(effect: Effect) -> bool:
    """Whether an estimate that nothing tested at least has an interval that excludes zero."""
    return effect.interval is not None and effect.interval.excludes(0.0)


def describe_open(comparison: Comparison) -> str:
    """What is inconclusive, as a sentence; empty where everything is decided."""
    effects = [e for own in _group_effects(comparison).values() for e in own]
    is_open = [e for e in effects if e.result is ContrastResult.INCONCLUSIVE]
    if not is_open:
        return ""
    seeds = count_of(len(comparison.blocks.runs), "seed") + _describe_floor(comparison, is_open)
    if len(is_open) == len(effects):
        names = " or ".join(dict.fromkeys(name_metric(e) for e in is_open))
        tests = "comparison is" if len(is_open) == 1 else f"{len(is_open)} comparisons are"
        return f"No difference in {names} is shown with {seeds}: all {tests} inconclusive."
    items = _join_names(is_open)
    return f"Inconclusive with {seeds}: {items}."


def _describe_floor(comparison: Comparison, effects: Sequence[Effect]) -> str:
    """Why nothing could have been different, where there are too few seeds for that."""
    floor, settings = effects[0].p_floor, comparison.settings
    tests = count_tests(comparison.effects, settings)
    if floor is None or floor * tests <= settings.alpha:
        return ""
    return f", with which p cannot fall below {format_p(floor)}"


def name_metric(effect: Effect) -> str:
    """``energy``, ``estimated energy``, ``balanced accuracy``."""
    if effect.metric.part is None:
        return _NAMES.get(effect.metric.name, effect.metric.name.replace("_", " "))
    kind = "" if effect.status in {"", "measured"} else f"{effect.status} "
    name = effect.metric.name
    plain = "energy" if name in {PRIMARY, GPU_ENERGY} else name.replace("_", " ")
    return f"{kind}{_ENERGIES.get(name, plain)}"


def _group_effects(comparison: Comparison) -> dict[tuple[str, str], list[Effect]]:
    """The primary effects by contrast; no accuracy where a network gives one answer to all."""
    groups: dict[tuple[str, str], list[Effect]] = {}
    is_collapsed = any(notes_on_one_class(comparison.design.configurations))
    for effect in comparison.effects:
        if effect.family == "primary" and (effect.metric.is_speed or not is_collapsed):
            groups.setdefault((effect.contrast, effect.against), []).append(effect)
    return groups


def _join_names(effects: Iterable[Effect]) -> str:
    """``energy of a and b; accuracy of a``."""
    by_metric: dict[str, list[str]] = {}
    for effect in effects:
        by_metric.setdefault(name_metric(effect), []).append(_name_side(effect))
    words = []
    for metric, sides in by_metric.items():
        listed = " and ".join(filter(None, (", ".join(sides[:-1]), sides[-1])))
        words.append(f"{metric} of {listed}")
    return "; ".join(words)


def _name_side(effect: Effect) -> str:
    return f"the {INTERACTION}" if effect.contrast == INTERACTION else effect.contrast


def _rank(effect: Effect) -> tuple[bool, bool, float, float, str]:
    """Differences before equivalence, energy before the rest, the greatest gain first."""
    p = 1.0 if effect.p_holm is None else effect.p_holm
    gain = (effect.estimate or 0.0) * (1 if effect.metric.lower_is_better else -1)
    is_different = effect.result is ContrastResult.DIFFERENT
    return (not is_different, effect.metric.part is None, gain, p, effect.contrast)


def _describe(effects: Sequence[Effect], is_named: bool) -> DifferenceSentence:
    first = effects[0]
    is_interaction = first.contrast == INTERACTION
    name = first.against if is_interaction else first.contrast
    clauses, strong = [], [name]
    for place, effect in enumerate(effects):
        clause, size = _describe_effect(effect, is_first=place == 0 and not is_named)
        clauses.append(clause)
        strong.append(size)
    text = f"{'Together, ' if is_interaction else ''}{name} {' and '.join(clauses)}"
    if first.result is ContrastResult.NOT_TESTED:
        text = f"Estimate from {count_of(first.n, 'seed')}, not tested: {text}"
    return DifferenceSentence(f"{text}.", tuple(strong), tuple(effects))


def _describe_effect(effect: Effect, *, is_first: bool) -> tuple[str, str]:
    """The clause, and the words in it that say how much."""
    interval, name, against = effect.interval, name_metric(effect), effect.against
    uses, has, is_ = "uses", "has", "is"
    if effect.contrast == INTERACTION:  # of two factors
        uses, has, is_, against = "use", "have", "are", "their single effects add up to"
    unit = f" {effect.metric.unit}" if effect.metric.unit else ""
    digits = min(decimals(interval), _MOST_DIGITS)
    ci = "95 % CI " if is_first else ""
    if effect.result is ContrastResult.EQUIVALENT and interval and effect.region:
        ends = f"({ci}{interval.low:+.{digits}f} to {interval.high:+.{digits}f}{unit})"
        size = f"practically the same {name}"
        as_ = f" as {against}" if is_first else ""
        return f"{has} {size}{as_} within ±{effect.region[1]:g}{unit} {ends}", size
    estimate = effect.estimate or 0.0
    if not round(estimate, digits):
        digits = decimals(interval)  # a difference is not zero
    is_less = estimate < 0
    amount = f"{abs(estimate):.{digits}f}{unit}"
    if effect.metric.part is not None:
        size = f"{amount} {'less' if is_less else 'more'} {name}"
        verb = uses
    elif effect.metric.unit == "pp" and name.endswith("accuracy"):
        size = f"{amount} {'less' if is_less else 'more'} accurate"
        verb = is_
    else:
        size, verb = f"{amount} {'lower' if is_less else 'higher'} {name}", has
    words = f"{verb} {size}{f' than {against}' if is_first else ''}"
    if interval is not None and interval.excludes(0.0):
        low, high = sorted((abs(interval.low), abs(interval.high)))
        return f"{words} ({ci}{low:.{digits}f} to {high:.{digits}f}{unit})", size
    return words, size  # different by a bootstrap whose interval is not the one shown
