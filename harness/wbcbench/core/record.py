"""The result of a run as plain values: its record, what was attached, how good its numbers are.

A record holds what was read; energy above idle, carbon and statistics are derived from it each
time they are needed. A record is never written twice. An attachment stands beside it, and reading
the run puts the two together; the run's quality stays the one that its own meters gave it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

from pydantic import JsonValue, TypeAdapter

from wbcbench.core.board_state import Telemetry
from wbcbench.core.cpu_load import CpuLoad
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning
from wbcbench.core.spec import RunSpec
from wbcbench.core.strict_json import parse_json, read_document
from wbcbench.core.trace import Channel, Domain
from wbcbench.core.window import Window, WindowEnergy

RECORD_SCHEMA = "2.3"
ATTACHMENT_SCHEMA = "2.0"

Status = Literal["done", "failed", "interrupted", "invalid"]
AgreementStatus = Literal["ok", "suspect", "invalid", "inconclusive", "cross-check"]
KindGuess = Literal["counter", "held", "running_average", "part_time", "unknown"]

T = TypeVar("T", "RunRecord", "Attachment")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch as Keras reported it; times on the monotonic clock, device synchronised.

    ``start_s`` and ``end_s`` span the training steps alone; ``evaluate_end_s`` is the end of the
    validation pass that follows. A loss that was not finite is ``None`` in the file.
    """

    index: int
    start_s: float
    end_s: float
    evaluate_end_s: float
    loss: float | None
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    val_balanced_accuracy: float | None
    images_seen: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class TrainingLoop:
    """One of several trainings from the same start, made in one window ``train``.

    The first is that of the run, whose epochs were validated. ``spans_s`` are start and end of the
    training steps of each epoch; ``loss`` and ``accuracy`` those of the last epoch's steps;
    ``weights_sha256`` and ``test_accuracy`` are of its last weights, ``None`` where not asked.
    """

    index: int
    spans_s: tuple[tuple[float, float], ...]
    loss: float | None
    accuracy: float
    weights_sha256: str | None = None
    test_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Quality on one set of images.

    Attributes:
        images: How many images were scored.
        photographs: How many photographs they were made from; ``None`` if unknown.
        accuracy, balanced_accuracy, macro_f1, loss, ece: Shares in [0, 1]; ``loss`` in nats;
            ``ece`` is the expected calibration error over 15 equal-width bins.
        correct: Images classified right.
        recall: Class name → recall; ``None`` for a class without images.
        confusion: ``[true][predicted]`` counts in the order of ``classes``; a last column counts
            predictions of the output that no label uses.
        interval: 95 % CI of the accuracy over photographs (stratified cluster bootstrap); ``None``
            where photographs are unknown.
    """

    images: int
    photographs: int | None
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    loss: float | None
    ece: float | None
    correct: int
    recall: Mapping[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Inference:
    """One inference window: ``images`` forwarded in batches of ``batch_size`` in ``window``."""

    window: str
    batch_size: int
    images: int


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What the trainer was fed."""

    dataset_id: str
    sha256: str
    synthetic: bool
    grouped: bool
    n_train: int
    n_val: int
    n_test: int
    n_test_leaky: int | None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the trainer built and how TensorFlow ran it.

    ``first_weights_sha256`` is the digest of the weights before any step, ``image_order_sha256``
    that of the training images in the batches of the first epoch, ``path`` is how an epoch was
    made: ``resident``, ``streamed`` (the images had no room on the GPU) or ``fit``; older records
    have none of these.
    """

    params_total: int
    params_trainable: int
    flops_per_image: int | None
    steps_per_epoch: int
    optimizer: str
    jit_compile: bool
    device: str
    device_pci_bus_id: str | None
    versions: Mapping[str, str | None]
    environment: Mapping[str, str]
    first_weights_sha256: str | None = None
    image_order_sha256: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not end well. ``exit_status`` is negative for a signal, as in subprocess."""

    kind: str
    message: str
    exit_status: int | None = None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How well one meter was sampled over the run.

    ``period_s`` is the achieved mean period; ``missed`` counts ticks that were skipped because a
    read took longer than the period; ``failed`` counts reads that gave no value.
    """

    meter: str
    interval_s: float
    period_s: float | None
    max_gap_s: float | None
    samples: int
    missed: int
    failed: int


@dataclass(frozen=True, slots=True)
class AbsentMeter:
    """A meter, or one device of it, that cannot be read here, and why.

    Attributes:
        meter: Its name; of one device, as in its channels: ``nvml/gpu1``.
        reason: Why, and the way out.
        domain: The part of the machine that is there but has no reading, so that its joules are
            unknown; ``None`` where no such part is here or in use.
    """

    meter: str
    reason: str
    domain: Domain | None = None


FOREIGN_TRACKERS = "foreign_trackers"
"""Among the provenance: the programs of others that measured as this measurement began."""
COMPUTING_VARIABLES = "computing_variables"
"""Among a run's: variables of the user that change how TensorFlow computes, with their values."""

PROCESS_START_S = "process_start_s"
"""Among a run's: when its recorder was started, in seconds of the monotonic clock."""
AFTER_RUN = "after_run"
"""Among a run's: the run of its study that began last on this machine, so that none is removed
unseen; ``None`` for the first."""
AT_END = (
    "meters", "sampling", "shared", "cpu_shared", "recorder_cpu_s", "trainer_cpu_s",
    "trainer_rss_peak_bytes",
)  # fmt: skip
"""Circumstances that are known only when the run has ended; the last message has them, too."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What only the recorder knows; the first half is on disk before the trainer starts."""

    started_utc: str
    provenance: Mapping[str, JsonValue]
    meters: Mapping[str, JsonValue] = field(default_factory=dict)
    absent: tuple[AbsentMeter, ...] = ()
    sampling: tuple[Sampling, ...] = ()
    recorder_cpu_s: float | None = None
    trainer_cpu_s: float | None = None
    trainer_rss_peak_bytes: int | None = None
    shared: bool = False
    sensor_cards: tuple[SensorCard, ...] = ()
    cpu_shared: bool = False  # with a run on another board of this machine


@dataclass(frozen=True)
class RunRecord:
    """Everything that is kept of one run, finished or not."""

    run_id: str
    spec: RunSpec
    status: Status
    started_utc: str
    ended_utc: str
    provenance: Mapping[str, JsonValue]
    schema: str = RECORD_SCHEMA
    synthetic: bool = False
    dataset: DatasetFacts | None = None
    model: ModelFacts | None = None
    channels: tuple[Channel, ...] = ()
    meters: Mapping[str, JsonValue] = field(default_factory=dict)
    absent: tuple[AbsentMeter, ...] = ()
    sampling: tuple[Sampling, ...] = ()
    windows: tuple[Window, ...] = ()
    energies: tuple[WindowEnergy, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    test: Scores | None = None
    test_leakage_free: Scores | None = None
    inference: tuple[Inference, ...] = ()
    recorder_cpu_s: float | None = None
    trainer_cpu_s: float | None = None
    trainer_rss_peak_bytes: int | None = None
    warnings: tuple[QualityWarning, ...] = ()
    quality: Quality = Quality.VALID
    error: Failure | None = None
    budgets: tuple[Budget, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    telemetry: tuple[Telemetry, ...] = ()
    sensor_cards: tuple[SensorCard, ...] = ()
    cpu_loads: tuple[CpuLoad, ...] = ()
    loops: tuple[TrainingLoop, ...] = ()

    @property
    def loop_count(self) -> int:
        """How many trainings the window ``train`` holds; its joules are those of one."""
        return max(len(self.loops), 1)

    @property
    def device(self) -> str:
        """Where TensorFlow ran, e.g. ``/GPU:0``; empty if unknown."""
        return self.model.device if self.model else ""

    def energy(self, window: str, channel: str) -> WindowEnergy | None:
        """The joules of one window on one channel; ``None`` if the record has none."""
        return self._energies.get((window, channel))

    def window(self, name: str) -> Window | None:
        """The window of that name; ``None`` if the run did not get there."""
        return next((w for w in self.windows if w.name == name), None)

    @cached_property
    def _energies(self) -> dict[tuple[str, str], WindowEnergy]:
        """By window and channel, the first of equals: the table needs them hundreds of times."""
        return {(e.window, e.channel): e for e in reversed(self.energies)}


_adapter: Any = cache(TypeAdapter)


def to_json(record: RunRecord) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, LF; NaN and infinity become ``null``, unknown."""
    plain = _adapter(RunRecord).dump_python(record, mode="json")
    text = json.dumps(
        _replace_nonfinite(plain), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False
    )
    return (text + "\n").encode()


# A check of a study reads each record a dozen times; equal bytes are one object for as long as
# anybody holds it.
_READ: WeakValueDictionary[bytes, RunRecord] = WeakValueDictionary()


def from_json(data: bytes, source: str) -> RunRecord:
    """Read a record.

    Args:
        data: The file's bytes.
        source: Name of the file, for the message.

    Raises:
        UsageError: Another schema's, or not a record at all.
    """
    digest = hashlib.sha256(data).digest()
    record = _READ.get(digest)
    if record is None:
        record = _READ[digest] = _validate(RunRecord, data, source, "a run record")
    return record


def _validate(kind: type[T], data: bytes, source: str, name: str) -> T:
    try:
        document = read_document(kind, data)
        _require_consistent(document)
    except ValueError as error:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            require_schema(str(parse_json(data)["schema"]), source)
        raise UsageError(f"{source} is not {name}: {error}.") from error
    require_schema(document.schema, source)
    return document


def _require_consistent(document: RunRecord | Attachment) -> None:
    """Raise ``ValueError`` for windows, scores and energies that contradict themselves."""
    if isinstance(document, RunRecord):
        for window in document.windows:
            if window.end_s < window.start_s:
                raise ValueError(f"windows: {window.name} ends before it starts")
        for scores in filter(None, (document.test, document.test_leakage_free)):
            sizes = {len(scores.confusion), len(scores.recall)}
            widths = {len(row) for row in scores.confusion}
            count = len(scores.classes)
            if sizes != {count} or len(widths) > 1 or not widths <= {count, count + 1}:
                raise ValueError("test: classes, recall and confusion are not of one size")
    for energy in document.energies:
        if energy.energy_j is None and energy.uncertainty_j is not None:
            place = f"{energy.window} on {energy.channel}"
            raise ValueError(f"energies: {place} has an uncertainty and no energy")


def require_schema(schema: str, source: str) -> None:
    """Refuse what another major version wrote, for its meaning is not known here.

    Raises:
        UsageError: The major version is not ours.
        ValueError: It is no version.
    """
    major, ours = (int(version.partition(".")[0]) for version in (schema, RECORD_SCHEMA))
    if major < ours:
        raise UsageError(
            f"{source} has schema {schema} of a development version; this wbcbench reads {ours}.x. "
            "Run it again, or use the commit named in CHANGELOG.md."
        )
    if major > ours:
        raise UsageError(
            f"{source} has schema {schema}; this wbcbench reads {ours}.x. Nothing was changed. "
            "Use the wbcbench that wrote it, or a newer one."
        )


def _replace_nonfinite(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_nonfinite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, slots=True)
class Attachment:
    """An external meter's part of a run.

    Attributes:
        source: Name of the log, without its folder.
        source_sha256: Digest of the log.
        column: The column that was read.
        offset_s: What the user had added to the log's times.
        utc_minus_monotonic_s: How the log's times became the run's; includes ``offset_s``.
        attached_utc: When.
        channel: The meter as a channel.
        energies: Joules of every window of the run; ``None`` where the log does not reach.
        budgets: Where their uncertainty comes from.
        warnings: What had to be assumed or is missing; they inform and judge nothing.
        options: By which the log is read so again, name → value: its time column, unit, decimal
            mark, zone and the like.
    """

    source: str
    source_sha256: str
    column: str
    offset_s: float
    utc_minus_monotonic_s: float
    attached_utc: str
    channel: Channel
    energies: tuple[WindowEnergy, ...]
    budgets: tuple[Budget, ...] = ()
    warnings: tuple[QualityWarning, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    schema: str = ATTACHMENT_SCHEMA


def attachment_to_json(attachment: Attachment) -> bytes:
    """JSON, one field a line."""
    data: bytes = _adapter(Attachment).dump_json(attachment, indent=1)
    return data + b"\n"


def attachment_from_json(data: bytes, source: str) -> Attachment:
    """Read an attachment; raises like ``from_json``."""
    return _validate(Attachment, data, source, "an attachment")


def with_attachment(record: RunRecord, attachment: Attachment) -> RunRecord:
    """The record with the attached channel among its own."""
    return replace(
        record,
        channels=(*record.channels, attachment.channel),
        energies=(*record.energies, *attachment.energies),
        budgets=(*record.budgets, *attachment.budgets),
        warnings=(*record.warnings, *attachment.warnings),
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """Where the uncertainty of one window's joules on one channel comes from.

    Attributes:
        window, channel: Which number.
        quantisation_j: The counter's steps, or the resolution of the power reading.
        edges_j: Polls, stamps and the sensor's lag at both edges of the window.
        sampling_j: What happened between readings: gaps and sensors that measure part of the time.
        total_j: The three above in quadrature. A model has no budget, for its error is unknown;
            in older records it has one, without a total.
        gain_j: Systematic error of the sensor, not in ``total_j``; ``None`` if unknown.
        baseline_j: What subtracting the idle power would add; ``None`` without idle windows.
    """

    window: str
    channel: str
    quantisation_j: float
    edges_j: float
    sampling_j: float
    total_j: float | None
    gain_j: float | None = None
    baseline_j: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two readings of one part lie apart in one window.

    Attributes:
        window: Which window; empty for all that was read, from idle to idle.
        a, b: Channels; for a cross-check, the channels of one reading joined by ``+``.
        difference_pct: How far ``a`` lies above ``b``, in per cent of ``b``.
        depth_pct: The smallest difference that is held against the readings, in per cent of
            ``b``: beyond their ± by a margin; ``None`` where it is not known.
        status: ``ok``, ``suspect`` or ``invalid`` where a measured counter meets its measured
            integral; ``inconclusive`` where their uncertainties explain the difference;
            ``cross-check`` where the two differ in kind and nothing is judged.
        readings: How many readings of ``b`` the check rests on; 0 where that is not known.
    """

    window: str
    a: str
    b: str
    difference_pct: float
    status: AgreementStatus
    depth_pct: float | None = None
    readings: int = 0


@dataclass(frozen=True, slots=True)
class SensorCard:
    """What a probe found of one channel; ``None`` is unknown, with the reason.

    Attributes:
        channel: Name of the channel.
        update_s: How often the value is renewed.
        step_j: Joules a counter moves by at each renewal, at the power of the probe.
        resolution: Smallest move, in joules (counter) or watts (sampled).
        kind_guess: ``counter``; ``held`` follows the power at once; ``running_average`` creeps
            after it; ``part_time`` measures only part of the time; or ``unknown``.
        probed_s: Length of the probe.
        polls: Good readings in it.
        repeat_share: Share of renewals that left the value as it was.
        reason: What is not known and why; empty when everything is.
        age_s: How long before this measurement it was probed; 0 if for it.
        averaging_s: The time that one renewal is the mean of, as a known load showed it.
        delay_s: How long before the renewal that time ended, as a known load showed it.
        is_active: Whether it was found by known loads (``doctor --acceptance``), not by watching.
    """

    channel: str
    update_s: float | None
    step_j: float | None
    resolution: float | None
    kind_guess: KindGuess
    probed_s: float
    polls: int
    reason: str = ""
    repeat_share: float | None = None
    age_s: float = 0.0
    averaging_s: float | None = None
    delay_s: float | None = None
    is_active: bool = False

    def describe(self, channel: Channel) -> Channel:
        """The channel with what the card tells of its sensor, and else as it was."""
        return replace(
            channel,
            update_s=self.update_s or channel.update_s,
            averaging_s=self.averaging_s or channel.averaging_s,
            delay_s=channel.delay_s if self.delay_s is None else self.delay_s,
            repeat_share=self.repeat_share,
        )
