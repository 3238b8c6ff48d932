"""The settings of the mixture study: one flat model, composed of what each stage reads.

What a study file sets and a grid sweeps. The parts are in `parts.py` and, where one algorithm alone
reads them, with its record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from recalltrap.settings_parts import added_setting
from recalltrap_studies.last_start import LastStart
from recalltrap_studies.mog.alignment.registry import ALGORITHMS
from recalltrap_studies.mog.distillation.registry import (
    AFTER_ALIGN,
    DISTILLATIONS,
    FIRST,
    NAMES,
    SETTING,
    Adpa,
    Dckd,
    OnPolicy,
)
from recalltrap_studies.mog.stage_settings import (
    Alignment,
    Distill,
    Evaluate,
    Optimiser,
    Positive,
    Sft,
)
from recalltrap_studies.rate_factors import RateFactors


def _most_derived(parts: Iterable[type[Optimiser]]) -> list[type[Optimiser]]:
    """Each once, without those that another one extends."""
    once = list(dict.fromkeys(parts))
    return [p for p in once if not any(p is not q and issubclass(q, p) for q in once)]


if TYPE_CHECKING:

    class _Composed(Sft, Distill, OnPolicy, Dckd, Adpa, Alignment, Evaluate):
        """What doesn't depend on the registered algorithms."""

        algorithm: str = ""

else:
    _records = (*DISTILLATIONS.values(), *ALGORITHMS.values())
    _own = _most_derived(record.settings for record in _records)
    _description = Alignment.model_fields["algorithm"].description
    _Composed = create_model(
        "_Composed",
        __base__=(Sft, *_own, Evaluate),
        algorithm=(
            Literal[tuple(ALGORITHMS)],
            Field(next(iter(ALGORITHMS)), description=_description),
        ),
        distillation=(
            Literal[NAMES],
            added_setting(
                FIRST,
                description="How students learn: from samples of their teacher (`sequence`; the "
                "paper's), from its density itself (`logits`), or where they go themselves "
                "(`on_policy`). After an alignment also with what it preferred (`dckd`, `adpa`, "
                "`adpa_plus`), as a step of an ordering: `{distill: dckd}`.",
            ),
        ),
    )


class MogSettings(RateFactors, LastStart, _Composed):
    """Every setting of the mixture study. All have defaults; grid axes are these fields."""

    # Not a distillation's own: each one's configuration holds the sharpness that it uses, so that
    # two settings that mean the same make the same artifact.
    last_teacher_sharpness: Positive | None = added_setting(
        None,
        description="beta_KD of distillations after an alignment, such as A-K's last; null: "
        "teacher_sharpness (as in the paper). At 1 the teacher is not sharpened (ours). `dckd` and "
        "`adpa` never sharpen it.",
    )

    @field_validator("distillation")
    @classmethod
    def _p_second_can_be_distilled(cls, name: Any) -> Any:
        """p'' is distilled by it, from p', which nothing aligned."""
        if name in AFTER_ALIGN:
            raise ValueError(
                f"{name!r} hands over what an alignment has changed, and p'' is distilled from p', "
                "which nothing aligned: put it into an ordering of your own right after an align, "
                f"{{name: A-{name.upper()}, stages: [align, {{distill: {name}}}]}}"
            )
        return name

    @model_validator(mode="after")
    def _targets_are_modes(self) -> MogSettings:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets {list(self.targets)} names a mode twice")
        outside = [t for t in self.targets if not 0 <= t < self.modes]
        if outside:
            raise ValueError(
                f"targets {outside} are not modes: the ground truth has {self.modes}, "
                f"numbered 0 to {self.modes - 1}"
            )
        return self

    @model_validator(mode="after")
    def _rates_are_rates(self) -> MogSettings:
        self.check_rates("learning_rate", self.learning_rate)
        return self

    def for_alignment(self, student: bool) -> MogSettings:
        """With the `learning_rate` of an alignment: of a `student`, or of p'."""
        rate = self.alignment_rate(self.learning_rate, student)
        if rate == self.learning_rate:
            return self
        return self.model_copy(update={"learning_rate": rate})

    def for_distillation(self, name: str, aligned: bool) -> MogSettings:
        """For one of the distillations, with its `teacher_sharpness`: the last one's own where the
        teacher, or a teacher before it, has been `aligned`."""
        last = self.last_teacher_sharpness
        sharpness = self.teacher_sharpness if not aligned or last is None else last
        if (name, sharpness) == (self.distillation, self.teacher_sharpness):
            return self
        return self.model_copy(update={SETTING: name, "teacher_sharpness": sharpness})
