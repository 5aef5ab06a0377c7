"""``wbcbench claims``: definitions read strictly, evidence worked out by hand, three results."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path

import pytest
import typer
from scipy.stats import beta, t
from typer.testing import CliRunner

from builders.run import changed, make_record, save
from builders.study import draw
from builders.timeline import make_epochs
from program import wbcbench
from wbcbench.commands.claims import claims
from wbcbench.compare.claims import find_file, read_claims
from wbcbench.compare.measures import MEASURES
from wbcbench.core.errors import UsageError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import study_runs
from wbcbench.core.window import TRAIN

app = typer.Typer()
app.command()(claims)

PUBLISHED = Path(__file__).resolve().parents[2] / "experiments" / "claims.toml"
CHECK = """
[[claim]]
id = "X"
text = "Something."
[[claim.check]]
says = "so"
"""


def judged(results, *words):
    return json.loads(said(results, "--json", *words))


def said(results, *words):
    words = ("study", "--results", str(results), *words)
    if "--claims" not in words:
        words = (*words, "--claims", str(PUBLISHED))
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def of(found, name):
    return next(claim for claim in found["claims"] if claim["id"] == name)


def evidence(found):
    names = ("n", "estimate", "ci_low", "ci_high", "result")
    return [[check[name] for name in names] for c in found["claims"] for check in c["checks"]]


def learning(record: RunRecord, values: tuple[float, ...], train: float) -> RunRecord:
    """The run with this validation curve; training accuracy rises to ``train``."""
    epochs = tuple(
        replace(epoch, accuracy=train if i == len(values) - 1 else train * (i + 1) / len(values))
        for i, epoch in enumerate(make_epochs(values))
    )
    spec = replace(record.spec, epochs=len(values))
    return replace(record, epochs=epochs, spec=spec, run_id=spec.run_id)


def lasting(record: RunRecord, time_s: float) -> RunRecord:
    """The run whose window ``train`` is as long."""
    windows = tuple(
        replace(w, end_s=w.start_s + time_s) if w.name == TRAIN else w for w in record.windows
    )
    return replace(record, windows=windows)


def smooth(n: int, top: float, wobble: float = 0.0) -> tuple[float, ...]:
    """Rises evenly to ``top`` in half of the epochs, then moves up and down by ``wobble``."""
    half = n // 2
    rise = [top * (i + 1) / half for i in range(half)]
    return (*rise, *(top - wobble * (i % 2) for i in range(n - half)))


def study(results, *, stuck=(), epochs=10, wobble=(0.002, 0.05), blocks=6):
    """Batch normalisation wobbles and overfits; ReLU runs of the blocks ``stuck`` learn nothing."""
    records = []
    for record in draw(blocks):
        variant, block = record.spec.variant, record.spec.block
        normalised = "batchnorm" in variant
        if variant.startswith("relu") and block in stuck:
            records.append(learning(record, (0.25,) * epochs, 0.25))
        else:
            curve = smooth(epochs, 0.8 + 0.001 * block, wobble[normalised] + 0.0003 * block)
            train = (0.97 if normalised else 0.9) + 0.001 * block
            records.append(learning(record, curve, train))
    save(results, *records)
    return results


def test_the_shipped_claims_are_read_and_are_the_six_of_the_report():
    assert [claim.id for claim in read_claims(PUBLISHED)] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    assert read_claims(find_file(None, Path())) == read_claims(PUBLISHED)


def test_away_from_a_checkout_the_shipped_claims_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_claims(find_file(None, Path())) == read_claims(PUBLISHED)


def test_relu_that_gets_stuck_often_supports_the_first_claim(tmp_path):
    claim = of(judged(study(tmp_path, stuck=(1, 2, 3, 4))), "C1")
    often, leaky, better = claim["checks"]
    assert (often["n"], often["estimate"]) == (6, pytest.approx(4 / 6))
    assert often["ci_low"] > 0.2
    assert (leaky["estimate"], leaky["decides"]) == (0.0, False)
    assert better["estimate"] > 0
    assert claim["result"] == "supported"


def test_the_same_networks_trained_again_are_no_more_evidence(tmp_path):
    once = evidence(judged(study(tmp_path, stuck=(1, 2, 3, 4))))
    for run in study_runs(tmp_path, "study"):
        record = run.read_record()
        spec = replace(record.spec, block=record.spec.block + 6)
        save(tmp_path, replace(record, spec=spec, run_id=spec.run_id))
    assert evidence(judged(tmp_path)) == once


def test_a_seed_with_one_stuck_run_of_two_counts_half_in_a_share(tmp_path):
    half = [
        learning(record, (0.25,) * 10, 0.25 if record.spec.variant == "relu-dropout" else 0.9)
        for record in draw(6)
    ]
    save(tmp_path, *half)
    often = of(judged(tmp_path), "C1")["checks"][0]
    wanted = [beta.ppf(0.025, 3, 4), beta.ppf(0.975, 4, 3)]
    assert (often["n"], often["estimate"]) == (6, 0.5)
    assert [often["ci_low"], often["ci_high"]] == pytest.approx(wanted)


def test_relu_that_never_gets_stuck_does_not_support_it(tmp_path):
    claim = of(judged(study(tmp_path, blocks=20)), "C1")
    assert claim["checks"][0]["result"] == "not supported"
    assert claim["result"] == "not supported"


def test_batch_normalisation_that_wobbles_and_overfits_supports_both_halves(tmp_path):
    found = judged(study(tmp_path))
    faster, overfits, oscillates = of(found, "C2")["checks"]
    assert overfits["result"] == oscillates["result"] == "supported"
    assert faster["result"] == "not supported"  # both rise at the same pace here
    assert of(found, "C2")["result"] == "not supported"
    assert of(found, "C3")["result"] == "supported"


def test_short_runs_say_nothing_of_claims_about_long_ones(tmp_path):
    found = judged(study(tmp_path))
    assert of(found, "C4")["result"] == "inconclusive"
    assert of(found, "C4")["why"] == "needs runs of 20 epochs; the shortest here has 10"
    assert of(found, "C4")["checks"][0]["estimate"] is not None


def test_accuracies_on_test_stand_beside_the_interval_over_photographs(tmp_path):
    found = of(judged(study(tmp_path, epochs=20)), "C4")
    train, test, leakage_free = found["checks"]
    assert train["result"] == "supported"
    low, high = test["over_photographs"]
    assert (low, high) == (
        pytest.approx(test["estimate"] - 0.1),
        pytest.approx(test["estimate"] + 0.1),
    )
    assert leakage_free["decides"] is False


def test_another_gpu_says_nothing_of_a_claim_about_a_k80(tmp_path):
    claim = of(judged(study(tmp_path, epochs=20)), "C6")
    assert claim["why"] == "needs a K80; these runs used Example GPU"
    assert [check["decides"] for check in claim["checks"]] == [False]


def test_seconds_are_averaged_as_logarithms_so_that_no_interval_falls_below_zero(tmp_path):
    records = draw(3, variants=["leaky-dropout"])
    times_s = (60.0, 600.0, 6000.0)
    save(tmp_path, *(lasting(r, time_s) for r, time_s in zip(records, times_s, strict=True)))
    lasted = of(judged(tmp_path), "C6")["checks"][0]
    half = t.ppf(0.975, 2) * log(10) / sqrt(3)
    assert lasted["estimate"] == pytest.approx(600)
    assert lasted["ci_low"] == pytest.approx(600 * exp(-half))
    assert lasted["ci_high"] == pytest.approx(600 * exp(half))


def test_a_difference_in_seconds_is_stated_in_per_cent(tmp_path):
    pair = ("leaky-batchnorm", "leaky-dropout")
    save(
        tmp_path,
        *(
            lasting(r, 100.0 * (1 + r.spec.block / 1000) * (1.1 if "norm" in r.spec.variant else 1))
            for r in draw(8, variants=pair)
        ),
    )
    text = f"{CHECK}kind = 'difference'\nmeasure = 'train_time_s'\nfactor = 'regulariser'\n"
    path = tmp_path / "mine.toml"
    path.write_text(
        f"{text}upper = 'batchnorm'\nlower = 'dropout'\nexpect = 'above'\nlimit = 5\n",
        encoding="utf-8",
    )
    found = of(judged(tmp_path, "--claims", str(path)), "X")
    assert found["checks"][0]["estimate"] == pytest.approx(10)
    assert found["result"] == "supported"
    assert "10 % [10, 10] over 8 seeds" in said(tmp_path, "--claims", str(path))


@pytest.mark.parametrize(("blocks", "wanted"), [(5, "inconclusive"), (6, "not supported")])
def test_seeds_that_all_give_the_same_decide_only_where_their_signs_would(tmp_path, blocks, wanted):
    faster = of(judged(study(tmp_path, blocks=blocks)), "C2")["checks"][0]
    assert (faster["estimate"], faster["result"]) == (0.0, wanted)


def test_synthetic_images_say_nothing_of_real_ones(tmp_path):
    drawn = replace(make_record().dataset, synthetic=True)
    save(tmp_path, *changed(draw(3), lambda _: True, dataset=drawn))
    found = judged(tmp_path)
    assert {claim["result"] for claim in found["claims"]} == {"inconclusive"}
    assert "synthetic" in of(found, "C1")["why"]


def test_two_blocks_give_an_estimate_and_no_result(tmp_path):
    claim = of(judged(study(tmp_path, blocks=2)), "C3")
    assert claim["result"] == "inconclusive"
    assert claim["checks"][0]["ci_low"] is None
    assert "an interval needs 3" in said(tmp_path)


def test_a_difference_needs_both_levels_with_the_same_other_settings(tmp_path):
    save(tmp_path, *draw(4, variants=["relu-dropout", "leaky-batchnorm"]))
    checks = of(judged(tmp_path), "C1")["checks"]
    assert checks[2]["estimate"] is None
    assert "same other settings" in checks[2]["why"]


def test_failed_runs_are_no_evidence(tmp_path):
    save(tmp_path, *changed(draw(2), lambda _: True, status="failed"))
    assert {claim["why"] for claim in judged(tmp_path)["claims"]} == {"no run is done"}


@pytest.mark.parametrize(
    ("values", "name", "at", "wanted"),
    [
        ((0.5, 0.7, 0.8), "epochs_below", 0.75, 2.0),
        ((0.5, 0.7, 0.7), "epochs_below", 0.75, 3.0),
        ((0.2, 0.6, 0.5, 0.7), "validation_movement", 0.5, 0.2),
        ((0.2, 0.79, 0.8, 0.7), "epochs_until_near_best", 0.02, 2.0),
        ((None, None), "epochs_below", 0.75, None),
        ((None, None), "epochs_until_near_best", 0.02, None),
        ((0.5,), "validation_movement", 1.0, None),
        ((), "final_train_accuracy", 0.0, None),
        ((), "stuck", 1.2, None),
        ((), "generalisation_gap", 0.5, None),
    ],
)
def test_a_measure_of_a_run_is_what_its_curve_says(values, name, at, wanted):
    found = MEASURES[name].read(make_record(epochs=make_epochs(values)), at)
    assert found == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[claim", "is not a file of claims"),
        ("", r"contains no \[\[claim\]\]"),
        (f"{CHECK}kind = 'region'\nmeasure = 'stuck'", "lacks low, high, at"),
        (f"{CHECK}kind = 'region'\nmeasure = 'stuk'\nlow = 0\nhigh = 1", "Did you mean 'stuck'"),
        (f"{CHECK}kind = 'share'\nmeasure = 'stuck'\nlimt = 1", "limt"),
        (f"{CHECK}kind = 'share'\nmeasure = 'train_time_s'", "Use kind = 'region'"),
        (f"{CHECK}kind = 'guess'\nmeasure = 'stuck'", "kind"),
    ],
)
def test_a_file_of_claims_is_read_strictly(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_claims(path)


def test_a_missing_file_of_claims_names_the_option(tmp_path):
    with pytest.raises(UsageError, match="--claims"):
        read_claims(tmp_path / "none.toml")


def test_the_program_prints_claim_evidence_and_result_and_exits_0(tmp_path):
    ended = wbcbench(
        "claims", "study", "--results", str(study(tmp_path)), "--claims", str(PUBLISHED)
    )
    assert ended.code == 0
    assert "C3  SUPPORTED" in ended.out
    assert "over 6 seeds; claimed within 0 … 0.02: supported" in " ".join(ended.out.split())


def test_the_measures_are_listed(tmp_path):
    text = said(tmp_path, "--measures")
    assert all(name in text for name in MEASURES)
