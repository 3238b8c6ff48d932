"""The trapezoidal rule on square lattices, for log-sum-exps that are smooth on its scale.

For such integrands against a Gaussian it converges exponentially. Every level is finer and lies at
another angle than the one before, so that two which agree don't do so by their shape. Legend: K
surfaces, N points.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from recalltrap_studies.mog.exact.surfaces import Mask
from recalltrap_studies.mog.models import Array

FIRST_STEP = 0.75
"""Distance of neighbours at level 0, in standard deviations; a level has twice the points of the
one before."""

TURN = 0.37
"""Angle between a level and the next, in radians."""

REACH = 6.2
"""Standard deviations around the component's mean."""

BEYOND = math.exp(-0.5 * REACH**2)
"""The mass beyond."""

COSTLY_LEVEL, LAST_LEVEL = 5, 8
"""From the first on a level is tried only where the last difference promises success."""

CHUNK = 4096
"""Points that are evaluated at once: what they need fits a core's cache."""

SEEN = 25.0
"""A surface that stays so many nats below the largest at all points of a level is left out."""


def level_for(scale: float) -> int:
    """The first level whose step is no larger than `scale`."""
    return max(0, math.ceil(2.0 * math.log2(FIRST_STEP / scale)))


@lru_cache(maxsize=16)
def _points(level: int) -> tuple[Array, Array]:
    """Monomials [6, N] (1, s, t, s^2, st, t^2) and Gaussian weights [N] of a level's points."""
    step = FIRST_STEP * 2.0 ** (-level / 2)
    count = math.ceil(REACH / step)
    axis = step * np.arange(-count, count + 1)
    x, y = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    inside = x * x + y * y <= REACH**2
    cos, sin = math.cos(TURN * level), math.sin(TURN * level)
    s, t = cos * x[inside] - sin * y[inside], sin * x[inside] + cos * y[inside]
    weight = np.exp(-0.5 * (s * s + t * t)) * step**2 / (2.0 * math.pi)
    return np.stack([np.ones_like(s), s, t, s * s, s * t, t * t]), weight


def _values(coefficients_K6: Array, monomials_6N: Array) -> Array:
    # No BLAS: its rounding depends on the number of threads.
    return np.asarray(np.einsum("kc,cn->kn", coefficients_K6, monomials_6N))


def _level(coefficients_K6: Array, level: int) -> float:
    """E[log sum_k exp g_k] on one level."""
    monomials_6N, weight_N = _points(level)
    total = 0.0
    for begin in range(0, len(weight_N), CHUNK):
        part = slice(begin, begin + CHUNK)
        values = _values(coefficients_K6, monomials_6N[:, part])
        top = values.max(axis=0)
        values -= top
        np.exp(values, out=values)
        total += float((weight_N[part] * (top + np.log(values.sum(axis=0)))).sum())
    return total


def survey(coefficients_K6: Array, main: int) -> tuple[Mask, float]:
    """The surfaces that come near the largest at any point of level 0, [K].

    Also the largest lead over g_main: times `BEYOND` it is what no level holds.
    """
    values_KN = _values(coefficients_K6, _points(0)[0])
    top_N = values_KN.max(axis=0)
    near_K = (values_KN > top_N - SEEN).any(axis=1)
    return np.asarray(near_K), float((top_N - values_KN[main]).max())


def remainder(
    coefficients_K6: Array, main: int, start: int, tolerance: float
) -> tuple[float, float, int]:
    """E[log sum_k exp g_k - g_main], the difference of the last two levels, and the points.

    Levels are added from `start` on until two agree to `tolerance`, and the two before nearly so:
    once alone may be chance. Where that isn't reached, the difference says so.
    """
    differences = coefficients_K6 - coefficients_K6[main]
    value, points = _level(differences, start), len(_points(start)[1])
    last = difference = math.inf
    for level in range(start + 1, LAST_LEVEL + 1):
        if level >= COSTLY_LEVEL and tolerance < difference**2 < math.inf:
            break
        refined, points = _level(differences, level), points + len(_points(level)[1])
        value, last, difference = refined, difference, abs(refined - value)
        if difference <= tolerance and last <= 10.0 * tolerance:
            return value, difference, points
    return value, max(difference, last), points
