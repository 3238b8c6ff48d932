"""PPO: a round of samples, and updates of policy and baseline on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.losses import (
    ppo_clipped,
    ppo_loss,
    ppo_slope,
    shaped_reward,
    value_slope,
)
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
    adam_update,
    recorded,
)
from recalltrap_studies.mog.program.mixture import density, score, terms, transform
from recalltrap_studies.mog.program.noise import Noise


class Rollout(NamedTuple):
    """A round of the policy's samples, each [R, N] but for `measures`."""

    x: Tensor
    y: Tensor
    log_prob: Tensor
    returns: Tensor
    advantage: Tensor
    measures: Tensor  # [R, 3]


def iteration(*, ppo_epochs: int) -> Iteration:
    """A rollout with its first update, and the `ppo_epochs` - 1 that follow."""
    update = partial(ppo_update, epochs=ppo_epochs)
    return Iteration(_first(update, ppo_epochs), partial(update, first=False), ppo_epochs - 1)


def _first(
    update: Callable[..., State], epochs: int
) -> Callable[[State, Hyperparameters, Tensor], Any]:
    def iterate(state: State, hp: Hyperparameters, noise: Tensor) -> State | tuple[State, Rollout]:
        rollout = ppo_rollout(state, hp, noise)
        state = update(state, hp, rollout, first=True)
        return state if epochs == 1 else (state, rollout)

    return iterate


def ppo_rollout(state: State, hp: Hyperparameters, noise: Tensor) -> Rollout:
    """Sample the policy and score the samples."""
    drawn = Noise(*noise)
    x, y = transform(state.params, drawn)
    logp = density(terms(state.params), x, y).log_prob
    logp_ref = density(terms(hp.source), x, y).log_prob
    reward = reward_of(squared_distance(x, y, hp), hp)
    returns = shaped_reward(seen_reward(reward, drawn, hp), logp, logp_ref, hp.kl_weight)
    measures = reward_measures(reward, logp - logp_ref)
    baseline = state.carried[:, 0:1]
    return Rollout(x, y, logp, returns, returns - baseline, measures)


def ppo_update(
    state: State, hp: Hyperparameters, rollout: Rollout, *, epochs: int, first: bool
) -> State:
    """One of `epochs` updates of policy and baseline on a rollout."""
    t = terms(state.params)
    d = density(t, rollout.x, rollout.y)
    ratio_terms = (d.log_prob, rollout.log_prob, rollout.advantage, hp.own["clip_range"])
    gradient = score(t, d, ppo_slope(*ratio_terms))
    # a round counts once: its samples with the first update, its losses as their mean
    clipped = ppo_clipped(*ratio_terms).float().mean(1)
    losses = torch.stack([ppo_loss(*ratio_terms), clipped], 1) / epochs
    measures = rollout.measures if first else torch.zeros_like(rollout.measures)
    slope = value_slope(state.carried[:, 0:1], rollout.returns)
    state = adam(state, hp, gradient)
    # the baseline follows its own gradient at its own rate, with the policy's count of steps
    baseline = adam_update(
        (state.carried[:, 0:1], state.carried[:, 1:2], state.carried[:, 2:3]),
        slope,
        (hp.own["value_learning_rate"], hp.beta_1, hp.beta_2, hp.epsilon),
        state.decay[..., None],
    )
    state = state._replace(carried=torch.cat(baseline, 1))
    return recorded(state, torch.cat([measures, losses], 1))
