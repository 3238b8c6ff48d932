"""How the reward is distributed over samples of the stored references (the paper's figure 2b).

Two-dimensional mixtures only: their samples are drawn here, with a generator of our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recalltrap.errors import InputError
from recalltrap.streams import stream
from recalltrap_analysis.figures.contours import Mixture
from recalltrap_analysis.figures.reward_distribution import reward_distribution
from recalltrap_analysis.figures.style import P_PRIME, P_SECOND
from recalltrap_analysis.mixture.stored_mixtures import ground_truth, load_mixture
from recalltrap_analysis.number_format import decimal_text, point_text, share_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import cells_at, deepest
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.summary import Summary

BINS = 40


def reward_distribution_plot(run: ReadRun, summary: Summary) -> Plot:
    """How often each reference's samples get which reward, as in the paper's figure 2(b)."""
    stem = "densities"
    points = deepest(summary.order_effect, 1)
    if not points:
        return Plot(stem, "No grid point is complete, so no reference's rewards are drawn.")
    point = points[0]
    settings = summary.design.settings[point]
    shares: dict[str, Array] = {}
    generator = stream(0, "analysis/densities")
    try:
        targets = ground_truth(run.study.kind, settings)["targets"]
        for title, name in (("p' (reference of A-K)", "p_prime"),
                            ("p'' (reference of K-A)", "p_second")):  # fmt: skip
            nodes = {
                cell.seed: cell.models[name]
                for cell in cells_at(summary.cells, summary.axes, point)
            }
            models = [load_mixture(f"{title}, seed {s}", n, run.store) for s, n in nodes.items()]
            shares[title] = reward_shares(models, targets, settings["reward_sharpness"], generator)
    except (InputError, OSError, ValueError, KeyError) as error:
        return Plot(stem, f"The references' rewards can't be drawn: {error}.")
    best = [float(seeds[:, -BINS // 10 :].sum(axis=1).mean()) for seeds in shares.values()]
    where = f" at {point_text(point, summary.axes)}" if summary.axes else ""
    caption = (
        f"Rewards of samples from the stored references{where}, as in the paper's figure 2(b): "
        "5,000 samples of each seed's model, drawn for this figure; bands span the seeds. "
        f"R ≥ 0.9 R_max: {share_text(best[0], 2)} of samples from p', "
        f"{share_text(best[1], 2)} from p''."
    )
    words = (
        "Histograms of normalised reward; share above 0.9: "
        f"{decimal_text(best[0], 4)} and {decimal_text(best[1], 4)}."
    )
    tints = dict(zip(shares, (P_PRIME, P_SECOND), strict=True))
    means = {name: seeds.mean(axis=0) for name, seeds in shares.items()}
    return Plot(stem, caption, words, reward_distribution(means, shares, tints))


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
