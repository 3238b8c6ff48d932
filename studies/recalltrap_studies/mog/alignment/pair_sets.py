"""The fixed pairs of offline DPO, in an order that is drawn anew for every epoch.

An order is a function of the row's key and the epoch, so it depends on no other row, and a longer
execution sees the same minibatches as a shorter one. Legend: R rows, C pairs of a set, N a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap_studies.mog.alignment.pairs import Pairs
from recalltrap_studies.mog.program.noise import Noise, threefry


def in_pairs(noise: Tensor) -> Noise:
    """Noise [planes, R, 2C] arranged for `pairs.labelled_pairs`: all first samples, all second.

    Samples 2i and 2i + 1 make pair i, so that a smaller set is the beginning of a larger one.
    """
    planes, rows, count = noise.shape
    pairs = noise.reshape(planes, rows, count // 2, 2).transpose(2, 3)
    return Noise(*pairs.reshape(planes, rows, count))


def order(key_R2: Tensor, epoch: int, count: int) -> Tensor:
    """A random order of `count` pairs for each row, int64 [R, count].

    Random words are sorted, each with its index in the low bits: no two are equal, so the order
    doesn't depend on how a device sorts.
    """
    drawn = torch.arange((count + 1) // 2, dtype=torch.int32, device=key_R2.device)
    turn = torch.full_like(drawn, epoch)
    words = threefry((key_R2[:, 0:1], key_R2[:, 1:2]), (drawn, turn))
    word_RC = torch.cat(words, 1)[:, :count].to(torch.int64)
    tagged = (word_RC << 32) | torch.arange(count, device=key_R2.device)
    if tagged.device.type == "cpu":
        tagged.numpy().sort(axis=1)  # ten times faster than torch's
    else:
        tagged = torch.sort(tagged, dim=1).values
    return tagged & 0xFFFFFFFF


class PairSet:
    """A fixed set of pairs, reshuffled for every epoch.

    The epochs follow each other without a gap: a minibatch at the end of one is filled up from the
    next, so every pair is used once an epoch whatever the set's size.
    """

    def __init__(self, pairs: Pairs, key_R2: Tensor, batch: int) -> None:
        rows, self.count = pairs.sign.shape
        self.batch, self.key = batch, key_R2
        halves = (t.reshape(rows, 2, self.count) for t in (pairs.x, pairs.y))
        columns = (pairs.delta_ref[:, None], pairs.sign[:, None])
        self.table = torch.cat([*halves, *columns], 1)  # [R, 6, C]
        self._orders: dict[int, Tensor] = {}

    def minibatch(self, iteration: int) -> Pairs:
        """The pairs of one iteration."""
        # the orders of all epochs make one long row, of which this is the next batch
        begin = iteration * self.batch
        first, last = begin // self.count, (begin + self.batch - 1) // self.count
        orders = self._epochs(first, last)
        chosen = orders[:, begin - first * self.count :][:, : self.batch]
        rows = len(chosen)
        taken = self.table.gather(2, chosen[:, None].expand(rows, 6, self.batch))
        x, y = (taken[:, i : i + 2].reshape(rows, 2 * self.batch) for i in (0, 2))
        return Pairs(x, y, taken[:, 4], taken[:, 5])

    def _epochs(self, first: int, last: int) -> Tensor:
        """The orders of consecutive epochs, one after the other; earlier ones are forgotten."""
        kept = range(first, last + 1)
        self._orders = {
            epoch: self._orders[epoch]
            if epoch in self._orders
            else order(self.key, epoch, self.count)
            for epoch in kept
        }
        orders = list(self._orders.values())
        return orders[0] if len(orders) == 1 else torch.cat(orders, 1)
