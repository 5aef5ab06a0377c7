"""``[claims]`` of an experiment file: refused before the first run or tested with its blocks."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import typer
from statsmodels.stats.multitest import multipletests
from typer.testing import CliRunner

from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.run import changed, save
from builders.study import VARIANTS, Truth, draw, store_plan
from program import wbcbench
from wbcbench.commands.compare import compare
from wbcbench.compare.metric import PlannedClaim
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import RunRecord
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.claims import build_claims
from wbcbench.study import plan
from wbcbench.study.experiment import Experiment, PlannedAnalysis, json_schema, read_experiment
from wbcbench.table.view import Run

app = typer.Typer()
app.command()(compare)

NORM, DROPOUT = "leaky-batchnorm", "leaky-dropout"
ENERGY, ACCURACY = "energy_gpu_train_j", "balanced_accuracy"
LESS = PlannedClaim(ENERGY, (NORM, DROPOUT), direction="lower", margin=5.0, text="It saves.")
SAME = PlannedClaim(ACCURACY, (NORM, DROPOUT), within=2.0)
MORE = PlannedClaim(ENERGY, ("relu-dropout", "relu-batchnorm"), direction="higher")
FILE = """
[factors]
variant = ["relu-dropout", "leaky-dropout", "leaky-batchnorm"]
[claims.mine]
metric = "primary_energy_train_j"
variants = ["leaky-batchnorm", "leaky-dropout"]
direction = "lower"
"""


def experiment(
    claims: dict[str, PlannedClaim], variants: tuple[str, ...] = VARIANTS, **analysis: object
) -> Experiment:
    return Experiment(
        study="study",
        factors={"variant": variants},
        seeds=tuple(range(1001, 1009)),
        blocks=8,
        claims=claims,
        analysis=PlannedAnalysis(**analysis),  # type: ignore[arg-type]
    )


def planned(
    results: Path, claims: dict[str, PlannedClaim], records: list[RunRecord], **analysis: object
) -> Path:
    """A study on disk with these claims in its plan."""
    save(results, *records)
    store_plan(plan.make_plan(experiment(claims, **analysis)), results / "study")
    return results


def compared(results: Path, *words: str) -> dict[str, dict[str, object]]:
    """The claims of `compare --json` by name."""
    ended = CliRunner().invoke(app, ["study", "--results", str(results), "--json", *words])
    assert ended.exit_code == 0, ended.output
    return {claim["name"]: claim for claim in json.loads(ended.stdout)["claims"]}


def differences(records: list[RunRecord], claim: PlannedClaim) -> np.ndarray:
    """Within blocks, worked out from the table alone: log ratios, or shares."""
    cells: dict[str, list[float]] = {label: [] for label in claim.variants}
    for record in records:
        if record.spec.variant in cells:
            cells[record.spec.variant].append(Run(record).row[claim.metric])
    first, second = (np.array(cells[label]) for label in claim.variants)
    return np.log(first / second) if claim.metric == ENERGY else first - second


# -- tested ---------------------------------------------------------------------------------------


def test_claims_are_decided_by_t_tests_worked_out_independently(tmp_path):
    records = draw(8)
    claims = {"less": LESS, "same": SAME, "more": MORE}
    found = compared(planned(tmp_path, claims, records))

    def p_of(claim, edge, alternative):
        test = scipy.stats.ttest_1samp(differences(records, claim), edge, alternative=alternative)
        return 2 * test.pvalue

    wanted = {
        "less": p_of(LESS, math.log1p(-0.05), "less"),
        "same": max(p_of(SAME, -0.02, "greater"), p_of(SAME, 0.02, "less")),
        "more": p_of(MORE, 0.0, "greater"),
    }
    corrected = multipletests(list(wanted.values()), method="holm")[1]
    assert [found[name]["p"] for name in wanted] == pytest.approx(list(wanted.values()))
    assert [found[name]["p_holm"] for name in wanted] == pytest.approx(list(corrected))
    bounds = scipy.stats.ttest_1samp(differences(records, LESS), 0).confidence_interval(0.95)
    assert found["less"]["ci_low"] == pytest.approx(100 * math.expm1(bounds.low))
    assert found["less"]["ci_high"] == pytest.approx(100 * math.expm1(bounds.high))
    assert [found[name]["result"] for name in wanted] == ["supported"] * 3
    assert (found["less"]["rope_low"], found["less"]["rope_high"]) == (None, -5.0)


def test_a_claim_beyond_what_is_so_is_not_supported(tmp_path):
    bold = replace(LESS, margin=10.0)  # the truth is 7.7 %
    found = compared(planned(tmp_path, {"bold": bold}, draw(8)))["bold"]
    assert (found["result"], found["why"]) == (
        "not supported",
        "the interval lies outside the claimed range",
    )


def test_a_claim_on_its_border_is_inconclusive(tmp_path):
    close = replace(LESS, margin=7.7)
    assert compared(planned(tmp_path, {"close": close}, draw(8)))["close"]["result"] == (
        "inconclusive"
    )


def test_several_claims_are_corrected_together_and_say_so(tmp_path):
    """The interval of the first lies in its range, which three more make too little."""
    noisy = Truth({NORM: -0.012}, {}, noise_j=0.008)
    records = draw(8, noisy, seed=4)
    small = PlannedClaim(ENERGY, (NORM, DROPOUT), direction="lower")
    p = 2 * scipy.stats.ttest_1samp(differences(records, small), 0, alternative="less").pvalue
    assert 0.05 / 4 < p < 0.05
    alone = compared(planned(tmp_path / "one", {"small": small}, records))["small"]
    assert alone["result"] == "supported"
    others = {
        f"other-{i}": PlannedClaim(metric, (NORM, DROPOUT), direction="higher")
        for i, metric in enumerate((ACCURACY, "macro_f1", "accuracy"))
    }
    found = compared(planned(tmp_path / "four", {"small": small, **others}, records))["small"]
    assert (found["p"], found["p_holm"]) == (pytest.approx(p), pytest.approx(4 * p))
    assert (found["result"], found["why"]) == (
        "inconclusive",
        "the interval lies in the claimed range, but p corrected for 4 claims is above 0.05",
    )


@pytest.mark.parametrize(
    ("blocks", "why"),
    [(0, "no complete block"), (2, "2 complete blocks; an interval needs 3")],
)
def test_too_few_blocks_leave_a_claim_open(tmp_path, blocks, why):
    records = draw(max(blocks, 1))
    kept = records if blocks else changed(records, lambda _: True, status="failed")
    found = compared(planned(tmp_path, {"same": SAME}, kept))["same"]
    assert (found["result"], found["why"], found["p"]) == ("inconclusive", why, None)


def test_joules_that_the_plan_does_not_accept_leave_a_claim_open(tmp_path):
    less = replace(LESS, metric="primary_energy_train_j")
    found = compared(planned(tmp_path, {"less": less}, draw(8, channels=LAPTOP)))["less"]
    assert (found["result"], found["why"], found["estimate"]) == (
        "inconclusive",
        "the joules are estimated, not measured",
        None,
    )


def test_estimated_joules_that_the_plan_accepts_are_named_so(tmp_path):
    less = replace(LESS, metric="primary_energy_train_j")
    planned(tmp_path, {"less": less}, draw(8, channels=LAPTOP), lowest_status="estimated")
    found = compared(tmp_path)["less"]
    assert (found["result"], found["energy_status"]) == ("supported", "estimated")
    ended = wbcbench("claims", "study", "--results", str(tmp_path))
    assert "estimated, not measured, so no saving or cost is shown" in " ".join(ended.out.split())


def test_an_option_that_departs_from_the_plan_leaves_its_claims_open(tmp_path):
    planned(tmp_path, {"same": SAME}, draw(8))
    assert compared(tmp_path)["same"]["result"] == "supported"
    departed = compared(tmp_path, "--metric", "accuracy")["same"]
    assert (departed["result"], departed["why"]) == (
        "inconclusive",
        "this is not what the plan tests",
    )


def test_synthetic_data_are_no_result_about_cells(tmp_path):
    records = draw(8, channels=SYNTHETIC_CHANNELS)
    planned(tmp_path, {"same": SAME}, records, lowest_status="simulated")
    assert "synthetic data: no result about real cells" in compared(tmp_path)["same"]["why"]


def test_a_configuration_that_did_not_run_leaves_a_claim_open(tmp_path):
    records = draw(8, variants=("relu-dropout", DROPOUT))
    found = compared(planned(tmp_path, {"same": SAME}, records))["same"]
    assert found["why"] == f"{NORM} is not among the configurations compared"


def test_networks_of_one_class_leave_a_claim_about_accuracy_open(tmp_path):
    mark = QualityWarning("one-class-predicted", Severity.SUSPECT, "x", "y")
    records = changed(draw(8), lambda r: r.spec.variant == NORM, warnings=(mark,))
    found = compared(planned(tmp_path, {"same": SAME, "less": LESS}, records))
    assert found["same"]["why"].startswith(f"No result: the accuracy of {NORM}")
    assert found["less"]["result"] == "supported"


def test_blocks_that_all_differ_by_the_same_amount_decide_from_six_on(tmp_path):
    exact = Truth({NORM: -0.2}, {}, noise_j=0.0)

    def complete(blocks: int) -> list[RunRecord]:
        return changed(draw(8, exact), lambda r: r.spec.block > blocks, status="failed")

    few = compared(planned(tmp_path / "few", {"less": LESS}, complete(5)))["less"]
    assert (few["result"], few["p"]) == ("inconclusive", None)
    many = compared(planned(tmp_path / "many", {"less": LESS}, complete(6)))["less"]
    assert (many["result"], many["p"]) == ("supported", 2 / 2**6)


# -- the same words everywhere --------------------------------------------------------------------


def test_the_words_of_a_claim_are_no_markup(tmp_path):
    claim = replace(LESS, text="[so](http://x) <img src=x>")
    results = planned(tmp_path, {"less": claim}, draw(8))
    shown = wbcbench("compare", "study", "--results", str(results), "--format", "github").out
    assert r"\[so](http://x) \<img src=x>" in shown


def test_every_way_to_show_a_claim_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "999")  # so that no sentence is broken
    results = planned(tmp_path / "results", {"less": LESS}, draw(8))
    here = ("study", "--results", str(results))
    shown = wbcbench("claims", *here).out
    sentence = next(line for line in shown.splitlines() if line.startswith("Claim less"))
    assert sentence.startswith(
        "Claim less is supported, because the interval lies in the claimed range. Tested: "
        f"{ENERGY} of {NORM} is at least 5 % below that of {DROPOUT}; found -7."
    )
    assert shown.index("Claim less") < shown.index("C1  ")
    assert sentence in wbcbench("compare", *here).out
    assert sentence in wbcbench("compare", *here, "--format", "github").out.replace("\\", "")
    document = json.loads(wbcbench("claims", *here, "--json").out)
    (own,) = document["planned"]
    assert own == compared(results)["less"]
    out = tmp_path / "reports"
    report = ("report", *here, "--out", str(out), "--format", "html,md,csv")
    assert wbcbench(*report).code == 0
    text = (out / "study" / "report.md").read_text(encoding="utf-8").replace("\\", "")
    row = next(line for line in text.splitlines() if line.startswith("| ") and "It saves." in line)
    tested = f"{ENERGY} of {NORM} is at least 5 % below that of {DROPOUT}"
    assert f"It saves. | {tested} | -7." in row
    assert row.endswith(" | supported |")
    table = (out / "study" / "contrasts.csv").read_text(encoding="utf-8")
    (row,) = [r for r in csv.DictReader(io.StringIO(table)) if r["family"] == "claim"]
    assert (row["contrast"], row["against"], row["result"]) == (NORM, DROPOUT, "supported")
    assert (row["rope_low"], row["rope_high"]) == ("", "-5.0")


def test_where_nothing_can_be_compared_claims_are_open_and_the_published_are_shown(tmp_path):
    records = draw(8)
    other = changed(
        records,
        lambda r: r.spec.block > 4,
        provenance={**records[0].provenance, "cpu_model": "Another CPU"},
    )
    ended = wbcbench("claims", "study", "--results", str(planned(tmp_path, {"a": SAME}, other)))
    sentence = "Claim a is inconclusive, because not comparable: cpu_model differs"
    assert sentence in ended.out
    assert "C1  " in ended.out
    section = build_claims(read_report_study(tmp_path, "study"))
    assert section is not None
    assert not section.statements
    assert str(section.parts[0]).startswith(sentence)


# -- before the first run -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("direction = 'lower'", "", "key 'claims.mine' needs either direction"),
        ("direction = 'lower'", "direction = 'lower'\nwithin = 1", "needs either direction"),
        ("direction = 'lower'", "within = 1\nmargin = 2", "'claims.mine.margin' goes with"),
        ("direction = 'lower'", "direction = 'less'", "key 'claims.mine.direction'"),
        ("direction = 'lower'", 'within = 1\ntext = "a\\nb"', "key 'claims.mine.text'"),
        ("direction = 'lower'", "direction = 'lower'\nmargin = 100", "differs by 100 % or more"),
        ("direction = 'lower'", "direction = 'lower'\nmargn = 1", "Did you mean 'margin'?"),
        ("primary_energy_train_j", "primary_energy_j", "'claims.mine.metric': There is no metric"),
        ("primary_energy_train_j", "best_epoch", "have no unit of their own"),
        ("primary_energy_train_j", "energy_to_target_j", "cannot be averaged"),
        ("'leaky-batchnorm', ", "'leaky-batchnrm', ", "Did you mean 'leaky-batchnorm'?"),
        ("'leaky-batchnorm', ", "'leaky-dropout', ", "name two different"),
        ("'leaky-batchnorm', ", "", "key 'claims.mine.variants"),
        ("[claims.mine]", "[claims.'my own']", "claims.my own"),
        ("metric =", "metrik =", "key 'claims.mine.metric' is missing"),
    ],
)
def test_what_is_wrong_with_a_claim_is_named_by_file_and_key(tmp_path, old, new, says):
    path = tmp_path / "mine.toml"
    text = FILE.replace('"', "'")
    # The factors name the variants, too.
    before, claim = text.split("[claims", 1)
    path.write_text(before + f"[claims{claim}".replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(says)) as error:
        plan.read_plan(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_wrong_claim_ends_plan_with_exit_code_2(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE.replace("lower", "less"), encoding="utf-8")
    assert wbcbench("plan", str(path)).code == 2


def test_two_claims_of_one_pair_and_metric_are_one_too_many(tmp_path):
    path = tmp_path / "mine.toml"
    second = FILE.partition("[claims.mine]")[2].replace("lower", "higher")
    path.write_text(f"{FILE}[claims.again]{second}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"same variants and metric as 'claims\.mine'"):
        plan.read_plan(path)


def test_claims_are_part_of_the_plan_and_of_its_digest(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE, encoding="utf-8")
    made = plan.read_plan(path)
    assert made.claims == read_experiment(path).claims
    without = replace(made, claims={})
    assert made.sha256 != without.sha256
    kept = tmp_path / "plan.json"
    kept.write_bytes(plan.to_json(made))
    assert plan.from_json(kept) == made
    shown = " ".join(wbcbench("plan", str(path)).out.split())
    assert "mine: primary_energy_train_j of leaky-batchnorm is below" in shown


def test_a_plan_from_before_there_were_claims_keeps_its_digest(tmp_path):
    made = plan.make_plan(experiment({}))
    document = json.loads(plan.to_json(made))
    del document["plan"]["claims"]
    kept = tmp_path / "plan.json"
    kept.write_text(json.dumps(document), encoding="utf-8")
    assert plan.from_json(kept) == made


def test_the_schema_of_the_file_knows_claims():
    claim = json_schema()["$defs"]["PlannedClaim"]
    assert set(claim["required"]) == {"metric", "variants"}
    assert claim["additionalProperties"] is False


def test_an_exploratory_plan_states_no_claims(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\n'
        '[claims.cheaper]\nmetric = "time_train_s"\nvariants = ["relu-dropout", "leaky-dropout"]\n'
        'direction = "lower"\n'
    )
    assert plan.read_plan(file).claims
    with pytest.raises(UsageError, match="an exploratory plan tests nothing"):
        plan.read_plan(file, exploratory=True)
