"""Alignments over prompts of different lengths: who shares a prompt, and what is learned."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.policy import Policy, summed_log_probs
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.alignment.rollouts import RolloutContext, roll_out
from recalltrap_studies.llm.data import responses
from recalltrap_studies.llm.data.prompts import PromptSet
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.rewards.oracle import Oracle
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.alignment.conftest import iterations_of
from tests.studies.llm.conftest import fresh
from tests.studies.llm.scoring import plain_log_probs

TEXTS = ("The", "The fox", "The old baker sees", "The river")
FIELDS: dict[str, Any] = {
    "iterations": 2, "rollout_size": 16, "minibatch_size": 4, "align_tokens": 12, "group_size": 4,
    "offline_pairs": 12, "selection_interval": 1,
}  # fmt: skip
EVERY = pytest.mark.parametrize("algorithm", list(ALGORITHMS))


@pytest.fixture
def prompts(tiny_tokenizer: PreTrainedTokenizerFast) -> PromptSet:
    rows = PromptRows.of([tiny_tokenizer.encode(text) for text in TEXTS])
    assert len(set(rows.lengths_B.tolist())) > 2
    return PromptSet(TEXTS, rows, np.array([0.4, 0.2, 0.3, 0.1]))


@pytest.fixture
def many(
    prompts: PromptSet,
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> RolloutContext:
    """The narrow model is the reference, the tiny one scores."""
    request = responses.request(tiny_tokenizer, prompts.rows, 12)
    return RolloutContext(
        narrow_model, Oracle(tiny_model, 5.0, 10.0, 0.5, "fold"), request, prompts
    )


def make(algorithm: str, context: RolloutContext, scratch: Path, **resources: Any) -> Any:
    record = ALGORITHMS[algorithm]
    whole = LlmSettings(algorithm=algorithm, **FIELDS)
    fields = {name: getattr(whole, name) for name in record.part.model_fields}
    lm = copy.deepcopy(context.reference)
    group = WorkerGroup(resources=LlmResources(**resources))
    policy = Policy(lm, context.request.prompts, record.value_head)
    return record.trainer_class()(
        policy, context, record.part(**fields), seed=3, group=group, scratch=scratch
    )


@EVERY
def test_every_algorithm_learns_from_all_prompts(
    algorithm: str, many: RolloutContext, tmp_path: Path
) -> None:
    trainer = make(algorithm, many, tmp_path)
    before = [p.clone() for p in trainer.policy.lm.parameters()]
    points = iterations_of(trainer, tmp_path)
    assert len(points) == FIELDS["iterations"] + 1
    assert all(np.isfinite(list(point.values())).all() for point in points)
    assert any(not torch.equal(a, b)
               for a, b in zip(before, trainer.policy.lm.parameters(), strict=True))  # fmt: skip


@EVERY
def test_a_minibatch_s_loss_is_the_same_in_parts(
    algorithm: str, many: RolloutContext, tmp_path: Path
) -> None:
    """Parts are padded to other widths."""
    whole = iterations_of(make(algorithm, many, tmp_path / "1"), tmp_path / "1")
    trainer = make(algorithm, many, tmp_path / "2", gradient_accumulation=2)
    parts = iterations_of(trainer, tmp_path / "2", trainer.group)
    for one, two in zip(whole, parts, strict=True):
        for name in ("reward", "loss", "kl"):
            assert two.get(name, 0.0) == pytest.approx(one.get(name, 0.0), abs=2e-3), name


@EVERY
def test_what_is_compared_is_to_one_prompt(
    algorithm: str, many: RolloutContext, tmp_path: Path
) -> None:
    """Pairs, groups, and the two of which one is desirable; others stand for themselves."""
    trainer = make(algorithm, many, tmp_path)
    with trainer.whole_policy() as policy:
        rollout = trainer.draw(policy, 0)
    assert rollout.prompt_N is not None
    sets = rollout.prompt_N.view(-1, trainer.together)
    assert bool((sets == sets[:, :1]).all())
    assert len(set(sets[:, 0].tolist())) > 1
    expected = {"ppo": 1, "grpo": 4, "rloo": 4}.get(algorithm, 2)
    assert trainer.together == expected
    if ALGORITHMS[algorithm].fixed_set:
        prompt = trainer.examples["prompt"].view(-1, 2)  # of a pair
        assert bool((prompt[:, 0] == prompt[:, 1]).all())
        assert len(set(prompt[:, 0].tolist())) > 1


def test_all_policies_of_a_seed_are_asked_alike(many: RolloutContext) -> None:
    """Whatever they are: both orderings get the same prompts, and another rollout gets others."""
    assert many.reward_model.model is not None
    other = replace(many, reference=many.reward_model.model)
    fields: dict[str, Any] = {"size": 32, "seed": 3, "group": WorkerGroup(), "together": 2}
    found = [
        roll_out(Policy(c.reference, c.request.prompts), c, index=index, **fields).prompt_N
        for c, index in ((many, 0), (other, 0), (many, 1))
    ]
    assert torch.equal(found[0], found[1])  # type: ignore[arg-type]
    assert not torch.equal(found[0], found[2])  # type: ignore[arg-type]


def test_a_rollout_s_numbers_are_those_of_each_row_alone(
    many: RolloutContext, prompts: PromptSet
) -> None:
    policy = Policy(many.reward_model.model, many.request.prompts)
    rollout = roll_out(policy, many, size=24, index=0, seed=3, group=WorkerGroup(), scored=True)
    assert rollout.prompt_N is not None
    lists = prompts.rows.lists()
    for row, prompt in enumerate(rollout.prompt_N.tolist()):
        mask = rollout.mask_NT[row]
        tokens = rollout.tokens_NT[row][mask].tolist()
        for model, found_NT in (
            (policy.lm, rollout.log_probs_NT), (many.reference, rollout.reference_NT)
        ):  # fmt: skip
            expected = plain_log_probs(model, lists[prompt], tokens)
            found = found_NT[row][mask].double()
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        nll = -plain_log_probs(policy.lm, lists[prompt], tokens).mean()
        assert float(rollout.measured["target_nll"][row]) == pytest.approx(float(nll), abs=1e-4)


def test_the_workers_share_a_rollout_over_many_prompts(many: RolloutContext) -> None:
    policy = Policy(many.reference, many.request.prompts)
    fields: dict[str, Any] = {"size": 6, "index": 1, "seed": 3, "together": 2}
    alone = roll_out(policy, many, group=WorkerGroup(), **fields)
    heard: list[Any] = []

    def gather(value: Any) -> list[Any]:
        heard.append(value)
        return heard

    for rank in range(2):
        shared = roll_out(policy, many, group=WorkerGroup(rank, 2, gather=gather), **fields)
    assert torch.equal(alone.tokens_NT, shared.tokens_NT)
    assert torch.equal(alone.prompt_N, shared.prompt_N)  # type: ignore[arg-type]
    torch.testing.assert_close(alone.log_probs_NT, shared.log_probs_NT)


def test_kto_s_kl_term_is_of_mismatched_pairs(
    many: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """TRL's: each prompt of a minibatch with the response before its own."""
    trainer = make("kto", many, tmp_path, gradient_accumulation=2)
    # The responses are the old reference's and the policy's, so that the new one likes them less.
    strange = fresh(tiny_tokenizer, seed=7)
    strange.train(False)
    trainer.context = replace(many, reference=strange)
    terms: list[float] = []
    losses = trainer.row_losses

    def watched(model: Any, rows: Any) -> Any:
        terms.append(trainer.kl_term)
        return losses(model, rows)

    trainer.row_losses = watched
    policy = Policy(copy.deepcopy(trainer.policy.lm), many.request.prompts)
    iterations_of(trainer, tmp_path)
    rows = {name: whole[trainer.order[:4]] for name, whole in trainer.examples.items()}
    rows["prompt"] = rows["prompt"].roll(-1)
    reference = Policy(strange, many.request.prompts)
    with torch.no_grad():
        log_ratio = summed_log_probs(policy, rows) - summed_log_probs(reference, rows)
    assert terms[0] == terms[1] == pytest.approx(float(log_ratio.mean()), abs=1e-3)
    assert terms[0] > 0
