"""Batches: what is padded, what is learned, and that packing changes nothing but the layout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from recalltrap.streams import stream
from recalltrap_studies.llm.data.token_sequences import (
    IGNORED,
    Collator,
    InOrder,
    Sequences,
    first_fit,
    shuffled,
)

PAD, EOS = 1, 0
ROWS = [[5, 6, 7, EOS], [5, 8], [5, 9, 9, 9, 9, EOS], [5, 6, EOS]]


def test_padding_is_never_learned_and_eos_is() -> None:
    batch = Sequences.of_lists(ROWS).padded(np.array([0, 1]), PAD)
    assert batch["input_ids"].tolist() == [[5, 6, 7, EOS], [5, 8, PAD, PAD]]
    assert batch["labels"].tolist() == [
        [IGNORED, 6, 7, EOS],
        [IGNORED, 8, IGNORED, IGNORED],
    ]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_a_prompt_is_never_learned_and_a_cut_response_gets_no_eos() -> None:
    whole = Sequences.of_lists([[5, 6, 7, EOS], [5, 6, 8, 9, 9]])
    sequences = replace(whole, prompts=np.full(2, 2, np.int32))
    labels = sequences.padded(np.array([0, 1]), PAD)["labels"]
    assert labels.tolist() == [
        [IGNORED, IGNORED, 7, EOS, IGNORED],
        [IGNORED, IGNORED, 8, 9, 9],
    ]
    assert sequences.learned.tolist() == [2, 3]


def test_taken_rows_are_those_rows() -> None:
    rows = np.array([2, 0, 2])
    taken = Sequences.of_lists(ROWS).take(rows)
    expected = Sequences.of_lists(ROWS).padded(rows, PAD)
    for name, tensor in taken.padded(np.arange(3), PAD).items():
        torch.testing.assert_close(tensor, expected[name])
    assert taken.tokens is taken.take(np.array([1])).tokens  # none is copied


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_the_type_that_tokens_are_kept_in_changes_no_batch(kind: type[np.integer]) -> None:
    wide = Sequences.of_lists(ROWS)
    narrow, rows = replace(wide, tokens=wide.tokens.astype(kind)), np.arange(len(ROWS))
    for batch, expected in (
        (narrow.padded(rows, 300), wide.padded(rows, 300)),
        (narrow.packed(rows, 300, 9), wide.packed(rows, 300, 9)),
    ):
        for name, tensor in batch.items():
            assert tensor.dtype == torch.int64
            assert torch.equal(tensor, expected[name])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_packed_sequences_fit_and_do_not_overlap(lengths: list[int]) -> None:
    places = first_fit(np.array(lengths), 9)
    taken = [
        (line, column + i)
        for (line, column), n in zip(places, lengths, strict=True)
        for i in range(n)
    ]
    assert len(set(taken)) == sum(lengths)
    assert max(column for _, column in taken) < 9


def test_packing_gives_the_same_losses(tiny_model: PreTrainedModel) -> None:
    generator = np.random.default_rng(0)
    rows = [[int(t) for t in generator.integers(2, 100, n)] for n in (5, 12, 3, 9, 7)]
    sequences, order = Sequences.of_lists(rows), np.arange(5)
    padded, packed = sequences.padded(order, PAD), sequences.packed(order, PAD, 16)
    assert packed["input_ids"].shape[0] < 5

    def losses(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = batch["labels"]
        inputs = {k: v for k, v in batch.items() if k != "labels"}
        with torch.no_grad():
            log_probs = tiny_model(**inputs, use_cache=False).logits[:, :-1].log_softmax(-1)
        learned = labels[:, 1:] != IGNORED
        targets = labels[:, 1:].clamp(min=0)[..., None]
        found: torch.Tensor = log_probs.gather(-1, targets)[..., 0][learned].sort().values
        return found

    torch.testing.assert_close(losses(packed), losses(padded))


def test_the_collator_finds_rows_by_number() -> None:
    sequences = Sequences.of_lists(ROWS)
    batch = Collator(sequences, PAD)([{"row": 3}, {"row": 1}])
    expected = sequences.padded(np.array([3, 1]), PAD)
    assert batch["input_ids"].tolist() == expected["input_ids"].tolist()


def test_an_order_goes_through_all_rows_before_it_repeats_one() -> None:
    order = shuffled(7, 24, stream(0, "test/order"))
    assert [sorted(order[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
    assert len(set(order[21:])) == 3
    assert list(InOrder(order)) == order.tolist()
    assert order[:7].tolist() != order[7:14].tolist()


@pytest.mark.parametrize(("count", "bytes_each"), [(7, 1), (256, 1), (257, 2), (70_000, 4)])
def test_an_order_is_of_the_numbers_that_permutations_are(count: int, bytes_each: int) -> None:
    """In the smallest type that holds them, and through `InOrder` in pieces."""
    total = 2 * count + 3
    order, random = shuffled(count, total, stream(0, "test/order")), stream(0, "test/order")
    expected = np.concatenate([random.permutation(count) for _ in range(3)])[:total]
    assert order.itemsize == bytes_each
    assert list(InOrder(order)) == expected.tolist()
