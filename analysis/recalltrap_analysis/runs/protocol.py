"""What the analysis reads of a run: the part of the platform's `Results` that it relies on.

A protocol, so that anything with the same tables can be analysed. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from recalltrap.graph import Cell, Node
from recalltrap.kind import Metric
from recalltrap.orderings import Ordering


class PrimaryLike(Protocol):
    """The one comparison that a study is run to decide."""

    @property
    def contrast(self) -> tuple[str, str]: ...
    @property
    def at(self) -> str | float: ...


class StudyLike(Protocol):
    """The question a run answers."""

    @property
    def name(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def orderings(self) -> Sequence[Ordering]: ...
    @property
    def seeds(self) -> Sequence[int]: ...
    @property
    def looks(self) -> Sequence[int]: ...
    @property
    def margin(self) -> float | None: ...
    @property
    def recall_budget(self) -> float | None: ...
    @property
    def contrasts(self) -> Sequence[tuple[str, str]] | None: ...
    @property
    def primary(self) -> PrimaryLike | None: ...


class ArtifactReader(Protocol):
    """Reads a stage's stored output."""

    def has(self, node: Node, /) -> bool: ...
    def read(self, node: Node, name: str, /) -> bytes: ...


class ReportWriter(Protocol):
    """Where a report's files go; paths are relative to the storage."""

    def write(self, relative: str, data: bytes, /) -> None: ...
    def display(self, relative: str, /) -> str: ...


class Run(Protocol):
    """A study's tables, plan and artifacts."""

    @property
    def study(self) -> StudyLike: ...
    @property
    def axes(self) -> Sequence[str]: ...
    @property
    def folder(self) -> str: ...
    @property
    def store(self) -> ArtifactReader: ...
    def table(self, name: str, /) -> pa.Table: ...
    def planned(self) -> Sequence[Cell]: ...
    def provenance(self) -> Mapping[str, Any]: ...
    def metrics(self) -> Mapping[str, Metric]: ...
    def looks(self) -> Sequence[int]: ...


class StoredRun(Run, Protocol):
    """A run that a report can be written into."""

    @property
    def run(self) -> str: ...
    @property
    def storage(self) -> ReportWriter: ...
