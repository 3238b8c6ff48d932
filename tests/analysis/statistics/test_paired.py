from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import levene, nct, t
from statsmodels.stats.multitest import multipletests

from recalltrap_analysis.statistics import coverage, effect_sizes, paired

Array = npt.NDArray[np.float64]


def share_covered(draws_RNS: Array, truth: float) -> float:
    """Share of series whose interval holds the truth; every replicate draws its own resamples."""
    hits = []
    for replicate, values_NS in enumerate(draws_RNS):
        found = paired.mean_intervals(values_NS, np.random.default_rng(replicate))
        hits += [e.low <= truth <= e.high for e in found]
    return float(np.mean(hits))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 8, 20])
def test_intervals_cover_the_mean_of_normal_data(seeds: int) -> None:
    draws_RNS = np.random.default_rng(1).normal(3.0, 2.0, size=(30, seeds, 40))
    assert 0.93 <= share_covered(draws_RNS, 3.0) <= 0.97


@pytest.mark.slow
def test_intervals_cover_the_mean_of_a_bimodal_mixture() -> None:
    generator = np.random.default_rng(2)
    draws_RNS = np.where(generator.random((30, 20, 40)) < 0.3, 1.0, 0.0)
    draws_RNS += generator.normal(0, 0.05, size=draws_RNS.shape)
    assert share_covered(draws_RNS, 0.3) >= 0.93


def test_method_follows_the_number_of_seeds() -> None:
    values_N = np.random.default_rng(3).normal(size=8)
    generator = np.random.default_rng(0)
    assert paired.mean_interval(values_N[:7], generator).method == "Student's t"
    assert paired.mean_interval(values_N, generator).method == "studentised bootstrap"
    single = paired.mean_interval(values_N[:1], generator)
    assert single.method == "no interval: one seed"
    assert np.isnan(single.low)
    assert single.text() == f"{values_N[0]:.2f} [no interval]"


def test_generator_decides_the_bootstrap() -> None:
    values_N = np.random.default_rng(4).normal(size=12)
    first = paired.mean_interval(values_N, np.random.default_rng(5))
    assert first == paired.mean_interval(values_N, np.random.default_rng(5))
    assert first != paired.mean_interval(values_N, np.random.default_rng(6))


def test_one_outlier_does_not_blow_the_interval_up() -> None:
    values_N = np.full(20, 0.01)
    values_N[7] = 0.8
    found = paired.mean_interval(values_N, np.random.default_rng(7))
    assert found.low < found.value < found.high < 0.5


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = paired.mean_interval(np.full(10, 0.25), np.random.default_rng(8))
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("bad", [[], [1.0, np.nan, 2.0], [np.inf] * 9])
def test_values_that_are_not_finite_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"not finite|no values"):
        paired.mean_interval(bad, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"not finite|no values"):
        paired.instability_ratio(bad, bad)
    with pytest.raises(ValueError, match=r"not finite|no values"):
        paired.holm(bad)


@pytest.mark.parametrize("tail", ["normal", "laplace"])
def test_instability_ratio_covers_for_paired_data(tail: str) -> None:
    generator = np.random.default_rng(9)
    draw = generator.normal if tail == "normal" else generator.laplace
    hits = []
    for _ in range(600):
        shared_N, own_N = draw(size=20), draw(size=20)
        ratio = paired.instability_ratio(2 * (shared_N + own_N), shared_N - own_N)
        hits.append(ratio.low <= 2.0 <= ratio.high)
    assert 0.91 <= np.mean(hits) <= 0.98


def test_instability_ratio_is_the_ratio_of_deviations() -> None:
    values_N = np.random.default_rng(10).normal(size=9)
    assert paired.instability_ratio(3 * values_N + 1, values_N).value == pytest.approx(3)
    assert paired.instability_ratio(3 * values_N + 1, values_N).low == pytest.approx(3)


def test_instability_ratio_refuses_what_has_none() -> None:
    with pytest.raises(ValueError, match="does not vary"):
        paired.instability_ratio([1, 2, 3], [1, 1, 1])
    with pytest.raises(ValueError, match="three seeds"):
        paired.instability_ratio([1, 2], [1, 3])
    with pytest.raises(ValueError, match="not pairs"):
        paired.instability_ratio([1, 2, 3], [1, 3])
    lone = paired.instability_ratio([0, 0, 0, 1], [0, 1, 2, 4])
    assert np.isnan(lone.low)
    assert lone.method.startswith("no interval")


def test_wilson_interval_against_its_closed_form() -> None:
    found = paired.share_interval(3, 20)
    z, p, n = 1.959963984540054, 3 / 20, 20
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert paired.share_interval(0, 20).low == 0
    with pytest.raises(ValueError, match="not a share"):
        paired.share_interval(21, 20)


def test_sign_flips_are_exact_for_few_pairs() -> None:
    values_N = np.array([0.3, -0.1, 0.5, 0.2, 0.4])
    flips = np.array(list(itertools.product([1, -1], repeat=5)))
    means = (flips * values_N).mean(axis=1)
    exact = np.mean(np.abs(means) >= values_N.mean() - 1e-12)
    found = paired.sign_flip_p_values(values_N[:, None], np.random.default_rng(0))
    assert found == pytest.approx([exact])


@pytest.mark.parametrize("pairs", [4, 6, 20])
def test_smallest_p_value_is_reached_by_equal_signs(pairs: int) -> None:
    values_NS = np.linspace(1, 2, pairs)[:, None]
    found = paired.sign_flip_p_values(values_NS, np.random.default_rng(0))
    assert found[0] == pytest.approx(paired.smallest_p(pairs))


@pytest.mark.slow
def test_sign_flips_are_uniform_without_an_effect() -> None:
    values_NS = np.random.default_rng(11).normal(size=(11, 600))
    p_S = paired.sign_flip_p_values(values_NS, np.random.default_rng(0))
    assert 0.03 <= np.mean(p_S <= 0.05) <= 0.08


def test_holm_against_the_definition() -> None:
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.slow
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(-3, 3))
def test_intervals_move_with_the_data(values: list[float], shift: float) -> None:
    first = paired.mean_interval(values, np.random.default_rng(0))
    moved = paired.mean_interval(np.array(values) + shift, np.random.default_rng(0))
    assert moved.value == pytest.approx(first.value + shift, abs=1e-6)
    assert first.low <= first.value + 1e-9
    assert first.value <= first.high + 1e-9


def test_spread_ratio_of_one_setting_is_the_instability_ratio() -> None:
    first_N, second_N = np.random.default_rng(12).normal(size=(2, 9))
    single = paired.spread_ratio([first_N[:, None]], [second_N[:, None]])
    assert single == paired.instability_ratio(first_N, second_N)


def test_spread_ratio_is_a_geometric_mean_and_a_ratio_of_ratios() -> None:
    values_NS = np.random.default_rng(13).normal(size=(12, 2))
    scaled_NS = values_NS * np.array([2.0, 8.0])
    found = paired.spread_ratio([scaled_NS], [values_NS])
    assert (found.low, found.value, found.high) == pytest.approx((4.0, 4.0, 4.0))
    nested = paired.spread_ratio([scaled_NS, values_NS], [values_NS, 2 * values_NS])
    assert nested.value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="different numbers"):
        paired.spread_ratio([scaled_NS], [values_NS, values_NS])


def test_spread_ratio_over_a_grid_covers() -> None:
    generator = np.random.default_rng(14)
    hits = []
    for _ in range(400):
        seed_N1 = generator.normal(size=(20, 1))
        first_NS, second_NS = generator.normal(size=(2, 20, 4)) + seed_N1
        found = paired.spread_ratio([3 * first_NS], [second_NS])
        hits.append(found.low <= 3.0 <= found.high)
    assert 0.91 <= np.mean(hits) <= 0.98


def test_left_out_variances_are_those_without_the_seed() -> None:
    values_NS = np.random.default_rng(15).normal(size=(7, 3))
    expected = [np.log(np.delete(values_NS, i, axis=0).var(axis=0, ddof=1)) for i in range(7)]
    assert paired.left_out_log_variance(values_NS) == pytest.approx(np.array(expected))


def test_interquartile_mean_ignores_the_ends() -> None:
    values_N = np.array([1.0, 2, 3, 4, 5, 6, 7, 1000])
    found = effect_sizes.interquartile_mean(values_N)
    assert found.value == 4.5
    assert found.low < 4.5 < found.high < 20
    # closed form: winsorised sd / ((1 - 2 * 1/4) * sqrt(n)), n - 2 * cut - 1 degrees of freedom
    sd = np.clip(values_N, 3, 6).std(ddof=1)
    assert found.high - found.low == pytest.approx(2 * t.ppf(0.975, 3) * sd / (0.5 * np.sqrt(8)))
    assert np.isnan(effect_sizes.interquartile_mean([2.0]).low)


def test_interquartile_mean_covers_where_the_mean_does_not() -> None:
    generator = np.random.default_rng(16)
    found = [effect_sizes.interquartile_mean(generator.standard_cauchy(20)) for _ in range(400)]
    assert 0.92 <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.99


@pytest.mark.parametrize(("seeds", "truth"), [(5, 0.0), (10, 1.5), (20, -0.8)])
def test_effect_size_covers(seeds: int, truth: float) -> None:
    generator = np.random.default_rng(seeds)
    hits = []
    for _ in range(200):
        base_N = generator.normal(size=seeds)
        found = effect_sizes.effect_size(base_N + truth + generator.normal(size=seeds), base_N)
        hits.append(found.low <= truth <= found.high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_effect_size_is_mean_over_sd_and_names_its_method() -> None:
    found = effect_sizes.effect_size([1.0, 2, 4], [0.0, 0, 0])
    assert found.value == pytest.approx((7 / 3) / np.std([1, 2, 4], ddof=1))
    assert found.method == "noncentral t"
    huge = effect_sizes.effect_size(100 + np.linspace(0, 1, 20), np.zeros(20))
    assert huge.method == "normal approximation"
    assert huge.low < huge.value < huge.high
    with pytest.raises(ValueError, match="do not vary"):
        effect_sizes.effect_size([2.0, 3, 4], [1.0, 2, 3])
    assert np.isnan(effect_sizes.effect_size([1.0], [0.0]).value)


def test_brown_forsythe_against_scipy_and_its_corners() -> None:
    first_N, second_N = np.random.default_rng(17).normal(size=(2, 15))
    assert (
        effect_sizes.brown_forsythe([4 * first_N, second_N]) == levene(4 * first_N, second_N).pvalue
    )
    assert effect_sizes.brown_forsythe([4 * first_N, second_N]) < 0.05
    assert np.isnan(effect_sizes.brown_forsythe([[1, 1, 1], [2, 2, 2]]))
    with pytest.raises(ValueError, match="two groups"):
        effect_sizes.brown_forsythe([first_N])


def test_ratio_of_means_covers_and_is_unbounded_near_zero() -> None:
    generator = np.random.default_rng(18)
    hits = []
    for _ in range(400):
        second_N = generator.normal(1.0, 0.3, size=10)
        found = effect_sizes.ratio_of_means(2 * second_N + generator.normal(0, 0.5, 10), second_N)
        hits.append(found.low <= 2.0 <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98
    assert effect_sizes.ratio_of_means([1, 2, 3], [-1, 0, 2]).high == np.inf
    with pytest.raises(ValueError, match="not positive"):
        effect_sizes.ratio_of_means([1.0, 2], [0.0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5, 40])
def test_holm_agrees_with_statsmodels(size: int) -> None:
    p_values = np.random.default_rng(size).random(size) ** 4
    p_values[-1] = p_values[0]
    expected = multipletests(p_values, method="holm")[1]
    assert paired.holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize(("t_value", "freedom", "shift"), [(2.0, 4, 1.0), (-1, 2, 0), (9, 19, 7)])
def test_noncentral_t_against_scipy(t_value: float, freedom: int, shift: float) -> None:
    found = effect_sizes.noncentral_t_cdf(t_value, freedom, shift)
    assert found == pytest.approx(float(nct.cdf(t_value, freedom, shift)), abs=1e-5)


def test_coverage_notes_say_where_nothing_covers() -> None:
    few = coverage.covers("Student's t", 5)
    assert few.startswith("Student's t at 5 seeds covers 93 to 97 % of the time on normal data")
    assert "where no method covers" in few
    assert coverage.covers("studentised bootstrap", 30).startswith("studentised bootstrap at 20")
    assert coverage.covers("Student's t", 2) == ""
    assert coverage.covers("no interval: one seed", 20) == ""


def test_the_readme_shows_the_calibration_that_the_notes_read() -> None:
    readme = (Path(__file__).parents[3] / "analysis/README.md").read_text()
    assert coverage.markdown(coverage.calibration()) in readme
    found = coverage.calibration()
    assert coverage.Calibration.read(found.as_json()) == found


def test_calibration_holds_what_was_promised() -> None:
    found = coverage.calibration()
    shares = {(row.method, row.shape, row.seeds): row.share for row in found.coverage}
    for n in (5, 10, 20):
        assert 0.925 <= shares[paired.method_for(n), "normal", n] <= 0.975
    assert {row.seeds for row in found.verdicts} >= {3, 5, 10, 20}
    for verdict in found.verdicts:
        if verdict.shape == "both orderings normal":
            assert max(verdict.larger, verdict.small, verdict.any_point) <= 0.06
    assert {row.seeds for row in found.rules} == {3, 5, 8, 10, 20}
    for row in found.rules:
        if row.data == "normal" and "−0.20" not in row.truth:
            assert row.holds != "no" or row.reproduced <= 0.08
            assert row.holds != "yes" or row.not_reproduced + row.mixed <= 0.05
    decided = {(row.rule, row.truth, row.data, row.seeds): row.reproduced for row in found.rules}
    assert decided["rising", "rises from 0 to 0.30", "normal", 8] > 0.9
