"""The files of a sample artifact: which sequences each holds, and how they are written and read.

A shard is the unit of work and of resuming: its random numbers come from a stream of its own, so
neither the number of workers nor an interruption changes its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data.responses import PromptRows, Responses

SHARD = 2048
Split = Literal["train", "heldout"]
SCHEMA = pa.schema(
    {
        "sequence": pa.int64(),
        "input_ids": pa.list_(pa.int32()),
        "log_probs": pa.list_(pa.float32()),
        "finished": pa.bool_(),
    }
)


@dataclass(frozen=True)
class Shard:
    """Sequences start..start+rows of the whole set; held-out ones come after all others."""

    split: Split
    index: int
    start: int
    rows: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05}.parquet"


def shards_of(samples: int, heldout: int) -> list[Shard]:
    """All shards of a sample set, `SHARD` sequences each but for the last of a split."""
    splits: tuple[tuple[Split, int, int], ...] = (
        ("train", 0, samples),
        ("heldout", samples, heldout),
    )
    return [
        Shard(split, index, offset + start, min(SHARD, count - start))
        for split, offset, count in splits
        for index, start in enumerate(range(0, count, SHARD))
    ]


def shard_table(shard: Shard, parts: Sequence[tuple[PromptRows, Responses]]) -> pa.Table:
    """A shard's sequences: prompt and response as token ids, the response's log-probabilities."""
    columns = [_columns(prompts, part) for prompts, part in parts]
    input_ids, log_probs, finished = (
        pa.concat_arrays([column[name] for column in columns])
        for name in ("input_ids", "log_probs", "finished")
    )
    sequence = pa.array(np.arange(shard.start, shard.start + shard.rows, dtype=np.int64))
    return pa.table([sequence, input_ids, log_probs, finished], schema=SCHEMA)


def _columns(prompts: PromptRows, part: Responses) -> dict[str, pa.Array]:
    mask_BT = part.mask_BT.cpu().numpy()
    tokens_BT = part.tokens_BT.cpu().numpy()
    prompts = prompts.expanded(len(mask_BT))
    whole_BL = np.concatenate([prompts.ids_BP.numpy(), tokens_BT], axis=1).astype(np.int32)
    kept_BL = np.concatenate([prompts.mask_BP.numpy(), mask_BT], axis=1)
    return {
        "input_ids": _lists(kept_BL.sum(axis=1), whole_BL[kept_BL]),
        "log_probs": _lists(mask_BT.sum(axis=1), part.log_probs_BT.cpu().numpy()[mask_BT]),
        "finished": pa.array(part.finished_B.cpu().numpy()),
    }


def _lists(lengths: np.ndarray, values: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def read_shards(store: ArtifactStore, node: Node, split: Split = "train") -> pa.Table:
    """A split's sequences in their order: `sequence`, `input_ids`, `log_probs`, `finished`.

    Raises:
        InputError: the artifact is missing or damaged.
    """
    artifact = store.open(node)
    names = sorted(name for name in artifact.names if name.startswith(f"{split}-"))
    tables = [artifact.read_table(name) for name in names]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()
