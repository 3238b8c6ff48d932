"""Samples of the stored references and their rewards: drawn here, always the same ones."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from recalltrap.graph import Cell
from recalltrap.streams import stream
from recalltrap_analysis.figures.contours import mixture_density
from recalltrap_analysis.mixture.reward_distribution import draw_samples, normalised_reward
from recalltrap_analysis.mixture.stored_mixtures import (
    ground_truth,
    load_mixture,
    mixture,
)
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.kind_record import RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.paired import Array

SAMPLES = 4096
"""Of each reference: some forty disjoint sets for the best of 100."""
DECIDING = ("modes", "spacing", "targets", "reward_height", "reward_sharpness")
"""Settings that decide a sample's reward."""
KNOWN = (
    "The references of mixtures are known densities, and the study's own tables have their exact "
    f"optima. This check treats them as a language model's: it draws {SAMPLES:,} samples of each."
)


def reward_key(cell: Cell, name: str) -> Hashable:
    """The model, and what decides its samples' rewards."""
    return cell.models[name].id, *(hashable(cell.factors[setting]) for setting in DECIDING)


def reference_rewards(cell: Cell, name: str, store: ArtifactReader) -> Array:
    """Rewards of samples of one reference, shape [1, SAMPLES]: there is one prompt.

    p' and p'' of a seed are drawn with the same numbers.

    Raises:
        InputError: the model is not stored, is damaged, or is not a mixture in the plane.
    """
    return _rewards(cell, _points(cell, name, store))[None]


def reference_responses(cell: Cell, name: str, store: ArtifactReader) -> Responses:
    """The same samples; p*'s density judges them. They have no length and no end."""
    points_N2 = _points(cell, name, store)
    truth = mixture("p*", ground_truth(cell.kind, cell.factors))
    nothing_1N = np.broadcast_to(np.nan, (1, SAMPLES))
    density_N = mixture_density(truth, points_N2)
    judge_1N = np.log(np.maximum(density_N, np.finfo(float).tiny))[None]
    reward_1N = _rewards(cell, points_N2)[None]
    return Responses(reward_1N, judge_1N, nothing_1N, nothing_1N, np.ones(1))


def _points(cell: Cell, name: str, store: ArtifactReader) -> Array:
    model = load_mixture(f"{name} of seed {cell.seed}", cell.models[name], store)
    return draw_samples(model, SAMPLES, stream(cell.seed, "analysis/best-of-n"))


def _rewards(cell: Cell, points_N2: Array) -> Array:
    settings = cell.factors
    targets_T2 = ground_truth(cell.kind, settings)["targets"]
    share_N = normalised_reward(points_N2, targets_T2, float(settings["reward_sharpness"]))
    return np.asarray(float(settings["reward_height"]) * share_N)


REWARD_SAMPLES = RewardSamples(reward_key, reference_rewards, reference_responses, note=KNOWN)
