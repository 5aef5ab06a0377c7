"""Seeds and identities: a run is what its id says, seeds pair within blocks, none stands twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.run_folder import RunDir

_PREDICTIONS = "predictions.parquet"
_UNIQUE = ("marks.jsonl", _PREDICTIONS, "trace/")


def check(bundle: Bundle) -> Outcome:
    """Look at the spec of every run, with a record or without, and at what runs share."""
    errors = [*_identities(bundle), *_blocks(bundle), *_twice(bundle)]
    seeds = {run.read_spec().seed for run in bundle.runs}
    return outcome(
        f"{len(bundle.runs)} runs with {len(seeds)} seeds; ids follow from specs.", errors
    )


def _identities(bundle: Bundle) -> Iterator[str]:
    for run in bundle.runs:
        spec = run.read_spec()
        if spec.run_id != run.run_id:
            yield f"{run.run_id} is asked what {spec.run_id} would be: its spec was changed."
        if spec.study != bundle.document.study:
            yield f"{run.run_id} belongs to the study {spec.study}."


def _blocks(bundle: Bundle) -> Iterator[str]:
    """One seed a block, another seed in every block."""
    seeds, blocks = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for run in bundle.runs:
        spec = run.read_spec()
        if spec.block:
            seeds[spec.block].add(spec.seed)
            blocks[spec.seed].add(spec.block)
    for block, found in sorted(seeds.items()):
        if len(found) > 1:
            yield f"Block {block} has the seeds {_listed(found)}: its runs are no pairs."
    for seed, found in sorted(blocks.items()):
        if len(found) > 1:
            yield f"Seed {seed} stands in the blocks {_listed(found)}: they are one block."


def _twice(bundle: Bundle) -> Iterator[str]:
    """What was measured is never the same twice: equal traces are one run under two names.

    Equal predictions are, of networks that should differ; a repetition may give them again.
    """
    first = dict[str, RunDir]()
    for run in (*bundle.runs, *bundle.pilots):
        for digest, name in sorted(_measured(bundle, run.path.relative_to(bundle.root).as_posix())):
            before = first.setdefault(digest, run)
            again = name == _PREDICTIONS and _network(before) == _network(run)
            if before != run and not again:
                yield f"{run.run_id} has the {name} of {before.run_id}: one run stands twice."


def _network(run: RunDir) -> tuple[str, int]:
    spec = run.read_spec()
    return spec.variant, spec.seed


def _measured(bundle: Bundle, folder: str) -> Iterator[tuple[str, str]]:
    start = f"{folder}/"
    for name, digest in bundle.digests.items():
        inside = name.removeprefix(start)
        is_measured = name.startswith(start) and inside.startswith(_UNIQUE)
        if is_measured and (bundle.root / name).stat().st_size:
            yield digest, inside


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
