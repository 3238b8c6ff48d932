"""A store in a temporary folder, and a way to build everything some cells need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recalltrap.graph import Cell, Node
from recalltrap.kind import NodeFailure
from recalltrap.orderings import Ordering
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog.kind import KIND
from recalltrap_studies.mog.settings import MogSettings

MakeCell = Callable[..., Cell]
BuildAll = Callable[[Sequence[Cell]], list[NodeFailure]]


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation takes seconds; the tests that need it ask for it."""
    monkeypatch.setenv("RECALLTRAP_COMPILE", "0")
    monkeypatch.setenv("RECALLTRAP_DEVICE", "cpu")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(Storage(str(tmp_path)))


@pytest.fixture
def make_cell() -> MakeCell:
    def make(ordering: str = "K-A", seed: int = 0, **fields: object) -> Cell:
        settings = MogSettings.model_validate(fields)
        return KIND.cell(Ordering.model_validate(ordering), settings, seed)

    return make


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[str], ArtifactStore]:
    return lambda name: ArtifactStore(Storage(str(tmp_path / name)))


def build_missing(cells: Sequence[Cell], store: ArtifactStore) -> list[NodeFailure]:
    """Build every artifact that the cells need, parents first, a stage at a time."""
    levels: dict[tuple[int, str], dict[str, Node]] = {}
    for cell in cells:
        for node in cell.nodes:
            levels.setdefault((_depth(node), node.stage), {})[node.id] = node
    failures: list[NodeFailure] = []
    for key in sorted(levels):
        nodes = [n for n in levels[key].values() if all(store.has(p) for p in n.parents.values())]
        if nodes:
            for progress in KIND.build(nodes, store):
                failures += progress.failures
    return failures


def _depth(node: Node) -> int:
    return 1 + max(map(_depth, node.parents.values()), default=-1)


@pytest.fixture
def build_all() -> Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]:
    return build_missing
