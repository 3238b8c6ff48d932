"""The graph of stages that a cell is made of.

A `Node` is one execution of a stage for one seed; its identity follows from what decides its
output, so equal nodes are built once whoever asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from json.encoder import encode_basestring
from typing import Any

from pydantic import BaseModel

from recalltrap.identity import Config, canonical_json, digest, fingerprint
from recalltrap.orderings import Ordering
from recalltrap.settings_parts import all_settings, deciding_settings


@dataclass(frozen=True)
class Node:
    """One execution of a stage for one seed.

    `config` holds the settings that the stage reads and no others. `parents` are what it's made
    from, by what they are to it: a distillation's `teacher`, an alignment's `start` and
    `reference`. Their order decides the identity, and their names don't. Where `length_field`
    names a field of `config`, a longer execution passes through the shorter ones, so nodes that
    differ in it alone are built by one execution.
    """

    stage: str
    seed: int
    config: Mapping[str, Any]
    parents: Mapping[str, Node] = field(default_factory=dict)
    version: int = 1
    length_field: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.config, Config):
            object.__setattr__(self, "config", Config(self.config))

    def __hash__(self) -> int:
        return hash(self.id)

    def of_seed(self, seed: int, parents: Mapping[str, Node]) -> Node:
        """The same execution for this seed and of these parents."""
        return Node(self.stage, seed, self.config, parents, self.version, self.length_field)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the artifact."""
        return {
            "stage": self.stage,
            "seed": self.seed,
            "config": self.config,
            "parents": [parent.id for parent in self.parents.values()],
            "version": self.version,
        }

    @property
    def hashed(self) -> bytes:
        """What is hashed; kept as text in the artifact's record."""
        return self._spelled(self._own_config)

    @cached_property
    def id(self) -> str:
        return digest(self.hashed)

    @cached_property
    def family(self) -> str:
        """The same for all seeds and lengths of one setting: what is built together."""
        parents = [parent.family for parent in self.parents.values()]
        key = (self.stage, self.length_field, self.version, *parents)
        families = self._own_config.families
        if key not in families:
            families[key] = fingerprint([self.stage, self._unending, parents, self.version])
        return families[key]

    @cached_property
    def execution(self) -> str:
        """The same for all lengths that one execution passes through."""
        return digest(self._spelled(self._unending))

    def _spelled(self, config: Config) -> bytes:
        """`canonical_json` of the identity with this configuration, for hundreds of thousands."""
        parents = ",".join([f'"{parent.id}"' for parent in self.parents.values()])
        return (
            f'{{"config":{config.spelled},"parents":[{parents}],"seed":{self.seed!r},'
            f'"stage":{encode_basestring(self.stage)},"version":{self.version!r}}}'
        ).encode()

    @property
    def source(self) -> Node | None:
        """Its first parent: the model that it starts from or samples, what it learns first."""
        return next(iter(self.parents.values()), None)

    @property
    def _own_config(self) -> Config:
        assert isinstance(self.config, Config)
        return self.config

    @property
    def _unending(self) -> Config:
        return self._own_config.without(self.length_field)

    @property
    def length(self) -> int:
        return int(self.config[self.length_field]) if self.length_field else 0


def ancestry(nodes: Sequence[Node]) -> list[Node]:
    """The nodes and all they need, each once, parents before children."""
    seen: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for parent in node.parents.values():
            if parent.id not in seen:
                visit(parent)
        seen[node.id] = node

    for node in nodes:
        if node.id not in seen:
            visit(node)
    return list(seen.values())


@dataclass(frozen=True)
class Cell:
    """One point of a study's grid with one ordering and one seed.

    `models` maps the names of the `metrics` table (`p_prime`, `p_second`, `p_prime_aligned`,
    `final`) to the nodes whose outputs they are. Where judging a model is work of its own,
    `assessments` maps the same names to the nodes that do it, once for all cells. `decides` names
    the settings that are part of the cell's identity: those that its kind reads and that aren't
    known by content. `stored_id` is what the tables of an earlier version call the cell.
    """

    kind: str
    ordering: Ordering
    seed: int
    settings: BaseModel
    models: Mapping[str, Node]
    evaluation_version: int = 1
    assessments: Mapping[str, Node] = field(default_factory=dict)
    decides: frozenset[str] | None = None
    stored_id: str | None = None

    def of_seed(
        self, seed: int, models: Mapping[str, Node], assessments: Mapping[str, Node]
    ) -> Cell:
        """The same point and ordering for this seed and of these nodes."""
        return Cell(
            self.kind,
            self.ordering,
            seed,
            self.settings,
            models,
            self.evaluation_version,
            assessments,
            self.decides,
        )

    def beside(self, axes: Set[str]) -> Cell:
        """The same cell, one for each value of axes that it doesn't read."""
        if not axes or self.decides is None:
            return self
        return replace(self, decides=self.decides | axes)

    @property
    def outputs(self) -> list[Node]:
        """What must stand before the cell can be evaluated."""
        return [*self.models.values(), *self.assessments.values()]

    @property
    def references(self) -> list[Node]:
        """What a forecast needs: p' and p'', and what judges them."""
        names = ("p_prime", "p_second")
        return [found[n] for found in (self.models, self.assessments) for n in names if n in found]

    @property
    def factors(self) -> Config:
        """Every setting of the cell, by name: the typed columns of the tables."""
        return all_settings(self.settings)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the cell's rows."""
        return {
            "kind": self.kind,
            "ordering": [self.ordering.name, self.ordering.written],
            "seed": self.seed,
            "settings": deciding_settings(self.settings, self.decides),
            "models": {name: node.id for name, node in self.models.items()},
            "evaluation_version": self.evaluation_version,
            **self._judges,
        }

    @property
    def _judges(self) -> dict[str, Any]:
        if not self.assessments:
            return {}
        return {"assessments": {name: node.id for name, node in self.assessments.items()}}

    @property
    def _spelled(self) -> bytes:
        """`canonical_json` of the identity, for hundreds of thousands."""
        judged = f'"assessments":{_spelled_ids(self.assessments)},' if self.assessments else ""
        settings = deciding_settings(self.settings, self.decides).spelled
        return (
            f'{{{judged}"evaluation_version":{self.evaluation_version!r},'
            f'"kind":{encode_basestring(self.kind)},"models":{_spelled_ids(self.models)},'
            f'"ordering":{_spelled_ordering(self.ordering)},"seed":{self.seed!r},'
            f'"settings":{settings}}}'
        ).encode()

    @cached_property
    def id(self) -> str:
        return self.stored_id or digest(self._spelled)

    @cached_property
    def setting(self) -> str:
        """The same for all seeds of one grid point and ordering."""
        seeded = ("seed", "models", "assessments")
        identity = {k: v for k, v in self.identity.items() if k not in seeded}
        families = {name: node.family for name, node in self.models.items()}
        return fingerprint([identity, families])

    @cached_property
    def nodes(self) -> list[Node]:
        return ancestry(self.outputs)


def _spelled_ids(nodes: Mapping[str, Node]) -> str:
    """`canonical_json` of what models are called and their nodes' ids."""
    ids = [f'{encode_basestring(name)}:"{nodes[name].id}"' for name in sorted(nodes)]
    return f"{{{','.join(ids)}}}"


@lru_cache(maxsize=256)
def _spelled_ordering(ordering: Ordering) -> str:
    return canonical_json([ordering.name, ordering.written]).decode()
