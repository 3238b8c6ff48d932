"""Token sequences in one flat buffer, and the batches that are cut from it.

Rows are found by index, so the order of training is a list of numbers: the same for every number
of workers, and cheap to go on from in the middle. Shape suffixes: B sequences, R packed rows,
L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Sampler

IGNORED = -100
"""The label of a token that isn't learned."""
Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """N sequences of token ids; `prompts` says how many tokens of each aren't learned."""

    tokens: npt.NDArray[np.int32]  # [total]
    offsets: Array  # [N + 1]
    prompts: Array  # [N]

    @classmethod
    def of_lists(cls, rows: Sequence[Sequence[int]]) -> Sequences:
        """Whole texts: all but the first token, which nothing precedes, is learned."""
        lengths = np.array([len(row) for row in rows], np.int64)
        flat = np.concatenate([np.asarray(row, np.int32) for row in rows])
        return cls(flat, np.concatenate([[0], lengths.cumsum()]), np.ones_like(lengths))

    @classmethod
    def of_samples(cls, table: pa.Table) -> Sequences:
        """Samples of a model: what comes after the prompt is learned, and nothing is added."""
        flat, offsets = _flatten(table["input_ids"])
        responses = np.diff(_flatten(table["log_probs"])[1])
        return cls(flat.astype(np.int32, copy=False), offsets, np.diff(offsets) - responses)

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def learned(self) -> Array:
        """How many tokens of each sequence are learned, [N]."""
        return np.diff(self.offsets) - np.maximum(self.prompts, 1)

    def take(self, rows: Array) -> Sequences:
        """Some of the sequences, in the order of `rows`."""
        parts = [self.tokens[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        lengths = np.diff(self.offsets)[rows]
        flat = np.concatenate(parts) if parts else self.tokens[:0]
        return Sequences(flat, np.concatenate([[0], lengths.cumsum()]), self.prompts[rows])

    def padded(self, rows: Array, pad: int) -> dict[str, Tensor]:
        """A batch padded on the right: `input_ids`, `labels` and `attention_mask`, each [B, L]."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        place = np.arange(lengths.max())[None, :]
        inside = place < lengths[:, None]
        # Places of the flat buffer; padding takes the first token and is overwritten.
        index = np.where(inside, self.offsets[rows][:, None] + place, 0)
        ids = np.where(inside, self.tokens[index], pad).astype(np.int64)
        learned = inside & (place >= np.maximum(self.prompts[rows], 1)[:, None])
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(np.where(learned, ids, IGNORED)),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
        }

    def packed(self, rows: Array, pad: int, width: int) -> dict[str, Tensor]:
        """The same batch with several sequences to a row: `input_ids`, `labels`, `position_ids`.

        Positions start anew with every sequence, which is how attention knows where one ends;
        each is [R, L] with L <= `width`.
        """
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        places = first_fit(lengths, width)
        ends = [start + int(n) for (_, start), n in zip(places, lengths, strict=True)]
        shape = (max(line for line, _ in places) + 1, max(ends))
        ids, labels = np.full(shape, pad, np.int64), np.full(shape, IGNORED, np.int64)
        positions = np.zeros(shape, np.int64)
        for row, (line, start), length in zip(rows, places, lengths, strict=True):
            where = slice(start, start + int(length))
            ids[line, where] = self.tokens[self.offsets[row] : self.offsets[row + 1]]
            positions[line, where] = np.arange(length)
            # Neither the prompt is learned nor a first token, which nothing precedes.
            skipped = start + max(int(self.prompts[row]), 1)
            labels[line, skipped : where.stop] = ids[line, skipped : where.stop]
        named = {"input_ids": ids, "labels": labels, "position_ids": positions}
        return {name: torch.from_numpy(array) for name, array in named.items()}


def first_fit(lengths: Array, width: int) -> list[tuple[int, int]]:
    """(row, column) of each sequence: the longest first, each into the first row with room."""
    rows: list[int] = []
    places: dict[int, tuple[int, int]] = {}
    for item in np.argsort(-lengths, kind="stable"):
        need = int(lengths[item])
        line = next((i for i, used in enumerate(rows) if used + need <= width), len(rows))
        if line == len(rows):
            rows.append(0)
        places[int(item)] = (line, rows[line])
        rows[line] += need
    return [places[i] for i in range(len(lengths))]


def _flatten(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.generic], Array]:
    """Values and offsets of a list column, whatever its chunks."""
    kind = pa.large_list(column.type.value_type)
    whole = column.cast(kind).combine_chunks()
    offsets = np.asarray(whole.offsets, np.int64)
    return whole.values.to_numpy(zero_copy_only=False), offsets


@dataclass(frozen=True)
class Collator:
    """Makes a batch of the rows that a trainer asks for, as `{"row": index}` each."""

    sequences: Sequences
    pad: int
    width: int | None = None
    """Tokens of a packed row; None pads instead."""

    def __call__(self, examples: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        rows = np.array([example["row"] for example in examples], np.int64)
        if self.width is None:
            return self.sequences.padded(rows, self.pad)
        return self.sequences.packed(rows, self.pad, self.width)


def shuffled(count: int, total: int, generator: np.random.Generator) -> Array:
    """`total` row numbers: one permutation of `count` rows after the other."""
    epochs = -(-total // count)
    return np.concatenate([generator.permutation(count) for _ in range(epochs)])[:total]


class InOrder(Sampler[int]):
    """Rows in a given order."""

    def __init__(self, order: Array) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())

    def __len__(self) -> int:
        return len(self.order)


def tokens_seen(sequences: Sequences, order: Array) -> int:
    """Tokens that a training passes through the model."""
    return int(np.diff(sequences.offsets)[order].sum())
