"""Distances to the reference against closed forms and sums of another kind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from recalltrap.graph import Cell
from recalltrap_studies.mog.ground_truth import mode_centres
from recalltrap_studies.mog.models import Model, isotropic
from recalltrap_studies.mog.reference_distance import Parties, distances, kl, mean_margin
from recalltrap_studies.mog.settings import MogSettings

Make = Callable[..., Cell]

ONE = isotropic(np.array([[0.0, 0.0]]), 0.5)
MOVED = isotropic(np.array([[1.0, -2.0]]), 0.5)
TWO = Model(np.array([0.3, -0.1]), np.array([[0.4, 0.0], [-1.0, 0.6]]),
            np.array([[0.5, 0.1, 0.7], [0.9, 0.0, 0.4]]))  # fmt: skip


def test_the_kl_of_two_gaussians_is_the_closed_form_and_its_direction_is_reverse() -> None:
    assert kl(ONE, MOVED) == pytest.approx(5.0 / (2 * 0.5), abs=1e-9)
    wide = isotropic(np.array([[0.0, 0.0]]), 2.0)
    # KL(N(0, s I) || N(0, w I)) in two dimensions
    assert kl(ONE, wide) == pytest.approx(0.5 / 2.0 - 1.0 + math.log(2.0 / 0.5), abs=1e-9)
    assert kl(ONE, wide) != pytest.approx(kl(wide, ONE), abs=0.1)
    assert kl(TWO, TWO) == pytest.approx(0.0, abs=1e-12)


def test_the_kl_of_mixtures_is_that_of_their_samples() -> None:
    random = np.random.default_rng(0)
    points = TWO.transform(random.random(200_000), random.standard_normal((200_000, 2)))
    ratio = TWO.log_prob(points) - MOVED.log_prob(points)
    assert kl(TWO, MOVED) == pytest.approx(ratio.mean(), abs=5 * ratio.std() / 200_000**0.5)


@pytest.mark.parametrize("algorithm", ["dpo_online", "dpo_offline"])
def test_the_margin_grows_with_what_the_policy_moved_towards_the_target(
    algorithm: str, make_cell: Make
) -> None:
    def margin(policy: Model, **settings: float) -> float:
        node = make_cell("K-A@p'", algorithm=algorithm, **settings).models["final"]
        return mean_margin(node, policy, ONE)

    towards = isotropic(0.2 * mode_centres(MogSettings())[[7]], 0.5)
    away = isotropic(-0.2 * mode_centres(MogSettings())[[7]], 0.5)
    assert margin(ONE) == 0.0
    assert margin(towards) > 0.05
    assert margin(away) < -0.05
    assert margin(towards, kl_weight=3.0) == pytest.approx(3.0 * margin(towards))
    assert margin(towards, preference_noise=0.5) == 0.0
    assert margin(towards, preference_noise=0.25) == pytest.approx(margin(towards) / 2)
    # noisy rewards err where they are close: less noise, fewer errors
    noisy = [margin(towards, reward_noise=noise) for noise in (1e-6, 1.0, 5.0, 1e6)]
    assert noisy == sorted(noisy, reverse=True)
    assert noisy[0] == pytest.approx(margin(towards), rel=1e-3)
    assert noisy[-1] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "metrics"),
    [
        ("ppo", {"reference_kl"}),
        ("grpo", {"reference_kl"}),
        ("dpo_online", {"reference_kl", "preference_margin"}),
        ("dpo_offline", {"reference_kl", "preference_margin"}),
    ],
)
def test_only_an_alignment_to_another_model_starts_away_from_its_reference(
    algorithm: str, metrics: set[str], make_cell: Make
) -> None:
    own = make_cell("K-A", algorithm=algorithm).models["final"]
    found = distances(own, Parties(ONE, ONE, MOVED))
    assert set(found) == metrics
    assert all(start == 0.0 != end for start, end in found.values())
    control = make_cell("K-A@p'", algorithm=algorithm).models["final"]
    found = distances(control, Parties(TWO, ONE, MOVED))
    assert found["reference_kl"] == (kl(TWO, ONE), kl(MOVED, ONE))
    assert all(start != 0.0 for start, _ in found.values())
