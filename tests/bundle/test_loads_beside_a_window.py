"""Joules that are worked out twice agree where a load begins or ends at a window's edge."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from builders.machine import CPU_MODEL
from builders.run import make_record
from wbcbench.bundle.verify.energies import _integrate_again
from wbcbench.core.trace import Trace
from wbcbench.core.window import Window
from wbcbench.energy.appraise import appraise, review_traces

WINDOWS = (
    Window("idle_cold", 100.0, 103.0),
    Window("train", 103.0, 133.0),
    Window("infer-b64", 133.1, 136.1),
    Window("idle_post", 136.2, 139.2),
)
BUSY_W, IDLE_W = 7.0, 0.8


def read_counter(update_s, seed):
    """Polls four times a second, up to 0.2 s late, of a counter that moves every ``update_s``."""
    rng, phase_s = random.Random(seed), random.Random(-seed).uniform(0, update_s)
    times = [98.0 + 0.25 * k + 0.2 * rng.random() for k in range(4 * 43)]
    seen_s = [math.floor((t_s - phase_s) / update_s) * update_s + phase_s for t_s in times]
    known_s = [0.0, 103.0, 136.1, 200.0]
    known_j = np.cumsum([0.0, 103.0 * IDLE_W, 33.1 * BUSY_W, 63.9 * IDLE_W])
    channel = replace(CPU_MODEL, update_s=update_s)
    return Trace(channel, times, [*map(float, np.interp(seen_s, known_s, known_j))])


@pytest.mark.parametrize("update_s", [0.02, 0.1, 1.0])
def test_a_load_that_ends_where_idling_begins_is_no_contradiction(update_s):
    for seed in range(25):
        trace = read_counter(update_s, seed)
        energies = appraise([trace], WINDOWS).energies
        record = make_record(channels=(trace.channel,), windows=WINDOWS, energies=energies)
        review = review_traces([trace], WINDOWS)
        assert not [*_integrate_again(record, review)]
        for window in ("train", "infer-b64", "idle_post"):
            forged = [
                replace(each, energy_j=each.energy_j + 40.0) if each.window == window else each
                for each in energies
            ]
            found = [*_integrate_again(replace(record, energies=tuple(forged)), review)]
            assert [window in text for text in found] == [True]
