"""Prompts of different lengths in one batch: every row is computed as if it stood alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from recalltrap_studies.llm.alignment.policy import Policy, score
from recalltrap_studies.llm.data.responses import PromptRows, Request
from recalltrap_studies.llm.inference import log_probs
from recalltrap_studies.llm.inference.batch_sizes import LogitsBudget
from recalltrap_studies.llm.inference.log_probs import response_log_probs, score_responses
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.inference.sampling_engines import generate
from recalltrap_studies.llm.models import weights
from tests.studies.llm.models.test_families import GAINS, small
from tests.studies.llm.scoring import plain_log_probs

ROWS, TOKENS = 24, 12
PROMPTS = [[5], [7, 9, 11, 4], [30, 31], [8, 12, 13, 14, 15, 16, 17, 18, 19], [40, 41, 42]]
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 0}


FAST = ("llama", "gpt2", "gemma3_text")
FAMILIES = [f if f in FAST else pytest.param(f, marks=pytest.mark.slow) for f in GAINS]


@pytest.fixture(params=FAMILIES, scope="module")
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A tiny model of a family, far from uniform; windows are of 6 tokens where it has any."""
    config = small(request.param)
    config.initializer_range = 0.1
    if request.param == "qwen2":
        config.sliding_window, config.layer_types = 6, ["sliding_attention"] * 2
    made = weights.fresh_model(config, 5)
    made.train(False)
    return made


def asked() -> Request:
    table = PromptRows.of(PROMPTS)
    return Request(table, TOKENS, 1.0, 0, 1).take(torch.arange(ROWS) % len(PROMPTS))


def drawn(model: PreTrainedModel, request: Request) -> Any:
    return generate(model, request, uniforms(0, "test/padding", ROWS, TOKENS))


def alone(model: PreTrainedModel, request: Request, responses: Any) -> torch.Tensor:
    """Every row's log-probabilities by plain transformers, one unpadded row at a time [B, T]."""
    found = torch.zeros(responses.mask_BT.shape)
    rows = zip(request.prompts.lists(), responses.tokens_BT, responses.mask_BT, strict=True)
    for row, (prompt, tokens, mask) in enumerate(rows):
        found[row, : int(mask.sum())] = plain_log_probs(model, prompt, tokens[mask].tolist())
    return found


def test_a_row_s_log_probabilities_are_the_row_s_alone(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampled with rows that leave the batch, scored whole and in pieces behind a cache."""
    request = asked()
    responses = drawn(model, request)
    assert 0 < int(responses.finished_B.sum()) < ROWS
    expected = alone(model, request, responses)
    torch.testing.assert_close(responses.log_probs_BT, expected, **CLOSE)
    whole = (model, responses.tokens_BT, responses.mask_BT, request.prompts)
    torch.testing.assert_close(score_responses(*whole), expected, **CLOSE)
    budget = LogitsBudget(1, least_rows=16, most=16 * 96 * 5)
    monkeypatch.setattr(log_probs, "scoring_budget", lambda _: budget)
    torch.testing.assert_close(score_responses(*whole), expected, **CLOSE)


def test_a_sample_s_likelihood_is_the_scorer_s_per_prompt(model: PreTrainedModel) -> None:
    request = asked()
    responses = drawn(model, request)
    scored_BT = score_responses(model, responses.tokens_BT, responses.mask_BT, request.prompts)
    for prompt in range(len(PROMPTS)):
        rows = torch.arange(ROWS) % len(PROMPTS) == prompt
        sampled, scored = (x[rows].sum() / responses.mask_BT[rows].sum()
                           for x in (responses.log_probs_BT, scored_BT))  # fmt: skip
        assert float(sampled) == pytest.approx(float(scored), abs=1e-5)


def test_no_row_sees_another_row_s_prompt(model: PreTrainedModel) -> None:
    """One prompt is another of the same length: all other rows are the same bits."""
    request = asked()
    other = request.prompts.ids_BP.clone()
    other[3, -2] = 77
    changed = Request(PromptRows(other, request.prompts.mask_BP), TOKENS, 1.0, 0, 1)
    first, second = (
        generate(model, one, uniforms(0, "test/padding", ROWS, 1), cache="dynamic")
        for one in (_one_token(request), _one_token(changed))
    )
    rest = torch.arange(ROWS) != 3
    assert not torch.equal(first.log_probs_BT[3], second.log_probs_BT[3])
    assert torch.equal(first.log_probs_BT[rest], second.log_probs_BT[rest])
    whole = drawn(model, request)
    # Rows leave the batch at other steps, so that its shape is another: the draws are the same.
    assert torch.equal(whole.tokens_BT[rest], drawn(model, changed).tokens_BT[rest])
    one, two = (
        score_responses(model, whole.tokens_BT, whole.mask_BT, asked_.prompts)
        for asked_ in (request, changed)
    )
    assert torch.equal(one[rest], two[rest])
    assert not torch.equal(one[3], two[3])


def _one_token(request: Request) -> Request:
    return Request(request.prompts, 1, 1.0, request.eos_id, request.pad_id)


def test_a_policy_learns_from_padded_rows_as_from_each_alone(model: PreTrainedModel) -> None:
    """Log-probabilities, values and the gradients of both."""
    table, index_B = PromptRows.of(PROMPTS), torch.arange(len(PROMPTS))
    policy = Policy(model, table, value_head=True)
    assert policy.value_head is not None
    torch.nn.init.normal_(policy.value_head.weight, generator=torch.Generator().manual_seed(0))
    shape = (len(PROMPTS), TOKENS)
    tokens_BT = torch.randint(2, 96, shape, generator=torch.Generator().manual_seed(1))
    parameters = [p for p in policy.parameters() if p.requires_grad]

    def gradients(log_probs_BT: torch.Tensor, values_BT: torch.Tensor) -> Any:
        total = log_probs_BT.sum() + values_BT.sum()
        return torch.autograd.grad(total, parameters, allow_unused=True)

    together = policy(tokens_BT, index_B)
    rows = [
        Policy.forward(_after(policy, prompt), row[None])
        for prompt, row in zip(PROMPTS, tokens_BT, strict=True)
    ]
    singly = tuple(torch.cat(column) for column in zip(*rows, strict=True))
    for one, two in zip(together, singly, strict=True):
        torch.testing.assert_close(one, two, **CLOSE)
    for a, b in zip(gradients(*together), gradients(*singly), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert bool(a.isfinite().all())
            torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)
    scored = score(policy, {"tokens": tokens_BT, "prompt": index_B})
    torch.testing.assert_close(scored[0], together[0].detach(), **CLOSE)


def _after(policy: Policy, prompt: list[int]) -> Policy:
    """The same weights after one prompt alone."""
    one = Policy(policy.lm, PromptRows.same(prompt), value_head=True)
    one.value_head = policy.value_head
    return one


def test_unpadded_rows_are_computed_as_ever(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a mask nor positions where no row is shorter than another."""
    options: list[set[str]] = []
    forward = model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        options.append(set(kwargs))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", watched)
    table = PromptRows.of([[5, 6], [7, 9, 11], [30, 31]])
    for prompts in (PromptRows.same([5, 9]), table.take(torch.tensor([0, 2, 2, 0]))):
        tokens = torch.full((4, 3), 8)
        score_responses(model, tokens, torch.ones_like(tokens), prompts)
        request = Request(prompts, 3, 1.0, 0, 1)
        generate(model, request, uniforms(0, "test/padding", 4, 3), cache="dynamic")
        response_log_probs(model, tokens, prompts)
    assert all(not names & {"attention_mask", "position_ids"} for names in options)


def test_rows_of_prompts() -> None:
    table = PromptRows.of(PROMPTS)
    assert table.lists() == PROMPTS
    assert table.padded
    assert table.take(torch.tensor([2, 0, 2])).lists() == [[30, 31], [5], [30, 31]]
    assert table.take(torch.tensor([2, 0])).width == 2
    one = PromptRows.same([3, 4])
    assert one.take(torch.zeros(7, dtype=torch.int64)) is one
    assert one.expanded(3).lists() == [[3, 4]] * 3
    assert not one.padded
    assert PromptRows.same([3, 4], 2).lists() == [[3, 4]] * 2
