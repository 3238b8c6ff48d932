"""Offline DPO as a stage, by TRL: one set of pairs, drawn once from the reference.

A pair's winner has the lower NLL under p_target, as on-policy. An iteration goes over as many
pairs as an on-policy rollout has, so that iterations of both are the same number of updates.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap.streams import stream
from recalltrap_studies.llm.alignment.online_dpo import pair_order
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import OfflineDpo
from recalltrap_studies.llm.alignment.rollouts import Rollout, RolloutContext
from recalltrap_studies.llm.alignment.trl_iterations import Iterated
from recalltrap_studies.llm.data.token_sequences import InOrder, shuffled
from recalltrap_studies.llm.inference import response_batches
from recalltrap_studies.llm.models import devices
from recalltrap_studies.llm.models.tokenizers import read_tokenizer
from recalltrap_studies.llm.stages.align import run_on_policy


def run_offline_dpo(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Align the node's first parent by offline DPO; see `alignment.run_on_policy`."""
    tokenizer = read_tokenizer(store, node.parents["start"])
    trainer = cast(Any, partial(OfflineDpoTrainer, tokenizer=tokenizer))
    yield from run_on_policy(node, store, group, OfflineDpo, trainer)


def pair_set(
    context: RolloutContext, settings: OfflineDpo, seed: int, group: WorkerGroup
) -> Dataset:
    """The pairs: `prompt_ids`, `chosen_ids` and `rejected_ids`; the same on every worker.

    EOS stands at the end of a response where it was drawn and nowhere else.
    """
    name, judged = "align/pairs", []
    where = next(context.reference.parameters()).device
    for batch in response_batches.shares(2 * settings.offline_pairs, group):
        with torch.autocast(where.type, torch.bfloat16, enabled=devices.mixed_precision(where)):
            drawn = response_batches.draw(
                cast(Any, context.reference), context.request, batch, seed, name
            )
        tokens_BT, mask_BT = torch.from_numpy(drawn.tokens_BT), torch.from_numpy(drawn.mask_BT)
        nll_B = context.reward_model.nll(tokens_BT.to(where), mask_BT.to(where)).cpu()
        context.reward_model.reward(nll_B)  # refuses what is no number
        rows = [t[m].tolist() for t, m in zip(tokens_BT, mask_BT, strict=True)]
        judged.append((batch.index, (rows, nll_B)))
    parts = response_batches.collect(judged, group)
    responses = [row for rows, _ in parts for row in rows]
    nll_N = torch.cat([nll_B for _, nll_B in parts])
    draws = stream(seed, "align/preferences").random(settings.offline_pairs)
    flipped_P = torch.from_numpy(draws < settings.preference_noise)
    pairs = pair_order(nll_N, flipped_P).tolist()
    prompt = list(context.request.prompt_ids)
    return Dataset.from_dict(
        {
            "prompt_ids": [prompt] * len(pairs),
            "chosen_ids": [responses[winner] for winner, _ in pairs],
            "rejected_ids": [responses[loser] for _, loser in pairs],
        }
    )


class OfflineDpoTrainer(Iterated, DPOTrainer):
    """TRL's DPO on token ids; the policy is measured every `selection_interval` iterations."""

    def __init__(
        self,
        policy: Policy,
        context: RolloutContext,
        settings: OfflineDpo,
        *,
        seed: int,
        group: WorkerGroup,
        scratch: Path,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.begin(policy, context, settings, seed, group, scratch)
        pairs = pair_set(context, settings, seed, group)
        rows = settings.iterations * self.per_rollout * settings.minibatch_size
        self.order = shuffled(len(pairs), rows, stream(seed, "align/minibatches"))
        super().__init__(
            model=policy.lm,
            ref_model=cast(Any, copy.deepcopy(context.reference)),  # TRL changes how it is called
            args=self.configuration(DPOConfig, settings.minibatch_size, max_length=None),
            train_dataset=pairs,
            processing_class=tokenizer,
        )
        lengths = [len(row) for name in ("chosen_ids", "rejected_ids") for row in pairs[name]]
        self._learned = round(
            sum(lengths) / len(pairs) * self.per_rollout * settings.minibatch_size
        )

    def start_iteration(self, index: int) -> None:
        if not index % self.settings.selection_interval:
            self.draw(index)

    def tokens(self, rollout: Rollout | None) -> int:
        return self._learned

    @property
    def loss_parts(self) -> int:
        return 1 if self.loss_is_scaled_for_ga else int(self.args.gradient_accumulation_steps)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset  # token ids as they were drawn

    def _get_train_sampler(self, train_dataset: Any = None) -> InOrder:
        return InOrder(self.order)

    def pair_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a collated batch, for a look at it."""
        loss: Tensor = cast(Any, self).compute_loss(self.model, batch)
        return loss
