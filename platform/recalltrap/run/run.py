"""Running a study: load, plan, check, record, execute. The one entry that writes a run's folder."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Unpack

from recalltrap.defaults import STORAGE_VARIABLE, storage_location
from recalltrap.errors import InputError, is_storage_full, storage_full
from recalltrap.graph import Cell
from recalltrap.identity import fingerprint
from recalltrap.kind import Progress
from recalltrap.logs.lines import json_wanted
from recalltrap.paths import Pathish
from recalltrap.registry import find_kind, room
from recalltrap.results.launch_looks import launch_looks
from recalltrap.results.results import CONTENTS, Results, run_folder
from recalltrap.results.table_parts import write_part
from recalltrap.results.tables import conform, factor_columns, factor_fields, table_schema
from recalltrap.run.context import RunContext
from recalltrap.run.display import Display
from recalltrap.run.execution import PackRun, record_failure, stage_costs
from recalltrap.run.failures import classify
from recalltrap.run.look_studies import noting, studies_at_looks, undecided_at
from recalltrap.run.notebook_display import default_display
from recalltrap.run.plan import Pack, Plan, make_plan
from recalltrap.run.plan_costs import memory_shortfall
from recalltrap.run.stage_packs import pack_resources, with_stage_packs
from recalltrap.run.worker_group import WorkerGroup, joined
from recalltrap.store.contents import to_remember
from recalltrap.store.leftovers import clear_leftovers
from recalltrap.store.provenance import current_provenance, pass_on_argv
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.asked_study import AnyStudy, StudyFields, asked_study
from recalltrap.study.study import Study
from recalltrap.study.study_file import Overrides

Executor = Callable[[Plan, RunContext, Display], None]


def run(
    study: AnyStudy | None = None,
    *,
    seeds: Any = None,
    overrides: Overrides = (),
    storage: Pathish | None = None,
    address: str = "local",
    local: bool = False,
    display: Display | None = None,
    **fields: Unpack[StudyFields],
) -> Results:
    """Run what a study misses and return its results.

    Where its seeds are a plan of looks, it runs the first look's, judges its primary, and goes on
    to the next look until every stratum is decided or the last look is done.

    Args:
        study: a named study, a path, a mapping with what a file holds, or a `Study`; without one
            the keywords are the study.
        seeds: replaces the study's seeds: a number n for 0..n-1, whatever lists whole numbers
            (a range, an array, a Series), or a plan of looks, e.g. `{"looks": [5, 8, 12]}`.
        overrides: `field=value` settings as on the command line, e.g. `settings.iterations=300`,
            or a mapping from fields to values.
        storage: folder or URI for the results, see `recalltrap.paths`; default RECALLTRAP_STORAGE,
            else `runs`.
        address: Ray's address: `local` starts Ray here, `auto` or `ray://...` joins a cluster.
        local: everything in this process, without Ray.
        display: who is told of the progress, see `recalltrap.run.display`; by default a table in
            a notebook, and nobody elsewhere. `Silent()` says nothing in a notebook, either.
        fields: fields of the study as keywords, `name="mine", kind="mog", ...`, checked as a file
            is. Beside a `study` they replace its own.

    Raises:
        InputError: anything wrong with the study, the storage or the resources; nothing ran.
    """
    pass_on_argv()
    asked = asked_study(run, study, seeds, overrides, fields)
    root = Storage(storage_location(storage))
    root.check_usable()
    shown = display or default_display()
    looks = studies_at_looks(asked)
    # Ray stays for all looks, where they need it at all.
    stays = len(looks) > 1 and not local and bool(plan_study(looks[-1], root).packs)
    with room("session")(address) if stays else nullcontext():
        undecided: tuple[str, ...] = ()
        for look in looks:
            results = _run_at(look, root, address, local, shown, undecided)
            if look is looks[-1] or not (undecided := undecided_at(results)):
                break
    return results


def _run_at(
    study: Study,
    root: Storage,
    address: str,
    local: bool,
    display: Display,
    undecided: tuple[str, ...],
) -> Results:
    """Run what a study with these seeds misses; `undecided` is what the look before it left."""
    plan = noting(plan_study(study, root), undecided)
    check_place(plan, here=local or address == "local")
    for node in plan.cached:
        ArtifactStore(root).open(node).verify()
    with nullcontext(execute_here) if local else room("executor")(address, plan) as executor:
        root.prepare()
        clear_leftovers(root, run_folder(study.name))
        context = make_context(plan, root)
        ended = _record_launch(plan, context)
        _execute(executor, plan, context, display)
        ended()
    return Results(root, context.run)


def _execute(executor: Executor, plan: Plan, context: RunContext, display: Display) -> None:
    display.begin(plan)
    try:
        if plan.packs:
            executor(plan, context, display)
    finally:
        display.end()


def plan_study(study: Study, storage: Storage) -> Plan:
    """The plan of a study against what the storage holds; nothing is written.

    Raises:
        InputError: a part of the run's tables is damaged: that is for the user to move, never to
            be overwritten. Or the kind can see that a cell would fail.
    """
    plan = plan_unchecked(study, storage)
    return replace(plan, notes=tuple(find_kind(study.kind).check(plan.todo)))


def plan_unchecked(study: Study, storage: Storage) -> Plan:
    """`plan_study` without the kind's look at the models and files that the study names."""
    folder = run_folder(study.name)
    done: list[str] = []
    results = Results(storage, folder)
    stored = storage.exists(f"{folder}/study.yaml")
    if stored:
        query = "select cell_id from cells_parts where status = 'succeeded'"
        done = results.sql(query)["cell_id"].to_pylist()
    kind = find_kind(study.kind)
    plan = with_stage_packs(make_plan(study, kind, ArtifactStore(storage), done))
    if stored and plan.todo and set(done) - plan.done:
        plan = replace(plan, anew=_known_otherwise(plan.todo, results))
    return plan


def _known_otherwise(cells: Sequence[Cell], results: Results) -> frozenset[str]:
    """Cells whose rows stand under another id: an earlier version's, that decided it otherwise."""
    names = [field.name for field in factor_fields(type(cells[0].settings))]
    columns = ", ".join(f'"{name}"' for name in ("ordering", "seed", *names))
    rows = results.sql(f"select {columns} from cells_parts where status = 'succeeded'").to_pylist()

    def place(ordering: str, seed: int, values: Mapping[str, Any]) -> str:
        return json.dumps([ordering, seed, [values[name] for name in names]])

    known = {place(row["ordering"], row["seed"], row) for row in rows}
    return frozenset(
        cell.id for cell in cells if place(cell.ordering.name, cell.seed, cell.factors) in known
    )


def check_place(plan: Plan, *, here: bool) -> None:
    """Refuse devices that aren't there and models that can't be had or can't fit; `here`: on this
    machine.

    Raises:
        InputError: see `StudyKind`.
    """
    if not plan.packs:
        return
    kind = find_kind(plan.study.kind)
    kind.check_device(here=here)
    if here:
        kind.check_access(plan.todo)
        if shortfall := memory_shortfall(plan.builds(), kind, plan.study.resources):
            raise InputError(
                f"{shortfall}. Choose smaller models, sequences or batches, set "
                "resources.gradient_accumulation or resources.gradient_checkpointing, share with "
                "resources.workers and resources.zero_stage, or run it on a larger machine"
            )


def make_context(plan: Plan, storage: Storage) -> RunContext:
    """What the packs share, from the plan and the failures so far."""
    study = plan.study
    folder = run_folder(study.name)
    attempts: dict[str, int] = {}
    if storage.exists(f"{folder}/study.yaml"):
        counts = "select cell_id, count(*) as n from failures_parts group by cell_id"
        rows = Results(storage, folder).sql(counts).to_pylist()
        attempts = {row["cell_id"]: row["n"] for row in rows}
    retry = shlex.join(["recalltrap", "run", storage.display(f"{folder}/study.yaml")])
    retry = f"{retry} --storage {_storage_argument(storage)}"
    users = {node.id: plan.users[node.id] for pack in plan.packs for node in pack.nodes}
    limits = study.resources.time_limits
    return RunContext(
        storage, folder, study.name, study.kind, users, attempts, retry, json_wanted(), limits
    )


def _storage_argument(storage: Storage) -> str:
    """How to give the storage again. One with credentials stands in the environment, not in a
    shell's history."""
    hidden = storage.shown != storage.location
    return f'"${STORAGE_VARIABLE}"' if hidden else shlex.quote(storage.location)


def _record_launch(plan: Plan, context: RunContext) -> Callable[[], None]:
    """Write study.yaml, the planned cells and this launch's record; what to call at its end."""
    storage, started = context.storage, datetime.now(UTC)
    write_planned(storage, context.run, plan.cells)
    if plan.cached:
        reused = stage_costs(plan.cached, ArtifactStore(storage), plan.users, {}, "store")
        part = f"from-store-{fingerprint([node.id for node in plan.cached])}"
        write_part(storage, context.run, "costs", part, reused)
    contents = to_remember(plan.cells)
    if contents or storage.exists(f"{context.run}/{CONTENTS}"):
        storage.write(f"{context.run}/{CONTENTS}", json.dumps(contents, indent=1).encode())
    storage.write(f"{context.run}/study.yaml", plan.study.to_yaml().encode())
    record: dict[str, Any] = {
        "started_at": started.isoformat(),
        "provenance": current_provenance(storage),
        **launch_looks(plan.study),
        "cells": len(plan.cells),
        "done_before": len(plan.done),
        "stages_built": len(plan.builds()),
        "stages_from_store": len(plan.cached),
    }
    name = f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"

    def write() -> None:
        storage.write(f"{context.run}/launches/{name}.json", json.dumps(record, indent=1).encode())

    def end() -> None:
        record["ended_at"] = datetime.now(UTC).isoformat()
        write()

    write()
    return end


def write_planned(storage: Storage, folder: str, cells: Sequence[Cell]) -> None:
    """Write the table of planned cells: what the run's views show."""
    fields = factor_fields(type(cells[0].settings))
    data = {
        "cell_id": [cell.id for cell in cells],
        "ordering": [cell.ordering.name for cell in cells],
        "seed": [cell.seed for cell in cells],
        **factor_columns(cells, fields),
        "config_hash": [cell.setting for cell in cells],
    }
    table = conform("planned", data, table_schema("planned", fields))
    write_part(storage, folder, "planned", "study", table)


def _tell(display: Display, pack: Pack, progress: Progress) -> None:
    row = {"stage": progress.stage, "step": progress.step, "steps": progress.steps}
    display.progress(pack, {**progress.metrics, **row})


def execute_here(plan: Plan, context: RunContext, display: Display) -> None:
    """Run the packs one after another in this process."""
    for pack in plan.packs:
        alone = WorkerGroup(resources=pack_resources(pack, plan.study.resources))
        work = PackRun(pack, context)
        try:
            tell = partial(_tell, display, pack)
            with joined(replace(alone, report=tell)):
                for step in work.steps():
                    tell(step)
        except Exception as error:  # a failed pack is data, whatever failed in it
            if is_storage_full(error):
                raise storage_full(error) from None
            reason = classify(error)
            record_failure(context, pack, reason, "local")
            display.failed(pack, reason[1])
        else:
            display.finished(pack)
