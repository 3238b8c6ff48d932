"""Log densities and log rewards as quadratic surfaces over each component of a mixture.

Every component j of a base mixture is x = m_j + L_j Q z with z standard normal and Q a rotation.
There a Gaussian's log density, and the log of one target's reward, are quadratic in z = (s, t).
Legend: J components of the base, K surfaces; the six coefficients are those of 1, s, t, s^2, st,
t^2.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recalltrap_studies.mog.ground_truth import RewardFunction
from recalltrap_studies.mog.models import LOG_2PI, Array, Model

ANGLE = 0.6
"""Of the rotation Q, in radians: ridges between modes of a grid are parallel to no line or row of
quadrature nodes."""

Mask = npt.NDArray[np.bool_]


class Features(NamedTuple):
    """Where each surface peaks over each component, each [J, K]."""

    s: Array
    t: Array
    narrow: Array  # its smallest standard deviation
    broad: Array  # its largest
    along_s: Array  # its standard deviation in s, all t together
    lead: Array  # its height above all other surfaces there; infinite for a single one


class Surfaces:
    """K quadratics over each of the J components of `base`."""

    def __init__(self, base: Model, means: Array, cholesky: Array, constant: Array) -> None:
        """`constant_k - |C_k^-1 (x - mean_k)|^2 / 2`, C_k from `cholesky` [K, 3]."""
        cos, sin = math.cos(ANGLE), math.sin(ANGLE)
        across_J2 = _transform(base.cholesky, -sin, cos)  # a step along s
        along_J2 = _transform(base.cholesky, cos, sin)  # a step along t
        p = _whiten(base.means[:, None] - means, cholesky)  # two arrays [J, K]
        q = _whiten(across_J2[:, None], cholesky)
        r = _whiten(along_J2[:, None], cholesky)
        terms = [_dot(p, p), 2 * _dot(p, q), 2 * _dot(p, r), _dot(q, q), 2 * _dot(q, r), _dot(r, r)]
        self.coefficients = -0.5 * np.stack(terms, axis=2)  # [J, K, 6]
        self.coefficients[..., 0] += constant
        # The surface peaks where p + s q + t r = 0; `area` is that of its ellipse, over pi.
        turn = _cross(q, r)
        self._peak_s, self._peak_t = _cross(r, p) / turn, _cross(p, q) / turn
        self._area = 1.0 / np.abs(turn)

    @classmethod
    def of_mixture(cls, base: Model, model: Model) -> Surfaces:
        """The log weight + log density of each component of `model`."""
        scale_K = np.log(model.cholesky[:, [0, 2]]).sum(axis=1)
        constant_K = model.log_weights - LOG_2PI - scale_K
        return cls(base, model.means, model.cholesky, constant_K)

    @classmethod
    def of_reward(cls, base: Model, reward: RewardFunction) -> Surfaces:
        """The log of each target's reward (eq. 8); the reward is that of the largest."""
        scale = 1.0 / math.sqrt(2.0 * reward.sharpness)
        count = len(reward.targets)
        cholesky = np.tile([scale, 0.0, scale], (count, 1))
        return cls(base, reward.targets, cholesky, np.full(count, math.log(reward.height)))

    def over(self, components: npt.NDArray[np.intp]) -> Surfaces:
        """The same surfaces over some of the components."""
        few = object.__new__(Surfaces)
        for name in ("coefficients", "_peak_s", "_peak_t", "_area"):
            setattr(few, name, getattr(self, name)[components])
        return few

    @cached_property
    def means(self) -> Array:
        """The expectation of each surface over each component, closed, [J, K]."""
        return np.asarray(self.coefficients[..., [0, 3, 5]].sum(axis=2))

    @cached_property
    def features(self) -> Features:
        """Where the surfaces peak."""
        c, s1, t1, ss, st, tt = np.moveaxis(self.coefficients, 2, 0)
        s, t = self._peak_s, self._peak_t
        narrow = 1.0 / np.sqrt(-(ss + tt) + np.hypot(ss - tt, st))  # from the largest eigenvalue
        along_s = np.sqrt(-2.0 * tt) * self._area
        height = c + 0.5 * (s1 * s + t1 * t)
        return Features(s, t, narrow, self._area / narrow, along_s, height - self._others_at(s, t))

    def _others_at(self, s_JK: Array, t_JK: Array) -> Array:
        """The largest other surface where each one peaks."""
        monomials = (np.ones_like(s_JK), s_JK, t_JK, s_JK**2, s_JK * t_JK, t_JK**2)
        values_JKK = np.einsum("mjk,jlm->jkl", np.stack(monomials), self.coefficients)
        count = s_JK.shape[1]
        values_JKK[:, np.arange(count), np.arange(count)] = -np.inf
        return np.asarray(values_JKK.max(axis=2))


def _transform(cholesky_J3: Array, x: float, y: float) -> Array:
    l11, l21, l22 = cholesky_J3.T
    return np.stack([l11 * x, l21 * x + l22 * y], axis=1)


def _whiten(points_JK2: Array, cholesky_K3: Array) -> tuple[Array, Array]:
    l11, l21, l22 = cholesky_K3.T
    u = points_JK2[..., 0] / l11
    return u, (points_JK2[..., 1] - l21 * u) / l22


def _dot(a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
    return a[0] * b[0] + a[1] * b[1]


def _cross(a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
    return a[0] * b[1] - a[1] * b[0]
