"""The ways to distil, one record each, with the settings that it alone reads.

Nothing else knows one by its name. The first is what artifacts were made with before there was a
choice, so its name stands in no identity. `teacher_sharpness` belongs to those that copy the
teacher's distribution: there it says which distribution that is. `dckd` and `adpa` read what an
alignment preferred from log-probabilities, and sharpened weights are none of its preferences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from recalltrap.settings_parts import Part, added_setting
from recalltrap_studies.mog.algorithm import Algorithm, Column
from recalltrap_studies.mog.stage_settings import (
    Distill,
    Length,
    NoisyReward,
    Preferences,
    Ring,
    Sampling,
    Sharpening,
    Student,
    Weight,
)
from recalltrap_studies.records import LateImport

if TYPE_CHECKING:
    from torch import Tensor

SETTING = "distillation"
_FOLDER = "recalltrap_studies.mog.distillation"


@dataclass(frozen=True)
class Distillation(Algorithm):
    """A distillation: an algorithm whose source is its teacher."""

    after_align: bool = False
    """Whether it learns what an alignment has changed: its teacher must just have been aligned."""

    @property
    def goes_on(self) -> bool:
        """Whether it begins with p'', or with the student of the distillation before it."""
        return "start" in self.holds

    @property
    def sharpens(self) -> bool:
        """Whether its teacher is sharpened first."""
        return self.prepare_source is not None


def _sharpened(teacher: Tensor, column: Column) -> Tensor:
    """The teacher with its weights to the power beta_KD (eq. 7), parameters [R, P, K]."""
    from recalltrap_studies.mog.program.mixture import sharpen

    return sharpen(teacher, column("teacher_sharpness"))


SEQUENCE = Distillation(
    name="sequence",
    settings=Distill,
    version=1,
    iteration=LateImport("recalltrap_studies.mog.program.maximum_likelihood:iteration"),
    measures=("loss",),
    prepare_source=_sharpened,
)
"""Maximum likelihood on fresh samples of the sharpened teacher."""


class Named(Part):
    """Which distillation it is, for all but the first."""

    distillation: str = added_setting(SEQUENCE.name)


class Logits(Named, Student, Sharpening):
    """Forward KL to the sharpened teacher, exact: the optimum of `sequence` without its noise."""


LOGITS = Distillation(
    name="logits",
    settings=Logits,
    version=1,
    iteration=LateImport(f"{_FOLDER}.logits:iteration"),
    measures=("loss",),
    source_nodes=True,
    prepare_source=_sharpened,
)


class OnPolicy(Named, Student, Sharpening):
    """Generalised Jensen-Shannon divergence to the sharpened teacher (GKD), exact."""

    jsd_mix: float = added_setting(
        0.5,
        ge=0,
        le=1,
        description="Of `on_policy`: the teacher's share of the mixture that teacher and student "
        "are held against; 0: the forward KL(teacher || student), 1: the reverse KL(student || "
        "teacher). TRL's `beta`, and its default (GKD's middle one).",
    )


ON_POLICY = Distillation(
    name="on_policy",
    settings=OnPolicy,
    version=1,
    iteration=LateImport(f"{_FOLDER}.on_policy:iteration"),
    measures=("loss",),
    columns=("jsd_mix",),
    source_nodes=True,
    own_nodes=True,
    prepare_source=_sharpened,
)


class Preferred(Named, Ring, NoisyReward, Sampling, Preferences):
    """SFT(y+): pairs of the teacher's reference, labelled as those of DPO are."""


class Dckd(Preferred, Student):
    """DCKD: SFT(y+) and a forward KL to the aligned teacher."""

    dckd_weight: Weight = added_setting(
        1.0,
        description="w of DCKD: the weight of KL(aligned teacher || student) on y+, and of that "
        "on y-, which is the same here. Not public: tuned (ours).",
    )


DCKD = Distillation(
    name="dckd",
    settings=Dckd,
    version=1,
    iteration=LateImport(f"{_FOLDER}.dckd:iteration"),
    measures=("loss", "teacher_kl"),
    columns=("preference_noise", "reward_noise", "dckd_weight"),
    paired=True,
    chosen_only=True,
    after_align=True,
    holds=("reference",),
    source_nodes=True,
)


class Adpa(Preferred, Length):
    """ADPA: SFT(y+) and the expected advantage of the aligned teacher."""

    advantage_weight: Weight = added_setting(
        1.0,
        description="gamma of ADPA: the weight of the expected advantage. Not public: tuned "
        "(ours). Lower it where a student's entropy collapses.",
    )
    advantage_reference: Literal["teacher_sft", "student_init"] = added_setting(
        "teacher_sft",
        description="What ADPA's advantage log(aligned / reference) is counted from: the model "
        "that the teacher was aligned from, or the student before this distillation.",
    )


ADPA = Distillation(
    name="adpa",
    settings=Adpa,
    version=1,
    iteration=LateImport(f"{_FOLDER}.adpa:iteration"),
    measures=("loss", "advantage", "entropy", "start_kl"),
    shaped_by=("advantage_reference",),
    columns=("preference_noise", "reward_noise", "advantage_weight"),
    paired=True,
    chosen_only=True,
    after_align=True,
    holds=("reference", "start"),
    own_nodes=True,
    guard=LateImport(f"{_FOLDER}.guard:ran_away"),
)

DISTILLATIONS: dict[str, Distillation] = {
    record.name: record for record in (SEQUENCE, LOGITS, ON_POLICY, DCKD, ADPA)
}
"""By the value of the setting `distillation`; the first is its default."""
FIRST = SEQUENCE.name

COMPOSED_OF: dict[str, tuple[str, ...]] = {"adpa_plus": (DCKD.name, ADPA.name)}
"""Distillations of one teacher one after another; one that goes on from a student goes on from the
student of the one before."""

NAMES = (*DISTILLATIONS, *COMPOSED_OF)


def distillations_of(name: str) -> tuple[Distillation, ...]:
    """What a name stands for, in order."""
    return tuple(DISTILLATIONS[part] for part in COMPOSED_OF.get(name, (name,)))


AFTER_ALIGN = tuple(
    name for name in NAMES if any(record.after_align for record in distillations_of(name))
)
"""Those whose teacher must just have been aligned."""


def distillation_of(config: Mapping[str, Any]) -> Distillation:
    """The one that settings, or a stage's configuration, ask for."""
    return DISTILLATIONS[config.get(SETTING, FIRST)]
