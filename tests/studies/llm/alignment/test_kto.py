"""KTO: its labels, its KL term, its loss by hand, and TRL's trainer on the same examples."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedTokenizerFast
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap_studies.llm.alignment.dpo import OfflineDpoTrainer
from recalltrap_studies.llm.alignment.kto import KtoTrainer, kto_loss
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import Kto, OfflineDpo
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.alignment.conftest import iterations_of

SMALL: dict[str, Any] = {
    "algorithm": "kto",
    "align_tokens": 12,
    "oracle_samples": 64,
    "iterations": 2,
    "rollout_size": 16,
    "minibatch_size": 8,
    "offline_pairs": 24,
    "selection_interval": 1,
}
FIELDS: dict[str, Any] = {"kl_weight": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.5}
UPWARDS: dict[str, Any] = {**FIELDS, "desirable_weight": 3.0, "offline_pairs": 8}
"""Few examples that the policy learns to say: its KL term leaves 0."""


def settings_of(**fields: Any) -> Kto:
    settings = LlmSettings(**{**SMALL, **fields})
    return Kto.model_validate(part_config(settings, Kto))


def trainer_of(
    context: RolloutContext, scratch: Path, group: WorkerGroup | None = None, **fields: Any
) -> KtoTrainer:
    policy = Policy(copy.deepcopy(context.reference), context.request.prompts)
    group = group or WorkerGroup()
    return KtoTrainer(policy, context, settings_of(**fields), seed=3, group=group, scratch=scratch)


@pytest.mark.parametrize("desirable", [True, False])
def test_a_response_on_the_reference_has_half_its_weight(desirable: bool) -> None:
    loss_B = kto_loss(torch.zeros(3), torch.full((3,), desirable), 0.0, 0.7, 1.2, 0.4)
    torch.testing.assert_close(loss_B, torch.full((3,), 0.6 if desirable else 0.2))


def test_desirable_responses_are_pushed_up_and_others_down_by_their_weights() -> None:
    log_ratio_B = torch.tensor([0.4, 0.4, -2.0], dtype=torch.float64, requires_grad=True)
    desirable_B = torch.tensor([True, False, True])
    loss: Any = kto_loss(log_ratio_B, desirable_B, 0.1, 0.5, 2.0, 3.0).sum()
    loss.backward()
    assert log_ratio_B.grad is not None
    slope = [0.5 * torch.sigmoid(torch.tensor(x, dtype=torch.float64)) for x in (0.15, 0.15, -1.05)]
    steep = torch.stack([s * (1 - s / 0.5) for s in slope])  # kl_weight · sigma (1 - sigma)
    expected = torch.tensor([-2.0, 3.0, -2.0], dtype=torch.float64) * steep
    torch.testing.assert_close(log_ratio_B.grad, expected)


def test_the_kl_term_moves_the_point_that_gains_and_losses_are_seen_from() -> None:
    ratio, flags = torch.tensor([0.5, 0.5]), torch.tensor([True, False])
    at_term = kto_loss(ratio, flags, 0.5, 0.7)
    torch.testing.assert_close(at_term, torch.tensor([0.5, 0.5]))


def test_the_lower_nll_of_two_is_desirable_and_the_responses_are_offline_dpo_s(
    context: RolloutContext, tmp_path: Path
) -> None:
    examples = trainer_of(context, tmp_path, preference_noise=0.0).examples
    assert examples["tokens"].shape == (48, 12)
    judged = context.reward_model.judge(
        examples["tokens"], examples["mask"], context.request.prompts
    )
    nll_P2 = judged.measured["target_nll"].view(-1, 2)
    desirable_P2 = examples["desirable"].view(-1, 2)
    assert bool((desirable_P2.sum(dim=1) == 1).all())
    assert torch.equal(desirable_P2[:, 0], nll_P2[:, 0] <= nll_P2[:, 1])
    policy = Policy(copy.deepcopy(context.reference), context.request.prompts)
    pairs = OfflineDpo.model_validate(
        part_config(LlmSettings(**{**SMALL, "algorithm": "dpo_offline"}), OfflineDpo)
    )
    dpo = OfflineDpoTrainer(policy, context, pairs, seed=3, group=WorkerGroup(), scratch=tmp_path)
    assert torch.equal(dpo.examples["tokens"][:, 0], examples["tokens"][examples["desirable"]])
    assert torch.equal(dpo.examples["tokens"][:, 1], examples["tokens"][~examples["desirable"]])


def test_noise_turns_the_labels_of_some_pairs_round(
    context: RolloutContext, tmp_path: Path
) -> None:
    clean, noisy = (
        trainer_of(context, tmp_path, offline_pairs=200, preference_noise=noise).examples
        for noise in (0.0, 0.3)
    )
    turned_P2 = (clean["desirable"] != noisy["desirable"]).view(-1, 2)
    assert torch.equal(turned_P2[:, 0], turned_P2[:, 1])
    assert 0.2 < float(turned_P2.float().mean()) < 0.4


class GivenExamples(KTOTrainer):
    """TRL's trainer on token ids with its mismatched responses, in the order that they have."""

    def _prepare_dataset(self, dataset: Any, tokenizer: Any, args: Any, name: str) -> Any:
        size = args.per_device_train_batch_size

        def rotated(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:  # as TRL's own
            ids = batch["completion_ids"]
            return {**batch, "KL_completion_ids": [ids[-1], *ids[:-1]]}

        return dataset.map(rotated, batched=True, batch_size=size)


def of_trl(ours: KtoTrainer, tokenizer: Any, scratch: Path) -> Any:
    """TRL's trainer from the same weights, over the same examples in the same order."""
    settings, examples = ours.settings, ours.examples
    rows = [
        {"prompt_ids": ours.context.request.prompts.lists()[0],
         "completion_ids": examples["tokens"][i][examples["mask"][i]].tolist(),
         "label": bool(examples["desirable"][i])}
        for i in ours.order.tolist()
    ]  # fmt: skip
    config = KTOConfig(
        str(scratch),
        beta=settings.kl_weight,
        desirable_weight=settings.desirable_weight,
        undesirable_weight=settings.undesirable_weight,
        max_length=None,
        max_steps=ours.args.max_steps,
        learning_rate=settings.align_learning_rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=settings.minibatch_size,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )
    return GivenExamples(
        copy.deepcopy(ours.policy.lm),
        ref_model=copy.deepcopy(ours.context.reference),  # type: ignore[arg-type]
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


@pytest.mark.slow
def test_losses_and_updates_are_trl_s_on_the_same_examples(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    fields = {**UPWARDS, "minibatch_size": 16, "iterations": 4, "align_learning_rate": 3e-3}
    ours = trainer_of(context, tmp_path / "ours", **fields)
    theirs = of_trl(ours, tiny_tokenizer, tmp_path / "trl")
    before = parameters_to_vector(ours.policy.lm.parameters()).detach().clone()
    points = iterations_of(ours, tmp_path / "ours")
    theirs.train()
    logged = [point for point in theirs.state.log_history if "rewards/margins" in point]
    assert len(logged) == 4  # an update is an iteration
    names = {"loss": "loss", "reward_margin": "rewards/margins", "kl_term": "kl",
             "chosen_reward": "rewards/chosen", "rejected_reward": "rewards/rejected"}  # fmt: skip
    for mine, point in zip(points[:4], logged, strict=True):
        for name, trl in names.items():
            assert mine[name] == pytest.approx(point[trl], abs=5e-5), name
    assert max(point["kl_term"] for point in points[:4]) > 0, "the term was not always held at 0"
    after, expected = (
        parameters_to_vector(lm.parameters()).detach() for lm in (ours.policy.lm, theirs.model)
    )
    assert float((after - expected).norm() / (expected - before).norm()) < 1e-3


def test_values_and_gradients_are_trl_s_on_the_same_tensors(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Of a policy that has left the reference upwards, so that the KL term counts."""
    ours = trainer_of(context, tmp_path / "ours", **FIELDS, minibatch_size=16)
    theirs = of_trl(ours, tiny_tokenizer, tmp_path / "trl")
    batch = theirs.data_collator([theirs.train_dataset[i] for i in range(16)])
    policy = theirs.model
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for _ in range(5):  # its responses become more likely
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        policy(input_ids=batch["input_ids"], labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    ours.policy.lm.load_state_dict(policy.state_dict())

    policy.train()
    theirs_loss: Any = theirs.compute_loss(theirs.model, batch)
    theirs_loss.backward()
    kl = theirs._metrics["train"]["kl"][-1]
    assert kl > 0.01

    order = ours.order[:16]
    tokens, mask = ours.examples["tokens"][order], ours.examples["mask"][order]
    with torch.no_grad():
        reference, _ = Policy(context.reference, context.request.prompts)(tokens)
    log_probs, _ = ours.policy(tokens)
    log_ratio_B = torch.where(mask, log_probs - reference, 0.0).sum(dim=1)
    kl_term = max(float(log_ratio_B.detach().mean()), 0.0)
    desirable_B = ours.examples["desirable"][order]
    loss_B = kto_loss(log_ratio_B, desirable_B, kl_term, *FIELDS.values())
    torch.testing.assert_close(loss_B.mean(), theirs_loss.detach(), atol=1e-6, rtol=1e-5)
    loss: Any = loss_B.mean()
    loss.backward()
    assert kl_term == pytest.approx(kl, abs=1e-5)
    for mine, other in zip(ours.policy.lm.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_kto_widens_the_margin(context: RolloutContext, tmp_path: Path) -> None:
    trainer = trainer_of(context, tmp_path, iterations=30, align_learning_rate=3e-3)
    points = iterations_of(trainer, tmp_path)
    assert points[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert points[-2]["reward_margin"] > points[0]["reward_margin"] + 0.2
    assert points[-2]["loss"] < points[0]["loss"] - 0.03
    assert points[-1]["target_nll"] < points[0]["target_nll"]


@pytest.mark.slow
def test_parts_of_a_minibatch_share_its_kl_term(context: RolloutContext, tmp_path: Path) -> None:
    """How many parts a minibatch goes through the model in changes rounding alone."""
    fields = {**UPWARDS, "iterations": 6, "align_learning_rate": 3e-3}
    curves = []
    for parts in (1, 4):
        group = WorkerGroup(resources=LlmResources(gradient_accumulation=parts))
        scratch = tmp_path / str(parts)
        trainer = trainer_of(context, scratch, group, **fields)
        curves.append(iterations_of(trainer, scratch, group))
    for one, four in zip(*curves, strict=True):
        one.pop("seconds"), four.pop("seconds")
        assert one == pytest.approx(four, rel=1e-3, abs=1e-4)
    assert max(point.get("kl_term", 0.0) for point in curves[0]) > 0


def test_an_iteration_without_desirable_responses_has_no_mean_of_theirs(
    context: RolloutContext, tmp_path: Path
) -> None:
    trainer = trainer_of(context, tmp_path)
    trainer.log({"chosen_reward": 0.0, "rejected_reward": 0.3, "desirable_share": 0.0})
    last = trainer.state.log_history[-1]
    assert math.isnan(last["chosen_reward"])
    assert math.isnan(last["reward_margin"])
    assert last["rejected_reward"] == 0.3
    assert "desirable_share" not in last


def test_a_minibatch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="minibatch_size 1 is too small for KTO"):
        settings_of(minibatch_size=1)
