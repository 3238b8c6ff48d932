"""Figures of models: spread over seeds, their ways and densities, references, training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recalltrap.errors import InputError
from recalltrap.streams import stream
from recalltrap_analysis import figures
from recalltrap_analysis.estimates.severity import COMPLETE
from recalltrap_analysis.estimates.trajectories import (
    SELECTION,
    TARGETS,
    chosen_steps,
    courses,
    curve_query,
    left_out,
    ways,
)
from recalltrap_analysis.figures.style import P_PRIME, P_SECOND
from recalltrap_analysis.mixture.densities import BINS, reward_shares
from recalltrap_analysis.number_format import (
    decimal_text,
    point_lines,
    point_text,
    share_text,
    significant_text,
)
from recalltrap_analysis.report.document import Plot
from recalltrap_analysis.report.plots.panels import (
    box_panels,
    cells_at,
    load_mixture,
    mixture,
    reference_groups,
    seed_mixtures,
    typical_pair,
)
from recalltrap_analysis.report.plots.pictures import draw
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary

MOST_WAYS = 3
GEOMETRY = ("targets", "spacing", "modes", "variance")
"""Settings that move p* and the targets, which are known at the study's first grid point."""


def box_picture(summary: Summary) -> Plot:
    """The paper's boxplots of the final models."""
    stem = "boxplots"
    if summary.outcomes.empty:
        return Plot(stem, "No cell has finished, so there are no outcomes to draw.")
    panels, note = box_panels(summary.outcomes, summary.design)
    caption = (
        "Final models over seeds, as in the paper's figures 3, 4 and 6 to 12: quartiles with the "
        "median, whiskers to 1.5 interquartile ranges, points beyond."
    )
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    words = f"Boxplots of {', '.join(panels.rows)} for {', '.join(panels.orderings)}"
    along = f" along {panels.sweep}" if panels.sweep else ""
    query = sql.boxplot_query(summary.axes)
    return draw(stem, figures.boxplots(panels), caption, f"{words}{along}.", query)


def deepest_points(summary: Summary, most: int) -> list[GridPoint]:
    """The complete grid points of the deepest severity, the deepest first."""
    table = summary.severity[summary.severity["state"] == COMPLETE]
    if table.empty:
        return []
    order = np.argsort(-table["severity"].to_numpy(), kind="stable")[:most]
    return [table["point"].tolist()[i] for i in order]


def trajectory_picture(summary: Summary) -> Plot:
    """The orderings' ways through recall and target, where severity is deepest."""
    stem = "trajectories"
    points = deepest_points(summary, MOST_WAYS)
    panels = {
        (row, column): found
        for row, metric in enumerate(TARGETS)
        for column, point in enumerate(points)
        if (found := ways(summary.outcomes, summary.design, point, metric))
    }
    if not panels:
        return Plot(stem, "No complete grid point reports the models that the orderings pass.")
    titles = [point_lines(point, summary.axes) if summary.axes else "" for point in points]
    caption = (
        "Each ordering's way, as in the paper's figures 5 and 15: K-A distils p' into p'' and then "
        "aligns; A-K aligns p' and then distils. Means over seeds; a marker's area grows with the "
        "standard deviation over seeds of what stands on the vertical axis."
    )
    if len(points) < len(summary.design.points):
        caption += f" The {len(points)} grid points with the deepest severity."
    for metric, found in zip(TARGETS, (panels.get((r, 0), []) for r in (0, 1)), strict=True):
        if lacking := left_out(found):
            caption += f" Not known in every seed, so left out of {TARGETS[metric]}"
            caption += (
                f"{' at the first of them' if len(points) > 1 else ''}: {', '.join(lacking)}."
            )
    ends = ", ".join(
        f"{way.titles[-1]} at recall {decimal_text(way.x_M[-1])} and {metric.replace('_', ' ')} "
        f"{decimal_text(way.y_M[-1])}"
        for metric, found in zip(TARGETS, (panels.get((r, 0), []) for r in (0, 1)), strict=True)
        for way in found
    )
    words = f"Ways through overall recall and target; at the deepest setting they end with {ends}."
    figure = figures.trajectories(panels, list(TARGETS.values()), titles)
    return draw(stem, figure, caption, words, sql.trajectory_query(summary.axes))


def truth_at(
    run: ReadRun, summary: Summary, point: GridPoint
) -> Mapping[str, npt.NDArray[np.float64]] | None:
    """p* and the targets at a grid point; None where only another point's are known."""
    first = summary.design.points[0]
    for axis, here, there in zip(summary.axes, point, first, strict=True):
        if axis in GEOMETRY and here != there:
            return None
    return run.ground_truth()


def contour_picture(run: ReadRun, summary: Summary) -> Plot:
    """The models of one typical seed, where severity is deepest."""
    stem = "contours"
    typical = typical_pair(summary.pairs, summary.severity)
    if typical is None:
        return Plot(stem, "No grid point is complete, so no seed's models are drawn.")
    point, seed = typical
    try:
        mixtures = seed_mixtures(summary.cells, summary.axes, point, seed, run.store)
        truth = truth_at(run, summary, point)
        if truth is not None:
            mixtures = [mixture("p* (ground truth)", truth), *mixtures]
    except (InputError, OSError, ValueError, KeyError) as error:
        return Plot(stem, f"The models can't be drawn: {error}.")
    where = f" at {point_text(point, summary.axes)}" if summary.axes else ""
    circles = truth.get("targets") if truth is not None else None
    caption = (
        f"Densities of the models of seed {seed}{where}, where severity is deepest; the seed is "
        "the one nearest to the median severity there. Levels are logarithmic and common to all "
        "panels; circles are component means, larger with more weight."
    )
    if circles is not None:
        caption += " Green rings mark the target, where the reward is at least half its maximum."
    titles = ", ".join(model.title for model in mixtures)
    figure = figures.contour_panels(mixtures, circles, _half_radius(summary, point))
    words = f"Density contours of {titles}."
    return draw(stem, figure, caption, words)


def _settings(summary: Summary, point: GridPoint) -> dict[str, Any]:
    found = cells_at(summary.cells, summary.axes, point)
    return found[0].factors if found else {}


def _half_radius(summary: Summary, point: GridPoint) -> float:
    """Where the reward falls to half: exp(-s·r²) = 1/2 (eq. 8)."""
    sharpness = _settings(summary, point).get("reward_sharpness")
    return float(np.sqrt(np.log(2) / sharpness)) if sharpness else 0.5


def reference_picture(summary: Summary) -> Plot:
    """Recall and hit rate of the two references, as in the paper's figure 2."""
    stem = "references"
    labels, recall, hits, note = reference_groups(summary.outcomes, summary.design)
    if not labels:
        return Plot(stem, "No cell reports both recall and hit rate of p' and p''.")
    caption = (
        "The references before any alignment, as in the paper's figure 2: one line per seed. Low "
        "recall of p'' sets the learning trap, a low hit rate the sampling trap."
    )
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    first, second = (np.mean(np.concatenate([pair[i] for pair in hits])) for i in (0, 1))
    words = (
        "Overall recall and hit rate of p' and p''; mean hit rates "
        f"{significant_text(first)} and {significant_text(second)}."
    )
    query = sql.reference_query(summary.axes)
    return draw(stem, figures.reference_check(labels, recall, hits), caption, words, query)


def density_picture(run: ReadRun, summary: Summary) -> Plot:
    """How often each reference's samples get which reward, as in the paper's figure 2(b)."""
    stem = "densities"
    points = deepest_points(summary, 1)
    if not points:
        return Plot(stem, "No grid point is complete, so no reference's rewards are drawn.")
    point = points[0]
    sharpness = _settings(summary, point).get("reward_sharpness")
    truth = truth_at(run, summary, point)
    if not sharpness or truth is None or "targets" not in truth:
        return Plot(
            stem,
            "Reward densities need the oracle's target and sharpness at the deepest setting, which "
            "this kind of study doesn't tell there.",
        )
    shares: dict[str, npt.NDArray[np.float64]] = {}
    generator = stream(0, "analysis/densities")
    try:
        for title, name in (("p' (reference of A-K)", "p_prime"),
                            ("p'' (reference of K-A)", "p_second")):  # fmt: skip
            nodes = {
                cell.seed: cell.models[name]
                for cell in cells_at(summary.cells, summary.axes, point)
            }
            models = [load_mixture(f"{title}, seed {s}", n, run.store) for s, n in nodes.items()]
            shares[title] = reward_shares(models, truth["targets"], sharpness, generator)
    except (InputError, OSError, ValueError, KeyError) as error:
        return Plot(stem, f"The references' rewards can't be drawn: {error}.")
    best = [float(seeds[:, -BINS // 10 :].sum(axis=1).mean()) for seeds in shares.values()]
    where = f" at {point_text(point, summary.axes)}" if summary.axes else ""
    caption = (
        f"Rewards of samples from the stored references{where}, as in the paper's figure 2(b): "
        "5,000 samples of each seed's model, drawn for this figure; bands span the seeds. "
        f"R ≥ 0.9 R_max: {share_text(best[0], 2)} of samples from p', "
        f"{share_text(best[1], 2)} from p''."
    )
    words = (
        "Histograms of normalised reward; share above 0.9: "
        f"{decimal_text(best[0], 4)} and {decimal_text(best[1], 4)}."
    )
    tints = dict(zip(shares, (P_PRIME, P_SECOND), strict=True))
    means = {name: seeds.mean(axis=0) for name, seeds in shares.items()}
    return draw(stem, figures.reward_densities(means, shares, tints), caption, words)


def selection_picture(run: ReadRun, summary: Summary) -> Plot:
    """Alignment curves that a checkpoint is chosen by, as in the paper's figures 13 and 14."""
    stem = "selection"
    points = deepest_points(summary, 1)
    if not points:
        return Plot(stem, "No grid point is complete, so no alignment curve is drawn.")
    found = cells_at(summary.cells, summary.axes, points[0])
    query = curve_query([c.id for c in found if summary.statuses.get(c.id) == "succeeded"])
    try:
        curves = run.sql(query).to_pandas()
    except InputError as error:
        return Plot(stem, f"The alignment curves can't be read: {str(error).splitlines()[0]}")
    orderings = [name for name in summary.design.orderings if name in ("K-A", "A-K")]
    drawn = courses(curves, orderings)
    if not drawn:
        return Plot(stem, "The curves table holds no reward of an alignment over its updates.")
    where = f" at {point_text(points[0], summary.axes)}" if summary.axes else ""
    caption = (
        f"The first alignment of each ordering{where}, as in the paper's figures 13 and 14: means "
        "over seeds, bands from the lowest to the highest seed. A fall of the reward's standard "
        "deviation marks the onset of collapse."
    )
    planned = {name: len(summary.design.seeds[points[0], name]) for name in orderings}
    fewer = [f"{SELECTION[m]} of {o} in {c.seeds} of {planned[o]} seeds"
             for (m, o), c in drawn.items() if c.seeds < planned[o]]  # fmt: skip
    if fewer:
        caption += f" Not every seed has a curve: {'; '.join(fewer)}."
    chosen = chosen_steps(curves, orderings)
    if chosen:
        caption += " Dashed verticals: the checkpoints that the alignments ended with, per seed."
    clipped = curves.loc[curves["metric"] == "clip_fraction", "value"]
    if len(clipped) and not clipped.any():
        caption += (
            " Nothing was ever clipped: each rollout is used for one update, where every ratio is "
            "1, so this PPO is the policy gradient with a baseline."
        )
    step = "rollout" if chosen else "update"
    last = ", ".join(
        f"{m} of {o} ends at {decimal_text(c.mean_T[-1])}" for (m, o), c in drawn.items()
    )
    return draw(
        stem,
        figures.selection_curves(drawn, SELECTION, step, chosen),
        caption,
        f"Curves: {last}.",
        query,
    )
