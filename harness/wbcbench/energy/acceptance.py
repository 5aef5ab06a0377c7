"""What a board's readings are worth, from a plan of known loads that was played on it: its card.

Every reading is fitted (``energy.sensor_fit``); the joules of each load are those that a run would
state (``energy.appraise``), with what the fit found of the sensors. Each claim has its number and
its limit, and is judged by that alone; one that cannot be judged says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import linear_regression, median

from wbcbench.core.record import KindGuess, SensorCard
from wbcbench.core.trace import Channel, Domain, Kind, Trace
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import appraise
from wbcbench.energy.board_card import (
    Board,
    BoardCard,
    BoardClaim,
    DutyPoint,
    ReadingCard,
    Scope,
)
from wbcbench.energy.load_plan import DUTY, PROCESSOR, Played
from wbcbench.energy.sensor_fit import Estimate, SensorFit, fit_sensor, join_spans

COLD, CONTEXT = "cold", "context"
"""Idle windows: before the load's program began, and with its context."""

LEAD_S, TAIL_S = 0.5, 0.9  # of a load's window before and after it
SAME_SHARE = 0.05  # of the pace: a window as long as that is the whole pace
MOST_UNSURE_SHARE = 0.05  # ± of a pace that is known
PROMPT_S = 0.01  # a pace that is not worth knowing better
SLOWEST_STEP_S = 0.105  # what MEASUREMENT.md says of counters, and a poll
PUBLISHED_SHARE = 0.1  # how near a published number is the one found
LATEST_S = 1.0  # a trace reaches as far past an edge
STRAIGHT_SHARE = 0.01  # of the joules of a load: the most by which they leave the line
COVERED_SHARE = 0.9  # of the windows, inside ±
FEWEST_DUTIES = 3
SCOPE_SHARE = 0.02  # of the load's step: less is not the processor's


class _Joules:
    """What the usual readings of the board say of every window."""

    def __init__(self, traces: Sequence[Trace], windows: Sequence[Window], work: Window) -> None:
        """Work it out from the first counter and the first power, as a run does."""
        kinds: dict[Kind, Trace] = {}
        for trace in traces:
            kinds.setdefault(trace.channel.kind, trace)
        self.counter, self.power = kinds.get(Kind.COUNTER), kinds.get(Kind.SAMPLED)
        usual = [trace for trace in (self.counter, self.power) if trace is not None]
        self.primary = usual[0].channel
        appraisal = appraise(usual, windows, work)
        self.agreements = appraisal.agreements
        self._lengths_s = {window.name: window.duration_s for window in windows}
        self._known = {(each.channel, each.window): each for each in appraisal.energies}

    def energy(self, channel: Channel, window: str) -> WindowEnergy | None:
        """The joules of a window, with ±; ``None`` where either is unknown."""
        energy = self._known.get((channel.name, window))
        is_known = energy and energy.energy_j is not None and energy.uncertainty_j is not None
        return energy if is_known else None

    def power_w(self, window: str) -> tuple[float, float] | None:
        """Mean power of the primary reading in a window, and its ±."""
        if (energy := self.energy(self.primary, window)) is None:
            return None
        length_s = self._lengths_s[window]
        return (energy.energy_j or 0.0) / length_s, (energy.uncertainty_j or 0.0) / length_s

    def rise_w(self, window: str, above: str, on_s: float | None = None) -> Estimate:
        """By how much the mean power of one window lies above another's.

        With ``on_s``, seconds of it, by how much in these, if the rest is like the other.
        """
        powers = [self.power_w(name) for name in (window, above)]
        if powers[0] is None or powers[1] is None:
            missing = [name for name, each in zip((window, above), powers, strict=True) if not each]
            return Estimate(reason=f"the joules of {' and '.join(missing)} are not known")
        (high_w, high_half_w), (low_w, low_half_w) = powers[0], powers[1]
        part = self._lengths_s[window] / on_s if on_s else 1.0
        return Estimate(part * (high_w - low_w), part * math.hypot(high_half_w, low_half_w))


def judge_board(
    board: Board,
    traces: Sequence[Trace],
    played: Sequence[Played],
    idle: Sequence[Window],
    measured_utc: str,
) -> BoardCard:
    """The card of a board that was polled densely while known loads were played on it.

    Args:
        board: What was loaded.
        traces: Of all of its readings. Joules are worked out from the first counter and the first
            power, with what the fits of these found.
        played: The loads, of which one at least is the board's.
        idle: ``COLD`` and ``CONTEXT``, as far as they were there.
        measured_utc: When.
    """
    own = [each for each in played if each.where == "board"]
    load = join_spans([span for each in own for span in each.spans])
    fits = [fit_sensor(trace, load) for trace in traces]
    cards = [make_active_card(trace, fit) for trace, fit in zip(traces, fits, strict=True)]
    told = [
        Trace(card.describe(trace.channel), trace.t_s, trace.value)
        for trace, card in zip(traces, cards, strict=True)
    ]
    windows = [*idle, *map(_find_window, played)]
    joules = _Joules(told, windows, Window("", load.spans[0][0], load.spans[-1][1]))
    readings = [
        ReadingCard(trace.channel.name, trace.channel.reading, trace.channel.kind, fit)
        for trace, fit in zip(traces, fits, strict=True)
    ]
    duties = _fit_duties(joules, own)
    processor_s = sum(each.on_s for each in played if each.name == PROCESSOR)
    processor_w = joules.rise_w(PROCESSOR, CONTEXT, processor_s)
    places = {trace.channel.name: place for place, trace in enumerate(traces)}
    usual = [each.channel.name for each in (joules.counter, joules.power) if each is not None]
    scope, scope_reason = _judge_scope(joules.primary, processor_w, fits[places[usual[0]]])
    claims = (
        _judge_paces([readings[places[name]] for name in usual]),
        _judge_counter(next((r for r in readings if r.kind is Kind.COUNTER), None)),
        _judge_published([(traces[places[n]].channel, fits[places[n]]) for n in usual]),
        _judge_delays([readings[places[name]] for name in usual]),
        _judge_line(duties),
        _judge_agreement(joules),
        _judge_cover(joules, own, duties),
    )
    return BoardCard(
        measured_utc,
        board,
        tuple(readings),
        joules.rise_w(CONTEXT, COLD),
        processor_w,
        scope,
        scope_reason,
        duties,
        claims,
        tuple(cards),
    )


def make_active_card(trace: Trace, fit: SensorFit) -> SensorCard:
    """What later runs take from a fit: a window as long as the pace is the whole of it."""
    update_s, window_s, delay = fit.update_s.value, fit.averaging_s.value, fit.delay_s
    if update_s is None or (fit.update_s.half or 0.0) > MOST_UNSURE_SHARE * update_s:
        update_s = window_s = None  # a pace below that of the polls, and what it is the mean of
    kind: KindGuess = "unknown"
    if update_s is not None and window_s is not None:
        slack_s = max(SAME_SHARE * update_s, fit.averaging_s.half or 0.0)
        if abs(window_s - update_s) <= slack_s:
            window_s = update_s
        kind = "part_time" if window_s < update_s else "running_average"
        kind = "held" if window_s == update_s else kind
    is_counter = trace.channel.kind is Kind.COUNTER
    is_late = delay.value is not None and delay.value > (delay.half or 0.0)
    late_s = delay.value if is_late else None if delay.value is None else 0.0
    times, _ = trace.good
    step_j = None
    if is_counter and update_s is not None and fit.idle_w is not None:
        step_j = fit.idle_w * update_s
    reasons = [each.reason for each in (fit.update_s, fit.averaging_s, delay)]
    return SensorCard(
        channel=trace.channel.name,
        update_s=update_s,
        step_j=step_j,
        resolution=fit.resolution,
        kind_guess="counter" if is_counter else kind,
        probed_s=times[-1] - times[0] if times else 0.0,
        polls=len(times),
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
        repeat_share=fit.repeat_share,
        averaging_s=window_s,
        delay_s=late_s,
        is_active=True,
    )


def _find_window(played: Played) -> Window:
    """The window of a load, whose idle margins hold what slow readings show late."""
    last_s = max(end_s for _, end_s in played.spans)
    return Window(played.name, played.start_s - LEAD_S, last_s + TAIL_S)


def _fit_duties(joules: _Joules, played: Sequence[Played]) -> tuple[DutyPoint, ...]:
    """The joules of each duty beside the line through all of them; none with fewer than three."""
    points: list[tuple[str, float, float, float]] = []
    for each in played:
        power = joules.power_w(each.name)
        if each.name.startswith(DUTY) and power is not None:
            points.append((each.name, each.on_s / _find_window(each).duration_s, *power))
    if len(points) < FEWEST_DUTIES:
        return ()
    shares, powers_w = [point[1] for point in points], [point[2] for point in points]
    line = linear_regression(shares, powers_w)
    return tuple(
        DutyPoint(name, share, power_w, half_w, line.intercept + line.slope * share)
        for name, share, power_w, half_w in points
    )


def _judge_scope(
    primary: Channel, processor_w: Estimate, fit: SensorFit
) -> tuple[Scope | None, str]:
    """Whether a load of the processor alone moves the reading, as that of a module's sensor."""
    if primary.domain is not Domain.GPU:
        return None, f"the reading is the {primary.domain}'s, not a board's"
    rise_w, half_w, step_w = processor_w.value, processor_w.half or 0.0, fit.step_w.value
    if rise_w is None or not step_w:
        return None, processor_w.reason or "the load did not move the reading"
    least_w = SCOPE_SHARE * step_w
    if rise_w - half_w > least_w:
        return "module", ""
    if rise_w + half_w < least_w:
        return "board", ""
    return None, "that does not tell whether it is a board's or a module's"


# --- the claims ----------------------------------------------------------------------------------


def _judge(
    name: str, text: str, found: str, value: float | None, limit: float, *, at_least: bool = False
) -> BoardClaim:
    """A claim by its number; without one it is unknown."""
    if value is None:
        return BoardClaim(name, text, "unknown", found, None, limit)
    is_met = value >= limit if at_least else value <= limit
    return BoardClaim(name, text, "pass" if is_met else "fail", found, value, limit)


def _judge_paces(readings: Sequence[ReadingCard]) -> BoardClaim:
    text = (
        f"the pace of every reading that counts is known within {100 * MOST_UNSURE_SHARE:g} %, or "
        f"is below {ms_from_s(PROMPT_S):g} ms"
    )
    shares, words = [], []
    for each in readings:
        pace = each.fit.update_s
        if pace.value is None:
            reason = f"{each.channel}: {pace.reason}"
            return _judge("pace", text, reason, None, MOST_UNSURE_SHARE)
        is_prompt = pace.value + (pace.half or 0.0) < PROMPT_S
        shares.append(0.0 if is_prompt else (pace.half or 0.0) / pace.value)
        words.append(f"{each.channel} every {_format_ms(pace)}")
    return _judge("pace", text, "; ".join(words), max(shares), MOST_UNSURE_SHARE)


def _judge_counter(reading: ReadingCard | None) -> BoardClaim:
    text = "the counter steps every 100 ms or more often"
    if reading is None:
        return BoardClaim("counter-step", text, "absent", "the board has no counter")
    pace = reading.fit.update_s
    found = pace.reason if pace.value is None else f"every {_format_ms(pace)}"
    return _judge("counter-step", text, found, pace.value, SLOWEST_STEP_S)


def _judge_published(pairs: Sequence[tuple[Channel, SensorFit]]) -> BoardClaim:
    text = "pace and averaging time are what is published of this board"
    apart: list[tuple[float, str]] = []
    for channel, fit in pairs:
        for name, told_s, found in (
            ("update", channel.update_s, fit.update_s),
            ("averaging", channel.averaging_s, fit.averaging_s),
        ):
            what = f"{name} of {channel.name}"
            if told_s and found.value is None:
                return _judge("published", text, f"{what}: {found.reason}", None, PUBLISHED_SHARE)
            if told_s and found.value is not None:
                words = (
                    f"{what}: {ms_from_s(found.value):.1f} ms, published {ms_from_s(told_s):g} ms"
                )
                apart.append((abs(found.value / told_s - 1), words))
    if not apart:
        return BoardClaim("published", text, "absent", "nothing is published of it")
    share, words = max(apart)
    return _judge("published", text, words, share, PUBLISHED_SHARE)


def _judge_delays(readings: Sequence[ReadingCard]) -> BoardClaim:
    text = f"no reading answers later than {LATEST_S:g} s, by which traces run past windows"
    for each in readings:
        if each.fit.delay_s.value is None:
            return _judge(
                "delay", text, f"{each.channel}: {each.fit.delay_s.reason}", None, LATEST_S
            )
    latest = max(readings, key=lambda each: each.fit.delay_s.value or 0.0)
    found = f"{latest.channel} by {_format_ms(latest.fit.delay_s)}"
    return _judge("delay", text, found, latest.fit.delay_s.value, LATEST_S)


def _judge_line(duties: Sequence[DutyPoint]) -> BoardClaim:
    text = f"joules are proportional to the duty of a load within {100 * STRAIGHT_SHARE:g} %"
    if not duties:
        return _judge("proportional", text, "too few duties have joules", None, STRAIGHT_SHARE)
    shares = {each.name: abs(each.power_w / each.line_w - 1) for each in duties}
    name = max(shares, key=lambda each: shares[each])
    found = f"at most {100 * shares[name]:.2f} % off, {name}"
    return _judge("proportional", text, found, shares[name], STRAIGHT_SHARE)


def _judge_agreement(joules: _Joules) -> BoardClaim:
    limit = thresholds.AGREE_PCT / 100
    text = f"the counter agrees with the integral of the power within {thresholds.AGREE_PCT:g} %"
    if joules.counter is None or joules.power is None:
        return BoardClaim("agreement", text, "absent", "the board has only one of them")
    whole = next((each for each in joules.agreements if not each.window), None)
    if whole is None:
        return _judge("agreement", text, "they could not be compared", None, limit)
    found = f"{whole.difference_pct:+.2f} % over all {whole.readings} readings"
    return _judge("agreement", text, found, abs(whole.difference_pct) / 100, limit)


def _judge_cover(
    joules: _Joules, played: Sequence[Played], duties: Sequence[DutyPoint]
) -> BoardClaim:
    """Counter and integral differ by no more than both ±; without both, duties from their line.

    What the two sensors differ by in every window alike is their gain, which is stated apart.
    """
    text = f"± holds the difference in at least {100 * COVERED_SHARE:g} % of the windows"
    if joules.counter is not None and joules.power is not None:
        pairs = [
            (counter, integral)
            for each in played
            if (counter := joules.energy(joules.counter.channel, each.name))
            and (integral := joules.energy(joules.power.channel, each.name))
        ]
        gain = median([(a.energy_j or 0.0) / (b.energy_j or 1.0) for a, b in pairs] or [1.0])
        inside = [
            abs((a.energy_j or 0.0) - gain * (b.energy_j or 0.0))
            <= math.hypot(a.uncertainty_j or 0.0, gain * (b.uncertainty_j or 0.0))
            for a, b in pairs
        ]
        what = "of counter and integral"
    else:
        inside = [abs(each.power_w - each.line_w) <= each.half_w for each in duties]
        what = "of the duties from their line"
    if not inside:
        return _judge("uncertainty", text, "no joules to compare", None, COVERED_SHARE)
    found = f"{sum(inside)} of {len(inside)} differences {what}"
    share = sum(inside) / len(inside)
    return _judge("uncertainty", text, found, share, COVERED_SHARE, at_least=True)


def _format_ms(time: Estimate) -> str:
    """``100.0 ± 0.1 ms`` of a known time."""
    return f"{ms_from_s(time.value or 0.0):.1f} ± {ms_from_s(time.half or 0.0):.1f} ms"
