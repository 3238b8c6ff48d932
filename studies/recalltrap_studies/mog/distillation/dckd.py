"""`dckd` (arXiv 2502.17927): SFT(y+) + w [KL(aligned || student) on y+ and on y-].

The teacher is the aligned model as it is, not sharpened: its log-probabilities carry the preference
signal. A point is an answer of one step, so its whole distribution is met at the first step whoever
answered, and both KLs are the same forward KL: together 2 w KL(aligned || student).
"""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.distillation.logits import forward_kl
from recalltrap_studies.mog.distillation.preferred_samples import preferred, sft_loss
from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import terms
from recalltrap_studies.mog.program.noise import Noise


def iteration() -> Iteration:
    """One update on fresh pairs."""
    return Iteration(dckd_step)


def dckd_step(state: State, hp: Hyperparameters, noise: Tensor) -> State:
    """One update on fresh pairs; `hp.source` is the aligned teacher."""
    t = terms(state.params)
    sft, sft_gradient = sft_loss(t, *preferred(hp, Noise(*noise)))
    kl, kl_gradient = forward_kl(t, hp.source)
    weight = 2.0 * hp.own["dckd_weight"]  # once on y+, once on y-
    loss = sft + weight[:, 0] * kl
    state = adam(state, hp, sft_gradient + weight[..., None] * kl_gradient)
    return recorded(state, torch.stack([loss, kl], 1))
