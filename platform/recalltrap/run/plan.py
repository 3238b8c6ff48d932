"""From a study to work: what is done, what is cached, what is shared, and the packs to run.

A pure function of the study and of what the storage holds. A stage that several packs want
becomes a pack of its own and runs first; everything else is built where it is needed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from recalltrap.garbage import uncollected
from recalltrap.graph import Cell, Node, ancestry
from recalltrap.identity import fingerprint
from recalltrap.kind import CostEstimate, StudyKind
from recalltrap.registry import find_kind
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study import Study

FEW_PACKS = 24
"""Up to so many settings a trial each, so that Tune's results read naturally."""
PACK_SECONDS = 6.0
"""A trial costs about 0.1 s and a worker's start some seconds: shorter settings share a trial."""
EVALUATION_SECONDS = 0.01
"""What evaluating a cell takes, about."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pack:
    """What one trial does: build `nodes`, then evaluate `cells` (none for a shared reference)."""

    nodes: tuple[Node, ...]
    cells: tuple[Cell, ...]
    needs: frozenset[str]
    config: dict[str, Any]
    """What a person reads in Tune's results: ordering and factors, or the shared stage."""

    @cached_property
    def id(self) -> str:
        return fingerprint([[cell.id for cell in self.cells], [node.id for node in self.nodes]])

    @property
    def seeds(self) -> list[int]:
        return sorted({cell.seed for cell in self.cells} | {node.seed for node in self.nodes})

    @cached_property
    def name(self) -> str:
        """Short and readable, for progress and messages."""
        if not self.cells:
            whose = self.config.get("ordering", "shared")
            return f"{self.config['stage']} ({whose})"
        orderings = sorted({cell.ordering.name for cell in self.cells})
        return " ".join([*orderings, *(f"{k}={v}" for k, v in self.config["factors"].items())])


@dataclass(frozen=True)
class Plan:
    """A study's cells and the packs that the missing ones need, parents first."""

    study: Study
    cells: tuple[Cell, ...]
    done: frozenset[str]
    packs: tuple[Pack, ...]
    cached: tuple[Node, ...]
    """Artifacts in the store that the missing cells use as they are."""
    anew: frozenset[str] = frozenset()
    """Missing cells that have rows under the name that an earlier version gave them."""
    notes: tuple[str, ...] = ()
    """What the user should know before it starts."""

    @property
    def todo(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.id not in self.done]

    @cached_property
    def users(self) -> dict[str, int]:
        """For each artifact, how many of the plan's cells use it."""
        count: dict[str, int] = defaultdict(int)
        for cell in self.cells:
            for node in cell.nodes:
                count[node.id] += 1
        return dict(count)

    def builds(self) -> list[Node]:
        """Every stage execution of the plan."""
        return [node for pack in self.packs for node in pack.nodes]


@uncollected()
def make_plan(study: Study, kind: StudyKind, store: ArtifactStore, done: Iterable[str]) -> Plan:
    """Plan the cells that are not done."""
    cells = study.cells()
    done = frozenset(done) & {cell.id for cell in cells}
    todo = [cell for cell in cells if cell.id not in done]
    wanted = _needed(todo)
    built = store.built(wanted)
    missing = _missing(todo, built)
    groups = [[cell] for cell in todo] if kind.grouped else _group_cells(todo, kind, missing)
    needed = [_needed(group) for group in groups]
    users: dict[str, set[int]] = defaultdict(set)
    for index, nodes in enumerate(needed):
        for node in nodes:
            users[node.id].add(index)
    shared = [node for node in wanted if node.id in missing and len(users[node.id]) > 1]
    packs = _packs_by_users(shared, users) if kind.grouped else _reference_packs(shared, kind)
    builder = {node.id: pack.id for pack in packs for node in pack.nodes}
    for group, nodes in zip(groups, needed, strict=True):
        own = tuple(node for node in nodes if node.id in missing and node.id not in builder)
        needs = frozenset(builder[node.id] for node in nodes if node.id in builder)
        packs.append(Pack(own, tuple(group), needs, _cell_config(group, study.axes)))
    cached = tuple(node for node in wanted if node.id in built)
    return Plan(study, tuple(cells), done, tuple(packs), cached)


def plan_references(study: Study, store: ArtifactStore) -> Plan:
    """Plan p' and p'' of every cell and nothing else: what a forecast needs."""
    cells = study.cells()
    wanted = ancestry([node for cell in cells for node in cell.references])
    built = store.built(wanted)
    missing = [node for node in wanted if node.id not in built]
    packs = _reference_packs(missing, find_kind(study.kind))
    cached = tuple(node for node in wanted if node.id in built)
    return Plan(study, tuple(cells), frozenset(), tuple(packs), cached)


def _needed(cells: Iterable[Cell]) -> list[Node]:
    """All that the cells need, each once, parents first."""
    return ancestry([node for cell in cells for node in cell.outputs])


def _group_cells(cells: Sequence[Cell], kind: StudyKind, missing: set[str]) -> list[list[Cell]]:
    """Cells by what is built together: all seeds of a setting, all lengths of one execution.

    Where there are more than FEW_PACKS of them, settings that take less than PACK_SECONDS are
    joined, those of one shape with each other first.
    """
    groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        families = (node.family for node in cell.models.values())
        groups[(cell.ordering.name, *families)].append(cell)
    if len(groups) <= FEW_PACKS:
        return list(groups.values())
    needed = [_needed(group) for group in groups.values()]
    users = Counter(node.id for nodes in needed for node in nodes)
    estimate = estimator(kind)
    alike: dict[tuple[str, str], list[tuple[list[Cell], float]]] = defaultdict(list)
    for group, nodes in zip(groups.values(), needed, strict=True):
        own = [node for node in nodes if node.id in missing and users[node.id] == 1]
        cost = _seconds(own, estimate) + EVALUATION_SECONDS * len(group)
        alike[group[0].ordering.name, kind.pack_shape(group[0])].append((group, cost))
    return _join_small([costed for same in alike.values() for costed in same])


def _join_small(
    groups: Sequence[tuple[Sequence[T], float]], least: float = PACK_SECONDS
) -> list[list[T]]:
    """Neighbours joined until each takes about `least` seconds, all about equally long.

    Groups come with the seconds that each takes. One that takes more by itself stays
    alone, and the order is kept.
    """
    total = sum(cost for _, cost in groups)
    share = total / max(1, round(total / least))
    joined: list[list[T]] = []
    taken = math.inf
    for group, cost in groups:
        if taken + cost / 2 > share:
            joined.append([])
            taken = 0.0
        joined[-1].extend(group)
        taken += cost
    return joined


def _seconds(nodes: Iterable[Node], estimate: Callable[[Node], CostEstimate]) -> float:
    """What building the nodes should take; an execution takes as long as its longest."""
    return sum(estimate(node).seconds for node in longest(nodes))


def estimator(kind: StudyKind) -> Callable[[Node], CostEstimate]:
    """The kind's estimate of a node; asked for once for all seeds, which cost the same."""
    known: dict[tuple[str, int], CostEstimate] = {}

    def estimate(node: Node) -> CostEstimate:
        key = (node.family, node.length)
        if key not in known:
            known[key] = kind.estimate(node)
        return known[key]

    return estimate


def longest(nodes: Iterable[Node]) -> list[Node]:
    """The nodes without those that a longer one of the same execution passes through."""
    found: dict[str, Node] = {}
    for node in nodes:
        name = node.execution if node.length_field else node.id
        if name not in found or found[name].length < node.length:
            found[name] = node
    return list(found.values())


def _missing(cells: Sequence[Cell], built: set[str]) -> set[str]:
    """What the store, which has built those, lacks of all that leads to an output that it lacks.

    An output that stands needs nothing of what it was made from: a checkpoint is not trained
    again because somebody removed its samples.
    """
    missing: set[str] = set()

    def visit(nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.id not in built and node.id not in missing:
                missing.add(node.id)
                visit(node.parents.values())

    for cell in cells:
        visit(cell.outputs)
    return missing


def _packs_by_users(shared: Sequence[Node], users: Mapping[str, set[int]]) -> list[Pack]:
    """One pack for all stages that the same packs wait for: a group of workers starts once."""
    groups: dict[frozenset[int], list[Node]] = defaultdict(list)
    for node in shared:  # parents come first
        groups[frozenset(users[node.id])].append(node)
    builder: dict[str, Pack] = {}
    packs = []
    # A parent's users hold its children's: the widest set comes first.
    for nodes in sorted(groups.values(), key=lambda nodes: -len(users[nodes[0].id])):
        parents = [parent.id for node in nodes for parent in node.parents.values()]
        needs = {builder[parent].id for parent in parents if parent in builder}
        stages = list(dict.fromkeys(node.stage for node in nodes))
        config = {"stage": "+".join(stages), "factors": {"seed": nodes[-1].seed}}
        pack = Pack(tuple(nodes), (), frozenset(needs), config)
        builder.update({node.id: pack for node in nodes})
        packs.append(pack)
    return packs


def _reference_packs(shared: Sequence[Node], kind: StudyKind) -> list[Pack]:
    """Packs of one shared stage and generation, all seeds of a setting together."""
    generation: dict[str, int] = {}
    settings: dict[tuple[int, str], dict[str, list[Node]]] = defaultdict(lambda: defaultdict(list))
    for node in shared:  # parents come first
        depth = max(
            (generation.get(parent.id, -1) + 1 for parent in node.parents.values()), default=0
        )
        generation[node.id] = depth
        settings[depth, node.stage][node.family].append(node)
    packs: list[Pack] = []
    builder: dict[str, str] = {}
    # A stage that more cells wait for came first, and stays there.
    for (_, stage), families in sorted(settings.items(), key=lambda item: item[0][0]):
        whole = list(families.values())
        if len(whole) > FEW_PACKS:
            estimate = estimator(kind)
            whole = _join_small([(nodes, _seconds(nodes, estimate)) for nodes in whole])
        for nodes in whole:
            parents = [parent.id for node in nodes for parent in node.parents.values()]
            needs = frozenset(builder[parent] for parent in parents if parent in builder)
            config = {"stage": stage, "factors": _merged([node.config for node in nodes])}
            pack = Pack(tuple(nodes), (), needs, config)
            builder.update({node.id: pack.id for node in nodes})
            packs.append(pack)
    return packs


def _cell_config(cells: Sequence[Cell], axes: Sequence[str]) -> dict[str, Any]:
    """Ordering and axis values of a pack."""
    settings = {id(cell.settings): cell for cell in cells}  # one object for all seeds
    points = [cell.factors for cell in settings.values()]
    factors = _merged([{axis: point[axis] for axis in axes} for point in points])
    orderings = sorted({cell.ordering.name for cell in cells})
    return {"ordering": "+".join(orderings), "factors": factors}


def _merged(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of a pack; one that varies inside it lists its values."""
    merged: dict[str, Any] = {}
    for name in settings[0]:
        values: list[Any] = []
        for one in settings:
            if one[name] not in values:
                values.append(one[name])
        merged[name] = values[0] if len(values) == 1 else values
    return merged
