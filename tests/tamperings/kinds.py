"""The kinds of tampering by what they do, and what several of them need."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tamperings.bag import Bag
from wbcbench.bundle import layout
from wbcbench.bundle.crate import format_phases
from wbcbench.core.record import from_json
from wbcbench.core.run_folder import RunDir
from wbcbench.energy.account import remake_record
from wbcbench.table import derive

Tampering = Callable[[Bag, random.Random], None]
KINDS: dict[str, Tampering] = {}


def kind(words: str) -> Callable[[Tampering], Tampering]:
    """Enter a tampering under what it does."""

    def enter(tampering: Tampering) -> Tampering:
        KINDS[words] = tampering
        return tampering

    return enter


def rederive(bag: Bag, run: RunDir) -> None:
    """Make everything of one run fit its record again: epochs, phases, row."""
    record = from_json(run.record_path.read_bytes(), "record")
    if record.epochs:
        run.epochs_path.write_bytes(derive.format_epochs_csv(record))
    (run.path / layout.PHASES).write_bytes(format_phases(record))
    bag.retable()


def reaccount(bag: Bag, run: RunDir) -> None:
    """Make the record fit the folder again, as the program itself would."""
    from wbcbench.core.record import to_json

    record = from_json(run.record_path.read_bytes(), "record")
    run.record_path.write_bytes(to_json(remake_record(run, record)))
    rederive(bag, run)


def known(record: Any, rng: random.Random) -> Any:
    """Any energy of a record that is known, of training if there is one."""
    found = [each for each in record["energies"] if each["energy_j"]]
    return rng.choice([e for e in found if e["window"] == "train"] or found)
