"""DPO's pairs and labels, and its loss against TRL's on the same tensors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from transformers import PreTrainedModel
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.dpo import OnlineDpoTrainer, flipped_labels, pair_order
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import OnlineDpo
from recalltrap_studies.llm.alignment.rollouts import RolloutContext, roll_out
from recalltrap_studies.llm.data.responses import PromptRows, Request
from recalltrap_studies.llm.rewards.oracle import Oracle

PREFERENCE = -torch.tensor([1.0, 2.0, 3.0, 0.5, 1.0, 1.0])
NONE = torch.zeros(3, dtype=torch.bool)


def test_the_preferred_wins_and_the_first_of_equals() -> None:
    assert pair_order(PREFERENCE, NONE).tolist() == [[0, 1], [3, 2], [4, 5]]


def test_a_flipped_label_turns_its_pair_round() -> None:
    flipped = torch.tensor([True, False, True])
    assert pair_order(PREFERENCE, flipped).tolist() == [[1, 0], [3, 2], [5, 4]]


def trainer_of(
    policy: PreTrainedModel, reference: PreTrainedModel, scratch: Path, **fields: Any
) -> OnlineDpoTrainer:
    prompt = (5,)
    request = Request(PromptRows.same(prompt), 12, 1.0, 0, 1)
    context = RolloutContext(reference, Oracle(reference, 8.0, 10.0, 0.5, "fold"), request)
    settings = OnlineDpo(
        algorithm="dpo_online", rollout_size=200, minibatch_size=4, align_tokens=12, **fields
    )
    return OnlineDpoTrainer(
        Policy(policy, request.prompts),
        context,
        settings,
        seed=1,
        group=WorkerGroup(),
        scratch=scratch,
    )


def test_noise_flips_its_share_of_labels_and_more_noise_flips_the_same_and_more() -> None:
    def flips(noise: float) -> torch.Tensor:
        return flipped_labels(1, "align/preferences/4", 2000, noise)

    assert not flips(0.0).any()
    assert float(flips(0.3).float().mean()) == pytest.approx(0.3, abs=0.04)
    assert (flips(0.4) | ~flips(0.3)).all()


@pytest.mark.slow
def test_measures_of_fresh_pairs_at_the_reference(
    tiny_model: PreTrainedModel, tmp_path: Path
) -> None:
    trainer = trainer_of(tiny_model, tiny_model, tmp_path)
    rollout = roll_out(
        trainer.policy, trainer.context, size=16, index=0, seed=1, group=WorkerGroup()
    )
    trainer.iteration_index = 0
    _, measures = trainer.examples(rollout)
    assert measures["gradient_weight"] == pytest.approx(0.5, abs=1e-4)
    assert measures["reward_margin"] == pytest.approx(0.0, abs=1e-4)


class Ids(DPOTrainer):
    """TRL's trainer on token ids, without its own tokenisation."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


@pytest.mark.slow
@pytest.mark.parametrize("kl_weight", [0.1, 0.7])
def test_the_loss_is_trl_s_on_the_same_tensors(
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: Any,
    tmp_path: Path,
    kl_weight: float,
) -> None:
    trainer = trainer_of(tiny_model, narrow_model, tmp_path / "ours", kl_weight=kl_weight)
    rollout = roll_out(
        trainer.policy, trainer.context, size=8, index=0, seed=1, group=WorkerGroup()
    )
    examples, _ = trainer.examples(rollout)
    ours = trainer.row_losses(trainer.policy, examples)["loss"].mean()

    rows = [
        {"prompt_ids": [5], "chosen_ids": pair[0][kept[0]].tolist(),
         "rejected_ids": pair[1][kept[1]].tolist()}
        for pair, kept in zip(examples["tokens"], examples["mask"], strict=True)
    ]  # fmt: skip
    config = DPOConfig(
        str(tmp_path / "trl"),
        beta=kl_weight,
        per_device_train_batch_size=4,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
    )
    theirs: Any = Ids(
        copy.deepcopy(tiny_model),
        ref_model=copy.deepcopy(narrow_model),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer,
    )
    batch = theirs.data_collator(rows)
    expected = theirs.compute_loss(theirs.model, batch)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
