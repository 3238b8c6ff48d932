"""Orderings as data: a name and a list of stages applied to the high-recall model p'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from recalltrap.errors import nearest, shown

Step = Literal["distill", "align", "align@p'"]
"""`align` is anchored to the model it starts from, `align@p'` to the high-recall model p'."""

DISTILL: Final = "distill"
ALIGN: Final = "align"
"""The stages that a step is made of, whatever an alignment is anchored to."""
STEPS: tuple[Step, ...] = ("distill", "align", "align@p'")


class DistillBy(BaseModel):
    """A step that distils another way than the study's settings say: `{distill: logits}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distill: str = Field(min_length=1, max_length=40)
    """A distillation of the study's kind, by its name (`StudyKind.distillations`)."""

    def __str__(self) -> str:
        return f"{DISTILL} ({self.distill})"


_ALLOWED = "one of " + ", ".join(map(repr, STEPS)) + ", or {distill: NAME}"


class Ordering(BaseModel):
    """What happens to p', in order. In a study file: a standard name, or `{name, stages}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=40)
    stages: tuple[Step | DistillBy, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in STANDARD:
                raise ValueError(
                    f"unknown ordering {shown(value)}; {nearest(value, STANDARD)} "
                    "(or write your own as {name: ..., stages: [...]})"
                )
            return {"name": value, "stages": STANDARD[value]}
        if isinstance(value, dict) and isinstance(value.get("stages"), list):
            return {**value, "stages": tuple(value["stages"])}  # as pydantic's strict mode wants
        return value

    @field_validator("stages", mode="before")
    @classmethod
    def _steps_are_known(cls, value: Any) -> Any:
        for step in value if isinstance(value, list | tuple) else ():
            named = (
                isinstance(step, dict) and [*step] == [DISTILL] and isinstance(step[DISTILL], str)
            )
            if not (named or isinstance(step, DistillBy) or step in STEPS):
                hint = nearest(step, STEPS) if isinstance(step, str) else f"a step is {_ALLOWED}"
                raise ValueError(f"{shown(step)} is no step of an ordering; {hint}")
        return value

    @field_validator("name")
    @classmethod
    def _name_is_one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError(f"{value!r} has characters that can't be printed: remove them")
        return value

    @model_validator(mode="after")
    def _standard_names_keep_their_meaning(self) -> Ordering:
        standard = STANDARD.get(self.name)
        if standard is not None and standard != self.stages:
            raise ValueError(
                f"the ordering {self.name!r} always means {list(standard)}; "
                f"give {self.written} a name of its own"
            )
        return self

    @property
    def steps(self) -> tuple[Step, ...]:
        """The stages without how they distil."""
        return tuple(DISTILL if isinstance(s, DistillBy) else s for s in self.stages)

    @property
    def written(self) -> list[str | dict[str, str]]:
        """The stages as a study file has them."""
        return [s.model_dump() if isinstance(s, DistillBy) else s for s in self.stages]

    @property
    def distillations(self) -> frozenset[str]:
        """The distillations that steps ask for by name."""
        return frozenset(s.distill for s in self.stages if isinstance(s, DistillBy))

    @property
    def distils_aligned_by(self) -> frozenset[str | None]:
        """How steps after an alignment distil: as they name it, or as the settings do (None)."""
        first = next((i for i, step in enumerate(self.steps) if step != DISTILL), len(self.steps))
        return frozenset(
            step.distill if isinstance(step, DistillBy) else None
            for step, does in zip(self.stages[first:], self.steps[first:], strict=True)
            if does == DISTILL
        )

    @model_serializer
    def _to_yaml(self) -> Any:
        if self.name in STANDARD:
            return self.name
        return {"name": self.name, "stages": self.written}


STANDARD: dict[str, tuple[Step, ...]] = {
    "K-A": ("distill", "align"),
    "A-K": ("align", "distill"),
    "A": ("align",),
    "K": ("distill",),
    "K-A@p'": ("distill", "align@p'"),
    "K-A-K": ("distill", "align", "distill"),
}

Made = TypeVar("Made")


def walk(
    ordering: Ordering,
    p_prime: Made,
    distill: Callable[[Made, bool], Made],
    align: Callable[[Made, Made, bool], Made],
    distill_by: Callable[[Made, bool, str], Made] | None = None,
) -> dict[str, Made]:
    """What an ordering makes of p', by the names of the `metrics` table.

    p' and p'' are there whatever the ordering, for forecasts and references; `p_prime_aligned`
    is where the ordering begins with an alignment.

    Args:
        ordering: The steps.
        p_prime: The high-recall model p'.
        distill: Of a teacher, and whether it or a teacher before it has been aligned: its student.
        align: Of the model that an alignment starts from, its reference, and whether that model is
            a student, which has the size of p'' and not of p': the aligned model.
        distill_by: As `distill`, by the distillation of that name; of kinds that have several.
    """
    models = {"p_prime": p_prime, "p_second": distill(p_prime, False)}
    current, aligned, student = p_prime, False, False
    for step in ordering.stages:
        if isinstance(step, DistillBy):
            assert distill_by is not None, step
            current, student = distill_by(current, aligned, step.distill), True
            continue
        if step == DISTILL:
            current, student = distill(current, aligned), True
            continue
        start = current
        current = align(start, p_prime if step == "align@p'" else start, student)
        aligned = True
        if start is p_prime:
            models["p_prime_aligned"] = current
    return {**models, "final": current}


NOTHING_ALIGNS = "no ordering of the study aligns: nothing"
"""Why a setting of alignments isn't read; goes on with "reads" and the setting."""
NOTHING_ALIGNED = "no ordering of the study distils an aligned model: nothing reads"
"""Why a setting of last distillations isn't read; goes on with the setting."""


def aligns(ordering: Ordering) -> bool:
    """Whether the ordering has an alignment."""
    return any(step != DISTILL for step in ordering.steps)


@dataclass(frozen=True)
class Operations:
    """What the orderings of a study do, of what settings are read for."""

    aligns_p_prime: bool
    """Whether a model of the size of p' is aligned: p' itself, before any distillation."""
    aligns_student: bool
    """Whether a model of a student's size is aligned."""
    distils_aligned_by: frozenset[str | None]
    """How models are distilled that were aligned, or whose teacher was: by the distillations that
    steps name, or by the settings' own (None)."""
    distils_p_prime: bool = False
    """Whether an ordering begins with a distillation of p'; p'' is a reference in any case."""
    distils_others: bool = False
    """Whether a model other than p' is distilled."""
    aligns_p_prime_again: bool = False
    """Whether a model of the size of p' is aligned that was aligned before."""
    distillations: frozenset[str] = frozenset()
    """Those that steps ask for by name, beside the settings' own."""

    @classmethod
    def of(cls, orderings: Iterable[Ordering] | None) -> Self:
        """What any of the orderings does; all of it where there may be any (None)."""
        if orderings is None:
            return cls(True, True, frozenset({None}), True, True, True)
        orderings = list(orderings)
        stages = [ordering.steps for ordering in orderings]
        pairs = [(a, b) for steps in stages for i, a in enumerate(steps) for b in steps[i + 1 :]]
        return cls(
            aligns_p_prime=any(steps[0] != DISTILL for steps in stages),
            aligns_student=any(a == DISTILL != b for a, b in pairs),
            distils_aligned_by=frozenset().union(*(o.distils_aligned_by for o in orderings)),
            distils_p_prime=any(steps[0] == DISTILL for steps in stages),
            distils_others=any(DISTILL in steps[1:] for steps in stages),
            aligns_p_prime_again=any(
                DISTILL not in steps[:2] and len(steps) > 1 for steps in stages
            ),
            distillations=frozenset().union(*(o.distillations for o in orderings)),
        )

    @property
    def distils_aligned(self) -> bool:
        """Whether a model is distilled that was aligned, or whose teacher was."""
        return bool(self.distils_aligned_by)

    @property
    def aligns(self) -> bool:
        """Whether anything is aligned."""
        return self.aligns_p_prime or self.aligns_student
