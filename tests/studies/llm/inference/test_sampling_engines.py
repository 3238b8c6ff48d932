"""What every engine must meet, and what the transformers one promises beyond it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError, StageError
from recalltrap_studies.llm.data.responses import PromptRows, Request, check_context
from recalltrap_studies.llm.inference import sampling_engines
from recalltrap_studies.llm.inference.log_probs import score_responses
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.inference.sampling_engines import Draw, generate, inverse_cdf
from recalltrap_studies.llm.models import tokenizers
from tests.studies.llm.scoring import response_sums, tempered_sums

TOKENS = 7
HAS_VLLM = importlib.util.find_spec("vllm") is not None


@pytest.fixture(scope="session")
def request_(tiny_tokenizer: PreTrainedTokenizerFast) -> Request:
    return make_request(tiny_tokenizer)


def make_request(
    tokenizer: PreTrainedTokenizerFast, tokens: int = TOKENS, temperature: float = 1.0
) -> Request:
    prompt = tuple(tokenizers.encode_prompt(tokenizer, "The"))
    return Request(
        PromptRows.same(prompt), tokens, temperature, tokenizer.eos_token_id, tokenizer.pad_token_id
    )


@pytest.fixture(
    params=[
        "transformers",
        pytest.param(
            "vllm",
            marks=[
                pytest.mark.skipif(not HAS_VLLM, reason="vLLM isn't installed (extra `vllm`)"),
                pytest.mark.slow,
            ],
        ),
    ]
)
def draw(request: pytest.FixtureRequest, tiny_model: PreTrainedModel) -> Iterator[Draw]:
    """Every engine over the tiny model."""
    with sampling_engines.opened(request.param, tiny_model) as engine:
        yield engine


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_contract_log_probs_are_the_scorers(
    draw: Draw, tiny_model: PreTrainedModel, request_: Request, temperature: float
) -> None:
    request = Request(request_.prompts, TOKENS, temperature, request_.eos_id, request_.pad_id)
    responses = draw(request, uniforms(0, "test/scorer", 256, TOKENS))
    scored, count = (
        response_sums(tiny_model, responses, request.prompts.lists()[0])
        if temperature == 1.0
        else tempered_sums(tiny_model, responses, request.prompts.lists()[0], temperature)
    )
    drawn = responses.log_probs_BT.double().sum(dim=1)
    assert torch.equal(count, responses.mask_BT.sum(dim=1))
    torch.testing.assert_close(drawn / count, scored / count, atol=1e-4, rtol=0)
    assert abs(float(drawn.sum() - scored.sum()) / int(count.sum())) < 1e-4


def test_contract_ends_at_the_first_eos(draw: Draw, request_: Request) -> None:
    responses = draw(request_, uniforms(1, "test/eos", 256, TOKENS))
    is_eos = responses.tokens_BT == request_.eos_id
    assert 0.2 < responses.finished_B.float().mean() < 1.0  # the model knows EOS, and is cut off
    for tokens, mask, finished in zip(
        responses.tokens_BT, responses.mask_BT, responses.finished_B, strict=True
    ):
        length = int(mask.sum())
        assert bool(mask[:length].all())
        assert not bool((tokens[: length - 1] == request_.eos_id).any())
        assert bool(finished) == (int(tokens[length - 1]) == request_.eos_id)
        assert bool(finished) or length == TOKENS
        assert bool((tokens[length:] == request_.pad_id).all())
    assert torch.equal(is_eos.any(dim=1), responses.finished_B)
    assert bool((responses.log_probs_BT[~responses.mask_BT] == 0).all())


def test_contract_a_draw_depends_on_its_row_alone(draw: Draw, request_: Request) -> None:
    numbers = uniforms(2, "test/rows", 96, TOKENS)
    together = draw(request_, numbers)
    parts = [draw(request_, part) for part in (numbers[:7], numbers[7:8], numbers[8:])]
    assert torch.equal(together.tokens_BT, torch.cat([part.tokens_BT for part in parts]))
    torch.testing.assert_close(
        together.log_probs_BT, torch.cat([part.log_probs_BT for part in parts]), atol=1e-5, rtol=0
    )


def test_contract_the_first_token_follows_the_models_distribution(
    draw: Draw, tiny_model: PreTrainedModel, request_: Request
) -> None:
    rows, one = 20_000, Request(request_.prompts, 1, 1.0, request_.eos_id, request_.pad_id)
    tokens = draw(one, uniforms(3, "test/first", rows, 1)).tokens_BT[:, 0]
    with torch.no_grad():
        logits = tiny_model(input_ids=request_.prompts.ids_BP).logits[0, -1]
    expected = rows * logits.double().softmax(0).numpy()
    observed = np.bincount(tokens.numpy(), minlength=len(expected)).astype(float)
    rare = expected < 5
    pooled = [np.append(x[~rare], x[rare].sum()) for x in (observed, expected)]
    assert chisquare(*pooled).pvalue > 1e-3


def test_tokens_beyond_the_top_50_come_at_their_probability() -> None:
    """384 tokens, of which the 334 unlikeliest hold a tenth: a top-k of 50 would lose them all."""
    logits = torch.full((384,), -6.0)
    logits[:50] = 0.0
    probabilities = logits.double().softmax(0)
    share = float(probabilities[50:].sum())
    assert 0.01 < share < 0.1
    rows = 1 << 14
    grid = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    tokens, log_probs = inverse_cdf(logits.expand(rows, -1), grid)
    counts = torch.bincount(tokens, minlength=384).double()
    assert float((counts - rows * probabilities).abs().max()) <= 1.0  # exact but for the grid
    assert abs(float((tokens >= 50).double().mean()) - share) < 1e-3
    torch.testing.assert_close(log_probs.double(), probabilities.log()[tokens], atol=1e-6, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1e-300, 0.5, 1 - 2**-53]),
    st.floats(0.1, 30),
)
def test_no_uniform_draws_an_impossible_token(
    size: int, seed: int, uniform: float, scale: float
) -> None:
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(scale * random.standard_normal((4, size))).float()
    impossible = torch.from_numpy(random.random((4, size)) < 0.5)
    impossible[:, int(random.integers(size))] = False
    logits[impossible] = -torch.inf
    tokens, log_probs = inverse_cdf(logits, torch.full((4,), uniform, dtype=torch.float64))
    expected = logits.double().log_softmax(1).gather(1, tokens[:, None])[:, 0]
    assert bool(torch.isfinite(expected).all())
    torch.testing.assert_close(log_probs.double(), expected, atol=1e-5, rtol=1e-5)


def test_a_folders_own_generation_settings_change_no_draw(
    own_model: PreTrainedModel, request_: Request
) -> None:
    numbers = uniforms(4, "test/caches", 128, TOKENS)
    before = generate(own_model, request_, numbers)
    assert own_model.generation_config is not None
    own_model.generation_config.repetition_penalty = 3.0
    own_model.generation_config.min_new_tokens = 7
    assert torch.equal(generate(own_model, request_, numbers).tokens_BT, before.tokens_BT)
    assert own_model.generation_config.repetition_penalty == 3.0


def test_a_longer_prompt_is_masked_and_never_scored(
    tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    prompt = tuple(tokenizers.encode_prompt(tiny_tokenizer, "The old baker sees"))
    assert len(prompt) > 1
    request = Request(
        PromptRows.same(prompt),
        TOKENS,
        1.0,
        tiny_tokenizer.eos_token_id,
        tiny_tokenizer.pad_token_id,
    )
    responses = generate(tiny_model, request, uniforms(5, "test/prompt", 64, TOKENS))
    scores = score_responses(
        tiny_model, responses.tokens_BT, responses.mask_BT, PromptRows.same(prompt)
    )
    torch.testing.assert_close(scores, responses.log_probs_BT, atol=1e-4, rtol=0)


def test_the_models_mode_is_restored(own_model: PreTrainedModel, request_: Request) -> None:
    own_model.train()
    responses = generate(own_model, request_, uniforms(6, "test/mode", 4, TOKENS))
    assert own_model.training
    assert not responses.log_probs_BT.requires_grad


def test_a_prompt_longer_than_the_context_is_refused(
    tiny_model: PreTrainedModel, request_: Request
) -> None:
    long = Request(
        PromptRows.same(request_.prompts.lists()[0] * 60),
        TOKENS,
        1.0,
        request_.eos_id,
        request_.pad_id,
    )
    with pytest.raises(InputError, match=r"settings\.prompt has 60 .*settings\.sample_tokens = 7"):
        generate(tiny_model, long, uniforms(0, "test", 1, TOKENS))
    with pytest.raises(InputError, match=r"settings\.align_tokens"):
        check_context(tiny_model.config, long, "align_tokens")


def test_broken_weights_are_a_nan_failure(own_model: PreTrainedModel, request_: Request) -> None:
    with torch.no_grad():
        next(own_model.parameters()).fill_(float("nan"))
    for cache in ("dynamic", "fixed"):
        with pytest.raises(StageError, match="not finite") as caught:
            generate(own_model, request_, uniforms(0, "test", 3, TOKENS), cache=cache)
        assert caught.value.failure == "nan"


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_a_missing_vllm_is_refused_with_the_way_out(tiny_model: PreTrainedModel) -> None:
    with (
        pytest.raises(InputError, match=r"recalltrap\[vllm\]"),
        sampling_engines.opened("vllm", tiny_model),
    ):
        pass
