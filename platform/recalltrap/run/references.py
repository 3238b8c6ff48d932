"""A study's references, p' and p'', built where they are missing: what a forecast needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import pyarrow as pa

from recalltrap.errors import StageError
from recalltrap.graph import Cell
from recalltrap.registry import find_kind, room
from recalltrap.run.display import Silent
from recalltrap.run.execution import reference_metrics
from recalltrap.run.plan import Pack, plan_references
from recalltrap.run.run import check_place, execute_here, make_context
from recalltrap.run.stage_packs import with_stage_packs
from recalltrap.store.provenance import pass_on_argv
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study import Study

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
    failures = _Failures()
    if plan.packs:
        tell(f"building {len(plan.builds())} references ...")
        context = make_context(plan, root)
        with nullcontext(execute_here) if local else room("executor")(address, plan) as executor:
            executor(plan, context, failures)
    standing = [cell for cell in plan.cells if all(store.has(node) for node in cell.references)]
    if not standing:
        reason = failures.found[0] if failures.found else "no reason was recorded"
        raise StageError("user_code", f"no references could be built: {reason}")
    for line in failures.found:
        tell(f"failed: {line}")
    metrics = reference_metrics(standing, kind, store)
    return References(tuple(standing), metrics, store, notes)


class _Failures(Silent):
    """Collects what failed, each reason once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def failed(self, pack: Pack, message: str) -> None:
        line = f"{pack.name}: {message}"
        if line not in self.found:
            self.found.append(line)
