"""Every distillation as one record: its settings, what runs it, and its version.

Nothing else knows one by its name. The first is what artifacts were made with before there was a
choice, so its name stands in no identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import Part, part_config
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.stage_settings import Distill
from recalltrap_studies.records import LateImport, find_record

SETTING, STAGE = "distillation", "distill"


@dataclass(frozen=True)
class Distillation:
    """A distillation, as far as anybody must know it.

    All of them learn a student of the architecture `student` from the samples of its teacher, which
    are drawn before; held-out ones measure every student alike.
    """

    name: str
    settings: type[Part] | None = None
    """The part of the settings that it reads: `Distill`, or one that extends it."""
    run: LateImport | None = None
    """`run(node, store, group)`, called on every worker."""
    scored: bool = False
    """Whether the teacher scores every batch, and so stands beside the student."""
    version: int = 1
    """Bumped when its numbers change their meaning."""

    @property
    def part(self) -> type[Part]:
        """The settings of a record that has them."""
        assert self.settings is not None
        return self.settings

    def lacks(self) -> list[str]:
        """What isn't said of it, in words."""
        missing = [f"no {n}" for n in ("settings", "run") if getattr(self, n) is None]
        absent = self.run.lacks() if self.run else None
        return [*missing, *([absent] if absent else [])]

    def config(self, settings: Any) -> dict[str, Any]:
        """What its nodes' identity holds: its settings, and its name unless it is the first."""
        named = {} if self.name == FIRST else {SETTING: self.name}
        return {**part_config(settings, self.part), **named}


_RECORDS = (
    Distillation(
        "sequence",  # sequence-level (Kim & Rush 2016): the likelihood of the teacher's samples
        settings=Distill,
        run=LateImport("recalltrap_studies.llm.stages.train:run_train"),
    ),
    Distillation(
        "logits",  # forward KL to the teacher's whole distribution, on the same samples
        settings=Distill,
        run=LateImport("recalltrap_studies.llm.stages.logits:run_logits"),
        scored=True,
    ),
)
DISTILLATIONS: dict[str, Distillation] = {record.name: record for record in _RECORDS}
FIRST = _RECORDS[0].name


def find_distillation(name: str) -> Distillation:
    """The record of that name.

    Raises:
        InputError: there is none, or not all of it; says what is missing.
    """
    return find_record(DISTILLATIONS, name, "distillation", "distillation.registry.DISTILLATIONS")


def distillation_of_node(node: Node) -> Distillation | None:
    """The record that a node is distilled by; None where it is another stage's."""
    return find_distillation(node.config.get(SETTING, FIRST)) if node.stage == STAGE else None


def run_distillation(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Execute a node of any distillation; called on every worker."""
    record = find_distillation(node.config.get(SETTING, FIRST))
    assert record.run is not None
    yield from record.run.load()(node, store, group)
