"""Nodes and cells: what they are known by, and who comes before whom."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from toy_kind import KIND, ToySettings

from recalltrap.graph import Cell, Node, ancestry
from recalltrap.identity import canonical_json, fingerprint
from recalltrap.orderings import STANDARD, Ordering

NODE = Node("align", 1, {"kl_weight": 1.0, "iterations": 10}, length_field="iterations")


def test_what_decides_a_node_is_its_identity() -> None:
    changed = [
        replace(NODE, stage="distill"),
        replace(NODE, seed=2),
        replace(NODE, config={"kl_weight": 2.0, "iterations": 10}),
        replace(NODE, config={"kl_weight": 1.0, "iterations": 11}),
        replace(NODE, parents={"start": Node("sft", 1, {})}),
        replace(NODE, parents={"start": Node("sft", 2, {})}),
        replace(NODE, version=2),
    ]
    assert len({node.id for node in [NODE, *changed]}) == len(changed) + 1
    assert replace(NODE, config={"iterations": 10, "kl_weight": 1.0}).id == NODE.id
    assert replace(NODE, length_field=None).id == NODE.id


@given(
    st.text(max_size=5),
    st.integers(-(2**40), 2**40),
    st.dictionaries(st.text(max_size=4), st.none() | st.booleans() | st.integers() | st.text()
                    | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.integers())),
    st.integers(1, 99),
    st.booleans(),
)  # fmt: skip
def test_a_node_is_hashed_as_its_identity_is_spelled(
    stage: str, seed: int, config: dict[str, Any], version: int, has_parent: bool
) -> None:
    parents = {"start": NODE} if has_parent else {}
    node = Node(stage, seed, config, parents, version)
    assert node.hashed == canonical_json(node.identity)
    assert node.hashed == canonical_json({**node.identity, "config": dict(config)})
    assert json.loads(node.hashed) == node.identity
    moved = node.of_seed(seed, dict(parents))
    assert moved == node
    assert moved.id == node.id
    other = node.of_seed(seed + 1, parents)
    assert other == replace(node, seed=seed + 1)
    assert other.id != node.id


@given(
    st.text(min_size=1, max_size=4),
    st.lists(
        st.sampled_from(["distill", "align", {"distill": 'by "\u00e4"'}]), min_size=1, max_size=9
    ),
    st.text(max_size=5),
    st.integers(-(2**40), 2**40),
    st.sets(st.text(max_size=4)),
    st.sets(st.text(max_size=4)),
    st.none() | st.frozensets(st.sampled_from(list(ToySettings.model_fields))),
)
def test_a_cell_is_hashed_as_its_identity_is_spelled(
    name: str, stages: list[Any], kind: str, seed: int, models: set[str], judged: set[str],
    decides: frozenset[str] | None,
) -> None:  # fmt: skip
    ordering = Ordering.model_construct(name=name, stages=Ordering(name="x", stages=stages).stages)
    nodes = {model: replace(NODE, seed=i) for i, model in enumerate(models)}
    judges = {model: replace(NODE, stage="assess", seed=i) for i, model in enumerate(judged)}
    cell = Cell(kind, ordering, seed, ToySettings(), nodes, 2, judges, decides)
    assert cell.id == fingerprint(cell.identity)
    assert cell.id == fingerprint(json.loads(canonical_json(cell.identity)))
    assert cell.of_seed(seed, nodes, judges) == cell
    assert cell.of_seed(seed + 1, nodes, judges) == replace(cell, seed=seed + 1)


def test_the_order_of_parents_counts() -> None:
    start, reference = Node("sft", 0, {}), Node("distill", 0, {})
    assert (
        replace(NODE, parents={"start": start, "reference": reference}).id
        != replace(NODE, parents={"start": reference, "reference": start}).id
    )


def test_a_family_is_all_seeds_and_lengths_of_one_setting() -> None:
    longer = replace(NODE, config={"kl_weight": 1.0, "iterations": 99})
    stronger = replace(NODE, config={"kl_weight": 2.0, "iterations": 10})
    assert NODE.family == longer.family == replace(NODE, seed=7).family != stronger.family
    assert (NODE.length, longer.length) == (10, 99)
    child, other = (Node("distill", 0, {}, {"teacher": parent}) for parent in (NODE, stronger))
    assert child.family != other.family


def test_ancestry_has_parents_first_and_everything_once() -> None:
    cells = [KIND.cell(Ordering.model_validate(name), ToySettings(), 0) for name in STANDARD]
    nodes = ancestry([node for one in cells for node in one.models.values()])
    position = {node.id: index for index, node in enumerate(nodes)}
    assert len(position) == len(nodes)
    assert all(position[p.id] < position[node.id] for node in nodes for p in node.parents.values())


def test_the_record_of_a_node_is_its_hashed_bytes() -> None:
    assert NODE.hashed.decode() == (
        '{"config":{"iterations":10,"kl_weight":1.0},"parents":[],"seed":1,"stage":"align",'
        '"version":1}'
    )


def test_a_node_is_as_it_was_after_its_journey_to_a_worker() -> None:
    node = Node("distill", 0, {"rate": 0.1}, {"teacher": NODE})
    names = (node.id, node.family, node.execution, node.hashed)
    arrived = pickle.loads(pickle.dumps(node))
    assert arrived == node
    assert (arrived.id, arrived.family, arrived.execution, arrived.hashed) == names
