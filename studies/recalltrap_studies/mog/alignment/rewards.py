"""The reward of a block's rows as tensors (eq. 8), and what is measured of it.

Legend: R rows, N samples, T targets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.program.iteration import Hyperparameters
from recalltrap_studies.mog.program.mixture import density, terms, transform
from recalltrap_studies.mog.program.noise import Noise


def squared_distance(x: Tensor, y: Tensor, hp: Hyperparameters) -> Tensor:
    """To the nearest target, [R, N]."""
    distances = [
        (x - hp.target_x[:, t : t + 1]) ** 2 + (y - hp.target_y[:, t : t + 1]) ** 2
        for t in range(hp.target_x.shape[1])
    ]
    nearest = distances[0]
    for other in distances[1:]:
        nearest = torch.minimum(nearest, other)
    return nearest


def reward_of(distance: Tensor, hp: Hyperparameters) -> Tensor:
    """Eq. 8 at squared distances [R, N]."""
    return hp.height * torch.exp(-hp.sharpness * distance)


def seen_reward(reward: Tensor, noise: Noise, hp: Hyperparameters) -> Tensor:
    """What an alignment learns of rewards [R, N]: with noise where the row's rewards are noisy."""
    if noise.reward is None:
        return reward
    return reward + hp.own["reward_noise"] * noise.reward


def reward_measures(reward: Tensor, log_ratio: Tensor) -> Tensor:
    """`registry.REWARD_MEASURES` of the policy's samples, [R, 3].

    `log_ratio` is log pi / pi_ref, [R, N]: its mean estimates the reverse KL(pi || pi_ref).
    """
    return torch.stack([reward.mean(1), (reward * reward).mean(1), log_ratio.mean(1)], 1)


def fresh_reward_measures(params: Tensor, hp: Hyperparameters, noise: Tensor) -> Tensor:
    """The same on fresh samples of the policy `params` [R, P, K]."""
    x, y = transform(params, Noise(*noise))
    log_ratio = density(terms(params), x, y).log_prob - density(terms(hp.source), x, y).log_prob
    return reward_measures(reward_of(squared_distance(x, y, hp), hp), log_ratio)
