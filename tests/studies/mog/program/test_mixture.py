"""Density, sampling, sharpening and gradients of the batched mixtures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recalltrap_studies.mog.program.mixture import (
    density,
    log_prob,
    score,
    sharpen,
    terms,
    transform,
)
from recalltrap_studies.mog.program.noise import Noise
from recalltrap_studies.mog.rows import to_model, to_params


def random_params(rows: int, parameters: int, components: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    params = torch.randn((rows, parameters, components), generator=generator, dtype=torch.float64)
    params[:, 3:5] = 0.4 * params[:, 3:5] - 0.7
    return params


def points(rows: int, count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = 1.5 * torch.randn((2, rows, count), generator=generator, dtype=torch.float64)
    return x, y


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [5, 6])
def test_density_integrates_to_one(parameters: int) -> None:
    axis = torch.linspace(-12, 12, 801, dtype=torch.float64)
    x, y = (t.reshape(1, -1).expand(3, -1) for t in torch.meshgrid(axis, axis, indexing="ij"))
    mass = torch.exp(log_prob(random_params(3, parameters, 4), x, y)).sum(1) * 0.03**2
    torch.testing.assert_close(mass, torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("parameters", [5, 6])
def test_density_agrees_with_torch_and_with_the_stored_model(parameters: int) -> None:
    params, (x, y) = random_params(2, parameters, 5), points(2, 40)
    got = log_prob(params, x, y)
    factor = torch.zeros((2, 5, 2, 2), dtype=torch.float64)
    factor[..., 0, 0], factor[..., 1, 1] = torch.exp(params[:, 3]), torch.exp(params[:, 4])
    if parameters == 6:
        factor[..., 1, 0] = params[:, 5]
    mixture: Any = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=params[:, 0]),
        torch.distributions.MultivariateNormal(params[:, 1:3].mT, scale_tril=factor),
    )
    samples = torch.stack([x, y], -1)
    torch.testing.assert_close(got, mixture.log_prob(samples.transpose(0, 1)).T)
    stored = to_model(params[1].numpy()).log_prob(samples[1].numpy())
    np.testing.assert_allclose(got[1].numpy(), stored, rtol=1e-10)


@pytest.mark.parametrize("parameters", [5, 6])
def test_score_is_the_gradient(parameters: int) -> None:
    params, (x, y) = random_params(3, parameters, 4).requires_grad_(), points(3, 50)
    weight = torch.randn((3, 50), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (expected,) = torch.autograd.grad((weight * log_prob(params, x, y)).sum(), params)
    with torch.no_grad():
        t = terms(params)
        got = score(t, density(t, x, y), weight)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("parameters", [5, 6])
def test_score_against_finite_differences(parameters: int) -> None:
    params, (x, y) = random_params(1, parameters, 3), points(1, 20)
    weight = torch.ones_like(x)
    t = terms(params)
    got = score(t, density(t, x, y), weight)
    step = 1e-6
    for index in np.ndindex(*params.shape):
        up, down = params.clone(), params.clone()
        up[index] += step
        down[index] -= step
        slope = (log_prob(up, x, y).sum() - log_prob(down, x, y).sum()) / (2 * step)
        assert abs(float(got[index] - slope)) < 1e-5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), components=st.integers(1, 7), full=st.booleans())
def test_score_of_the_policy_has_mean_zero_along_the_logits(
    seed: int, components: int, full: bool
) -> None:
    params = random_params(1, 6 if full else 5, components, seed)
    x, y = points(1, 30, seed)
    t = terms(params)
    gradient = score(t, density(t, x, y), torch.ones_like(x))
    assert abs(float(gradient[0, 0].sum())) < 1e-9  # adding a constant to the logits is no change


@pytest.mark.parametrize("parameters", [5, 6])
def test_samples_follow_the_density(parameters: int) -> None:
    generator = torch.Generator().manual_seed(5)
    params, count = random_params(2, parameters, 3), 200_000
    first, second = torch.randn((2, 2, count), generator=generator, dtype=torch.float64)
    choice = torch.rand((2, count), generator=generator, dtype=torch.float64)
    noise = Noise(first, second, choice)
    x, y = transform(params, noise)
    weight = torch.softmax(params[:, 0], 1)
    mean = (weight[:, None] * params[:, 1:3]).sum(2)
    torch.testing.assert_close(torch.stack([x.mean(1), y.mean(1)], 1), mean, atol=0.02, rtol=0)
    model = to_model(params[0].numpy())
    same = model.transform(noise.choice[0].numpy(), torch.stack([first, second], -1)[0].numpy())
    np.testing.assert_allclose(same, torch.stack([x, y], -1)[0].numpy(), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), sharpness=st.floats(0.05, 20.0))
def test_sharpening_is_eq_7(seed: int, sharpness: float) -> None:
    params = random_params(1, 5, 6, seed)
    weight = torch.softmax(params[0, 0], 0)
    expected = torch.softmax(sharpness * torch.log(weight), 0)
    sharp = sharpen(params, torch.full((1, 1), sharpness, dtype=torch.float64))
    torch.testing.assert_close(torch.softmax(sharp[0, 0], 0), expected)
    assert torch.equal(sharp[:, 1:], params[:, 1:])


def test_limits_of_sharpening() -> None:
    params = random_params(1, 5, 6)
    best = int(params[0, 0].argmax())
    ones = torch.ones((1, 1), dtype=torch.float64)
    flat, same, peaked = (
        torch.softmax(sharpen(params, s * ones)[0, 0], 0) for s in (1e-6, 1.0, 1e3)
    )
    torch.testing.assert_close(flat, torch.full_like(flat, 1 / 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(same, torch.softmax(params[0, 0], 0))
    assert float(peaked[best]) > 1 - 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_kl_is_not_negative_and_zero_at_equality(seed: int) -> None:
    p, q = random_params(1, 5, 3, seed), random_params(1, 5, 4, seed + 1)
    axis = torch.linspace(-15, 15, 301, dtype=torch.float64)
    x, y = (t.reshape(1, -1) for t in torch.meshgrid(axis, axis, indexing="ij"))
    log_p = log_prob(p, x, y)
    mass = torch.exp(log_p) * 0.1**2
    assert float((mass * (log_p - log_prob(q, x, y))).sum()) > -1e-6
    assert float((mass * (log_p - log_prob(p, x, y))).sum()) == 0.0


def test_models_and_parameters_convert_both_ways() -> None:
    params = random_params(2, 6, 4).numpy()
    back = to_params([to_model(row) for row in params], 6)
    np.testing.assert_allclose(back, params, atol=1e-12)
    assert math.isclose(float(np.exp(to_model(params[0]).log_weights).sum()), 1.0)
