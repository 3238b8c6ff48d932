"""What a trial of the language study can ask for beside the platform's fields."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recalltrap.resources import Resources
from recalltrap.run.worker_group import WorkerGroup


class LlmResources(Resources):
    """How a group's workers share a training; changes no curve beyond rounding."""

    zero_stage: Literal[1, 2, 3] | None = Field(
        default=None, description="ZeRO stage of DeepSpeed; without one, plain data parallelism"
    )
    gradient_accumulation: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="parts that a worker computes an update's gradient in",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations twice, to hold fewer of them"
    )
    compile_layers: bool = Field(
        default=False,
        description="fuse the kernels of each layer by torch.compile when a model learns from "
        "samples: faster updates, after half a minute of compiling for each model",
    )
    teacher_scores: Literal["auto", "computed", "stored"] = Field(
        default="auto",
        description="what a distillation takes a teacher's log-probabilities from: computed in "
        "every epoch, stored once as float16 on each machine, or what is cheaper",
    )


def resources_of(group: WorkerGroup) -> LlmResources:
    """What a group was given; the defaults where nobody gave it any of these."""
    given = group.resources
    return given if isinstance(given, LlmResources) else LlmResources(**given.model_dump())
