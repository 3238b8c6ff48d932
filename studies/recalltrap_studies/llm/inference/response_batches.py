"""Drawing a model's responses to evaluate or learn from, in batches that the workers share.

A batch's random numbers come from a stream of its own, so neither the number of workers nor the
other batches change it. Large sample sets for students are the stage `sample`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from recalltrap.run.worker_group import WorkerGroup
from recalltrap.streams import stream
from recalltrap_studies.llm.data.responses import Request
from recalltrap_studies.llm.inference import sampling_engines

BATCH = 512
Item = TypeVar("Item")


def uniforms(seed: int, name: str, rows: int, tokens: int) -> Tensor:
    """Uniform numbers in [0, 1) of a named stream, float64, [rows, tokens]."""
    return torch.from_numpy(stream(seed, name).random((rows, tokens)))


@dataclass(frozen=True)
class Batch:
    """Rows start..stop of a sample, its `index`-th part."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class DrawnResponses:
    """Responses of a model, padded to one width; `mask_BT` up to and including the first EOS."""

    tokens_BT: npt.NDArray[np.int64]
    mask_BT: npt.NDArray[np.bool_]
    log_probs_BT: npt.NDArray[np.float64]  # nats, 0 where there is no token
    finished_B: npt.NDArray[np.bool_]


def shares(count: int, group: WorkerGroup) -> list[Batch]:
    """This worker's batches of a sample of `count` rows."""
    starts = range(0, count, BATCH)
    batches = [Batch(i, start, min(start + BATCH, count)) for i, start in enumerate(starts)]
    return batches[group.rank :: group.size]


def collect(parts: Sequence[tuple[int, Item]], group: WorkerGroup) -> list[Item]:
    """All workers' parts in the order of the batches, on every worker."""
    everyone = [part for parts in group.gather(list(parts)) for part in parts]
    return [item for _, item in sorted(everyone, key=lambda part: part[0])]


def draw(
    model: torch.nn.Module, request: Request, batch: Batch, seed: int, name: str
) -> DrawnResponses:
    """One batch of responses to its rows' prompts; the same seed and name give every model the
    same uniforms."""
    rows = batch.stop - batch.start
    uniforms_BT = uniforms(seed, f"{name}/{batch.index}", rows, request.max_new_tokens)
    responses = sampling_engines.generate(model, request, uniforms_BT)
    mask_BT = responses.mask_BT.cpu().numpy().astype(bool)
    log_probs_BT = responses.log_probs_BT.double().cpu().numpy()
    return DrawnResponses(
        responses.tokens_BT.cpu().numpy(),
        mask_BT,
        np.where(mask_BT, log_probs_BT, 0.0),
        responses.finished_B.cpu().numpy().astype(bool),
    )


def joined(parts: Sequence[DrawnResponses]) -> DrawnResponses:
    """The batches one below the other, as wide as the widest."""
    width = max(part.mask_BT.shape[1] for part in parts)

    def stack(name: str) -> npt.NDArray[Any]:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate([np.pad(a, ((0, 0), (0, width - a.shape[1]))) for a in arrays])

    finished_B = np.concatenate([part.finished_B for part in parts])
    return DrawnResponses(stack("tokens_BT"), stack("mask_BT"), stack("log_probs_BT"), finished_B)


def as_table(drawn: DrawnResponses) -> pa.Table:
    """A table: `tokens` and `log_probs` as lists (responses alone), `finished`."""
    lengths = drawn.mask_BT.sum(axis=1)
    offsets = pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int32))
    tokens = pa.array(drawn.tokens_BT[drawn.mask_BT].astype(np.int32))
    log_probs = pa.array(drawn.log_probs_BT[drawn.mask_BT].astype(np.float32))
    return pa.table(
        {
            "tokens": pa.ListArray.from_arrays(offsets, tokens),
            "log_probs": pa.ListArray.from_arrays(offsets, log_probs),
            "finished": pa.array(drawn.finished_B),
        }
    )
