"""What a trainer of TRL needs to be an alignment of ours: iterations, curves and candidates.

An iteration is a fixed number of updates, as many as a rollout's pairs make. The policy is measured
and kept between iterations as `onpolicy` does it, so that every algorithm's curves and checkpoints
mean the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Trainer

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.candidates import CandidateTrainer
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.rollouts import Rollout, RolloutContext, roll_out
from recalltrap_studies.llm.stage_settings import Alignment
from recalltrap_studies.llm.training import arguments

SHOWN: Mapping[str, str] = {
    "rewards/margins": "reward_margin",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "rewards/accuracies": "accuracy",
}
"""TRL's metrics that become curves, by our names; the others are measured by us."""


class Iterated(CandidateTrainer):
    """Mixed in before a trainer of TRL, whose `__init__` it calls through `begin`."""

    policy: Policy
    context: RolloutContext
    seed: int
    per_rollout: int
    """Updates of an iteration."""
    iteration: int = -1
    _metrics: Any

    def begin(
        self,
        policy: Policy,
        context: RolloutContext,
        settings: Alignment,
        seed: int,
        group: WorkerGroup,
        scratch: Path,
    ) -> None:
        """Set what the iterations read; call it before TRL's `__init__`."""
        self.policy, self.context, self.settings = policy, context, settings
        self.seed, self.group, self.scratch = seed, group, scratch
        self.per_rollout = updates_of(settings)

    def configuration(self, cls: Any, batch: int, **extra: Any) -> Any:
        """TRL's arguments: a constant rate, checkpoints between iterations alone.

        `batch` is the number of rows of TRL's dataset per update.
        """
        return arguments.alignment_arguments(
            cls,
            self.settings,
            per_rollout=self.per_rollout,
            batch=batch,
            seed=self.seed,
            group=self.group,
            scratch=self.scratch,
            beta=self.settings.kl_weight,
            **extra,
        )

    def start_iteration(self, index: int) -> None:
        """What happens between two iterations, before the first update of `index`."""
        raise NotImplementedError

    def measures(self, rollout: Rollout | None) -> dict[str, float]:
        """A point of the curves from the rollout that was drawn, if one was."""
        return {} if rollout is None else rollout.measures()

    def tokens(self, rollout: Rollout | None) -> int:
        """Tokens that an iteration learns from."""
        return 0 if rollout is None else int(rollout.mask_NT.sum())

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        index, update = divmod(self.state.global_step, self.per_rollout)
        if index != self.iteration:
            assert update == 0, "training goes on between two iterations"
            self.iteration, self._began = index, time.perf_counter()
            self._losses: list[float] = []
            self._rollout: Rollout | None = None
            self._metrics["train"].clear()
            if self.is_candidate(index):
                self._keep(index)
            self.start_iteration(index)
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._losses.append(float(loss))
        if len(self._losses) == self.per_rollout * self.args.gradient_accumulation_steps:
            self._log_iteration()
        return loss

    def draw(self, index: int) -> Rollout:
        """Responses of the current policy, judged; every worker calls it."""
        size = self.settings.rollout_size
        with self.whole_policy() as lm, self.accelerator.autocast():
            bare = Policy(lm, self.policy.prompt_ids)
            self._rollout = roll_out(
                bare, self.context, size=size, index=index, seed=self.seed, group=self.group
            )
        return self._rollout

    def finish(self) -> None:
        """Measure and keep the policy after its last update; every worker calls it."""
        index, began = self.settings.iterations, time.perf_counter()
        self._keep(index)
        rollout = self.draw(index)
        seconds = {"tokens": int(rollout.mask_NT.sum()), "seconds": time.perf_counter() - began}
        Trainer.log(self, {"rollout": index, **rollout.measures(), **seconds})

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Points are logged by iteration, and TRL's own averages aren't mixed in."""
        Trainer.log(self, logs, start_time)

    def _log_iteration(self) -> None:
        mine = sum(self._losses) * self.loss_parts / len(self._losses)
        losses = self.group.gather(mine)
        metrics = self._metrics["train"]
        trl = {
            ours: sum(metrics[theirs]) / len(metrics[theirs])
            for theirs, ours in SHOWN.items()
            if metrics.get(theirs)
        }
        self.log(
            {
                "rollout": self.iteration,
                **self.measures(self._rollout),
                **trl,
                "loss": sum(losses) / len(losses),
                "tokens": self.tokens(self._rollout),
                "seconds": time.perf_counter() - self._began,
            }
        )

    @property
    def loss_parts(self) -> int:
        """What a part's loss was divided by, so that the parts of an update add up to its loss."""
        return int(self.args.gradient_accumulation_steps)

    def _keep(self, index: int) -> None:
        with self.whole_policy() as lm:
            self.keep(lm, index)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)  # no model card beside it

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # counted once for all, not by walking the model at every update


def updates_of(settings: Alignment) -> int:
    """Updates of an iteration: as many pairs as `rollout_size` responses make, each once."""
    return settings.rollout_size // 2 // settings.minibatch_size
