"""A load that is on and off at known times, on the GPU or the processor; a process of its own.

It says on its pipe where it computes, then reads orders, a line each: when to begin, on the
monotonic clock, which spans to be on, and what to compute on. The answer to each is the start and
the end of every span as they were: the end is stamped when the device has finished. Matrix products
are so small, and their number so chosen, that a span ends within a fraction of a millisecond of its
time. The end of its standard input ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import tensorflow as tf

SIZES = (4096, 2048, 1024, 512, 256)
MOST_PRODUCT_S = 0.0006  # the end of a span is as exact
SLICE_S = 0.05  # of a long span: its speed may change meanwhile
TRIAL_S, TRIALS, WARM_S = 0.02, 5, 0.5
SPIN_S = 0.0005  # before a start, for sleep is not so exact

Span = tuple[float, float]


class KnownLoad:
    """Products of matrices on one device, of which it is known how long one takes."""

    def __init__(self, device: str) -> None:
        """Warm the device up and time its products."""
        # A GPU has its next products before it has finished the last; a processor computes at once.
        self._is_ahead = "GPU" in device
        for size in SIZES:
            self._start = _build_products(device, size)
            self._launch_s, self._product_s = self._time_products()
            if self._product_s <= MOST_PRODUCT_S:
                break
        self.run(time.monotonic() + WARM_S)
        self._launch_s, self._product_s = self._time_products()

    def _time_products(self) -> tuple[float, float]:
        """Seconds until the first begins, and that each takes, by so many that it shows."""
        self._time(1)
        count = 1
        while (took_s := self._time(count)) < TRIAL_S:
            count *= 2
        product_s = took_s / count
        alone_s = min(self._time(1) for _ in range(TRIALS))
        return max(alone_s - product_s, 0.0), product_s

    def _time(self, count: int) -> float:
        start_s = time.monotonic()
        self._start(count).numpy()
        return time.monotonic() - start_s

    def run(self, until_s: float) -> None:
        """Compute until a moment, without a pause, and until the device has finished."""
        last, free_s = None, time.monotonic()
        while (left_s := until_s - free_s) > 0.5 * self._product_s:
            count = max(round(min(left_s, SLICE_S) / self._product_s), 1)
            now = self._start(count)
            if self._is_ahead and last is not None:
                last.numpy()  # then these have just begun
            elif not self._is_ahead:
                now.numpy()
            last, free_s = now, time.monotonic() + count * self._product_s * self._is_ahead
        if last is not None:
            last.numpy()

    def play(self, at_s: float, spans: list[Span]) -> list[Span]:
        """Be on in spans of start and length from ``at_s`` on; the starts and ends as they were."""
        played = list[Span]()
        for start_s, length_s in spans:
            _wait_until(at_s + start_s - self._launch_s)
            began_s = time.monotonic() + self._launch_s
            self.run(max(at_s + start_s, began_s - 0.5 * length_s) + length_s)
            ended_s = time.monotonic()
            played.append((min(began_s, 0.5 * (began_s + ended_s)), ended_s))
        return played


def _build_products(device: str, size: int) -> Callable[[int], tf.Tensor]:
    """What starts a number of products on a device; the number that it returns is there after."""
    with tf.device(device):
        seeds = tf.constant([1, 2]), tf.constant([3, 4])
        first, factor = (tf.random.stateless_normal((size, size), seed) for seed in seeds)
        factor /= size**0.5  # so that products keep their size

    def compute(count: tf.Tensor) -> tf.Tensor:
        with tf.device(device):
            product = first
            for _ in tf.range(count):
                product = tf.matmul(product, factor)
            return product[0, 0]

    compiled = tf.function(compute)
    return lambda count: compiled(tf.constant(count))


def _wait_until(at_s: float) -> None:
    left_s = at_s - time.monotonic() - SPIN_S
    if left_s > 0:
        time.sleep(left_s)
    while time.monotonic() < at_s:
        pass


def main() -> None:
    """Answer orders until there are no more."""
    pipe = int(sys.argv[1])

    def say(message: dict[str, object]) -> None:
        os.write(pipe, json.dumps(message).encode() + b"\n")

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    board = "/GPU:0" if gpus else "/CPU:0"
    loads = {"board": KnownLoad(board)}
    loads["processor"] = loads["board"] if board == "/CPU:0" else KnownLoad("/CPU:0")
    say({"loaded_on": board})
    for line in sys.stdin:
        order = json.loads(line)
        spans = [(start_s, length_s) for start_s, length_s in order["spans"]]
        say({"spans": loads[order["where"]].play(order["at_s"], spans)})


if __name__ == "__main__":
    main()
