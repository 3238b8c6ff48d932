"""What running a study would do and take: `recalltrap plan`, and `rt.plan` from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from recalltrap.defaults import storage_location
from recalltrap.graph import Node
from recalltrap.kind import StudyKind
from recalltrap.paths import Pathish
from recalltrap.registry import find_kind, room
from recalltrap.resources import Resources
from recalltrap.results import notebook_html
from recalltrap.results.readable_tables import readable
from recalltrap.run.plan import Plan
from recalltrap.run.run import asked_study, plan_study
from recalltrap.store.storage import Storage
from recalltrap.study.study import Study
from recalltrap.study.study_file import Overrides
from recalltrap.units import duration, hours, operations, size


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
class StudyPlan:
    """What running a study would do against a storage; printed, it is what `recalltrap plan` says.

    Counts are of cells, but for `trials`, `reused` (stages that stand in the store) and `shared`
    (stage executions that sharing saves). Of `todo`, `rebuilt` cells' rows were made from something
    that has changed, and `reevaluated` ones' are an earlier version's. `stages` is what is built,
    in the order of work. `schedulable` says whether this machine can run the trials.
    """

    study: str
    cells: int
    done: int
    todo: int
    rebuilt: int
    reevaluated: int
    trials: int
    stages: tuple[StageCost, ...]
    reused: int
    shared: int
    resources: Resources
    schedulable: str
    notes: tuple[str, ...]

    def total(self, name: str) -> float:
        """A column of `frame()` summed over the stages, e.g. `bytes`."""
        return float(sum(getattr(stage, name) for stage in self.stages))

    def table(self) -> pa.Table:
        """One row per stage that would be built: the fields of `StageCost`."""
        return pa.Table.from_pylist([vars(stage) for stage in self.stages], STAGE_COLUMNS)

    def frame(self) -> pd.DataFrame:
        """`table()` as a pandas frame."""
        frame: pd.DataFrame = self.table().to_pandas()
        return frame

    def rows(self) -> list[dict[str, Any]]:
        """The whole plan as `what` and `value`, in units that people read."""
        rows: list[tuple[str, Any]] = [
            ("study", self.study),
            ("cells", self.cells),
            ("cells already done", self.done),
            ("cells to do", self.todo),
            *self._anew_rows(),
            ("trials", self.trials),
            *((f"stages to build: {stage.stage}", stage.builds) for stage in self.stages),
            ("stages reused from the store", self.reused),
            ("stage executions saved by sharing", self.shared),
            *self._time_rows(),
            ("disk (estimated)", size(self.total("bytes"))),
            ("resources per trial", _asked(self.resources)),
            ("schedulable here", self.schedulable),
            *(("note", note) for note in self.notes),
        ]
        return [{"what": what, "value": value} for what, value in rows]

    def _anew_rows(self) -> list[tuple[str, str]]:
        """Cells that have rows already, which can't be taken for theirs, and why."""
        rows = [
            ("of which rebuilt", self.rebuilt, "a file or folder that they were made from has "
             "changed, or this version builds a stage differently"),
            ("of which re-evaluated", self.reevaluated, "their rows are an earlier version's, "
             "which evaluated differently or counted settings that nothing reads; artifacts stay"),
        ]  # fmt: skip
        return [(what, f"{count}: {why}") for what, count, why in rows if count]

    def _time_rows(self) -> list[tuple[str, str]]:
        flops, seconds = self.total("flops"), self.total("core_seconds")
        if self.resources.gpus_per_trial and flops:
            decoding = duration(self.total("gpu_decoding_seconds"))
            return [("FLOPs (estimated)", operations(flops)),
                    ("time on one GPU (estimated)", duration(self.total("gpu_seconds"))),
                    ("of which decoding (memory-bound)", decoding)]  # fmt: skip
        return [("time on one core (estimated)", duration(seconds)),
                ("core hours (estimated)", hours(seconds))]  # fmt: skip

    def __str__(self) -> str:
        return str(readable(self.rows()))

    def _repr_html_(self) -> str:
        title, *rows = self.rows()
        return notebook_html.block(title["value"], notebook_html.table(rows))


def plan(
    study: Pathish | Study,
    *,
    seeds: Any = None,
    overrides: Overrides = (),
    storage: Pathish | None = None,
) -> StudyPlan:
    """What `run` with the same arguments would do: cells, stages, time, disk. Nothing is written.

    Args:
        study: a named study, a path, or a `Study`.
        seeds: replaces the study's seeds, see `run`.
        overrides: replace fields of the study, see `run`.
        storage: where finished work is looked for; default RECALLTRAP_STORAGE, else `runs`.

    Raises:
        InputError: anything wrong with the study or the storage.
    """
    asked = asked_study(study, seeds, overrides)
    root = Storage(storage_location(storage))
    root.check_exists()
    found = plan_study(asked, root)
    kind = find_kind(asked.kind)
    if found.packs:
        kind.check_device(here=True)
    builds = found.builds()
    rebuilt, reevaluated = _anew(found, builds)
    wanted = sum(len(cell.nodes) for cell in found.todo)
    return StudyPlan(
        study=asked.name,
        cells=len(found.cells),
        done=len(found.done),
        todo=len(found.todo),
        rebuilt=rebuilt,
        reevaluated=reevaluated,
        trials=len(found.packs),
        stages=_stage_costs(builds, kind),
        reused=len(found.cached),
        shared=wanted - len(builds) - len(found.cached),
        resources=asked.resources,
        schedulable=room("schedulable")(asked.resources, len(found.packs), kind.grouped),
        notes=found.notes,
    )


def _anew(found: Plan, builds: Sequence[Node]) -> tuple[int, int]:
    """How many cells that have rows already are built, and how many only evaluated, again."""
    built = {node.id for node in builds}
    anew = [cell for cell in found.todo if cell.id in found.anew]
    changed = sum(any(node.id in built for node in cell.nodes) for cell in anew)
    return changed, len(anew) - changed


def _stage_costs(builds: Sequence[Node], kind: StudyKind) -> tuple[StageCost, ...]:
    stages = dict.fromkeys(node.stage for node in builds)
    costs = {
        stage: [kind.estimate(node) for node in builds if node.stage == stage] for stage in stages
    }
    return tuple(
        StageCost(
            stage=stage,
            builds=len(each),
            core_seconds=sum(cost.seconds for cost in each),
            gpu_seconds=sum(cost.gpu_seconds for cost in each),
            gpu_decoding_seconds=sum(cost.gpu_decoding for cost in each),
            flops=sum(cost.flops for cost in each),
            bytes=sum(cost.bytes for cost in each),
        )
        for stage, each in costs.items()
    )


def _asked(wanted: Resources) -> str:
    gpus = f", {wanted.gpus_per_trial:g} GPU" if wanted.gpus_per_trial else ""
    each = f"{wanted.cpus_per_trial} CPU{gpus}"
    return each if wanted.workers == 1 else f"{wanted.workers} workers, each {each}"
