"""A cell as a graph of stages: which model is made from which."""

from __future__ import annotations

from functools import cached_property

from recalltrap.graph import Node
from recalltrap.orderings import Ordering, walk
from recalltrap_studies.mog.distillation.registry import Distillation, distillations_of
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stages import ALIGN, DISTILL, SFT


class Graph:
    """The nodes of one seed under one group of settings."""

    def __init__(self, settings: MogSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.p_prime = SFT.node(settings, seed)

    @cached_property
    def p_second(self) -> Node:
        """The student that is distilled before any alignment."""
        return self.distill(self.p_prime, False)

    def distill(self, teacher: Node, aligned: bool) -> Node:
        """A student of a teacher by the settings' distillation."""
        return self.distill_by(teacher, aligned, self.settings.distillation)

    def distill_by(self, teacher: Node, aligned: bool, name: str) -> Node:
        """A student of a teacher by one of the distillations."""
        student: Node | None = None
        for record in distillations_of(name):
            assert teacher.stage == ALIGN.name or not record.after_align, "the study was checked"
            student = self._student(record, teacher, aligned, student)
        assert student is not None
        return student

    def _student(
        self, record: Distillation, teacher: Node, aligned: bool, before: Node | None
    ) -> Node:
        parents = {"teacher": teacher}
        if record.after_align:
            parents["reference"] = teacher.parents["reference"]
        if record.goes_on or (aligned and self.settings.last_distill_start == "p_second"):
            parents["start"] = before or self.p_second  # of p' whoever the teacher is, as K-A's
        settings = self.settings.for_distillation(record.name, aligned)
        return DISTILL.node(settings, self.seed, **parents)

    def align(self, start: Node, reference: Node, student: bool) -> Node:
        """An alignment of `start`, anchored to `reference`, at the learning rate of its size."""
        settings = self.settings.for_alignment(student)
        return ALIGN.node(settings, self.seed, start=start, reference=reference)

    def models(self, ordering: Ordering) -> dict[str, Node]:
        """p', p'' and the final model, whatever the ordering; p'_AK where there is one."""
        return walk(ordering, self.p_prime, self.distill, self.align, self.distill_by)
