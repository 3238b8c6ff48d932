"""Fits of many curves at once, against scipy's one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

from recalltrap_analysis.statistics.saturating_curve import Bounds, fit_curves, saturating

BOUNDS = Bounds((0.0, 1e-6, 0.0), (2.0, 1e4, 5.0))


def data(seed: int, noise: float, many: int = 40, points: int = 30) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    x_RS = random.uniform(-0.2, 2.0, size=(many, points))
    weight_S = random.choice([0.25, 0.5, 1.0, 2.0, 4.0], size=points)
    y_RS = saturating(x_RS, weight_S, np.array(0.8), np.array(1.5), np.array(1.3))
    return x_RS, weight_S, y_RS + noise * random.normal(size=y_RS.shape)


def squares(x: Any, weight: Any, y: Any, parameters: Any) -> float:
    padded = [*parameters, *[0.0] * (3 - len(parameters))]
    return float(((y - saturating(x, weight, *map(np.asarray, padded))) ** 2).sum())


def test_without_noise_the_curve_itself_is_found() -> None:
    x_RS, weight_S, y_RS = data(0, 0.0)
    found = fit_curves(x_RS, weight_S, y_RS, np.ones_like(y_RS), (0.5, 1.0, 1.0), BOUNDS)
    assert found.converged_R.all()
    np.testing.assert_allclose(found.parameters_RP, np.tile([0.8, 1.5, 1.3], (40, 1)), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [2, 3])
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_no_fit_is_worse_than_scipys(parameters: int, noise: float) -> None:
    x_RS, weight_S, y_RS = data(1, noise)
    weight_S = weight_S if parameters == 3 else np.ones_like(weight_S)
    start = (0.5, 1.0, 1.0)[:parameters]
    found = fit_curves(x_RS, weight_S, y_RS, np.ones_like(y_RS), start, BOUNDS)
    assert found.converged_R.mean() > 0.95
    for x, y, mine in zip(x_RS, y_RS, found.parameters_RP, strict=True):

        def curve(at: Any, *p: float, weight: Any = weight_S) -> Any:
            return saturating(at, weight, *map(np.asarray, [*p, *[0.0] * (3 - len(p))]))

        theirs, _ = optimize.curve_fit(
            curve, x, y, start, bounds=[end[:parameters] for end in BOUNDS], maxfev=5000
        )
        assert squares(x, weight_S, y, mine) <= squares(x, weight_S, y, theirs) * (1 + 1e-5)
        assert (mine >= BOUNDS.low[:parameters]).all()
        assert (mine <= BOUNDS.high[:parameters]).all()


def test_a_point_that_does_not_count_is_as_if_it_were_not_there() -> None:
    x_RS, weight_S, y_RS = data(2, 0.05, many=1)
    counted = np.ones_like(y_RS)
    counted[:, 3] = 0.0
    spoilt = y_RS.copy()
    spoilt[:, 3] = 50.0
    one = fit_curves(x_RS, weight_S, spoilt, counted, (0.5, 1.0, 1.0), BOUNDS)
    rest = np.arange(y_RS.shape[1]) != 3
    two = fit_curves(x_RS[:, rest], weight_S[rest], y_RS[:, rest], counted[:, rest],
                     (0.5, 1.0, 1.0), BOUNDS)  # fmt: skip
    np.testing.assert_allclose(one.parameters_RP, two.parameters_RP, rtol=1e-6)


def test_data_sets_do_not_know_of_each_other() -> None:
    x_RS, weight_S, y_RS = data(3, 0.1)
    arguments = (np.ones_like(y_RS), (0.5, 1.0, 1.0), BOUNDS)
    whole = fit_curves(x_RS, weight_S, y_RS, *arguments).parameters_RP
    for row in (0, 17):
        alone = fit_curves(x_RS[row:row + 1], weight_S, y_RS[row:row + 1],
                           np.ones((1, y_RS.shape[1])), *arguments[1:])  # fmt: skip
        np.testing.assert_allclose(whole[row], alone.parameters_RP[0], rtol=1e-9)


def test_a_curve_that_never_rises_ends_at_its_bound() -> None:
    x_RS, weight_S, y_RS = data(4, 0.0)
    found = fit_curves(x_RS, weight_S, -y_RS, np.ones_like(y_RS), (0.5, 1.0, 1.0), BOUNDS)
    np.testing.assert_allclose(found.parameters_RP[:, 0], 0.0, atol=1e-6)
