"""E of the reward and the hit rate under a mixture: closed along every line.

With one target the expected reward is closed in the plane as well. With several the reward is the
largest of their own (eq. 8), so along a line its log is an envelope of parabolas. Legend: M lines,
P pieces, J components of the mixture, T targets.
"""

from __future__ import annotations

import math

import numpy as np

from recalltrap_studies.mog.exact import lines
from recalltrap_studies.mog.exact.envelope import Index, Parabolas, crossings
from recalltrap_studies.mog.exact.lines import REACH, normal_mass
from recalltrap_studies.mog.exact.surfaces import Surfaces
from recalltrap_studies.mog.exact.values import TOLERANCE, Expectation, Integrals, weighted, weights
from recalltrap_studies.mog.ground_truth import RewardFunction
from recalltrap_studies.mog.models import Array, Model


def expected_reward(model: Model, reward: RewardFunction) -> Expectation:
    """E over `model` of the reward."""
    surfaces = Surfaces.of_reward(model, reward)
    if len(reward.targets) == 1:
        return Expectation(float((weights(model) * _single(surfaces)).sum()), 0.0, 0)
    return _over_lines(model, surfaces, _rewards, np.array([-6.0, -2.0, 0.0, 2.0, 6.0]))


def hit_rate(model: Model, reward: RewardFunction, share: float) -> Expectation:
    """P(R >= share * R_max): the mass of the discs around the targets, overlaps counted once."""
    level = math.log(share * reward.height)

    def inner(base_M: Index, parabolas: Parabolas) -> Integrals:
        return _inside(parabolas, level)

    edge = math.sqrt(-2.0 * math.log(share))  # in the reward's standard deviations
    sides = np.array([-1.0, -0.98, -0.8, 0.0, 0.8, 0.98, 1.0])  # a disc begins with infinite slope
    return _over_lines(model, Surfaces.of_reward(model, reward), inner, edge * sides)


def _over_lines(model: Model, surfaces: Surfaces, inner: lines.Inner, sides: Array) -> Expectation:
    """`sides` are the cuts beside every target, in the standard deviations of its reward."""
    f = surfaces.features
    cuts = [
        lines.panels((s[:, None] + scale[:, None] * sides).ravel())
        for s, scale in zip(f.s, f.along_s, strict=True)
    ]
    weight_J = weights(model)
    tolerance_J = np.full(len(weight_J), TOLERANCE / 2.0)
    integrals = lines.integrate(surfaces, inner, cuts, tolerance_J, np.zeros_like(tolerance_J))
    return weighted(weight_J, integrals)


def _single(surfaces: Surfaces) -> Array:
    """E[exp g] of the one surface g under each component, [J]."""
    c, s1, t1, ss, st, tt = np.moveaxis(surfaces.coefficients[:, 0], 1, 0)
    # g = c + b z + z A z; with M = 1 - 2 A it is exp(c + b M^-1 b / 2) / sqrt(det M)
    m_ss, m_st, m_tt = 1.0 - 2.0 * ss, -st, 1.0 - 2.0 * tt
    determinant = m_ss * m_tt - m_st * m_st
    form = (m_tt * s1 * s1 - 2.0 * m_st * s1 * t1 + m_ss * t1 * t1) / determinant
    return np.asarray(np.exp(c + 0.5 * form) / np.sqrt(determinant))


def _rewards(base_M: Index, parabolas: Parabolas) -> Integrals:
    """Integrals of exp(the largest parabola) against the normal density, [M]."""
    count = len(base_M)
    # the pieces of each line between two crossings, and the largest parabola of each
    line, place, _ = crossings(parabolas, REACH)
    every = np.arange(count)
    line = np.concatenate([every, line])
    low = np.concatenate([np.full(count, -REACH), place])
    order = np.lexsort((low, line))
    line, low = line[order], low[order]
    last = np.append(line[1:] != line[:-1], True)
    high = np.where(last, REACH, np.append(low[1:], REACH))
    best = parabolas.at(line, (low + high) / 2.0).argmax(axis=0)
    # exp of a parabola times the normal density is a normal density of another mean and width
    a, b, c = (column[line, best] for column in parabolas)
    precision = 1.0 - 2.0 * a
    mean, root = b / precision, np.sqrt(precision)
    mass = normal_mass((low - mean) * root, (high - mean) * root)
    value = np.exp(c + 0.5 * b * mean) / root * mass
    integral = np.asarray(np.bincount(line, value, count), dtype=float)
    return Integrals(integral, np.zeros(count), np.ones(count))


def _inside(parabolas: Parabolas, level: float) -> Integrals:
    """The normal mass of where any parabola is above `level`, [M]."""
    a, b, c = parabolas
    with np.errstate(invalid="ignore"):
        half = np.sqrt(b * b - 4.0 * a * (c - level)) / (-2.0 * a)
    half = np.where(half > 0, half, 0.0)  # not a number where a line misses a disc
    low_MT, high_MT = -0.5 * b / a - half, -0.5 * b / a + half
    order = np.argsort(low_MT, axis=1)
    low_MT, high_MT = (np.take_along_axis(t, order, axis=1) for t in (low_MT, high_MT))
    reached = np.maximum.accumulate(high_MT, axis=1)
    low_MT[:, 1:] = np.maximum(low_MT[:, 1:], reached[:, :-1])  # what overlaps counts once
    mass = normal_mass(low_MT, np.maximum(low_MT, high_MT)).sum(axis=1)
    return Integrals(mass, np.zeros_like(mass), np.ones_like(mass))
