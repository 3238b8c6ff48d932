"""The check before a study is paid for: `recalltrap check`, and `rt.check` from Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import pandas as pd
import pyarrow as pa

from recalltrap.defaults import storage_location
from recalltrap.paths import Pathish
from recalltrap.registry import find_kind, room
from recalltrap.results import notebook_html
from recalltrap.results.readable_tables import readable
from recalltrap.results.results import Results, known_runs, run_folder
from recalltrap.run.plan import Plan
from recalltrap.run.plan_costs import stage_costs
from recalltrap.run.references import built_references
from recalltrap.run.run import plan_study
from recalltrap.store.storage import Storage
from recalltrap.study.asked_study import AnyStudy, StudyFields, asked_study
from recalltrap.study.study_file import Overrides
from recalltrap.units import duration, hours, operations, size

MOST_SHOWN = 10
"""Grid points that people are shown, those of the largest anchor parts; `table()` has all."""


@dataclass(frozen=True, eq=False)
class Check:
    """What p', p'' and the reward say of a study before it runs; printed, the sentence comes first.

    `word` is *keep p' as the reference*, *the anchor p'' costs less than the margin* or *not
    decidable from this*, and `sentence` says so with its numbers. `lines` stand below it: the
    sampling trap, what isn't forecast, how wrong such forecasts were. `costs` is what the rest of
    the study would take, and `page` the path of the page with the figures. `json` is its content
    for a program, and `notes` what the kind has to say.
    """

    study: str
    word: str
    sentence: str
    lines: tuple[str, ...]
    points: pa.Table
    shown: pa.Table
    costs: tuple[tuple[str, str], ...]
    page: str
    json: str
    notes: tuple[str, ...]

    def table(self) -> pa.Table:
        """One row per grid point, as Arrow: the word, the anchor part, and what it rests on."""
        return self.points

    def frame(self) -> pd.DataFrame:
        """`table()` as a pandas frame."""
        frame: pd.DataFrame = self.points.to_pandas()
        return frame

    @property
    def cost_line(self) -> str:
        """What the rest of the study would take, in one line."""
        return "the rest of the study would take: " + ", ".join(
            f"{what} {value}" for what, value in self.costs
        )

    def __str__(self) -> str:
        notes = (f"note: {note}" for note in self.notes)
        shown = str(readable(self.shown))
        below = (*self.lines, self.cost_line, f"page: {self.page}", *notes)
        return "\n".join([self.sentence, "", shown, "", *below])

    def _repr_html_(self) -> str:
        first = notebook_html.lines([self.sentence])
        table = notebook_html.table(self.shown)
        below = notebook_html.lines([*self.lines, self.cost_line, f"page: {self.page}"])
        return notebook_html.block(f"Check of {self.study}", first, table, below)


def check(
    study: AnyStudy | None = None,
    *,
    seeds: Any = None,
    overrides: Overrides = (),
    storage: Pathish | None = None,
    address: str = "local",
    local: bool = False,
    tell: Callable[[str], object] | None = None,
    **fields: Unpack[StudyFields],
) -> Check:
    """Check a study by its references before anything is aligned, and write the page.

    References that the store lacks are built and stay: `run` takes them from there.

    Args:
        study: a named study, a path, a mapping or a `Study`, see `run`.
        seeds: replaces the study's seeds, see `run`.
        overrides: replace fields of the study, see `run`.
        storage: where references are looked for and put, and the page is written; default
            RECALLTRAP_STORAGE, else `runs`.
        address: Ray's address, see `run`; Ray is not started where nothing is missing.
        local: builds in this process, without Ray.
        tell: called with a line for each thing to know before references are built.
        fields: fields of the study as keywords, see `run`.

    Raises:
        InputError: anything wrong with the study, the storage or the devices; nothing was built.
        StageError: no reference could be built.
    """
    tell = tell or (lambda line: None)
    asked = asked_study(check, study, seeds, overrides, fields)
    room("checkable")(asked.kind)
    root = Storage(storage_location(storage))
    built = built_references(asked, root, tell, address=address, local=local)
    costs = cost_rows(plan_study(asked, root))
    runs = [Results(root, run_folder(name)) for name in known_runs(root)]
    found = room("check")(
        built.metrics, built.cells, built.store, root, asked, costs, runs, built.notes
    )
    return Check(
        study=asked.name,
        word=found.word,
        sentence=found.sentence,
        lines=found.lines,
        points=found.points,
        shown=pa.Table.from_pandas(found.table(MOST_SHOWN), preserve_index=False),
        costs=costs,
        page=found.page,
        json=found.json,
        notes=built.notes,
    )


def cost_rows(planned: Plan) -> tuple[tuple[str, str], ...]:
    """What the rest of a study would take, as `what` and `value`: all that isn't in the store."""
    resources = planned.study.resources
    stages = stage_costs(planned.builds(), find_kind(planned.study.kind), resources)
    flops = sum(stage.flops for stage in stages)
    rows = [("cells", f"{len(planned.todo):,} to do")]
    if flops:
        rows.append(("FLOPs", operations(flops)))
    if flops and resources.uses_gpus:
        rows.append(("GPU time", duration(sum(stage.gpu_seconds for stage in stages))))
    else:
        rows.append(("core hours", hours(sum(stage.core_seconds for stage in stages))))
    return (*rows, ("disk", size(sum(stage.bytes for stage in stages))))
