"""The base of all alignments: iterations of updates inside one `train()`, and what is kept of them.

A subclass says what an iteration learns from, a rollout of the policy (`on_policy_trainer`) or a
fixed set (`offline_trainer`), and an algorithm the loss of its rows. Minibatches that don't depend
on the number of workers, curves, candidates and checkpoints between iterations are here.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.torch import load_model, save_model
from torch import Tensor

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.checkpoint_selection import choosable
from recalltrap_studies.llm.alignment.policy import Policy, computes_in_float32
from recalltrap_studies.llm.alignment.registry import find_algorithm
from recalltrap_studies.llm.alignment.rollouts import Rollout, RolloutContext, roll_out, rows_of
from recalltrap_studies.llm.training import upstream
from recalltrap_studies.llm.training.arguments import alignment_arguments
from recalltrap_studies.llm.training.checkpoints import CANDIDATES

POLICY_FILE = "policy.safetensors"


def points_before(history: Sequence[Mapping[str, Any]], index: int) -> dict[str, list[float]]:
    """The curves of an alignment's iterations up to `index`, NaN where one wasn't measured."""
    points = [point for point in history if point.get("rollout", index) < index]
    names = {name for point in points for name in point}
    return {name: [float(point.get(name, np.nan)) for point in points] for name in names}


@dataclass(frozen=True)
class Iteration:
    """What the updates of one iteration learn from.

    `examples` are tensors with one first dimension, among them `tokens`, `mask` (bool), `prompt`
    (which one each response is to) where there are several, and `weight`: how much each row counts
    in a minibatch's mean. `order` holds row numbers, one
    minibatch after the other. `measures` are the curves' values before the first update, and
    `tokens` says how many an iteration goes over.
    """

    examples: Mapping[str, Tensor]
    order: Tensor
    measures: Mapping[str, float]
    tokens: int


class AlignmentTrainer(upstream.OwnBatchesTrainer):
    """Learns from an `Iteration` in so many updates as its record says, and then from the next.

    Curves are points of `state.log_history`, one per iteration: what was measured before its first
    update, and the means of its updates. A checkpoint holds them.
    """

    scored: ClassVar[bool] = False
    """Whether a rollout's log-probabilities are computed anew: see `rollouts.roll_out`."""
    always_compared: ClassVar[bool] = False
    """Whether `compared` is asked in float32 too."""

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
        self.iteration_index = -1
        algorithm = find_algorithm(settings.algorithm)
        self.updates_per_iteration = algorithm.updates_of(settings)
        self.together = algorithm.together(settings)
        arguments = alignment_arguments(
            settings, self.updates_per_iteration, seed=seed, group=group, scratch=scratch
        )
        rows = settings.iterations * self.updates_per_iteration * settings.minibatch_size
        super().__init__(policy, arguments, rows)

    def iteration(self, policy: Policy, index: int) -> Iteration:
        """What iteration `index` learns from, and how the policy does before it.

        `policy` is whole and in eval mode. The index behind the last one is asked for too, for
        its measures alone.
        """
        raise NotImplementedError

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For each row `loss`, which is minimised, and what else is recorded, both times weight."""
        raise NotImplementedError

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of a minibatch's rows the policy is compared with, before the first update.

        It replaces what the examples say where log-probabilities depend on the shape of the batch
        that they are computed in: bfloat16 rounds by the kernel, and the shape decides on that.
        """
        raise NotImplementedError

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One part of one update; the first of an iteration begins it."""
        index, update = divmod(self.state.global_step, self.updates_per_iteration)
        if index != self.iteration_index:
            assert update == 0, "training goes on between two iterations"
            self._begin(index)
        loss: Tensor = super().training_step(model, self._part(update))
        self._taken += 1
        if self._taken == self.updates_per_iteration * self.args.gradient_accumulation_steps:
            self._log_iteration()
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
        index, self._started = self.settings.iterations, time.perf_counter()
        self.iteration_index = index
        with self.whole_policy() as policy:
            self.keep(policy.lm, index)
            last = self.iteration(policy, index)
        self.log({"rollout": index, **last.measures, **self._spent(last)})

    def draw(self, policy: Policy, index: int) -> Rollout:
        """Responses of the current policy with what is known of them; every worker calls it."""
        with self.accelerator.autocast():
            return roll_out(
                policy,
                self.context,
                size=self.settings.rollout_size,
                index=index,
                seed=self.seed,
                group=self.group,
                scored=self.scored,
                together=self.together,
                noise=self.settings.reward_noise,
            )

    def candidate(self, index: int) -> Path:
        """The folder of the weights after `index` iterations, in the hub's format."""
        return self.scratch / CANDIDATES / str(index)

    def is_candidate(self, index: int) -> bool:
        """Whether the weights after `index` iterations may be chosen; the last always are."""
        chosen = self.settings.model_selection != "last"
        return bool(chosen and index and not index % self.settings.selection_interval)

    def keep(self, lm: Any, index: int) -> None:
        """Keep a language model's whole weights; every worker calls it."""
        if self.group.leads:
            with self.policy.own_configuration():
                lm.save_pretrained(self.candidate(index))

    def drop_candidates(self, index: int) -> None:
        """Remove weights that can't be chosen any more, whatever the rest of the run says.

        A run that goes on from a checkpoint may say otherwise of what came after it: what is
        removed follows from points that two checkpoints stand behind.
        """
        folder = self.candidate(0).parent
        if not self.group.leads or self.settings.model_selection == "last":
            return
        points = points_before(self.state.log_history, self._repeated_from(index))
        by = find_algorithm(self.settings.algorithm).selected_by
        assert by is not None
        if by not in points:
            return
        there = [int(path.name) for path in folder.iterdir() if int(path.name) <= index]
        for step in {*there} - {*choosable(points, by, self.settings.iterations + 1, there)}:
            shutil.rmtree(self.candidate(step))

    def _repeated_from(self, index: int) -> int:
        """The first iteration that an interruption could lead to be done again."""
        if self.args.save_strategy == "no":  # all of them, and their candidates with them
            return index
        saved = index * self.updates_per_iteration // int(self.args.save_steps) - 1
        return max(saved, 0) * int(self.args.save_steps) // self.updates_per_iteration

    @contextmanager
    def whole_policy(self) -> Iterator[Any]:
        """The policy in eval mode, its weights gathered once (ZeRO-3), without gradients."""
        with upstream.whole_model(self) as policy:
            yield policy

    def save_weights(self, folder: Path) -> None:
        save_model(self.policy, str(folder / POLICY_FILE))

    def load_weights(self, folder: Path) -> None:
        load_model(self.policy, str(folder / POLICY_FILE))

    def _begin(self, index: int) -> None:
        """Keep a candidate, measure the policy and prepare what the iteration learns from."""
        self._started, self._taken, self.iteration_index = time.perf_counter(), 0, index
        with self.whole_policy() as policy:
            if self.is_candidate(index):
                self.keep(policy.lm, index)
                self.drop_candidates(index)
            self._iteration = self.iteration(policy, index)
            self._alike = self._compared(policy)
        self._sums: dict[str, Any] = defaultdict(float)

    def _compared(self, policy: Policy) -> list[dict[str, Tensor]]:
        """For each part of each update what `compared` says; nothing where it isn't needed."""
        with self.accelerator.autocast():
            if computes_in_float32(policy.lm) and not self.always_compared:
                return []
            parts = range(self.updates_per_iteration * self.args.gradient_accumulation_steps)
            return [self.compared(policy, self.rows(part)) for part in parts]

    def _minibatch(self, update: int) -> Tensor:
        size = self.settings.minibatch_size
        return self._iteration.order[update * size : (update + 1) * size]

    def rows(self, taken: int) -> dict[str, Tensor]:
        """This worker's examples of an iteration's part, its `taken`-th."""
        update, part = divmod(taken, self.args.gradient_accumulation_steps)
        return rows_of(self._iteration.examples, self.share(self._minibatch(update), part))

    def share(self, minibatch: Tensor, part: int) -> Tensor:
        """What this worker takes of a minibatch in one part."""
        shares = self.args.gradient_accumulation_steps * self.group.size
        return minibatch.view(shares, -1)[part * self.group.size + self.group.rank]

    def _part(self, update: int) -> dict[str, Tensor]:
        """This worker's rows of one part of a minibatch, and what makes their sum a mean."""
        rows = self.rows(self._taken)
        alike = self._alike[self._taken] if self._alike else {}
        # The gradient is averaged over workers and over parts.
        shares = self.args.gradient_accumulation_steps * self.group.size
        scale = shares / self._iteration.examples["weight"][self._minibatch(update)].sum()
        return {**rows, **alike, "scale": scale}

    def _log_iteration(self) -> None:
        names = sorted(self._sums)
        mine = [float(self._sums[name]) / self._taken for name in names]
        means = np.mean(self.group.gather(mine), axis=0)
        self.log(
            {
                "rollout": self.iteration_index,
                **self._iteration.measures,
                **{name: float(mean) for name, mean in zip(names, means, strict=True)},
                **self._spent(self._iteration),
            }
        )

    def _spent(self, iteration: Iteration) -> dict[str, float]:
        return {"tokens": iteration.tokens, "seconds": time.perf_counter() - self._started}
