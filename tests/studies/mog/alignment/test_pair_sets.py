"""The fixed pairs of offline DPO: every pair once an epoch, in an order that changes."""

from __future__ import annotations

import pytest
import torch

from recalltrap.streams import key
from recalltrap_studies.mog.alignment.pair_sets import PairSet, in_pairs, order
from recalltrap_studies.mog.alignment.pairs import Pairs
from recalltrap_studies.mog.program.noise import NOISY_PLANES, draw


def keys(*seeds: int) -> torch.Tensor:
    words = torch.tensor([key(seed, "align/shuffle").view("int32").tolist() for seed in seeds])
    return words.to(torch.int32)


def pairs(rows: int, count: int) -> Pairs:
    """Pair i has x = i and -i, y = i + 0.5 and -i - 0.5, delta_ref = 10 i."""
    index = torch.arange(count, dtype=torch.float32).expand(rows, count)
    x, y = torch.cat([index, -index], 1), torch.cat([index + 0.5, -index - 0.5], 1)
    return Pairs(x, y, 10 * index, torch.ones(rows, count))


@pytest.mark.parametrize("count", [2, 7, 64, 1001])
def test_an_order_is_a_permutation_that_changes_with_epoch_and_row(count: int) -> None:
    orders = [order(keys(0, 1), epoch, count) for epoch in range(3)]
    for found in orders:
        assert torch.equal(found.sort(1).values, torch.arange(count).expand(2, count))
    if count > 7:
        assert not torch.equal(orders[0], orders[1])
        assert not torch.equal(orders[0][0], orders[0][1])
    assert torch.equal(order(keys(1), 2, count)[0], orders[2][1])


@pytest.mark.slow
def test_an_order_is_uniform() -> None:
    """Each of five pairs is first in a fifth of 2000 orders, and the first two are independent."""
    orders = torch.stack([order(keys(3), epoch, 5)[0] for epoch in range(2000)])
    first = torch.bincount(orders[:, 0] * 5 + orders[:, 1], minlength=25).reshape(5, 5)
    assert (first.diagonal() == 0).all()
    expected = 2000 / 20
    chi = ((first[~torch.eye(5, dtype=torch.bool)] - expected) ** 2 / expected).sum()
    assert chi < 44  # 0.1 % of a chi-squared with 19 degrees of freedom


@pytest.mark.parametrize(("count", "batch"), [(64, 16), (70, 16), (5, 16), (16, 16), (2, 7)])
def test_every_pair_is_used_once_an_epoch(count: int, batch: int) -> None:
    found = PairSet(pairs(2, count), keys(0, 1), batch)
    drawn = torch.cat([found.minibatch(i).delta_ref for i in range(3 * count)], 1) / 10
    epochs = drawn.reshape(2, -1, count)
    assert torch.equal(
        epochs.sort(2).values, torch.arange(float(count)).expand(2, epochs.shape[1], count)
    )


def test_a_pair_stays_together() -> None:
    batch = PairSet(pairs(2, 70), keys(0, 1), 16).minibatch(4)  # goes over an epoch's end
    first = batch.delta_ref / 10
    assert torch.equal(batch.x, torch.cat([first, -first], 1))
    assert torch.equal(batch.y, torch.cat([first + 0.5, -first - 0.5], 1))


def test_minibatches_do_not_depend_on_what_was_asked_before() -> None:
    straight, jumping = (PairSet(pairs(1, 70), keys(4), 16) for _ in range(2))
    expected = [straight.minibatch(i).delta_ref for i in range(30)]
    for i in (29, 3, 4, 17):
        assert torch.equal(jumping.minibatch(i).delta_ref, expected[i])


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    start = torch.tensor(0, dtype=torch.int32)
    small, large = (
        in_pairs(draw(keys(0, 1), start, 1, 2 * count, NOISY_PLANES)[0]) for count in (10, 64)
    )
    for few, many in zip(small, large, strict=True):
        assert few is not None
        assert many is not None
        assert torch.equal(few.reshape(2, 2, 10), many.reshape(2, 2, 64)[:, :, :10])
