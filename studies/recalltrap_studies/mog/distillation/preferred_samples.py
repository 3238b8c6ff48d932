"""SFT(y+): maximum likelihood on the preferred of two samples of the teacher's reference.

Legend: R rows, N pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.pairs import halves, labels
from recalltrap_studies.mog.program.iteration import Hyperparameters
from recalltrap_studies.mog.program.maximum_likelihood import nll_loss, nll_slope
from recalltrap_studies.mog.program.mixture import Terms, density, score, transform
from recalltrap_studies.mog.program.noise import Noise

REFERENCE = "reference"
"""The model that the teacher's alignment was anchored to, by its name among a node's parents."""


def preferred(hp: Hyperparameters, noise: Noise) -> tuple[Tensor, Tensor]:
    """The chosen samples y+ of fresh pairs, each [R, N].

    Of two samples of the reference the one of the higher reward, but for `preference_noise` and
    `reward_noise`.
    """
    x, y = transform(hp.held[REFERENCE], noise)
    first = labels(x, y, noise, hp) > 0
    (x_1, x_2), (y_1, y_2) = halves(x), halves(y)
    return torch.where(first, x_1, x_2), torch.where(first, y_1, y_2)


def sft_loss(t: Terms, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """-E[log student(y+)], [R], and its gradient [R, P, K]."""
    d = density(t, x, y)
    return nll_loss(d.log_prob), score(t, d, nll_slope(d.log_prob))
