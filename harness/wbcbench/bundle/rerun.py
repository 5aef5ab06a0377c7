"""Train runs of a bundle again, and compare.

The runs have the specs of the bundle; meters and boards are those of this machine. Accuracy may
differ by as much as between seeds; energy is compared on the same model of GPU only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import stdev

from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.identity import list_software
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.provenance import lock_sha256
from wbcbench.core.record import Epoch, RunRecord
from wbcbench.core.run_folder import Local
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import human_energy, human_share
from wbcbench.run.live_state import Say
from wbcbench.study import limits
from wbcbench.table import row

SEED_DEVIATIONS = 2.0
"""Standard deviations between seeds that count as the same accuracy."""
ENERGY_TOLERANCE = 0.05
"""The accuracy that NVIDIA states for its sensors."""

Train = Callable[[RunSpec, Local], RunRecord]


class Sameness(StrEnum):
    """How a run trained again compares."""

    REPRODUCED = "reproduced"  # every epoch and the test, digit by digit
    WITHIN = "within tolerance"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Again:
    """One run of the bundle, trained again.

    Attributes:
        run_id: Of the bundle's run.
        accuracy, accuracy_again: Balanced, on TEST.
        tolerance: Their largest difference; ``None`` where the bundle has too few seeds.
        sameness: The result for the accuracy.
        energy: The result for the energy as a sentence.
        energy_sameness: The result for the energy; ``INCONCLUSIVE`` on another machine.
        drawn: What was drawn from the seed, first weights and order of images, as a sentence.
        drawn_sameness: The result for it; ``INCONCLUSIVE`` with other software or an older run.
    """

    run_id: str
    accuracy: float
    accuracy_again: float
    tolerance: float | None
    sameness: Sameness
    energy: str
    energy_sameness: Sameness
    drawn: str
    drawn_sameness: Sameness

    @property
    def is_different(self) -> bool:
        """Whether anything is different that must not be."""
        results = (self.sameness, self.energy_sameness, self.drawn_sameness)
        return Sameness.DIFFERENT in results

    @property
    def text(self) -> str:
        """One line."""
        tolerance = "" if self.tolerance is None else f", ± {human_share(self.tolerance)}"
        return (
            f"{self.run_id}: {self.sameness} (balanced accuracy {human_share(self.accuracy)} in "
            f"the bundle, {human_share(self.accuracy_again)} here{tolerance}). {self.drawn} "
            f"{self.energy}"
        )


def select_runs(bundle: Bundle, block: int | None, run_id: str | None) -> list[RunRecord]:
    """The done runs of a block, in their last attempt, or the run of this id.

    Raises:
        UsageError: There is none.
    """
    done = [r for r in bundle.records if r.status == "done" and r.test is not None]
    if run_id is not None:
        if runs := [record for record in done if record.run_id == run_id]:
            return runs
        raise unknown_name("done run of the bundle", run_id, [r.run_id for r in done])
    blocks = sorted({record.spec.block for record in done})
    chosen = block if block is not None else min(blocks, default=0)
    runs = [record for record in done if record.spec.block == chosen]
    if not runs:
        known = ", ".join(map(str, blocks)) or "-"
        raise UsageError(f"The bundle has no done run in block {chosen}; it has: {known}.")
    last = max(record.spec.block_attempt for record in runs)
    return [record for record in runs if record.spec.block_attempt == last]


def describe_lock(bundle: Bundle) -> str:
    """Whether the packages here are those of the runs."""
    locks = {r.provenance.get("lock_sha256") for r in bundle.records}
    here = lock_sha256()
    if here is None or locks == {None}:
        return "Lock: unknown here or in the bundle, so packages may differ."
    return f"Lock: {'equal' if locks == {here} else 'different'} ({here[:12]} here)."


def rerun(
    bundle: Bundle, records: Sequence[RunRecord], data: Path | None, train: Train
) -> list[Again]:
    """Train these runs again, one after the other, with this machine's meters and boards.

    Args:
        bundle: Of the runs.
        records: Which.
        data: The images; ``None`` for the embedded synthetic images.
        train: Carries out one run and returns its record.

    Raises:
        UsageError: The images here differ from those of the runs.
    """
    local = Local(data=str(data) if data else None, command=("wbcbench", "verify", "--rerun"))
    here = {"meters": ("auto",), "gpus": (), "power_limit_w": None, "cooldown_c": None, "repeat": 1}
    return [
        _compare_runs(bundle, record, train(replace(record.spec, **here), local))  # type: ignore[arg-type]
        for record in records
    ]


def carry_out(results: Path, work_options: Sequence[str], say: Say) -> Train:
    """The way to train that ``wbcbench run`` has, into a folder of its own."""
    from wbcbench.study import running

    def train(spec: RunSpec, local: Local) -> RunRecord:
        here = require_images(spec, spec.dataset_id, spec.dataset_sha256, local, say)
        run = running.carry_out(results, here, local, work_options)
        running.raise_if_bad(run)
        return run.read_record()

    return train


def require_images(spec: RunSpec, dataset_id: str, sha256: str, local: Local, say: Say) -> RunSpec:
    """The spec with the images here, once they are known to be those of the bundle.

    Raises:
        UsageError: They are others, or the spec cannot be carried out here.
    """
    from wbcbench.study import running

    checked = limits.check_spec(replace(spec, dataset_id="", dataset_sha256=""))
    here = running.with_data(checked, local, say)
    if here.dataset_sha256 != sha256:
        raise UsageError(
            f"The bundle's runs were trained on {dataset_id}; the images here are "
            f"{here.dataset_id}. Name the folder of the same images with --data."
        )
    return here


def _compare_runs(bundle: Bundle, old: RunRecord, new: RunRecord) -> Again:
    # Twice the standard deviation between the seeds of the same network in the bundle.
    by_seed = {
        record.spec.seed: _balanced_accuracy(record)
        for record in bundle.records
        if record.status == "done" and record.test and record.spec.variant == old.spec.variant
    }
    tolerance = SEED_DEVIATIONS * stdev(by_seed.values()) if len(by_seed) > 1 else None
    accuracy, accuracy_again = _balanced_accuracy(old), _balanced_accuracy(new)
    if old.test == new.test and _drop_times(old.epochs) == _drop_times(new.epochs):
        sameness = Sameness.REPRODUCED
    elif tolerance is None:
        sameness = Sameness.INCONCLUSIVE
    else:
        is_within = abs(accuracy - accuracy_again) <= tolerance
        sameness = Sameness.WITHIN if is_within else Sameness.DIFFERENT
    return Again(
        old.run_id,
        accuracy,
        accuracy_again,
        tolerance,
        sameness,
        *_compare_energy(old, new),
        *_compare_drawn(old, new),
    )


def _compare_drawn(old: RunRecord, new: RunRecord) -> tuple[str, Sameness]:
    """First weights and order of images, which one seed gives again with the same software."""
    digests = [
        (record.model.first_weights_sha256, record.model.image_order_sha256)
        for record in (old, new)
        if record.model and record.model.first_weights_sha256
    ]
    if len(digests) < 2:
        return "The bundle does not state the first weights.", Sameness.INCONCLUSIVE
    pairs = zip(("First weights", "Order of images"), *digests, strict=True)
    differing = [name for name, stated, here in pairs if stated != here]
    if not differing:
        return "First weights and order of images are the same.", Sameness.REPRODUCED
    is_same = list_software(old) == list_software(new)
    why = "" if is_same else ", and so does the software"
    sameness = Sameness.DIFFERENT if is_same else Sameness.INCONCLUSIVE
    return f"{' and '.join(differing)} differ{why}.", sameness


def _drop_times(epochs: Sequence[Epoch]) -> list[Epoch]:
    """The epochs without their times, which differ on every machine."""
    return [replace(epoch, start_s=0.0, end_s=0.0, evaluate_end_s=0.0) for epoch in epochs]


def _balanced_accuracy(record: RunRecord) -> float:
    return record.test.balanced_accuracy if record.test else 0.0


def _compare_energy(old: RunRecord, new: RunRecord) -> tuple[str, Sameness]:
    """Energy in the bundle and here, where both were measured on the same model of GPU."""
    old_row, new_row = row(old), row(new)
    old_gpu, new_gpu = old_row["gpu_name"], new_row["gpu_name"]
    statuses = {old_row["gpu_energy_status"], new_row["gpu_energy_status"]}
    if old_gpu is None or old_gpu != new_gpu or statuses != {"measured"}:
        gpus = f"{old_gpu or 'no GPU'} in the bundle, {new_gpu or 'no GPU'} here"
        return f"Energy was not compared ({gpus}).", Sameness.INCONCLUSIVE
    old_j, new_j = old_row["energy_gpu_train_j"], new_row["energy_gpu_train_j"]
    if not isinstance(old_j, float) or not isinstance(new_j, float):
        return "Energy is unknown in the bundle or here.", Sameness.INCONCLUSIVE
    is_within = abs(old_j - new_j) / old_j <= ENERGY_TOLERANCE
    sameness = Sameness.WITHIN if is_within else Sameness.DIFFERENT
    joules = f"{human_energy(old_j)} in the bundle, {human_energy(new_j)} here"
    return f"Energy {sameness}: {joules}.", sameness
