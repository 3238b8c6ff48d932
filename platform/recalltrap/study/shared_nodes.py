"""Equal nodes as one object, however many cells are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recalltrap.graph import Cell, Node


class Sharing:
    """Makes cells share the nodes that they have in common, which are then hashed once.

    `seeds` are all that the cells will have.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = seeds
        self._nodes: dict[str, Node] = {}
        self._columns: dict[str, list[Node]] = {}

    def cell(self, cell: Cell) -> Cell:
        """The same cell, of shared nodes."""
        models = {name: self._node(node) for name, node in cell.models.items()}
        judges = {name: self._node(node) for name, node in cell.assessments.items()}
        return cell.of_seed(cell.seed, models, judges)

    def cells(self, cell: Cell) -> list[Cell]:
        """A cell of the first seed for every seed, where seeds are all that its nodes differ in."""
        assert cell.seed == self._seeds[0]
        models, judges = self._rows(cell.models), self._rows(cell.assessments)
        return [cell.of_seed(*row) for row in zip(self._seeds, models, judges, strict=True)]

    def _node(self, node: Node) -> Node:
        found = self._nodes.get(node.id)
        if found is None:
            parents = {name: self._node(parent) for name, parent in node.parents.items()}
            found = self._nodes[node.id] = node.of_seed(node.seed, parents)
        return found

    def _rows(self, nodes: Mapping[str, Node]) -> list[dict[str, Node]]:
        """For each seed its nodes in place of these."""
        columns = [self._column(node) for node in nodes.values()]
        return [
            dict(zip(nodes, row, strict=True))
            for _, *row in zip(self._seeds, *columns, strict=True)
        ]

    def _column(self, node: Node) -> list[Node]:
        """The node for each seed."""
        column = self._columns.get(node.id)
        if column is None:
            rows = zip(self._seeds, self._rows(node.parents), strict=True)
            column = self._columns[node.id] = [node.of_seed(*row) for row in rows]
        return column
