"""Are the statistics right? Simulated studies of known truth through the code that `compare` runs.

    python tests/benchmarks/bench_stats.py [--studies N] [--write]

Every study is four variants times some blocks, each run a full row of the results table with its
joules, seconds and accuracy replaced by drawn ones, handed to ``compare.analysis.compare``. A
few studies are also written to disk as records and compared through the command line; the two must
give the same numbers. Seeds are fixed: the same N gives the same table. ``--write`` puts the table
into ``harness/STATISTICS.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.run import make_record, make_scores, make_spec, save  # noqa: E402
from wbcbench.compare.analysis import compare  # noqa: E402
from wbcbench.compare.metric import Settings, parse_threshold  # noqa: E402
from wbcbench.compare.result import Comparison, Effect  # noqa: E402
from wbcbench.core.record import RunRecord  # noqa: E402
from wbcbench.stats.tests import compute_power, find_detectable_effect  # noqa: E402
from wbcbench.table.view import Run  # noqa: E402

PAGE = ROOT / "harness" / "STATISTICS.md"
BEGIN, END = "<!-- bench-stats: begin -->", "<!-- bench-stats: end -->"

VARIANTS = ("relu-dropout", "relu-batchnorm", "leaky-dropout", "leaky-batchnorm")
IS_LEAKY = np.array([0.0, 0.0, 1.0, 1.0])
JOULES, ACCURACY = 40_000.0, 0.80
ENERGY = "energy_gpu_train_j"
BLOCK_SD = 0.05  # of log joules and of accuracy: what a block shares and pairing takes away

Noise = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Mean 0, standard deviation 1."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Exponential: mean 0, standard deviation 1, skewness 2."""
    return rng.exponential(size=shape) - 1.0


def unequal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Exponential, the last arm three times as wide: differences are skewed, too."""
    return skewed(rng, shape) * np.array([1.0, 1.0, 1.0, 3.0])


@dataclass(frozen=True)
class World:
    """How studies are drawn.

    Attributes:
        noise: Of a run, in units of ``sd``.
        sd: Of log joules and of accuracy, between runs of one block.
        leaky_log: True effect of the activation on log joules.
        leaky_share: True effect of the activation on the accuracy.
        blocks: In each study.
    """

    noise: Noise = normal
    sd: float = 0.02
    leaky_log: float = 0.0
    leaky_share: float = 0.0
    blocks: int = 8

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Log joules relative to the base and accuracies, ``[blocks, arms]`` each."""
        shape = (self.blocks, len(VARIANTS))
        shared = BLOCK_SD * rng.standard_normal((2, self.blocks, 1))
        log_j = shared[0] + self.sd * self.noise(rng, shape) + self.leaky_log * IS_LEAKY
        share = 0.2 * shared[1] + self.sd * self.noise(rng, shape) + self.leaky_share * IS_LEAKY
        return log_j, ACCURACY + share


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    found: str
    wanted: str
    holds: bool | None


def templates(blocks: int) -> dict[tuple[int, int], Run]:
    """One row for each block and arm, as a real record gives it."""
    return {
        (block, place): Run(
            make_record(spec=make_spec(variant, block + 1, block=block + 1)), study="simulated"
        )
        for block in range(blocks)
        for place, variant in enumerate(VARIANTS)
    }


def simulated(world: World, studies: int, seed: int, settings: Settings) -> Iterator[Comparison]:
    """Draw studies and compare each."""
    rng = np.random.default_rng(seed)
    rows = templates(world.blocks)
    for _ in range(studies):
        log_j, share = world.draw(rng)
        runs = [with_cells(run, drawn(log_j[at], share[at])) for at, run in rows.items()]
        yield compare(runs, settings, ["simulated"])


def with_cells(run: Run, cells: dict[str, float]) -> Run:
    """The run with other cells in its row."""
    changed = copy(run)
    changed.row = {**run.row, **cells}
    return changed


def drawn(log_j: float, share: float) -> dict[str, float]:
    """The cells that a study's truth decides."""
    joules = JOULES * math.exp(log_j)
    return {ENERGY: joules, "primary_energy_train_j": joules, "balanced_accuracy": float(share)}


def primary(found: Comparison) -> list[Effect]:
    """The six tests of the primary family."""
    return [effect for effect in found.effects if effect.family == "primary"]


def effect_of(found: Comparison, metric: str) -> Effect:
    """The activation's effect on one metric."""
    return next(
        e for e in found.effects if e.contrast.startswith("activation") and e.metric.name == metric
    )


def percent(share: float, n: int) -> str:
    """A share with the Monte Carlo error of one standard error."""
    return f"{100 * share:.1f} % ± {100 * math.sqrt(share * (1 - share) / n):.1f}"


def allowance(share: float, n: int) -> float:
    """Two Monte Carlo standard errors."""
    return 2 * math.sqrt(share * (1 - share) / n)


def is_called_different(effect: Effect) -> bool:
    """Whether corrected p and interval both exclude zero."""
    assert effect.p_holm is not None
    assert effect.interval is not None
    return effect.p_holm <= 0.05 and effect.interval.excludes(0.0)


def nothing_differs(
    name: str, noise: Noise, studies: int, seed: int, *, judged: bool = True
) -> list[Line]:
    """False alarms of the family and coverage of the intervals where the truth is zero."""
    alarms, covered = 0, {ENERGY: 0, "balanced_accuracy": 0}
    for found in simulated(World(noise), studies, seed, Settings()):
        effects = primary(found)
        assert len(effects) == 6
        alarms += any(is_called_different(effect) for effect in effects)
        for effect in effects:
            assert effect.interval is not None
            covered[effect.metric.name] += not effect.interval.excludes(0.0)
    rate = alarms / studies
    lines = [
        Line(
            f"No difference, {name} noise: at least one of 6 tests calls one",
            percent(rate, studies),
            "≤ 5 %",
            rate <= 0.05 + allowance(0.05, studies) if judged else None,
        )
    ]
    for metric, count in covered.items():
        share = count / (3 * studies)
        lines.append(
            Line(
                f"… 95 % intervals of {metric} that hold the truth",
                percent(share, 3 * studies),
                "93–97 %",
                0.93 <= share <= 0.97 if judged else None,
            )
        )
    return lines


def promised_power(blocks: int, effect: float, studies: int, seed: int) -> Line:
    """How often a true difference is called, against what a plan promises."""
    world = World(sd=0.05, leaky_log=0.05 * effect, blocks=blocks)
    hits = sum(
        is_called_different(effect_of(found, ENERGY))
        for found in simulated(world, studies, seed, Settings())
    )
    share, promise = hits / studies, compute_power(effect, blocks)
    return Line(
        f"{blocks} blocks, true difference {effect:.2f} × its block-to-block sd: found",
        percent(share, studies),
        f"{100 * promise:.1f} % ± 3",
        abs(share - promise) <= 0.03,
    )


def at_the_edge(studies: int, seed: int) -> list[Line]:
    """A difference exactly on the edge of the region, and exactly on a gate's limit."""
    world = World(sd=0.004, leaky_log=math.log(1.02), leaky_share=0.01)
    thresholds = (parse_threshold(f"{ENERGY} > +2%"),)
    settings = Settings(thresholds=thresholds, baseline="relu-dropout")
    same = {ENERGY: 0, "balanced_accuracy": 0}
    judged = {"worse": 0, "not worse": 0}
    for found in simulated(world, studies, seed, settings):
        for metric in same:
            same[metric] += effect_of(found, metric).result == "equivalent"
        threshold = next(each for each in found.thresholds if each.variant == "leaky-dropout")
        if threshold.outcome.value in judged:
            judged[threshold.outcome.value] += 1
    lines = [
        Line(
            f"True difference of {metric} on the edge of the region: called equivalent",
            percent(count / studies, studies),
            "≤ 5 %",
            count / studies <= 0.05 + allowance(0.05, studies),
        )
        for metric, count in same.items()
    ]
    lines += [
        Line(
            f"True difference on a gate's limit: judged '{word}'",
            percent(count / studies, studies),
            "≤ 2.5 %",
            count / studies <= 0.025 + allowance(0.025, studies),
        )
        for word, count in judged.items()
    ]
    return lines


def through_the_command(studies: int, seed: int) -> Line:
    """Write studies as records, run the command, and compare its numbers with those in memory."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for number in range(studies):
        records = [
            as_record(block, variant, log_j, share)
            for log_js, shares in [World().draw(rng)]
            for block in range(len(log_js))
            for variant, (log_j, share) in enumerate(zip(log_js[block], shares[block], strict=True))
        ]
        study = f"simulated-{number}"
        runs = [Run(record, study=study) for record in records]
        direct = [effect.estimate for effect in compare(runs, Settings(), [study]).effects]
        with tempfile.TemporaryDirectory() as folder:
            document = commanded(Path(folder), study, records)
        told = [row["estimate"] for row in document["contrasts"]]
        worst = max(worst, *(abs(a - b) for a, b in zip(direct, told, strict=True)))
    return Line(
        f"{studies} studies as records through `wbcbench compare --json`: largest deviation",
        f"{worst:.1g}",
        "0",
        worst == 0.0,
    )


def as_record(block: int, variant: int, log_j: float, share: float) -> RunRecord:
    """A whole record with this truth."""
    spec = make_spec(VARIANTS[variant], block + 1, block=block + 1)
    record = make_record(spec=spec, test=make_scores(share - 0.01))
    factor = math.exp(log_j)
    scaled = tuple(
        replace(each, energy_j=None if each.energy_j is None else each.energy_j * factor)
        for each in record.energies
    )
    return replace(record, energies=scaled)


def commanded(
    results: Path, study: str, records: list[RunRecord]
) -> dict[str, list[dict[str, float]]]:
    """What the command prints of these records."""
    from wbcbench.commands.compare import compare as command

    renamed = [replace(r, spec=replace(r.spec, study=study)) for r in records]
    save(results, *(replace(r, run_id=r.spec.run_id) for r in renamed))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        command([study], results=results, as_json=True)
    document: dict[str, list[dict[str, float]]] = json.loads(out.getvalue())
    return document


def lines(studies: int) -> Iterator[Line]:
    """Every line of the table."""
    yield from nothing_differs("normal", normal, studies, 1)
    yield from nothing_differs("skewed (exponential)", skewed, studies, 2)
    yield from nothing_differs("unequal and skewed", unequal, studies, 3, judged=False)
    for seed, blocks in enumerate((8, 12), start=4):
        effect = find_detectable_effect(blocks)
        assert effect is not None
        yield promised_power(blocks, effect, studies, seed)
    yield promised_power(8, 1.3, studies, 6)
    yield promised_power(5, 5.0, max(studies // 10, 1), 7)
    yield from at_the_edge(studies, 8)
    yield through_the_command(5, 9)


def table(found: list[Line], studies: int) -> str:
    """The table in Markdown."""
    words = {True: "yes", False: "NO", None: "shown, not required"}
    head = [
        f"{studies:,} simulated studies a line (four variants, 8 blocks unless said otherwise);",
        "± is one Monte Carlo standard error. Made by `make bench-stats`.",
        "",
        "| What | Found | Wanted | Holds |",
        "|---|---|---|---|",
    ]
    return "\n".join(
        [*head, *(f"| {x.what} | {x.found} | {x.wanted} | {words[x.holds]} |" for x in found)]
    )


def main() -> int:
    """Print the table; returns 1 if a line does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    start = time.perf_counter()
    found: list[Line] = []
    for line in lines(options.studies):
        found.append(line)
        print(f"{time.perf_counter() - start:6.0f} s  {line.what}: {line.found}", file=sys.stderr)
    text = table(found, options.studies)
    print(text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return int(any(line.holds is False for line in found))


if __name__ == "__main__":
    sys.exit(main())
