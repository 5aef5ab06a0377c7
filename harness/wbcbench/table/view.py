"""One run and one study as columns, comparisons and reports see them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import ref

from wbcbench.core.quality import Quality, Severity
from wbcbench.core.record import Epoch, Inference, RunRecord, Sampling
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Domain, Kind, Origin
from wbcbench.core.window import (
    IDLE_AFTER,
    IDLE_BEFORE,
    RUN,
    TRAIN,
    Window,
    epoch,
    find_main,
    is_validation,
)
from wbcbench.energy.bill import Bill, list_phases, make_bill
from wbcbench.energy.metrics import DEFAULT_PUE, Intensity, Reached, energy_above_idle_j, intensity
from wbcbench.energy.source import (
    EnergySource,
    choose_source,
    cost_of_target,
    expected_source,
    meter_of,
    primary_source,
    source_energy_j,
    source_power_w,
)
from wbcbench.registry import VARIANTS, load_part
from wbcbench.table.columns import load_columns
from wbcbench.table.rows import Row, duration_s, mean_power_w
from wbcbench.train.variants import Variant

ABSENT = "absent"

# Energies of runs that differ in one of these are not comparable.
COMPARABLE = (
    "primary_domain",
    "primary_method",
    "primary_status",
    "synthetic",
    "dataset_sha256",
    "gpu_name",
    "driver_version",
    "cpu_model",
)

TABLE_BATCH = 64
"""Batch size of the inference columns whose names state none."""

"""Cells by column; ``None`` is unknown."""


class Run:
    """A run: its record, what follows from it, and its folder.

    What takes work is computed when it is first needed, and once. ``columns.toml`` names these
    attributes in its expressions.

    Attributes:
        folder: Where it lies; ``None`` where there is the record alone.
        study: Name of the study it was read from, which a renamed folder decides.
        pue: Power usage effectiveness that its emissions are computed with.
    """

    pue = DEFAULT_PUE

    def __init__(self, record: RunRecord, folder: RunDir | None = None, study: str = "") -> None:
        self._record = record
        self.folder = folder
        self.study = study

    @property
    def record(self) -> RunRecord:
        """What came of it."""
        return self._record

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.record.run_id

    @cached_property
    def spec(self) -> RunSpec:
        """Its settings."""
        return self.record.spec

    @property
    def place(self) -> tuple[str, int, str]:
        """What the table is sorted by."""
        return self.spec.variant, self.spec.block, self.run_id

    @cached_property
    def row(self) -> Mapping[str, Any]:
        """Its row of the results table, in the table's order."""
        return Row(self)

    def number(self, column: str) -> float | None:
        """A cell that holds a number."""
        cell = self.row.get(column)
        return float(cell) if isinstance(cell, int | float) else None

    @cached_property
    def status(self) -> str:
        """How the run ended; a finished run of invalid quality counts as invalid."""
        is_spoiled = self.record.status == "done" and self.record.quality is Quality.INVALID
        return "invalid" if is_spoiled else self.record.status

    @property
    def is_done(self) -> bool:
        """Whether it ended well and its numbers may be used."""
        return self.status == "done"

    @property
    def invalid_reason(self) -> str | None:
        """The alphabetically first code of the warnings that make it invalid."""
        warnings = self.record.warnings
        return min((w.code for w in warnings if w.severity is Severity.INVALID), default=None)

    @property
    def warning_codes(self) -> str:
        """Codes of all warnings that are suspect or invalid, by ``;``."""
        warnings = self.record.warnings
        return ";".join(sorted({w.code for w in warnings if w.severity is not Severity.INFO}))

    @property
    def train_energy_j(self) -> float | None:
        """Energy of ``train`` on the primary energy source."""
        return source_energy_j(self.record, self.primary, TRAIN)

    @property
    def comparable_by(self) -> tuple[Any, ...]:
        """What must agree before energies are compared."""
        return tuple(self.row[name] for name in COMPARABLE)

    @cached_property
    def predictions_path(self) -> Path | None:
        """Where its predictions lie; ``None`` if there are none."""
        path = self.folder.predictions_path if self.folder else None
        return path if path and path.exists() else None

    def fact(self, name: str) -> str | int | float | bool | None:
        """One plain value of the provenance; ``None`` if it is not there."""
        value = self.record.provenance.get(name)
        return value if isinstance(value, str | int | float | bool) else None

    @property
    def main_window(self) -> str:
        """The window whose joules are quoted first."""
        return find_main([window.name for window in self.record.windows])

    @cached_property
    def variant(self) -> Variant | None:
        """The variant itself; ``None`` for a variant this version does not know."""
        name = self.spec.variant
        variant: Variant | None = load_part("variant", name) if name in VARIANTS else None
        return variant

    # Energy sources.
    @cached_property
    def _sources(self) -> dict[str, EnergySource | None]:
        return {domain: choose_source(self.record, domain) for domain in Domain}

    def source(self, domain: str) -> EnergySource | None:
        """The energy source of one part of the machine."""
        return self._sources[domain]

    @cached_property
    def primary(self) -> EnergySource | None:
        """The primary energy source."""
        return primary_source(self.record)

    @property
    def counter_source(self) -> EnergySource | None:
        """The energy source of the GPU if each board is read by its counter."""
        source = self.source(Domain.GPU)
        return source if source and source.method == "counter" else None

    @property
    def integral_source(self) -> EnergySource | None:
        """The power readings of all boards; ``None`` if no board has one."""
        source = choose_source(self.record, Domain.GPU, kind=Kind.SAMPLED)
        return source if source and source.channels else None

    def meter_source(self, meter: str, domain: str) -> EnergySource | None:
        """What one meter read of one part, whichever source that part has."""
        channels = [c for c in self.record.channels if meter_of(c.name) == meter]
        return expected_source(channels, Domain(domain))

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Part of the machine, or ``primary`` → measured, estimated, simulated or absent."""
        sources = {**self._sources, "primary": self.primary}
        statuses = {part: source.status if source else None for part, source in sources.items()}
        return {part: status.value if status else ABSENT for part, status in statuses.items()}

    @cached_property
    def sampling(self) -> Sampling | None:
        """How well the meter of the primary energy source was sampled."""
        if self.primary is None or not self.primary.channels:
            return None
        meter = meter_of(self.primary.channels[0])
        return next((s for s in self.record.sampling if meter_of(s.meter) == meter), None)

    # Energy and power.
    def energy_j(self, domain: Domain, window: str = TRAIN) -> float | None:
        """Energy of one part in one window."""
        return source_energy_j(self.record, self.source(domain), window)

    def idle_windows(self, source: EnergySource | None, *periods: str) -> list[str]:
        """The idle windows ``before`` and ``after`` training whose power this source knows.

        At most one of each period; without ``periods``, of both.
        """
        candidates = {"before": IDLE_BEFORE, "after": IDLE_AFTER}
        windows: list[str] = []
        for period in periods or candidates:
            names = (
                name
                for name in candidates[period]
                if source_power_w(self.record, source, name) is not None
            )
            windows.extend(islice(names, 1))
        return windows

    def idle_w(self, source: EnergySource | None, *periods: str) -> float | None:
        """Mean of the idle power in these periods (see :meth:`idle_windows`)."""
        return mean_power_w(self.record, source, self.idle_windows(source, *periods))

    def energy_above_idle_j(self, source: EnergySource | None) -> float | None:
        """Energy of ``train`` above idle: the mean of the idle power before and after."""
        train_s = self.duration_s(TRAIN)
        train_j = source_energy_j(self.record, source, TRAIN)
        return (
            None if train_s is None else energy_above_idle_j(train_j, self.idle_w(source), train_s)
        )

    @property
    def grid(self) -> Intensity | None:
        """The grid of the country that the run's spec names; ``None`` if it names none."""
        return intensity(self.spec.country)

    # Time and windows.
    def duration_s(self, window: str) -> float | None:
        """Length of a window, ``train`` without its validation passes; ``None`` if missing."""
        return duration_s(self.record, window)

    @property
    def total_s(self) -> float | None:
        """From the start of the first window to the end of the last."""
        windows = self.record.windows
        return max(w.end_s for w in windows) - min(w.start_s for w in windows) if windows else None

    @cached_property
    def validation_names(self) -> list[str]:
        """The windows of all validation passes."""
        return [w.name for w in self.record.windows if is_validation(w.name)]

    @cached_property
    def phases(self) -> list[Window]:
        """Windows whose energies add up to the run's."""
        return list_phases(self.record)

    @cached_property
    def bill(self) -> Bill:
        """What each part of it cost."""
        return make_bill(self.record)

    def overhead_energy_j(self, domain: Domain) -> float | None:
        """Energy of one part of the machine that nothing measured on purpose took."""
        return self.bill.overhead.energy_j.get(domain)

    @property
    def run_names(self) -> list[str]:
        """The window of the whole run; of a record without it, those that add up to it."""
        return [RUN] if self.bill.is_whole_read else self.phase_names

    @property
    def phase_names(self) -> list[str]:
        """Names of :attr:`phases`."""
        return [window.name for window in self.phases]

    # Training.
    @property
    def images_seen(self) -> int:
        """Images in the training steps of all epochs."""
        return sum(e.images_seen for e in self.record.epochs)

    @cached_property
    def best_epoch(self) -> Epoch | None:
        """The epoch with the best validation; the first of equals; ``None`` without validation."""
        scores: list[tuple[float, Epoch]] = []
        for e in self.record.epochs:
            balanced = e.val_balanced_accuracy
            score = e.val_accuracy if balanced is None else balanced
            if score is not None:
                scores.append((score, e))
        return max(scores, key=lambda pair: pair[0])[1] if scores else None

    @cached_property
    def reached(self) -> Reached | None:
        """The cost of reaching the plan's target on the primary energy source."""
        return cost_of_target(self.record, self.primary)

    @property
    def is_target_reached(self) -> bool | None:
        """Whether any epoch reached it; ``None`` without a finished epoch."""
        return self.reached is not None if self.record.epochs else None

    @property
    def target_epochs(self) -> list[str]:
        """Windows of the epochs up to the one that reached the target."""
        epochs = self.record.epochs[: self.reached.epochs if self.reached else 0]
        return [epoch(e.index) for e in epochs]

    def inference(self, batch_size: int) -> Inference | None:
        """The inference window of one batch size."""
        return next((i for i in self.record.inference if i.batch_size == batch_size), None)


_RECENT: deque[RunRecord] = deque(maxlen=256)  # of half a megabyte each


class StoredRun(Run):
    """A run whose record is read when it is needed: those of thousands are larger than memory."""

    def __init__(self, folder: RunDir, study: str = "") -> None:
        self.folder, self.study = folder, study
        self._path, self._run_id = folder, folder.run_id
        self._held: ref[RunRecord] | None = None

    @property
    def run_id(self) -> str:
        """Its name."""
        return self._run_id

    @property
    def record(self) -> RunRecord:
        """What came of it; raises like ``RunDir.read_record``."""
        record = self._held() if self._held else None
        if record is None:
            record = self._path.read_record()
            self._held = ref(record)
            _RECENT.append(record)
        return record

    @cached_property
    def row(self) -> Mapping[str, Any]:
        """Its row of the results table, whole: what it is computed from is not held."""
        return dict(zip(load_columns(), Row(self).compute_all(), strict=True))


def _trust(comparable_by: tuple[Any, ...]) -> tuple[int, bool]:
    """Of sets of equal size the one that is read best: by a sensor, and by its counter."""
    _, method, status, *_ = comparable_by
    return -Origin(status).rank, str(method).startswith("counter")


@dataclass(frozen=True)
class Study:
    """A study: its runs with a record, and how many have none.

    Attributes:
        name: Of its folder.
        runs: Every run with a record, in the table's order, failed ones included.
        unfinished: Runs without a record.
        folder: Where it lies, with plan, traces and predictions; ``None`` = records alone.
    """

    name: str
    runs: tuple[Run, ...]
    unfinished: int = 0
    folder: Path | None = None

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """Runs that ended well."""
        return tuple(run for run in self.runs if run.is_done)

    @cached_property
    def comparable(self) -> tuple[Run, ...]:
        """Finished runs with comparable energies: the largest such set."""
        known = [run for run in self.done if run.row["primary_energy_train_j"] is not None]
        counts = Counter(run.comparable_by for run in known)
        if not counts:
            return ()
        largest = max(counts, key=lambda k: (counts[k], *_trust(k), repr(k)))
        return tuple(run for run in known if run.comparable_by == largest)

    @property
    def left_out(self) -> int:
        """Finished runs whose energy is unknown or not comparable with the others."""
        return len(self.done) - len(self.comparable)

    @cached_property
    def is_synthetic(self) -> bool:
        """Whether any run used synthetic images or a simulated sensor."""
        return any(run.row["synthetic"] for run in self.runs)

    @property
    def variants(self) -> list[str]:
        """Every variant, sorted."""
        return sorted({run.spec.variant for run in self.runs})


def read_study(folder: Path) -> Study:
    """Read every record of a study, in the table's order.

    Raises:
        UsageError: A record is damaged or was written by a newer version.
    """
    run_dirs = study_runs(folder.parent, folder.name)
    runs = [StoredRun(run, folder.name) for run in run_dirs if run.is_finished]
    ordered = tuple(sorted(runs, key=lambda run: run.place))
    return Study(folder.name, ordered, len(run_dirs) - len(runs), folder)
