"""The scorer against plain log-softmax, one row at a time."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.streams import stream
from recalltrap_studies.llm import scoring
from recalltrap_studies.llm.scoring import response_scores, token_log_probs

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
