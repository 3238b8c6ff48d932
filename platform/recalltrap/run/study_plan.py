"""What running a study would do and take: `recalltrap plan`, and `rt.plan` from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Unpack

import pandas as pd
import pyarrow as pa

from recalltrap.defaults import storage_location
from recalltrap.graph import Node
from recalltrap.orderings import aligns
from recalltrap.paths import Pathish
from recalltrap.registry import find_kind, room
from recalltrap.resources import Resources
from recalltrap.results import notebook_html
from recalltrap.results.launch_looks import judged_at
from recalltrap.results.readable_tables import readable
from recalltrap.results.results import Results, known_runs, run_folder
from recalltrap.run.look_studies import studies_at_looks
from recalltrap.run.plan import Plan
from recalltrap.run.plan_costs import (
    STAGE_COLUMNS,
    LookCost,
    StageCost,
    Work,
    further_seed,
    look_costs,
    memory_shortfall,
    stage_costs,
)
from recalltrap.run.run import plan_study
from recalltrap.store.storage import Storage
from recalltrap.study.asked_study import AnyStudy, StudyFields, asked_study
from recalltrap.study.study import Study
from recalltrap.study.study_file import Overrides
from recalltrap.units import duration, hours, operations, size


class Decides(Protocol):
    """What a study's primary can decide: `recalltrap_analysis.verdicts.power_of_study`."""

    def rows(self) -> list[tuple[str, str]]:
        """The same as `what` and `value`, in words that people read."""
        ...


@dataclass(frozen=True)
class StudyPlan:
    """What running a study would do against a storage; printed, it is what `recalltrap plan` says.

    Counts are of cells, but for `trials`, `reused` (stages that stand in the store) and `shared`
    (stage executions that sharing saves). Of `todo`, `rebuilt` cells' rows were made from something
    that has changed, and `reevaluated` ones' are an earlier version's. `stages` is what is built,
    in the order of work. `schedulable` says whether that place can run the trials, and
    `memory_here` whether each stage fits into its memory, by the estimates. `primary` is
    what the study's primary can decide with all its seeds, None where it has none, which
    `no_primary` then explains; `seed` what one seed more would take; `looks` what each planned look
    adds, of a study that is run until it is decided: the counts are of all of them.
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
    memory_here: str
    primary: Decides | None
    no_primary: str
    seed: Work
    looks: tuple[LookCost, ...]
    notes: tuple[str, ...]

    @property
    def shortfall(self) -> str:
        """Why its trials can never run there; empty where they can, and where all is done."""
        return self.schedulable.removeprefix("no: ") if self.schedulable.startswith("no: ") else ""

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
            *self._memory_rows(),
            ("disk (estimated)", size(self.total("bytes"))),
            ("resources per trial", _asked(self.resources)),
            *(
                (f"resources of {stage}", _asked(self.resources.of_stage(stage)))
                for stage in self.resources.stages
            ),
            ("schedulable here", self.schedulable),
            *self._look_rows(),
            *(self.primary.rows() if self.primary else [("primary", self.no_primary)]),
            ("a further seed (estimated)", self.seed.text(on_gpu=self._on_gpu)),
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

    def _look_rows(self) -> list[tuple[str, str]]:
        """What each look costs beyond the looks before it."""
        more, rows = "", []
        for number, look in enumerate(self.looks, 1):
            cells = f"{look.todo:,}{more} cells to do"
            work = f"{cells}, {look.work.text(on_gpu=self._on_gpu)}" if look.todo else cells
            rows.append((f"look {number} of {len(self.looks)}: {look.seeds} seeds", work))
            more = " more"
        return rows

    @property
    def _on_gpu(self) -> bool:
        return self.resources.uses_gpus

    def _time_rows(self) -> list[tuple[str, str]]:
        flops, seconds = self.total("flops"), self.total("core_seconds")
        if self._on_gpu and flops:
            decoding = duration(self.total("gpu_decoding_seconds"))
            return [("FLOPs (estimated)", operations(flops)),
                    ("time on one GPU (estimated)", duration(self.total("gpu_seconds"))),
                    ("of which decoding (memory-bound)", decoding)]  # fmt: skip
        return [("time on one core (estimated)", duration(seconds)),
                ("core hours (estimated)", hours(seconds))]  # fmt: skip

    def _memory_rows(self) -> list[tuple[str, str]]:
        """What a worker needs at once in each stage that needs any, in all and for what."""
        rows = []
        for stage in self.stages:
            parts = ", ".join(f"{name} {size(count)}" for name, count in stage.memory.items())
            if parts:
                text = f"{size(stage.memory_bytes)}: {parts}"
                rows.append((f"memory per worker: {stage.stage}", text))
        return [*rows, ("memory here", self.memory_here)] if rows else []

    def __str__(self) -> str:
        return str(readable(self.rows()))

    def _repr_html_(self) -> str:
        title, *rows = self.rows()
        return notebook_html.block(title["value"], notebook_html.table(rows))


def plan(
    study: AnyStudy | None = None,
    *,
    seeds: Any = None,
    overrides: Overrides = (),
    storage: Pathish | None = None,
    address: str = "local",
    **fields: Unpack[StudyFields],
) -> StudyPlan:
    """What `run` with the same arguments would do: cells, stages, time, disk. Nothing is written.

    Args:
        study: a named study, a path, a mapping or a `Study`, see `run`.
        seeds: replaces the study's seeds, see `run`.
        overrides: replace fields of the study, see `run`.
        storage: where finished work is looked for; default RECALLTRAP_STORAGE, else `runs`.
        address: where it shall run: `local` is this machine, and no Ray is started for it; a
            cluster's address (see `run`) is joined to look at its nodes.
        fields: fields of the study as keywords, see `run`.

    Raises:
        InputError: anything wrong with the study or the storage.
    """
    asked = asked_study(plan, study, seeds, overrides, fields)
    root = Storage(storage_location(storage))
    root.check_exists()
    plans = [plan_study(look, root) for look in studies_at_looks(asked)]
    found = plans[-1]
    kind = find_kind(asked.kind)
    if found.packs:
        kind.check_device(here=address == "local")
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
        stages=stage_costs(builds, kind, asked.resources),
        reused=len(found.cached),
        shared=wanted - len(builds) - len(found.cached),
        resources=asked.resources,
        schedulable=room("placement")(found, address),
        memory_here=_fits(memory_shortfall(builds, kind, asked.resources)),
        primary=_decides(found, root),
        no_primary=_no_primary(found.study),
        seed=further_seed(found, kind),
        looks=look_costs(plans, kind) if asked.looks else (),
        notes=found.notes,
    )


def _decides(found: Plan, storage: Storage) -> Decides | None:
    """What the primary can decide, at the spread of the study's nearest relative that has run."""
    study, folder = found.study, run_folder(found.study.name)
    if storage.exists(f"{folder}/study.yaml"):
        looks = judged_at(study, Results(storage, folder).launches())
        study = study.model_copy(update={"looks": looks})
    runs = [Results(storage, run_folder(name)) for name in known_runs(storage)]
    return room("power")(study, found.cells, study.axes, runs)  # type: ignore[no-any-return]


def _no_primary(study: Study) -> str:
    """Why a study without a primary has none."""
    if not any(map(aligns, study.orderings)):
        return "no contrast: nothing is aligned"
    return "none: write primary: {contrast: [...]} with two of the study's orderings"


def _anew(found: Plan, builds: Sequence[Node]) -> tuple[int, int]:
    """How many cells that have rows already are built, and how many only evaluated, again."""
    built = {node.id for node in builds}
    anew = [cell for cell in found.todo if cell.id in found.anew]
    changed = sum(any(node.id in built for node in cell.nodes) for cell in anew)
    return changed, len(anew) - changed


def _fits(shortfall: str) -> str:
    return f"no: {shortfall}" if shortfall else "nothing that is known not to fit"


def _asked(wanted: Resources) -> str:
    gpus = f", {wanted.gpus_per_trial:g} GPU" if wanted.gpus_per_trial else ""
    kind = f" ({wanted.accelerator_type})" if wanted.accelerator_type else ""
    custom = "".join(f", {amount:g} {name}" for name, amount in wanted.custom.items())
    each = f"{wanted.cpus_per_trial} CPU{gpus}{kind}{custom}"
    if wanted.labels:
        labels = ", ".join(f"{name}: {value}" for name, value in wanted.labels.items())
        each = f"{each}, on nodes with {labels}"
    return each if wanted.workers == 1 else f"{wanted.workers} workers, each {each}"
