"""GRPO's and RLOO's advantages and losses against TRL's on the same tensors, where both agree.

They don't on GRPO's KL: `test_enumeration` shows whose gradient is the objective's.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.advantages import above_mean, above_others
from recalltrap_studies.llm.alignment.group_relative import (
    GroupRelativeTrainer,
    GrpoTrainer,
    RlooTrainer,
)
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import GroupRelative as GroupPart
from recalltrap_studies.llm.alignment.rollouts import Rollout, RolloutContext, roll_out
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.rewards.oracle import Oracle

LENGTH = 12
KL_WEIGHT = 0.3
BOTH = pytest.mark.parametrize("algorithm", ["grpo", "rloo"])


@pytest.fixture
def context(
    tiny_model: PreTrainedModel, narrow_model: PreTrainedModel, tiny_tokenizer: Any
) -> RolloutContext:
    """The narrow model is the reference, the tiny one judges."""
    request = responses.request(
        tiny_tokenizer, prompts.asked({"prompt": "The"}, tiny_tokenizer).rows, LENGTH
    )
    return RolloutContext(narrow_model, Oracle(tiny_model, 5.0, 10.0, 0.5, "fold"), request)


def trainer_of(algorithm: str, context: RolloutContext, scratch: Path) -> GroupRelativeTrainer:
    """A trainer whose policy isn't the reference any more."""
    settings = GroupPart(
        algorithm="grpo" if algorithm == "grpo" else "rloo",
        kl_weight=KL_WEIGHT,
        iterations=1,
        rollout_size=16,
        minibatch_size=16,
        group_size=4,
        align_tokens=LENGTH,
    )
    lm = moved(copy.deepcopy(context.reference), 0.05, 1)
    policy = Policy(lm, context.request.prompts)
    cls = GrpoTrainer if algorithm == "grpo" else RlooTrainer
    return cls(policy, context, settings, seed=3, group=WorkerGroup(), scratch=scratch / "ours")


def moved(model: Any, by: float, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return model


def drawn(trainer: GroupRelativeTrainer) -> Rollout:
    return roll_out(
        trainer.policy, trainer.context, size=16, index=0, seed=3, group=WorkerGroup(), scored=True
    )


def of_trl(
    algorithm: str, trainer: GroupRelativeTrainer, rollout: Rollout, tokenizer: Any, scratch: Path
) -> Any:
    """TRL's trainer on the rollout's responses; GRPO's rewards have the KL taken off."""
    context = trainer.context
    rows = [t[m].tolist() for t, m in zip(rollout.tokens_NT, rollout.mask_NT, strict=True)]
    ratio_N = masked_sum(rollout.log_probs_NT - rollout.reference_NT, rollout.mask_NT)
    reward_N = rollout.reward_N - (KL_WEIGHT * ratio_N if algorithm == "grpo" else 0.0)
    prompt = context.request.prompts.lists()[0]

    class Given(GRPOTrainer if algorithm == "grpo" else RLOOTrainer):  # type: ignore[misc]
        def _tokenize_prompts(self, prompts: Any) -> Any:
            return [prompt for _ in prompts], None, {}

        def _generate_single_turn(self, *_: Any, **__: Any) -> Any:
            return (rows, None) if algorithm == "grpo" else rows

    reference = scratch / "reference"  # TRL reads it from a disk
    context.reference.save_pretrained(reference)  # type: ignore[operator]
    lm = copy.deepcopy(trainer.policy.lm)
    lm.config.name_or_path = str(reference)
    config: Any = GRPOConfig if algorithm == "grpo" else RLOOConfig
    specific: dict[str, Any] = (
        {"scale_rewards": "none", "loss_type": "dr_grpo", "beta": 0.0}
        if algorithm == "grpo"
        else {"normalize_advantages": False, "beta": KL_WEIGHT}
    )
    arguments = config(
        str(scratch / "trl"),
        num_generations=4,
        per_device_train_batch_size=16,
        max_completion_length=LENGTH,
        temperature=1.0,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        **specific,
    )
    return Given(
        model=lm,
        reward_funcs=lambda **_: reward_N.tolist(),
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": ["The"] * 4}),
        processing_class=tokenizer,
    )


@BOTH
def test_advantages_and_losses_are_trl_s_on_the_same_tensors(
    context: RolloutContext, tiny_tokenizer: Any, tmp_path: Path, algorithm: str
) -> None:
    trainer = trainer_of(algorithm, context, tmp_path)
    rollout = drawn(trainer)
    theirs = of_trl(algorithm, trainer, rollout, tiny_tokenizer, tmp_path)
    inputs = theirs._generate_and_score_completions([{"prompt": "The"}] * 16)
    examples, _ = trainer.examples(rollout)
    torch.testing.assert_close(inputs["advantages"], examples["advantage"], atol=2e-5, rtol=1e-4)

    # further than the ratio may go, so that some are clipped
    moved(theirs.model, 0.02, 2)
    trainer.policy.lm.load_state_dict(theirs.model.state_dict())
    inputs |= {"old_per_token_logps": masked(rollout)[:, : inputs["completion_ids"].shape[1]]}
    inputs |= {"old_logps": masked(rollout).sum(dim=1)}
    expected = theirs._compute_loss(theirs.model, inputs)
    if algorithm == "grpo":
        expected = expected * LENGTH  # a constant divides Dr. GRPO's
    losses = trainer.row_losses(trainer.policy, examples)
    assert 0 < float(losses["clip_fraction"].mean()) < 1
    torch.testing.assert_close(losses["loss"].mean(), expected, atol=2e-5, rtol=1e-4)


def masked(rollout: Rollout) -> Tensor:
    return torch.where(rollout.mask_NT, rollout.log_probs_NT, 0.0)


@BOTH
def test_a_first_gradient_is_the_policy_gradient(
    context: RolloutContext, tmp_path: Path, algorithm: str
) -> None:
    trainer = trainer_of(algorithm, context, tmp_path)
    rollout = drawn(trainer)
    examples, measures = trainer.examples(rollout)
    assert measures == {}
    weights = list(trainer.policy.lm.parameters())
    losses = trainer.row_losses(trainer.policy, examples)
    assert losses["clip_fraction"].sum() == 0
    log_probs_NT, _ = trainer.policy(rollout.tokens_NT)
    gain_N = examples["advantage"] * masked_sum(log_probs_NT, rollout.mask_NT)
    for ours, plain in zip(
        torch.autograd.grad(losses["loss"].sum(), weights),
        torch.autograd.grad(-gain_N.sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def test_baselines_of_groups() -> None:
    reward_CG = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])
    assert above_mean(reward_CG).tolist() == [[-2.0, -1.0, 3.0], [0.0, 0.0, 0.0]]
    assert above_others(reward_CG)[0].tolist() == pytest.approx([1 - 4.0, 2 - 3.5, 6 - 1.5])
