"""A plan: blocked, balanced, shuffled by its seed alone, hashed; what it costs and can show."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.machine import PROVENANCE
from builders.run import make_record, make_spec, run_dir, save
from builders.study import Truth, draw
from fakes.stand_in_launcher import StandIn
from program import wbcbench
from wbcbench.core.errors import RunsFailedError, UsageError
from wbcbench.core.provenance import host_id
from wbcbench.core.run_folder import Local
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import round_to_sum
from wbcbench.stats.order import count_balance
from wbcbench.stats.tests import find_detectable_effect
from wbcbench.study import plan as plans
from wbcbench.study.experiment import Experiment, Pauses, PlannedAnalysis, Until
from wbcbench.study.forecast import forecast_cost
from wbcbench.study.plan import Plan, make_plan
from wbcbench.study.power import analyse_power
from wbcbench.study.running import carry_out_pilot, pasts
from wbcbench.study.statement import SubmissionDetails
from wbcbench.study.text import build_plan_document, describe_plan, describe_plan_details
from wbcbench.table.derive import PartCost, Past

VARIANTS = ("relu-dropout", "leaky-dropout", "relu-batchnorm", "leaky-batchnorm")
FOUR = {"variant": VARIANTS}


def experiment(**changes: Any) -> Experiment:
    base = Experiment(study="mine", seeds=(11, 12, 13), blocks=3, factors=FOUR)
    return replace(base, **changes)


def like_records() -> dict[str, Any]:
    spec = make_spec()
    return {name: getattr(spec, name) for name in ("epochs", "dataset_id", "dataset_sha256")}


def order(made: Plan) -> list[tuple[int, dict[str, Any]]]:
    return [(run.block, dict(made.levels(run))) for run in made.runs]


factors = st.fixed_dictionaries(
    {"variant": st.lists(st.sampled_from(VARIANTS), min_size=1, unique=True).map(tuple)},
    optional={
        "batch_size": st.lists(st.integers(1, 512), min_size=1, max_size=3, unique=True).map(tuple),
        "xla": st.just((False, True)),
    },
)
order_seeds = st.integers(-(2**40), 2**40)


@given(factors, order_seeds, st.integers(1, 6))
def test_every_block_holds_every_combination_once_with_its_own_seed(
    levels: dict[str, Any], order_seed: int, blocks: int
) -> None:
    seeds = tuple(range(100, 100 + blocks))
    made = make_plan(experiment(factors=levels, order_seed=order_seed, seeds=seeds, blocks=blocks))
    size = 1
    for each in levels.values():
        size *= len(each)
    for number, seed in enumerate(seeds, start=1):
        block = made.block(number)
        found = Counter(tuple(made.levels(run).items()) for run in block)
        assert len(found) == size and set(found.values()) == {1}
        assert {run.seed for run in block} == {seed}
        assert [run.order_in_block for run in block] == list(range(1, size + 1))
    assert [run.order_global for run in made.runs] == list(range(1, size * blocks + 1))


@given(factors, order_seeds, st.permutations(range(4)), st.integers(1, 99))
def test_the_order_depends_on_the_order_seed_alone(
    levels: dict[str, Any], order_seed: int, listing: list[int], epochs: int
) -> None:
    made = make_plan(experiment(factors=levels, order_seed=order_seed))
    listed = {
        name: tuple(each[i] for i in listing if i < len(each))
        for name, each in reversed(levels.items())
    }
    other = experiment(
        factors=listed, order_seed=order_seed, study="other", run={"epochs": epochs},
        seeds=(7, 8, 9), pauses=Pauses(rest_s=1.0), about="something else",
    )  # fmt: skip
    assert order(make_plan(other)) == order(made)


def test_another_order_seed_gives_another_order_and_blocks_differ() -> None:
    seeds = tuple(range(20))
    made = make_plan(experiment(order_seed=1, seeds=seeds, blocks=20))
    other = make_plan(experiment(order_seed=2, seeds=seeds, blocks=20))
    assert order(made) != order(other)
    shuffles = {tuple(run.variant for run in made.block(n)) for n in range(1, 21)}
    assert len(shuffles) > 8


@pytest.mark.parametrize("variants", [2, 3, 4])
@given(order_seeds)
def test_every_variant_stands_at_every_place_and_after_every_other_one_equally_often(
    variants: int, order_seed: int
) -> None:
    blocks = 12
    asked = experiment(
        factors={"variant": VARIANTS[:variants]}, order_seed=order_seed,
        seeds=tuple(range(blocks)), blocks=blocks,
    )  # fmt: skip
    made = make_plan(asked)
    balance = count_balance([[run.variant for run in made.block(n + 1)] for n in range(blocks)])
    assert {n for row in balance.places for n in row} == {blocks // variants}
    after = [n for i, row in enumerate(balance.after) for j, n in enumerate(row) if i != j]
    assert set(after) == {blocks * (variants - 1) // (variants * (variants - 1))}


def test_blocks_that_are_added_leave_the_others_where_they_were() -> None:
    short = make_plan(experiment())
    long = make_plan(experiment(seeds=(11, 12, 13, 14), blocks=4))
    assert long.runs[: len(short.runs)] == short.runs


def test_a_variant_that_is_added_leaves_the_finished_runs_what_they_are() -> None:
    three = make_plan(experiment(factors={"variant": VARIANTS[:3]}))
    four = make_plan(experiment())
    assert {run.identity for run in three.runs} <= {run.identity for run in four.runs}


def test_the_place_of_a_run_is_no_part_of_its_identity() -> None:
    spec = RunSpec(variant="relu-dropout")
    moved = replace(spec, order_in_block=3, order_global=7)
    assert moved.run_id == spec.run_id
    assert moved.identity == spec.identity
    assert replace(spec, block_attempt=2).run_id != spec.run_id


@given(order_seeds, st.integers(1, 50))
@settings(max_examples=25)
def test_the_digest_is_that_of_the_content(order_seed: int, epochs: int) -> None:
    asked = experiment(order_seed=order_seed, run={"epochs": epochs})
    assert make_plan(asked).sha256 == make_plan(asked).sha256
    assert make_plan(
        replace(asked, about="x", submission=SubmissionDetails(author="A"))
    ).sha256 == (make_plan(asked).sha256)
    for changed in (
        replace(asked, order_seed=order_seed + 1),
        replace(asked, run={"epochs": epochs + 1}),
        replace(asked, blocks=2),
        replace(asked, block_repeats=0),
        replace(asked, pauses=Pauses(rest_s=0.5)),
        replace(asked, analysis=PlannedAnalysis(equivalent_pct=3.0)),
        replace(asked, until=Until("activation", 1.0, 3)),
    ):
        assert make_plan(changed).sha256 != make_plan(asked).sha256


def test_a_written_plan_is_read_back_as_it_was(tmp_path: Path) -> None:
    made = make_plan(
        experiment(until=Until("activation", 1.5, 3), factors={**FOUR, "xla": (True,)})
    )
    path = tmp_path / "plan.json"
    path.write_bytes(plans.to_json(made))
    assert plans.from_json(path) == made
    assert plans.read_plan(path) == made


def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = json.loads(plans.to_json(make_plan(experiment())))
    document["plan"]["runs"][0]["epochs"] = 99
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="was changed after it was made"):
        plans.read_plan(path)
    path.write_text("[]")
    with pytest.raises(UsageError, match="is not a plan"):
        plans.read_plan(path)
    with pytest.raises(UsageError, match="--set cannot change it"):
        plans.read_plan(path, ["epochs=3"])


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, '{"plan": ' * 3000, '{"plan": ' + "9" * 5000, "\ufeff{}", '"\0"', "3"],
)
def test_what_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a plan"):
        plans.read_plan(path)


def test_a_plan_from_elsewhere_leads_to_no_other_folder(tmp_path: Path) -> None:
    """Its digest is right: it was made by somebody, not changed afterwards."""
    made = make_plan(experiment())
    strange = replace(made, study="../x", runs=tuple(replace(r, study="../x") for r in made.runs))
    path = tmp_path / "plan.json"
    path.write_bytes(plans.to_json(strange))
    with pytest.raises(UsageError, match="key 'study' must be a plain folder name"):
        plans.read_plan(path)


def test_a_plan_that_changed_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    first, second = make_plan(experiment()), make_plan(experiment(order_seed=5))
    assert plans.keep_plan(first, tmp_path) is None
    kept = (tmp_path / "plan.json").read_bytes()
    assert plans.keep_plan(first, tmp_path) is None
    assert (tmp_path / "plan.json").read_bytes() == kept
    assert json.loads(kept)["stored_utc"].endswith("Z")
    assert plans.keep_plan(second, tmp_path) == first.sha256
    assert plans.from_json(tmp_path / "plan.json") == second
    assert plans.from_json(tmp_path / f"plan-{first.sha256[:12]}.json") == first


FACTORS = PlannedAnalysis(family="factors")


def test_eight_blocks_can_show_the_six_primary_tests_and_three_cannot() -> None:
    eight = analyse_power(make_plan(experiment(seeds=tuple(range(8)), blocks=8, analysis=FACTORS)))
    assert eight.contrasts == ("activation leaky-relu", "regulariser batchnorm", "interaction")
    assert (eight.family, eight.tests) == ("factors", 6)
    assert (eight.p_floor, eight.p_level) == (2 / 2**8, 0.05 / 6)
    assert eight.can_show
    assert eight.detectable_d_z == find_detectable_effect(8, 6)
    three = analyse_power(make_plan(experiment()))
    assert not three.can_show
    assert three.detectable_d_z is None
    assert three.blocks_wanted == 8


def test_each_variant_against_the_baseline_is_the_family_unless_the_factors_are_asked_for() -> None:
    found = analyse_power(make_plan(experiment()))
    assert (found.family, found.baseline) == ("baseline", "relu-dropout")
    assert set(found.contrasts) == {"leaky-dropout", "relu-batchnorm", "leaky-batchnorm"}
    with pytest.raises(UsageError, match="two factors of two levels"):
        analyse_power(make_plan(experiment(factors={"variant": VARIANTS[:3]}, analysis=FACTORS)))


@pytest.mark.parametrize(
    ("factors", "blocks"),
    [
        ('variant = ["relu-dropout", "leaky-dropout"]', 8),
        ('variant = ["relu-dropout", "leaky-dropout"]\nbatch_size = [16, 32, 64]', 9),
        ('variant = ["relu-dropout", "leaky-dropout"]\nbatch_size = [8, 16, 32, 64, 128]', 10),
        ('variant = ["relu-dropout", "leaky-dropout"]\nepochs = [1, 2, 3, 4, 5, 6, 7]', 11),
    ],
)
def test_the_number_of_blocks_follows_from_the_family(
    factors: str, blocks: int, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(f"[factors]\n{factors}\n")
    made = plans.read_plan(tmp_path / "mine.toml")
    found = analyse_power(made)
    assert (made.blocks, found.can_show) == (blocks, True)
    assert blocks == max(8, found.blocks_wanted or 0)


def test_a_plan_that_can_never_show_anything_is_refused_unless_it_is_exploratory(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"blocks = 7\n[factors]\nvariant = {list(VARIANTS)}\n")
    ended = wbcbench("plan", str(file))
    assert ended.code == 2
    assert "7 blocks can never show a difference" in ended.err
    assert "Take 8 blocks (seeds), or add --exploratory" in ended.err
    assert wbcbench("sweep", str(file), "--dry-run", cwd=tmp_path).code == 2
    explored = wbcbench("plan", str(file), "--exploratory", "--out", str(tmp_path / "p.json"))
    assert explored.code == 0, explored.err
    assert "nothing is tested" in explored.out
    assert plans.read_plan(tmp_path / "p.json").analysis.exploratory
    assert wbcbench("plan", str(tmp_path / "p.json"), "--exploratory").code == 0


def test_a_finished_plan_does_not_become_exploratory(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(plans.to_json(make_plan(experiment())))
    with pytest.raises(UsageError, match="--exploratory cannot change it"):
        plans.read_plan(path, exploratory=True)


def test_a_plan_that_knew_of_no_family_keeps_its_digest_and_its_factors(tmp_path: Path) -> None:
    made = make_plan(experiment(seeds=tuple(range(8)), blocks=8))
    old = replace(made, analysis=replace(made.analysis, family=None))
    document = json.loads(plans.to_json(old))
    for name in ("family", "exploratory"):
        del document["plan"]["analysis"][name]
    del document["plan"]["claims"]
    design = {k: v for k, v in document["plan"].items() if k not in {"about", "submission"}}
    design["runs"] = [run.digested for run in old.runs]
    text = json.dumps(design, sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    read = plans.from_json(path)
    assert read == old
    assert analyse_power(read).family == "factors"


def test_the_spread_of_earlier_runs_says_what_a_plan_can_hope_for(tmp_path: Path) -> None:
    wide = Truth({}, {}, noise_j=0.01, noise_share=0.03)
    save(tmp_path, *draw(6, wide, study="pilot", variants=VARIANTS[:2]))
    seeds = tuple(range(8))
    asked = experiment(factors={"variant": VARIANTS[:2]}, seeds=seeds, blocks=8)
    made = make_plan(asked)
    assert analyse_power(made, tmp_path).learned == ()  # of other images
    same = make_plan(replace(asked, run=like_records()))
    energy, accuracy = analyse_power(same, tmp_path).learned
    assert (energy.study, energy.blocks) == ("pilot", 6)
    assert 0.7 < energy.spread < 2.5 and 2 < accuracy.spread < 8
    assert accuracy.equivalence_power < 0.05 < energy.equivalence_power
    assert accuracy.equivalence_blocks and accuracy.equivalence_blocks > 50


def test_a_single_configuration_has_nothing_to_show() -> None:
    alone = analyse_power(make_plan(experiment(factors={"variant": ("relu-dropout",)})))
    assert alone.contrasts == () and not alone.can_show


@pytest.mark.parametrize(
    ("analysis", "until", "says"),
    [
        (replace(FACTORS, contrasts=("activation",)), None, "leaves out regulariser batchnorm"),
        (replace(FACTORS, contrasts=("activasion",)), None, "Did you mean 'activation leaky-relu'"),
        (PlannedAnalysis(contrasts=("activation",)), None, 'only with family = "factors"'),
        (PlannedAnalysis(baseline="relu"), None, "configuration to compare with"),
        (PlannedAnalysis(metrics=("enrgy",)), None, "metric 'enrgy'"),
        (PlannedAnalysis(), Until("depth", 1.0, 3), "primary contrast 'depth'"),
    ],
)
def test_an_analysis_that_the_design_cannot_answer_is_refused(
    analysis: PlannedAnalysis, until: Until | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        analyse_power(make_plan(experiment(analysis=analysis, until=until)))


def test_costs_are_those_of_past_runs_scaled_by_epochs(tmp_path: Path) -> None:
    """The builder's run: 75 s on the wall; epochs are 4 × 11 s at 280 W of its 280 W or 60 W."""
    made = make_plan(experiment(run={"epochs": 8}))
    past = make_record(spec=replace(made.runs[0], epochs=4))
    save(tmp_path, past)
    found = forecast_cost(made.runs, pasts(made, tmp_path))
    assert found.based_on == 1 and found.status == "measured"
    assert found.train_s == pytest.approx(12 * 8 * 11)
    assert found.time_s == pytest.approx(12 * (75 - 44 + 88))
    once_j = 280 * (12 + 2 + 2 + 3 + 3) + 60 * (3 + 3 + 3)
    assert found.energy_j == pytest.approx(12 * (once_j + 8 * 11 * 280))
    assert found.disk_bytes is not None and found.disk_bytes > 0


costs = st.floats(0.0, 1e6, allow_subnormal=False)
parts_of_runs = st.dictionaries(
    st.sampled_from(["idle", "startup", "warmup", "evaluate", "inference", "between"]),
    st.tuples(costs, costs),
)


@given(
    st.lists(st.tuples(st.sampled_from(VARIANTS), parts_of_runs, costs, costs), min_size=1),
    st.integers(1, 30),
    st.floats(0, 60),
    st.integers(1, 5),
)
def test_the_parts_of_a_cost_add_up_to_its_total(
    told: list[Any], epochs: int, rest_s: float, blocks: int
) -> None:
    """Variants of unlike cost, runs with other parts, pauses, blocks that are repeated."""
    seeds = tuple(range(blocks))
    made = make_plan(
        experiment(run={"epochs": epochs}, pauses=Pauses(rest_s), seeds=seeds, blocks=blocks)
    )
    pasts = [
        Past(
            spec=replace(made.runs[0], variant=variant, epochs=3),
            status="measured",
            once={n: PartCost(s, None if n == "between" else j) for n, (s, j) in once.items()},
            per_epoch={"train": PartCost(train_s, train_s), "validate": PartCost(val_s, val_s)},
            once_bytes=1.0,
            second_bytes=1.0,
        )
        for variant, once, train_s, val_s in told
    ]
    left = [replace(run, block_attempt=2) for run in made.runs[: 3 * blocks]]
    found = forecast_cost([*made.runs, *left], pasts)
    assert found.parts is not None
    assert sum(part.time_s for part in found.parts.values()) == found.time_s
    own = [part.energy_j for name, part in found.parts.items() if name != "between"]
    assert found.energy_j == pytest.approx(sum(own))
    document = build_plan_document(made, analyse_power(made), found)["cost"]
    assert sum(part["time_s"] for part in document["parts"].values()) == document["time_s"]
    rows = describe_plan_details(made, analyse_power(made), found).split("\n\n")[-1].splitlines()
    for column in (-2, -1):
        cells = [row.split()[column] for row in rows[1:] if row.split()[column] != "–"]
        *shown, total = map(Decimal, cells)
        assert sum(shown) == total


def test_a_run_that_lacks_a_part_counts_it_as_nothing() -> None:
    made = make_plan(experiment(factors={"variant": VARIANTS[:1]}, seeds=(1,), blocks=1))
    with_idle, without = (
        Past(made.runs[0], "measured", once, {"train": PartCost(1.0, 1.0)}, 0.0, 0.0)
        for once in ({"idle": PartCost(10.0, 100.0)}, {})
    )
    found = forecast_cost(made.runs, [with_idle, without])
    assert found.parts is not None
    assert found.parts["idle"] == PartCost(5.0, 50.0)


def test_an_energy_that_is_not_known_is_not_forecast() -> None:
    made = make_plan(experiment(factors={"variant": VARIANTS[:1]}, seeds=(1,), blocks=1))
    past = Past(
        made.runs[0], "measured", {"idle": PartCost(10.0, None)}, {"train": PartCost(1.0, 1.0)},
        0.0, 0.0,
    )  # fmt: skip
    found = forecast_cost(made.runs, [past])
    assert (found.energy_j, found.time_s) == (None, 18.0)
    assert "joules unknown" in describe_plan(made, analyse_power(made), found)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=12))
def test_rounded_numbers_add_up_to_the_rounded_sum(values: list[float]) -> None:
    *parts, total = map(Decimal, round_to_sum(values))
    assert sum(parts) == total
    assert float(total) == pytest.approx(sum(values), rel=0.005, abs=1e-6)
    step = Decimal(1).scaleb(int(total.as_tuple().exponent))
    assert all(abs(Decimal(v) - p) <= step for v, p in zip(values, parts, strict=True))


def test_a_record_of_another_study_that_cannot_be_read_stops_no_forecast(tmp_path: Path) -> None:
    here = {**PROVENANCE, "host_id": host_id()}
    good, bad = (
        make_record(spec=make_spec(study=name), provenance=here) for name in ("good", "bad")
    )
    save(tmp_path, good, bad)
    run_dir(tmp_path, bad).record_path.write_bytes(b"{")
    made = make_plan(experiment())
    known = replace(made.runs[0], dataset_id=good.spec.dataset_id)
    assert len(pasts(replace(made, runs=(known,)), tmp_path)) == 1


def test_costs_without_a_past_run_are_unknown_not_zero(tmp_path: Path) -> None:
    found = forecast_cost(make_plan(experiment()).runs, pasts(make_plan(experiment()), tmp_path))
    assert (found.time_s, found.energy_j, found.disk_bytes) == (None, None, None)


def test_the_program_shows_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('blocks = 8\n[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\n')
    before = sorted(tmp_path.rglob("*"))
    ended = wbcbench("plan", str(file), cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "smallest attainable p .0078, needed .025: ok" in ended.out
    assert "16 runs" in ended.out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_program_writes_a_hashed_plan_when_asked(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "plan.json"
    file.write_text('[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\n')
    ended = wbcbench("plan", str(file), "--out", str(out), "--set", "epochs=1", "--json")
    assert ended.code == 0, ended.err
    made = plans.read_plan(out)
    assert ended.json["plan_sha256"] == made.sha256
    assert {run.epochs for run in made.runs} == {1}
    assert ended.json["cost"]["energy_j"] is None


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("none.toml",), 2, "none.toml cannot be read"),
        (("mine.toml", "--set", "epohcs=2"), 2, "Did you mean 'epochs'"),
        (("mine.toml", "--confirm-over", "much"), 2, "0.5kWh"),
        (("mine.toml", "--confirm-over", "0.5kWh"), 5, "cannot be predicted"),
    ],
)
def test_a_plan_that_cannot_be_made_ends_with_its_code(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('[factors]\nvariant = ["relu-dropout"]\n')
    ended = wbcbench("plan", *words, cwd=tmp_path)
    assert ended.code == code, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_a_plan_above_the_limit_is_refused_off_a_terminal_unless_yes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\n')
    made = plans.read_plan(file)
    save(tmp_path / "results", make_record(spec=made.runs[0]))
    ended = wbcbench("plan", str(file), "--confirm-over", "1kJ", "--out", "p.json", cwd=tmp_path)
    assert ended.code == 4, ended.err
    assert "above the limit of 1.00 kJ" in ended.err
    assert not (tmp_path / "p.json").exists()
    again = wbcbench(
        "plan", str(file), "--confirm-over", "1kJ", "--yes", "--out", "p.json", cwd=tmp_path
    )
    assert again.code == 0
    assert (tmp_path / "p.json").exists()


def test_a_pilot_is_one_epoch_in_a_study_of_its_own_and_is_carried_out_once(
    cells: Path, tmp_path: Path
) -> None:
    made = make_plan(experiment(run={"epochs": 8, "meters": ("simulated",)}))
    launcher = StandIn()
    local = Local(data=str(cells))
    for _ in range(2):
        carry_out_pilot(made, tmp_path, local, lambda _: None, launcher)
    (spec,) = launcher.started
    assert (spec.study, spec.epochs, spec.block) == ("mine-pilot", 1, 0)
    assert forecast_cost(made.runs, pasts(made, tmp_path)).based_on == 1


def test_a_pilot_that_failed_is_no_basis_for_a_forecast(cells: Path, tmp_path: Path) -> None:
    made = make_plan(experiment(run={"meters": ("simulated",)}))
    launcher = StandIn(lambda _: "failed")
    with pytest.raises(RunsFailedError):
        carry_out_pilot(made, tmp_path, Local(data=str(cells)), lambda _: None, launcher)
    assert forecast_cost(made.runs, pasts(made, tmp_path)).time_s is None


def test_a_plan_that_comes_back_has_the_date_it_had(tmp_path: Path) -> None:
    first, second = make_plan(experiment()), make_plan(experiment(order_seed=1))
    path = tmp_path / "plan.json"
    path.write_bytes(plans.to_json(first, "2026-01-01T00:00:00Z"))
    plans.keep_plan(second, tmp_path)
    plans.keep_plan(first, tmp_path)
    assert json.loads(path.read_text())["stored_utc"] == "2026-01-01T00:00:00Z"


def test_a_plan_without_a_date_gets_one_when_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(plans.to_json(make_plan(experiment())))
    assert plans.keep_plan(make_plan(experiment()), tmp_path) is None
    assert json.loads(path.read_text())["stored_utc"].endswith("Z")


def test_a_factor_that_makes_no_configuration_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\ncooldown_c = [40, 50]')
    with pytest.raises(UsageError, match="cooldown_c' makes no other configuration"):
        plans.read_plan(file)


def test_a_plan_says_how_often_each_variant_stands_where(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[factors]\nvariant = {list(VARIANTS)}\n")
    shown = wbcbench("plan", str(file), "--all").out
    assert "Williams squares: each variant 2 times at each place and 2 times right" in shown
    (row,) = (line for line in shown.splitlines() if line.startswith("A leaky-batchnorm"))
    assert row.split()[2:] == ["2"] * 4 + ["–", "2", "2", "2"]
    many = file.with_name("many.toml")
    many.write_text(
        '[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\nepochs = [1,2,3,4,5]\n'
    )
    assert "each configuration 1 time at each place" in " ".join(
        wbcbench("plan", str(many)).out.split()
    )
