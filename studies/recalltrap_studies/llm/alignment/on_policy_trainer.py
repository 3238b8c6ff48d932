"""The base of PPO, GRPO, RLOO and on-policy DPO: it refills a rollout buffer inside one `train()`.

A subclass says what to learn from a rollout and the loss of its rows; drawing, minibatches that
don't depend on the number of workers, curves and checkpoints at rollouts' boundaries are here.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor
from torch.utils.data import Dataset
from transformers import TrainingArguments

from recalltrap.run.worker_group import WorkerGroup
from recalltrap.streams import stream
from recalltrap_studies.llm.alignment.candidates import CandidateTrainer
from recalltrap_studies.llm.alignment.policy import Policy, computes_in_float32
from recalltrap_studies.llm.alignment.rollouts import Rollout, RolloutContext, roll_out, rows_of
from recalltrap_studies.llm.training.arguments import alignment_arguments

POLICY_FILE = "policy.safetensors"


class Slots(Dataset[dict[str, int]]):
    """What the trainer's loader counts; the examples come from the rollout."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"slot": index}


class OnPolicyTrainer(CandidateTrainer):
    """Rolls out every `updates_in_rollout` updates and learns from what it drew.

    Curves are points of `state.log_history`, one per rollout: what was measured on it before
    learning, and the means of the updates that followed. A checkpoint holds them.
    """

    scored: ClassVar[bool] = True  # their ratio is to the policy that drew the rollout

    def __init__(
        self,
        policy: Policy,
        context: RolloutContext,
        settings: Any,
        *,
        seed: int,
        group: WorkerGroup,
        scratch: Path,
    ) -> None:
        self.policy, self.context, self.settings = policy, context, settings
        self.seed, self.group, self.scratch = seed, group, scratch
        self.rollout_index = -1
        self.per_rollout = self.updates_in_rollout(settings)
        arguments = alignment_arguments(
            TrainingArguments,
            settings,
            per_rollout=self.per_rollout,
            batch=settings.minibatch_size,
            seed=seed,
            group=group,
            scratch=scratch,
        )
        slots = Slots(settings.iterations * self.per_rollout * settings.minibatch_size)
        super().__init__(policy, arguments, train_dataset=slots)
        self.model_accepts_loss_kwargs = False

    @classmethod
    def updates_in_rollout(cls, settings: Any) -> int:
        """Updates that learn from one rollout."""
        raise NotImplementedError

    def examples(self, rollout: Rollout) -> tuple[dict[str, Tensor], dict[str, float]]:
        """What minibatches are cut from, and further measures of the rollout.

        Tensors with one first dimension, among them `tokens`, `mask` (bool) and `weight`: how much
        each row counts in a minibatch's mean.
        """
        raise NotImplementedError

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For each row the sum of `loss`, which is minimised, and of what else is recorded."""
        raise NotImplementedError

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of a minibatch's rows the policy is compared with, before the first update.

        It replaces what `examples` says where log-probabilities depend on the shape of the batch
        that they are computed in: bfloat16 rounds by the kernel, and the shape decides on that.
        """
        raise NotImplementedError

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One part of one update; the first of a rollout draws it."""
        index, update = divmod(self.state.global_step, self.per_rollout)
        if index != self.rollout_index:
            assert update == 0, "training goes on at a rollout's boundary"
            self._refill(index)
        loss: Tensor = super().training_step(model, self._part(update))
        self._taken += 1
        if self._taken == self.per_rollout * self.args.gradient_accumulation_steps:
            self._log_rollout()
        return loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The weighted mean of a minibatch's rows, whoever of the workers holds them."""
        scale = inputs.pop("scale")
        sums = {name: rows.sum() * scale for name, rows in self.row_losses(model, inputs).items()}
        for name, value in sums.items():
            self._sums[name] += value.detach().double()
        return sums["loss"]

    def finish(self) -> None:
        """Measure and keep the policy after its last update; every worker calls it."""
        index, started = self.settings.iterations, time.perf_counter()
        with self.whole_policy() as policy:
            self.keep(policy.lm, index)
            rollout = self._draw(policy, index)
        _, more = self.examples(rollout)
        self.log({"rollout": index, **rollout.measures(), **more, **self._spent(rollout, started)})

    def _refill(self, index: int) -> None:
        self._started, self._taken = time.perf_counter(), 0
        with self.whole_policy() as policy:
            if self.is_candidate(index):
                self.keep(policy.lm, index)
            rollout = self._draw(policy, index)
            self._examples, more = self.examples(rollout)
            self._order = self._shuffled(index)
            self._alike = self._compared(policy)
        self._measured = {**rollout.measures(), **more}
        self._rollout = rollout
        self._sums: dict[str, Any] = defaultdict(float)

    def _draw(self, policy: Policy, index: int) -> Rollout:
        self.rollout_index = index
        with self.accelerator.autocast():
            return roll_out(
                policy,
                self.context,
                size=self.settings.rollout_size,
                index=index,
                seed=self.seed,
                group=self.group,
                scored=self.scored,
            )

    def _shuffled(self, index: int) -> Tensor:
        """The order in which a rollout's rows are learned from: one pass after the other."""
        random = stream(self.seed, f"align/minibatches/{index}")
        rows = len(self._examples["weight"])
        passes = math.ceil(self.per_rollout * self.settings.minibatch_size / rows)
        order = np.concatenate([random.permutation(rows) for _ in range(passes)])
        return torch.from_numpy(order).to(self.args.device)

    def _compared(self, policy: Policy) -> list[dict[str, Tensor]]:
        """For each part of each update what `compared` says; nothing in float32."""
        with self.accelerator.autocast():
            if computes_in_float32(policy.lm):
                return []
            parts = range(self.per_rollout * self.args.gradient_accumulation_steps)
            return [self.compared(policy, rows_of(self._examples, self._mine(p))) for p in parts]

    def _minibatch(self, update: int) -> Tensor:
        size = self.settings.minibatch_size
        return self._order[update * size : (update + 1) * size]

    def _mine(self, taken: int) -> Tensor:
        """This worker's rows of a rollout's part, its `taken`-th."""
        update, part = divmod(taken, self.args.gradient_accumulation_steps)
        shares = self.args.gradient_accumulation_steps * self.group.size
        return self._minibatch(update).view(shares, -1)[part * self.group.size + self.group.rank]

    def _part(self, update: int) -> dict[str, Tensor]:
        """This worker's rows of one part of a minibatch, and what makes their sum a mean."""
        rows = rows_of(self._examples, self._mine(self._taken))
        alike = self._alike[self._taken] if self._alike else {}
        # The gradient is averaged over workers and over parts.
        shares = self.args.gradient_accumulation_steps * self.group.size
        scale = shares / self._examples["weight"][self._minibatch(update)].sum()
        return {**rows, **alike, "scale": scale}

    def _log_rollout(self) -> None:
        names = sorted(self._sums)
        mine = [float(self._sums[name]) / self._taken for name in names]
        means = np.mean(self.group.gather(mine), axis=0)
        self.log(
            {
                "rollout": self.rollout_index,
                **self._measured,
                **{name: float(mean) for name, mean in zip(names, means, strict=True)},
                **self._spent(self._rollout, self._started),
            }
        )

    def _spent(self, rollout: Rollout, started: float) -> dict[str, float]:
        return {
            "tokens": int(rollout.mask_NT.sum()),
            "seconds": time.perf_counter() - started,
        }

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint's weights; DeepSpeed keeps its own."""
        folder = Path(output_dir or self.scratch)
        if self.args.should_save and not self.is_deepspeed_enabled:
            folder.mkdir(parents=True, exist_ok=True)
            save_model(self.policy, str(folder / POLICY_FILE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_model(self.policy, str(Path(resume_from_checkpoint) / POLICY_FILE))
