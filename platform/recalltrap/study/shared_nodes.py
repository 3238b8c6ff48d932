"""Equal nodes as one object, however many cells are made of them."""

from __future__ import annotations

from typing import Any

from recalltrap.graph import Cell, Node


class Sharing:
    """Makes cells share the nodes that they have in common, which are then hashed once.

    Equal nodes are found by their configurations being one object (`recalltrap.settings_parts`).
    """

    def __init__(self) -> None:
        self._nodes: dict[tuple[Any, ...], Node] = {}

    def cell(self, cell: Cell) -> Cell:
        """The same cell, of shared nodes."""
        met: dict[int, Node] = {}  # a node is the parent of several
        models = {name: self._node(node, met) for name, node in cell.models.items()}
        judges = {name: self._node(node, met) for name, node in cell.assessments.items()}
        return cell.with_nodes(models, judges)

    def _node(self, node: Node, met: dict[int, Node]) -> Node:
        found = met.get(id(node))
        if found is None:
            parents = {name: self._node(parent, met) for name, parent in node.parents.items()}
            facts = (node.stage, node.seed, node.version, node.length_field)
            key = (*facts, id(node.config), *parents, *map(id, parents.values()))
            found = self._nodes.get(key)
            if found is None:
                found = self._nodes[key] = node.with_parents(parents)
            met[id(node)] = found
        return found
