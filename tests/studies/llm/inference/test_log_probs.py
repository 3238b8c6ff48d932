"""The scorer against plain log-softmax, one row at a time, and the sizes of its batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.streams import stream
from recalltrap_studies.llm.data.responses import PromptRows, padded
from recalltrap_studies.llm.inference import log_probs
from recalltrap_studies.llm.inference.batch_sizes import HELD_OUT, POLICY, SCORING_CPU, LogitsBudget
from recalltrap_studies.llm.inference.log_probs import response_log_probs, score_responses
from tests.studies.llm.scoring import plain_log_probs, tokens_of

PROMPT = [5, 9]


@pytest.fixture(scope="session")
def rows(tiny_tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    random = stream(0, "test/responses")
    return [
        random.integers(2, len(tiny_tokenizer), int(random.integers(1, 40))).tolist()
        for _ in range(50)
    ]


def budget(monkeypatch: pytest.MonkeyPatch, **fields: int) -> None:
    monkeypatch.setattr(log_probs, "scoring_budget", lambda _: LogitsBudget(**fields))


@pytest.mark.slow
@pytest.mark.parametrize("prompt", [[5], PROMPT])
@pytest.mark.parametrize("fast", [1, 1 << 23])
def test_scores_are_those_of_one_row_at_a_time(
    tiny_model: PreTrainedModel,
    rows: list[list[int]],
    prompt: list[int],
    fast: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget(monkeypatch, fast=fast)
    tokens, mask = tokens_of(rows)
    scores = score_responses(tiny_model, tokens, mask, PromptRows.same(prompt))
    assert scores.dtype == torch.float32
    for row, score in zip(rows, scores, strict=True):
        expected = plain_log_probs(tiny_model, prompt, row)
        torch.testing.assert_close(score[: len(row)].double(), expected, atol=1e-5, rtol=1e-5)
        assert bool((score[len(row) :] == 0).all())


def test_padding_and_its_token_never_count(
    tiny_model: PreTrainedModel, rows: list[list[int]]
) -> None:
    tokens, mask = tokens_of(rows)
    scores = score_responses(tiny_model, tokens, mask, PromptRows.same(PROMPT))
    wider = torch.nn.functional.pad(mask, (0, 9))
    for pad in (0, 17):
        other = torch.nn.functional.pad(tokens.masked_fill(~mask, pad), (0, 9), value=pad)
        again = score_responses(tiny_model, other, wider, PromptRows.same(PROMPT))
        torch.testing.assert_close(again[:, : scores.shape[1]], scores, atol=1e-5, rtol=1e-5)
        assert bool((again[:, scores.shape[1] :] == 0).all())


def test_with_and_without_gradients_are_one_computation(
    own_model: PreTrainedModel, rows: list[list[int]]
) -> None:
    tokens, mask = tokens_of(rows)
    learned, hidden = response_log_probs(own_model, tokens, PromptRows.same(PROMPT))
    assert hidden is None
    scores = score_responses(own_model, tokens, mask, PromptRows.same(PROMPT))
    assert learned.requires_grad
    assert not scores.requires_grad
    assert torch.equal(torch.where(mask, learned, 0.0), scores)
    _, hidden = response_log_probs(own_model, tokens, PromptRows.same(PROMPT), hidden=True)
    assert hidden is not None
    assert hidden.shape == (*tokens.shape, own_model.config.hidden_size)
    model: Any = own_model
    logits = model.get_output_embeddings()(hidden)
    again = logits.log_softmax(2).gather(2, tokens[:, :, None])[:, :, 0]
    torch.testing.assert_close(again, learned, atol=1e-5, rtol=1e-5)


def test_the_mode_is_restored(own_model: PreTrainedModel) -> None:
    tokens = torch.arange(2, 14).reshape(2, 6)
    for training in (True, False):
        own_model.train(training)
        score_responses(own_model, tokens, torch.ones_like(tokens), PromptRows.same(PROMPT))
        assert own_model.training is training


def test_probabilities_sum_to_one(tiny_model: PreTrainedModel) -> None:
    every = torch.arange(tiny_model.config.vocab_size)[:, None]
    scores = score_responses(tiny_model, every, torch.ones_like(every), PromptRows.same(PROMPT))
    assert abs(float(scores.double().exp().sum()) - 1) < 1e-5


def test_a_large_vocabulary_is_scored_in_batches_whose_logits_memory_holds(
    own_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 49,152 tokens no row fits a CPU's caches: 16 rows at once, long ones in pieces."""
    shapes: list[tuple[int, int]] = []
    forward = own_model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        shapes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    size = own_model.config.vocab_size
    tokens = torch.randint(2, size, (40, 30), generator=torch.Generator().manual_seed(0))

    def score() -> Tensor:
        return score_responses(own_model, tokens, torch.ones_like(tokens), PromptRows.same([5]))

    expected = score()
    monkeypatch.setattr(own_model, "forward", watched)
    budget(monkeypatch, fast=size, least_rows=16)
    torch.testing.assert_close(score(), expected, atol=1e-6, rtol=0)
    assert shapes == [(16, 30), (16, 30), (8, 30)]
    shapes.clear()
    budget(monkeypatch, fast=size, least_rows=16, most=16 * 12 * size)
    torch.testing.assert_close(score(), expected, atol=1e-5, rtol=0)
    assert shapes == [(16, 12), (16, 12), (16, 6)] * 2 + [(8, 24), (8, 6)]


def test_the_nano_studies_batches_are_what_they_were() -> None:
    """Their rows fit the caches; other batches would move stored numbers in the last bits."""
    cpu = SCORING_CPU
    assert [cpu.rows_in_pieces(length * 512) for length in (33, 65, 128)] == [62, 31, 16]
    assert [cpu.rows_in_pieces(length * 49_152) for length in (33, 513)] == [16, 16]
    assert POLICY.rows(32 * 512) >= 64, "a rollout's responses at once"


@pytest.mark.parametrize(
    ("vocabulary", "length", "rows"),
    [(512, 33, 248), (49_152, 33, 16), (49_152, 129, 10), (49_152, 2_000, 1)],
)
def test_held_out_batches(vocabulary: int, length: int, rows: int) -> None:
    assert HELD_OUT["cpu"].rows(vocabulary * length) == rows


def test_lists_are_padded_by_their_lengths() -> None:
    tokens, mask = padded([row.numpy() for row in (torch.tensor([7]), torch.tensor([8, 9, 3]))])
    assert tokens.tolist() == [[7, 0, 0], [8, 9, 3]]
    assert mask.sum(dim=1).tolist() == [1, 3]
