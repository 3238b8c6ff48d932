"""Online DPO: fresh pairs of the current policy, labelled, and one update on them."""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.losses import dpo_gradient_weight, dpo_loss, dpo_slope
from recalltrap_studies.mog.alignment.pairs import Pairs, halves, labelled_pairs
from recalltrap_studies.mog.alignment.rewards import reward_measures, reward_of, squared_distance
from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import density, score, terms
from recalltrap_studies.mog.program.noise import Noise


def iteration() -> Iteration:
    """A batch of pairs with its update."""
    return Iteration(dpo_online_step)


def dpo_online_step(state: State, hp: Hyperparameters, noise: Tensor) -> State:
    """Sample fresh pairs, label them, one update."""
    pairs, logp_ref = labelled_pairs(state.params, hp, Noise(*noise))
    state, logp, measures = dpo_update(state, hp, pairs)
    reward = reward_of(squared_distance(pairs.x, pairs.y, hp), hp)
    rewards = reward_measures(reward, logp - logp_ref)
    return recorded(state, torch.cat([rewards, measures], 1))


def dpo_update(state: State, hp: Hyperparameters, pairs: Pairs) -> tuple[State, Tensor, Tensor]:
    """One update on labelled pairs: the state, the policy's log-probabilities [R, 2N] before it,
    and loss and gradient weight [R, 2]."""
    t = terms(state.params)
    d = density(t, pairs.x, pairs.y)
    first, second = halves(d.log_prob)
    args = (first - second, pairs.delta_ref, pairs.sign, hp.kl_weight)
    slope = dpo_slope(*args)
    measures = torch.stack([dpo_loss(*args), dpo_gradient_weight(*args).mean(1)], 1)
    state = adam(state, hp, score(t, d, torch.cat([slope, -slope], 1)))
    return state, d.log_prob, measures
