"""Figures of stored mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recalltrap_analysis.mixture.contours import typical_pair
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


def test_the_typical_seed_is_the_median_one(make_run: MakeRun) -> None:
    summary = summarize(make_run(order_effect=lambda p: 0.1 * p["kl_weight"], seeds=9, noise=0.05))
    found = typical_pair(summary.pairs, summary.order_effect)
    assert found is not None
    point, seed = found
    assert point == (2.0,)
    rows = summary.pairs[[p == point for p in summary.pairs["point"]]].set_index("seed")
    assert rows["order_effect"][seed] == rows["order_effect"].median()
