"""The reward-KL frontier: best of n comes close to the optimum, and where neither is known."""

from __future__ import annotations

import numpy as np
import pytest

from recalltrap_analysis.check.frontier import frontier
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.paired import Array


def pair(reward_KN: Array) -> Pair:
    nothing = np.full_like(reward_KN, np.nan)
    one = Responses(reward_KN, nothing, nothing, nothing, np.ones(1))
    return Pair((((1.0,), 1.0),), "", (0,), (one,), (one,), (10.0,), (10.0,), redrawn=False)


def test_the_optimum_lies_above_best_of_n_and_close_to_it() -> None:
    both = pair(np.random.default_rng(0).uniform(0, 10, (1, 4000)))
    found = frontier(both, both.prime, [1.0, 4.0], margin=0.05)
    best_B = np.interp(found.kl_B, found.kl_M, found.best_of_n_M)
    inside = (found.kl_B > found.kl_M[1]) & (found.kl_B < 4.0)
    assert (found.optimum_B[inside] >= best_B[inside] - 0.05).all()
    assert (found.optimum_B[inside] - best_B[inside] < 0.3).all()
    assert [float(found.weight_B[place]) for place in found.marked] == [4.0, 1.0]
    assert (np.diff(found.kl_B) >= 0).all()


def test_it_is_shaded_where_few_samples_hold_the_weight() -> None:
    both = pair(np.random.default_rng(0).uniform(0, 10, (1, 300)))
    found = frontier(both, both.prime, [0.05, 4.0], margin=0.05)
    (left, right), *_ = found.untrusted()
    few = found.kl_B[found.effective_B < 100]
    assert left <= few.min()
    assert right >= few.max() - 1e-9
    assert left > 0.5, "a weak tilt is known"
    assert found.optimum_B[0] == pytest.approx(5.2, abs=0.6)
