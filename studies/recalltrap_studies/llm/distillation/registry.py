"""Every distillation as one record: its settings, what runs it, and its version.

Nothing else knows one by its name. The first is what artifacts were made with before there was a
choice, so its name stands in no identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import Part, added_setting, part_config
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.stage_settings import Distill, PreferenceData, Share
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
    scored_by: tuple[str, ...] = ()
    """The parents that score what is learned, and so stand beside the student."""
    scored_share: float = 1.0
    """Of the sequences of a batch, what they score."""
    after_align: bool = False
    """Whether it learns what an alignment has changed: its teacher must just have been aligned."""
    goes_on: bool = False
    """Whether it begins with the study's student of the model that the teacher was aligned from."""
    states: bool = False
    """Whether it learns from what its student says before it begins."""
    draws: Callable[[Mapping[str, Any]], float] | None = None
    """Of its sequences the share that the student draws while it learns, by its configuration."""
    padded: bool = False
    """Whether its batches are never packed."""
    composed_of: tuple[str, ...] = ()
    """The distillations that it is made of, one after the other; it has then no run of its own."""
    version: int = 1
    """Bumped when its numbers change their meaning."""

    @property
    def part(self) -> type[Part]:
        """The settings of a record that has them."""
        assert self.settings is not None
        return self.settings

    def lacks(self) -> list[str]:
        """What isn't said of it, in words."""
        needed = ("settings",) if self.composed_of else ("settings", "run")
        missing = [f"no {n}" for n in needed if getattr(self, n) is None]
        absent = self.run.lacks() if self.run else None
        return [*missing, *([absent] if absent else [])]

    def config(self, settings: Any) -> dict[str, Any]:
        """What its nodes' identity holds: its settings, and its name unless it is the first."""
        named = {} if self.name == FIRST else {SETTING: self.name}
        return {**part_config(settings, self.part), **named}


class OnPolicyDistill(Distill):
    """What learning from the student's own sequences reads."""

    jsd_mix: Share = Field(
        0.5,
        description="Of the generalised JSD: 0 is the forward KL to the teacher, 1 the reverse, "
        "0.5 the symmetric one (TRL's beta; ours).",
    )
    own_samples_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        0.5,
        description="The last share of a student's updates, which learn from its own samples; "
        "those before learn from the teacher's (ours).",
    )
    own_samples_updates: Annotated[int, Field(ge=1, le=10_000)] = Field(
        16, description="Updates whose own samples are drawn together, before the first (ours)."
    )


Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class DckdDistill(PreferenceData, Distill):
    """What DCKD reads."""

    dckd_weight: Weight = Field(
        1.0, description="w: weight of DCKD's divergences beside the likelihood (ours)."
    )


class AdpaDistill(PreferenceData, Distill):
    """What ADPA reads."""

    advantage_weight: Weight = Field(
        1.0, description="gamma: weight of ADPA's advantage beside the likelihood (ours)."
    )
    advantage_reference: Literal["teacher_sft", "student_init"] = Field(
        "teacher_sft",
        description="Over whom the aligned teacher has its advantage: the model that it was "
        "aligned from, or the student before this distillation. Paper: teacher_sft.",
    )

    advantage_top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = added_setting(
        None,
        description="So many tokens of each place, those that the aligned teacher says most, have "
        "an advantage of their own; all others count as one, of the mass that either model has "
        "left. null: every token has its own, as in the paper (ours).",
    )


class AdpaPlusDistill(AdpaDistill, DckdDistill):
    """Both's."""


_STAGE = "recalltrap_studies.llm.stages.distill"
_RECORDS = (
    Distillation(
        "sequence",  # sequence-level (Kim & Rush 2016): the likelihood of the teacher's samples
        settings=Distill,
        run=LateImport("recalltrap_studies.llm.stages.train:run_train"),
    ),
    Distillation(
        "logits",  # forward KL to the teacher's whole distribution, on the same samples
        settings=Distill,
        run=LateImport(f"{_STAGE}:run_logits"),
        scored_by=("teacher",),
    ),
    Distillation(
        "on_policy",  # generalised JSD, at last on the student's own samples
        settings=OnPolicyDistill,
        run=LateImport(f"{_STAGE}:run_on_policy"),
        scored_by=("teacher",),
        draws=lambda config: float(config["own_samples_share"]),
    ),
    Distillation(
        "dckd",  # better responses, and the aligned teacher's distribution on both of a pair
        settings=DckdDistill,
        run=LateImport(f"{_STAGE}:run_dckd"),
        scored_by=("teacher",),
        after_align=True,
        padded=True,
    ),
    Distillation(
        "adpa",  # better responses, and what alignment made likelier where the student goes
        settings=AdpaDistill,
        run=LateImport(f"{_STAGE}:run_adpa"),
        scored_by=("teacher", "reference"),
        scored_share=0.5,
        after_align=True,
        goes_on=True,
        states=True,
        padded=True,
    ),
    Distillation(
        "adpa_plus",
        settings=AdpaPlusDistill,
        after_align=True,
        composed_of=("dckd", "adpa"),
    ),
)
DISTILLATIONS: dict[str, Distillation] = {record.name: record for record in _RECORDS}
FIRST = _RECORDS[0].name


def of_any_teacher() -> tuple[str, ...]:
    """Those that any teacher can be distilled by."""
    return tuple(record.name for record in DISTILLATIONS.values() if not record.after_align)


def find_distillation(name: str) -> Distillation:
    """The record of that name.

    Raises:
        InputError: there is none, or not all of it; says what is missing.
    """
    return find_record(DISTILLATIONS, name, "distillation", "distillation.registry.DISTILLATIONS")


def distillation_of_node(node: Node) -> Distillation | None:
    """The record that a node is distilled by; None where it is another stage's."""
    return find_distillation(node.config.get(SETTING, FIRST)) if node.stage == STAGE else None


def scored_share(node: Node) -> float:
    """Of the sequences that a training learns, the share that other models score: of all of them
    unless its distillation says otherwise. So are FLOPs counted where scores are stored, too: they
    are to be the same on every machine."""
    record = distillation_of_node(node)
    return record.scored_share if record else 1.0


def run_distillation(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Execute a node of any distillation; called on every worker."""
    record = find_distillation(node.config.get(SETTING, FIRST))
    assert record.run is not None
    yield from record.run.load()(node, store, group)
