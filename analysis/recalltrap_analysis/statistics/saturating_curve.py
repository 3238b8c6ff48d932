"""Least-squares fits of one saturating curve to many data sets at once.

    y = top * (1 - exp(-x * weight^power / scale))

A bootstrap of the curve is hundreds of fits that differ in their data alone. One at a time they
took an eighth of a report; together they are a few dozen tensor operations. Levenberg-Marquardt
(Marquardt 1963) inside bounds. Shapes: R data sets, S points, P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recalltrap_analysis.statistics.paired import Array

MOST_STEPS = 300
ALIKE = 1e-10
"""A step that lowers the squared error by a smaller share of it was the last."""
STUCK = 1e12
"""Damping at which no step lowers the error any more."""


class Bounds(NamedTuple):
    """The lowest and the highest value of each parameter, in the order top, scale, power."""

    low: Sequence[float]
    high: Sequence[float]


class Fits(NamedTuple):
    """`parameters_RP`, and whether each fit ended before its steps did."""

    parameters_RP: Array
    converged_R: npt.NDArray[np.bool_]


def saturating(x: Array, weight: Array, top: Array, scale: Array, power: Array) -> Array:
    """The curve; arrays that broadcast. A negative x counts as 0."""
    return np.asarray(top * -np.expm1(-np.maximum(x, 0) * weight**power / scale))


def fit_curves(
    x_RS: Array, weight_S: Array, y_RS: Array, counted_RS: Array, start: Sequence[float],
    bounds: Bounds,
) -> Fits:  # fmt: skip
    """The best parameters of every data set.

    Args:
        x_RS: The data.
        weight_S: Positive; the same in all data sets.
        y_RS: The data.
        counted_RS: 1 where a point counts, 0 where it is left out.
        start: Where to begin: top, scale and power; without the third, power is 0 and not fitted.
        bounds: Of as many parameters as `start` has.
    """
    low_P, high_P = (np.asarray(ends[: len(start)], dtype=float) for ends in bounds)
    found_RP = np.tile(np.clip(np.asarray(start, dtype=float), low_P, high_P), (len(x_RS), 1))
    converged_R = np.zeros(len(x_RS), dtype=bool)
    damping_R = np.ones(len(x_RS))
    left = np.arange(len(x_RS))
    for _ in range(MOST_STEPS):
        if not left.size:
            break
        data = (x_RS[left], weight_S, y_RS[left], counted_RS[left])
        now_RP = found_RP[left]
        residual_RS, slopes_RSP = _residual(now_RP, *data), _slopes(now_RP, *data)
        step_RP = _step(now_RP, residual_RS, slopes_RSP, damping_R[left], low_P, high_P)
        next_RP = np.clip(now_RP + step_RP, low_P, high_P)
        before_R = (residual_RS**2).sum(axis=1)
        after_R = (_residual(next_RP, *data) ** 2).sum(axis=1)
        better_R = after_R < before_R
        found_RP[left[better_R]] = next_RP[better_R]
        done_R = (before_R - after_R <= ALIKE * before_R) & (after_R <= before_R)
        done_R |= damping_R[left] > STUCK
        damping_R[left] = np.where(better_R, damping_R[left] / 5, damping_R[left] * 4)
        converged_R[left[done_R]] = True
        left = left[~done_R]
    return Fits(found_RP, converged_R)


def _power(parameters_RP: Array) -> Array:
    if parameters_RP.shape[1] == 3:
        return parameters_RP[:, 2:]
    return np.zeros((len(parameters_RP), 1))


def _residual(
    parameters_RP: Array, x_RS: Array, weight_S: Array, y_RS: Array, counted_RS: Array
) -> Array:
    top_R1, scale_R1 = parameters_RP[:, :1], parameters_RP[:, 1:2]
    curve_RS = saturating(x_RS, weight_S, top_R1, scale_R1, _power(parameters_RP))
    return np.asarray(counted_RS * (y_RS - curve_RS))


def _slopes(
    parameters_RP: Array, x_RS: Array, weight_S: Array, y_RS: Array, counted_RS: Array
) -> Array:
    """Derivatives of the curve in its parameters, [R, S, P]; 0 where a point doesn't count."""
    top_R1, scale_R1 = parameters_RP[:, :1], parameters_RP[:, 1:2]
    strength_RS = np.maximum(x_RS, 0) * weight_S ** _power(parameters_RP) / scale_R1
    rest_RS = np.exp(-strength_RS)
    slopes = [1 - rest_RS, -top_R1 * rest_RS * strength_RS / scale_R1]
    if parameters_RP.shape[1] == 3:
        slopes.append(top_R1 * rest_RS * strength_RS * np.log(weight_S))
    return np.stack(slopes, axis=2) * counted_RS[:, :, None]


def _step(
    now_RP: Array, residual_RS: Array, slopes_RSP: Array, damping_R: Array,
    low_P: Array, high_P: Array,
) -> Array:  # fmt: skip
    """The damped Gauss-Newton step; a parameter that its bound holds doesn't move."""
    downhill_RP = np.einsum("rsp,rs->rp", slopes_RSP, residual_RS)
    held_RP = ((now_RP <= low_P) & (downhill_RP < 0)) | ((now_RP >= high_P) & (downhill_RP > 0))
    free_RSP = np.where(held_RP[:, None, :], 0.0, slopes_RSP)
    square_RPP = np.einsum("rsp,rsq->rpq", free_RSP, free_RSP)
    diagonal_RP = np.einsum("rpp->rp", square_RPP)
    # a parameter without any slope, or held, gets a diagonal that leaves it where it is
    damped_RP = damping_R[:, None] * diagonal_RP + np.where(diagonal_RP > 0, 0.0, 1.0)
    square_RPP = square_RPP + damped_RP[:, :, None] * np.eye(now_RP.shape[1])
    pull_RP1 = np.where(held_RP, 0.0, downhill_RP)[:, :, None]
    return np.asarray(np.linalg.solve(square_RPP, pull_RP1)[:, :, 0])
