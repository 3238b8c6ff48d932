"""Expectations under mixtures against closed forms, dense grids, scipy and samples.

Narrow, wide, sheared and near-empty components, and ridges that no lattice would see.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from recalltrap.streams import stream
from recalltrap_studies.mog import ground_truth
from recalltrap_studies.mog.exact import expectations, lattice, lines
from recalltrap_studies.mog.exact.expectations import log_density
from recalltrap_studies.mog.exact.rewards import expected_reward, hit_rate
from recalltrap_studies.mog.models import Array, Model, isotropic
from recalltrap_studies.mog.settings import MogSettings

SETTINGS = MogSettings()
P_STAR = ground_truth.p_star(SETTINGS, SETTINGS)


def mixture(weights: list[float], means: list[list[float]], cholesky: list[list[float]]) -> Model:
    return Model(np.log(weights), np.array(means), np.array(cholesky))


MODELS = {
    "narrow": mixture(
        [0.5, 0.5], [[0.9, -0.9], [-0.7, 1.2]], [[0.01, 0.0, 0.02], [0.004, 0.0, 0.3]]
    ),
    "collapsed": mixture(
        [0.3, 0.7], [[1.0, -1.0], [1.02, -0.98]], [[1e-3, 0.0, 1e-3], [0.05, 0.0, 0.03]]
    ),
    "wide": mixture([0.4, 0.6], [[0.3, 0.2], [-1.0, 1.0]], [[1.5, 0.0, 1.5], [0.2, 0.0, 0.9]]),
    "sheared": mixture(
        [0.2, 0.8], [[0.0, -1.0], [0.5, 0.4]], [[0.5, 0.9, 0.1], [0.3, -0.25, 0.05]]
    ),
    "near-empty": mixture(
        [1 - 2e-4, 1e-4, 1e-4],
        [[-1.0, 1.0], [1.0, -1.0], [30.0, 0.0]],
        [[0.25, 0.0, 0.2], [0.1, 0.0, 0.2], [0.2, 0.0, 0.2]],
    ),
    "empty": mixture([1.0, 1e-200], [[0.0, 1.0], [1.0, 0.0]], [[0.3, 0.0, 0.3]] * 2),
}


def dense(base: Model, model: Model, side: int = 1601) -> float:
    """The trapezoidal rule on a grid along the base's own axes, fine against every feature."""
    axis, total = np.linspace(-8.0, 8.0, side), 0.0
    density = np.exp(-0.5 * axis**2) / np.exp(-0.5 * axis**2).sum()
    shares = np.exp(base.log_weights)
    for share, mean, (l11, l21, l22) in zip(shares, base.means, base.cholesky, strict=True):
        for u, weight in zip(axis, density, strict=True):
            x = np.full(side, mean[0] + l11 * u)
            points = np.stack([x, mean[1] + l21 * u + l22 * axis], axis=1)
            total += share * weight * float((density * model.log_prob(points)).sum())
    return total


def lattice_only(monkeypatch: pytest.MonkeyPatch, *, allowed: bool) -> None:
    if not allowed:
        monkeypatch.setattr(lattice, "LAST_LEVEL", -1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide", "sheared", "near-empty"])
@pytest.mark.parametrize("allowed", [True, False], ids=["as it comes", "along lines alone"])
def test_precision_against_a_dense_grid(
    name: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lattice_only(monkeypatch, allowed=allowed)
    found = log_density(MODELS[name], P_STAR)
    assert abs(found.value - dense(MODELS[name], P_STAR)) < 1e-5
    assert 0 < found.error <= 1e-5
    assert found.method == "quadrature"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide", "sheared", "near-empty"])
@pytest.mark.parametrize("allowed", [True, False], ids=["as it comes", "along lines alone"])
def test_recall_against_a_dense_grid(
    name: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one mode at a time, so that the grid can be fine enough for a shear of 0.05."""
    lattice_only(monkeypatch, allowed=allowed)
    for mode in (0, 6, 7):
        base = isotropic(P_STAR.means[[mode]], 0.05)
        found = log_density(base, MODELS[name])
        assert abs(found.value - dense(base, MODELS[name])) < 1e-5
        assert found.error <= 1e-5


@pytest.mark.parametrize("name", list(MODELS))
def test_two_ways_agree_and_say_how_well(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for base, model in ((MODELS[name], P_STAR), (P_STAR, MODELS[name]), (MODELS[name],) * 2):
        found = log_density(base, model)
        assert found.error <= 1e-5 + 1e-12 * abs(found.value)
        with monkeypatch.context() as patch:
            lattice_only(patch, allowed=False)
            patch.setattr(expectations, "TOLERANCE", 1e-8)
            patch.setattr("recalltrap_studies.mog.exact.surfaces.ANGLE", 1.1)
            other = log_density(base, model)
        assert abs(found.value - other.value) < 1e-5 + 1e-12 * abs(found.value)


def test_a_narrow_surface_between_the_nodes_is_found() -> None:
    """A component of sd 1e-3 inside a mode adds 1e-4 nats, where few samples would ever fall."""
    wide = [[0.2, -0.1], [0.4, 0.0, 0.4]]
    base = isotropic(np.zeros((1, 2)), 0.05)
    model = mixture([0.5, 0.5], [wide[0], [0.0512, 0.0371]], [wide[1], [1e-3, 0.0, 1e-3]])
    lone = isotropic(np.array([wide[0]]), 0.16)
    # around the peak the log-ratio is h - r^2 / (2 s^2): E adds 2 pi s^2 p(x) (-Li_2(-e^h))
    at = model.means[[1]]
    height = float(-math.log(2 * math.pi * 1e-6) - lone.log_prob(at)[0])
    terms = [(-1) ** (n + 1) * math.exp(-n * height) / n**2 for n in range(1, 40)]
    dilogarithm = math.pi**2 / 6 + height**2 / 2 - sum(terms)
    added = 2 * math.pi * 1e-6 * math.exp(float(base.log_prob(at)[0])) * dilogarithm
    plain = log_density(base, lone).value - math.log(2)
    assert added > 1e-4
    assert abs(log_density(base, model).value - plain - added) < 1e-5


def test_a_ridge_as_steep_as_a_cliff() -> None:
    """Two components of sd 1e-4 to the left and right of a mode: E max of two quadratics."""
    scale = 1e-4
    model = mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [[scale, 0.0, scale]] * 2)
    base = isotropic(np.zeros((1, 2)), 0.05)
    mean_of_x = math.sqrt(0.05 * 2 / math.pi)  # of |x|, at the ridge x = 0
    quadratic = 0.05 - 2 * mean_of_x + 1 + 0.05  # E[(|x| - 1)^2 + y^2]
    expected = -math.log(2) - math.log(2 * math.pi * scale**2) - quadratic / (2 * scale**2)
    found = log_density(base, model)
    assert abs(found.value - expected) < 1e-5 + 1e-12 * abs(expected)


def test_closed_forms_need_no_nodes() -> None:
    target = ground_truth.p_target(SETTINGS)
    for model in MODELS.values():
        found = log_density(model, target)
        l11, l21, l22 = model.cholesky.T
        spread = l11**2 + l21**2 + l22**2 + ((model.means - target.means) ** 2).sum(axis=1)
        weights = np.exp(model.log_weights)
        expected = -math.log(2 * math.pi * 0.05) - float((weights * spread).sum()) / 0.1
        assert abs(found.value - expected) < 1e-9 * abs(expected)
        assert found[1:] == (0.0, 0)
        assert (
            expected_reward(model, ground_truth.reward_function(SETTINGS)).method == "closed form"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["narrow", "wide", "sheared", "near-empty"])
@pytest.mark.parametrize("targets", [(7,), (6, 7), (2, 4, 7)])
def test_reward_against_scipy(name: str, targets: tuple[int, ...]) -> None:
    """A nested quadrature of the reward as it is, cut at the bisectors y = -0.5 and y = 0.5."""
    reward, model = ground_truth.reward_function(MogSettings(targets=targets)), MODELS[name]
    place, weight = np.polynomial.legendre.leggauss(120)
    total = 0.0
    shares = np.exp(model.log_weights)
    for share, mean, factor in zip(shares, model.means, model.cholesky, strict=True):

        def along(u: float, m: Array = mean, low: Array = factor) -> float:
            cuts = (np.array([-0.5, 0.5]) - m[1] - low[1] * u) / low[2]
            ends = np.unique(np.clip([-8.0, *cuts, 8.0], -8.0, 8.0))
            half, middle = np.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
            t = (middle[:, None] + half[:, None] * place).ravel()
            x = np.full_like(t, m[0] + low[0] * u)
            values = reward(np.stack([x, m[1] + low[1] * u + low[2] * t], 1))
            masses = (half[:, None] * weight).ravel() * np.exp(-0.5 * (t * t + u * u))
            return float((masses * values).sum()) / (2 * math.pi)

        total += share * integrate.quad(along, -8, 8, epsabs=1e-8, limit=400)[0]
    found = expected_reward(model, reward)
    assert abs(found.value - total) < 1e-5
    assert found.error <= 1e-5


@pytest.mark.parametrize("sharpness", [2.0, 1e4])
def test_a_reward_as_sharp_as_a_needle(sharpness: float) -> None:
    """Two far targets are the sum of each alone, which is closed."""
    both = MogSettings(targets=(0, 7), reward_sharpness=sharpness, spacing=8.0)
    model = isotropic(np.array([[7.7, -8.1], [-8.2, 7.5]]), 0.3)
    alone = (MogSettings(targets=(t,), reward_sharpness=sharpness, spacing=8.0) for t in (0, 7))
    expected = sum(expected_reward(model, ground_truth.reward_function(one)).value for one in alone)
    assert abs(expected_reward(model, ground_truth.reward_function(both)).value - expected) < 1e-5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), full=st.booleans())
def test_bounds_hold_for_any_mixture(seed: int, full: bool) -> None:
    """Gibbs: E_p log q <= E_p log p; and every error is what was asked for."""
    q, p = (random_mixture(s, full=full) for s in (seed, seed + 1))
    own, cross = log_density(p, p), log_density(p, q)
    for found in (own, cross):
        assert found.error <= 1e-5 + 1e-12 * abs(found.value)
    assert cross.value <= own.value + 1e-5
    several = ground_truth.reward_function(MogSettings(targets=(1, 6, 7)))
    reward, hits = expected_reward(q, several), hit_rate(q, several, 0.9)
    assert max(reward.error, hits.error) <= 1e-5
    assert 9.0 * hits.value - 1e-5 <= reward.value <= 9.0 + hits.value + 1e-5


def random_mixture(seed: int, *, full: bool) -> Model:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 5))
    scale = 10 ** rng.uniform(-2.5, 0.3, (count, 2))
    shear = full * rng.standard_normal(count) * scale[:, 1]
    cholesky = np.stack([scale[:, 0], shear, scale[:, 1]], axis=1)
    return Model(3 * rng.standard_normal(count), rng.uniform(-1.5, 1.5, (count, 2)), cholesky)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_samples_agree(name: str) -> None:
    """The averages that used to be stored, over 4,096 draws; heavy tails need more of them."""
    model, reward = MODELS[name], ground_truth.reward_function(MogSettings(targets=(6, 7)))
    count = 200_000
    truth, own = (sample(m, f"test/{i}", count) for i, m in enumerate((P_STAR, model)))
    for found, values in (
        (log_density(model, P_STAR), P_STAR.log_prob(own)),
        (log_density(P_STAR, model), model.log_prob(truth)),
        (expected_reward(model, reward), reward(own)),
        (hit_rate(model, reward, 0.9), (reward(own) >= 9.0).astype(float)),
    ):
        error = float(values.std()) / math.sqrt(count)
        assert abs(found.value - float(values.mean())) < 5 * error + 1e-4
    light = np.exp(model.log_weights) < 1e-3
    if light.any() and name == "near-empty":  # what 4,096 draws rarely hold decides precision
        few = P_STAR.log_prob(sample(model, "test/few", 4096))
        assert abs(log_density(model, P_STAR).value - few.mean()) > 0.1


def sample(model: Model, name: str, count: int) -> Array:
    generator = stream(0, name)
    return model.transform(generator.random(count), generator.standard_normal((count, 2)))


def test_panels_cover_the_axis() -> None:
    edges = lines.panels(np.array([0.3, -50.0, 0.3, 2.0]))
    assert (edges[0], edges[-1]) == (-lines.REACH, lines.REACH)
    assert {0.3, 2.0} <= set(edges)
    assert (np.diff(edges) > 0).all()
    assert np.diff(edges).max() <= lines.PANEL
