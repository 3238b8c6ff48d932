"""Noise on rewards: none at 0, the same and more of it at a larger deviation."""

from __future__ import annotations

import pytest
import torch

from recalltrap.orderings import Ordering
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.rewards.noise import reward_noise
from recalltrap_studies.llm.settings import LlmSettings


def test_without_a_deviation_there_is_none() -> None:
    assert reward_noise(0, "a", 8, 0.0) is None


def test_a_larger_deviation_adds_more_of_the_same() -> None:
    one, two = (reward_noise(1, "a", 4000, deviation) for deviation in (0.5, 1.0))
    assert one is not None
    assert two is not None
    torch.testing.assert_close(2 * one, two)
    assert float(one.std()) == pytest.approx(0.5, rel=0.05)
    assert abs(float(one.mean())) < 0.03
    other = reward_noise(1, "b", 4000, 0.5)
    assert not torch.equal(one, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ordering", ["K-A", {"name": "A-x", "stages": ["align", {"distill": "dckd"}]}]
)
def test_it_makes_another_alignment_and_none_leaves_it_what_it_was(ordering: object) -> None:
    def final(**fields: float) -> str:
        settings = LlmSettings.model_validate(fields)
        return KIND.cell(Ordering.model_validate(ordering), settings, 0).models["final"].id

    assert final() == final(reward_noise=0.0) != final(reward_noise=0.1)
