"""Runs of several boards and nodes: paired on one board, boards as a factor, or left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from builders.machine import LAPTOP, METERS, PROVENANCE
from builders.run import make_record, scaled
from builders.study import NOTHING, VARIANTS, Truth, draw
from wbcbench.compare.analysis import compare
from wbcbench.compare.answer import format_answer
from wbcbench.compare.boards import BoardUse, combine_gains
from wbcbench.compare.claims import Check, Claim, evaluate_claim
from wbcbench.compare.metric import PlannedClaim, Settings, TwoStages, parse_threshold
from wbcbench.compare.order import find_order
from wbcbench.compare.pair import compare_pair
from wbcbench.compare.planned import find_stage_differences
from wbcbench.compare.result import ClaimOutcome, Comparison, build_comparison_document
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import RunRecord
from wbcbench.stats.boards import estimate_beside_boards, find_imbalance, find_way
from wbcbench.table.view import Run

ENERGY = "energy_gpu_train_j"
ONE, OTHER = (f"GPU-{n}b2c3d4e-5f60-7182-93a4-b5c6d7e8f90{n}" for n in (1, 2))
PAIR = VARIANTS[:2]  # relu-dropout, relu-batchnorm


def on(
    record: RunRecord,
    uuid: str | None,
    node: str = "5f1e9c",
    job: str | None = None,
    gain: float = 1.0,
    **board: object,
) -> RunRecord:
    """The same run on this board of this node, whose joules are this factor as high."""
    facts: dict[str, object] = {**PROVENANCE, "host_id": node}
    if job is not None:
        facts["job"] = {"engine": "slurm", "id": job, "node": node, "cpus": 2, "node_cpus": 8}
    meters = {"nvml/gpu0": {**METERS["nvml/gpu0"], "uuid": uuid, **board}}
    return scaled(replace(record, meters=meters, provenance=facts), gain)


def placed(
    records: Sequence[RunRecord], place: Callable[[RunRecord], str], gains: Mapping[str, float]
) -> list[RunRecord]:
    """These runs on the boards that ``place`` names, each in a job of its own."""
    return [
        on(r, uuid := place(r), f"node of {uuid}", str(n), gains.get(uuid, 1.0))
        for n, r in enumerate(records)
    ]


def compared(records: Sequence[RunRecord], **settings: object) -> Comparison:
    studies = list(dict.fromkeys(record.spec.study for record in records))
    runs = [Run(record, None, record.spec.study) for record in records]
    return compare(runs, Settings(**settings), studies)  # type: ignore[arg-type]


def by_chance(records: Sequence[RunRecord]) -> Callable[[RunRecord], str]:
    """One of two boards for each run, as a scheduler gives them."""
    rng = np.random.default_rng(5)
    chosen = {record.run_id: (ONE, OTHER)[rng.integers(2)] for record in records}
    return lambda record: chosen[record.run_id]


# -- a block on one board -------------------------------------------------------------------------


def test_blocks_on_two_boards_of_one_model_are_paired_and_their_gain_cancels():
    records = draw(8, variants=PAIR)
    two = [on(r, OTHER, "77aa00", gain=1.08) if r.spec.block % 2 else on(r, ONE) for r in records]
    alone, both = compared(records), compared(two)
    assert both.blocks.left_out == ()
    for old, new in zip(alone.effects, both.effects, strict=True):
        assert new.estimate == pytest.approx(old.estimate)
        assert (new.p_holm, new.result) == (old.p_holm, old.result)
    assert "Example GPU (2 boards)" in format_answer(both)
    (note,) = [note for note in both.notes if note.startswith("The blocks come from")]
    assert note.count("(4 blocks)") == 2
    assert note not in both.limits
    found = build_comparison_document(both)["boards"]
    assert (found["is_spread"], found["way"], len(found["names"])) == (False, None, 8)
    assert "boards" not in build_comparison_document(alone)


@pytest.mark.parametrize(
    ("key", "value"), [("host_id", str), ("job", lambda node: {"id": "1", "node": node})]
)
def test_nodes_without_a_board_are_paired_within_a_node(key, value):
    """Whatever tells them apart: nodes that are copies of one system have one ``host_id``."""
    nodes = {r.run_id: f"n{r.spec.block % 3}" for r in draw(6)}
    records = [
        replace(r, meters={}, provenance={**PROVENANCE, key: value(nodes[r.run_id])})
        for r in draw(6, channels=LAPTOP)
    ]
    found = compared(records, metrics=("balanced_accuracy", "time_train_s"))
    assert len(found.blocks.runs) == 6
    assert len(found.blocks.boards.blocks) == 3
    assert "(3 machines)" in format_answer(found)


def test_a_block_whose_rest_ran_on_another_board_is_left_out_with_its_boards():
    records = [
        on(r, OTHER if (r.spec.block, r.spec.variant) == (2, PAIR[1]) else ONE)
        for r in draw(4, variants=PAIR)
    ]
    (left,) = compared(records).blocks.left_out
    assert left.block == "block 2, seed 1002"
    assert left.reason.startswith("its runs come from 2 boards: ")
    assert left.reason.count("(1)") == 2


def test_a_run_whose_board_is_unknown_is_not_paired_with_runs_of_a_known_one():
    records = [
        on(r, None if (r.spec.block, r.spec.variant) == (2, PAIR[1]) else ONE)
        for r in draw(4, variants=PAIR)
    ]
    (left,) = compared(records).blocks.left_out
    assert "machine 5f1e9c (1)" in left.reason


def test_a_node_that_was_renamed_keeps_its_board():
    records = [on(r, ONE, r.spec.variant) for r in draw(4, variants=PAIR)]
    assert len(compared(records).blocks.runs) == 4


@pytest.mark.parametrize(
    ("field", "board", "shown"),
    [
        ("gpu_name", {"name": "Larger GPU"}, "'Larger GPU' in 4 runs of blocks 3, 7;"),
        ("driver_version", {"driver": "560.1"}, "'560.1' in 4 runs of blocks 3, 7;"),
    ],
)
def test_another_model_or_driver_is_refused_and_its_blocks_are_named(field, board, shown):
    records = [
        on(r, OTHER, **board) if r.spec.block in {3, 7} else on(r, ONE)
        for r in draw(8, variants=PAIR)
    ]
    with pytest.raises(CannotMeasureError, match=f"not comparable: {field} differs") as caught:
        compared(records)
    assert shown in str(caught.value)
    allowed = compared(records, allow_different=(field,))
    assert len(allowed.blocks.runs) == 8
    assert f"{field} differs between the runs, as allowed." in allowed.limits


def limited(record: RunRecord, limit_w: float) -> RunRecord:
    states = tuple(replace(state, power_limit_w=limit_w) for state in record.telemetry)
    return replace(record, telemetry=states)


def test_another_power_limit_is_refused_unless_it_was_asked_for():
    records = draw(8, variants=PAIR)
    lower = [limited(r, 300.0) if r.spec.block == 5 else r for r in records]
    with pytest.raises(CannotMeasureError, match="gpu_power_limit_w differs") as caught:
        compared(lower)
    assert "300 in 2 runs of block 5" in str(caught.value)
    assert len(compared([limited(r, 400.0004 * (1 - 1e-6)) for r in records]).blocks.runs) == 8
    asked = [
        limited(replace(r, spec=spec, run_id=spec.run_id), watts)
        for r in draw(8, variants=PAIR[:1])
        for watts in (300.0, 250.0)
        for spec in [replace(r.spec, power_limit_w=watts)]
    ]
    assert len(compared(asked).blocks.runs) == 8


def test_studies_and_single_runs_on_two_boards_are_compared_only_where_that_is_allowed():
    here = [on(r, ONE) for r in draw(8, study="a", variants=PAIR)]
    there = [on(r, OTHER) for r in draw(8, study="b", variants=PAIR, seed=2)]
    with pytest.raises(CannotMeasureError, match="gpu_uuid_hash differs"):
        compared([*here, *there])
    found = compared([*here, *there], allow_different=("gpu_uuid_hash",))
    assert "gpu_uuid_hash differs between the runs, as allowed." in found.limits
    one, other = (Run(on(make_record(seed=n), uuid)) for n, uuid in ((1, ONE), (2, OTHER)))
    with pytest.raises(CannotMeasureError, match="gpu_uuid_hash differs"):
        compare_pair(one, other)


# -- the gain of several boards -------------------------------------------------------------------


def test_a_mean_over_two_boards_has_the_gain_of_each_in_squares():
    records = draw(8, variants=PAIR)
    two = [on(r, OTHER if r.spec.block % 2 else ONE) for r in records]
    (alone, *_), (both, *_) = (compared(r).configurations for r in (records, two))
    one, half = alone.levels[ENERGY].board, both.levels[ENERGY].board
    assert one == pytest.approx(0.05 * alone.levels[ENERGY].mean)
    # Blocks differ in their joules, so that the halves are not of equal weight.
    assert half == pytest.approx(one / math.sqrt(2), rel=0.01)
    assert both.levels[ENERGY].reading == pytest.approx(alone.levels[ENERGY].reading)


def test_boards_that_runs_share_are_taken_for_one_gain():
    runs = [Run(on(make_record(seed=n), uuid)) for n, uuid in ((1, ONE), (2, OTHER))]
    column = "primary_board_uncertainty_train_j"
    apart = combine_gains(runs, column)
    for run, uuids in zip(runs, ("a;b", "b;c"), strict=True):
        run.row = {**run.row, "gpu_uuid_hash": uuids}
    assert combine_gains(runs, column) == pytest.approx(math.sqrt(2) * apart)


# -- spread over boards ---------------------------------------------------------------------------


def test_spread_runs_are_estimated_with_the_board_as_a_factor_and_not_tested():
    truth = Truth({"relu-batchnorm": -0.08}, {})
    records = draw(8, truth, variants=VARIANTS)
    runs = placed(records, by_chance(records), {OTHER: 1.1})
    found = compared(runs)
    boards = found.blocks.boards
    assert (boards.is_spread, boards.way, found.blocks.left_out) == (True, "factor", ())
    effect = next(e for e in found.effects if e.metric.name == ENERGY and e.contrast == PAIR[1])
    assert effect.interval.low < 100 * math.expm1(-0.08) < effect.interval.high
    assert effect.interval.high - effect.interval.low < 2  # of boards 10 % apart
    assert (effect.p, effect.p_holm, effect.d_z, effect.win_rate) == (None,) * 4
    scores = [e for e in found.effects if not e.metric.is_speed and e.family == "primary"]
    alone = [e for e in compared(records).effects if not e.metric.is_speed]
    assert [e.p_holm for e in scores] == [e.p_holm for e in alone if e.family == "primary"]
    assert (found.splits, found.order) == ((), None)
    assert {summary.on_front for summary in found.configurations} == {None}
    text = " ".join(format_answer(found).split())
    assert "relu-batchnorm has practically the same balanced accuracy" in text  # which was tested
    assert "less energy" not in text
    assert "The runs of a seed were spread over 2 boards. relu-dropout: board " in text
    assert "with the board as a factor" in text
    assert "Sinha et al. 2022" in text


def test_the_factor_is_least_squares_worked_out_independently():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(6, 3)) + np.array([0.0, 1.0, 3.0]) + rng.normal(size=(6, 1))
    boards = rng.integers(3, size=(6, 3))
    estimate, interval = estimate_beside_boards(values, boards, (-1.0, 1.0, 0.0))
    block, thing = np.indices(values.shape)
    frame = {"y": values.ravel(), "b": block.ravel(), "t": thing.ravel(), "g": boards.ravel()}
    fit = smf.ols("y ~ C(t) + C(b) + C(g)", pd.DataFrame(frame)).fit()
    assert estimate == pytest.approx(fit.params.iloc[1])  # of the second thing against the first
    assert (interval.low, interval.high) == pytest.approx(tuple(fit.conf_int().iloc[1]))


@pytest.mark.parametrize("boards", [2, 4, 8])
def test_the_interval_beside_a_factor_holds_the_truth_as_often_as_stated(boards):
    """Studies of 8 seeds and 4 variants, 2 % of noise, boards 5 % apart; 0.7 points are one s.e."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        used = rng.integers(boards, size=(8, 4))
        values = rng.normal(0, 0.02, (8, 4)) + rng.normal(0, 0.05, (8, 1))
        values += rng.normal(0, 0.05, boards)[used]
        _, interval = estimate_beside_boards(values, used, (-1.0, 1.0, 0.0, 0.0))
        held += interval.low <= 0 <= interval.high
    assert 935 <= held <= 965


def test_runs_on_a_board_of_their_own_are_compared_unpaired_as_welch_does():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(8, 2)) * [1.0, 3.0]
    boards = np.arange(16).reshape(8, 2)
    estimate, interval = estimate_beside_boards(values, boards, (-1.0, 1.0))
    wanted = stats.ttest_ind(values[:, 1], values[:, 0], equal_var=False)
    assert estimate == pytest.approx(values[:, 1].mean() - values[:, 0].mean())
    bounds = wanted.confidence_interval(0.95)
    # Degrees of freedom are rounded down.
    assert interval.low <= bounds.low < bounds.high <= interval.high
    assert interval.high - interval.low == pytest.approx(bounds.high - bounds.low, rel=0.02)
    records = draw(8, variants=PAIR)
    found = compared(placed(records, lambda r: r.run_id, {}))
    assert found.blocks.boards.way == "unpaired"
    assert "each run on a board of its own" in " ".join(found.limits)


def test_a_board_for_each_variant_cannot_be_told_from_the_variant():
    records = draw(8, NOTHING, variants=PAIR)
    found = compared(placed(records, lambda r: r.spec.variant, {PAIR[1]: 1.06}))
    assert found.blocks.boards.way == "mixed"
    effect = found.effects[0]
    assert effect.estimate == pytest.approx(6, abs=0.5)
    assert (effect.interval, effect.p) == (None, None)
    text = " ".join(format_answer(found).split())
    assert "cannot be told from differences between variants" in text
    assert f"{PAIR[1]} vs {PAIR[0]}, energy: boards that differ by 6" in text
    assert "less energy" not in text


def test_how_unlike_boards_must_be_follows_from_who_ran_where():
    even = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])
    assert find_imbalance(even, (-1.0, 1.0)) == 0
    assert find_imbalance(np.array([[0, 1]] * 4), (-1.0, 1.0)) == 1
    assert find_imbalance(np.array([[0, 1], [0, 1], [0, 1], [0, 0]]), (-1.0, 1.0)) == 0.75
    assert find_way(np.array([[0, 1], [1, 0]])) == "mixed"  # no degree of freedom is left
    assert find_way(even) == "factor"
    assert BoardUse().way is None


def test_thresholds_and_claims_on_joules_are_left_open_where_runs_were_spread():
    records = draw(8, Truth({"relu-batchnorm": -0.3}, {}), variants=PAIR)
    claim = PlannedClaim(variants=(PAIR[1], PAIR[0]), metric=ENERGY, direction="lower")
    found = compared(
        placed(records, by_chance(records), {}),
        thresholds=(parse_threshold(f"{ENERGY} > +2%"),),
        claims={"saves": claim},
    )
    assert [(t.outcome.value, t.interval) for t in found.thresholds] == [("inconclusive", None)]
    assert "spread over boards" in found.thresholds[0].why
    (result,) = found.claims
    assert (result.outcome, result.p) == (ClaimOutcome.INCONCLUSIVE, None)
    assert "spread over boards" in result.why
    assert "spread over boards" in " ".join(format_answer(found).split())


def test_a_stopping_rule_on_joules_knows_no_spread_where_runs_were_spread():
    records = draw(8, variants=PAIR)
    stages = TwoStages(PAIR[1], PAIR[0], (ENERGY,), 1.0, blocks=4, most=12)
    for own, why in ((records, False), (placed(records, by_chance(records), {}), True)):
        found = compared(own)
        known = find_stage_differences(stages, found.design, found.blocks)
        assert isinstance(known, str) is why
    assert known.endswith("spread over boards, which differ from each other")


def test_a_claim_of_a_file_about_seconds_is_left_open_where_runs_were_spread():
    records = draw(8, variants=VARIANTS)
    check = Check(
        says="faster", kind="difference", measure="train_time_s", factor="regulariser",
        upper="batchnorm", lower="dropout", expect="below", limit=50.0,
    )  # fmt: skip
    claim = Claim("C", "It is faster.", (check,))
    for own, why in ((records, ""), (placed(records, by_chance(records), {}), "spread over")):
        (evidence,) = evaluate_claim(claim, [Run(record) for record in own]).evidence
        assert why in evidence.why
        assert (evidence.estimate is None) is bool(why)


def test_jobs_of_one_run_each_are_spread_even_where_half_of_them_met_on_one_board():
    records = draw(8, variants=PAIR)
    boards = {(b, v): OTHER if b > 4 and v == PAIR[1] else ONE for b in range(1, 9) for v in PAIR}
    own = placed(records, lambda r: boards[r.spec.block, r.spec.variant], {})
    assert compared(own).blocks.boards.is_spread
    blocks = [on(r, boards[r.spec.block, r.spec.variant], job=str(r.spec.block)) for r in records]
    found = compared(blocks)
    assert (found.blocks.boards.is_spread, len(found.blocks.left_out)) == (False, 4)


# -- drift ----------------------------------------------------------------------------------------


def test_a_drift_is_seen_on_each_of_two_boards_side_by_side_and_not_in_their_mix():
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    made: dict[str, list[RunRecord]] = {"alone": [], "both": []}
    for r in draw(12, Truth({}, {}, noise_j=0.001), variants=PAIR):
        block, place = r.spec.block - 1, PAIR.index(r.spec.variant)
        place = 1 - place if block % 4 == 3 else place  # not quite balanced
        hours = 0.2 * (2 * (block // 2) + place)
        for name, at in (("alone", 0.4 * block + 0.2 * place), ("both", hours + block % 2 / 60)):
            began = (start + timedelta(hours=at)).strftime("%Y-%m-%dT%H:%M:%SZ")
            board = (ONE, OTHER)[block % 2] if name == "both" else ONE
            rise = scaled(replace(r, started_utc=began), math.exp(0.03 * (at - block % 2 / 60)))
            made[name].append(on(rise, board))
    for records in made.values():
        found = compared(records)
        order = find_order(found.design, found.blocks)
        energy = order.drifts[1]
        assert energy.is_seen
        assert 100 * energy.per_hour / found.configurations[0].levels[ENERGY].mean == pytest.approx(
            3, abs=0.6
        )


# -- the table ------------------------------------------------------------------------------------


def test_node_job_and_share_of_the_processors_stand_in_the_row():
    row = Run(on(make_record(), ONE, "n1", "123_4")).row
    assert (row["node"], row["job_id"], row["cpu_share"]) == ("n1", "123_4", 0.25)
    row = Run(make_record()).row
    assert (row["node"], row["job_id"], row["cpu_share"]) == (None,) * 3
