"""One run in words for a terminal: its result, its joules by window and part, its warnings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import RunRecord
from wbcbench.core.terminal import (
    TableColumn,
    cell_width,
    energy_column,
    fill,
    format_table,
    share_column,
    terminal_width,
    text_column,
    time_column,
)
from wbcbench.core.text import (
    count_of,
    format_digits,
    human_count,
    human_duration,
    human_energy,
    human_power,
    human_share,
    printable,
    time_scale,
)
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.units import pct_from_share
from wbcbench.core.window import TRAIN
from wbcbench.energy.bill import Bill, Item, add_up
from wbcbench.energy.checks import list_some
from wbcbench.energy.checks.job import describe_node_joules
from wbcbench.energy.cross_check import describe_checks
from wbcbench.energy.source import (
    EnergyResult,
    EnergySource,
    choose_source,
    find_window_energy,
    name_part,
    name_reading,
    primary_source,
    source_energy_j,
    source_power_w,
)
from wbcbench.energy.uncertainty import describe_limits
from wbcbench.energy.warnings import load_warnings
from wbcbench.table.derive import spent
from wbcbench.table.view import TABLE_BATCH, Run

LINES = 24  # of a terminal, its prompt included
MOST_WARNINGS = 5

_MOST_WINDOWS = 8
_LABEL, _VALUE = 13, 10
_SEVERITIES = (Severity.INVALID, Severity.SUSPECT, Severity.INFO)
# The rows of the table, and the parts of the bill that they add up.
_ROWS = {
    "start-up": ("start-up", "import", "context", "data", "build"),
    "compile, warm-up": ("compile", "warm-up"),
    "training": (TRAIN,),
    "validation": ("validate",),
    "test, inference": ("test", "inference"),
    "idle": ("idle",),
    "write": ("write",),
    "other": ("other",),
    "unexplained": ("unexplained",),
}


class _Fact(NamedTuple):
    """A line of the result: what it is, its value, and what must be known of it."""

    label: str
    value: str
    note: str = ""


def format_result_line(run: Run) -> str:
    """The whole result in one line, for ``--quiet``."""
    facts = _list_program_facts(run) if run.spec.is_program else _list_run_facts(run)
    words = [f"{fact.label} {fact.value}" for fact in facts if fact.label in _SHORT]
    return printable(f"{run.run_id}: {', '.join([_describe_state(run), *words])}")


_SHORT = ("accuracy", "energy", "time")


def format_result(run: Run) -> list[str]:
    """The result in at most eight lines of 80 columns: accuracy, energy, time, what is left out."""
    record, spec = run.record, run.spec
    if spec.is_program:
        lines = _join_ends(run.run_id, _describe_state(run))
        facts = _list_program_facts(run)
    else:
        device = run.row["gpu_name"] or run.row["cpu_model"]
        title = f"{spec.variant}, seed {spec.seed}" + (f", on {device}" if device else "")
        lines, facts = _join_ends(title, _describe_state(run)), _list_run_facts(run)
    for label, value, note in facts:
        first = f"  {label:<{_LABEL}}" + (f"{value:<{_VALUE}}" if note else value)
        rest = " " * (2 + _LABEL + _VALUE)
        if not label and not value:
            first, rest = "  ", "    "
        lines += fill(note, first, rest).splitlines() if note else [first]
    if record.error:
        lines += fill(
            f"why: {record.error.kind}: {record.error.message}", "  ", "    "
        ).splitlines()
    if kinds := _list_synthetic(record):
        text = f"{' and '.join(kinds)}: not a result to quote"
        lines += fill(text, "  ", "    ").splitlines()
    return [printable(line) for line in lines]


def _join_ends(left: str, right: str) -> list[str]:
    """Both on one line where they fit, the right at its end."""
    left, width = printable(left), terminal_width()
    spaces = width - cell_width(left) - cell_width(right)
    if spaces >= 2:
        return [left + " " * spaces + right]
    return [*fill(left, "", "  ").splitlines(), f"  {right}"]


def _describe_state(run: Run) -> str:
    return f"{run.record.status}, measurement {run.record.quality.value}"


def _list_synthetic(record: RunRecord) -> list[str]:
    has_images = record.dataset is not None and record.dataset.synthetic
    has_sensor = any(channel.origin is Origin.SIMULATED for channel in record.channels)
    kinds = ["synthetic images"] * has_images + ["simulated sensor"] * has_sensor
    return kinds or ["synthetic images or a simulated sensor"] * record.synthetic


def _list_run_facts(run: Run) -> Iterator[_Fact]:
    record = run.record
    if test := record.test:
        note = "TEST; no interval: photographs unknown"
        if test.interval:
            low, high = (f"{pct_from_share(edge):.0f}" for edge in test.interval)
            note = f"TEST; over photographs {low}–{high} (95 % CI)"
        known = {each.test_accuracy for each in record.loops if each.test_accuracy is not None}
        if len(known) > 1:
            edges = (f"{pct_from_share(edge):.1f}" for edge in (min(known), max(known)))
            note = f"{note}; its loops {'–'.join(edges)}"
        yield _Fact("accuracy", f"{pct_from_share(test.accuracy):.1f} %", note)
    yield from _list_energies(run)
    time_s = run.duration_s(TRAIN)
    if time_s is not None:
        power_w = source_power_w(record, run.primary, TRAIN)
        power = "" if power_w is None else f"mean {human_power(power_w)}"
        done, wanted = len(record.epochs), run.spec.epochs
        left_out = "" if done == wanted else f"{done} of {wanted} epochs"
        loops = f"one of {record.loop_count} in the window" if record.loops else ""
        notes = filter(None, (power, loops, left_out))
        yield _Fact("time", _format_time(time_s), ", ".join(notes))
    training_j = run.number("energy_per_train_image_j")
    inference_j = run.number("energy_per_infer_image_j")
    if training_j is not None and len(record.epochs) == run.spec.epochs:
        more = "" if inference_j is None else f"; {human_energy(inference_j)} inference"
        note = f"training{more}{f' at batch {TABLE_BATCH}' if more else ''}"
        yield _Fact("per image", human_energy(training_j), note)
    yield from _list_left_out(run)


def _format_time(time_s: float) -> str:
    divisor, unit = time_scale(time_s)
    return f"{format_digits(time_s / divisor)} {unit}"


def _list_energies(run: Run) -> Iterator[_Fact]:
    """The primary energy, and that of an attached meter of the whole machine."""
    energy = find_window_energy(run.record, run.primary, TRAIN)
    total = spent(run)
    if energy.energy_j is not None:
        yield _Fact("energy", human_energy(energy.energy_j), _describe_energy(energy, "training"))
    elif total.energy_j is not None and run.primary and not run.record.epochs:
        words = name_reading(run.primary.domain, run.primary.method)
        note = f"until it ended, {words}, {total.status}"
        yield _Fact("energy", human_energy(total.energy_j), note)
    else:
        devices = f"no joules of {', '.join(energy.unread)}"
        reason = devices if run.primary else "no meter worked on this machine"
        yield _Fact("energy", "unknown", reason)
    system = run.source(Domain.SYSTEM)
    if system and run.primary and run.primary.domain is not Domain.SYSTEM:
        whole = find_window_energy(run.record, system, TRAIN)
        if whole.energy_j is not None:
            note = _describe_energy(whole, "training")
            yield _Fact("machine", human_energy(whole.energy_j), note)


def _describe_energy(energy: EnergyResult, window: str) -> str:
    """``training, GPU counter, measured ± 0.3 %, board ± 5 %``."""
    words = f"{window}, {name_reading(energy.domain or '', energy.method)}, {energy.status}"
    for name, half_j in (("", energy.uncertainty_j), ("board ", energy.board_uncertainty_j)):
        if half_j and energy.energy_j:
            share = pct_from_share(half_j / energy.energy_j)
            width = f"{share:.1g}" if share < 10 else f"{share:.0f}"
            words += f"{', ' if name else ' '}{name}± {width} %"
    if energy.unrated:
        words += f", board ± unknown of {', '.join(energy.unrated)}"
    return words


def _list_left_out(run: Run) -> Iterator[_Fact]:
    """Joules of other parts, which are never added to the primary ones."""
    groups: dict[str, list[str]] = {}
    for domain in (Domain.GPU, Domain.CPU, Domain.DRAM):
        source = run.source(domain)
        if run.primary is None or source is None or domain is run.primary.domain:
            continue
        energy_j = source_energy_j(run.record, source, TRAIN)
        if energy_j is not None:
            text = f"{name_part(domain)} {human_energy(energy_j)}"
            groups.setdefault(str(source.status), []).append(text)
    for status, parts in groups.items():
        verb = "is" if len(parts) == 1 else "are"
        yield _Fact("", "", f"{' and '.join(parts)} {verb} {status} and not included")
    if whose := describe_node_joules(run.record.channels, run.record.provenance):
        yield _Fact("", "", whose)


def _list_program_facts(run: Run) -> Iterator[_Fact]:
    """What a measured program cost: its windows, the one to quote first."""
    main, windows = run.main_window, run.record.windows
    command = run.record.provenance.get("command")
    words = command if isinstance(command, list) else [run.spec.variant]
    yield _Fact("program", shlex.join(str(word) for word in words))
    for window in sorted(windows, key=lambda window: window.name != main)[:_MOST_WINDOWS]:
        source = primary_source(run.record, window.name)
        energy = find_window_energy(run.record, source, window.name)
        time = f"in {human_duration(window.duration_s)}"
        label = "energy" if window.name == main else ""
        if energy.energy_j is None:
            devices = f"no joules of {', '.join(energy.unread)}" if source else "no meter worked"
            yield _Fact(label, "unknown", f"{window.name}: {devices}; {time}")
        else:
            note = f"{_describe_energy(energy, window.name)}; {time}"
            yield _Fact(label, human_energy(energy.energy_j), note)
    if len(windows) > _MOST_WINDOWS:
        yield _Fact("", "", f"and {len(windows) - _MOST_WINDOWS} more windows (show --all)")
    if whose := describe_node_joules(run.record.channels, run.record.provenance):
        yield _Fact("", "", whose)


def format_warning_codes(record: RunRecord) -> list[str]:
    """A line that names the warnings that make a measurement suspect or invalid."""
    codes = dict.fromkeys(w.code for w in record.warnings if w.severity is not Severity.INFO)
    return [f"  {record.quality.value}: {list_some(codes)}"] if codes else []


def format_energies(run: Run) -> list[str]:
    """One table of joules by what was done and part of the machine, and how each was read."""
    sources = [(domain, run.source(domain)) for domain in Domain]
    known = {domain: s for domain, s in sources if s and s.channels}
    items = _list_windows(run, known) if run.spec.is_program else _list_rows(run.bill)
    if not known or not items:
        return []
    readings = [f"{name_reading(d, s.method)}, {s.status or 'absent'}" for d, s in known.items()]
    if run.spec.is_program and len(run.record.windows) > len(items):
        readings.append("all windows: --all")
    above = ((domain, _find_above_idle(run, source)) for domain, source in known.items())
    parts = [f"{name_part(domain)} {human_energy(j)}" for domain, j in above if j is not None]
    if parts:
        readings.append(f"training above idle: {', '.join(parts)}")
    if not run.spec.is_program:
        readings += [*_describe_overhead(run), "each part and its ±: --all"]
    return [
        *format_table(_build_columns(run, items, [*known]), indent="  "),
        *fill("; ".join(readings), "  ").splitlines(),
    ]


def format_bill(run: Run) -> list[str]:
    """Every part of a run's bill, with each ±."""
    bill, known = run.bill, [domain for domain in Domain if domain in run.bill.whole.energy_j]
    items = [*bill.lines, bill.whole, bill.overhead]
    return format_table(_build_columns(run, items, known, has_every_width=True))


def _build_columns(
    run: Run, items: Sequence[Item], domains: Sequence[Domain], *, has_every_width: bool = False
) -> list[TableColumn]:
    primary = run.primary.domain if run.primary else None
    heading = f"energy by {'window' if run.spec.is_program else 'part'}"
    columns = [text_column(heading, [item.name for item in items])]
    for place, domain in enumerate(domains):
        energies_j = [item.energy_j.get(domain) for item in items]
        columns.append(energy_column(name_part(domain), energies_j, leaves=place))
        widths_j = [item.uncertainty_j.get(domain) for item in items]
        if (has_every_width or domain is primary) and any(widths_j):
            columns.append(energy_column("±", widths_j, leaves=len(domains) + place + 2))
    columns.append(time_column("time", [item.time_s for item in items], leaves=len(domains)))
    if not run.spec.is_program:
        shares = [run.bill.share(item, primary) for item in items]
        columns.append(share_column("share", shares, leaves=len(domains) + 1))
    return columns


def _list_rows(bill: Bill) -> list[Item]:
    """The lines of a bill, few enough for a screen."""
    own = {item.name: item for item in bill.lines}
    groups = {row: [own[part] for part in parts if part in own] for row, parts in _ROWS.items()}
    return [*(add_up(row, items) for row, items in groups.items() if items), bill.whole]


def _list_windows(run: Run, domains: Iterable[Domain]) -> list[Item]:
    """The first windows of a program, as the lines of a bill."""
    items = list[Item]()
    for window in run.record.windows[:_MOST_WINDOWS]:
        sources = ((d, choose_source(run.record, d, window.name)) for d in domains)
        energy_j = {d: source_energy_j(run.record, s, window.name) for d, s in sources}
        items.append(Item(window.name, window.duration_s, energy_j))
    return items


def _describe_overhead(run: Run) -> Iterator[str]:
    bill = run.bill
    energy_j = bill.overhead.energy_j.get(run.primary.domain) if run.primary else None
    energy = "" if energy_j is None else f" and {human_energy(energy_j)}"
    yield f"overhead: {human_duration(bill.overhead.time_s)}{energy}"
    if bill.prepared_s is not None:
        yield f"{human_duration(bill.prepared_s)} before are in no joules"
    if not bill.is_whole_read:
        yield "an older record: the whole run is the sum of its parts"


def format_warnings(record: RunRecord, room: int) -> list[str]:
    """The most serious warnings, each with its advice, in about so many lines."""
    lines: list[str] = []
    groups = _group_warnings(record)
    for shown, (first, *_) in enumerate(groups):
        own = _format_in_short(first)
        is_full = len(lines) + len(own) + (shown < len(groups) - 1) > room
        if shown == MOST_WARNINGS or (lines and is_full):
            return [*lines, f"  {count_of(len(groups) - shown, 'more warning')}: --all"]
        lines += own
    return lines


def _format_in_short(warning: QualityWarning) -> list[str]:
    """What was observed, or where that is longer than a line what such a warning means; advice."""
    head = f"  {warning.severity.value} {warning.code}: "
    kind = load_warnings().get(warning.code)
    is_short = len(head) + len(warning.detail) <= terminal_width()
    text = warning.detail if is_short or kind is None else kind.meaning
    lines = fill(printable(text), head, " " * 4).splitlines()
    return lines + fill(printable(warning.advice), " " * 4).splitlines() * bool(warning.advice)


def _group_warnings(record: RunRecord) -> list[list[QualityWarning]]:
    """Warnings that are alike together, the most serious first."""
    groups: dict[tuple[Severity, str, str], list[QualityWarning]] = {}
    for warning in sorted(record.warnings, key=lambda w: _SEVERITIES.index(w.severity)):
        groups.setdefault((warning.severity, warning.code, warning.channel), []).append(warning)
    return list(groups.values())


def format_details(run: Run) -> list[str]:
    """Everything else that is known of it: scores, target, checks, every warning in full."""
    lines: list[str] = []
    for label, text in _list_details(run):
        first = f"  {label:<{_LABEL + 7}}"
        lines += fill(printable(text), first, " " * len(first)).splitlines()
    for limit in describe_limits(run.record.channels):
        lines += fill(f"limit: {limit}", "  ", "    ").splitlines()
    for alike in _group_warnings(run.record):
        lines += _format_in_full(alike)
    return lines


def _format_in_full(alike: Sequence[QualityWarning]) -> Iterator[str]:
    first, windows = alike[0], list_some(warning.window for warning in alike)
    place = " ".join(filter(None, (windows, first.channel)))
    head = f"{first.severity.value}: {first.code}" + (f" ({place})" if place else "")
    yield from fill(printable(head), "  ", "    ").splitlines()
    more = f" (and {len(alike) - 1} more like it)" if len(alike) > 1 else ""
    for text in filter(None, (first.detail + more, first.advice and f"advice: {first.advice}")):
        yield from fill(printable(text), " " * 6).splitlines()


def _list_details(run: Run) -> Iterator[tuple[str, str]]:
    record = run.record
    if test := record.test:
        f1 = human_share(test.macro_f1)
        yield "balanced accuracy", f"{human_share(test.balanced_accuracy)}, macro-F1 {f1}"
        if test.interval:
            low, high = (human_share(edge) for edge in test.interval)
            photographs = f"{human_count(test.photographs)} photographs, cluster bootstrap"
            yield (
                "accuracy",
                f"{human_share(test.accuracy)}, 95 % CI {low} to {high} ({photographs})",
            )
    if subset := record.test_leakage_free:
        share = f"{human_count(subset.images)} of {human_count(test.images if test else None)}"
        yield "leakage-free", f"{human_share(subset.accuracy)} on {share} test images"
    if record.epochs:
        yield "target", _format_target(run)
    single_j = run.number("energy_per_infer_image_b1_j")
    if single_j is not None:
        yield "per image, batch 1", f"{human_energy(single_j)} inference"
    window = run.main_window
    for domain in Domain:
        source = run.source(domain) if window == TRAIN else choose_source(record, domain, window)
        energy = find_window_energy(record, source, window)
        if energy.energy_j is not None:
            method = f"{energy.status} ({energy.method})"
            yield (
                f"{name_part(domain)} energy",
                f"{energy.in_words}, {_add_idle(run, source)}{method}",
            )
    for check in describe_checks(record.agreements, window):
        yield "check", check
    for absent in record.absent:
        yield f"no {absent.meter}", absent.reason


def _add_idle(run: Run, source: EnergySource | None) -> str:
    above_j = _find_above_idle(run, source)
    return "" if above_j is None else f"{human_energy(above_j)} above idle, "


def _find_above_idle(run: Run, source: EnergySource | None) -> float | None:
    """Joules above idle; ``None`` where idle before and after differ by as much or more."""
    above_j, time_s = run.energy_above_idle_j(source), run.duration_s(TRAIN)
    if above_j is None or time_s is None:
        return None
    idle_w = [run.idle_w(source, period) for period in ("before", "after")]
    known_w = [power_w for power_w in idle_w if power_w is not None]
    spread_j = (max(known_w) - min(known_w)) * time_s
    return above_j if above_j > max(spread_j, 0.0) else None


def _format_target(run: Run) -> str:
    metric = run.spec.target_metric.removeprefix("val_").replace("_", " ")
    cost = "not reached"
    if run.reached:
        energy, time = human_energy(run.reached.energy_j), human_duration(run.reached.time_s)
        cost = f"{energy}, {time}, {run.reached.epochs} epochs"
    return f"{run.spec.target_value:g} {metric} on validation: {cost}"
