"""GRPO: a round of samples, and one update with the KL penalty in the loss."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.losses import grpo_advantage, grpo_loss, grpo_slope
from recalltrap_studies.mog.alignment.rewards import (
    reward_measures,
    reward_of,
    seen_reward,
    squared_distance,
)
from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import density, score, terms, transform
from recalltrap_studies.mog.program.noise import Noise


def iteration(*, kl_estimator: str) -> Iteration:
    """A round with its update."""
    return Iteration(partial(grpo_step, estimator=kl_estimator))


def grpo_step(state: State, hp: Hyperparameters, noise: Tensor, *, estimator: str) -> State:
    """Sample the policy, score the samples, one update."""
    drawn = Noise(*noise)
    x, y = transform(state.params, drawn)
    t = terms(state.params)
    d = density(t, x, y)
    logp_ref = density(terms(hp.source), x, y).log_prob
    reward = reward_of(squared_distance(x, y, hp), hp)
    # the only update of a round: the policy that drew the samples is the one that learns
    advantage = grpo_advantage(seen_reward(reward, drawn, hp))
    args = (d.log_prob, d.log_prob, advantage, logp_ref, hp.kl_weight)
    state = adam(state, hp, score(t, d, grpo_slope(*args, estimator)))
    loss = grpo_loss(*args, estimator)[:, None]
    return recorded(state, torch.cat([reward_measures(reward, d.log_prob - logp_ref), loss], 1))
