"""`on_policy`: a generalised Jensen-Shannon divergence, learned where the student goes (GKD).

The expectations are exact, so there is no share of on-policy data to choose: under the teacher by
its nodes, under the student by the student's, with the gradient through nodes and weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.distillation.divergences import (
    jensen_shannon,
    jensen_shannon_derivative,
)
from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import density, log_prob, score, slope, terms
from recalltrap_studies.mog.program.nodes import mean_over, nodes_of, path_gradient


def iteration() -> Iteration:
    """One update."""
    return Iteration(on_policy_step)


def on_policy_step(state: State, hp: Hyperparameters, _: None) -> State:
    """One update; `hp.source` is the teacher, sharpened."""
    loss, gradient = on_policy_loss(state.params, hp.source, hp.own["jsd_mix"])
    return recorded(adam(state, hp, gradient), loss[:, None])


def on_policy_loss(params: Tensor, teacher: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """The divergence [R] and its gradient [R, P, K]; `mix` [R, 1]."""
    t, own = terms(params), nodes_of(params)
    d = density(t, own.x, own.y)
    t_teacher = terms(teacher)
    d_teacher = density(t_teacher, own.x, own.y)
    theirs = nodes_of(teacher)
    there = density(t, theirs.x, theirs.y)
    under_teacher, under_student = jensen_shannon(
        (log_prob(teacher, theirs.x, theirs.y), there.log_prob),
        (d_teacher.log_prob, d.log_prob),
        mix,
    )
    loss = mean_over(theirs, under_teacher) + mean_over(own, under_student)
    slopes = (slope(t_teacher, d_teacher), slope(t, d))
    value, along = jensen_shannon_derivative(d_teacher.log_prob, d.log_prob, slopes, mix)
    # forward KL(T || pi) is learned at the teacher's nodes: its derivative -T / pi is wild at ours
    forward = score(t, there, -theirs.weight)
    gradient = path_gradient(params, own, value, along)
    return loss, torch.where(mix[..., None] == 0.0, forward, gradient)
