"""The forecast in words: what it is of, what it says in a line, and its table as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recalltrap.graph import Cell
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.forecast.table import AnchorForecast, forecast
from recalltrap_analysis.number_format import (
    count_text,
    point_text,
    quantity_text,
    row_interval,
    setting_text,
)
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.wide_tables import rows_of

WHAT_IT_IS_OF = (
    "Forecast of the anchor part, a*(p') − a*(p''): how much more alignment can attain anchored to "
    "p' than to p''. It is not of the order effect, for it leaves A-K's last distillation out."
)
NO_POINTS = "No forecast: no references stand."


@dataclass(frozen=True)
class Statement:
    """A study's forecast as it is told: `lines` say what it is of, what it says and lacks.

    `points`: one row per grid point, the columns of `forecast_points`.
    """

    points: pa.Table
    lines: tuple[str, ...]
    forecast: AnchorForecast

    def table(self, most: int | None = None) -> pd.DataFrame:
        """The points as text, for a terminal or a notebook; see `table_text`."""
        return table_text(self.forecast, most, brief=True)


def forecast_statement(
    metrics: pa.Table,
    cells: Sequence[Cell],
    store: ArtifactReader,
    axes: Sequence[str],
    kind: str,
    margin: float | None = None,
) -> Statement:
    """The forecast of the anchor part, told; the arguments are those of `forecast`."""
    found = forecast(metrics, cells, store, axes, kind, margin)
    points = pa.Table.from_pandas(found.points.drop(columns="point"), preserve_index=False)
    return Statement(points, tuple(sentences(found)), found)


def sentences(found: AnchorForecast) -> list[str]:
    """What the forecast is of, what it says, and what it lacks; a line each."""
    lines = [WHAT_IT_IS_OF, _outcome(found)]
    if found.no_best_of_n:
        lines.append(f"Best of n is lacking: {found.no_best_of_n}.")
    return lines


def _outcome(found: AnchorForecast) -> str:
    """How many grid points have which words, and where the forecast is largest."""
    points = found.points
    if points.empty:
        return NO_POINTS
    complete = points[points["state"] == COMPLETE]
    if complete.empty:
        return f"{points['state'].iloc[0][0].upper()}{points['state'].iloc[0][1:]}."
    counts = Counter(complete["words"])
    says = ", ".join(f"{words} at {number}" for words, number in counts.most_common())
    left_out = len(points) - len(complete)
    row = complete.iloc[int(np.argmax(complete["anchor_part"].to_numpy()))]
    where = f", at {point_text(row['point'], found.axes)}" if found.axes else ""
    return (
        f"Of {count_text(len(points), 'grid point')}, on a margin of "
        f"{setting_text(found.margin)} in {found.unit}: {says}"
        + (f", no forecast at {left_out}" if left_out else "")
        + f". Largest: {row_interval(row, 'anchor_part')}{where}."
    )


def table_text(
    found: AnchorForecast, most: int | None = None, *, brief: bool = False
) -> pd.DataFrame:
    """The forecast per grid point as text, with its intervals.

    With `most`, at most so many grid points, the largest anchor parts first. `brief`: without the
    rewards by best of n.
    """
    table, check = found.points, found.kind.optimum_check
    if most is not None and len(table) > most:
        sizes = table["anchor_part"].abs().sort_values(ascending=False, kind="stable")
        table = table.loc[sizes.index[:most]]
    if table.empty:
        return pd.DataFrame()
    rows = rows_of(table)
    columns = {axis: [setting_text(value) for value in table[axis]] for axis in found.axes}
    columns["seeds"] = [str(seeds) for seeds in table["seeds"]]
    columns["anchor part, optimum"] = [row_interval(row, "anchor_part") for row in rows]
    columns["on the margin"] = table["words"].tolist()
    columns["anchor part, best of n"] = [row_interval(row, "best_of_n_anchor_part") for row in rows]
    columns["reward, optimum, p' / p''"] = [both(row, "optimum_reward") for row in rows]
    if not brief:
        columns["reward, best of n, p' / p''"] = [both(row, "best_of_n_reward") for row in rows]
        columns["n, p' / p''"] = [both(row, "n") for row in rows]
    columns["samples to first hit, p' / p''"] = [both(row, "samples_to_hit") for row in rows]
    if "reliability" in table:
        assert check is not None
        columns[f"{check.title}, p' / p''"] = [both(row, check.column) for row in rows]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    return pd.DataFrame(columns)


def both(row: Mapping[str, Any], name: str) -> str:
    """A quantity of p' and of p''."""
    return f"{quantity_text(row[f'{name}_p_prime'])} / {quantity_text(row[f'{name}_p_second'])}"
