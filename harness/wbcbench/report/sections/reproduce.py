"""How to do it again: the commands, and what it will cost, from what it cost."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields

from wbcbench.core.spec import RunSpec
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.units import kwh_from_j
from wbcbench.registry import VARIANTS
from wbcbench.report import Block, Listing, Statement
from wbcbench.report.evidence import ReportStudy
from wbcbench.study.limits import option_name
from wbcbench.table.derive import spent

_MOST_RUNS = 4
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_NO_OPTION = (
    "variant", "study", "block", "block_attempt", "order_in_block", "order_global", "repeat",
    "dataset_id", "dataset_sha256",
)  # fmt: skip


def section(study: ReportStudy) -> Block:
    """Three commands, and the time and kilowatt-hours of the runs there were."""
    listing = Listing("In a clone of the program's repository:", "\n".join(_commands(study)))
    paragraphs = tuple(_words(study))
    return Block(
        "reproduce", "How to reproduce", paragraphs, claims=_cost(study), listings=(listing,)
    )


def _words(study: ReportStudy) -> Iterator[str]:
    if any(run.spec.dataset_id and not run.record.synthetic for run in study.runs):
        yield "FOLDER is where the images lie; the README says how to get them."
    yield (
        "The same seeds give nearly the same accuracies, and on the same machine nearly the same "
        "joules; neither is exact, because the order of sums on several threads is not fixed."
    )


def _cost(study: ReportStudy) -> tuple[Statement, ...]:
    done = [spent(run.record) for run in study.done]
    times_s = [each.time_s for each in done if each.time_s is not None]
    energies_j = [each.energy_j for each in done if each.energy_j is not None]
    statuses = sorted({each.status for each in done if each.energy_j is not None})
    if not times_s:
        return ()
    time_s, energy_j = sum(times_s), sum(energies_j)
    text = f"The {count_of(len(done), 'finished run')} took {human_duration(time_s)}"
    if len(statuses) == 1:
        text += f" and {kwh_from_j(energy_j):.2g} kWh ({statuses[0]})"
    values = {"done": len(done), "time_s": time_s, "energy_j": energy_j if statuses else None}
    return (Statement("effort", f"{text}.", "runs.csv", "", values),)


def _commands(study: ReportStudy) -> Iterator[str]:
    commits = sorted({str(run.row["git_commit"]) for run in study.runs})
    known = [commit for commit in commits if _COMMIT.fullmatch(commit)]
    yield f"git checkout {known[-1]} && make setup" if known else "make setup"
    data = _data(study)
    name = shlex.quote(study.name)
    if study.plan:
        yield f"wbcbench sweep results/{name}/plan.json --results again{data}"
    else:
        yield from _runs(study, data)
    yield f"wbcbench report {name} --results again"


def _data(study: ReportStudy) -> str:
    real = any(run.spec.dataset_id and not run.record.synthetic for run in study.runs)
    return " --data FOLDER" if real else ""


def _runs(study: ReportStudy, data: str) -> Iterator[str]:
    """Each run by what differs from the defaults; of many the first few."""
    name = shlex.quote(study.name)
    known = [run for run in study.runs if run.spec.variant in VARIANTS]
    for run in known[:_MOST_RUNS]:
        spec = run.spec
        options = "".join(f" {word}" for word in _options(spec))
        variant = shlex.quote(spec.variant)
        yield f"wbcbench run --variant {variant}{options} --study {name} --results again{data}"
    left = len(study.runs) - len(known[:_MOST_RUNS])
    if left:
        yield f"# … and {left} more, as their spec.json says"


def _options(spec: RunSpec) -> Iterator[str]:
    for each in fields(RunSpec):
        value = getattr(spec, each.name)
        if each.name in _NO_OPTION or value == each.default:
            continue
        option = option_name(each.name)
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
        else:
            told = ",".join(value) if isinstance(value, tuple) else str(value)
            yield f"{option} {shlex.quote(told)}"
