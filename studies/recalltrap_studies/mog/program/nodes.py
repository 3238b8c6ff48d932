"""Expectations under many mixtures at once, without sampling: Gauss-Hermite nodes.

Legend: R rows, K components, N nodes of a component, M = K N nodes of a mixture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recalltrap_studies.mog.program.mixture import FULL

ORDER = 16
"""Nodes along each axis of a component. Expectations of log densities under trained students are
off by 0.001 to 0.01 nats (0.02 where a student lacks one of its teacher's modes)."""

NEGLIGIBLE = 1e-7
"""Nodes of a smaller weight are left out: at the square's corners, 6e-7 of a component together."""


class Nodes(NamedTuple):
    """Where integrands are taken under mixtures [R, P, K], and how much each place counts."""

    x: Tensor  # [R, M]
    y: Tensor
    weight: Tensor  # sums to 1 over a row, [R, M]


def nodes_of(params: Tensor) -> Nodes:
    """The nodes of mixtures: mean + L z for each component and every z of the rule."""
    first, second, share = _rule(params)
    rows, _, components = params.shape
    x = params[:, 1, :, None] + torch.exp(params[:, 3])[..., None] * first
    y = params[:, 2, :, None] + torch.exp(params[:, 4])[..., None] * second
    if params.shape[1] == FULL:
        y = y + params[:, 5, :, None] * first
    weight = torch.softmax(params[:, 0], 1)[..., None] * share
    size = (rows, components * len(share))
    return Nodes(x.reshape(size), y.reshape(size), weight.reshape(size))


def mean_over(nodes: Nodes, values: Tensor) -> Tensor:
    """The expectation [R] of an integrand with these values [R, M] at the nodes."""
    return (nodes.weight * values).sum(1)


def path_gradient(
    params: Tensor, nodes: Nodes, values: Tensor, slope: tuple[Tensor, Tensor]
) -> Tensor:
    """Gradient of E_pi[h] with respect to pi's parameters, h itself held fixed, [R, P, K].

    Through the weights and through the nodes (reparameterised), so h's `values` and its `slope`
    (dh / dx, dh / dy) are taken at the nodes, each [R, M]. For a loss L of pi with the functional
    derivative h = dL / dpi it is the gradient of the loss.
    """
    first, second, share = _rule(params)
    rows, _, components = params.shape
    size = (rows, components, len(share))
    h, h_x, h_y = ((share * v.reshape(size)) for v in (values, *slope))
    weight = torch.softmax(params[:, 0], 1)
    mean_h = h.sum(2)
    logit = weight * (mean_h - (weight * mean_h).sum(1, keepdim=True))
    columns = [
        logit,
        weight * h_x.sum(2),
        weight * h_y.sum(2),
        weight * (h_x * first).sum(2) * torch.exp(params[:, 3]),
        weight * (h_y * second).sum(2) * torch.exp(params[:, 4]),
    ]
    if params.shape[1] == FULL:
        columns.append(weight * (h_y * first).sum(2))
    return torch.stack(columns, 1)


def _rule(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rule of a standard normal in the plane: two coordinates and the weight, each [N]."""
    first, second, share = (torch.tensor(v, dtype=like.dtype, device=like.device) for v in RULE)
    return first, second, share


def _product_rule() -> list[list[float]]:
    z, w = np.polynomial.hermite_e.hermegauss(ORDER)
    w = w / w.sum()
    first, second = (axis.ravel() for axis in np.meshgrid(z, z, indexing="ij"))
    share = np.outer(w, w).ravel()
    kept = share > NEGLIGIBLE
    share = share[kept] / share[kept].sum()
    return [first[kept].tolist(), second[kept].tolist(), share.tolist()]


RULE = _product_rule()
