"""Executing one pack, wherever it runs: build what is missing, evaluate, write the tables.

An executor (this process, or Ray Tune's trials) drives `PackRun.steps` and gets a `Progress`
after every chunk of iterations. Where a group of processes executes the pack, all of them drive
it: the leading one decides what is missing and writes, the others build along.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recalltrap.errors import FailureClass, StageError
from recalltrap.graph import Cell, Node
from recalltrap.kind import Evaluation, NodeFailure, Progress, StudyKind
from recalltrap.logs.cell_logging import LOGGER, logging_about
from recalltrap.logs.lines import named_cells
from recalltrap.registry import find_kind
from recalltrap.results.table_parts import write_part
from recalltrap.results.tables import conform, factor_columns, factor_fields, table_schema
from recalltrap.run.context import RunContext
from recalltrap.run.failures import (
    given_up,
    read_stage_failure,
    stage_notes,
    write_failures,
    write_stage_failure,
)
from recalltrap.run.plan import Pack
from recalltrap.run.worker_group import current_group
from recalltrap.store.build_locks import build_lock
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.supervision.stage_clock import check_time, limited

LOCAL = "local"
"""The id of what no trial of Ray's runs."""
LOCK_WAIT_SECONDS = 1.0
ADDITIVE_COSTS = ("wall_seconds", "device_seconds", "tokens", "flops")


@dataclass
class PackRun:
    """One execution of one pack."""

    pack: Pack
    context: RunContext
    trial_id: str = LOCAL
    failures: dict[str, NodeFailure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kind: StudyKind = find_kind(self.context.kind)
        self.store = ArtifactStore(self.context.storage)
        self.group = current_group()
        self._own = {node.id for node in self.pack.nodes}
        self.started_at = datetime.now(UTC)
        self._clock = time.perf_counter()

    def steps(self) -> Iterator[Progress]:
        """Do the pack's work; the tables stand when the iterator ends."""
        with logging_about(self._about()) if self.context.json_logs else nullcontext():
            yield from self._steps()

    def _about(self) -> dict[str, Any]:
        """What a line of the log says of where it comes from."""
        about = {"pack": self.pack.id, "trial": self.trial_id, "worker": self.group.rank}
        if not self.pack.cells:
            about["artifacts"] = [node.id for node in self.pack.nodes]
        return {**about, **named_cells([cell.id for cell in self.pack.cells])}

    def _steps(self) -> Iterator[Progress]:
        if not self.group.leads:
            yield from self._build_along()
            return
        for batch in _batches(self.pack.nodes):
            yield from self._build(batch)
        self.group.broadcast(None)
        failed = {cell.id: failure for cell in self.pack.cells if (failure := self._fault(cell))}
        succeeded = [cell for cell in self.pack.cells if cell.id not in failed]
        clock = time.perf_counter()
        evaluation = self.kind.evaluate(succeeded, self.store) if succeeded else None
        self._evaluation_seconds = time.perf_counter() - clock
        self._write(succeeded, failed, evaluation)

    def _build(self, batch: Sequence[Node]) -> Iterator[Progress]:
        """Build what is missing of a batch, once, however many processes want it."""
        batch = [node for node in batch if not self._lost(node)]
        locks = sorted({node.execution for node in batch})
        while True:
            with build_lock(self.context.storage, locks, LOCK_WAIT_SECONDS) as held:
                if held:
                    missing = [node for node in batch if not self.store.has(node)]
                    if missing:
                        yield from self._build_missing(missing)
                    return
            yield Progress(batch[0].stage, 0, batch[0].length, {"waiting_for_another_run": 1.0})

    def _build_along(self) -> Iterator[Progress]:
        """Build what the leading process says, until it says that nothing is left."""
        nodes = {node.id: node for node in self.pack.nodes}
        self.kind.prepare()
        while (wanted := self.group.broadcast(None)) is not None:
            yield from self.kind.build([nodes[name] for name in wanted], self.store)

    def _build_missing(self, missing: Sequence[Node]) -> Iterator[Progress]:
        self.group.broadcast([node.id for node in missing])
        LOGGER.info("building %s: %s", missing[0].stage, ", ".join(n.id for n in missing))
        self.kind.prepare()  # which takes seconds in a new process, and belongs to no stage
        stage = missing[0].stage
        hangs = None if self.trial_id == LOCAL else partial(self._give_up, missing)
        with limited(stage, self.context.time_limits.get(stage), hangs):
            for progress in self.kind.build(missing, self.store):
                for failure in progress.failures:
                    self.failures[failure.node.id] = failure
                    write_stage_failure(self.context, failure, self.trial_id)
                yield progress
                check_time()

    def _give_up(self, missing: Sequence[Node], error: StageError) -> None:
        """Leave word and end this process, which hangs: the pack's next attempt heeds it."""
        for node in missing:
            if not self.store.has(node):
                failure = NodeFailure(node, error.failure, error.message)
                write_stage_failure(self.context, failure, self.trial_id)
        os.kill(os.getpid(), signal.SIGKILL)

    def _lost(self, node: Node) -> NodeFailure | None:
        """The failure that took the node, here or in the pack that should have built it."""
        if node.id not in self.failures and not self.store.has(node):
            lost = next((found for p in node.parents.values() if (found := self._lost(p))), None)
            if lost is None and node.id not in self._own:
                lost = read_stage_failure(self.context, node)
            if lost is None and f"{node.id}.json" in self._notes:
                lost = given_up(self.context, node, self.trial_id)
            if lost is not None:
                self.failures[node.id] = lost
        return self.failures.get(node.id)

    @cached_property
    def _notes(self) -> frozenset[str]:
        """Word that earlier attempts of this trial may have left; a run without trials has none."""
        return frozenset() if self.trial_id == LOCAL else stage_notes(self.context)

    def _fault(self, cell: Cell) -> NodeFailure | None:
        return next((lost for node in cell.outputs if (lost := self._lost(node))), None)

    def _write(
        self,
        succeeded: Sequence[Cell],
        failed: dict[str, NodeFailure],
        evaluation: Evaluation | None,
    ) -> None:
        seconds = time.perf_counter() - self._clock
        storage, run, part = self.context.storage, self.context.run, self.pack.id
        write_part(storage, run, "costs", part, self._costs(succeeded))
        if evaluation is not None:
            write_part(storage, run, "metrics", part, _metrics(evaluation, succeeded, self.kind))
            if evaluation.curves is not None:
                curves = conform("curves", evaluation.curves, table_schema("curves"))
                write_part(storage, run, "curves", part, curves)
            if evaluation.responses is not None:
                rows = _placed(evaluation.responses, succeeded)
                responses = conform("responses", rows, table_schema("responses"))
                write_part(storage, run, "responses", part, responses)
        if failed:
            cells = [cell for cell in self.pack.cells if cell.id in failed]
            reasons = [(failed[c.id].failure, failed[c.id].message, "") for c in cells]
            write_failures(self.context, cells, reasons, self.trial_id)
        if self.pack.cells:
            self.write_cells(set(failed), seconds)

    def write_cells(self, failed: set[str], seconds: float, suffix: str = "") -> None:
        """Write the pack's part of `cells`: from now on its other parts count."""
        cells, count = self.pack.cells, len(self.pack.cells)
        fields = factor_fields(self.kind.settings)
        data = {
            "cell_id": [cell.id for cell in cells],
            "study": [self.context.study] * count,
            "kind": [self.context.kind] * count,
            "ordering": [cell.ordering.name for cell in cells],
            "seed": [cell.seed for cell in cells],
            **factor_columns(cells, fields),
            "status": ["failed" if cell.id in failed else "succeeded" for cell in cells],
            "attempt": [self.context.attempts.get(cell.id, 0) + 1 for cell in cells],
            "started_at": pa.array([self.started_at] * count, pa.timestamp("us", tz="UTC")),
            "wall_seconds": [seconds / count] * count,
            "trial_id": [self.trial_id] * count,
            "config_hash": [cell.setting for cell in cells],
        }
        table = conform("cells", data, table_schema("cells", fields))
        part = self.pack.id + suffix
        write_part(self.context.storage, self.context.run, "cells", part, table)

    def _costs(self, succeeded: Sequence[Cell]) -> pa.Table:
        """What the pack's stages took, by whichever attempt built them, and its evaluations."""
        nodes = [node for node in self.pack.nodes if self.store.has(node)]
        owners = {node.id: cell.id for cell in self.pack.cells for node in cell.nodes}
        stages = stage_costs(nodes, self.store, self.context.users, owners, "built")
        seconds = self._evaluation_seconds / max(len(succeeded), 1)
        cost = Cost(seconds, seconds, 0, 0.0, "cpu", 1, updates=0)
        rows = [
            {"artifact_id": cell.id, "cell_id": cell.id, "stage": "evaluate", **asdict(cost),
             "reused_by": 0, "origin": "built"}
            for cell in succeeded
        ]  # fmt: skip
        schema = table_schema("costs")
        return pa.concat_tables([stages, pa.Table.from_pylist(rows, schema)])


def stage_costs(
    nodes: Sequence[Node],
    store: ArtifactStore,
    users: Mapping[str, int],
    owners: Mapping[str, str],
    origin: str,
) -> pa.Table:
    """Rows of `costs` for artifacts that stand in the store, from their records.

    A record holds what its artifact took from the stage's start. A row holds what it took beyond
    the shorter lengths of the same execution, so that rows add up to what was spent.
    """
    rows = []
    spent: dict[str, dict[str, Any]] = {}  # by the shorter lengths of the same execution
    for node in sorted(nodes, key=lambda node: node.length):
        count = users.get(node.id, 1)
        cost = store.open(node).cost
        before = spent.get(node.execution, {})
        spent[node.execution] = {name: cost.get(name) for name in (*ADDITIVE_COSTS, "updates")}
        rows.append(
            {
                "artifact_id": node.id,
                "cell_id": owners.get(node.id) if count == 1 else None,
                "stage": node.stage,
                **cost,
                **{name: cost[name] - before.get(name, 0) for name in ADDITIVE_COSTS},
                "updates": _beyond(cost.get("updates"), before.get("updates", 0)),
                "reused_by": max(count - 1, 0) if origin == "built" else count,
                "origin": origin,
            }
        )
    return pa.Table.from_pylist(rows, table_schema("costs"))


def _beyond(updates: int | None, before: int | None) -> int | None:
    """Updates beyond those of a shorter length; None where an earlier version counted none."""
    return None if updates is None or before is None else updates - before


def _batches(nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes that may advance together: same stage, same distance from the pack's inputs."""
    inside = {node.id for node in nodes}
    depth: dict[str, int] = {}
    batches: dict[tuple[int, str], list[Node]] = {}
    for node in nodes:  # parents come first
        own = max((depth[p.id] + 1 for p in node.parents.values() if p.id in inside), default=0)
        depth[node.id] = own
        batches.setdefault((own, node.stage), []).append(node)
    return [batches[key] for key in sorted(batches)]


def _metrics(evaluation: Evaluation, cells: Sequence[Cell], kind: StudyKind) -> pa.Table:
    """The kind's metric rows with ordering, seed and factors added."""
    fields = factor_fields(kind.settings)
    rows = _placed(evaluation.metrics, cells, factor_columns(cells, fields))
    return conform("metrics", rows, table_schema("metrics", fields))


def _placed(
    rows: pa.Table, cells: Sequence[Cell], factors: Mapping[str, pa.Array] | None = None
) -> pa.Table:
    """The rows with their cells' orderings and seeds, and their factors where given."""
    index = pc.index_in(rows["cell_id"], pa.array([cell.id for cell in cells]))
    identity = pa.table(
        {
            "ordering": pa.array([cell.ordering.name for cell in cells], pa.string()),
            "seed": pa.array([cell.seed for cell in cells], pa.int64()),
            **(factors or {}),
        }
    ).take(index)
    for name in identity.column_names:
        rows = rows.append_column(name, identity[name])
    return rows


def reference_metrics(cells: Sequence[Cell], kind: StudyKind, store: ArtifactStore) -> pa.Table:
    """A metrics table of p' and p'' alone, for a forecast; nothing is written."""
    return _metrics(kind.evaluate_references(cells, store), cells, kind)


def record_failure(
    context: RunContext, pack: Pack, reason: tuple[FailureClass, str, str], trial_id: str
) -> None:
    """Record that a whole pack failed: for its cells, and for those that wait for its stages."""
    failure, message, _ = reason
    store = ArtifactStore(context.storage)
    for node in pack.nodes:
        if not store.has(node):
            write_stage_failure(context, NodeFailure(node, failure, message), trial_id)
    if pack.cells:
        write_failures(context, pack.cells, [reason] * len(pack.cells), trial_id)
        lost = PackRun(pack, context, trial_id)
        # Not the pack's own part: another run may have succeeded with it meanwhile.
        lost.write_cells({cell.id for cell in pack.cells}, 0.0, "-failed")
