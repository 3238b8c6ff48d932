"""How far an alignment stands from its reference before its first update and after its last.

In K-A and A-K it starts at its reference and both distances are 0 there; under K-A@p' it starts at
p'' and is held to p'. The models decide them, so nothing is recorded while training.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from recalltrap.graph import Node
from recalltrap.streams import stream
from recalltrap_studies.mog.exact.expectations import log_density
from recalltrap_studies.mog.ground_truth import mode_centres
from recalltrap_studies.mog.models import Array, Model
from recalltrap_studies.mog.stage_settings import Alignment
from recalltrap_studies.mog.stages import ALIGN

PAIRS = 4096
"""Pairs that the mean of z is taken over."""

KL, MARGIN = "reference_kl", "preference_margin"
"""The metrics of the `curves` table; each has two steps, 0 and the alignment's length."""


class Parties(NamedTuple):
    """The models of an alignment."""

    start: Model
    reference: Model
    final: Model


def distances(node: Node, models: Parties) -> dict[str, tuple[float, float]]:
    """By metric, the distance before the first update and after the last.

    `reference_kl` is the reverse KL(policy || reference) in nats, by quadrature.
    `preference_margin`, where the algorithm learns from pairs, is the mean over such pairs of
    z = kl_weight * (log policy/reference of the preferred - that of the other), whose sigma(-z) is
    a pair's share of DPO's gradient: sampled, the same numbers for both steps, a flipped label
    counting the other way round, with noisy rewards by how likely it is.

    Args:
        node: The execution of an alignment.
        models: Its parents' models and its own.
    """
    same = node.parents["start"].id == node.parents["reference"].id
    found = {KL: (0.0 if same else kl(models.start, models.reference),
                  kl(models.final, models.reference))}  # fmt: skip
    if ALIGN.algorithm(node.config).paired:
        found[MARGIN] = (
            0.0 if same else mean_margin(node, models.start, models.reference),
            mean_margin(node, models.final, models.reference),
        )
    return found


def kl(policy: Model, reference: Model) -> float:
    """The reverse KL(policy || reference), in nats."""
    return log_density(policy, policy).value - log_density(policy, reference).value


def mean_margin(node: Node, policy: Model, reference: Model) -> float:
    """The mean of z over pairs of whom the algorithm samples, see `distances`."""
    part = ALIGN.part(node)
    assert isinstance(part, Alignment)
    sampled = reference if ALIGN.algorithm(node.config).pair_set else policy
    random = stream(node.seed, "align/margin")
    points_N2 = sampled.transform(random.random(2 * PAIRS), random.standard_normal((2 * PAIRS, 2)))
    targets_T2 = mode_centres(part)[list(part.targets)]
    distance_N = ((points_N2[:, None] - targets_T2) ** 2).sum(axis=2).min(axis=1)
    ratio_P2 = (policy.log_prob(points_N2) - reference.log_prob(points_N2)).reshape(2, PAIRS).T
    sign_P = _expected_label(part, distance_N[:PAIRS], distance_N[PAIRS:])
    margin_P: Array = sign_P * (ratio_P2[:, 0] - ratio_P2[:, 1])
    kept = 1.0 - 2.0 * getattr(part, "preference_noise", 0.0)
    return float(part.kl_weight * kept * margin_P.mean())


def _expected_label(part: Alignment, first_P: Array, second_P: Array) -> Array:
    """The mean of +1 where the first of a pair is preferred and -1 where the second is, of squared
    distances: with noisy rewards each is preferred with the probability that its own is higher."""
    if part.reward_noise == 0:
        return np.where(first_P <= second_P, 1.0, -1.0)
    first, second = (
        part.reward_height * np.exp(-part.reward_sharpness * d) for d in (first_P, second_P)
    )
    # 2 Phi(u) - 1 = erf(u / sqrt 2), u the difference in units of its noise, sqrt 2 reward_noise
    scaled_P = (first - second) / (2.0 * part.reward_noise)
    return np.array([math.erf(value) for value in scaled_P])
