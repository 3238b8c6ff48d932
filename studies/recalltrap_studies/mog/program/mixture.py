"""Many mixtures at once, as tensors: density, sampling, sharpening and closed-form gradients.

Parameters are one tensor [R, P, K]: R rows (cells), K components, and P = 5 for diagonal
covariances (logit, mean x, mean y, log l11, log l22) or 6 for full ones (and l21), where the
covariance is L L^T with L = [[l11, 0], [l21, l22]]. Samples are x and y, each [R, N]. The last
dimension is contiguous, so the compiled program runs along it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from recalltrap_studies.mog.program.noise import Noise

LOG_2PI = math.log(2.0 * math.pi)
DIAGONAL, FULL = 5, 6  # P


class Terms(NamedTuple):
    """What the density needs of the parameters, each [R, K]."""

    log_weight: Tensor
    constant: Tensor  # log weight + log normalisation
    mean_x: Tensor
    mean_y: Tensor
    inverse_11: Tensor  # 1 / l11
    inverse_22: Tensor  # 1 / l22
    shear: Tensor | None  # l21 / l22; None for diagonal covariances


class Density(NamedTuple):
    """Log density of samples and, for gradients, the whitened residuals."""

    log_prob: Tensor  # [R, N]
    joint: Tensor  # [R, K, N], log weight + log density of the component
    u: Tensor  # [R, K, N]
    v: Tensor  # [R, K, N]


def terms(params: Tensor) -> Terms:
    """Prepare parameters [R, P, K]."""
    log_weight = torch.log_softmax(params[:, 0], dim=1)
    constant = log_weight - LOG_2PI - params[:, 3] - params[:, 4]
    inverse_22 = torch.exp(-params[:, 4])
    shear = params[:, 5] * inverse_22 if params.shape[1] == FULL else None
    inverse_11 = torch.exp(-params[:, 3])
    return Terms(log_weight, constant, params[:, 1], params[:, 2], inverse_11, inverse_22, shear)


def density(t: Terms, x: Tensor, y: Tensor) -> Density:
    """Log densities, in nats, of samples x, y [R, N]."""
    u = (x[:, None] - t.mean_x[..., None]) * t.inverse_11[..., None]
    v = (y[:, None] - t.mean_y[..., None]) * t.inverse_22[..., None]
    if t.shear is not None:
        v = v - t.shear[..., None] * u
    joint = t.constant[..., None] - 0.5 * (u * u + v * v)
    top = joint.amax(1)
    log_prob = top + torch.log(torch.exp(joint - top[:, None]).sum(1))
    return Density(log_prob, joint, u, v)


def log_prob(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Log densities [R, N] of samples under mixtures [R, P, K]."""
    return density(terms(params), x, y).log_prob


def score(t: Terms, d: Density, weight: Tensor) -> Tensor:
    """Gradient of sum_n weight_n log pi(x_n) with respect to the parameters, [R, P, K].

    In closed form: with responsibilities r_nk and z = L^-1 (x - mean) it is made of the sums over
    n of weight_n r_nk times 1, u, v, u^2, v^2 and uv.
    """
    g = weight[:, None] * torch.exp(d.joint - d.log_prob[:, None])
    gu, gv = g * d.u, g * d.v
    s_1, s_u, s_v = g.sum(2), gu.sum(2), gv.sum(2)
    s_uu, s_vv = (gu * d.u).sum(2), (gv * d.v).sum(2)
    logit = s_1 - torch.exp(t.log_weight) * s_1.sum(1, keepdim=True)
    mean_y = s_v * t.inverse_22
    log_22 = s_vv - s_1
    if t.shear is None:
        return torch.stack([logit, s_u * t.inverse_11, mean_y, s_uu - s_1, log_22], 1)
    s_uv = (gu * d.v).sum(2)
    mean_x = (s_u - t.shear * s_v) * t.inverse_11
    log_11 = s_uu - t.shear * s_uv - s_1
    return torch.stack([logit, mean_x, mean_y, log_11, log_22, s_uv * t.inverse_22], 1)


def slope(t: Terms, d: Density) -> tuple[Tensor, Tensor]:
    """How the log density changes with the sample: d / dx and d / dy, each [R, N]."""
    r = torch.exp(d.joint - d.log_prob[:, None])
    u = d.u if t.shear is None else d.u - t.shear[..., None] * d.v
    along_x = -(r * u * t.inverse_11[..., None]).sum(1)
    return along_x, -(r * d.v * t.inverse_22[..., None]).sum(1)


def transform(params: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Samples x, y [R, N]: the component by inverse CDF over the weights, then L z + mean."""
    rows = [params[:, 1], params[:, 2], torch.exp(params[:, 3]), torch.exp(params[:, 4])]
    if params.shape[1] == FULL:
        rows.append(params[:, 5])
    weight = torch.softmax(params[:, 0], dim=1)
    edge = weight[:, 0:1]
    chosen = [row[:, 0:1] for row in rows]
    for k in range(1, params.shape[2]):
        above = noise.choice >= edge
        chosen = [
            torch.where(above, row[:, k : k + 1], c) for row, c in zip(rows, chosen, strict=True)
        ]
        edge = edge + weight[:, k : k + 1]
    x = chosen[0] + chosen[2] * noise.first
    y = chosen[1] + chosen[3] * noise.second
    if params.shape[1] == FULL:
        y = y + chosen[4] * noise.first
    return x, y


def sharpen(params: Tensor, sharpness: Tensor) -> Tensor:
    """Raise the weights to the power `sharpness` [R, 1] and normalise (eq. 7)."""
    logits = torch.log_softmax(params[:, 0], dim=1) * sharpness
    return torch.cat([logits[:, None], params[:, 1:]], dim=1)
