"""The oracle: eqs. 9 and 10, the supremum of each shaping, and likelihoods of responses alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from recalltrap.errors import StageError
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.inference.log_probs import score_responses
from recalltrap_studies.llm.rewards.oracle import (
    Oracle,
    base_reward,
    clip,
    fold,
    supremum,
    threshold_of,
)
from recalltrap_studies.llm.stage_settings import Shaping

PROMPT = (3, 5)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=17, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32,
        tie_word_embeddings=True, eos_token_id=0, pad_token_id=1, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    built: PreTrainedModel = LlamaForCausalLM(config)
    built.train(False)
    with torch.no_grad():
        next(built.parameters()).mul_(30.0)  # far from uniform
    return built


def oracle_of(model: torch.nn.Module, shaping: Shaping = "fold") -> Oracle:
    return Oracle(model, 8.0, 10.0, 0.5, shaping)


def responses() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.tensor([[4, 9, 0, 1], [7, 2, 2, 6], [0, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
    return tokens, mask


def test_the_paper_s_reward_at_known_likelihoods() -> None:
    nll = torch.tensor([0.0, 1.0, math.log(4.0)])
    expected = [10.0, 10.0 * math.exp(-0.5), 5.0]
    assert base_reward(nll, 10.0, 0.5).tolist() == pytest.approx(expected, rel=1e-6)


def test_folding_reflects_at_the_threshold_and_clipping_holds() -> None:
    base = torch.tensor([7.0, 8.0, 9.0, 10.0])
    assert fold(base, 8.0).tolist() == [7.0, 8.0, 7.0, 6.0]
    assert clip(base, 8.0).tolist() == [7.0, 8.0, 8.0, 8.0]


@given(
    st.floats(0, 30), st.floats(0.1, 50), st.floats(0.05, 5), st.floats(0.01, 1),
    st.sampled_from(["fold", "clip", "none"]),
)  # fmt: skip
def test_no_reward_exceeds_its_supremum(
    nll: float, height: float, sharpness: float, share: float, shaping: Shaping
) -> None:
    oracle = Oracle(torch.nn.Identity(), share * height, height, sharpness, shaping)
    reward = float(oracle.reward(torch.tensor([nll], dtype=torch.float64)))
    assert reward <= oracle.supremum + 1e-9 * height


@pytest.mark.parametrize(("shaping", "best"), [("fold", 8.0), ("clip", 8.0), ("none", 10.0)])
def test_the_supremum_is_reached(shaping: Shaping, best: float) -> None:
    nll = torch.linspace(0.0, 2.0, 20_001, dtype=torch.float64)
    oracle = Oracle(torch.nn.Identity(), 8.0, 10.0, 0.5, shaping)
    assert oracle.supremum == supremum(8.0, 10.0, shaping) == best
    assert float(oracle.reward(nll).max()) == pytest.approx(best, abs=1e-3)


def test_the_threshold_is_the_quantile_of_the_base_reward() -> None:
    base = np.arange(101, dtype=float) / 10.0
    assert threshold_of(base, 0.9) == pytest.approx(9.0)


def test_nll_is_the_mean_over_response_tokens_of_the_model_itself(
    model: PreTrainedModel,
) -> None:
    """Row by row, without padding, from the logits: the prompt and the pads play no part."""
    tokens, mask = responses()
    found = oracle_of(model).nll(tokens, mask, PromptRows.same(PROMPT))
    for row, seen, nll in zip(tokens, mask, found, strict=True):
        whole = torch.tensor([[*PROMPT, *row[seen].tolist()]])
        with torch.no_grad():
            logits = model(whole).logits[0, len(PROMPT) - 1 : -1]
        expected = torch.nn.functional.cross_entropy(logits, whole[0, len(PROMPT) :])
        assert float(nll) == pytest.approx(float(expected), abs=1e-5)


def test_what_stands_behind_the_eos_is_never_scored(model: PreTrainedModel) -> None:
    tokens, mask = responses()
    other = torch.where(mask, tokens, 11)
    one = score_responses(model, tokens, mask, PromptRows.same(PROMPT))
    two = score_responses(model, other, mask, PromptRows.same(PROMPT))
    assert torch.equal(one, two)
    assert bool((one[~mask] == 0).all())
    assert bool((one[mask] < 0).all())


def test_an_oracle_that_returns_nan_stops_the_stage(model: PreTrainedModel) -> None:
    with pytest.raises(StageError, match=r"settings\.target_epochs") as caught:
        oracle_of(model).reward(torch.tensor([1.0, float("nan")]))
    assert caught.value.failure == "nan"
