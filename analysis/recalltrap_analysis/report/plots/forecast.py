"""The forecast over the KL weight, both ways, with what was reached, and how wrong it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import unit_in_sql
from recalltrap_analysis.estimates.order_effect import by_point, spread
from recalltrap_analysis.figures.forecast import Panel, Series, over_kl_weight
from recalltrap_analysis.figures.style import INK, MARKERS, P_PRIME, P_SECOND, colour
from recalltrap_analysis.forecast.errors import ANCHOR_PART, BEST_OF_N, OPTIMUM
from recalltrap_analysis.number_format import point_text, setting_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import thin
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import student_interval

MOST_PANELS = 4
MARKS = {"reached_ka": "K-A", "reached_anchored": "K-A@p'", "reached_p_prime_ak": "A"}
Style = Literal["line", "dashed", "marks"]
WAY_STYLES: Mapping[str, tuple[str, Style]] = {
    OPTIMUM: (P_PRIME, "line"),
    BEST_OF_N: ("#CC79A7", "dashed"),
}


@dataclass(frozen=True)
class OverKlWeight:
    """A run's forecast and outcomes by stratum, where there are several KL weights to draw over.

    `rows` are those of `scored_rows`, `errors` those of `error_table`.
    """

    rows: pd.DataFrame
    errors: pd.DataFrame
    axes: tuple[str, ...]
    kind: KindRecord
    unit: str

    @cached_property
    def at_point(self) -> dict[GridPoint, pd.DataFrame]:
        """The rows of each grid point."""
        return by_point(self.rows)

    @cached_property
    def strata(self) -> dict[GridPoint, list[GridPoint]]:
        """The grid points of each stratum that has several, by the other axes' values."""
        weight = self.kind.kl_weight
        if weight not in self.axes:
            return {}
        place = self.axes.index(weight)
        found: dict[GridPoint, list[GridPoint]] = {}
        for point in dict.fromkeys(self.rows["point"]):
            found.setdefault(point[:place] + point[place + 1 :], []).append(point)
        return {s: sorted(p, key=lambda q: q[place]) for s, p in found.items() if len(p) > 1}

    @property
    def shown(self) -> list[GridPoint]:
        """The strata that are drawn."""
        return thin(list(self.strata), MOST_PANELS)

    def title(self, stratum: GridPoint) -> str:
        """What a stratum is called; nothing where there is but one."""
        others = tuple(axis for axis in self.axes if axis != self.kind.kl_weight)
        return point_text(stratum, others) if others else ""

    def weights(self, points: Iterable[GridPoint]) -> list[str]:
        """The points' KL weights in words."""
        assert self.kind.kl_weight is not None
        place = self.axes.index(self.kind.kl_weight)
        return [setting_text(point[place]) for point in points]

    def means(self, points: Sequence[GridPoint], name: str) -> Array:
        """Means over seeds with their limits, shape [3, W]; NaN where a seed has no value."""
        found = np.full((3, len(points)), np.nan)
        for place, point in enumerate(points):
            values_N = self.at_point[point][name].to_numpy(dtype=float)
            if np.isfinite(values_N).all():
                estimate = student_interval(values_N)
                found[:, place] = estimate.value, estimate.low, estimate.high
        return found

    def panel(self, stratum: GridPoint, wanted: Sequence[tuple[str, str, str, Style]]) -> Panel:
        """Of (label, column, colour, style); a column without any number is left out."""
        points = self.strata[stratum]
        series = []
        for label, name, tint, style in wanted:
            values_3W = self.means(points, name)
            if np.isfinite(values_3W[0]).any():
                marker = MARKERS.get(MARKS.get(name, ""), "^" if "prime" in name else "D")
                series.append(Series(label, tint, style, values_3W, marker))
        return Panel(self.title(stratum), self.weights(points), series)

    def note(self) -> str:
        """That strata are left out, where they are."""
        if len(self.shown) == len(self.strata):
            return ""
        return f" {len(self.shown)} of {len(self.strata)} strata are shown; the table has all."


def forecast_plots(found: OverKlWeight) -> list[Plot]:
    """The figures; none where there is but one KL weight, or nothing to draw."""
    if not found.strata:
        return []
    return [_rewards(found), _anchor_part(found), *_errors(found)]


def _rewards(found: OverKlWeight) -> Plot:
    wanted: list[tuple[str, str, str, Style]] = [
        ("optimum anchored to p'", "optimum_reward_p_prime", P_PRIME, "line"),
        ("optimum anchored to p''", "optimum_reward_p_second", P_SECOND, "line"),
        ("best of n from p'", "best_of_n_reward_p_prime", P_PRIME, "dashed"),
        ("best of n from p''", "best_of_n_reward_p_second", P_SECOND, "dashed"),
        ("p'_AK reached", "reached_p_prime_ak", colour("A", ()), "marks"),
        ("K-A@p' reached", "reached_anchored", "#009E73", "marks"),
        ("K-A reached", "reached_ka", colour("K-A", ()), "marks"),
    ]
    panels = [found.panel(stratum, wanted) for stratum in found.shown]
    weight = str(found.kind.kl_weight)
    caption = (
        "Rewards forecast from the references (lines; bands and bars are 95 % intervals over "
        "seeds), and what was reached where it ran (marks). Best of n is drawn at the n with the "
        "largest lower bound of the objective, E_n − β·KL_n: its reward is an estimate and no "
        f"bound.{found.note()}"
    )
    words = "Forecast and reached reward over the KL weight. " + " ".join(map(_in_words, panels))
    figure = over_kl_weight(panels, weight, "reward")
    return Plot("forecast", caption, words, figure, sql.forecast_query(found.axes))


def _anchor_part(found: OverKlWeight) -> Plot:
    wanted: list[tuple[str, str, str, Style]] = [
        ("forecast, optimum: a*(p') − a*(p'')", "anchor_part", *WAY_STYLES[OPTIMUM]),
        ("forecast, best of n", "best_of_n_anchor_part", *WAY_STYLES[BEST_OF_N]),
        ("measured: a(K-A@p') − a(K-A)", "measured_anchor_part", INK, "marks"),
    ]
    panels = [found.panel(stratum, wanted) for stratum in found.shown]
    measured = bool(np.isfinite(found.rows["measured_anchor_part"].to_numpy(dtype=float)).any())
    caption = f"The anchor part in {found.unit}, forecast both ways"
    caption += " and measured." if measured else "; it was not measured, for K-A@p' didn't run."
    caption += (
        " The difference between the two best of n is an estimate: a difference of two lower "
        f"bounds bounds nothing.{found.note()}"
    )
    words = "The anchor part over the KL weight. " + " ".join(map(_in_words, panels))
    figure = over_kl_weight(panels, str(found.kind.kl_weight), f"anchor part, {found.unit}")
    query = sql.anchor_forecast_query(found.axes, unit_in_sql(found.kind, found.unit))
    return Plot("forecast-anchor-part", caption, words, figure, query)


def _errors(found: OverKlWeight) -> list[Plot]:
    """How large the error of the anchor part is, by KL weight; none where it wasn't measured."""
    errors = found.errors[found.errors["quantity"] == ANCHOR_PART]
    rows: dict[tuple[GridPoint, str], Mapping[Any, Any]] = {
        (row["point"], str(row["way"])): row for row in errors.to_dict("records") if row["point"]
    }
    panels = []
    for stratum in found.shown:
        points, series = found.strata[stratum], []
        for way, (tint, style) in WAY_STYLES.items():
            nothing = spread({}, ["mean_absolute_error"])
            ends = ("mean_absolute_error", "mean_absolute_error_low", "mean_absolute_error_high")
            values = [[rows.get((p, way), nothing)[end] for p in points] for end in ends]
            if np.isfinite(values[0]).any():
                series.append(Series(way, tint, style, np.array(values, dtype=float)))
        if series:
            panels.append(Panel(found.title(stratum), found.weights(points), series))
    if not panels:
        return []
    caption = (
        "Mean absolute error of the forecast anchor part, forecast against measured per seed, with "
        f"95 % intervals.{found.note()}"
    )
    words = "Mean absolute error over the KL weight. " + " ".join(map(_in_words, panels))
    figure = over_kl_weight(panels, str(found.kind.kl_weight), f"error, {found.unit}")
    query = sql.anchor_forecast_query(found.axes, unit_in_sql(found.kind, found.unit))
    return [Plot("forecast-error", caption, words, figure, query)]


def _in_words(panel: Panel) -> str:
    """The first and the last value of each series."""
    parts = []
    for one in panel.series:
        known = np.flatnonzero(np.isfinite(one.values_3W[0]))
        ends = " to ".join(
            f"{one.values_3W[0][place]:.2f} at {panel.weights[place]}"
            for place in dict.fromkeys((known[0], known[-1]))
        )
        parts.append(f"{one.label}: {ends}")
    return f"{panel.title + ': ' if panel.title else ''}{'; '.join(parts)}."
