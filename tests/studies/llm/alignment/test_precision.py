"""Equal weights give a log-ratio of exactly 0: under bfloat16, and with dropout in the model."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedModel,
)

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap_studies.llm.alignment.policy import (
    Policy,
    as_policy,
    summed_log_probs,
    switch_off_dropout,
)
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.alignment.rollouts import RolloutContext, roll_out
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.models import devices, weights
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.rewards.protocol import Judgement
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Reward
from recalltrap_studies.llm.stages.registry import STAGES
from tests.studies.llm.conftest import fresh

pytestmark = pytest.mark.slow

TOKENS = 40
LANES = 16
"""Attention on a CPU rounds otherwise in shapes on either side of it."""
SMALL: dict[str, Any] = {
    "iterations": 1, "rollout_size": 32, "minibatch_size": 2, "group_size": 4, "dpo_updates": 8,
    "offline_pairs": 24, "align_tokens": TOKENS, "sample_tokens": TOKENS,
}  # fmt: skip


@dataclass(frozen=True)
class First:
    """A judge of responses by their first token."""

    size: ClassVar[int] = 7
    name: str = "first"
    supremum: float | None = 0.0
    model: torch.nn.Module | None = None

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        reward_B = -(tokens_BT[:, 0] % self.size).float()
        return Judgement(reward_B, reward_B)


@pytest.fixture
def wordy_model(tiny_tokenizer: Any) -> PreTrainedModel:
    """Its responses are of all lengths."""
    model = fresh(tiny_tokenizer, width=64, seed=4)
    model.train(False)
    with torch.no_grad():
        weight: Any = model.get_input_embeddings().weight
        weight[tiny_tokenizer.eos_token_id] *= 5
    return model


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in bfloat16 autocast, as on a GPU."""
    monkeypatch.setattr(
        "recalltrap_studies.llm.training.arguments.mixed_precision", lambda where: True
    )
    monkeypatch.setattr(devices, "mixed_precision", lambda where: True)


def small(tokenizer: Any, cls: Any, **fields: Any) -> PreTrainedModel:
    """An untrained model of another family."""
    ids = {
        "bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    config = cls(vocab_size=len(tokenizer), initializer_range=0.2, **ids, **fields)
    model = weights.fresh_model(config, 3)
    model.train(False)
    return model


def context_of(reference: Any, tokenizer: Any) -> RolloutContext:
    return RolloutContext(
        reference,
        First(),
        responses.request(tokenizer, prompts.asked({"prompt": "The"}, tokenizer).rows, TOKENS),
    )


def trainer_of(
    algorithm: str,
    context: RolloutContext,
    tokenizer: Any,
    scratch: Path,
    group: WorkerGroup | None = None,
) -> Any:
    """A trainer whose policy has the reference's weights."""
    part = ALGORITHMS[algorithm].part
    settings: Any = part.model_validate(
        part_config(LlmSettings(**SMALL, algorithm=algorithm), part)
    )
    value_head = algorithm == "ppo"
    policy = Policy(copy.deepcopy(context.reference), context.request.prompts, value_head)
    group = group or WorkerGroup()
    cls = ALGORITHMS[algorithm].trainer_class()
    return cls(policy, context, settings, seed=3, group=group, scratch=scratch)


def parts_of(trainer: Any) -> list[dict[str, Tensor]]:
    """The rows of every part of the first rollout, as `training_step` gets them."""
    trainer.model_wrapped = trainer.accelerator.prepare_model(trainer.model)
    trainer._begin(0)
    parts = []
    for update in range(trainer.updates_per_iteration):
        for _ in range(trainer.args.gradient_accumulation_steps):
            parts.append(trainer._part(update))
            trainer._taken += 1
    return parts


def longest(trainer: Any) -> int:
    """Tokens of the longest response that the iteration learns from."""
    return int(trainer._iteration.examples["mask"].sum(dim=-1).max())


def learned(trainer: Any, rows: dict[str, Tensor]) -> Tensor:
    """Log-probabilities of the rows as a loss computes them, in training mode."""
    trainer.model_wrapped.train()
    if "reference" in rows:
        return summed_log_probs(trainer.model_wrapped, rows).detach()  # summed
    log_probs: Tensor = trainer.model_wrapped(rows["tokens"])[0].detach()
    return torch.where(rows["mask"], log_probs, 0.0)


def compared(trainer: Any, rows: dict[str, Tensor]) -> Tensor:
    if "reference" in rows:
        return rows["reference"]
    return torch.where(rows["mask"], rows["old"], 0.0)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.usefixtures("mixed")
def test_bfloat16_starts_at_a_log_ratio_of_0(
    wordy_model: PreTrainedModel,
    tiny_tokenizer: Any,
    tmp_path: Path,
    algorithm: str,
    accumulation: int,
) -> None:
    group = WorkerGroup(resources=LlmResources(gradient_accumulation=accumulation))
    context = context_of(wordy_model, tiny_tokenizer)
    trainer = trainer_of(algorithm, context, tiny_tokenizer, tmp_path, group)
    parts = parts_of(trainer)
    assert trainer.accelerator.mixed_precision == "bf16"
    assert trainer._iteration.measures["kl"] == 0
    assert min(rows["mask"].shape[-1] for rows in parts) < LANES < longest(trainer)
    for rows in parts:
        assert torch.equal(learned(trainer, rows), compared(trainer, rows))
    if "reference" in rows:
        loss = trainer.row_losses(trainer.model_wrapped, rows)["loss"].mean().detach()
        expected = math.log(2) if ALGORITHMS[algorithm].paired else 0.5  # DPO's, KTO's
        assert float(loss) == pytest.approx(expected, abs=1e-7)


def test_the_drawn_and_the_scored_differ_in_bfloat16(
    tiny_model: PreTrainedModel, tiny_tokenizer: Any
) -> None:
    """Why a rollout is scored once more there."""
    context = context_of(tiny_model, tiny_tokenizer)
    policy = Policy(copy.deepcopy(tiny_model), context.request.prompts)
    fields: dict[str, Any] = {"size": 32, "index": 0, "seed": 3, "group": WorkerGroup()}
    plain = roll_out(policy, context, **fields)
    torch.testing.assert_close(plain.log_probs_NT, plain.reference_NT, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = roll_out(policy, context, **fields)
    assert torch.equal(mixed.log_probs_NT, mixed.reference_NT)
    assert float((mixed.log_probs_NT - plain.log_probs_NT).abs().max()) > 1e-3


def test_a_reference_takes_the_precision_of_the_policy_s_weights(
    tiny_model: PreTrainedModel, tiny_tokenizer: Any
) -> None:
    """DeepSpeed turns a policy's weights into bfloat16, and leaves its buffers."""
    context = context_of(copy.deepcopy(tiny_model), tiny_tokenizer)
    policy = Policy(copy.deepcopy(tiny_model), context.request.prompts)
    for parameter in policy.parameters():
        parameter.data = parameter.data.bfloat16()
    rollout = roll_out(policy, context, size=32, index=0, seed=3, group=WorkerGroup())
    assert torch.equal(rollout.log_probs_NT, rollout.reference_NT)
    assert {p.dtype for p in context.reference.parameters()} == {torch.bfloat16}
    assert as_policy(context.reference, policy).lm is context.reference


GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64,
        "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}  # fmt: skip
FALCON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "attention_dropout": 0.1, "hidden_dropout": 0.1}  # fmt: skip
LLAMA = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "max_position_embeddings": 64,
         "attention_dropout": 0.1}  # fmt: skip
FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (GPT2Config, GPT2), "falcon": (FalconConfig, FALCON), "llama": (LlamaConfig, LLAMA),
}  # fmt: skip
"""Rates in dropout modules, in the configuration that layers read, and in layers' attributes."""


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_off_in_a_policy_and_its_configuration_is_kept(
    tiny_tokenizer: Any, tmp_path: Path, family: str
) -> None:
    cls, fields = FAMILIES[family]
    lm: Any = small(tiny_tokenizer, cls, **fields)
    tokens = torch.randint(2, 100, (4, 12), generator=torch.Generator().manual_seed(0))
    lm.train()
    with torch.no_grad():
        assert not torch.equal(lm(tokens).logits, lm(tokens).logits)
        policy = Policy(lm, PromptRows.same([5]))
        policy.train()
        training = policy(tokens)[0]
        policy.eval()
        assert torch.equal(training, policy(tokens)[0])
    with policy.own_configuration():
        lm.save_pretrained(tmp_path)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path).config
    rates = {name: rate for name, rate in fields.items() if "drop" in name}
    assert {name: getattr(saved, name) for name in rates} == rates
    assert {name: getattr(lm.config, name) for name in rates} == dict.fromkeys(rates, 0.0)
    assert switch_off_dropout(lm) == []


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_model_with_dropout_starts_at_ratio_1(
    tiny_tokenizer: Any, tmp_path: Path, algorithm: str, checkpointing: bool
) -> None:
    context = context_of(small(tiny_tokenizer, GPT2Config, **GPT2), tiny_tokenizer)
    trainer = trainer_of(algorithm, context, tiny_tokenizer, tmp_path)
    parts = parts_of(trainer)
    if checkpointing:
        trainer.policy.activation_checkpointing_enable()
        assert trainer.policy.is_gradient_checkpointing
    log_ratio = torch.cat([(learned(trainer, r) - compared(trainer, r)).flatten() for r in parts])
    torch.testing.assert_close(log_ratio, torch.zeros_like(log_ratio), atol=2e-5, rtol=0)
    widest = longest(trainer)
    alike = [r for r in parts if r["mask"].shape[-1] == widest]
    assert all(torch.equal(learned(trainer, r), compared(trainer, r)) for r in alike)


@pytest.mark.slow  # it trains
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.usefixtures("mixed")
def test_the_stage_starts_at_the_reference_in_bfloat16(nano_store: Any, algorithm: str) -> None:
    settings = LlmSettings(
        **{**SMALL, "align_tokens": 12, "oracle_samples": 64, "algorithm": algorithm}
    )
    oracle = Node("oracle", 3, part_config(settings, Reward), {"p_target": nano_store.p_star})
    config = part_config(settings, ALGORITHMS[algorithm].part)
    parents = {"start": nano_store.p_prime, "reference": nano_store.p_prime,
               "p_target": nano_store.p_star, "oracle": oracle}  # fmt: skip
    node = Node("align", 3, config, parents)
    for one in (oracle, node):
        for _ in STAGES[one.stage].runner()(one, nano_store.store, WorkerGroup()):
            pass
    table = nano_store.store.read_table(node, "curves.parquet").to_pylist()
    kl = {row["step"]: row["value"] for row in table if row["metric"] == "kl"}
    assert kl[0] == 0.0
    assert kl[1] != 0.0
