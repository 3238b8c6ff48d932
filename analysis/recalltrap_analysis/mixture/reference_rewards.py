"""Rewards of samples of the stored references, for best of n: drawn here, always the same ones."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from recalltrap.graph import Cell
from recalltrap.streams import stream
from recalltrap_analysis.mixture.reward_distribution import draw_samples, normalised_reward
from recalltrap_analysis.mixture.stored_mixtures import ground_truth, load_mixture
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.kind_record import RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.statistics.paired import Array

SAMPLES = 4096
"""Of each reference: some forty disjoint sets for the best of 100."""
DECIDING = ("modes", "spacing", "targets", "reward_height", "reward_sharpness")
"""Settings that decide a sample's reward."""


def reward_key(cell: Cell, name: str) -> Hashable:
    """The model, and what decides its samples' rewards."""
    return cell.models[name].id, *(hashable(cell.factors[setting]) for setting in DECIDING)


def reference_rewards(cell: Cell, name: str, store: ArtifactReader) -> Array:
    """Rewards of samples of one reference, shape [1, SAMPLES]: there is one prompt.

    p' and p'' of a seed are drawn with the same numbers.

    Raises:
        InputError: the model is not stored, is damaged, or is not a mixture in the plane.
    """
    settings = cell.factors
    targets_T2 = ground_truth(cell.kind, settings)["targets"]
    model = load_mixture(f"{name} of seed {cell.seed}", cell.models[name], store)
    points_N2 = draw_samples(model, SAMPLES, stream(cell.seed, "analysis/best-of-n"))
    share_N = normalised_reward(points_N2, targets_T2, float(settings["reward_sharpness"]))
    return np.asarray(float(settings["reward_height"]) * share_N[None])


REWARD_SAMPLES = RewardSamples(reward_key, reference_rewards)
