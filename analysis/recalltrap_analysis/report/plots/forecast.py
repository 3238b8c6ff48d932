"""The forecast against the outcome."""

from __future__ import annotations

from recalltrap_analysis.estimates.forecast import TITLES, forecast_pairs
from recalltrap_analysis.figures.forecast import forecast_scatter
from recalltrap_analysis.number_format import decimal_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.summary import Summary


def forecast_plot(run: ReadRun, summary: Summary) -> Plot:
    """Forecast against outcome, one point per cell."""
    stem = "forecast"
    pairs = forecast_pairs(summary.outcomes, summary.axes)
    if pairs.empty:
        return Plot(stem, "No cell has both a forecast and an outcome.")

    def select(name: str, wanted: str) -> Array:
        return pairs.loc[pairs["ordering"] == name, wanted].to_numpy(dtype=float)

    names = [name for name in TITLES if (pairs["ordering"] == name).any()]
    figure = forecast_scatter(
        {name: select(name, "predicted") for name in names},
        {name: select(name, "reached") for name in names},
        TITLES,
    )
    gap = (pairs["predicted"] - pairs["reached"]).abs().mean()
    caption = (
        "One point per cell: the reward of the exact KL-regularised optimum, known from the "
        "reference alone, against the reward that alignment reached."
    )
    words = f"Reward reached against reward forecast; mean absolute error {decimal_text(gap)}."
    return Plot(stem, caption, words, figure, sql.forecast_query(summary.axes))
