"""The files of a sample artifact: which sequences each holds, and how they are written and read.

A shard is the unit of work and of resuming: its random numbers come from a stream of its own, so
neither the number of workers nor an interruption changes its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import Artifact, ArtifactStore
from recalltrap_studies.llm.data.responses import PromptRows, Responses
from recalltrap_studies.llm.data.token_sequences import Sequences, starts_of
from recalltrap_studies.mapped_files import MappedFile, shared_folder

SHARD = 2048
Split = Literal["train", "heldout"]
LOG_PROBS = "log_probs"
"""Of responses, which the teacher's entropy is computed from: held-out shards have it alone, and
those that an earlier version wrote. It wrote no `prompt_tokens`: the rest of a sequence was that.
"""


def token_type(vocabulary: int) -> np.dtype[Any]:
    """The smallest integer type that holds every token of so many."""
    return np.min_scalar_type(vocabulary - 1)


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


def shard_table(
    shard: Shard, parts: Sequence[tuple[PromptRows, Responses]], vocabulary: int
) -> pa.Table:
    """A shard's sequences: prompt and response as token ids, and how many are the prompt's.

    Of held-out sequences also the response's log-probabilities, which nobody reads of others.
    """
    columns = [_columns(prompts, part, token_type(vocabulary)) for prompts, part in parts]
    if shard.split == "train":
        for column in columns:
            del column[LOG_PROBS]
    sequence = pa.array(np.arange(shard.start, shard.start + shard.rows, dtype=np.int64))
    joined = {name: pa.concat_arrays([c[name] for c in columns]) for name in columns[0]}
    return pa.table({"sequence": sequence, **joined})


def _columns(prompts: PromptRows, part: Responses, kind: np.dtype[Any]) -> dict[str, pa.Array]:
    mask_BT = part.mask_BT.cpu().numpy()
    tokens_BT = part.tokens_BT.cpu().numpy()
    prompts = prompts.expanded(len(mask_BT))
    prompt_B = prompts.lengths_B.numpy().astype(np.int32)
    whole_BL = np.concatenate([prompts.ids_BP.numpy(), tokens_BT], axis=1)
    kept_BL = np.concatenate([prompts.mask_BP.numpy(), mask_BT], axis=1)
    return {
        "input_ids": _lists(kept_BL.sum(axis=1), whole_BL[kept_BL].astype(kind)),
        "prompt_tokens": pa.array(prompt_B),
        "finished": pa.array(part.finished_B.cpu().numpy()),
        LOG_PROBS: _lists(mask_BT.sum(axis=1), part.log_probs_BT.cpu().numpy()[mask_BT]),
    }


def _lists(lengths: np.ndarray, values: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def read_shards(store: ArtifactStore, node: Node, split: Split = "train") -> pa.Table:
    """A split's sequences in their order, whole in memory; `map_sequences` is for many.

    `sequence`, `input_ids` (int32), `prompt_tokens`, `finished`, and held out `log_probs`.

    Raises:
        InputError: the artifact is missing or damaged.
    """
    artifact = store.open(node)
    tables = [_read(artifact, name) for name in shard_names(artifact, split)]
    kind = pa.list_(pa.int32())
    same = [t.set_column(1, "input_ids", t["input_ids"].cast(kind)) for t in tables]
    return pa.concat_tables(same)


def heldout_log_probs(artifact: Artifact) -> Iterator[pa.ListArray]:
    """The log-probabilities of each held-out shard's responses, one shard in memory at a time."""
    for name in shard_names(artifact, "heldout"):
        yield artifact.read_table(name, [LOG_PROBS])[LOG_PROBS].combine_chunks()


def shard_names(artifact: Artifact, split: Split) -> list[str]:
    """The files of a split, in the order of their sequences."""
    return sorted(name for name in artifact.names if name.startswith(f"{split}-"))


def _read(artifact: Artifact, name: str) -> pa.Table:
    """A shard as this version writes it, whoever wrote it."""
    columns = set(artifact.table_footer(name).schema.to_arrow_schema().names)
    wanted = ["sequence", "input_ids", "prompt_tokens", "finished"]
    if name.startswith("heldout") or "prompt_tokens" not in columns:
        wanted.append(LOG_PROBS)
    table = artifact.read_table(name, [column for column in wanted if column in columns])
    if "prompt_tokens" not in columns:
        length, responses = (
            pc.list_value_length(table[column]) for column in ("input_ids", LOG_PROBS)
        )
        table = table.append_column("prompt_tokens", pc.subtract(length, responses))
    kept = wanted if name.startswith("heldout") else wanted[:4]
    return table.select(kept)


def map_sequences(
    artifact: Artifact, split: Split, folder: Path, vocabulary: int, group: WorkerGroup
) -> Sequences:
    """A split's sequences as maps of files: memory holds what is being learned, however many.

    The workers of a machine share the work and the files, which stand below `folder` until all
    have mapped them. Every worker of the group calls it.

    Raises:
        InputError: a shard is missing or damaged, or the files can't be written.
    """
    names = shard_names(artifact, split)
    sizes = _sizes(artifact, names, group)
    rows = np.concatenate([[0], np.cumsum([sizes[name][0] for name in names], dtype=np.int64)])
    tokens = np.concatenate([[0], np.cumsum([sizes[name][1] for name in names], dtype=np.int64)])
    kinds = {"starts": np.int64, "lengths": np.int32, "prompts": np.int32}
    with shared_folder(folder, group) as place:
        files = {
            name: MappedFile(place.folder / name, np.dtype(kind), int(rows[-1]))
            for name, kind in kinds.items()
        }
        path = place.folder / "tokens"
        files["tokens"] = MappedFile(path, token_type(vocabulary), int(tokens[-1]))
        if place.rank == 0:
            for file in files.values():
                file.create()
        group.gather(None)
        for index in range(place.rank, len(names), place.size):
            table = _read(artifact, names[index])
            lists = table["input_ids"].combine_chunks()
            lengths = lists.value_lengths().to_numpy()
            files["tokens"].write(int(tokens[index]), lists.flatten().to_numpy())
            files["starts"].write(int(rows[index]), tokens[index] + starts_of(lengths))
            files["lengths"].write(int(rows[index]), lengths)
            files["prompts"].write(int(rows[index]), table["prompt_tokens"].to_numpy())
        group.gather(None)
        return Sequences(**{name: file.mapped() for name, file in files.items()})


def _sizes(
    artifact: Artifact, names: Sequence[str], group: WorkerGroup
) -> dict[str, tuple[int, int]]:
    """Sequences and tokens of every shard, by what the files say at their ends."""
    mine: dict[str, tuple[int, int]] = {}
    for name in names[group.rank :: group.size]:
        footer = artifact.table_footer(name)
        groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
        columns = [part.column(i) for part in groups for i in range(part.num_columns)]
        # No sequence is empty, or it would count as a value.
        tokens = sum(c.num_values for c in columns if c.path_in_schema.startswith("input_ids"))
        mine[name] = footer.num_rows, tokens
    return {name: size for part in group.gather(mine) for name, size in part.items()}
