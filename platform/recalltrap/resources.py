"""What a study's trials ask of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recalltrap.errors import nearest, shown

_LABEL_NAME = re.compile(r"([a-z0-9A-Z.-]{1,253}/)?[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
_VALUE = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_LABEL_SELECTOR = re.compile(rf"!?({_VALUE}|in\({_VALUE}(, ?{_VALUE})*\))")
_CUSTOM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,99}")
_ACCELERATOR = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
OWN_FIELDS = {
    "CPU": "cpus_per_trial",
    "GPU": "gpus_per_trial",
    "accelerator_type": "accelerator_type",
}
"""Ray's resources that a field of its own asks for."""


class Resources(BaseModel):
    """What one trial asks of Ray, and how its processes share the work; never an identity.

    A kind may have more fields, in a class of its own (`StudyKind.resources`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpus_per_trial: int = Field(default=1, ge=1, le=4096, description="CPU cores of each worker")
    gpus_per_trial: float = Field(
        default=0, ge=0, le=1024, description="GPUs of each worker, fractions allowed"
    )
    accelerator_type: Annotated[str, Field(pattern=_ACCELERATOR)] | None = Field(
        default=None, description="the GPUs' type as Ray calls it, e.g. H100; null: any"
    )
    custom: dict[str, float] = Field(
        default_factory=dict,
        description="a cluster's own resources that each worker takes, e.g. {license: 1}",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="labels of the nodes to use: a value, !value, in(a, b) or !in(a, b)",
    )
    workers: int = Field(
        default=1, ge=1, le=4096, description="processes that execute a pack together"
    )
    checkpoint_updates: int = Field(
        default=500,
        ge=0,
        le=1_000_000_000,
        description="updates between checkpoints inside a stage; 0: none",
    )
    max_retries: int = Field(
        default=1, ge=0, le=1000, description="how often a pack whose worker died is retried"
    )
    stages: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="fields of resources that stages have otherwise, e.g. {sample: {workers: 4}}",
    )
    time_limits: dict[str, float] = Field(
        default_factory=dict,
        description="minutes that stages may take, e.g. {align: 90}; others take what they take",
    )
    pending_minutes: float = Field(
        default=30,
        ge=0.1,
        le=100_000,
        description="how long trials may wait for a place while none of them runs",
    )

    @field_validator("time_limits")
    @classmethod
    def _minutes(cls, value: dict[str, float]) -> dict[str, float]:
        for stage, minutes in value.items():
            if not 0 < minutes <= 1_000_000:
                raise ValueError(f"{stage}: {minutes} minutes: give more than 0, at most 1,000,000")
        return value

    @field_validator("gpus_per_trial")
    @classmethod
    def _share_that_ray_gives(cls, value: float) -> float:
        _check_share(value, "GPUs")
        return value

    @field_validator("custom")
    @classmethod
    def _resources_of_the_cluster(cls, value: dict[str, float]) -> dict[str, float]:
        for name, amount in value.items():
            if own := OWN_FIELDS.get(name.partition(":")[0]):
                raise ValueError(f"{shown(name)} is asked for by resources.{own}")
            if not _CUSTOM_NAME.fullmatch(name) or name in ("memory", "object_store_memory"):
                raise ValueError(f"{shown(name)} names no custom resource of a Ray cluster")
            if amount <= 0:
                raise ValueError(f"{name}: {amount}: ask for more than nothing, or remove it")
            _check_share(amount, name)
        return value

    @field_validator("labels")
    @classmethod
    def _as_ray_selects(cls, value: dict[str, str]) -> dict[str, str]:
        for name, selector in value.items():
            if not _LABEL_NAME.fullmatch(name):
                raise ValueError(f"{shown(name)} names no label of a Ray node")
            if not _LABEL_SELECTOR.fullmatch(selector):
                raise ValueError(
                    f"{name}: {shown(selector)} selects no label: write a value, !value, "
                    "in(a, b) or !in(a, b)"
                )
        return value

    @model_validator(mode="after")
    def _type_of_some_accelerator(self) -> Self:
        if self.accelerator_type is not None and not self.gpus_per_trial:
            raise ValueError(
                f"accelerator_type = {self.accelerator_type!r} with gpus_per_trial = 0: ask for a "
                "GPU with gpus_per_trial, or remove the type"
            )
        return self

    @model_validator(mode="after")
    def _stages_have_fields_of_resources(self) -> Self:
        for stage, fields in self.stages.items():
            allowed = type(self).model_fields.keys() - NOT_BY_STAGE
            for name in fields:
                if name not in allowed:
                    raise ValueError(f"stages.{stage}: {shown(name)}: {nearest(name, allowed)}")
            try:
                self.of_stage(stage)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, ("stages", stage, *first["loc"])))
                raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        return self

    def of_stage(self, stage: str | None) -> Self:
        """What a stage's workers ask for: its own fields, and those of all stages."""
        own = self.stages.get(stage, {}) if stage is not None else {}
        if not self.stages:
            return self
        return type(self).model_validate({**self.model_dump(), **own, "stages": {}})

    def of_all(self) -> list[Self]:
        """What is asked for at all: by stages without fields of their own, and by each with."""
        return [self.of_stage(stage) for stage in (None, *self.stages)]

    @property
    def uses_gpus(self) -> bool:
        """Whether any stage's workers ask for a GPU."""
        return any(asked.gpus_per_trial > 0 for asked in self.of_all())


NOT_BY_STAGE = frozenset({"stages", "max_retries", "time_limits", "pending_minutes"})
"""Fields that stages can't differ in: a pack is retried and waits whatever its stage, and limits
name their stages themselves."""
BY_STAGE = ("stages", "time_limits")
"""Fields whose keys are stages."""
GROUP_FIELDS = ("workers", "checkpoint_updates")
"""Fields that only kinds read whose packs a group of workers executes."""


def _check_share(value: float, what: str) -> None:
    """Refuse amounts that Ray doesn't hand out."""
    if 0 < value < 0.01 or (value > 1 and value != int(value)):
        raise ValueError(
            f"{value} {what}: give a share from 0.01 to 1, a whole number of them, or 0"
        )


def check_stages(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse what is said of stages that a study doesn't have.

    Raises:
        ValueError: naming the stage and those that there are.
    """
    names = set(known)
    for stage in given:
        if stage not in names:
            raise ValueError(f"{shown(stage)} is no stage of this study; {nearest(stage, names)}")
