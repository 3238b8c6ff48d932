"""Alignments that learn from a fixed set: responses of the reference, drawn once and scored.

An iteration goes over as many examples as a rollout of the same settings makes, so that iterations
of all algorithms are alike; the policy is measured on rollouts of its own, now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.streams import stream
from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer, Iteration
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.data.token_sequences import shuffled
from recalltrap_studies.llm.inference import response_batches
from recalltrap_studies.llm.models import devices
from recalltrap_studies.llm.rewards.noise import reward_noise


@dataclass(frozen=True)
class ReferenceSample:
    """N responses of the reference, on the CPU, padded to the longest that is asked for.

    Of two responses the one with the higher `preference_N` is preferred; `prompt_N` says which
    prompt each is to, where there are several.
    """

    tokens_NT: Tensor
    mask_NT: Tensor
    preference_N: Tensor
    prompt_N: Tensor | None

    def examples(self, rows: Tensor | None = None) -> dict[str, Tensor]:
        """`tokens`, `mask`, and `prompt` where there are several: of all responses, or of `rows`,
        whatever their shape."""
        named = {"tokens": self.tokens_NT, "mask": self.mask_NT, "prompt": self.prompt_N}
        return {
            name: whole if rows is None else whole[rows]
            for name, whole in named.items()
            if whole is not None
        }


def draw_from_reference(
    context: RolloutContext,
    count: int,
    seed: int,
    group: WorkerGroup,
    name: str,
    together: int,
    noise: float = 0.0,
) -> ReferenceSample:
    """`count` responses of the reference by the random stream `name`, the same on every worker.

    So many after each other are `together`, to the same prompt; `noise` is the deviation of what is
    seen of their rewards.

    Raises:
        StageError: the reward gives no finite numbers.
    """
    scored = []
    prompt_N = context.draw_prompts(count, seed, f"{name}/prompts", together)
    where = next(context.reference.parameters()).device
    for batch in response_batches.shares(count, group):
        request = context.request
        if prompt_N is not None:
            request = request.take(prompt_N[batch.start : batch.stop])
        # The reference speaks in the precision that the policy learns in.
        with torch.autocast(where.type, torch.bfloat16, enabled=devices.mixed_precision(where)):
            drawn = response_batches.draw(cast(Any, context.reference), request, batch, seed, name)
        tokens_BT, mask_BT = torch.from_numpy(drawn.tokens_BT), torch.from_numpy(drawn.mask_BT)
        judged = context.reward_model.judge(tokens_BT.to(where), mask_BT.to(where), request.prompts)
        scored.append((batch.index, (tokens_BT, mask_BT, judged.preference_B.cpu())))
        group.report(Progress("drawing from the reference", batch.stop, count))
    parts = response_batches.collect(scored, group)
    tokens_NT, mask_NT, preference_N = (torch.cat(column) for column in zip(*parts, strict=True))
    added_N = reward_noise(seed, name, count, noise)
    if added_N is not None:
        preference_N = preference_N + added_N
    return ReferenceSample(tokens_NT, mask_NT, preference_N, prompt_N)


class OfflineTrainer(AlignmentTrainer):
    """Learns from a fixed set in an order of its own, one epoch after the other."""

    always_compared: ClassVar[bool] = True  # with the reference, which no rollout has scored

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
        super().__init__(policy, context, settings, seed=seed, group=group, scratch=scratch)
        examples = self.fixed_examples()
        self.examples = {name: rows.to(self.args.device) for name, rows in examples.items()}
        count = len(self.examples["weight"])
        rows = settings.iterations * self.updates_per_iteration * settings.minibatch_size
        # Drawn for the whole training at once, so that a resumed one goes on in it.
        order = shuffled(count, rows, stream(seed, "align/minibatches"))
        self.order = torch.from_numpy(order.astype(np.int64)).to(self.args.device)
        # of an iteration, on average
        self._tokens = round(int(self.examples["mask"].sum()) / count * rows / settings.iterations)

    def given_pairs(self) -> dict[str, Tensor] | None:
        """A file's preferences as rows [P, 2, ...], the chosen answer first; None without one."""
        given = self.context.preferences
        if given is None:
            return None
        assert self.context.prompts is not None
        return given.examples(before=len(self.context.prompts))

    def fixed_examples(self) -> dict[str, Tensor]:
        """All that is learned from; see `Iteration.examples`. Every worker calls it."""
        raise NotImplementedError

    def iteration(self, policy: Policy, index: int) -> Iteration:
        size = self.updates_per_iteration * self.settings.minibatch_size
        order = self.order[index * size : (index + 1) * size]
        last = index == self.settings.iterations
        if index % self.settings.selection_interval and not last:
            return Iteration(self.examples, order, {}, self._tokens)
        rollout = self.draw(policy, index)
        tokens = int(rollout.mask_NT.sum()) if last else self._tokens
        return Iteration(self.examples, order, rollout.measures(), tokens)
