"""The densities of one seed's models, as contours in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap_analysis.estimates.order_effect import COMPLETE, by_point
from recalltrap_analysis.figures.contours import Mixture, contour_panels
from recalltrap_analysis.mixture.stored_mixtures import ground_truth, load_mixture, mixture
from recalltrap_analysis.number_format import point_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import cells_at
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.verdicts.summary import Summary


def contour_plot(run: ReadRun, summary: Summary) -> Plot:
    """The models of one typical seed, where the order effect is largest."""
    stem = "contours"
    typical = typical_pair(summary.pairs, summary.order_effect)
    if typical is None:
        return Plot(stem, "No grid point is complete, so no seed's models are drawn.")
    point, seed = typical
    try:
        truth = ground_truth(run.study.kind, summary.design.settings[point])
        mixtures = [
            mixture("p* (ground truth)", truth),
            *seed_mixtures(summary.cells, summary.axes, point, seed, run.store),
        ]
    except (InputError, OSError, ValueError, KeyError) as error:
        return Plot(stem, f"The models can't be drawn: {error}.")
    where = f" at {point_text(point, summary.axes)}" if summary.axes else ""
    caption = (
        f"Densities of the models of seed {seed}{where}, where the order effect is largest; the "
        "seed is the one nearest to its median there. Levels are logarithmic and common to all "
        "panels; circles are component means, larger with more weight. Green rings mark the "
        "target, where the reward is at least half its maximum."
    )
    titles = ", ".join(model.title for model in mixtures)
    radius = half_radius(summary.design.settings[point])
    figure = contour_panels(mixtures, truth["targets"], radius)
    words = f"Density contours of {titles}."
    return Plot(stem, caption, words, figure)


def half_radius(settings: Mapping[str, Any]) -> float:
    """Where the reward falls to half: exp(-s·r²) = 1/2 (eq. 8)."""
    return float(np.sqrt(np.log(2) / settings["reward_sharpness"]))


def typical_pair(pairs: pd.DataFrame, table: pd.DataFrame) -> tuple[GridPoint, int] | None:
    """The grid point of the largest order effect, and the seed nearest to the median there."""
    complete = table[table["state"] == COMPLETE]
    if complete.empty:
        return None
    point = complete["point"].tolist()[int(np.argmax(complete["order_effect"].to_numpy()))]
    rows = by_point(pairs)[point]
    distance = (rows["order_effect"] - rows["order_effect"].median()).abs().to_numpy()
    return point, int(rows["seed"].to_numpy()[int(np.argmin(distance))])


def seed_mixtures(
    cells: Sequence[Cell], axes: Sequence[str], point: GridPoint, seed: int, store: ArtifactReader
) -> list[Mixture]:
    """p', p'' and every ordering's models of one grid point and seed, as stored.

    Raises:
        InputError: no such cell, or a model is not stored or is not a mixture in the plane.
    """
    models: dict[str, Node] = {}
    for cell in cells_at([cell for cell in cells if cell.seed == seed], axes, point):
        models.setdefault("p'", cell.models["p_prime"])
        models.setdefault("p''", cell.models["p_second"])
        if cell.ordering.name == "A-K" and "p_prime_aligned" in cell.models:
            models["p'_AK (A-K, before distilling)"] = cell.models["p_prime_aligned"]
        if cell.models["final"].id not in {node.id for node in models.values()}:
            models[f"final of {cell.ordering.name}"] = cell.models["final"]
    if not models:
        raise InputError("no cell of that grid point and seed")
    return [load_mixture(title, node, store) for title, node in models.items()]
