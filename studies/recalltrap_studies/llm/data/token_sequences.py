"""Token sequences in one flat buffer, and the batches that are cut from it.

Rows are found by index, so the order of training is a list of numbers: the same for every number
of workers, and cheap to go on from in the middle. Shape suffixes: B sequences, R packed rows,
L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

IGNORED = -100
"""The label of a token that isn't learned."""
PLACES = "places"
"""What a batch calls, of every learned token, its number among those of all sequences."""
PIECE = 1 << 16
"""Rows of an order that are looked at at once."""
Array = npt.NDArray[np.int64]
Order = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Sequences:
    """N sequences of token ids; `prompts` says how many tokens of each aren't learned.

    All arrays may be maps of files (`sample_shards.map_sequences`): what a batch doesn't ask for
    takes no memory.
    """

    tokens: npt.NDArray[np.integer[Any]]  # [total], of any integer type
    starts: Array  # [N], places in `tokens`
    lengths: npt.NDArray[np.int32]  # [N]
    prompts: npt.NDArray[np.int32]  # [N]

    @classmethod
    def of_lists(
        cls, rows: Sequence[Sequence[int]], prompts: Sequence[int] | None = None
    ) -> Sequences:
        """Texts after prompts of so many tokens; whole ones without: all but the first token,
        which nothing precedes, is learned."""
        lengths = np.array([len(row) for row in rows], np.int32)
        flat = np.concatenate([np.asarray(row, np.int32) for row in rows])
        before = np.ones_like(lengths) if prompts is None else np.array(prompts, np.int32)
        return cls(flat, starts_of(lengths), lengths, before)

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def learned(self) -> Array:
        """How many tokens of each sequence are learned, [N]."""
        return np.asarray(self.lengths - np.maximum(self.prompts, 1), np.int64)

    @cached_property
    def learned_starts(self) -> Array:
        """The number of each sequence's first learned token among those of all, [N]."""
        return starts_of(self.learned)

    def take(self, rows: Order) -> Sequences:
        """Some of the sequences, in the order of `rows`; their tokens stay where they are."""
        return Sequences(self.tokens, self.starts[rows], self.lengths[rows], self.prompts[rows])

    def row(self, index: int) -> npt.NDArray[np.integer[Any]]:
        """One sequence."""
        start = int(self.starts[index])
        return self.tokens[start : start + int(self.lengths[index])]

    def padded(self, rows: Order, pad: int, *, numbered: bool = False) -> dict[str, Tensor]:
        """A batch padded on the right: `input_ids`, `labels` and `attention_mask`, each [B, L];
        where `numbered`, also `places`."""
        lengths = self.lengths[rows]
        place = np.arange(lengths.max())[None, :]
        inside = place < lengths[:, None]
        # Places of the flat buffer; padding takes the first token and is overwritten.
        index = np.where(inside, self.starts[rows][:, None] + place, 0)
        ids = np.where(inside, self.tokens[index].astype(np.int64), pad)
        learned = inside & (place >= np.maximum(self.prompts[rows], 1)[:, None])
        batch = {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(np.where(learned, ids, IGNORED)),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
        }
        if numbered:
            first = self.learned_starts[rows] - np.maximum(self.prompts[rows], 1)
            batch[PLACES] = torch.from_numpy(np.where(learned, first[:, None] + place, 0))
        return batch

    def packed(
        self, rows: Order, pad: int, width: int, *, numbered: bool = False
    ) -> dict[str, Tensor]:
        """The same batch with several sequences to a row: `input_ids`, `labels`, `position_ids`.

        Positions start anew with every sequence, which is how attention knows where one ends;
        each is [R, L] with L <= `width`.
        """
        lengths = self.lengths[rows]
        places = first_fit(lengths, width)
        ends = [start + int(n) for (_, start), n in zip(places, lengths, strict=True)]
        shape = (max(line for line, _ in places) + 1, max(ends))
        ids, labels = np.full(shape, pad, np.int64), np.full(shape, IGNORED, np.int64)
        positions, numbers = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, (line, start), length in zip(rows, places, lengths, strict=True):
            where = slice(start, start + int(length))
            ids[line, where] = self.row(row)
            positions[line, where] = np.arange(length)
            # Neither the prompt is learned nor a first token, which nothing precedes.
            skipped = start + max(int(self.prompts[row]), 1)
            labels[line, skipped : where.stop] = ids[line, skipped : where.stop]
            if numbered:
                first = self.learned_starts[row]
                numbers[line, skipped : where.stop] = first + np.arange(where.stop - skipped)
        named = {"input_ids": ids, "labels": labels, "position_ids": positions}
        named |= {PLACES: numbers} if numbered else {}
        return {name: torch.from_numpy(array) for name, array in named.items()}


def first_fit(lengths: npt.NDArray[np.integer[Any]], width: int) -> list[tuple[int, int]]:
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


def starts_of(lengths: npt.NDArray[np.integer[Any]]) -> Array:
    """Where sequences of these lengths begin, one after the other, [N]."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths


@dataclass(frozen=True)
class Collator:
    """Makes a batch of the rows that a trainer asks for, as `{"row": index}` each."""

    sequences: Sequences
    pad: int
    width: int | None = None
    """Tokens of a packed row; None pads instead."""
    numbered: bool = False
    """Whether batches say which learned tokens they have: see `PLACES`."""

    def __call__(self, examples: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        return self.batch(np.array([example["row"] for example in examples], np.int64))

    def batch(self, rows: Order) -> dict[str, Tensor]:
        """Some rows as a batch."""
        if self.width is None:
            return self.sequences.padded(rows, self.pad, numbered=self.numbered)
        return self.sequences.packed(rows, self.pad, self.width, numbered=self.numbered)


@dataclass(frozen=True)
class BesideCollator:
    """Makes a batch of rows of two sets: those of `first`, and below them those of `second`."""

    first: Sequences
    second: Sequences
    pad: int
    numbered: bool = False

    def __call__(self, examples: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        rows = np.array([example["row"] for example in examples], np.int64)
        above, below = (
            part.padded(rows, self.pad, numbered=self.numbered)
            for part in (self.first, self.second)
        )
        width = max(part["input_ids"].shape[1] for part in (above, below))
        fill = {"input_ids": self.pad, "labels": IGNORED, "attention_mask": 0}
        fill |= {PLACES: 0} if self.numbered else {}
        return {
            name: torch.cat([_widened(part[name], width, value) for part in (above, below)])
            for name, value in fill.items()
        }


def _widened(rows_BL: Tensor, width: int, value: int) -> Tensor:
    return torch.nn.functional.pad(rows_BL, (0, width - rows_BL.shape[1]), value=value)


def shuffled(count: int, total: int, generator: np.random.Generator) -> Order:
    """`total` row numbers: one permutation of `count` rows after the other.

    Of the smallest type that holds them: every worker has the order of all rows.
    """
    order = np.empty(total, np.min_scalar_type(max(count - 1, 0)))
    for start in range(0, total, count):
        part = order[start : start + count]
        part[:] = generator.permutation(count)[: len(part)]
    return order


class InOrder(Sampler[int]):
    """Rows in a given order."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        # In pieces: as Python's numbers they all take five times as much.
        for start in range(0, len(self.order), PIECE):
            yield from self.order[start : start + PIECE].tolist()

    def __len__(self) -> int:
        return len(self.order)


def tokens_seen(sequences: Sequences, order: Order) -> int:
    """Tokens that a training passes through the model."""
    pieces = range(0, len(order), PIECE)
    return sum(int(sequences.lengths[order[at : at + PIECE]].sum()) for at in pieces)
