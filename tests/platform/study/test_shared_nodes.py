"""Cells of a study share their nodes."""

from __future__ import annotations

from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.registry import find_kind
from recalltrap.study.shared_nodes import Sharing


def make(ordering: str, seed: int) -> Cell:
    kind = find_kind("mog")
    return kind.cell(Ordering.model_validate(ordering), kind.settings(), seed)


def test_cells_share_the_nodes_that_they_have_in_common() -> None:
    sharing = Sharing()
    plain = [make(name, seed) for name in ("K-A", "A-K") for seed in (0, 1)]
    shared = [sharing.cell(one) for one in plain]
    assert [one.id for one in shared] == [one.id for one in plain]
    nodes = [node for one in shared for node in one.nodes]
    assert len({id(node) for node in nodes}) == len({node.id for node in nodes}) < len(nodes)
    assert {node.id for node in nodes} == {node.id for one in plain for node in one.nodes}
