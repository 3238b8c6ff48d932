"""What one iteration of an algorithm is, for R rows that share their shapes, and Adam's step.

A row is one execution of a stage. All settings but shapes are tensors with one entry a row, so rows
of different settings and seeds advance together, and nothing a row computes depends on another.
Legend: R rows, P parameters a component, K components, N samples a batch, T targets, M measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class State(NamedTuple):
    """What an iteration changes."""

    params: Tensor  # [R, P, K]
    moment_1: Tensor  # Adam's, [R, P, K]
    moment_2: Tensor
    carried: Tensor  # the algorithm's own numbers, [R, C]
    decay: Tensor  # beta1^t and beta2^t, [R, 2]
    record: Tensor  # sums of the measures over iterations, [R, M]


class Hyperparameters(NamedTuple):
    """The rows' settings as tensors, each [R, 1] unless said."""

    rate: Tensor
    beta_1: Tensor
    beta_2: Tensor
    epsilon: Tensor
    source: Tensor  # parameters [R, P, K'] of teacher, data or reference
    held: dict[str, Tensor]  # parameters of the models that the algorithm holds besides
    kl_weight: Tensor
    height: Tensor
    sharpness: Tensor
    target_x: Tensor  # [R, T]
    target_y: Tensor  # [R, T]
    own: dict[str, Tensor]  # the algorithm's own columns, by setting


Batch = Any
"""The samples' noise, [3 or 4, R, N], or what `Iteration.minibatches` gives; None where nothing is
sampled."""
Step = Callable[[State, Hyperparameters, Batch], State]
Update = Callable[[State, Hyperparameters, Any], State]
DrawNoise = Callable[[int], Tensor]
"""Number of samples -> their noise, [planes, R, samples]."""
Minibatches = Callable[[Hyperparameters, DrawNoise, Tensor, int], Callable[[int], Batch]]
"""(hyperparameters, noise, keys of the order [R, 2], batch size) -> (iteration -> minibatch)."""


@dataclass(frozen=True)
class Iteration:
    """What a module with an algorithm's code makes of the settings that shape it.

    The functions are compiled where a compiler is there: the same shaping gives the same functions.
    """

    first: Callable[[State, Hyperparameters, Batch], Any]
    """One iteration: the new state, or where `again` follows, also the samples it drew."""
    again: Update | None = None
    """A further update on the same samples."""
    repeats: int = 0
    """How often `again` follows `first`."""
    minibatches: Minibatches | None = None
    """Where batches come from a fixed set rather than from the policy."""
    monitor: Callable[[Tensor, Hyperparameters, Tensor], Tensor] | None = None
    """(parameters, hyperparameters, noise) -> the measures on fresh samples, [R, M]."""


@dataclass(frozen=True)
class Shape:
    """What rows must share to advance together: everything that decides the compiled program."""

    algorithm: str
    components: int
    parameters: int
    source_components: int  # of the teacher, the data or the reference
    batch: int  # 0 where nothing is sampled
    targets: int = 0
    noisy: bool = False  # whether the rewards that it learns from are
    held: tuple[int, ...] = ()  # components of the models that the algorithm holds besides
    own: tuple[tuple[str, object], ...] = ()  # the algorithm's settings that shape its iteration


def adam(state: State, hp: Hyperparameters, gradient: Tensor) -> State:
    """Adam with bias correction (Kingma & Ba 2015, algorithm 1)."""
    decay = torch.cat([hp.beta_1, hp.beta_2], 1) * state.decay
    params, moment_1, moment_2 = adam_update(
        (state.params, state.moment_1, state.moment_2),
        gradient,
        tuple(t[..., None] for t in (hp.rate, hp.beta_1, hp.beta_2, hp.epsilon)),
        decay[..., None, None],
    )
    return state._replace(params=params, moment_1=moment_1, moment_2=moment_2, decay=decay)


def adam_update(
    current: tuple[Tensor, Tensor, Tensor], g: Tensor, hyper: tuple[Tensor, ...], decay: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A parameter and its two moments after one step.

    Args:
        current: Parameter, first and second moment, each [R, ...].
        g: The gradient, [R, ...].
        hyper: Learning rate, beta1, beta2 and epsilon, each [R, 1, ...].
        decay: beta1^t and beta2^t at this step, [R, 2, 1, ...].
    """
    p, m, v = current
    rate, beta_1, beta_2, epsilon = hyper
    m = beta_1 * m + (1.0 - beta_1) * g
    v = beta_2 * v + (1.0 - beta_2) * g * g
    step = m / (1.0 - decay[:, 0])
    return p - rate * step / (torch.sqrt(v / (1.0 - decay[:, 1])) + epsilon), m, v


def recorded(state: State, measures: Tensor) -> State:
    """The state with an iteration's measures [R, M] added to its record."""
    return state._replace(record=state.record + measures)
