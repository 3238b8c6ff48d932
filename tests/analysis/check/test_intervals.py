"""Intervals over seeds, prompts and samples: coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recalltrap_analysis.check.intervals import resampled, two_way


def test_one_factor_is_student_s_t() -> None:
    values_N = np.random.default_rng(1).normal(size=12)
    low, high = stats.t.interval(0.9, 11, values_N.mean(), stats.sem(values_N))
    for shaped, weight_K in (
        (values_N[:, None], np.ones(1)),
        (values_N[None, :], np.full(12, 1 / 12)),
    ):
        spread = two_way(shaped, np.zeros_like(shaped), weight_K)
        assert spread.bounds(0.05) == pytest.approx((low, high))
    assert two_way(values_N[:, None], np.zeros((12, 1)), np.ones(1)).factors.startswith(
        "over seeds"
    )


def test_crossed_factors_are_covered() -> None:
    """Seeds and prompts, both random, and samples: 95 % of intervals hold the truth."""
    generator, held = np.random.default_rng(2), 0
    for _ in range(400):
        seed_S1, prompt_K = generator.normal(0, 1, (10, 1)), generator.normal(0, 1, 15)
        value_SK = seed_S1 + prompt_K + generator.normal(0, 1, (10, 15))
        spread = two_way(value_SK, np.ones((10, 15)), np.full(15, 1 / 15))
        low, high = spread.bounds(0.025)
        held += low <= 0 <= high
    assert 0.92 <= held / 400 <= 0.99


def test_samples_alone_are_the_least_error() -> None:
    spread = two_way(np.zeros((2, 3)), np.full((2, 3), 0.6), np.full(3, 1 / 3))
    assert spread.error == pytest.approx(0.6 / 6**0.5)
    more = spread.grown(4.0, 1.0)
    assert more.error == pytest.approx(spread.error / 2)


def test_resamples_spread_like_new_samples() -> None:
    generator = np.random.default_rng(3)
    hits = np.where(np.arange(2000) < 40, 10.0, 0.0)
    draws_B = resampled((hits, 3.0), (np.zeros(2000), 3.0), 2.0, generator)
    new = []
    for _ in range(500):
        tilt_N = np.exp(generator.choice(hits, 2000) / 3.0)
        rewards_N = 3.0 * np.log(tilt_N)
        new.append((tilt_N @ rewards_N) / tilt_N.sum() / 2.0)
    assert draws_B.std() == pytest.approx(np.std(new), rel=0.15)
    assert draws_B.mean() == pytest.approx(np.mean(new), rel=0.03)
