"""Cells of a study share their nodes."""

from __future__ import annotations

from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.registry import find_kind
from recalltrap.study.shared_nodes import Sharing


def make(ordering: str, seed: int) -> Cell:
    kind = find_kind("mog")
    return kind.cell(Ordering.model_validate(ordering), kind.settings(), seed)


def check_shared(shared: list[Cell], plain: list[Cell]) -> None:
    """The same cells, each of their nodes one object."""
    assert [one.id for one in shared] == [one.id for one in plain]
    assert [one.identity for one in shared] == [one.identity for one in plain]
    nodes = [node for one in shared for node in one.nodes]
    assert len({id(node) for node in nodes}) == len({node.id for node in nodes}) < len(nodes)
    assert [node.hashed for node in nodes] == [node.hashed for one in plain for node in one.nodes]


def test_cells_share_the_nodes_that_they_have_in_common() -> None:
    sharing = Sharing((0, 1))
    plain = [make(name, seed) for name in ("K-A", "A-K") for seed in (0, 1)]
    check_shared([sharing.cell(one) for one in plain], plain)


def test_the_cells_of_a_setting_share_theirs_with_those_of_others() -> None:
    seeds = (3, 0, 7)
    sharing = Sharing(seeds)
    plain = [make(name, seed) for name in ("K-A", "A-K") for seed in seeds]
    check_shared([*sharing.cells(make("K-A", 3)), *sharing.cells(make("A-K", 3))], plain)
