"""`adpa` (arXiv 2502.17927): SFT(y+) - gamma E_student[A(x)], A = log(aligned / reference).

The expectation over the student's actions is exact, by its own nodes with the gradient through
nodes and weights; there is no score-function term. Neither density is sharpened: the advantage is
that of the alignment as it was made. It has no bound that the loss would notice, so the record
watches the student (`guard`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.distillation.preferred_samples import REFERENCE, preferred, sft_loss
from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import density, log_prob, slope, terms
from recalltrap_studies.mog.program.nodes import Nodes, mean_over, nodes_of, path_gradient
from recalltrap_studies.mog.program.noise import Noise

START = "start"
"""The student before this distillation, by its name among a node's parents."""

HELD = {"teacher_sft": REFERENCE, "student_init": START}
"""What the advantage is counted from, by `advantage_reference`."""


def iteration(*, advantage_reference: str) -> Iteration:
    """One update on fresh pairs."""
    held = HELD[advantage_reference]

    def step(state: State, hp: Hyperparameters, noise: Tensor) -> State:
        return adpa_step(state, hp, Noise(*noise), hp.held[held])

    return Iteration(step)


def adpa_step(state: State, hp: Hyperparameters, noise: Noise, reference: Tensor) -> State:
    """One update; `hp.source` is the aligned teacher, `reference` what A is counted from."""
    t = terms(state.params)
    sft, gradient = sft_loss(t, *preferred(hp, noise))
    nodes = nodes_of(state.params)
    values, along = advantage(hp.source, reference, nodes)
    mean_advantage = mean_over(nodes, values)
    gamma = hp.own["advantage_weight"]
    gained = path_gradient(state.params, nodes, values, along)
    log_student = density(t, nodes.x, nodes.y).log_prob
    entropy = -mean_over(nodes, log_student)
    # the reverse KL(student || start)
    moved = mean_over(nodes, log_student - log_prob(hp.held[START], nodes.x, nodes.y))
    state = adam(state, hp, gradient - gamma[..., None] * gained)
    loss = sft - gamma[:, 0] * mean_advantage
    return recorded(state, torch.stack([loss, mean_advantage, entropy, moved], 1))


def advantage(
    aligned: Tensor, reference: Tensor, nodes: Nodes
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A = log aligned - log reference at the nodes, [R, M], and its slope along x and y."""
    parts = []
    for params in (aligned, reference):
        t = terms(params)
        d = density(t, nodes.x, nodes.y)
        parts.append((d.log_prob, *slope(t, d)))
    value, along_x, along_y = (a - b for a, b in zip(*parts, strict=True))
    return value, (along_x, along_y)
