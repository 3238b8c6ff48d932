"""Integrals over the plane as integrals along lines, each cut where its integrand changes.

What is integrated along a line changes its form at places that are known in closed form, however
sharply it does; so what remains is smooth between them. The outer integral, over the lines, is
adaptive. Legend: P panels, M lines, K surfaces, J components.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from recalltrap_studies.mog.exact.envelope import Index, Parabolas
from recalltrap_studies.mog.exact.kronrod import SEVEN_FIFTEEN
from recalltrap_studies.mog.exact.surfaces import Surfaces
from recalltrap_studies.mog.exact.values import Integrals
from recalltrap_studies.mog.models import Array

REACH = 7.5
"""Standard deviations around the component's mean."""

PANEL = 3.75
"""The widest panel, in standard deviations."""

ROUNDS, LIMIT = 24, 4000
"""Times a panel is halved, and panels at once, at most: what is left then is the error."""

Inner = Callable[[Index, Parabolas], Integrals]
"""The components [M] and what the surfaces are along M lines -> integrals against exp(-t^2/2)."""


def integrate(
    surfaces: Surfaces, inner: Inner, cuts: list[Array], tolerance_J: Array, scale_J: Array
) -> Integrals:
    """E of what `inner` integrates, under every component, each to its tolerance.

    `cuts` are the places, along s, where each component's panels begin.
    """
    count = len(tolerance_J)
    gauss = SEVEN_FIFTEEN
    base = np.concatenate([np.full(len(c) - 1, j) for j, c in enumerate(cuts)])
    low = np.concatenate([c[:-1] for c in cuts])
    high = np.concatenate([c[1:] for c in cuts])
    total = Integrals(*(np.zeros(count) for _ in range(3)))
    for turn in range(ROUNDS):
        # one line through every node of every panel, integrated by `inner`
        middle, half = (low + high) / 2.0, (high - low) / 2.0
        s_PN = middle[:, None] + half[:, None] * gauss.places
        per_line = _lines(surfaces, inner, np.repeat(base, len(gauss.places)), s_PN.ravel())
        density = half[:, None] * normal_density(s_PN)
        value, error, nodes = (part.reshape(s_PN.shape) for part in per_line)
        # the two orders over the lines; where they agree, what the lines say of themselves remains
        fine, coarse = ((value * density * w).sum(axis=1) for w in (gauss.high, gauss.low))
        difference = np.abs(fine - coarse)
        limit = np.maximum(tolerance_J, 1e-12 * scale_J)[base] / 4.0
        ended = turn == ROUNDS - 1 or len(base) > LIMIT
        done = ~(difference > limit) | ended  # what is not a number gets no better
        errors = difference + (error * density * gauss.high).sum(axis=1)
        for sums, part in zip(total, (fine * done, errors * done, nodes.sum(axis=1)), strict=True):
            sums += np.bincount(base, part, count)
        if done.all():
            break
        # the panels in which they don't are halved
        base, low, middle, high = (part[~done] for part in (base, low, middle, high))
        base = np.concatenate([base, base])
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    return total


def _lines(surfaces: Surfaces, inner: Inner, base_M: Index, s_M: Array) -> Integrals:
    c, s1, t1, ss, st, tt = np.moveaxis(surfaces.coefficients[base_M], 2, 0)
    s = s_M[:, None]
    return inner(base_M, Parabolas(tt, t1 + st * s, c + (s1 + ss * s) * s))


def panels(inside: Array) -> Array:
    """Cuts from -REACH to REACH through all places `inside`, nowhere wider than PANEL."""
    kept = np.unique(inside[np.abs(inside) < REACH])
    edges = np.concatenate([[-REACH], kept, [REACH]])
    parts = np.ceil(np.diff(edges) / PANEL).astype(int)
    ends = zip(edges[:-1], edges[1:], parts, strict=True)
    pieces = [np.linspace(low, high, n, endpoint=False) for low, high, n in ends]
    return np.concatenate([*pieces, [REACH]])


def normal_density(t: Array) -> Array:
    """The standard normal density."""
    return np.asarray(np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi))


def normal_mass(low: Array, high: Array) -> Array:
    """Phi(high) - Phi(low), from the nearer tail, where nothing cancels."""
    flip = low > 0
    return np.asarray(ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low)))
