from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_analysis import statistics

Array = npt.NDArray[np.float64]


def coverage(draws_RNS: Array, truth: float) -> float:
    """Share of series whose interval holds the truth; every replicate draws its own resamples."""
    hits = []
    for replicate, values_NS in enumerate(draws_RNS):
        found = statistics.mean_intervals(values_NS, np.random.default_rng(replicate))
        hits += [e.low <= truth <= e.high for e in found]
    return float(np.mean(hits))


@pytest.mark.parametrize("seeds", [5, 8, 20])
def test_intervals_cover_the_mean_of_normal_data(seeds: int) -> None:
    draws_RNS = np.random.default_rng(1).normal(3.0, 2.0, size=(30, seeds, 40))
    assert 0.93 <= coverage(draws_RNS, 3.0) <= 0.97


def test_intervals_cover_the_mean_of_a_bimodal_mixture() -> None:
    generator = np.random.default_rng(2)
    draws_RNS = np.where(generator.random((30, 20, 40)) < 0.3, 1.0, 0.0)
    draws_RNS += generator.normal(0, 0.05, size=draws_RNS.shape)
    assert coverage(draws_RNS, 0.3) >= 0.93


def test_method_follows_the_number_of_seeds() -> None:
    values_N = np.random.default_rng(3).normal(size=8)
    generator = np.random.default_rng(0)
    assert statistics.mean_interval(values_N[:7], generator).method == "Student's t"
    assert statistics.mean_interval(values_N, generator).method == "studentised bootstrap"
    single = statistics.mean_interval(values_N[:1], generator)
    assert single.method == "no interval: one seed"
    assert np.isnan(single.low)
    assert single.text() == f"{values_N[0]:.2f} [no interval]"


def test_generator_decides_the_bootstrap() -> None:
    values_N = np.random.default_rng(4).normal(size=12)
    first = statistics.mean_interval(values_N, np.random.default_rng(5))
    assert first == statistics.mean_interval(values_N, np.random.default_rng(5))
    assert first != statistics.mean_interval(values_N, np.random.default_rng(6))


def test_one_outlier_does_not_blow_the_interval_up() -> None:
    values_N = np.full(20, 0.01)
    values_N[7] = 0.8
    found = statistics.mean_interval(values_N, np.random.default_rng(7))
    assert found.low < found.value < found.high < 0.5


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = statistics.mean_interval(np.full(10, 0.25), np.random.default_rng(8))
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("bad", [[], [1.0, np.nan, 2.0], [np.inf] * 9])
def test_values_that_are_not_finite_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"not finite|no values"):
        statistics.mean_interval(bad, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"not finite|no values"):
        statistics.instability_ratio(bad, bad)
    with pytest.raises(ValueError, match=r"not finite|no values"):
        statistics.holm(bad)


@pytest.mark.parametrize("tail", ["normal", "laplace"])
def test_instability_ratio_covers_for_paired_data(tail: str) -> None:
    generator = np.random.default_rng(9)
    draw = generator.normal if tail == "normal" else generator.laplace
    hits = []
    for _ in range(600):
        shared_N, own_N = draw(size=20), draw(size=20)
        ratio = statistics.instability_ratio(2 * (shared_N + own_N), shared_N - own_N)
        hits.append(ratio.low <= 2.0 <= ratio.high)
    assert 0.91 <= np.mean(hits) <= 0.98


def test_instability_ratio_is_the_ratio_of_deviations() -> None:
    values_N = np.random.default_rng(10).normal(size=9)
    assert statistics.instability_ratio(3 * values_N + 1, values_N).value == pytest.approx(3)
    assert statistics.instability_ratio(3 * values_N + 1, values_N).low == pytest.approx(3)


def test_instability_ratio_refuses_what_has_none() -> None:
    with pytest.raises(ValueError, match="does not vary"):
        statistics.instability_ratio([1, 2, 3], [1, 1, 1])
    with pytest.raises(ValueError, match="three seeds"):
        statistics.instability_ratio([1, 2], [1, 3])
    with pytest.raises(ValueError, match="not pairs"):
        statistics.instability_ratio([1, 2, 3], [1, 3])
    lone = statistics.instability_ratio([0, 0, 0, 1], [0, 1, 2, 4])
    assert np.isnan(lone.low)
    assert lone.method.startswith("no interval")


def test_wilson_interval_against_its_closed_form() -> None:
    found = statistics.share_interval(3, 20)
    z, p, n = 1.959963984540054, 3 / 20, 20
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert statistics.share_interval(0, 20).low == 0
    with pytest.raises(ValueError, match="not a share"):
        statistics.share_interval(21, 20)


def test_sign_flips_are_exact_for_few_pairs() -> None:
    values_N = np.array([0.3, -0.1, 0.5, 0.2, 0.4])
    flips = np.array(list(itertools.product([1, -1], repeat=5)))
    means = (flips * values_N).mean(axis=1)
    exact = np.mean(np.abs(means) >= values_N.mean() - 1e-12)
    found = statistics.sign_flip_p_values(values_N[:, None], np.random.default_rng(0))
    assert found == pytest.approx([exact])


@pytest.mark.parametrize("pairs", [4, 6, 20])
def test_smallest_p_value_is_reached_by_equal_signs(pairs: int) -> None:
    values_NS = np.linspace(1, 2, pairs)[:, None]
    found = statistics.sign_flip_p_values(values_NS, np.random.default_rng(0))
    assert found[0] == pytest.approx(statistics.smallest_p(pairs))


def test_sign_flips_are_uniform_without_an_effect() -> None:
    values_NS = np.random.default_rng(11).normal(size=(11, 600))
    p_S = statistics.sign_flip_p_values(values_NS, np.random.default_rng(0))
    assert 0.03 <= np.mean(p_S <= 0.05) <= 0.08


def test_holm_against_the_definition() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(-3, 3))
def test_intervals_move_with_the_data(values: list[float], shift: float) -> None:
    first = statistics.mean_interval(values, np.random.default_rng(0))
    moved = statistics.mean_interval(np.array(values) + shift, np.random.default_rng(0))
    assert moved.value == pytest.approx(first.value + shift, abs=1e-6)
    assert first.low <= first.value + 1e-9
    assert first.value <= first.high + 1e-9
