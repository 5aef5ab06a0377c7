"""Whether the machine is quiet enough, and always equally quiet, for its joules to be a run's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import stdev

from wbcbench.core.provenance import virtualised
from wbcbench.core.trace import Kind
from wbcbench.doctor import Facts, Line, State
from wbcbench.power.session import SHARED

BUSY_SHARE = 0.25  # of the processors, over the last minute
CPUFREQ = Path("/sys/devices/system/cpu")


def check(facts: Facts) -> Iterator[Line]:
    """Idle power, load, other harnesses, the governor, and what a virtual machine hides."""
    yield from _idle(facts)
    yield _load(os.getloadavg()[0], os.cpu_count() or 1)
    if facts.recorded and facts.recorded.seen.provenance.get(SHARED):
        yield Line(
            State.WARN,
            "other-run",
            "another wbcbench is measuring on this machine",
            why="each would be charged the other's joules",
            fix="wait for it to end",
        )
    yield from governor(CPUFREQ)
    if virtualised():
        yield Line(
            State.WARN,
            "virtual",
            "this is a virtual machine",
            why="other guests change speed and power, and none of it can be seen here",
            fix="measure on the host or on a machine of your own",
        )


def _idle(facts: Facts) -> Iterator[Line]:
    if facts.idle is None or facts.recorded is None:
        return
    headline = facts.idle.headline
    if headline.mean_power_w is None:
        return
    text = f"idle {headline.domain} {headline.mean_power_w:.1f} W{_spread(facts)}{_heat(facts)}"
    yield Line(State.OK, "idle", f"{text}, {headline.status}")


def _spread(facts: Facts) -> str:
    """Standard deviation of the headline part's power readings."""
    assert facts.idle is not None
    assert facts.recorded is not None
    window, domain = facts.idle.window, facts.idle.headline.domain
    for trace in facts.recorded.traces:
        if trace.channel.kind is Kind.SAMPLED and trace.channel.domain == domain:
            pairs = zip(*trace.good, strict=True)
            inside = [w for t, w in pairs if window.start_s <= t <= window.end_s]
            if len(inside) > 1:
                return f" (sd {stdev(inside):.1f} over {window.duration_s:.0f} s)"
    return ""


def _heat(facts: Facts) -> str:
    assert facts.recorded is not None
    last = [looks[-1].temperature_c for looks in facts.recorded.looks.values() if looks]
    known = [f"{c:.0f} °C" for c in last if c is not None]
    return f", {', '.join(known)}" if known else ""


def _load(load: float, processors: int) -> Line:
    text = f"load {load:.1f} on {processors} processors"
    if load <= BUSY_SHARE * processors:
        return Line(State.OK, "load", text)
    return Line(
        State.WARN,
        "load",
        text,
        why="others' work slows a run down and is charged to it",
        fix="stop it, or wait: `uptime` tells the load",
    )


def governor(root: Path) -> Iterator[Line]:
    """The frequency governor of each processor below ``root``, where the system has any."""
    found = Counter(
        path.read_text().strip() for path in root.glob("cpu[0-9]*/cpufreq/scaling_governor")
    )
    total = sum(found.values())
    slow = total - found["performance"]
    if not total:
        return
    if not slow:
        yield Line(State.OK, "governor", f"governor is 'performance' on {total} processors")
        return
    usual = max(found, key=lambda name: (name != "performance", found[name]))
    tell = "sudo cpupower frequency-set -g"
    yield Line(
        State.WARN,
        "governor",
        f"governor is '{usual}' on {found[usual]} of {total} processors",
        why="clocks wander with load, and time and joules with them",
        fix=f"{tell} performance",
        undo=f"{tell} {usual}",
    )
