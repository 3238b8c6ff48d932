"""Hit rates and the sampling trap, on samples with known rates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from recalltrap_analysis.check.hits import fisher_rarer, hit_table, thresholds, wilson
from recalltrap_analysis.runs.responses import Responses, of_each_prompt
from recalltrap_analysis.statistics.paired import Array


def responses(reward_KN: Array) -> Responses:
    prompts = len(reward_KN)
    nothing = np.full_like(reward_KN, np.nan)
    names = tuple(f"prompt {k}" for k in range(prompts))
    return Responses(reward_KN, nothing, nothing, nothing, np.full(prompts, 1 / prompts), names)


def test_good_is_what_so_few_samples_of_p_prime_reach() -> None:
    found = thresholds(responses(np.arange(1000.0)[None]), np.nan)
    assert list(found.values()) == [950.0, 990.0]
    rare = np.zeros((1, 1000))
    rare[0, :3] = 1.0
    assert set(thresholds(responses(rare), np.nan).values()) == {1.0}, "never what all reach"
    common = np.zeros((1, 1000))
    common[0, :400] = 1.0
    assert set(thresholds(responses(common), np.nan).values()) == {1.0}, "the best there is"
    assert thresholds(responses(np.ones((1, 9))), np.nan) == {}
    assert thresholds(responses(np.arange(20.0)[None]), 10.0)["R ≥ 0.9 R_max"] == 9.0


def test_limits_are_wilson_s() -> None:
    for hits, count in ((0, 50), (7, 50), (50, 50)):
        rate = wilson(hits / count, count)
        low, high = proportion_confint(hits, count, method="wilson")
        assert (rate.low, rate.high) == pytest.approx((low, high), abs=1e-12)
    assert wilson(0.0, 100).to_first == np.inf
    assert wilson(0.0, 100).to_first_least == pytest.approx(27, abs=0.5)


def test_hits_that_cluster_in_prompts_have_wider_limits() -> None:
    generator = np.random.default_rng(0)
    even = responses((generator.random((40, 50)) < 0.2).astype(float))
    rates_K1 = generator.beta(0.1, 0.4, size=(40, 1))
    clustered = responses((generator.random((40, 50)) < rates_K1).astype(float))
    widths = []
    for one in (even, clustered):
        (table,) = hit_table([one], [one], [0], [1.0])  # yes or no: one threshold
        widths.append(table.prime.high - table.prime.low)
    assert widths[1] > 2 * widths[0]


def test_fisher_s_test_is_scipy_s() -> None:
    table = [[3, 97], [12, 108]]
    p = stats.fisher_exact(table, alternative="less").pvalue
    assert fisher_rarer(3, 100, 12, 120) == pytest.approx(p)


def test_traps_are_found_in_both_directions_and_not_by_chance() -> None:
    generator = np.random.default_rng(4)
    rate_K = np.full(20, 0.05)
    prime_K, second_K = rate_K.copy(), rate_K.copy()
    prime_K[3], second_K[3] = 0.5, 0.0
    prime_K[7], second_K[7] = 0.0, 0.4
    prime = responses((generator.random((20, 100)) < prime_K[:, None]).astype(float))
    second = responses((generator.random((20, 100)) < second_K[:, None]).astype(float))
    hits = hit_table([prime], [second], [5], [1.0])[-1]
    assert [(one.prompt, one.seed) for one in hits.of("p_second")] == [("prompt 3", 5)]
    assert [one.prompt for one in hits.of("p_prime")] == ["prompt 7"]
    assert hits.considered == 40
    false = 0
    for _ in range(100):
        both = [responses((generator.random((20, 100)) < 0.1).astype(float)) for _ in range(2)]
        false += bool(hit_table([both[0]], [both[1]], [0], [1.0])[-1].trapped)
    assert false <= 5


def test_samples_stand_by_their_prompts() -> None:
    prompt_N = np.array([0, 1, 0, 1, 0])
    found = of_each_prompt(prompt_N, {"reward": np.arange(5.0)}, 2)
    assert found["reward"].tolist() == [[0.0, 2.0], [1.0, 3.0]], "one of the first is left out"
    with pytest.raises(ValueError, match="1 of 3 prompts have no sample"):
        of_each_prompt(prompt_N, {"reward": np.arange(5.0)}, 3)


def test_thresholds_that_the_same_samples_reach_stand_once() -> None:
    yes_or_no = responses(np.array([[0.0] * 990 + [1.0] * 10]))
    (only,) = hit_table([yes_or_no], [yes_or_no], [0], [1.0])
    assert only.title.startswith("R ≥")
    assert only.prime.value == pytest.approx(0.01)
    (only,) = hit_table([yes_or_no], [yes_or_no], [0], [np.nan])
    assert only.title.startswith("best 1 %")
    spread = responses(np.linspace(0, 1, 1000)[None])
    assert len(hit_table([spread], [spread], [0], [1.0])) == 3
    # of several seeds all must agree
    assert len(hit_table([yes_or_no, spread], [yes_or_no, spread], [0, 1], [1.0, 1.0])) == 3
