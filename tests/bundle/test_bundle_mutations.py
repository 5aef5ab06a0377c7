"""Verify verifies: honest bundles pass, and what was tampered with does not.

By default every fifth kind of tampering is tried once. ``make bench-verify`` tries every kind
three times, judges twenty honest bundles, and writes the table in ``harness/VERIFICATION.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.bundle import StudyDesign
from tamperings import KINDS, UNCAUGHT
from tamperings.bag import Bag
from tamperings.trials import TWO, bundle, errors, share_caught, tried

EVERY = 5
BASES = {
    "with a block that was repeated": StudyDesign(blocks=2, variants=TWO, epochs=2, again=(2,)),
    "without a GPU": StudyDesign(blocks=2, variants=TWO, epochs=2, gpu=False, seed=3),
}


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bag]]:
    made = {}
    for name, base in BASES.items():
        room = tmp_path_factory.mktemp("bundle")
        made[name] = Bag(bundle(base, room), room / "spare")
    yield made


def test_every_tampering_that_is_not_found_is_known_and_explained():
    assert len(KINDS) >= 25
    assert set(UNCAUGHT) <= set(KINDS)
    page = (Path(__file__).parents[2] / "harness" / "VERIFICATION.md").read_text()
    for kind, why in UNCAUGHT.items():
        assert f"| {kind} | {why} |" in page


def test_honest_bundles_raise_no_alarm(bags):
    for name, bag in bags.items():
        assert errors(bag.root) == {}, name


def test_tampered_bundles_are_caught(bags):
    kinds = list(KINDS)[::EVERY]
    named = list(bags.items())
    found = [tried(*named[i % len(named)], kind, seed=0) for i, kind in enumerate(kinds)]
    assert [each for each in found if not each.seen_by_manifest] == []
    assert [each for each in found if not each.caught_by and each.kind not in UNCAUGHT] == []
    assert share_caught(found) >= 0.95
    for bag in bags.values():
        assert errors(bag.root) == {}, "the tampering was not undone"
