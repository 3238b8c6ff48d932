"""Offline DPO: its pairs, their order, and TRL's loss on them."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap_studies.llm.alignment import losses
from recalltrap_studies.llm.alignment.offline_dpo import (
    OfflineDpoTrainer,
    pair_set,
    run_offline_dpo,
)
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import OfflineDpo
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.data.responses import Request
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.rewards.oracle import Oracle, response_log_probs
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Reward as OraclePart
from recalltrap_studies.llm.stages.oracle import run_oracle
from recalltrap_studies.llm.training.resumable import release, train

pytestmark = pytest.mark.slow  # they train


SMALL: dict[str, Any] = {
    "algorithm": "dpo_offline",
    "align_tokens": 12,
    "oracle_samples": 64,
    "iterations": 2,
    "rollout_size": 16,
    "minibatch_size": 4,
    "offline_pairs": 24,
    "selection_interval": 1,
}
PROMPT = "The"


def settings_of(**fields: Any) -> OfflineDpo:
    settings = LlmSettings(**{**SMALL, **fields})
    return OfflineDpo.model_validate(part_config(settings, OfflineDpo))


@pytest.fixture
def context(
    tiny_model: PreTrainedModel, narrow_model: PreTrainedModel, tiny_tokenizer: Any
) -> RolloutContext:
    """The narrow model is the reference, the tiny one judges."""
    prompt = tuple(tiny_tokenizer.encode(PROMPT))
    request = Request(prompt, 12, 1.0, tiny_tokenizer.eos_token_id, tiny_tokenizer.pad_token_id)
    judge = Oracle(tiny_model, 5.0, 10.0, 0.5, "fold", prompt)
    return RolloutContext(narrow_model, judge, request)


def trainer_of(
    context: RolloutContext,
    tokenizer: Any,
    scratch: Path,
    group: WorkerGroup | None = None,
    **fields: Any,
) -> Any:
    policy = Policy(copy.deepcopy(context.reference), context.request.prompt_ids)
    return OfflineDpoTrainer(
        policy,
        context,
        settings_of(**fields),
        seed=3,
        group=group or WorkerGroup(),
        scratch=scratch,
        tokenizer=tokenizer,
    )


def history(trainer: Any) -> list[dict[str, float]]:
    return [point for point in trainer.state.log_history if "rollout" in point]


def run(trainer: Any, scratch: Path, group: WorkerGroup | None = None) -> list[dict[str, float]]:
    train(trainer, stage="align", scratch=scratch, group=group or WorkerGroup())
    trainer.finish()
    return history(trainer)


def test_pairs_are_the_reference_s_and_the_lower_nll_wins(context: RolloutContext) -> None:
    pairs = pair_set(context, settings_of(), 3, WorkerGroup())
    assert len(pairs) == 24
    assert set(pairs["prompt_ids"][0]) == set(context.request.prompt_ids)

    def nll(name: str) -> Tensor:
        rows = [torch.tensor(row) for row in pairs[name]]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        return context.reward_model.nll(tokens, mask)

    assert bool((nll("chosen_ids") <= nll("rejected_ids")).all())
    eos, longest = context.request.eos_id, context.request.max_new_tokens
    for name in ("chosen_ids", "rejected_ids"):
        for row in pairs[name]:
            assert (row[-1] == eos) != (len(row) == longest and eos not in row)
            assert eos not in row[:-1]


def test_noise_turns_some_pairs_round(context: RolloutContext) -> None:
    clean = pair_set(context, settings_of(offline_pairs=200), 3, WorkerGroup())
    noisy = pair_set(
        context, settings_of(offline_pairs=200, preference_noise=0.3), 3, WorkerGroup()
    )
    turned = [
        a == d and b == c
        for a, b, c, d in zip(
            clean["chosen_ids"],
            clean["rejected_ids"],
            noisy["chosen_ids"],
            noisy["rejected_ids"],
            strict=True,
        )
    ]
    assert 0.2 < sum(turned) / 200 < 0.4


def test_offline_dpo_starts_at_log_2_and_is_ours_on_the_same_tensors(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    trainer = trainer_of(context, tiny_tokenizer, tmp_path, kl_weight=0.3)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
    assert float(trainer.pair_loss(dict(batch)).detach()) == pytest.approx(math.log(2), abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainer.policy.lm.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    prompt = context.request.prompt_ids
    responses = batch["input_ids"][:, len(prompt) :]
    mask = batch["completion_mask"][:, len(prompt) :].bool()
    policy, reference = (
        response_log_probs(model, responses, mask, prompt).sum(dim=1).view(2, 8)
        for model in (trainer.policy.lm, context.reference)
    )
    logits = losses.dpo_logits(policy[0], policy[1], reference[0], reference[1], 0.3)
    ours = losses.dpo_loss(logits).mean()
    assert float(ours) != pytest.approx(math.log(2), abs=1e-3)
    torch.testing.assert_close(trainer.pair_loss(dict(batch)).detach(), ours, rtol=1e-4, atol=1e-5)


def test_offline_dpo_widens_the_margin(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    trainer = trainer_of(context, tiny_tokenizer, tmp_path, iterations=20, align_learning_rate=3e-3)
    points = run(trainer, tmp_path)
    assert points[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert points[-2]["reward_margin"] > points[0]["reward_margin"] + 0.3
    assert points[-2]["loss"] < math.log(2) - 0.1
    assert points[-1]["target_nll"] < points[0]["target_nll"]


def test_the_same_seed_twice_and_a_resumption_give_the_same_curves(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"iterations": 4, "minibatch_size": 8}

    def curves(points: list[dict[str, float]]) -> list[dict[str, float]]:
        return [{k: v for k, v in point.items() if k != "seconds"} for point in points]

    once = run(trainer_of(context, tiny_tokenizer, tmp_path / "a", **fields), tmp_path / "a")

    def stop(progress: Progress) -> None:
        if progress.metrics["rollout"] == 2:
            raise KeyboardInterrupt

    scratch = tmp_path / "b"
    group = WorkerGroup(resources=LlmResources(checkpoint_updates=1), report=stop)
    broken = trainer_of(context, tiny_tokenizer, scratch, group, **fields)
    with pytest.raises(KeyboardInterrupt):
        train(broken, stage="align", scratch=scratch, group=group)
    release(broken)
    group = WorkerGroup(resources=LlmResources(checkpoint_updates=1))
    resumed = trainer_of(context, tiny_tokenizer, scratch, group, **fields)
    again = run(resumed, scratch, group)
    assert [point["rollout"] for point in again] == [0, 1, 2, 3, 4]
    for a, b in zip(curves(once), curves(again), strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6)


def test_the_stage_stores_a_model_with_curves_and_facts(nano_store: Any) -> None:
    config = part_config(LlmSettings(**SMALL), OraclePart)
    oracle = Node("oracle", 3, config, {"p_target": nano_store.p_star})
    for _ in run_oracle(oracle, nano_store.store, WorkerGroup()):
        pass
    settings = LlmSettings(**{**SMALL, "model_selection": "paper"})
    parents = {"start": nano_store.p_prime, "reference": nano_store.p_prime,
               "p_target": nano_store.p_star, "oracle": oracle}  # fmt: skip
    node = Node("align", 3, part_config(settings, OfflineDpo), parents)
    *_, last = run_offline_dpo(node, nano_store.store, WorkerGroup())
    assert last.step == last.steps == 2
    weights.read_model(nano_store.store, node)
    table = nano_store.store.read_table(node, "curves.parquet")
    assert {"reward", "reward_sd", "kl", "target_nll", "length", "loss", "selected"} <= set(
        table["metric"].to_pylist()
    )
    facts = json.loads(nano_store.store.read(node, "facts.json"))
    assert facts["selected_step"] in (1, 2)
    assert facts["candidates"] == 2


def test_minibatches_that_do_not_divide_the_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="minibatch_size 5 must divide the 8 pairs"):
        settings_of(minibatch_size=5)


def test_an_update_that_the_workers_cannot_share_is_refused(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"settings\.minibatch_size"):
        trainer_of(context, tiny_tokenizer, tmp_path, WorkerGroup(size=3))


def test_every_epoch_has_all_pairs_in_an_order_of_its_own(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    trainer = trainer_of(context, tiny_tokenizer, tmp_path, iterations=9)  # 72 of 24 pairs
    epochs = trainer.order.reshape(3, 24).tolist()
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    again = trainer_of(context, tiny_tokenizer, tmp_path, iterations=9)
    assert again.order.tolist() == trainer.order.tolist()
