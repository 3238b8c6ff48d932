"""Quantiles of the usual distributions, as scipy.special has them.

`scipy.stats` wraps the same functions; importing it takes two seconds, more than a small report.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtri, stdtrit


@cache
def t_quantile(level: float, freedom: float) -> float:
    """Of Student's t; a report asks for a few of them thousands of times."""
    return float(stdtrit(freedom, level))


@cache
def normal_quantile(level: float) -> float:
    """Of the standard normal distribution."""
    return float(ndtri(level))


def chi2_quantiles(levels: npt.ArrayLike, freedom: int) -> npt.NDArray[np.float64]:
    """Of chi-squared, in the shape of the levels."""
    return np.asarray(2 * gammaincinv(freedom / 2, levels), dtype=float)
