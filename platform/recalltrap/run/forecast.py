"""The forecast of a study from its references alone: `recalltrap forecast`, and `rt.forecast`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import pandas as pd
import pyarrow as pa

from recalltrap.defaults import storage_location
from recalltrap.paths import Pathish
from recalltrap.registry import room
from recalltrap.results import notebook_html
from recalltrap.results.readable_tables import readable
from recalltrap.run.references import built_references
from recalltrap.store.storage import Storage
from recalltrap.study.asked_study import AnyStudy, StudyFields, asked_study
from recalltrap.study.study_file import Overrides

MOST_SHOWN = 10
"""Grid points that people are shown, those of the largest anchor parts; `table()` has all."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """What the references promise at each grid point; printed, it is said in words and as a table.

    It is of the anchor part, a*(p') - a*(p''), in attainment: how much more alignment can attain
    anchored to p' than to p''. It is not of the order effect, for it leaves A-K's last distillation
    out. `lines` say so, and what the forecast comes to.

    The columns are those of `recalltrap_analysis.forecast.table.forecast_points`: the axes,
    `state`, `seeds`, `words`, and with `_low` and `_high` the anchor part and the rewards to
    expect, by the optimum and by best of n. `shown` is the same for people. `notes` is what the
    kind has to say of the study.
    """

    study: str
    points: pa.Table
    lines: tuple[str, ...]
    shown: pa.Table
    notes: tuple[str, ...]

    def table(self) -> pa.Table:
        """One row per grid point, as Arrow."""
        return self.points

    def frame(self) -> pd.DataFrame:
        """`table()` as a pandas frame."""
        frame: pd.DataFrame = self.points.to_pandas()
        return frame

    def __str__(self) -> str:
        notes = (f"note: {note}" for note in self.notes)
        return "\n".join([*self.lines, str(readable(self.shown)), *notes])

    def _repr_html_(self) -> str:
        notes = notebook_html.lines([*self.lines, *(f"note: {note}" for note in self.notes)])
        table = notebook_html.table(self.shown)
        return notebook_html.block(f"Forecast of {self.study}", notes, table)


def forecast(
    study: AnyStudy | None = None,
    *,
    seeds: Any = None,
    overrides: Overrides = (),
    storage: Pathish | None = None,
    tell: Callable[[str], object] | None = None,
    **fields: Unpack[StudyFields],
) -> Forecast:
    """Forecast a study's anchor part from its references, before any alignment.

    References that the store lacks are built in this process and stay: `run` takes them from there.

    Args:
        study: a named study, a path, a mapping or a `Study`, see `run`.
        seeds: replaces the study's seeds, see `run`.
        overrides: replace fields of the study, see `run`.
        storage: where references are looked for and put; default RECALLTRAP_STORAGE, else `runs`.
        tell: called with a line for each thing to know before references are built.
        fields: fields of the study as keywords, see `run`.

    Raises:
        InputError: anything wrong with the study, the storage or the devices; nothing was built.
        StageError: no reference could be built.
    """
    tell = tell or (lambda line: None)
    asked = asked_study(forecast, study, seeds, overrides, fields)
    root = Storage(storage_location(storage))
    built = built_references(asked, root, tell)
    found = room("forecast")(
        built.metrics, built.cells, built.store, asked.axes, asked.kind, asked.margin
    )
    shown = pa.Table.from_pandas(found.table(MOST_SHOWN), preserve_index=False)
    return Forecast(asked.name, found.points, found.lines, shown, built.notes)
