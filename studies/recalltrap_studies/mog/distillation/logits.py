"""`logits`: the forward KL(T || student) to the teacher's density itself, without sampling."""

from __future__ import annotations

from torch import Tensor

from recalltrap_studies.mog.program.iteration import (
    Hyperparameters,
    Iteration,
    State,
    adam,
    recorded,
)
from recalltrap_studies.mog.program.mixture import Terms, density, log_prob, score, terms
from recalltrap_studies.mog.program.nodes import mean_over, nodes_of


def iteration() -> Iteration:
    """One update."""
    return Iteration(logits_step)


def logits_step(state: State, hp: Hyperparameters, _: None) -> State:
    """One update; `hp.source` is the teacher, sharpened."""
    loss, gradient = forward_kl(terms(state.params), hp.source)
    return recorded(adam(state, hp, gradient), loss[:, None])


def forward_kl(t: Terms, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The forward KL(teacher || student) in nats, [R], and its gradient [R, P, K].

    Which is that of -E_T[log student]: the teacher's entropy has none.
    """
    nodes = nodes_of(teacher)
    d = density(t, nodes.x, nodes.y)
    kl = mean_over(nodes, log_prob(teacher, nodes.x, nodes.y) - d.log_prob)
    return kl, score(t, d, -nodes.weight)
