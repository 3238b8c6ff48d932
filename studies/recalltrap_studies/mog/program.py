"""The batched program: one iteration of every stage, for R rows that share their shapes.

A row is one execution of a stage. All settings but shapes are tensors with one entry a row, so rows
of different settings and seeds advance together, and nothing a row computes depends on another.
Legend: R rows, P parameters a component, K components, N samples a batch, T targets, M measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from recalltrap_studies.mog import objectives as ob
from recalltrap_studies.mog.mixture import density, score, terms, transform
from recalltrap_studies.mog.randoms import Noise

REWARD_MEASURES = ("reward", "reward_square", "kl")
MEASURES: dict[str, tuple[str, ...]] = {
    "fit": ("loss",),
    "ppo": (*REWARD_MEASURES, "loss", "clip_fraction"),
    "grpo": (*REWARD_MEASURES, "loss"),
    "dpo_online": (*REWARD_MEASURES, "loss", "gradient_weight"),
    "dpo_offline": ("loss", "gradient_weight"),
}
"""What each iteration adds to `State.record`, by action."""


@dataclass(frozen=True)
class Shape:
    """What rows must share to advance together: everything that decides the compiled program."""

    action: str  # a key of MEASURES
    components: int
    parameters: int
    source_components: int  # of the teacher, the data or the reference
    batch: int
    targets: int = 0
    epochs: int = 1
    estimator: str = ""

    @property
    def paired(self) -> bool:
        """Whether an iteration samples pairs."""
        return self.action.startswith("dpo")


class State(NamedTuple):
    """What an iteration changes."""

    params: Tensor  # [R, P, K]
    moment_1: Tensor  # Adam's, [R, P, K]
    moment_2: Tensor
    value: Tensor  # PPO's baseline and its moments, [R, 3]; unused otherwise
    decay: Tensor  # beta1^t and beta2^t, [R, 2]
    record: Tensor  # sums of the measures over iterations, [R, M]


class Settings(NamedTuple):
    """The rows' settings, each [R, 1] unless said."""

    rate: Tensor
    beta_1: Tensor
    beta_2: Tensor
    epsilon: Tensor
    source: Tensor  # parameters [R, P, K'] of teacher, data or reference
    kl_weight: Tensor
    height: Tensor
    sharpness: Tensor
    target_x: Tensor  # [R, T]
    target_y: Tensor  # [R, T]
    clip: Tensor
    value_rate: Tensor
    label_noise: Tensor


class Pairs(NamedTuple):
    """A minibatch of labelled pairs: first samples in [:, :N], second ones in [:, N:]."""

    x: Tensor  # [R, 2N]
    y: Tensor  # [R, 2N]
    delta_ref: Tensor  # [R, N]
    sign: Tensor  # [R, N]


class Rollout(NamedTuple):
    """A round of the policy's samples for PPO, each [R, N] but for `measures`."""

    x: Tensor
    y: Tensor
    log_prob: Tensor
    returns: Tensor
    advantage: Tensor
    measures: Tensor  # [R, 3]


Step = Callable[[State, Settings, Tensor | Pairs], State]
"""One iteration; the last argument is the samples' noise, [3 or 4, R, N], or the fixed pairs."""


def squared_distance(x: Tensor, y: Tensor, s: Settings) -> Tensor:
    """To the nearest target, [R, N]."""
    distances = [
        (x - s.target_x[:, t : t + 1]) ** 2 + (y - s.target_y[:, t : t + 1]) ** 2
        for t in range(s.target_x.shape[1])
    ]
    nearest = distances[0]
    for other in distances[1:]:
        nearest = torch.minimum(nearest, other)
    return nearest


def reward_of(distance: Tensor, s: Settings) -> Tensor:
    """Eq. 8."""
    return s.height * torch.exp(-s.sharpness * distance)


def adam(state: State, s: Settings, gradient: Tensor) -> State:
    """Adam with bias correction (Kingma & Ba 2015, algorithm 1)."""
    decay = torch.cat([s.beta_1, s.beta_2], 1) * state.decay
    params, moment_1, moment_2 = _adam(
        (state.params, state.moment_1, state.moment_2),
        gradient,
        tuple(t[..., None] for t in (s.rate, s.beta_1, s.beta_2, s.epsilon)),
        decay[..., None, None],
    )
    return state._replace(params=params, moment_1=moment_1, moment_2=moment_2, decay=decay)


def _adam(
    current: tuple[Tensor, Tensor, Tensor], g: Tensor, hyper: tuple[Tensor, ...], decay: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    p, m, v = current
    rate, beta_1, beta_2, epsilon = hyper
    m = beta_1 * m + (1.0 - beta_1) * g
    v = beta_2 * v + (1.0 - beta_2) * g * g
    step = m / (1.0 - decay[:, 0])
    return p - rate * step / (torch.sqrt(v / (1.0 - decay[:, 1])) + epsilon), m, v


def fit_step(state: State, s: Settings, noise: Tensor) -> State:
    """One step of maximum likelihood on fresh samples of `s.source`."""
    x, y = transform(s.source, Noise(*noise))
    t = terms(state.params)
    d = density(t, x, y)
    state = adam(state, s, score(t, d, ob.nll_slope(d.log_prob)))
    return _record(state, ob.nll_loss(d.log_prob)[:, None])


def _record(state: State, measures: Tensor) -> State:
    return state._replace(record=state.record + measures)


def ppo_rollout(state: State, s: Settings, noise: Tensor) -> Rollout:
    """Sample the policy and score the samples."""
    x, y = transform(state.params, Noise(*noise))
    logp = density(terms(state.params), x, y).log_prob
    logp_ref = density(terms(s.source), x, y).log_prob
    reward = reward_of(squared_distance(x, y, s), s)
    returns = ob.shaped_reward(reward, logp, logp_ref, s.kl_weight)
    measures = _reward_measures(reward, logp - logp_ref)
    return Rollout(x, y, logp, returns, returns - state.value[:, 0:1], measures)


def _reward_measures(reward: Tensor, log_ratio: Tensor) -> Tensor:
    return torch.stack([reward.mean(1), (reward * reward).mean(1), log_ratio.mean(1)], 1)


def ppo_update(state: State, s: Settings, rollout: Rollout, *, epochs: int, first: bool) -> State:
    """One of `epochs` updates of policy and baseline on a rollout."""
    t = terms(state.params)
    d = density(t, rollout.x, rollout.y)
    ratio_terms = (d.log_prob, rollout.log_prob, rollout.advantage, s.clip)
    gradient = score(t, d, ob.ppo_slope(*ratio_terms))
    clipped = ob.ppo_clipped(*ratio_terms).float().mean(1)
    update = torch.stack([ob.ppo_loss(*ratio_terms), clipped], 1) / epochs
    measures = rollout.measures if first else torch.zeros_like(rollout.measures)
    slope = ob.value_slope(state.value[:, 0:1], rollout.returns)
    state = adam(state, s, gradient)
    value = _adam(
        (state.value[:, 0:1], state.value[:, 1:2], state.value[:, 2:3]),
        slope,
        (s.value_rate, s.beta_1, s.beta_2, s.epsilon),
        state.decay[..., None],
    )
    state = state._replace(value=torch.cat(value, 1))
    return _record(state, torch.cat([measures, update], 1))


def grpo_step(state: State, s: Settings, noise: Tensor, *, estimator: str) -> State:
    """One round of GRPO: sample, one update."""
    x, y = transform(state.params, Noise(*noise))
    t = terms(state.params)
    d = density(t, x, y)
    logp_ref = density(terms(s.source), x, y).log_prob
    reward = reward_of(squared_distance(x, y, s), s)
    args = (d.log_prob, d.log_prob, ob.grpo_advantage(reward), logp_ref, s.kl_weight)
    state = adam(state, s, score(t, d, ob.grpo_slope(*args, estimator)))
    loss = ob.grpo_loss(*args, estimator)[:, None]
    return _record(state, torch.cat([_reward_measures(reward, d.log_prob - logp_ref), loss], 1))


def labels(x: Tensor, y: Tensor, flip: Tensor | None, s: Settings) -> Tensor:
    """+1 where the first sample of a pair is preferred, -1 where the second is, [R, N].

    Distances are compared, not rewards, which tie where they underflow to zero far from a target.
    """
    first, second = _halves(squared_distance(x, y, s))
    won = first <= second
    if flip is not None:
        won = won ^ (_halves(flip)[0] < s.label_noise)
    return torch.where(won, 1.0, -1.0)


def _halves(pairs: Tensor) -> tuple[Tensor, Tensor]:
    count = pairs.shape[1] // 2
    return pairs[:, :count], pairs[:, count:]


def dpo_update(state: State, s: Settings, pairs: Pairs) -> tuple[State, Tensor, Tensor]:
    """One update on labelled pairs; also the policy's log-probabilities and the measures."""
    t = terms(state.params)
    d = density(t, pairs.x, pairs.y)
    first, second = _halves(d.log_prob)
    args = (first - second, pairs.delta_ref, pairs.sign, s.kl_weight)
    slope = ob.dpo_slope(*args)
    measures = torch.stack([ob.dpo_loss(*args), ob.dpo_gradient_weight(*args).mean(1)], 1)
    state = adam(state, s, score(t, d, torch.cat([slope, -slope], 1)))
    return state, d.log_prob, measures


def dpo_online_step(state: State, s: Settings, noise: Tensor) -> State:
    """Sample fresh pairs, label them, one update."""
    pairs, logp_ref = labelled_pairs(state.params, s, Noise(*noise))
    state, logp, measures = dpo_update(state, s, pairs)
    reward = reward_of(squared_distance(pairs.x, pairs.y, s), s)
    rewards = _reward_measures(reward, logp - logp_ref)
    return _record(state, torch.cat([rewards, measures], 1))


def labelled_pairs(params: Tensor, s: Settings, noise: Noise) -> tuple[Pairs, Tensor]:
    """Samples of `params` as labelled pairs, and the reference's log-probabilities [R, 2N]."""
    x, y = transform(params, noise)
    logp_ref = density(terms(s.source), x, y).log_prob
    first, second = _halves(logp_ref)
    return Pairs(x, y, first - second, labels(x, y, noise.flip, s)), logp_ref


def dpo_offline_step(state: State, s: Settings, pairs: Pairs) -> State:
    """One update on a minibatch of the fixed pairs."""
    state, _, measures = dpo_update(state, s, pairs)
    return _record(state, measures)


def reward_measures(params: Tensor, s: Settings, noise: Tensor) -> Tensor:
    """Reward, its square and the KL estimate on fresh samples of the policy, [R, 3]."""
    x, y = transform(params, Noise(*noise))
    log_ratio = density(terms(params), x, y).log_prob - density(terms(s.source), x, y).log_prob
    return _reward_measures(reward_of(squared_distance(x, y, s), s), log_ratio)
