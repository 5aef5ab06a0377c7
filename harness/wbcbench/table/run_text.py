"""One run in words, for a terminal: what it reached, what it cost, and how far to trust that."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.record import RunRecord
from wbcbench.core.text import (
    human_count,
    human_duration,
    human_energy,
    human_power,
    human_share,
    printable,
)
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.window import TRAIN
from wbcbench.energy.source import Speaker, spoken_energy_j, spoken_power_w
from wbcbench.table.column import Cell
from wbcbench.table.view import Run

_LABEL_WIDTH = 20
_WIDTH = 110
_PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "memory", Domain.SYSTEM: "machine"}
_STATUS = {Origin.MODELLED: "modelled, no sensor of it here"}


def summary(record: RunRecord) -> list[str]:
    """The result in a few lines: title, quality, joules, seconds, doubts."""
    run = Run(record)
    cells = run.row
    lines = [_title(record, cells)]
    if record.synthetic:
        lines.append("  SYNTHETIC: drawn images or a made-up signal; no result about real cells")
    lines += [_line(label, text) for label, text in _facts(run, cells)]
    if record.error:
        lines.append(_line("why", f"{record.error.kind}: {record.error.message}"))
    return lines + doubts(record)


def doubts(record: RunRecord) -> list[str]:
    """Every caution that weighs, with its advice."""
    return _cautions(c for c in record.cautions if c.severity is not Severity.INFO)


def remarks(record: RunRecord) -> list[str]:
    """Every caution that only informs, with its advice."""
    return _cautions(c for c in record.cautions if c.severity is Severity.INFO)


def _cautions(found: Iterable[Caution]) -> list[str]:
    lines: list[str] = []
    for caution in found:
        where = " ".join(word for word in (caution.window, caution.channel) if word)
        head = f"{caution.severity.value}: {caution.code}" + (f" ({where})" if where else "")
        lines.append(f"  {printable(head)}")
        lines += _wrapped(caution.detail)
        lines += _wrapped(f"advice: {caution.advice}") if caution.advice else []
    return lines


def _wrapped(text: str) -> list[str]:
    indent = "      "
    return textwrap.wrap(printable(text), _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _title(record: RunRecord, cells: dict[str, Cell]) -> str:
    return printable(f"{record.run_id}   {cells['status']}, verdict {record.verdict.value}")


def _line(label: str, text: str) -> str:
    """One fact; a long one goes on under its own beginning."""
    return textwrap.fill(
        printable(text),
        _WIDTH,
        initial_indent=f"  {printable(label):<{_LABEL_WIDTH}}",
        subsequent_indent=" " * (_LABEL_WIDTH + 2),
        break_long_words=False,
    )


def _facts(run: Run, cells: dict[str, Cell]) -> Iterator[tuple[str, str]]:
    yield from _quality(run.record)
    yield from _energies(run)
    yield from _time(run)
    yield from _images(run, cells)
    yield from _target(run)
    yield from _absent(run.record)


def _quality(record: RunRecord) -> Iterator[tuple[str, str]]:
    test = record.test
    if test is None:
        return
    yield "accuracy", human_share(test.accuracy) + _interval(record)
    clean = record.test_leak_free
    if clean is not None:
        share = f"{human_count(clean.images)} of {human_count(test.images)} test images"
        yield "  without leaks", f"{human_share(clean.accuracy)}   on {share}"
    f1 = human_share(test.macro_f1)
    yield "balanced accuracy", f"{human_share(test.balanced_accuracy)}   macro-F1 {f1}"


def _interval(record: RunRecord) -> str:
    test = record.test
    if test is None or test.interval is None:
        return "   (photographs unknown, so no interval)"
    low, high = (human_share(edge, 2) for edge in test.interval)
    return f"   95 % by photograph {low} to {high} ({human_count(test.photographs)} photographs)"


def _energies(run: Run) -> Iterator[tuple[str, str]]:
    if run.headline is None:
        yield "energy, train", "unknown: no meter worked here"
        return
    yield f"{_PARTS[run.headline.domain]} energy, train", _energy(run, run.headline)
    others = (s for d in Domain if (s := run.speaker(d)) and s is not run.headline)
    for other in others:
        if other.domain is not run.headline.domain:
            yield f"  {_PARTS[other.domain]}, apart", _energy(run, other)


def _energy(run: Run, who: Speaker) -> str:
    energy_j = spoken_energy_j(run.record, who, TRAIN)
    if energy_j is None:
        return f"unknown ({who.method})"
    net_j = run.net_energy_j(who)
    net = "" if net_j is None else f", {human_energy(net_j)} net of idle"
    status = _STATUS.get(who.status, who.status.value)
    return f"{human_energy(energy_j)} gross{net}   {status} ({who.method})"


def _time(run: Run) -> Iterator[tuple[str, str]]:
    time_s = run.duration_s(TRAIN)
    if time_s is None:
        return
    power_w = spoken_power_w(run.record, run.headline, TRAIN)
    power = "" if power_w is None else f"   mean {human_power(power_w)}"
    epochs = f"{len(run.record.epochs)} of {run.record.spec.epochs} epochs"
    yield "time, train", f"{human_duration(time_s)} for {epochs}{power}"


def _images(run: Run, cells: dict[str, Cell]) -> Iterator[tuple[str, str]]:
    costs = {
        "training": cells["energy_per_train_image_j"],
        "inference, batch 64": cells["energy_per_infer_image_j"],
        "inference, batch 1": cells["energy_per_infer_image_b1_j"],
    }
    told = [
        f"{human_energy(cost)} {name}" for name, cost in costs.items() if isinstance(cost, float)
    ]
    if told:
        yield "per image", " · ".join(told)


def _target(run: Run) -> Iterator[tuple[str, str]]:
    if not run.record.epochs:
        return
    spec = run.record.spec
    label = f"to {spec.target_value:g} {spec.target_metric.removeprefix('val_').replace('_', ' ')}"
    if run.reached is None:
        yield "target", f"{label} on validation: not reached"
        return
    cost, time = human_energy(run.reached.energy_j), human_duration(run.reached.time_s)
    yield "target", f"{label} on validation: {cost}, {time}, {run.reached.epochs} epochs"


def _absent(record: RunRecord) -> Iterator[tuple[str, str]]:
    for absent in record.absent:
        yield f"no {absent.meter}", absent.reason
