"""The scorer against plain log-softmax, one row at a time."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.streams import stream
from recalltrap_studies.llm.inference import log_probs as scoring
from recalltrap_studies.llm.inference.log_probs import response_scores, token_log_probs
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.training import held_out_loss

PROMPT = [5, 9]


@pytest.fixture(scope="session")
def responses(tiny_tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    random = stream(0, "test/responses")
    return [
        random.integers(2, len(tiny_tokenizer), int(random.integers(1, 40))).tolist()
        for _ in range(50)
    ]


def plain_sum(model: PreTrainedModel, prompt: list[int], response: list[int]) -> float:
    """The sum over the response's tokens, from one unpadded row."""
    ids = torch.tensor([prompt + response])
    with torch.no_grad():
        log_probs = model(input_ids=ids).logits[0].double().log_softmax(1)
    return float(sum(log_probs[at - 1, ids[0, at]] for at in range(len(prompt), ids.shape[1])))


@pytest.mark.parametrize("limit", [1, 1 << 23])
def test_sums_are_those_of_one_row_at_a_time(
    tiny_model: PreTrainedModel,
    responses: list[list[int]],
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(scoring.LOGITS, "cpu", limit)
    total, count = response_scores(tiny_model, responses, PROMPT)
    assert count.tolist() == [len(response) for response in responses]
    expected = [plain_sum(tiny_model, PROMPT, response) for response in responses]
    torch.testing.assert_close(
        total, torch.tensor(expected, dtype=torch.float64), atol=1e-3, rtol=0
    )
    assert (total / count - torch.tensor(expected) / count).abs().max() < 1e-5


def test_padding_and_its_token_never_count(
    tiny_model: PreTrainedModel, responses: list[list[int]]
) -> None:
    total, _ = response_scores(tiny_model, responses, PROMPT)
    for pad in (0, 17):
        rows = [torch.tensor(response) for response in responses]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, True, pad)
        tokens = torch.nn.functional.pad(tokens, (0, 9), value=pad)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
        again, count = response_scores(tiny_model, (tokens, mask), PROMPT)
        torch.testing.assert_close(again, total, atol=1e-4, rtol=0)
        assert torch.equal(count, lengths)


def test_arrow_lists_are_read_as_they_are(
    tiny_model: PreTrainedModel, responses: list[list[int]]
) -> None:
    column = pa.chunked_array([pa.array(responses[:20], pa.list_(pa.int32())),
                               pa.array(responses[20:], pa.list_(pa.int32()))])  # fmt: skip
    total, count = response_scores(tiny_model, responses, PROMPT)
    again, count_again = response_scores(tiny_model, column, PROMPT)
    assert torch.equal(total, again)
    assert torch.equal(count, count_again)


def test_masked_positions_are_zero_and_the_mode_is_restored(own_model: PreTrainedModel) -> None:
    own_model.train()
    ids = torch.arange(2, 14).reshape(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    log_probs = token_log_probs(own_model, ids, mask)
    assert own_model.training
    assert log_probs.shape == (2, 5)
    assert bool((log_probs[0, 3:] == 0).all())
    assert bool((log_probs[0, :3] < 0).all())
    assert bool((log_probs[1] < 0).all())


def test_probabilities_sum_to_one(tiny_model: PreTrainedModel) -> None:
    size = tiny_model.config.vocab_size
    every = torch.arange(size)[:, None]
    ids = torch.cat([torch.tensor([PROMPT]).expand(size, -1), every], dim=1)
    for temperature in (0.5, 1.0):
        last = token_log_probs(tiny_model, ids, torch.ones_like(ids), temperature=temperature)
        assert abs(float(last[:, -1].double().exp().sum()) - 1) < 1e-5


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
    ids = torch.randint(2, size, (40, 31), generator=torch.Generator().manual_seed(0))
    expected = token_log_probs(own_model, ids, torch.ones_like(ids))
    monkeypatch.setattr(own_model, "forward", watched)
    monkeypatch.setitem(scoring.LOGITS, "cpu", size)
    same = token_log_probs(own_model, ids, torch.ones_like(ids))
    assert shapes == [(16, 30), (16, 30), (8, 30)]
    torch.testing.assert_close(same, expected, atol=1e-6, rtol=0)
    shapes.clear()
    monkeypatch.setitem(scoring.MOST_LOGITS, "cpu", 16 * 12 * size)
    pieces = token_log_probs(own_model, ids, torch.ones_like(ids))
    assert shapes == [(16, 12), (16, 12), (16, 6)] * 2 + [(8, 24), (8, 6)]
    torch.testing.assert_close(pieces, expected, atol=1e-5, rtol=0)


def test_the_nano_studies_batches_are_what_they_were() -> None:
    """Their rows fit the caches; other batches would move stored numbers in the last bits."""
    model = type("Shape", (), {"device": torch.device("cpu"), "config": config_of("nano-large")})
    assert [scoring.rows_at_once(model, length) for length in (33, 65, 128)] == [62, 31, 16]
    large = type("Shape", (), {"device": torch.device("cpu"), "config": config_of("smollm2-135m")})
    assert [scoring.rows_at_once(large, length) for length in (33, 513)] == [16, 16]


@pytest.mark.parametrize(
    ("vocabulary", "length", "rows"),
    [(512, 33, 248), (49_152, 33, 16), (49_152, 129, 10), (49_152, 2_000, 1)],
)
def test_held_out_batches(vocabulary: int, length: int, rows: int) -> None:
    assert held_out_loss.rows_of_a_pass(vocabulary * length, "cpu") == rows
