"""The optimum, the hit rate and the penalty, against closed forms and brute force."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from recalltrap_studies.mog.exact import quadrature
from recalltrap_studies.mog.ground_truth import RewardFunction, p_target, reward_function
from recalltrap_studies.mog.models import Model, isotropic
from recalltrap_studies.mog.references import hit_rate, kl_from_target, optimum
from recalltrap_studies.mog.settings import MogSettings

SETTINGS = MogSettings()
REWARD, TARGET = reward_function(SETTINGS), p_target(SETTINGS)
TWO = MogSettings(targets=(6, 7))


def random_model(seed: int, *, full: bool = False) -> Model:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    scale = 10 ** rng.uniform(-2, 0, (count, 2))
    shear = full * rng.standard_normal(count) * scale[:, 1]
    cholesky = np.stack([scale[:, 0], shear, scale[:, 1]], axis=1)
    return Model(rng.standard_normal(count), rng.uniform(-1.5, 1.5, (count, 2)), cholesky)


@pytest.mark.slow
@pytest.mark.parametrize("kl_weight", [0.02, 0.5, 4.0])
@pytest.mark.parametrize("settings", [SETTINGS, TWO], ids=["one target", "two targets"])
@pytest.mark.parametrize("seed", range(3))
def test_higher_orders_change_nothing(
    seed: int, settings: MogSettings, kl_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(seed, full=seed % 2 == 1)
    find = partial(optimum, model, reward_function(settings), p_target(settings), kl_weight)
    plain = find()
    monkeypatch.setattr(quadrature, "ORDERS", (14, 18))
    better = find()
    for one, other in zip(plain[:2], better[:2], strict=True):
        assert abs(one.value - other.value) < 1e-5
        assert 0 < one.error <= 1e-5
        assert one.method == "quadrature"


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SETTINGS, TWO], ids=["one target", "two targets"])
def test_optimum_against_brute_force(settings: MogSettings) -> None:
    model = isotropic(np.array([[-1.0, 0.5], [0.6, -0.4]]), 0.1)
    reward = reward_function(settings)
    axis = np.linspace(-4, 4, 2001) + 1e-3
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_mass = model.log_prob(grid) + reward(grid) / 0.7
    mass = np.exp(log_mass - log_mass.max())
    expected = float((mass * reward(grid)).sum() / mass.sum())
    assert abs(optimum(model, reward, TARGET, 0.7).reward.value - expected) < 2e-5


def test_a_wide_reward_tilts_a_gaussian_into_a_gaussian() -> None:
    """R = h exp(-a d^2) is h - h a d^2 for small a, so pi* is Gaussian in closed form."""
    wide = RewardFunction(np.zeros((1, 2)), height=100.0, sharpness=1e-5)
    model, mean = isotropic(np.array([[1.0, -2.0]]), 0.3), np.array([1.0, -2.0])
    precision = 1 / 0.3 + 2 * 100.0 * 1e-5 / 0.002
    centre = mean / 0.3 / precision
    expected = 100.0 * (1 - 1e-5 * (2 / precision + (centre**2).sum()))
    assert abs(optimum(model, wide, TARGET, 0.002).reward.value - expected) < 1e-4


def test_limits_in_the_kl_weight() -> None:
    model = random_model(3)
    heavy = optimum(model, REWARD, TARGET, 1e6)
    assert abs(heavy.log_partition) < 1e-4
    samples = model.transform(
        np.random.default_rng(0).random(200_000),
        np.random.default_rng(1).standard_normal((200_000, 2)),
    )
    assert abs(heavy.reward.value - REWARD(samples).mean()) < 0.03
    round_model = isotropic(np.array([[-1.0, 1.0]]), 0.05)
    light = [
        optimum(round_model, REWARD, TARGET, beta).reward.value for beta in (1.0, 0.1, 0.01, 1e-3)
    ]
    assert light == sorted(light)
    assert light[-1] > 9.99


def test_log_partition_is_the_maximum_of_eq_1() -> None:
    """beta log Z = E[R] - beta KL(pi* || pi) at the optimum."""
    model, beta = random_model(5), 2.0
    tilt = quadrature.Tilt(model, REWARD, beta)
    log_mass, log_prob = tilt.log_mass, model.log_prob
    found = quadrature.moments(tilt, (REWARD, log_mass, log_prob), 1e-6)
    reward, tilted, untilted = found.means
    kl = tilted - found.log_partition - untilted
    assert abs(reward - beta * kl - beta * found.log_partition) < 1e-5
    assert kl > 0


@pytest.mark.parametrize("variance", [0.05, 0.002])
def test_hit_rate_of_a_centred_gaussian_is_closed_form(variance: float) -> None:
    model = isotropic(np.array([[1.0, -1.0]]), variance)
    radius_square = -math.log(0.9) / 2.0
    expected = 1.0 - math.exp(-radius_square / (2.0 * variance))
    assert abs(hit_rate(model, REWARD).value - expected) < 1e-7


@pytest.mark.parametrize("spacing", [1.0, 0.3])
def test_hit_rate_with_two_targets_agrees_with_sampling(spacing: float) -> None:
    """At 0.3 the discs overlap and no point may count twice."""
    settings = MogSettings(spacing=spacing, targets=(7, 6))
    model = isotropic(np.array([[0.0, -1.0], [spacing, -spacing]]), 0.08)
    rng = np.random.default_rng(0)
    samples = model.transform(rng.random(400_000), rng.standard_normal((400_000, 2)))
    hits = reward_function(settings)(samples) >= 0.9 * settings.reward_height
    found = hit_rate(model, reward_function(settings))
    assert abs(found.value - hits.mean()) < 0.003
    assert 0 < found.error <= 1e-5


def test_a_light_and_narrow_component_in_a_disc_is_not_overlooked() -> None:
    cholesky = np.array([[0.3, 0.0, 0.3], [1e-5, 0.0, 1e-5]])
    means = np.array([[-1.0, 1.0], [1.1, -0.95]])
    model = Model(np.log([1 - 1e-4, 1e-4]), means, cholesky)
    assert abs(hit_rate(model, REWARD).value - 1e-4) < 1e-7


@pytest.mark.parametrize("kl_weight", [0.5, 4.0])
def test_kl_from_the_target_is_closed_form_between_gaussians(kl_weight: float) -> None:
    model = isotropic(np.array([[0.2, -0.5]]), 0.2 * kl_weight)
    difference = np.array([0.8, -0.5])
    ratio = 0.05 / (0.2 * kl_weight)
    expected = ratio - 1 - math.log(ratio) + (difference**2).sum() / (0.4 * kl_weight)
    found = kl_from_target(model, TARGET)
    assert abs(found.value - expected) < 1e-12
    assert found.method == "closed form"
    assert abs(kl_from_target(TARGET, TARGET).value) < 1e-12


def test_a_reference_s_numbers_do_not_depend_on_its_scale_being_tiny() -> None:
    tiny = isotropic(np.array([[1.0, -1.0], [0.0, 0.0]]), 1e-8)
    assert abs(hit_rate(tiny, REWARD).value - 0.5) < 1e-6
    best = optimum(tiny, REWARD, TARGET, 2.0)
    weight = 1 / (1 + math.exp((10 * math.exp(-4) - 10) / 2.0))
    assert abs(best.reward.value - (weight * 10 + (1 - weight) * 10 * math.exp(-4))) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kl_weight", [0.3, 4.0])
def test_a_component_like_a_line_is_refined_until_two_orders_agree(kl_weight: float) -> None:
    """Along it lie many cells, and across it the reward's ridge between two targets."""
    cholesky = np.array([[0.004, 0.0, 1.2], [0.3, 0.0, 0.3]])
    model = Model(np.log([0.5, 0.5]), np.array([[0.4, -0.8], [-1.0, 1.0]]), cholesky)
    found = optimum(model, reward_function(TWO), p_target(TWO), kl_weight)
    # an independent nested rule over each component, exp(R / beta) its weight
    place, weight = np.polynomial.legendre.leggauss(60)
    edges = np.linspace(-8, 8, 41)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    z = (middle[:, None] + half[:, None] * place).ravel()
    w = (half[:, None] * weight).ravel() * np.exp(-0.5 * z * z)
    sums = np.zeros(2)
    for mean, (l11, _, l22) in zip(model.means, model.cholesky, strict=True):
        for u, mass in zip(z, w, strict=True):
            points = np.stack([np.full_like(z, mean[0] + l11 * u), mean[1] + l22 * z], axis=1)
            reward = reward_function(TWO)(points)
            tilted = mass * w * np.exp((reward - 10.0) / kl_weight)
            sums += [tilted.sum(), (tilted * reward).sum()]
    assert abs(found.reward.value - sums[1] / sums[0]) < 1e-5
    assert found.reward.error <= 1e-5
