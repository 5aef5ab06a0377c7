"""Checks of what ran: one name for the processor and the board, one network for a seed.

The same thing is stated by parts that do not know of each other: by the system, by the driver, by
CodeCarbon and by TensorFlow. Where all of them are renamed alike, nothing here can tell.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise

from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.core.lazy import LazySequence
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.energy.source import CODECARBON

_NETWORK = (
    "variant", "image_size", "precision", "tuned", "deterministic", "xla", "leaky_slope",
    "dropout_conv", "dropout_dense", "batchnorm_momentum",
)  # fmt: skip
"""Of a spec, beside the seed: what the first weights depend on."""
_ORDER = ("batch_size", "dataset_sha256", "validation", "validation_fraction", "split_seed")
"""And what the order of the images depends on."""
_SEEDS = 2**31 - 1  # TensorFlow counts seeds modulo this
_FEW_IMAGES = 20  # so few have the same order twice by chance
_COUNTED = ("python", "tensorflow", "keras", "numpy")
_ONE_LOSS = 1e-4
_VENDORS = ("intel", "amd")
_CHIPS = {
    "Pascal": "P100|P40", "Volta": "V100", "Turing": "T4", "Ampere": "A100|A30|A40|A10|A800",
    "Ada": "L4|L40S?", "Hopper": "G?H100|G?H200|H800|H20", "Blackwell": "G?B200|G?B300",
}  # fmt: skip
"""Boards of computing centres by what NVML says of their chip; other names are ambiguous."""


def check_identity(bundle: Bundle) -> Outcome:
    """Names and networks agree: processor, board, country, versions, first weights, order.

    First weights and the order of the images are equal for runs of one seed, and for no others.
    """
    runs = bundle.finished_and_pilots
    errors = [problem for run in runs for problem in _check_names(bundle, run)]
    records = LazySequence[RunRecord](bundle.record, runs)
    errors += _check_digests(records)
    errors += _check_machines(records)
    errors += _check_split(records)
    stated = sum(bool(r.model and r.model.first_weights_sha256) for r in records)
    good = f"The names of machine and network agree; {count_of(stated, 'run')} of "
    return report_outcome(f"{good}{len(records)} state their first weights.", errors)


@cache_by_files
def _check_names(run: RunDir) -> tuple[str, ...]:
    record = run.read_own_record()
    problems = (*_compare_names(record), *_compare_versions(record))
    return tuple(f"{run.run_id}: {problem}." for problem in problems)


def _compare_names(record: RunRecord) -> Iterator[str]:
    codecarbon = record.meters.get(CODECARBON)
    told = codecarbon if isinstance(codecarbon, Mapping) else {}
    cpu, country = record.provenance.get("cpu_model"), record.spec.country
    if not _may_be_same_processor(str(cpu or ""), str(told.get("cpu_model") or "")):
        yield f"the system names the processor {cpu}, CodeCarbon {told['cpu_model']}"
    if country and told.get("country") and country != told["country"]:
        yield f"its country is {country}, that of CodeCarbon {told['country']}"
    model = record.model
    if model and model.device_pci_bus_id and "GPU" not in model.device:
        yield f"TensorFlow ran on {model.device}, but on the board {model.device_pci_bus_id}"
    packages = record.provenance.get("packages")
    version = packages.get(CODECARBON) if isinstance(packages, Mapping) else None
    without = [a for a in record.absent if a.meter == CODECARBON and "not installed" in a.reason]
    if version and without:
        yield f"CodeCarbon {version} was installed, but its meter is absent as not installed"
    nvml = [m for n, m in record.meters.items() if n.startswith("nvml/") and isinstance(m, Mapping)]
    boards = [(str(m["name"]), str(m.get("architecture"))) for m in nvml if m.get("name")]
    for board, chip in boards:
        chips = {c for c, known in _CHIPS.items() if re.search(rf"\b({known})\b", board)}
        if chip in _CHIPS and chips and chip not in chips:
            yield f"the driver names the board {board}, which is no {chip}"
    gpus = told.get("gpu_model") if told.get("gpu_ids") else None
    for other, name in (("TensorFlow", record.device.partition(" ")[2]), ("CodeCarbon", gpus)):
        if boards and name and not any(_may_be_same_model(b, str(name)) for b, _ in boards):
            yield f"the driver names the board {boards[0][0]}, {other} {name}"


def _may_be_same_processor(name: str, other: str) -> bool:
    """Whether two names may be of one processor: on x86 both are the one in /proc/cpuinfo."""
    words, others = (text.lower().split() for text in (name, other))
    if not words or not others:
        return True
    if all(any(vendor in text.lower() for vendor in _VENDORS) for text in (name, other)):
        return words == others
    return _may_be_same_model(name, other)


def _may_be_same_model(name: str, other: str) -> bool:
    """Whether two names share a word like H100 or 4090, or one has none; sizes are no models."""
    models, others = (
        {
            word
            for word in re.findall(r"[a-z]*\d[a-z0-9]*", text.lower())
            if len(word) > 1 and not re.fullmatch(r"\d+gb?|(?:hbm|sxm|pcie)\d?\w?|\d+[mg]hz", word)
        }
        for text in (name, other)
    )
    return not (models and others) or not models.isdisjoint(others)


def _compare_versions(record: RunRecord) -> Iterator[str]:
    """The recorder states what is installed, the trainer what it loaded, in one environment."""
    installed = record.provenance.get("packages")
    loaded = record.model.versions if record.model else {}
    versions = dict(installed) if isinstance(installed, Mapping) else {}
    versions["python"] = record.provenance.get("python_version")
    for name in _COUNTED:
        one, other = versions.get(name), loaded.get(name)
        # A vendor's build has more behind the first three numbers.
        numbers = [re.findall(r"\d+", str(text))[:3] for text in (one, other)]
        if one and other and numbers[0] != numbers[1]:
            yield f"{name} {one} was installed, but {other} loaded"


def _check_digests(records: Sequence[RunRecord]) -> Iterator[str]:
    """Equal seeds draw equal weights and orders, and others other ones; older runs state none."""
    by_settings = dict[Hashable, tuple[str, str]]()  # → the first run's name and digest
    by_digest = dict[Hashable, tuple[str, int]]()  # → its name and seed
    for record in (record for record in records if record.model):
        software = list_software(record)
        for what in ("first weights", "order of images"):
            digest = _get_digest(record, what)
            if digest is None:
                continue
            fields = _NETWORK if what == "first weights" else _ORDER
            settings = tuple(getattr(record.spec, name) for name in fields)
            run_id, seed = record.run_id, _seed(record)
            key = what, software, settings, seed
            other, others_digest = by_settings.setdefault(key, (run_id, digest))
            if others_digest != digest:
                yield f"{run_id} and {other} have one seed, but not one {what}."
            other, others_seed = by_digest.setdefault((what, digest), (run_id, seed))
            if others_seed != seed:
                yield f"{run_id} and {other} have two seeds, but one {what}."


def _seed(record: RunRecord) -> int:
    return record.spec.seed % _SEEDS


def list_software(record: RunRecord) -> Hashable:
    """What rounds: other versions and other processors may draw other numbers."""
    facts, model = record.provenance, record.model
    versions = tuple(sorted(model.versions.items(), key=repr)) if model else ()
    return str(facts.get("program_sha256")), str(facts.get("cpu_model")), record.device, versions


def _get_digest(record: RunRecord, what: str) -> str | None:
    if record.model is None:
        return None
    if what == "first weights":
        return record.model.first_weights_sha256
    is_few = record.dataset is None or record.dataset.n_train < _FEW_IMAGES
    return None if is_few else record.model.image_order_sha256


def _check_split(records: Sequence[RunRecord]) -> Iterator[str]:
    """Validation on held-out photographs does not give, run by run, the scores of TEST."""
    held_out = [
        (r.run_id, _has_scores_of_test(r))
        for r in records
        if r.spec.validation != "published" and r.test and r.epochs
    ]
    if len(held_out) > 1 and all(is_same for _, is_same in held_out):
        yield (
            f"{held_out[0][0]} and every other run say that photographs were held out, but the "
            "last validation scored TEST."
        )


def _has_scores_of_test(record: RunRecord) -> bool:
    """Whether the last validation and the test are one; of networks that tell classes apart."""
    last, test, data = record.epochs[-1], record.test, record.dataset
    if test is None or data is None or None in (last.val_loss, last.val_accuracy, test.loss):
        return False
    told = sum(any(counts) for counts in zip(*test.confusion, strict=True))
    return (
        told > 1
        and data.n_val == data.n_test
        and round((last.val_accuracy or 0.0) * data.n_val) == test.correct < test.images
        and math.isclose(last.val_loss or 0.0, test.loss or 0.0, rel_tol=_ONE_LOSS)
    )


def _check_machines(records: Sequence[RunRecord]) -> Iterator[str]:
    """A boot has one processor, a board under one driver one name, and it is in one machine."""
    boots = defaultdict[str, list[tuple[str, str, str]]](list)
    first = dict[tuple[str, ...], tuple[str, str]]()
    for record in records:
        facts = record.provenance
        names = list[tuple[tuple[str, ...], str]]()
        if facts.get("boot_id") and facts.get("host_id"):
            place = "processor", str(facts["host_id"]), str(facts["boot_id"])
            names.append((place, str(facts.get("cpu_model"))))
        for meter in record.meters.values():
            if isinstance(meter, Mapping) and meter.get("uuid") and meter.get("driver"):
                place = "board", str(meter["uuid"]), str(meter["driver"])
                names.append((place, str(meter.get("name"))))
                if facts.get("boot_id"):
                    moment = record.started_utc, str(facts["boot_id"]), record.run_id
                    boots[str(meter["uuid"])].append(moment)
        for key, name in names:
            known, other = first.setdefault(key, (name, record.run_id))
            if known != name:
                yield f"{record.run_id} names the {key[0]} {name}, {other} {known}."
    for times in boots.values():
        yield from _find_returns(sorted(times))


def _find_returns(times: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """A board that goes back to a boot which it had left; once may be a clock that was set."""
    left, found = set[str](), list[str]()
    for (_, boot_id, _), (_, next_id, run_id) in pairwise(times):
        if next_id != boot_id:
            left.add(boot_id)
            found += [run_id] if next_id in left else []
    if len(found) > 1:
        yield (
            f"{found[0]} and {count_of(len(found) - 1, 'other run')} have a board that was in "
            "another machine since: no board changes machines while they run."
        )
