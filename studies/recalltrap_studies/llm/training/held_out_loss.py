"""The loss on held-out sequences: during a training at a few points, and whole at its end.

All ranks make the same number of passes, so that a model that ZeRO-3 cut into shards can be
evaluated like any other, and the result doesn't depend on the number of workers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.data.token_sequences import IGNORED, Sequences
from recalltrap_studies.llm.inference.batch_sizes import HELD_OUT
from recalltrap_studies.llm.training import upstream

POINTS = 10
"""Points of a training's held-out curve."""
SEEN = 512
"""Held-out sequences behind each of them; the last has all."""


def heldout_loss(trainer: Trainer, sequences: Sequences, pad: int, group: WorkerGroup) -> float:
    """Mean negative log-likelihood per learned token, in nats; every rank calls it."""
    model = upstream.forward_model(trainer)
    longest = int(sequences.lengths.max())
    vocabulary = int(trainer.accelerator.unwrap_model(trainer.model).config.vocab_size)
    rows = HELD_OUT[trainer.args.device.type].rows(longest * vocabulary)
    passes = -(-len(sequences) // (rows * group.size))
    total, count = 0.0, 0
    was_training = model.training
    model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        for index in range(passes):
            start = (index * group.size + group.rank) * rows
            taken = np.arange(start, min(start + rows, len(sequences)))
            nll, tokens = _pass(model, sequences, taken, pad, trainer.args.device)
            total, count = total + nll, count + tokens
    model.train(was_training)
    sums = group.gather((total, count))
    return float(sum(nll for nll, _ in sums) / sum(tokens for _, tokens in sums))


def _pass(
    model: Any, sequences: Sequences, rows: np.ndarray[Any, Any], pad: int, where: torch.device
) -> tuple[float, int]:
    """Sum of negative log-likelihoods and number of tokens; without rows, a pass for company."""
    inputs = sequences.padded(rows if len(rows) else np.zeros(1, np.int64), pad)
    inputs = {name: tensor.to(where) for name, tensor in inputs.items()}
    labels = inputs.pop("labels")[:, 1:]
    logits = model(**inputs, use_cache=False).logits[:, :-1].float()
    # The vocabulary last: a softmax along another dimension takes a GPU twenty times as long.
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    if not len(rows):
        return 0.0, 0
    return float(losses.double().sum()), int((labels != IGNORED).sum())


class HeldoutPoints(TrainerCallback):
    """Logs the held-out loss at a few updates."""

    def __init__(
        self, trainer: Trainer, sequences: Sequences, pad: int, group: WorkerGroup, updates: int
    ) -> None:
        self.trainer = trainer
        self.sequences = sequences.take(np.arange(min(SEEN, len(sequences))))
        self.pad, self.group = pad, group
        self.steps = {round(updates * k / POINTS) for k in range(1, POINTS)} - {0, updates}

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step in self.steps:
            loss = heldout_loss(self.trainer, self.sequences, self.pad, self.group)
            state.log_history.append({"heldout_loss": loss, "step": state.global_step})
