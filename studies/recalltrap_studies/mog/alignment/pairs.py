"""Pairs of samples, labelled by the reward: what online and offline DPO learn from.

Legend: R rows, N pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.rewards import reward_of, seen_reward, squared_distance
from recalltrap_studies.mog.program.iteration import Hyperparameters
from recalltrap_studies.mog.program.mixture import density, terms, transform
from recalltrap_studies.mog.program.noise import Noise


class Pairs(NamedTuple):
    """A minibatch of labelled pairs: first samples in [:, :N], second ones in [:, N:]."""

    x: Tensor  # [R, 2N]
    y: Tensor  # [R, 2N]
    delta_ref: Tensor  # log pi_ref(first) - log pi_ref(second), [R, N]
    sign: Tensor  # +1 where the first is preferred, -1 where the second is, [R, N]


def halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """What belongs to the first and to the second samples, each [R, N]."""
    count = values.shape[1] // 2
    return values[:, :count], values[:, count:]


def labels(x: Tensor, y: Tensor, noise: Noise, hp: Hyperparameters) -> Tensor:
    """+1 where the first sample of a pair is preferred, -1 where the second is, [R, N].

    Distances are compared, not rewards, which tie where they underflow to zero far from a target.
    Noisy rewards are compared themselves.
    """
    distance = squared_distance(x, y, hp)
    first, second = halves(distance)
    won = first <= second
    if noise.reward is not None:
        first, second = halves(seen_reward(reward_of(distance, hp), noise, hp))
        won = first >= second
    if noise.flip is not None:
        won = won ^ (halves(noise.flip)[0] < hp.own["preference_noise"])
    return torch.where(won, 1.0, -1.0)


def labelled_pairs(params: Tensor, hp: Hyperparameters, noise: Noise) -> tuple[Pairs, Tensor]:
    """Samples of `params` as labelled pairs, and the reference's log-probabilities [R, 2N]."""
    x, y = transform(params, noise)
    logp_ref = density(terms(hp.source), x, y).log_prob
    first, second = halves(logp_ref)
    return Pairs(x, y, first - second, labels(x, y, noise, hp)), logp_ref
