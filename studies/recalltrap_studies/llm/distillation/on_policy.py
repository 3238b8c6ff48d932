"""On-policy distillation: a student learns its teacher's distributions where it goes itself.

Of its updates the first learn from the teacher's samples, as logit distillation does, and the last
`own_samples_share` from sequences that the student has drawn just before (generalised knowledge
distillation, Agarwal et al. 2024): a model that can't speak yet would be shown its own noise. The
divergence is the generalised JSD at every place of them, over the whole vocabulary; no gradient
goes through what was drawn. Own sequences are drawn at temperature 1 for `own_samples_updates`
updates together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.data import responses
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.data.token_sequences import Collator, Order, Sequences
from recalltrap_studies.llm.distillation.logits import TeacherTrainer
from recalltrap_studies.llm.distillation.losses import generalised_jsd
from recalltrap_studies.llm.inference import sampling_engines
from recalltrap_studies.llm.inference.batch_sizes import rows_at_once
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.training import upstream
from recalltrap_studies.llm.training.student_trainer import OWN_TOKENS


class OwnSamplesTrainer(TeacherTrainer):
    """Learns by the generalised JSD, at last from what the student says itself."""

    numbered = False  # its teacher scores on the fly

    def __init__(self, *, node: Node, group: WorkerGroup, **given: Any) -> None:
        super().__init__(**given)
        config = node.config
        self.seed, self.group = node.seed, group
        self.mix = float(config["jsd_mix"])
        self.together = int(config["own_samples_updates"])
        self.longest = int(node.parents["samples"].config["sample_tokens"])
        own = float(config["own_samples_share"]) * self.args.max_steps
        # Checkpoints stand between two drawings: whoever goes on from one draws the same again.
        self.own_from = math.floor((self.args.max_steps - own) / self.together) * self.together
        self.drawn_at, self._update, self._taken = -1, -1, 0

    def divergence(self, own_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        return generalised_jsd(own_NV, teacher_NV, self.mix)

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """One part of an update: of the teacher's rows, or of the student's own in their place."""
        update = self.state.global_step
        if update >= self.own_from:
            first = update - update % self.together
            if first != self.drawn_at:
                self._draw(first)
            if update != self._update:
                self._update, self._taken = update, 0
            mine, rows = self._rows(update - first)
            self._taken += 1
            inputs = self.collate_own.batch(mine)
            num_items_in_batch = int(self.own.learned[rows].sum())
        step: Any = super().training_step  # untyped
        loss: Tensor = step(model, inputs, num_items_in_batch)
        return loss

    def _rows(self, update: int) -> tuple[Order, Order]:
        """This worker's rows of one part of an update, and all of the update's."""
        size = len(self.own) // self.updates_drawn
        rows = np.arange(update * size, (update + 1) * size)
        shares = self.args.gradient_accumulation_steps * self.group.size
        mine = rows.reshape(shares, -1)[self._taken * self.group.size + self.group.rank]
        return mine, rows

    def _draw(self, first: int) -> None:
        """The student's own sequences for the updates from `first` on; every worker calls it."""
        self.updates_drawn = min(self.together, self.args.max_steps - first)
        size = self.batch_rows
        order = self.schedule.order[first * size : (first + self.updates_drawn) * size]
        data = self.data.train
        asked = PromptRows.of([data.row(row)[: data.prompts[row]].tolist() for row in order])
        request = responses.request(self.data.tokenizer, asked, self.longest)
        # The numbers of all rows are drawn everywhere, so that a row is the same whoever draws it.
        uniforms_NT = uniforms(self.seed, f"distill/own/{first}", len(order), self.longest)
        mine = torch.from_numpy(
            np.array_split(np.arange(len(order)), self.group.size)[self.group.rank]
        )
        found: list[tuple[list[int], int]] = []
        with upstream.whole_model(self) as lm, self.accelerator.autocast():
            for part in torch.split(mine, rows_at_once(lm.config, request, lm.device, self.group)):
                theirs = request.take(part)
                drawn = sampling_engines.generate(lm, theirs, uniforms_NT[part])
                prompts = theirs.prompts.expanded(len(part)).lists()
                answers = zip(prompts, drawn.tokens_BT.cpu(), drawn.mask_BT.cpu(), strict=True)
                for prompt, tokens_T, mask_T in answers:
                    found.append((prompt + tokens_T[mask_T].tolist(), len(prompt)))
        everyone = [row for rows in self.group.gather(found) for row in rows]
        self.own = Sequences.of_lists([row for row, _ in everyone], [own for _, own in everyone])
        self.collate_own = Collator(self.own, self.pad, self.width)
        # In every checkpoint after this, for what the training has cost.
        tokens = int(self.own.learned.sum())
        self.state.log_history.append({OWN_TOKENS: tokens, "step": first})
        self.drawn_at, self._update, self._taken = first, -1, 0
