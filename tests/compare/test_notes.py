"""Sentences under a comparison: why numbers that seem to disagree do not; unequal spreads."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from builders.study import runs_with
from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import Settings
from wbcbench.compare.notes import iterate_notes
from wbcbench.compare.render import as_latex, as_markdown, as_text
from wbcbench.compare.result import ContrastResult, build_comparison_document

ENERGY = "energy_gpu_train_j"
VARIANTS = ("relu-dropout", "relu-batchnorm", "leaky-dropout")
SEEDS = np.arange(8) / 100

CLEAR = (0.10, 0.11, 0.12, 0.10, 0.09, 0.11, 0.12, 0.10)
ONE_AGAINST = (0.10, 0.11, 0.12, 0.10, 0.09, 0.11, 0.12, -0.01)
ONE_FAR = (0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 3.0)
THREE_AGAINST = (0.10, 0.11, 0.12, 0.10, 0.09, -0.01, -0.02, -0.03)
SMALL = (0.005, 0.006, 0.004, 0.005, 0.005, 0.006, 0.004, 0.005)
PATTERN = np.array((-1, 1, -1, 1, -1, 1, -0.6, 0.6))
BEYOND_THE_REGION = tuple(0.005 + 0.0205 * PATTERN)
WITHIN_THE_REGION = tuple(0.005 + 0.0179 * PATTERN)
NOISE = (0.2, -0.3, 0.25, -0.2, 0.3, -0.15, 0.1, -0.2)


def compared(*differences, metrics=(ENERGY,)):
    """Variants that differ from the first by so much on the logarithm of joules, seed by seed."""
    shape = (len(differences[0]), len(differences) + 1)
    log_j = np.zeros(shape) + SEEDS[: shape[0], None]
    log_j[:, 1:] += np.transpose(differences)
    cells = {ENERGY: 40_000 * np.exp(log_j), "balanced_accuracy": 0.8 + 0.2 * log_j}
    return compare(runs_with(VARIANTS[: shape[1]], **cells), Settings(metrics=metrics), ["study"])


def sentences(comparison):
    return [note for note in comparison.notes if "although" in note]


def primary(comparison):
    return [effect for effect in comparison.effects if effect.family == "primary"]


def test_an_interval_beside_zero_that_so_few_seeds_cannot_confirm_is_explained():
    comparison = compared(CLEAR[:5])
    (note,) = sentences(comparison)
    assert primary(comparison)[0].result == "inconclusive"
    assert note.startswith(
        "relu-batchnorm vs relu-dropout on energy_gpu_train_j (+11.0 % [+9.4, +12.5], p = 0.062, "
        "corrected 0.062): inconclusive although the interval excludes zero"
    )
    assert "5 seeds allow no p below 0.062 before Holm's correction for 1 test" in note


def test_an_interval_beside_zero_that_the_correction_outweighs_is_explained():
    comparison = compared(ONE_AGAINST, NOISE, metrics=(ENERGY, "balanced_accuracy"))
    notes = sentences(comparison)
    assert len(notes) == 1  # of two metrics
    assert "p = 0.016, corrected 0.062" in notes[0]
    assert "Holm's correction counts 4 tests; a single test would have shown" in notes[0]
    assert "leaky-dropout" not in notes[0]


def test_an_interval_beside_zero_that_one_seed_speaks_against_is_explained():
    comparison = compared((0.10, 0.11, 0.12, 0.10, 0.09, -0.01))
    (note,) = sentences(comparison)
    assert "p = 0.062" in note
    assert "not every seed goes the same way: the exact test counts patterns of signs" in note


def test_a_low_p_beside_an_interval_around_zero_is_explained():
    comparison = compared(ONE_FAR)
    (effect,) = primary(comparison)
    assert effect.p_holm <= 0.05 and not effect.interval.excludes(0.0)
    (note,) = sentences(comparison)
    assert "not called different although the corrected p is at most 5 %" in note
    assert "by so different amounts" in note


def test_equivalent_beside_an_interval_that_excludes_zero_is_explained():
    comparison = compared(SMALL)
    (note,) = sentences(comparison)
    assert primary(comparison)[0].result == "equivalent"
    assert "equivalent although the interval excludes zero" in note
    assert "a difference too small to matter, not none" in note


def test_equivalent_beside_an_interval_that_leaves_the_region_is_explained():
    comparison = compared(BEYOND_THE_REGION)
    (effect,) = primary(comparison)
    assert effect.result == "equivalent" and effect.interval.high > 2
    (note,) = sentences(comparison)
    assert "two one-sided tests at 5 % look at the 90 % interval, which lies within" in note


def test_an_interval_within_the_region_that_is_not_called_equivalent_is_explained():
    comparison = compared(WITHIN_THE_REGION, NOISE, metrics=(ENERGY, "balanced_accuracy"))
    effect = primary(comparison)[0]
    assert effect.p_equivalence <= 0.05 < effect.p_equivalence_holm
    (note,) = (note for note in sentences(comparison) if "not called equivalent" in note)
    assert "p of equivalence = 0.024, corrected 0.0" in note
    assert "because the corrected p of equivalence is above 5 %" in note


def test_what_agrees_is_not_explained():
    assert sentences(compared(CLEAR)) == []
    assert sentences(compared(NOISE)) == []


def test_secondary_contrasts_are_not_explained():
    comparison = compared(CLEAR[:5])
    secondary = replace(comparison.effects[0], result=ContrastResult.NOT_TESTED)
    notes = list(iterate_notes(replace(comparison, effects=(secondary,)), None, (), ()))
    assert not any("although" in note for note in notes)


def test_each_kind_is_one_sentence_however_many_contrasts_it_concerns():
    comparison = compared(THREE_AGAINST, SMALL, metrics=(ENERGY, "balanced_accuracy"))
    found = sentences(comparison)
    kinds = [note.rpartition("): ")[2] for note in found]
    assert len(set(kinds)) == len(kinds) == 2
    (effect,) = (e for e in primary(comparison) if e.result == "inconclusive" and e.metric.part)
    many = replace(comparison, effects=(effect,) * 7)
    (note,) = (note for note in iterate_notes(many, None, (), ()) if "although" in note)
    assert note.count("energy_gpu_train_j") == 3
    assert re.search(r"\) and 4 more: inconclusive although", note)


@pytest.mark.parametrize("render", [as_text, as_markdown, as_latex])
def test_every_form_has_the_sentences(render, monkeypatch):
    monkeypatch.setenv("COLUMNS", "999")  # so that none is broken
    comparison = compared(SMALL)
    assert sentences(comparison)[0] in render(comparison).replace("\\", "")
    assert sentences(comparison)[0] in build_comparison_document(comparison)["notes"]


# -- unequal spreads -----------------------------------------------------------------------------


def spread(widest, seeds=12):
    """Three variants, the last of which scatters ``widest`` times as much."""
    rng = np.random.default_rng(4)
    log_j = 0.05 * rng.standard_normal((seeds, 1)) + 0.02 * rng.standard_normal((seeds, 3)) * (
        1, 1, widest
    )  # fmt: skip
    runs = runs_with(VARIANTS, **{ENERGY: 40_000 * np.exp(log_j)})
    return compare(runs, Settings(metrics=(ENERGY,)), ["study"]).notes


def test_a_variant_that_scatters_far_more_is_named_with_the_factor():
    (note,) = (note for note in spread(20) if "Unequal spreads" in note)
    factor = re.search(r"energy_gpu_train_j of leaky-dropout scatters about ([\d.]+) times", note)
    assert factor and 3 < float(factor[1]) < 100
    assert re.search(r"as that of relu-(dropout|batchnorm)\.", note)
    assert '"different" and "supported" are weaker there than they read' in note


def test_equal_spreads_are_not_remarked_on():
    assert not any("Unequal" in note for note in spread(1))
