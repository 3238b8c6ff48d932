"""What stands in for scipy.stats and statsmodels gives their numbers, and spares their import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from recalltrap_analysis.statistics import paired, quantiles


@pytest.mark.parametrize("level", [0.025, 0.1, 0.5, 0.95, 0.975])
@pytest.mark.parametrize("freedom", [1, 4, 19, 99])
def test_quantiles_are_those_of_scipy_stats(level: float, freedom: int) -> None:
    assert quantiles.normal_quantile(level) == stats.norm.ppf(level)
    assert quantiles.t_quantile(level, freedom) == stats.t.ppf(level, freedom)
    assert quantiles.chi2_quantiles(level, freedom) == stats.chi2.ppf(level, freedom)


@pytest.mark.parametrize("n", [3, 8, 14])  # all flips, all flips, drawn ones
def test_sign_flips_are_those_of_scipy_stats(n: int) -> None:
    differences_NS = np.random.default_rng(n).normal(0.3, size=(n, 5))
    expected = stats.permutation_test(
        (differences_NS,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        batch=2000,
        axis=0,
        rng=np.random.default_rng(1),
    ).pvalue
    found = paired.sign_flip_p_values(differences_NS, np.random.default_rng(1))
    assert found.tolist() == expected.tolist()


def test_flips_that_tie_but_for_rounding_count() -> None:
    # 0.1 + 0.2 - 0.3 isn't 0 in floating point: every flip of the signs is as far out as another
    differences_NS = np.array([[0.1], [0.2], [-0.3]])
    found = paired.sign_flip_p_values(differences_NS, np.random.default_rng(0))
    assert found.tolist() == [1.0]


@pytest.mark.parametrize(("successes", "n"), [(0, 3), (3, 20), (8, 8), (1, 97)])
def test_wilsons_interval_is_that_of_statsmodels(successes: int, n: int) -> None:
    low, high = proportion_confint(successes, n, method="wilson")
    found = paired.share_interval(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-15)


@pytest.mark.slow
def test_a_report_does_not_import_scipy_stats() -> None:
    code = (
        "import sys, recalltrap_analysis.report.build as _\n"
        "print(*{'scipy.stats', 'scipy.optimize', 'statsmodels'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
