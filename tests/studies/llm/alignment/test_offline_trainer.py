"""Offline DPO: its pairs, their order, resuming, and TRL's trainer on the same pairs."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedTokenizerFast
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from recalltrap.errors import InputError
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap_studies.llm.alignment.dpo import OfflineDpoTrainer
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import OfflineDpo
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.data.token_sequences import InOrder
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.training.resumable import release, train
from tests.studies.llm.alignment.conftest import iterations_of

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


def settings_of(**fields: Any) -> OfflineDpo:
    settings = LlmSettings(**{**SMALL, **fields})
    return OfflineDpo.model_validate(part_config(settings, OfflineDpo))


def trainer_of(
    context: RolloutContext, scratch: Path, group: WorkerGroup | None = None, **fields: Any
) -> OfflineDpoTrainer:
    policy = Policy(copy.deepcopy(context.reference), context.request.prompts)
    group = group or WorkerGroup()
    return OfflineDpoTrainer(
        policy, context, settings_of(**fields), seed=3, group=group, scratch=scratch
    )


def test_pairs_are_the_reference_s_and_the_lower_nll_wins(
    context: RolloutContext, tmp_path: Path
) -> None:
    pairs = trainer_of(context, tmp_path).examples
    assert pairs["tokens"].shape == (24, 2, 12)

    def nll(side: int) -> Tensor:
        judged = context.reward_model.judge(
            pairs["tokens"][:, side], pairs["mask"][:, side], context.request.prompts
        )
        return judged.measured["target_nll"]

    assert bool((nll(0) <= nll(1)).all())
    rows = zip(pairs["tokens"].flatten(0, 1), pairs["mask"].flatten(0, 1), strict=True)
    eos, longest = context.request.eos_id, context.request.max_new_tokens
    for tokens, mask in rows:  # EOS ends a response where it was drawn, and nowhere else
        row = tokens[mask].tolist()
        assert (row[-1] == eos) != (len(row) == longest and eos not in row)
        assert eos not in row[:-1]


def test_noise_turns_some_pairs_round(context: RolloutContext, tmp_path: Path) -> None:
    clean, noisy = (
        trainer_of(context, tmp_path, offline_pairs=200, preference_noise=noise).examples["tokens"]
        for noise in (0.0, 0.3)
    )
    turned = (clean == noisy.flip(1)).flatten(1).all(dim=1) & (clean != noisy).flatten(1).any(dim=1)
    same = (clean == noisy).flatten(1).all(dim=1)
    assert bool((turned | same).all())
    assert 0.2 < float(turned.float().mean()) < 0.4


class GivenPairs(DPOTrainer):
    """TRL's trainer on token ids, in a given order."""

    order: Any

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _get_train_sampler(self, train_dataset: Any = None) -> InOrder:
        return InOrder(self.order)


def of_trl(ours: OfflineDpoTrainer, tokenizer: Any, scratch: Path) -> Any:
    """TRL's trainer from the same weights, over the same pairs."""
    settings, examples = ours.settings, ours.examples
    rows = [
        {"prompt_ids": ours.context.request.prompts.lists()[0],
         "chosen_ids": tokens[0][mask[0]].tolist(), "rejected_ids": tokens[1][mask[1]].tolist()}
        for tokens, mask in zip(examples["tokens"], examples["mask"], strict=True)
    ]  # fmt: skip
    config = DPOConfig(
        str(scratch),
        beta=settings.kl_weight,
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
    trainer: Any = GivenPairs(
        copy.deepcopy(ours.policy.lm),
        ref_model=copy.deepcopy(ours.context.reference),  # type: ignore[arg-type]
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.order = ours.order.numpy()
    return trainer


def test_losses_and_first_updates_are_trl_s_on_the_same_pairs(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    ours = trainer_of(context, tmp_path / "ours", kl_weight=0.3, minibatch_size=8)
    theirs = of_trl(ours, tiny_tokenizer, tmp_path / "trl")
    before = parameters_to_vector(ours.policy.lm.parameters()).detach().clone()
    points = iterations_of(ours, tmp_path / "ours")
    theirs.train()
    logged = [point for point in theirs.state.log_history if "rewards/margins" in point]
    assert len(logged) == 2  # an update is an iteration
    assert points[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    names = {"loss": "loss", "reward_margin": "rewards/margins", "accuracy": "rewards/accuracies",
             "chosen_reward": "rewards/chosen", "rejected_reward": "rewards/rejected"}  # fmt: skip
    for mine, point in zip(points[:2], logged, strict=True):
        for name, trl in names.items():
            assert mine[name] == pytest.approx(point[trl], abs=2e-5), name
    after, expected = (
        parameters_to_vector(lm.parameters()).detach() for lm in (ours.policy.lm, theirs.model)
    )
    assert float((after - expected).norm() / (expected - before).norm()) < 1e-3


def test_offline_dpo_widens_the_margin(context: RolloutContext, tmp_path: Path) -> None:
    trainer = trainer_of(context, tmp_path, iterations=20, align_learning_rate=3e-3)
    points = iterations_of(trainer, tmp_path)
    assert points[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert points[-2]["reward_margin"] > points[0]["reward_margin"] + 0.3
    assert points[-2]["loss"] < math.log(2) - 0.1
    assert points[-1]["target_nll"] < points[0]["target_nll"]


def test_the_policy_is_measured_at_candidates_and_at_the_end(
    context: RolloutContext, tmp_path: Path
) -> None:
    trainer = trainer_of(context, tmp_path, iterations=5, selection_interval=3)
    points = iterations_of(trainer, tmp_path)
    assert [point["rollout"] for point in points if "reward" in point] == [0, 3, 5]
    assert [point["rollout"] for point in points if "reward_margin" in point] == [0, 1, 2, 3, 4]


def test_the_same_seed_twice_and_a_resumption_give_the_same_curves(
    context: RolloutContext, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"iterations": 4, "minibatch_size": 8}

    def curves(points: list[dict[str, float]]) -> list[dict[str, float]]:
        return [{k: v for k, v in point.items() if k != "seconds"} for point in points]

    once = iterations_of(trainer_of(context, tmp_path / "a", **fields), tmp_path / "a")

    def stop(progress: Progress) -> None:
        if progress.metrics.get("rollout") == 2:
            raise KeyboardInterrupt

    scratch = tmp_path / "b"
    group = WorkerGroup(resources=LlmResources(checkpoint_updates=1), report=stop)
    broken = trainer_of(context, scratch, group, **fields)
    with pytest.raises(KeyboardInterrupt):
        train(broken, stage="align", scratch=scratch, group=group)
    release(broken)
    group = WorkerGroup(resources=LlmResources(checkpoint_updates=1))
    resumed = trainer_of(context, scratch, group, **fields)
    again = iterations_of(resumed, scratch, group)
    assert [point["rollout"] for point in again] == [0, 1, 2, 3, 4]
    assert curves(once) == curves(again)


def test_minibatches_that_do_not_divide_the_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="minibatch_size 5 must divide the 8 pairs"):
        settings_of(minibatch_size=5)


def test_an_update_that_the_workers_cannot_share_is_refused(
    context: RolloutContext, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"settings\.minibatch_size"):
        trainer_of(context, tmp_path, WorkerGroup(size=3))


def test_every_epoch_has_all_pairs_in_an_order_of_its_own(
    context: RolloutContext, tmp_path: Path
) -> None:
    trainer = trainer_of(context, tmp_path, iterations=9)  # 72 of 24 pairs
    epochs = trainer.order.reshape(3, 24).tolist()
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    again = trainer_of(context, tmp_path, iterations=9)
    assert again.order.tolist() == trainer.order.tolist()
