"""Verify verifies: honest bundles pass, and what was tampered with does not.

Some kinds of tampering are tried once on small bundles. ``make bench-verify`` tries every kind on
all of them, and writes the table in ``harness/VERIFICATION.md``.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from builders.bundle import StudyDesign
from tamperings import BEYOND, KINDS
from tamperings.made_again import UnfitError
from tamperings.trials import TWO, Base, bundle, errors, share_caught, tried

pytestmark = pytest.mark.usefixtures("sketches")

EVERY = 23
FORGED = (
    "joules of a variant scaled, off the steps of its sensors",
    "training closed early",
    "idle windows moved into the load",
    "estimated renamed measured",
    "a run compressed in time",
    "probabilities that add up to more than one",
)
"""Kinds that are found although everything else was made again."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    room = tmp_path_factory.mktemp("bundle")
    bundle(StudyDesign(blocks=1, variants=TWO, epochs=1), room)
    return Base("small", room)


def test_there_are_many_kinds_and_what_tells_of_those_beyond_a_bundle_is_written_down():
    forged = [kind for kind in KINDS.values() if kind.is_forged]
    assert len(forged) >= 40
    assert len(KINDS) - len(forged) >= 25
    assert set(BEYOND) <= set(KINDS)


def test_the_honest_bundle_raises_no_alarm(base):
    assert errors(base.bag.root) == {}


def test_a_tampering_is_found_by_manifests_that_are_not_made_to_fit(base):
    log = base.bag.runs()[0].log_path
    base.bag.write(log, log.read_text() + "epoch 3: loss 0.01\n")
    assert "V01" in errors(base.bag.root)
    base.bag.restore()
    assert errors(base.bag.root) == {}


def test_bundles_that_were_edited_are_caught_though_their_manifests_fit(base):
    found = []
    for kind in [name for name, kind in KINDS.items() if not kind.is_forged][::EVERY]:
        with suppress(UnfitError):
            found.append(tried(base, kind, seed=0))
    assert len(found) >= 6
    assert [each for each in found if not each.is_known] == []
    assert share_caught(found) >= 0.95
    assert errors(base.bag.root) == {}, "a tampering was not undone"


@pytest.mark.parametrize("kind", FORGED)
def test_forged_studies_are_caught_though_the_program_made_everything_else_again(base, kind):
    assert tried(base, kind, seed=0).caught_by
