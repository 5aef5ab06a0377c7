"""The answer in a few sentences, and one line for each variant."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.joules.metrics import mean_known
from wbcbench.report import Block, DataTable
from wbcbench.report.page.evidence import Evidence, Run, average, known
from wbcbench.writing.show_units import (
    UNKNOWN,
    count_of,
    energy_scale,
    human_duration,
    human_energy,
    human_power,
    human_share,
)


def section(study: Evidence) -> Block:
    """What was found, in words and by variant."""
    tables = (_accuracy_table(study), _energy_table(study))
    return Block("answer", "Answer", tuple(_answer(study)), tables)


def _answer(study: Evidence) -> Iterator[str]:
    yield _what_ran(study)
    best = _best_sentence(study)
    if best:
        yield best
    if study.done:
        yield _caution(study)


def _what_ran(study: Evidence) -> str:
    images = sorted({str(run.row["dataset_id"]) for run in study.runs if run.row["dataset_id"]})
    on = f" on {' and '.join(images)}" if images else ""
    runs = count_of(len(study.runs), "run")
    variants = count_of(len(study.variants), "variant")
    return f"{len(study.done)} of {runs} finished, of {variants}{on}. Energy: {study.energy_words}."


def _best_sentence(study: Evidence) -> str:
    """Who used least and who was most accurate, of those whose joules may be compared."""
    by_variant = [group for v in study.variants if (group := _of(study.comparable, v))]
    if not by_variant:
        return _accuracy_alone(study)
    if len(by_variant) == 1:
        return f"{_told(by_variant[0])}."
    least = min(by_variant, key=lambda runs: average(runs, "headline_energy_train_j") or 0.0)
    best = max(by_variant, key=lambda runs: average(runs, "balanced_accuracy") or 0.0)
    if least is best:
        return f"Least energy and highest balanced accuracy on average: {_told(least)}."
    return (
        f"Least energy on average: {_told(least)}. Highest balanced accuracy on average: "
        f"{_told(best)}."
    )


def _accuracy_alone(study: Evidence) -> str:
    if not study.done:
        return ""
    best = max(study.done, key=lambda run: run.row["balanced_accuracy"] or 0.0)
    reached = human_share(best.row["balanced_accuracy"])
    return f"Highest balanced accuracy: {best.variant} reached {reached}."


def _told(runs: list[Run]) -> str:
    energy_j = average(runs, "headline_energy_train_j")
    accuracy = average(runs, "balanced_accuracy")
    time_s = average(runs, "time_train_s")
    return (
        f"{runs[0].variant} used {human_energy(energy_j)} in {human_duration(time_s)} and reached "
        f"a balanced accuracy of {human_share(accuracy)}"
    )


def _caution(study: Evidence) -> str:
    counts = [len(_of(study.comparable, variant)) for variant in study.variants]
    photographs = [n for n in known(study.done, "n_test_photographs") if n]
    effective = (
        f" The test set shows only {photographs[0]:g} photographs, so each accuracy is uncertain "
        "by the interval by photograph below, however many images there are."
        if photographs
        else ""
    )
    few = min(counts, default=0)
    if few < 3:
        return f"With {count_of(few, 'run')} of a variant no difference is shown.{effective}"
    return f"Differences between variants are described here and not tested.{effective}"


def _of(runs: tuple[Run, ...], variant: str) -> list[Run]:
    return [run for run in runs if run.variant == variant]


def _accuracy_table(study: Evidence) -> DataTable:
    headings = (
        "variant",
        "runs used",
        "accuracy",
        "95 % by photograph",
        "without leaks",
        "balanced accuracy",
    )
    caption = (
        "Accuracy on TEST by variant: mean over finished runs, with lowest and highest where there "
        "are several. The interval resamples photographs, not images; of several runs the widest. "
        f"'Without leaks': without test images of cells that TRAIN shows as well.{study.stamp}"
    )
    rows = tuple(_accuracy_line(study, variant) for variant in study.variants)
    return DataTable(caption, headings, rows)


def _accuracy_line(study: Evidence, variant: str) -> tuple[str, ...]:
    done = _of(study.done, variant)
    planned = sum(run.variant == variant for run in study.runs)
    return (
        variant,
        f"{len(done)} of {planned}",
        _range(known(done, "accuracy"), 3),
        _interval(done),
        _range(known(done, "accuracy_leak_free"), 3),
        _range(known(done, "balanced_accuracy"), 3),
    )


def _energy_table(study: Evidence) -> DataTable:
    largest_j = max(known(study.comparable, "headline_energy_train_j"), default=0.0)
    divisor, unit = energy_scale(largest_j)
    headings = (
        "variant",
        f"energy ({unit})",
        "net of idle",
        "time",
        "mean power",
        "per image seen",
        "to target",
    )
    caption = (
        f"Cost of training by variant: mean, lowest and highest. Energy: {study.energy_words}. Net "
        "takes away what the idle machine would have drawn. To target: joules until the validation "
        f"target was first reached, and how many runs did.{study.stamp}"
    )
    rows = tuple(_energy_line(study, variant, divisor) for variant in study.variants)
    return DataTable(caption, headings, rows)


def _energy_line(study: Evidence, variant: str, divisor: float) -> tuple[str, ...]:
    runs = _of(study.comparable, variant)
    energies = [energy_j / divisor for energy_j in known(runs, "headline_energy_train_j")]
    return (
        variant,
        _range(energies, 2),
        human_energy(average(runs, "headline_energy_train_net_j")),
        human_duration(average(runs or _of(study.done, variant), "time_train_s")),
        human_power(_mean_power_w(runs)),
        human_energy(average(runs, "energy_per_train_image_j")),
        _target(runs),
    )


def _mean_power_w(runs: list[Run]) -> float | None:
    energy_j, time_s = (average(runs, n) for n in ("headline_energy_train_j", "time_train_s"))
    return energy_j / time_s if energy_j is not None and time_s else None


def _range(values: list[float], digits: int) -> str:
    middle = mean_known(values)
    if middle is None:
        return UNKNOWN
    told = f"{middle:.{digits}f}"
    return (
        told if len(values) == 1 else f"{told} ({min(values):.{digits}f}–{max(values):.{digits}f})"
    )


def _interval(runs: list[Run]) -> str:
    lows, highs = known(runs, "accuracy_ci_low"), known(runs, "accuracy_ci_high")
    return f"{min(lows):.2f}–{max(highs):.2f}" if lows and highs else UNKNOWN


def _target(runs: list[Run]) -> str:
    tried = [run for run in runs if run.row["target_reached"] is not None]
    if not tried:
        return UNKNOWN
    reached = known(tried, "energy_to_target_j")
    hits = sum(bool(run.row["target_reached"]) for run in tried)
    if not hits:
        return f"never (0 of {len(tried)})"
    return f"{human_energy(mean_known(reached))} ({hits} of {len(tried)})"
