"""What a study is about, for whoever grades or repeats it: who, what it cost, what came out.

Counts, joules and accuracies are of the records, which V03, V06 and V08 work out again; title and
authors are the author's word.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from wbcbench.bundle.verify import Outcome, Status
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.compare.design import ONE_CLASS
from wbcbench.core.record import RunRecord, Scores
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Domain
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.table.derive import Spent, Sum, spent, sum_spent
from wbcbench.table.view import Run, StoredRun

_PARTS = (Domain.GPU.value, Domain.CPU.value, Domain.DRAM.value)
_STATEMENTS = "V11"
_FOLLOWS = {
    Status.OK: "follows from the runs",
    Status.WARNING: "follows from the runs",
    Status.ERROR: "not confirmed",
    Status.NOT_CHECKED: "not checked",
}


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of one run that is done; ``None`` is unknown.

    Attributes:
        run_id, configuration, seed: Which; the configuration in words.
        accuracy: Balanced, on TEST.
        scores_sha256: Digest of its test scores and its epochs without times.
        energy_j, status: Of training, from the primary energy source.
        gpu_name, gpu_energy_j, gpu_status: Of training, on the GPU alone.
        whole_energy_j, whole_time_s, size_bytes: Of the whole run, and of its folder.
        attempt: Its block, attempt and repeat: of several runs of a seed the first one counts.
        is_one_class: Whether it takes nearly every image for one class.
        image_share: How much of its accuracy a single test image may be.
    """

    run_id: str
    configuration: str
    seed: int
    accuracy: float | None
    scores_sha256: str
    energy_j: float | None
    status: str
    gpu_name: str | None
    gpu_energy_j: float | None
    gpu_status: str
    whole_energy_j: float | None
    whole_time_s: float | None
    size_bytes: int
    attempt: tuple[int, int, int] = (0, 0, 0)
    is_one_class: bool = False
    image_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ClaimLine:
    """A statement about the runs, and its result."""

    text: str
    result: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a bundle's study is about.

    Attributes:
        title, authors, course, study: As the author says.
        host_ids: Of the machines of the runs.
        cpu_name: Of the first one; empty if unknown.
        dataset_id, dataset_sha256: The images; empty where no run read any.
        is_synthetic: Whether images or sensors were.
        planned, done: How many runs there should be, ``None`` without a plan; how many are done,
            repeats not counted.
        states: How the runs ended → how many did; deleted ones are counted as such alone.
        energy, wasted, pilots: Of all runs, of those without a usable result, and of pilots, with
            deleted ones.
        primary_parts: Parts of the machine that these joules are of.
        parts: Part of the machine → the statuses that its joules have.
        claims: Of the plan; without any, what the report answers.
        results: Of the runs that are compared; where none are, of the first done one of each
            seed and configuration.
    """

    title: str
    authors: tuple[str, ...]
    course: str | None
    study: str
    host_ids: tuple[str, ...]
    cpu_name: str
    dataset_id: str
    dataset_sha256: str
    is_synthetic: bool
    planned: int | None
    done: int
    states: Mapping[str, int]
    energy: Sum
    wasted: Sum
    pilots: Sum
    primary_parts: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    claims: tuple[ClaimLine, ...]
    results: tuple[RunResult, ...]


@dataclass(frozen=True, slots=True)
class SeedMeans:
    """Runs of a configuration, which differ by their seed alone; ``None`` is unknown.

    Attributes:
        runs: How many.
        accuracy, accuracy_sd: Mean and standard deviation over them.
        energy_j, status: Mean of training; unknown where any is, or they differ in status.
        gpu_name, gpu_energy_j: The same of a measured GPU, of the one model of all of them.
        one_class: How many take nearly every image for one class: their accuracy is no result.
        image_share: How much of an accuracy a single test image may be.
    """

    runs: int
    accuracy: float | None
    accuracy_sd: float | None
    energy_j: float | None
    status: str
    gpu_name: str | None
    gpu_energy_j: float | None
    one_class: int
    image_share: float


def summarise(
    bundle: Bundle, outcomes: Mapping[str, Outcome], claims: Sequence[Mapping[str, Any]] = ()
) -> Summary:
    """Read a bundle's document and records.

    Args:
        bundle: The bundle.
        outcomes: Of its checks, as far as they were made.
        claims: Of its plan, with their results.
    """
    said, plan = bundle.document, bundle.plan
    label = plan.label if plan else _label_variant
    facts = [_read_facts(StoredRun(run), label) for run in bundle.finished]
    pilots = bundle.finished_and_pilots[len(facts) :]
    gone = [each.spent for each in bundle.study.deleted]
    states = Counter(each.status for each in facts) + Counter(deleted=len(gone))
    first = choose_first([each.result for each in facts if each.result])
    return Summary(
        title=said.title,
        authors=tuple(author.name for author in said.authors),
        course=said.course,
        study=said.study,
        host_ids=said.host_ids,
        cpu_name=next((each.cpu_name for each in facts), ""),
        dataset_id=said.dataset.dataset_id if said.dataset else "",
        dataset_sha256=said.dataset.sha256 if said.dataset else "",
        is_synthetic=said.synthetic,
        planned=sum(run.block <= plan.blocks for run in plan.runs) if plan else None,
        done=len(first),
        states=dict(states),
        energy=sum_spent([*(each.cost for each in facts), *gone]),
        wasted=sum_spent([*(each.cost for each in facts if each.result is None), *gone]),
        pilots=sum_spent(
            [
                *(spent(StoredRun(run)) for run in pilots),
                *(each.spent for each in bundle.study.deleted_pilots),
            ]
        ),
        primary_parts=tuple(sorted({each.primary_part for each in facts})),
        parts={part: tuple(sorted({each.parts[part] for each in facts})) for part in _PARTS},
        claims=tuple(_iterate_claims(bundle, outcomes, claims)),
        results=_choose_compared(bundle, facts) or first,
    )


def choose_first(results: Sequence[RunResult]) -> tuple[RunResult, ...]:
    """Of each configuration and seed the first attempt: a seed trained again is no other seed."""
    first: dict[tuple[str, int], RunResult] = {}
    for result in sorted(results, key=lambda each: each.attempt):
        first.setdefault((result.configuration, result.seed), result)
    chosen = {result.run_id for result in first.values()}
    return tuple(result for result in results if result.run_id in chosen)


def _choose_compared(bundle: Bundle, facts: Sequence[_Facts]) -> tuple[RunResult, ...]:
    """The runs that the report compares, so that both give the same means."""
    comparison = bundle.study.comparison
    used = {run.run_id for block in comparison.blocks.runs for run in block} if comparison else ()
    return tuple(each.result for each in facts if each.result and each.result.run_id in used)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is kept of one run: not its record, for the records of a large study fill memory."""

    status: str
    cost: Spent
    cpu_name: str
    primary_part: str
    parts: Mapping[str, str]
    result: RunResult | None


def _read_facts(run: Run, label: Callable[[RunSpec], str]) -> _Facts:
    return _Facts(
        status=run.status,
        cost=spent(run),
        cpu_name=str(run.fact("cpu_model") or ""),
        primary_part=str(run.row["primary_domain"] or "none"),
        parts={part: run.origins[part] for part in _PARTS},
        result=read_result(run, label(run.spec)) if run.is_done else None,
    )


def _label_variant(spec: RunSpec) -> str:
    return spec.variant


def _iterate_claims(
    bundle: Bundle, outcomes: Mapping[str, Outcome], claims: Sequence[Mapping[str, Any]]
) -> Iterator[ClaimLine]:
    """Claims of the plan, tested here if all else holds; of no plan's, what the report answers."""
    planned = bundle.plan.claims if bundle.plan else {}
    if claims or planned:
        yield from (ClaimLine(claim["sentence"], claim["result"]) for claim in claims)
        for name, claim in sorted(planned.items()) if not claims else ():
            yield ClaimLine(f"Claim {name}: {claim.statement}.", _FOLLOWS[Status.NOT_CHECKED])
        return
    stated = outcomes.get(_STATEMENTS)
    result = _FOLLOWS[stated.status if stated else Status.NOT_CHECKED]
    for sentence in bundle.document.claims:
        if sentence.id.startswith(("answer-", "cannot-")):
            yield ClaimLine(sentence.text, result)


def read_result(run: Run, label: str) -> RunResult:
    """What came of a run that is done; ``label`` says in words which configuration it is."""
    record, cost = run.record, spent(run)
    return RunResult(
        run_id=run.run_id,
        configuration=label,
        seed=run.spec.seed,
        accuracy=record.test.balanced_accuracy if record.test else None,
        scores_sha256=_digest_scores(record),
        energy_j=run.train_energy_j,
        status=run.origins["primary"],
        gpu_name=run.row["gpu_name"],
        gpu_energy_j=run.number("energy_gpu_train_j"),
        gpu_status=run.origins[Domain.GPU],
        whole_energy_j=cost.energy_j,
        whole_time_s=cost.time_s,
        size_bytes=sum(run.folder.bytes_on_disk()) if run.folder else 0,
        attempt=(run.spec.block, run.spec.block_attempt, run.spec.repeat),
        is_one_class=ONE_CLASS in run.warning_codes,
        image_share=_find_image_share(record.test) if record.test else 0.0,
    )


def _find_image_share(test: Scores) -> float:
    """Of balanced accuracy, in which an image of the smallest class counts most."""
    images = [count for row in test.confusion if (count := sum(row))]
    return 1.0 / (len(images) * min(images)) if images else 0.0


def _digest_scores(record: RunRecord) -> str:
    """Of all that training gave but for its times, which differ on every machine."""
    epochs = [replace(e, start_s=0.0, end_s=0.0, evaluate_end_s=0.0) for e in record.epochs]
    return hashlib.sha256(repr((record.test, epochs)).encode()).hexdigest()


def group_by_seed(results: Sequence[RunResult]) -> dict[str, SeedMeans]:
    """Means of each configuration, in the order in which they first appear."""
    groups = defaultdict[str, list[RunResult]](list)
    for result in results:
        groups[result.configuration].append(result)
    return {label: _average(group) for label, group in groups.items()}


def _average(runs: Sequence[RunResult]) -> SeedMeans:
    accuracies = [run.accuracy for run in runs if run.accuracy is not None]
    statuses, gpus = {run.status for run in runs}, {run.gpu_name for run in runs}
    is_measured = {run.gpu_status for run in runs} == {"measured"}
    return SeedMeans(
        runs=len(runs),
        accuracy=fmean(accuracies) if accuracies else None,
        accuracy_sd=stdev(accuracies) if len(accuracies) > 1 else None,
        energy_j=_mean_if_known([run.energy_j for run in runs]) if len(statuses) == 1 else None,
        status=statuses.pop() if len(statuses) == 1 else "of unlike status",
        gpu_name=gpus.pop() if len(gpus) == 1 else None,
        gpu_energy_j=_mean_if_known([run.gpu_energy_j for run in runs]) if is_measured else None,
        one_class=sum(run.is_one_class for run in runs),
        image_share=max(run.image_share for run in runs),
    )


def _mean_if_known(values: Sequence[float | None]) -> float | None:
    total = sum_if_all_known(values)
    return None if total is None else total / len(values)
