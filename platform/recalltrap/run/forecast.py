"""The forecast of a study from its references alone: `recalltrap forecast`, and `rt.forecast`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from recalltrap.defaults import storage_location
from recalltrap.paths import Pathish
from recalltrap.registry import find_kind, room
from recalltrap.results import notebook_html
from recalltrap.results.readable_tables import readable
from recalltrap.run.display import Silent
from recalltrap.run.execution import reference_metrics
from recalltrap.run.plan import plan_references
from recalltrap.run.run import asked_study, check_place, execute_here, make_context
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study import Study
from recalltrap.study.study_file import Overrides


@dataclass(frozen=True, eq=False)
class Forecast:
    """What the references promise at each grid point; printed, it is the forecast's table.

    The columns are those of `recalltrap_analysis.estimates.forecast.forecast_table`: the axes,
    `state`, `seeds`, and with `_low` and `_high` the rewards and the severity to expect. `notes` is
    what the kind has to say of the study.
    """

    study: str
    points: pa.Table
    notes: tuple[str, ...]

    def table(self) -> pa.Table:
        """One row per grid point, as Arrow."""
        return self.points

    def frame(self) -> pd.DataFrame:
        """`table()` as a pandas frame."""
        frame: pd.DataFrame = self.points.to_pandas()
        return frame

    def __str__(self) -> str:
        return "\n".join([str(readable(self.points)), *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        notes = notebook_html.lines(f"note: {note}" for note in self.notes)
        table = notebook_html.table(self.points)
        return notebook_html.block(f"Forecast of {self.study}", notes, table)


def forecast(
    study: Pathish | Study,
    *,
    seeds: Any = None,
    overrides: Overrides = (),
    storage: Pathish | None = None,
    tell: Callable[[str], object] | None = None,
) -> Forecast:
    """Forecast a study's severity from its references, before any alignment.

    References that the store lacks are built in this process and stay: `run` takes them from there.

    Args:
        study: a named study, a path, or a `Study`.
        seeds: replaces the study's seeds, see `run`.
        overrides: replace fields of the study, see `run`.
        storage: where references are looked for and put; default RECALLTRAP_STORAGE, else `runs`.
        tell: called with a line for each thing to know before references are built.

    Raises:
        InputError: anything wrong with the study, the storage or the devices; nothing was built.
    """
    tell = tell or (lambda line: None)
    asked = asked_study(study, seeds, overrides)
    kind = find_kind(asked.kind)
    root = Storage(storage_location(storage))
    notes = tuple(kind.check(asked.cells()))
    for note in notes:
        tell(f"note: {note}")
    root.check_usable()
    store = ArtifactStore(root)
    plan = plan_references(asked, store)
    check_place(plan, here=True)
    for node in plan.cached:
        store.open(node).verify()
    root.prepare()
    if plan.packs:
        tell(f"building {len(plan.builds())} references ...")
        execute_here(plan, make_context(plan, root), Silent())
    standing = [cell for cell in plan.cells if all(store.has(node) for node in cell.references)]
    metrics = reference_metrics(standing, kind, store)
    points = room("forecast")(metrics, asked.axes, asked.kind)
    return Forecast(asked.name, pa.Table.from_pandas(points, preserve_index=False), notes)
