"""Figures of stored mixtures in the plane: one seed's densities, and how rewards distribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import safetensors
import safetensors.numpy

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap.streams import stream
from recalltrap_analysis.estimates.severity import COMPLETE, by_point
from recalltrap_analysis.figures.contours import Mixture, contour_panels
from recalltrap_analysis.figures.reward_distribution import reward_distribution
from recalltrap_analysis.figures.style import P_PRIME, P_SECOND
from recalltrap_analysis.mixture.densities import BINS, reward_shares
from recalltrap_analysis.number_format import decimal_text, point_text, share_text
from recalltrap_analysis.report.document import Plot
from recalltrap_analysis.report.plots.grid_points import cells_at, deepest
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.verdicts.summary import Summary

GEOMETRY = ("targets", "spacing", "modes", "variance")
"""Settings that move p* and the targets, which are known at the study's first grid point."""


def contour_plot(run: ReadRun, summary: Summary) -> Plot:
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
    figure = contour_panels(mixtures, circles, _half_radius(summary, point))
    words = f"Density contours of {titles}."
    return Plot(stem, caption, words, figure)


def reward_distribution_plot(run: ReadRun, summary: Summary) -> Plot:
    """How often each reference's samples get which reward, as in the paper's figure 2(b)."""
    stem = "densities"
    points = deepest(summary.severity, 1)
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
    return Plot(stem, caption, words, reward_distribution(means, shares, tints))


def truth_at(
    run: ReadRun, summary: Summary, point: GridPoint
) -> Mapping[str, npt.NDArray[np.float64]] | None:
    """p* and the targets at a grid point; None where only another point's are known."""
    first = summary.design.points[0]
    for axis, here, there in zip(summary.axes, point, first, strict=True):
        if axis in GEOMETRY and here != there:
            return None
    return run.ground_truth()


def _settings(summary: Summary, point: GridPoint) -> dict[str, Any]:
    found = cells_at(summary.cells, summary.axes, point)
    return found[0].factors if found else {}


def _half_radius(summary: Summary, point: GridPoint) -> float:
    """Where the reward falls to half: exp(-s·r²) = 1/2 (eq. 8)."""
    sharpness = _settings(summary, point).get("reward_sharpness")
    return float(np.sqrt(np.log(2) / sharpness)) if sharpness else 0.5


def typical_pair(pairs: pd.DataFrame, table: pd.DataFrame) -> tuple[GridPoint, int] | None:
    """The grid point of the deepest severity and there the seed nearest to the median severity."""
    complete = table[table["state"] == COMPLETE]
    if complete.empty:
        return None
    point = complete["point"].tolist()[int(np.argmax(complete["severity"].to_numpy()))]
    rows = by_point(pairs)[point]
    distance = (rows["severity"] - rows["severity"].median()).abs().to_numpy()
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


def load_mixture(title: str, node: Node, store: ArtifactReader) -> Mixture:
    """One stored mixture.

    Raises:
        InputError: it is not stored, is damaged, or is not a mixture in the plane.
    """
    if not store.has(node):
        raise InputError(f"{title} is not in the store")
    try:
        arrays = safetensors.numpy.load(store.read(node, "model.safetensors"))
    except safetensors.SafetensorError as error:
        raise InputError(f"{title} is damaged in the store ({error})") from None
    return mixture(title, arrays)


def mixture(title: str, arrays: Mapping[str, Any]) -> Mixture:
    """A mixture from `logits` [K], `means` [K, 2] and `cholesky` [K, 3].

    Raises:
        InputError: the arrays are not those of a mixture in the plane, or not finite.
    """
    names = ("logits", "means", "cholesky")
    if not set(names) <= set(arrays) or arrays["means"].shape[-1] != 2:
        raise InputError(f"{title} is not a mixture in the plane")
    if not all(np.isfinite(np.asarray(arrays[name], dtype=float)).all() for name in names):
        raise InputError(f"{title} holds parameters that are not finite")
    logits_K = np.asarray(arrays["logits"], dtype=float)
    weights_K = np.exp(logits_K - logits_K.max())
    means_K2 = np.asarray(arrays["means"], dtype=float)
    cholesky_K3 = np.asarray(arrays["cholesky"], dtype=float)
    return Mixture(title, weights_K / weights_K.sum(), means_K2, cholesky_K3)
