"""Bundles of studies whose runs train several times in one window: honest ones, and others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.bundle import Board, Machine, StudyDesign, WallMeter
from tamperings.bag import Bag
from tamperings.made_again import remake
from tamperings.trials import TWO, bundle
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.inspect import as_text, verify
from wbcbench.bundle.verify.plausible import check_runs

pytestmark = pytest.mark.usefixtures("sketches")

LOOPS = 3
OTHER = Board("Smaller GPU", "GPU-3b2c3d4e-5f60-7182-93a4-b5c6d7e8f903", 330.0, ("power",))
DESIGN = StudyDesign(
    blocks=5,
    variants=TWO,
    epochs=2,
    changes={"loops": LOOPS},
    machine=lambda _: Machine(boards=(Board(), OTHER), rapl=("package-0",)),
    wall_meter=lambda spec: WallMeter() if spec.order_in_block == 1 else None,
)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Bag:
    """Two unlike boards, a processor's counter and, of every other run, a wall meter."""
    room = tmp_path_factory.mktemp("loops")
    return Bag(bundle(DESIGN, room), room / "spare")


@pytest.fixture
def opened(bag: Bag) -> Iterator[Bag]:
    yield bag
    bag.restore()


def test_an_honest_study_with_loops_is_verified(bag: Bag) -> None:
    verdict = verify(bag.root)
    failed = [each for each in verdict.outcomes.values() if each.status is Status.ERROR]
    assert not failed, as_text(verdict)
    record = bag.runs()[0].read_record()
    assert record.loop_count == LOOPS
    (train,) = [w for w in record.windows if w.name == "train"]
    counter = record.energy("train", "nvml/gpu0/counter")
    assert counter.energy_j / counter.mean_power_w == pytest.approx(
        (train.duration_s - 2 * 2.0) / LOOPS, rel=0.05
    )


def claim_another(loops: list[dict[str, Any]]) -> None:
    """One training more than there was: each would have cost less."""
    loops.append({**loops[-1], "index": len(loops) + 1})


def shorten(loops: list[dict[str, Any]]) -> None:
    """Loops that leave much of the window to nobody."""
    for loop in loops[1:]:
        loop["spans_s"] = [[start_s, start_s + 0.3] for start_s, _ in loop["spans_s"]]


def forget(loops: list[dict[str, Any]]) -> None:
    """A training less: all of the window would be that of two."""
    del loops[-1]


def begin_elsewhere(loops: list[dict[str, Any]]) -> None:
    loops[0]["spans_s"][0][0] -= 5.0


def learn_more(loops: list[dict[str, Any]]) -> None:
    loops[0]["test_accuracy"] = 0.99


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (claim_another, "3 loops were asked for, and 4 are stated"),
        (shorten, "s between its loops are in none of them"),
        (forget, "3 loops were asked for, and 2 are stated"),
        (begin_elsewhere, "its first loop is not the training whose epochs are stated"),
        (learn_more, "its first loop has a TEST accuracy of 0.99"),
    ],
)
def test_loops_that_were_not_made_are_found(
    opened: Bag, edit: Callable[[list[dict[str, Any]]], None], words: str
) -> None:
    run = opened.runs()[0]
    messages = [json.loads(line) for line in run.marks_path.read_text().splitlines()]
    loops = [message["loop"] for message in messages if "loop" in message]
    edit(loops)
    first = next(i for i, message in enumerate(messages) if "loop" in message)
    others = [message for message in messages if "loop" not in message]
    others[first:first] = [{"loop": loop} for loop in loops]
    opened.write(run.marks_path, "".join(json.dumps(message) + "\n" for message in others))
    remake(run)
    outcome = check_runs(load_bundle(Path(opened.root)))
    assert outcome.status is Status.ERROR
    assert words in outcome.detail
