"""Maximum likelihood on fresh samples of another mixture: how p' is fitted and students learn."""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import density, score, terms, transform
from recalltrap_studies.mog.program.noise import Noise


def nll_loss(logp: Tensor) -> Tensor:
    """Negative log-likelihood [R] of samples [R, N]: the forward KL(data || model) up to the data's
    entropy."""
    return -logp.mean(1)


def nll_slope(logp: Tensor) -> Tensor:
    """dloss / dlogp, [R, N]: -1 / N for every sample."""
    return torch.full_like(logp, -1.0 / logp.shape[1])


def fit_step(state: State, hp: Hyperparameters, noise: Tensor) -> State:
    """One update on fresh samples of `hp.source`."""
    x, y = transform(hp.source, Noise(*noise))
    t = terms(state.params)
    d = density(t, x, y)
    state = adam(state, hp, score(t, d, nll_slope(d.log_prob)))
    return recorded(state, nll_loss(d.log_prob)[:, None])


def iteration() -> Iteration:
    """One update on a batch."""
    return Iteration(fit_step)
