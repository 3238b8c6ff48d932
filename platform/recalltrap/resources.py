"""What a study's trials ask of the machine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Resources(BaseModel):
    """What one trial asks of Ray, and how its processes share the work; never an identity.

    A kind may have more fields, in a class of its own (`StudyKind.resources`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpus_per_trial: int = Field(default=1, ge=1, le=4096, description="CPU cores of each worker")
    gpus_per_trial: float = Field(
        default=0, ge=0, le=1024, description="GPUs of each worker, fractions allowed"
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
        if 0 < value < 0.01 or (value > 1 and value != int(value)):
            raise ValueError(
                f"{value} GPUs: give a share from 0.01 to 1, a whole number of them, or 0"
            )
        return value


GROUP_FIELDS = ("workers", "checkpoint_updates")
"""Fields that only kinds read whose packs a group of workers executes."""
