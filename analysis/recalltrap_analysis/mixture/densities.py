"""How the oracle's reward is distributed over a stored mixture's samples (the paper's figure 2b).

Two-dimensional mixtures only: their samples are drawn here, with a generator of our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recalltrap_analysis.figures.contours import Mixture
from recalltrap_analysis.statistics.paired import Array

BINS = 40


def draw_samples(model: Mixture, count: int, generator: np.random.Generator) -> Array:
    """Samples of a mixture, shape [count, 2]."""
    weights_K = model.weights_K.astype(float)
    component_N = generator.choice(len(weights_K), size=count, p=weights_K / weights_K.sum())
    noise_N2 = generator.standard_normal((count, 2))
    l11_N, l21_N, l22_N = model.cholesky_K3.astype(float)[component_N].T
    x_N = l11_N * noise_N2[:, 0]
    y_N = l21_N * noise_N2[:, 0] + l22_N * noise_N2[:, 1]
    return np.asarray(model.means_K2.astype(float)[component_N] + np.stack([x_N, y_N], axis=1))


def normalised_reward(points_N2: Array, targets_T2: Array, sharpness: float) -> Array:
    """R / R_max = max over targets of exp(-sharpness·‖x - c‖²) (eq. 8), shape [N]."""
    square_NT = ((points_N2[:, None, :] - targets_T2[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-sharpness * square_NT.min(axis=1)))


def reward_shares(
    models: Sequence[Mixture],
    targets_T2: Array,
    sharpness: float,
    generator: np.random.Generator,
    samples: int = 5000,
) -> Array:
    """The share of samples in each of 40 equal bins of R / R_max, per model; shape [M, 40]."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    shares = []
    for model in models:
        reward_N = normalised_reward(draw_samples(model, samples, generator), targets_T2, sharpness)
        shares.append(np.histogram(np.clip(reward_N, 0, 1), edges)[0] / samples)
    return np.array(shares)
