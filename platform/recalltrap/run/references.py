"""A study's references, p' and p'', built where they are missing: what a forecast needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import pyarrow as pa

from recalltrap.errors import StageError
from recalltrap.graph import Cell
from recalltrap.registry import find_kind, room
from recalltrap.run.display import LINE_SECONDS, Progress, Work
from recalltrap.run.execution import reference_metrics
from recalltrap.run.plan import plan_references
from recalltrap.run.run import check_place, execute_here, make_context
from recalltrap.run.stage_packs import with_stage_packs
from recalltrap.store.provenance import pass_on_argv
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study import Study
from recalltrap.units import duration

Tell = Callable[[str], object]


@dataclass(frozen=True)
class References:
    """The cells whose references stand, and the metrics of p' and p''.

    `notes`: what the kind has to say of the study.
    """

    cells: tuple[Cell, ...]
    metrics: pa.Table
    store: ArtifactStore
    notes: tuple[str, ...]


def built_references(
    study: Study, root: Storage, tell: Tell, *, address: str = "local", local: bool = True
) -> References:
    """The references of every cell; those that the store lacks are built and stay.

    Args:
        study: Whose.
        root: Where they are looked for and put.
        tell: Called with a line for each thing to know, what could not be built among them.
        address: Ray's address, see `run`.
        local: everything in this process, without Ray.

    Raises:
        InputError: anything wrong with the settings, the storage or the devices; nothing was built.
        StageError: no cell's references could be built.
    """
    pass_on_argv()
    kind = find_kind(study.kind)
    notes = tuple(kind.check(study.cells()))
    for note in notes:
        tell(f"note: {note}")
    root.check_usable()
    store = ArtifactStore(root)
    plan = with_stage_packs(plan_references(study, store))
    check_place(plan, here=local or address == "local")
    for node in plan.cached:
        store.open(node).verify()
    root.prepare()
    watcher = _Telling(tell)
    watcher.begin(plan)
    if plan.packs:
        tell(f"building {len(plan.builds())} references ...")
        context = make_context(plan, root)
        with nullcontext(execute_here) if local else room("executor")(address, plan) as executor:
            executor(plan, context, watcher)
    standing = [cell for cell in plan.cells if all(store.has(node) for node in cell.references)]
    if not standing:
        reason = watcher.found[0] if watcher.found else "no reason was recorded"
        raise StageError("user_code", f"no references could be built: {reason}")
    for line in watcher.found:
        tell(f"failed: {line}")
    metrics = reference_metrics(standing, kind, store)
    return References(tuple(standing), metrics, store, notes)


class _Telling(Progress):
    """Says how far the references are, now and then, and collects what failed, each reason once."""

    first_line = LINE_SECONDS

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.found: list[str] = []

    def show(self) -> None:
        if self.line_is_due():
            self.tell(self.line())

    def count(self) -> str:
        built = f"{self.packs_done}/{self.extent.trials} trials of references"
        return f"{built}, {duration(time.monotonic() - self.began)}"

    def failed(self, pack: Work, message: str) -> None:
        self.rows.pop(pack.id, None)
        self.packs_failed += 1
        line = f"{pack.name}: {message}"
        if line not in self.found:
            self.found.append(line)

    def end(self) -> None:
        """Who asked says what came of it."""
