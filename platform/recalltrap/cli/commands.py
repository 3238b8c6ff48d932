"""What the commands print, as rows. The other rooms are reached late, through the registry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pyarrow as pa

from recalltrap.cli.output import print_table, say
from recalltrap.cli.units import duration, size
from recalltrap.defaults import storage_location
from recalltrap.kind import CostEstimate
from recalltrap.registry import find_kind, room
from recalltrap.resources import Resources
from recalltrap.results.notes import unmeasured_notes, view_notes
from recalltrap.results.results import Results, open_run
from recalltrap.run.display import ProgressTable, Silent
from recalltrap.run.execution import reference_metrics
from recalltrap.run.plan import Plan, plan_references
from recalltrap.run.run import (
    check_place,
    execute_here,
    make_context,
    plan_study,
    run,
)
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.checks import parse_study
from recalltrap.study.named_studies import load_study, named_studies
from recalltrap.study.schema import study_schema
from recalltrap.study.study_file import read_study

Rows = list[dict[str, Any]]


def study_rows() -> Rows:
    """The named studies."""
    rows = []
    for named in named_studies().values():
        study = parse_study(*read_study(named.path))
        rows.append({"study": named.name, "cells": study.size, "question": study.question})
    return rows


def study_schema_text() -> str:
    return json.dumps(study_schema(), indent=2)


def plan_rows(name: str, overrides: Sequence[str], location: str | None) -> Rows:
    """What running a study would do, as name and value."""
    study = load_study(name, overrides)
    root = Storage(storage_location(location))
    root.check_exists()
    plan = plan_study(study, root)
    kind = find_kind(study.kind)
    if plan.packs:
        kind.check_device(here=True)
    builds = plan.builds()
    costs = [kind.estimate(node) for node in builds]
    asks = study.resources
    stages = Counter(node.stage for node in builds)
    asked = sum(len(cell.nodes) for cell in plan.todo)
    rows: list[tuple[str, Any]] = [
        ("study", study.name),
        ("cells", len(plan.cells)),
        ("cells already done", len(plan.done)),
        ("cells to do", len(plan.todo)),
        *_anew_rows(plan),
        ("trials", len(plan.packs)),
        *((f"stages to build: {stage}", count) for stage, count in stages.items()),
        ("stages reused from the store", len(plan.cached)),
        ("stage executions saved by sharing", asked - len(builds) - len(plan.cached)),
        *_time_rows(costs, study.resources),
        ("disk (estimated)", size(sum(cost.bytes for cost in costs))),
        ("resources per trial", _asked(asks)),
        ("schedulable here", room("schedulable")(asks, len(plan.packs), kind.grouped)),
        *(("note", note) for note in plan.notes),
    ]
    return [{"what": what, "value": value} for what, value in rows]


def _anew_rows(plan: Plan) -> list[tuple[str, Any]]:
    """Cells that have rows already, which can't be taken for theirs, and why."""
    built = {node.id for node in plan.builds()}
    anew = [cell for cell in plan.todo if cell.id in plan.anew]
    changed = sum(any(node.id in built for node in cell.nodes) for cell in anew)
    rows = [
        ("of which rebuilt", changed, "a file or folder that they were made from has changed, "
         "or this version builds a stage differently"),
        ("of which re-evaluated", len(anew) - changed, "their rows are an earlier version's, "
         "which evaluated differently or counted settings that nothing reads; artifacts stay"),
    ]  # fmt: skip
    return [(what, f"{count}: {why}") for what, count, why in rows if count]


def _time_rows(costs: Sequence[CostEstimate], wanted: Resources) -> list[tuple[str, Any]]:
    flops = sum(cost.flops for cost in costs)
    if wanted.gpus_per_trial and flops:
        decoding = sum(cost.gpu_decoding for cost in costs)
        return [("FLOPs (estimated)", f"{flops:.2g}"),
                ("time on one GPU (estimated)", duration(sum(cost.gpu_seconds for cost in costs))),
                ("of which decoding (memory-bound)", duration(decoding))]  # fmt: skip
    seconds = sum(cost.seconds for cost in costs)
    return [("time on one core (estimated)", duration(seconds)),
            ("core hours (estimated)", f"{seconds / 3600:.3g}")]  # fmt: skip


def _asked(wanted: Resources) -> str:
    gpus = f", {wanted.gpus_per_trial:g} GPU" if wanted.gpus_per_trial else ""
    each = f"{wanted.cpus_per_trial} CPU{gpus}"
    return each if wanted.workers == 1 else f"{wanted.workers} workers, each {each}"


def status_rows(run: str, location: str | None) -> Rows:
    """Planned, succeeded, failed and missing cells, per ordering and in all."""
    results = open_run(run, location)
    query = """
        select p.ordering, count(*) as planned,
               count(*) filter (c.status = 'succeeded') as succeeded,
               count(*) filter (c.status = 'failed') as failed,
               count(*) filter (c.status is null) as missing
        from planned p left join cells c using (cell_id) group by p.ordering order by p.ordering"""
    rows: Rows = results.sql(query).to_pylist()
    names = ("planned", "succeeded", "failed", "missing")
    return [*rows, {"ordering": "all", **{name: sum(row[name] for row in rows) for name in names}}]


def status_notes(run: str, location: str | None) -> list[str]:
    """What the counts don't tell: finished cells that aren't shown, and values that lack."""
    results = open_run(run, location)
    return [*view_notes(results), *unmeasured_notes(results)]


def forecast_rows(name: str, overrides: Sequence[str], location: str | None) -> pa.Table:
    """Build the references that the store lacks, in this process, and forecast from them."""
    study = load_study(name, overrides)
    root = Storage(storage_location(location))
    for note in find_kind(study.kind).check(study.cells()):
        say(f"note: {note}", error=True)
    root.check_usable()
    store = ArtifactStore(root)
    plan = plan_references(study, store)
    check_place(plan, here=True)
    for node in plan.cached:
        store.open(node).verify()
    root.prepare()
    if plan.packs:
        say(f"building {len(plan.builds())} references ...", error=True)
        execute_here(plan, make_context(plan, root), Silent())
    metrics = reference_metrics(_built(plan, store), find_kind(study.kind), store)
    table: pa.Table = pa.Table.from_pandas(
        room("forecast")(metrics, study.axes, study.kind), preserve_index=False
    )
    return table


def _built(plan: Plan, store: ArtifactStore) -> list[Any]:
    """The cells whose references stand."""
    return [cell for cell in plan.cells if all(store.has(node) for node in cell.references)]


def report_text(runs: Sequence[str], location: str | None, form: str) -> str:
    """Write the report of the named runs; the path of its page, or what is for a pipe itself."""
    opened = [open_run(run, location) for run in runs]
    if form == "html":
        path: str = room("report")(*opened, form=form)
        return path
    texts: list[str] = []
    room("report")(*opened, form=form, tell=texts.append)
    return "".join(texts)


def run_studies(
    names: Sequence[str],
    overrides: Sequence[str],
    location: str | None,
    address: str,
    local: bool,
) -> int:
    """Run studies one after another and conclude each; the worst of their exit statuses."""
    loaded = [load_study(name, overrides) for name in names]
    status = 0
    with nullcontext() if local or len(loaded) == 1 else room("session")(address):
        for study in loaded:
            shown = ProgressTable()
            results = run(study, storage=location, address=address, local=local, display=shown)
            status = max(status, conclude(results))
    return status


def conclude(results: Results) -> int:
    """Write the report, then print the severity table and the verdict; the run's exit status.

    The report comes first: whatever becomes of the terminal, it stands.
    """
    summary = room("summary")(results)
    report = room("report")(results, summary=summary)
    print_table(summary.table().to_dict("records"))
    say(f"\n{summary.sentence}")
    for note in (*summary.notes, *view_notes(results)):
        say(f"note: {note}")
    say(f"report: {report}")
    return 1 if summary.succeeded < summary.planned else 0
