"""What building should take: by stage, by look, and for a further seed. Estimates of the kind's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from recalltrap.graph import Node, ancestry
from recalltrap.kind import StudyKind
from recalltrap.run.plan import Plan, longest
from recalltrap.units import duration


@dataclass(frozen=True)
class StageCost:
    """One stage's executions that a run would add, and what they should take in all.

    `core_seconds` on one core, `gpu_seconds` on one GPU where the kind knows, of which
    `gpu_decoding_seconds` draw tokens; `bytes` on disk.
    """

    stage: str
    builds: int
    core_seconds: float
    gpu_seconds: float
    gpu_decoding_seconds: float
    flops: float
    bytes: int


STAGE_COLUMNS = pa.schema(
    [
        ("stage", pa.string()),
        ("builds", pa.int64()),
        ("core_seconds", pa.float64()),
        ("gpu_seconds", pa.float64()),
        ("gpu_decoding_seconds", pa.float64()),
        ("flops", pa.float64()),
        ("bytes", pa.int64()),
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


def stage_costs(builds: Sequence[Node], kind: StudyKind) -> tuple[StageCost, ...]:
    """The builds by stage, in the order of work."""
    stages = dict.fromkeys(node.stage for node in builds)
    return tuple(
        _stage_cost(stage, [node for node in builds if node.stage == stage], kind)
        for stage in stages
    )


def _stage_cost(stage: str, builds: Sequence[Node], kind: StudyKind) -> StageCost:
    # One execution passes through all its lengths, and each of them is kept.
    executed = [kind.estimate(node) for node in longest(builds)]
    return StageCost(
        stage=stage,
        builds=len(builds),
        core_seconds=sum(cost.seconds for cost in executed),
        gpu_seconds=sum(cost.gpu_seconds for cost in executed),
        gpu_decoding_seconds=sum(cost.gpu_decoding for cost in executed),
        flops=sum(cost.flops for cost in executed),
        bytes=sum(kind.estimate(node).bytes for node in builds),
    )


def work_of(builds: Sequence[Node], kind: StudyKind) -> Work:
    """What the builds should take in all."""
    costs = [kind.estimate(node) for node in longest(builds)]
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
