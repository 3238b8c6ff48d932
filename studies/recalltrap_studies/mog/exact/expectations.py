"""Expectations of log densities under a mixture, component by component, to a stated error.

Smooth integrands go by a lattice; where that doesn't settle, or a component is narrower than it
can see, the integral is taken along lines. Legend: J components of the base, K of the other.
"""

from __future__ import annotations

import math

import numpy as np

from recalltrap_studies.mog.exact import lattice, lines, log_sums
from recalltrap_studies.mog.exact.envelope import Index, Parabolas
from recalltrap_studies.mog.exact.surfaces import Mask, Surfaces
from recalltrap_studies.mog.exact.values import TOLERANCE, Expectation, Integrals, weighted, weights
from recalltrap_studies.mog.models import Array, Model

NARROW = 0.7
"""Panels are cut around surfaces narrower than this, in the base's standard deviations."""


NOTICED = 1e-8
"""A surface that can't add more than this to an integral need not be looked for."""


def log_density(base: Model, model: Model) -> Expectation:
    """E over `base` of the log density of `model`, in nats."""
    surfaces = Surfaces.of_mixture(base, model)
    weight_J = weights(base)
    if surfaces.means.shape[1] == 1:
        return Expectation(float((weight_J * surfaces.means[:, 0]).sum()), 0.0, 0)
    main_J = surfaces.means.argmax(axis=1)
    closed_J = surfaces.means.max(axis=1)
    # No component needs to be known better than its weight asks for.
    tolerance_J = TOLERANCE / 2.0 / np.maximum(weight_J * len(weight_J), 1e-12)
    remainders = _remainders(surfaces, main_J, tolerance_J)
    rounding_J = 4.0 * np.finfo(float).eps * (np.abs(closed_J) + np.abs(remainders.value))
    value_J, error_J = closed_J + remainders.value, remainders.error + rounding_J
    return weighted(weight_J, Integrals(value_J, error_J, remainders.nodes))


def _remainders(surfaces: Surfaces, main_J: Index, tolerance_J: Array) -> Integrals:
    """E[log sum_k exp g_k - g_main] under each component."""
    count = len(main_J)
    remainders = Integrals(np.zeros(count), np.full(count, math.inf), np.zeros(count))
    visible = _visible(surfaces)
    for j, main in enumerate(main_J):
        coefficients, tolerance = surfaces.coefficients[j], float(tolerance_J[j])
        start = _first_level(surfaces, j, visible[j])
        kept, lead = lattice.survey(coefficients, int(main))
        # not where a component is too narrow for it, or its edge would hold too much
        if start >= lattice.LAST_LEVEL or not lead * lattice.BEYOND <= tolerance:
            continue
        kept |= visible[j]
        kept[main] = True
        place = int(kept[:main].sum())
        by_lattice = lattice.remainder(coefficients[kept], place, start, tolerance)
        for part, value in zip(remainders, by_lattice, strict=True):
            part[j] = value
    # what the lattice left, or never tried
    rough = np.flatnonzero(~(remainders.error <= tolerance_J))
    if len(rough):
        better = _along_lines(surfaces, rough, main_J, tolerance_J, visible)
        for part, values in zip(remainders, better, strict=True):
            part[rough] = values
    return remainders


def _first_level(surfaces: Surfaces, j: int, visible_K: Mask) -> int:
    narrow = surfaces.features.narrow[j, visible_K]
    return lattice.level_for(float(narrow.min(initial=1.0)))


def _visible(surfaces: Surfaces) -> Mask:
    """Surfaces whose peak stands out where the component has a noticeable mass, [J, K].

    A peak of lead h adds at most 2 pi s1 s2 (h^2 / 2 + pi^2 / 6) to the integral, times the density
    there; one that stays below the others 2 pi s1 s2 e^h.
    """
    f = surfaces.features
    distance = np.maximum(np.hypot(f.s, f.t) - 6.0 * f.broad, 0.0)
    area = f.narrow * np.minimum(f.broad, 3.0)
    excess = 0.5 * np.maximum(f.lead, 0.0) ** 2 + 2.0 * np.exp(np.minimum(f.lead, 0.0))
    return np.asarray(area * np.exp(-0.5 * distance**2) * excess > NOTICED)


def _along_lines(
    surfaces: Surfaces, rough: Index, main_J: Index, tolerance_J: Array, visible: Mask
) -> Integrals:
    """The remainders of the components `rough`, along lines."""
    few = surfaces.over(rough)
    main, tolerance = main_J[rough], tolerance_J[rough]

    def inner(base_M: Index, parabolas: Parabolas) -> Integrals:
        return log_sums.along_lines(parabolas, main[base_M], tolerance[base_M] / 8.0)

    f, cuts = few.features, []
    for j, row in enumerate(rough):
        narrow = visible[row] & (f.along_s[j] < NARROW)
        s, scale = f.s[j, narrow], f.along_s[j, narrow]
        edge = 3.0 + np.sqrt(2.0 * np.maximum(f.lead[j, narrow], 0.0))
        sides = np.stack([-edge, np.full_like(edge, -1.5), np.full_like(edge, 1.5), edge])
        cuts.append(lines.panels((s + sides * scale).ravel()))
    scale = np.abs(few.means).max(axis=1)
    return lines.integrate(few, inner, cuts, tolerance, scale)
