"""Point and interval for paired comparisons over seeds. Shapes: N seeds, S series.

Every random choice comes from a generator that the caller hands in. Values that are not finite
are refused: leaving a seed out would unbalance the pairs behind the reader's back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recalltrap_analysis.statistics.quantiles import normal_quantile, t_quantile

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
BOOTSTRAP_FROM = 8
RESAMPLES = 4999
BATCH = 2000
STUDENT, BOOTSTRAP = "Student's t", "studentised bootstrap"
JACKKNIFE, WILSON = "jackknife of the log variance ratio", "Wilson"
# A resample whose sd nearly vanishes (ties, one outlier left out) would give an endless interval;
# a floor of a quarter of the sample's own sd kept the measured coverage and bounded the width.
SD_FLOOR = 0.25


@dataclass(frozen=True)
class Estimate:
    """A point with its 95 % interval, the name of the interval's method, and the seeds behind it.

    `low` and `high` are NaN where `method` says that there is no interval.
    """

    value: float
    low: float
    high: float
    method: str
    n: int

    def text(self, digits: int = 2) -> str:
        """E.g. ``0.63 [0.50, 0.75]``."""
        if np.isnan(self.low):
            return f"{self.value:.{digits}f} [no interval]"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def mean_interval(values_N: npt.ArrayLike, generator: np.random.Generator) -> Estimate:
    """The mean of one series over seeds, with its interval; see `mean_intervals`."""
    return mean_intervals(np.asarray(values_N, dtype=float)[:, None], generator)[0]


def mean_intervals(values_NS: Array, generator: np.random.Generator) -> list[Estimate]:
    """Means over seeds with 95 % intervals, for many series at once.

    For a paired comparison pass the per-seed differences. Student's t below 8 seeds; from 8 on
    the studentised bootstrap (Efron & Tibshirani 1993, section 12.5), 4999 resamples of the
    seeds, the same resamples for every series.

    Args:
        values_NS: Float array, shape [N seeds, S series].
        generator: Source of the resamples.

    Raises:
        ValueError: no seeds, or a value that is not finite.
    """
    values_NS = finite(values_NS)
    n = values_NS.shape[0]
    mean_S = values_NS.mean(axis=0)
    if n == 1:
        return [Estimate(float(m), np.nan, np.nan, "no interval: one seed", 1) for m in mean_S]
    method = method_for(n)
    if method == STUDENT:
        low_S, high_S = student_limits(values_NS)
    else:
        low_S, high_S = bootstrap_t_limits(values_NS, generator)
    return [
        Estimate(float(m), float(low), float(high), method, n)
        for m, low, high in zip(mean_S, low_S, high_S, strict=True)
    ]


def method_for(n: int) -> str:
    """The interval's method for a mean over n seeds, as the calibration chose it."""
    return STUDENT if n < BOOTSTRAP_FROM else BOOTSTRAP


def student_limits(values_NS: Array) -> tuple[Array, Array]:
    """Lower and upper limits of the means, shape [S] each, by Student's t."""
    n = values_NS.shape[0]
    mean_S = values_NS.mean(axis=0)
    half_S = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * values_NS.std(axis=0, ddof=1) / np.sqrt(n)
    return mean_S - half_S, mean_S + half_S


def bootstrap_t_limits(values_NS: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Lower and upper limits of the means, shape [S] each, by the studentised bootstrap."""
    mean_S = values_NS.mean(axis=0)
    error_S = values_NS.std(axis=0, ddof=1) / np.sqrt(values_NS.shape[0])
    t_2S = _bootstrap_t(values_NS - mean_S, generator)
    return mean_S - t_2S[1] * error_S, mean_S - t_2S[0] * error_S


def _bootstrap_t(centred_NS: Array, generator: np.random.Generator) -> Array:
    """Quantiles of the studentised mean over resamples of the rows; shape [2, S]."""
    n, series = centred_NS.shape
    counts_BN = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    sd_S = centred_NS.std(axis=0, ddof=1)
    levels = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    quantiles_2S = np.empty((2, series))
    for start in range(0, series, 256):  # bounds the memory of a study with thousands of series
        part = slice(start, start + 256)
        mean_BS = counts_BN @ centred_NS[:, part] / n
        square_BS = counts_BN @ centred_NS[:, part] ** 2 / n
        variance_BS = np.maximum(square_BS - mean_BS**2, 0) * n / (n - 1)
        floor_S = np.where(sd_S[part] > 0, SD_FLOOR * sd_S[part], 1.0)
        t_BS = mean_BS / (np.maximum(np.sqrt(variance_BS), floor_S) / np.sqrt(n))
        quantiles_2S[:, part] = np.quantile(t_BS, levels, axis=0)
    return quantiles_2S


def instability_ratio(first_N: npt.ArrayLike, second_N: npt.ArrayLike) -> Estimate:
    """sd(first) / sd(second) over paired seeds, with a 95 % interval.

    The interval is the jackknife of the log variance ratio with Student's t (Miller 1968). It
    covered 0.92 to 0.96 where the exact interval for paired normals (Pitman-Morgan) fell to 0.79:
    rewards over seeds are bimodal and heavy-tailed, and the exact one isn't robust to that.

    Args:
        first_N: Values of the numerator's arm, one per seed.
        second_N: Values of the denominator's arm, for the same seeds in the same order.
    """
    first_N, second_N = finite(first_N), finite(second_N)
    if first_N.shape != second_N.shape:
        raise ValueError("the two arms hold different numbers of seeds, so they are not pairs")
    return spread_ratio([first_N[:, None]], [second_N[:, None]])


def spread_ratio(above: Sequence[Array], below: Sequence[Array]) -> Estimate:
    """Product of the sds in `above` over that of `below`, geometric mean over S settings.

    One pair is an instability ratio over a grid; two above and two below are a ratio of ratios.
    The interval leaves out one seed everywhere at once, so settings may share their seeds.

    Args:
        above: Arrays of shape [N seeds, S settings], the seeds in one order everywhere.
        below: As many arrays of the same shape.

    Raises:
        ValueError: fewer than three seeds, shapes that differ, or a series that does not vary.
    """
    arms = [finite(values) for values in (*above, *below)]
    if len({values.shape for values in arms}) > 1 or len(above) != len(below):
        raise ValueError("the arms hold different numbers of seeds or settings")
    n = arms[0].shape[0]
    if n < 3:
        raise ValueError("an instability ratio needs at least three seeds")
    for values in arms:
        scale_S = np.maximum(1.0, np.abs(values).max(axis=0))
        if (values.std(axis=0, ddof=1) <= 1e-12 * scale_S).any():
            raise ValueError("one of the arms does not vary over the seeds")
    signs = [1.0] * len(above) + [-1.0] * len(below)
    full, left_out_N = 0.0, np.zeros(n)
    for sign, values in zip(signs, arms, strict=True):
        full += sign * float(np.log(values.var(axis=0, ddof=1)).mean())
        left = left_out_log_variance(values)
        if not np.isfinite(left).all():
            left_out_N = np.full(n, np.nan)
            continue
        left_out_N = left_out_N + sign * left.mean(axis=1)
    ratio = float(np.exp(full / 2))
    if not np.isfinite(left_out_N).all():
        return Estimate(ratio, np.nan, np.nan, "no interval: one seed makes all the spread", n)
    pseudo_N = n * full - (n - 1) * left_out_N
    half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * pseudo_N.std(ddof=1) / np.sqrt(n)
    low, high = np.exp(np.clip([pseudo_N.mean() - half, pseudo_N.mean() + half], -600, 600) / 2)
    return Estimate(ratio, float(low), float(high), JACKKNIFE, n)


def left_out_log_variance(values_NS: Array) -> Array:
    """Log sample variance of each series with each seed left out in turn; shape [N, S].

    -inf where nothing varies. Needs three seeds.
    """
    n = values_NS.shape[0]
    centred_NS = values_NS - values_NS.mean(axis=0)
    mean_NS = -centred_NS / (n - 1)
    square_S = (centred_NS**2).sum(axis=0)
    variance_NS = (square_S - centred_NS**2 - (n - 1) * mean_NS**2) / (n - 2)
    log_NS = np.full(values_NS.shape, -np.inf)
    np.log(variance_NS, out=log_NS, where=variance_NS > 1e-20 * square_S)
    return log_NS


def share_interval(successes: int, n: int) -> Estimate:
    """A share with its Wilson score interval, for the trap rate."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is not a share")
    share, z = successes / n, -normal_quantile((1 - CONFIDENCE) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), WILSON, n)


def sign_flip_p_values(
    differences_NS: Array, generator: np.random.Generator, resamples: int = 9999
) -> Array:
    """Two-sided paired permutation p-values of zero mean difference; shape [S].

    Signs of the per-seed differences are flipped, the same flips for every series; exact while
    2^N <= `resamples`.

    Args:
        differences_NS: Float array, shape [N seeds, S series].
        generator: Source of the flips.
        resamples: Flips drawn where enumerating them all would be more.
    """
    differences_NS = finite(differences_NS)
    if differences_NS.shape[0] < 2:
        raise ValueError("a permutation test needs at least two pairs")
    n = len(differences_NS)
    exact = 2**n <= resamples
    signs_FN = _all_signs(n) if exact else _drawn_signs(n, resamples, generator)
    means_FS = signs_FN @ differences_NS / n
    mean_S = differences_NS.mean(axis=0)
    # sums that are equal but for rounding count as equal
    slack_S = 100 * np.finfo(float).eps * np.abs(differences_NS).mean(axis=0)
    below_S = (means_FS <= mean_S + slack_S).sum(axis=0)
    above_S = (means_FS >= mean_S - slack_S).sum(axis=0)
    # what was found is one of the flips: of all of them already, beside drawn ones not yet
    found = 0 if exact else 1
    p_S: Array = 2.0 * (np.minimum(below_S, above_S) + found) / (len(signs_FN) + found)
    return np.minimum(p_S, 1.0)


def _all_signs(n: int) -> Array:
    """Every choice of n signs; shape [2^N flips, N]."""
    bits_FN = np.arange(2**n)[:, None] >> np.arange(n) & 1
    signs_FN: Array = 1.0 - 2.0 * bits_FN.astype(float)
    return signs_FN


def _drawn_signs(n: int, flips: int, generator: np.random.Generator) -> Array:
    """Signs drawn as `scipy.stats.permutation_test` draws them, in batches; shape [F flips, N]."""
    pairs = np.tile(np.arange(2), (BATCH, n, 1))
    drawn = [generator.permuted(pairs, axis=-1)[..., 0] for _ in range(0, flips, BATCH)]
    signs_FN: Array = 1.0 - 2.0 * np.concatenate(drawn)[:flips]
    return signs_FN


def smallest_p(n: int, resamples: int = 9999) -> float:
    """The smallest p-value that `sign_flip_p_values` can give with n pairs."""
    return max(2.0 ** (1 - n), 2 / (resamples + 1) if 2**n > resamples else 0.0)


def holm(p_values: Sequence[float] | Array) -> Array:
    """p-values adjusted for their number by Holm's step-down method (Holm 1979); shape [S]."""
    # not statsmodels' multipletests: it collects garbage first, 70 ms a call
    p_S = finite(p_values)
    order = np.argsort(p_S, kind="stable")
    adjusted_S = np.empty_like(p_S)
    adjusted_S[order] = np.maximum.accumulate(p_S[order] * np.arange(p_S.size, 0, -1))
    return np.minimum(adjusted_S, 1.0)


def finite(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        raise ValueError("no values to estimate from")
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite: label the setting instead of estimating from it")
    return array
