"""Mixtures of Gaussians in the plane as they are stored and evaluated: NumPy, float64.

The training program has its own tensors (`mixture.py`); a test holds the two against each other.
Legend: K components, N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from recalltrap.errors import InputError

Array = npt.NDArray[np.float64]
LOG_2PI = math.log(2.0 * math.pi)
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Model:
    """A mixture: `logits` [K], `means` [K, 2], `cholesky` [K, 3] = (l11, l21, l22)."""

    logits: Array
    means: Array
    cholesky: Array

    @cached_property
    def log_weights(self) -> Array:
        """Normalised log weights [K]."""
        shifted = self.logits - self.logits.max()
        return np.asarray(shifted - math.log(float(np.exp(shifted).sum())))

    def whitened(self, points_N2: Array) -> tuple[Array, Array]:
        """z = L^-1 (x - mean) for every component: two arrays [K, N]."""
        l11, l21, l22 = (self.cholesky[:, i, None] for i in range(3))
        u_KN = (points_N2[:, 0] - self.means[:, 0, None]) / l11
        v_KN = (points_N2[:, 1] - self.means[:, 1, None] - l21 * u_KN) / l22
        return u_KN, v_KN

    def log_prob(self, points_N2: Array) -> Array:
        """Log density [N], in nats, at points [N, 2]."""
        u_KN, v_KN = self.whitened(points_N2)
        scale_K = self.log_weights - LOG_2PI - np.log(self.cholesky[:, [0, 2]]).sum(axis=1)
        joint_KN = scale_K[:, None] - 0.5 * (u_KN * u_KN + v_KN * v_KN)
        top_N = joint_KN.max(axis=0)
        joint_KN -= top_N
        np.exp(joint_KN, out=joint_KN)
        return np.asarray(top_N + np.log(joint_KN.sum(axis=0)))

    def transform(self, choice_N: Array, normal_N2: Array) -> Array:
        """Samples [N, 2] from uniforms [N] (the component, by inverse CDF) and normals [N, 2]."""
        edges_K = np.cumsum(np.exp(self.log_weights))
        k_N = np.minimum(np.searchsorted(edges_K, choice_N, side="right"), len(edges_K) - 1)
        factors = self.cholesky[k_N]
        x_N = factors[:, 0] * normal_N2[:, 0]
        y_N = factors[:, 1] * normal_N2[:, 0] + factors[:, 2] * normal_N2[:, 1]
        return self.means[k_N] + np.stack([x_N, y_N], axis=1)

    @cached_property
    def smallest_scale(self) -> Array:
        """Standard deviation of each component along its narrowest direction [K]."""
        return self._scales[:, 1]

    @cached_property
    def largest_scale(self) -> Array:
        """Standard deviation of each component along its widest direction [K]."""
        return self._scales[:, 0]

    @cached_property
    def _scales(self) -> Array:
        factors = np.zeros((len(self.logits), 2, 2))
        factors[:, 0, 0], factors[:, 1, 0], factors[:, 1, 1] = self.cholesky.T
        return np.asarray(np.linalg.svd(factors, compute_uv=False))


def isotropic(centres_K2: Array, variance: float) -> Model:
    """The uniform mixture of round Gaussians at `centres_K2` [K, 2]."""
    count = len(centres_K2)
    scale = math.sqrt(variance)
    return Model(np.zeros(count), centres_K2, np.tile([scale, 0.0, scale], (count, 1)))


def pack(model: Model, curve: dict[str, npt.NDArray[np.generic]]) -> bytes:
    """The bytes of `model.safetensors`: float32 parameters and the training curve."""
    tensors = {
        "logits": model.logits.astype(np.float32),
        "means": np.ascontiguousarray(model.means, dtype=np.float32),
        "cholesky": np.ascontiguousarray(model.cholesky, dtype=np.float32),
    }
    tensors |= {f"curve.{name}": np.ascontiguousarray(values) for name, values in curve.items()}
    return bytes(save(tensors))


def unpack(data: bytes) -> tuple[Model, dict[str, npt.NDArray[np.generic]]]:
    """The model and its training curve.

    Raises:
        InputError: the bytes are not a mixture of ours.
    """
    try:
        tensors = load(data)
        model = Model(*(tensors[n].astype(np.float64) for n in ("logits", "means", "cholesky")))
    except Exception as error:
        raise InputError(f"not a stored mixture: {error}") from error
    prefix = "curve."
    curves = sorted(name for name in tensors if name.startswith(prefix))  # the file has no order
    return model, {name[len(prefix) :]: tensors[name] for name in curves}
