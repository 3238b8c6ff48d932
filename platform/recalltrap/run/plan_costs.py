"""What building should take: by stage, by look, and for a further seed. Estimates of the kind's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from recalltrap.graph import Node, ancestry
from recalltrap.kind import StudyKind
from recalltrap.resources import Resources
from recalltrap.run.plan import Plan, estimator, longest
from recalltrap.units import duration, size


@dataclass(frozen=True)
class StageCost:
    """One stage's executions that a run would add, and what they should take in all.

    `core_seconds` on one core, `gpu_seconds` on one GPU where the kind knows, of which
    `gpu_decoding_seconds` draw tokens; `bytes` on disk. `memory_bytes` is what a worker needs at
    once for the largest of them, where the kind knows, and `memory` the same by what it is for.
    """

    stage: str
    builds: int
    core_seconds: float
    gpu_seconds: float
    gpu_decoding_seconds: float
    flops: float
    bytes: int
    memory_bytes: int
    memory: Mapping[str, float]


STAGE_COLUMNS = pa.schema(
    [
        ("stage", pa.string()),
        ("builds", pa.int64()),
        ("core_seconds", pa.float64()),
        ("gpu_seconds", pa.float64()),
        ("gpu_decoding_seconds", pa.float64()),
        ("flops", pa.float64()),
        ("bytes", pa.int64()),
        ("memory_bytes", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Work:
    """What some builds should take: on one core, and on one GPU where the kind knows."""

    core_seconds: float
    gpu_seconds: float
    flops: float

    def text(self, *, on_gpu: bool) -> str:
        """In units that people read; `on_gpu`: where the study's trials ask for one."""
        if on_gpu and self.flops:
            return f"{duration(self.gpu_seconds)} on one GPU"
        return f"{duration(self.core_seconds)} on one core"


@dataclass(frozen=True)
class LookCost:
    """A look, the cells that it adds to those of the look before, and what they should take."""

    seeds: int
    todo: int
    work: Work


def stage_costs(
    builds: Sequence[Node], kind: StudyKind, resources: Resources
) -> tuple[StageCost, ...]:
    """The builds by stage, in the order of work."""
    stages = dict.fromkeys(node.stage for node in builds)
    return tuple(
        _stage_cost(stage, [node for node in builds if node.stage == stage], kind, resources)
        for stage in stages
    )


def _stage_cost(
    stage: str, builds: Sequence[Node], kind: StudyKind, resources: Resources
) -> StageCost:
    # One execution passes through all its lengths, and each of them is kept.
    estimate = estimator(kind)
    executed = [estimate(node) for node in longest(builds)]
    memory = most_memory(builds, kind, resources.of_stage(stage))
    return StageCost(
        stage=stage,
        builds=len(builds),
        core_seconds=sum(cost.seconds for cost in executed),
        gpu_seconds=sum(cost.gpu_seconds for cost in executed),
        gpu_decoding_seconds=sum(cost.gpu_decoding for cost in executed),
        flops=sum(cost.flops for cost in executed),
        bytes=sum(estimate(node).bytes for node in builds),
        memory_bytes=int(sum(memory.values())),
        memory=memory,
    )


def most_memory(
    builds: Sequence[Node], kind: StudyKind, resources: Resources
) -> Mapping[str, float]:
    """What a worker needs at once for the build that needs most, by what it is for."""
    needs = (kind.memory(node, resources) for node in builds)
    return max(needs, key=lambda parts: sum(parts.values()), default={})


def memory_shortfall(builds: Sequence[Node], kind: StudyKind, resources: Resources) -> str:
    """Why a build can't fit into what this machine has for a worker; empty where all can."""
    stages = dict.fromkeys(node.stage for node in builds)
    room = {stage: kind.device_memory(resources.of_stage(stage)) for stage in stages}
    known = any(has is not None for has in room.values())
    for cost in stage_costs(builds, kind, resources) if known else ():
        has = room[cost.stage]
        if has is not None and cost.memory_bytes > has:
            parts = ", ".join(f"{name} {size(count)}" for name, count in cost.memory.items())
            return (
                f"the stage {cost.stage} needs {size(cost.memory_bytes)} per worker ({parts}), and "
                f"a worker has {size(has)} here: {size(cost.memory_bytes - has)} too little"
            )
    return ""


def work_of(builds: Sequence[Node], kind: StudyKind) -> Work:
    """What the builds should take in all."""
    costs = [*map(estimator(kind), longest(builds))]
    return Work(
        core_seconds=sum(cost.seconds for cost in costs),
        gpu_seconds=sum(cost.gpu_seconds for cost in costs),
        flops=sum(cost.flops for cost in costs),
    )


def look_costs(plans: Sequence[Plan], kind: StudyKind) -> tuple[LookCost, ...]:
    """What each look adds.

    Args:
        plans: The study's plan at each of its looks; a later one holds the cells of those before.
        kind: The study's.
    """
    found, built, planned = [], set[str](), 0
    for plan in plans:
        new = [node for node in plan.builds() if node.id not in built]
        built.update(node.id for node in new)
        added = len(plan.todo) - planned
        planned = len(plan.todo)
        found.append(LookCost(len(plan.study.seeds), added, work_of(new, kind)))
    return tuple(found)


def further_seed(plan: Plan, kind: StudyKind) -> Work:
    """What one seed more than the plan has should take: what no planned cell shares with it."""
    taken = set(plan.study.seeds)
    seed = next(n for n in itertools.count() if n not in taken)
    cells = plan.study.model_copy(update={"seeds": (seed,), "looks": ()}).cells()
    needed = ancestry([node for cell in cells for node in cell.outputs])
    return work_of([node for node in needed if node.id not in plan.users], kind)
