"""Offline DPO: pairs sampled once from the reference, and updates on minibatches of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.online_dpo import dpo_update
from recalltrap_studies.mog.alignment.pair_sets import PairSet, in_pairs
from recalltrap_studies.mog.alignment.pairs import Pairs, labelled_pairs
from recalltrap_studies.mog.alignment.rewards import fresh_reward_measures
from recalltrap_studies.mog.program.iteration import (
    DrawNoise,
    Hyperparameters,
    Iteration,
    Minibatches,
    State,
    recorded,
)


def iteration(*, offline_pairs: int) -> Iteration:
    """A minibatch of the fixed pairs with its update; the policy is sampled to be watched only."""
    return Iteration(
        dpo_offline_step, minibatches=_minibatches(offline_pairs), monitor=fresh_reward_measures
    )


def dpo_offline_step(state: State, hp: Hyperparameters, pairs: Pairs) -> State:
    """One update on a minibatch of the fixed pairs."""
    state, _, measures = dpo_update(state, hp, pairs)
    return recorded(state, measures)


def _minibatches(count: int) -> Minibatches:
    @torch.no_grad()
    def draw(
        hp: Hyperparameters, noise: DrawNoise, key_R2: Tensor, batch: int
    ) -> Callable[[int], Pairs]:
        pairs, _ = labelled_pairs(hp.source, hp, in_pairs(noise(2 * count)))
        return PairSet(pairs, key_R2, batch).minibatch

    return draw
