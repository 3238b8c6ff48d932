"""A decoder with a fixed cache draws what one with a growing cache draws; the graphs themselves
need a GPU, see `tests/gpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, MistralConfig, MistralForCausalLM, PreTrainedModel

from recalltrap_studies.llm.data.responses import PromptRows, Request, Responses
from recalltrap_studies.llm.inference import captured_steps
from recalltrap_studies.llm.inference.captured_steps import StepDecoder
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.inference.sampling_engines import Cache, generate
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.models.architectures import config_of

TOKENS, ROWS = 23, 32
PROMPTS = {"of one length": [[2, 3]], "padded": [[2, 3], [2, 9, 4, 7, 5, 11], [2]]}


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    config = config_of("nano-small", 96)
    config.initializer_range = 0.3
    made = weights.fresh_model(config, 0)
    made.train(False)
    head: Any = made.get_output_embeddings()  # type: ignore[no-untyped-call]
    with torch.no_grad():  # ends are likely enough that rows leave at many steps
        head.weight[0] *= 1.5
    return made


def asked(prompts: str) -> Request:
    table = PromptRows.of(PROMPTS[prompts])
    return Request(table, TOKENS, 1.0, 0, 1).take(torch.arange(ROWS) % len(PROMPTS[prompts]))


def drawn(model: PreTrainedModel, request: Request, cache: Cache) -> Responses:
    return generate(model, request, uniforms(0, "test/fixed", ROWS, TOKENS), cache=cache)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, window) of every step that a decoder makes."""
    seen: list[tuple[int, int]] = []
    step: Callable[[StepDecoder], None] = StepDecoder._step

    def watched(decoder: StepDecoder) -> None:
        seen.append((len(decoder.rows_R), decoder.window))
        step(decoder)

    monkeypatch.setattr(StepDecoder, "_step", watched)
    return seen


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize(("window", "check"), [(1, 1), (4, 2), (8, 16), (128, 16), (128, 1)])
def test_a_fixed_cache_draws_the_same(
    model: PreTrainedModel,
    prompts: str,
    window: int,
    check: int,
    steps: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(captured_steps, "WINDOW", window)
    monkeypatch.setattr(captured_steps, "CHECK", check)
    growing, fixed = (drawn(model, asked(prompts), cache) for cache in ("dynamic", "fixed"))
    assert 0 < int(growing.finished_B.sum()) < ROWS
    assert torch.equal(growing.tokens_BT, fixed.tokens_BT)
    assert torch.equal(growing.mask_BT, fixed.mask_BT)
    torch.testing.assert_close(growing.log_probs_BT, fixed.log_probs_BT, atol=1e-4, rtol=0)
    assert len(steps) == TOKENS - 1
    places = max(map(len, PROMPTS[prompts])) + TOKENS - 1
    assert {w for _, w in steps} == set(range(-(-steps[0][1] // window) * window, places + window,
                                              window))  # fmt: skip
    if check == 1:
        assert steps[-1][0] < 0.5 * ROWS, "rows that ended stayed"


def test_a_batch_of_ended_rows_stops(
    model: PreTrainedModel, steps: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_steps, "CHECK", 1)
    request = asked("of one length").take(torch.arange(4))
    numbers = torch.zeros(4, TOKENS, dtype=torch.float64)  # always token 0, the end
    responses = generate(model, request, numbers, cache="fixed")
    assert not steps
    assert responses.mask_BT.sum() == 4


def test_under_autocast_as_a_rollout_draws(model: PreTrainedModel) -> None:
    """Float32 weights computed in bfloat16: keys come in one precision and values in another."""
    with torch.autocast("cpu", torch.bfloat16):
        growing, fixed = (drawn(model, asked("padded"), cache) for cache in ("dynamic", "fixed"))
    assert fixed.log_probs_BT.dtype == torch.float32
    same = (growing.tokens_BT == fixed.tokens_BT).float().mean()
    assert float(same) > 0.9


def test_a_sliding_window_keeps_its_own_cache(steps: list[tuple[int, int]]) -> None:
    config = MistralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=8,
    )  # fmt: skip
    sliding = MistralForCausalLM(config)
    sliding.train(False)
    growing, fixed = (drawn(sliding, asked("of one length"), c) for c in ("dynamic", "fixed"))
    assert torch.equal(growing.tokens_BT, fixed.tokens_BT)
    assert not steps


def test_attention_that_takes_no_mask_keeps_its_own_cache(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cache_of(attention: str) -> bool:
        monkeypatch.setattr(model.config, "_attn_implementation", attention)
        filled: Tensor = torch.tensor([[2, 3]])
        cache = DynamicCache(config=model.config)
        monkeypatch.setattr(model.config, "_attn_implementation", "sdpa")
        model(input_ids=filled, past_key_values=cache, use_cache=True)
        monkeypatch.setattr(model.config, "_attn_implementation", attention)
        return captured_steps.capturable(model, cache)

    assert cache_of("sdpa")
    assert cache_of("eager")
    assert not cache_of("flash_attention_2")
