"""What other models say of the sequences that a student learns: computed on the fly, or once.

A scorer gives a function of every token that could come next (log-probabilities, or an advantage)
at the learned places of a batch. Scores that are stored are float16 over the whole vocabulary: of
numbers below 16 it rounds to 0.004, where bfloat16 rounds to 0.03. Legend: B sequences, T places,
N learned places, V the student's vocabulary, W the models'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.data.token_sequences import IGNORED, PLACES, Order, Sequences
from recalltrap_studies.llm.distillation import losses
from recalltrap_studies.llm.inference.batch_sizes import HELD_OUT
from recalltrap_studies.llm.models import devices
from recalltrap_studies.llm.resources import resources_of
from recalltrap_studies.mapped_files import MappedFile, shared_folder

Scores = Callable[[slice, int], Tensor]
"""Of some rows of a batch, and the student's vocabulary V: values [N, V] at the learned places."""
MOST_BYTES = 8e9
"""What stored scores may take of a machine's disk."""
READ_RATE = 1e9
"""Bytes a second in which they come back, from the system's cache of a file."""
PASS_RATE: Mapping[str, float] = {"cpu": 3e10, "cuda": 1e14}
"""Operations a second of a forward pass of whoever would score instead."""


class Scorer(Protocol):
    """Whoever scores what a student learns."""

    @property
    def models(self) -> Sequence[nn.Module]:
        """What makes a pass over every batch, for costs."""
        ...

    def of(self, inputs: Mapping[str, Tensor]) -> Scores:
        """The scores of a batch."""
        ...


@dataclass(frozen=True)
class TeacherScores:
    """A model's log-probabilities at a temperature."""

    model: nn.Module
    temperature: float = 1.0

    @property
    def models(self) -> Sequence[nn.Module]:
        return [self.model]

    def of(self, inputs: Mapping[str, Tensor]) -> Scores:
        def scores(part: slice, width: int) -> Tensor:
            logits_NW = learned_logits(self.model, inputs, part)
            return losses.log_probs_of(logits_NW / self.temperature, width)

        return scores


@dataclass(frozen=True)
class AdvantageScores:
    """What an alignment made likelier: see `losses.advantage`."""

    aligned: nn.Module
    reference: nn.Module
    top_k: int | None = None

    @property
    def models(self) -> Sequence[nn.Module]:
        return [self.aligned, self.reference]

    def of(self, inputs: Mapping[str, Tensor]) -> Scores:
        def scores(part: slice, width: int) -> Tensor:
            aligned_NV, reference_NV = (
                losses.log_probs_of(learned_logits(model, inputs, part), width)
                for model in self.models
            )
            return losses.advantage(aligned_NV, reference_NV, top_k=self.top_k)

        return scores


@dataclass(frozen=True)
class StoredScores:
    """What another scorer said of all sequences, read again: float16 [places, W]."""

    values: npt.NDArray[np.float16]

    @property
    def models(self) -> Sequence[nn.Module]:
        return []

    def of(self, inputs: Mapping[str, Tensor]) -> Scores:
        learned_BT = inputs["labels"][:, 1:] != IGNORED
        places_BT = inputs[PLACES][:, 1:]

        def scores(part: slice, width: int) -> Tensor:
            places_N = places_BT[part][learned_BT[part]].cpu().numpy()
            assert width == self.values.shape[1], "stored for another vocabulary"
            found = torch.from_numpy(np.asarray(self.values[places_N]))
            return found.to(learned_BT.device).float()

        return scores


def learned_logits(model: nn.Module, inputs: Mapping[str, Tensor], part: slice) -> Tensor:
    """A model's logits at the learned places of some rows, float32 [N, W]; no gradient."""
    rows = {name: tensor[part] for name, tensor in features_of(inputs).items()}
    learned_BT = inputs["labels"][part, 1:] != IGNORED
    with torch.no_grad():
        logits_BTW: Tensor = model(**rows, use_cache=False).logits[:, :-1]
    return logits_BTW[learned_BT].float()


def features_of(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a model is given of a batch."""
    return {name: rows for name, rows in inputs.items() if name not in ("labels", PLACES)}


def rows_at_once(logits_BTV: Tensor) -> int:
    """How many rows' logits are made float32 together."""
    each = logits_BTV.shape[1] * logits_BTV.shape[2]
    return HELD_OUT[logits_BTV.device.type].rows(each)


def kept(
    scorer: Scorer,
    sequences: Sequences,
    *,
    vocabulary: int,
    epochs: float,
    folder: Path,
    group: WorkerGroup,
) -> Scorer:
    """The scorer, or its scores of these sequences, stored; every worker calls it.

    Stored where reading them is cheaper than to compute them again, or as `resources` say.
    """
    wanted = resources_of(group).teacher_scores
    places = int(sequences.learned.sum())
    if wanted == "auto":
        parameters = sum(p.numel() for model in scorer.models for p in model.parameters())
        stored = reading_is_cheaper(parameters, vocabulary, places, epochs)
    else:
        stored = wanted == "stored"
    return store(scorer, sequences, vocabulary, folder, group) if stored else scorer


def reading_is_cheaper(parameters: int, vocabulary: int, places: int, epochs: float) -> bool:
    """Whether scores are worth storing: computed and written once and read in every epoch, they
    take less time than to be computed in every one, and the disk has room."""
    computed = 2.0 * parameters / PASS_RATE[devices.device().type]
    read = 2.0 * vocabulary / READ_RATE
    fits = 2.0 * vocabulary * places <= MOST_BYTES
    return fits and computed + (1 + epochs) * read < epochs * computed


def store(
    scorer: Scorer, sequences: Sequences, vocabulary: int, folder: Path, group: WorkerGroup
) -> StoredScores:
    """All of a scorer's scores as a map of a file; the workers of a machine share the work."""
    places = sequences.learned_starts
    count = int(sequences.learned.sum())
    longest = int(sequences.lengths.max())
    rows = HELD_OUT[devices.device().type].rows(longest * vocabulary)
    with shared_folder(folder, group) as place:
        file = MappedFile(place.folder / "scores", np.dtype(np.float16), count * vocabulary)
        if place.rank == 0:
            file.create()
        group.gather(None)
        for start in range(place.rank * rows, len(sequences), place.size * rows):
            taken = np.arange(start, min(start + rows, len(sequences)))
            values = _scored(scorer, sequences, taken, vocabulary)
            file.write(int(places[start]) * vocabulary, values)
            group.report(Progress("storing scores", int(taken[-1]) + 1, len(sequences)))
        group.gather(None)
        return StoredScores(file.mapped().reshape(count, vocabulary))


def _scored(
    scorer: Scorer, sequences: Sequences, taken: Order, vocabulary: int
) -> npt.NDArray[Any]:
    inputs = sequences.padded(taken, 0)
    inputs = {name: rows.to(devices.device()) for name, rows in inputs.items()}
    scores_NV = scorer.of(inputs)(slice(None), vocabulary)
    # Impossible tokens stay impossible; nothing else is below what float16 holds.
    return scores_NV.half().cpu().numpy().reshape(-1)
