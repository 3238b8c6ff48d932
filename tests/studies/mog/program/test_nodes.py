"""Nodes: expectations against closed forms and the exact quadrature, gradients against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recalltrap_studies.mog.costs import NODES
from recalltrap_studies.mog.exact.expectations import log_density
from recalltrap_studies.mog.program import nodes
from recalltrap_studies.mog.program.mixture import density, log_prob, slope, terms
from recalltrap_studies.mog.rows import to_model


def mixtures(parameters: int, components: int, seed: int = 0) -> Tensor:
    """Random mixtures [2, P, K], their components about as wide as they are apart."""
    generator = torch.Generator().manual_seed(seed)
    params = 0.6 * torch.randn(2, parameters, components, generator=generator, dtype=torch.float64)
    params[:, 3:5] = -0.5 + 0.3 * params[:, 3:5]
    return params


@pytest.mark.parametrize("parameters", [5, 6])
def test_moments_of_low_order_are_those_of_the_mixture(parameters: int) -> None:
    params = mixtures(parameters, 3)
    at = nodes.nodes_of(params)
    torch.testing.assert_close(at.weight.sum(1), torch.ones(2).double())
    for row in range(2):
        model = to_model(params[row].numpy())
        weight = np.exp(model.log_weights)
        mean = weight @ model.means
        spread = model.cholesky[:, 0] * model.cholesky[:, 1]  # cov(x, y) of each component
        product = weight @ (spread + model.means[:, 0] * model.means[:, 1])
        assert nodes.mean_over(at, at.x)[row] == pytest.approx(mean[0], abs=1e-12)
        assert nodes.mean_over(at, at.y)[row] == pytest.approx(mean[1], abs=1e-12)
        assert nodes.mean_over(at, at.x * at.y)[row] == pytest.approx(product, abs=1e-4)


@pytest.mark.parametrize("parameters", [5, 6])
def test_log_densities_are_those_of_the_exact_quadrature(parameters: int) -> None:
    base, other = mixtures(parameters, 3), mixtures(parameters, 4, seed=1)
    at = nodes.nodes_of(base)
    got = nodes.mean_over(at, log_prob(other, at.x, at.y))
    for row in range(2):
        exact = log_density(to_model(base[row].numpy()), to_model(other[row].numpy()))
        assert float(got[row]) == pytest.approx(exact.value, abs=0.01)


@pytest.mark.parametrize("parameters", [5, 6])
def test_the_slope_is_the_derivative_by_the_sample(parameters: int) -> None:
    params = mixtures(parameters, 3)
    x, y = (torch.linspace(-2, 2, 9).double().repeat(2, 1).requires_grad_() for _ in range(2))
    expected = torch.autograd.grad(log_prob(params, x, y).sum(), (x, y))
    t = terms(params)
    for got, wanted in zip(slope(t, density(t, x, y)), expected, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("parameters", [5, 6])
def test_the_path_gradient_goes_through_weights_and_nodes(parameters: int) -> None:
    params, fixed = mixtures(parameters, 3).requires_grad_(), mixtures(parameters, 2, seed=3)
    at = nodes.nodes_of(params)
    mean = nodes.mean_over(at, log_prob(fixed, at.x, at.y))
    (expected,) = torch.autograd.grad(mean.sum(), params)
    at = nodes.nodes_of(params.detach())
    t = terms(fixed)
    d = density(t, at.x, at.y)
    got = nodes.path_gradient(params.detach(), at, d.log_prob, slope(t, d))
    torch.testing.assert_close(got, expected)


def test_costs_count_the_nodes_that_there_are() -> None:
    assert len(nodes.RULE[0]) == NODES
