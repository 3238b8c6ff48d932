"""The figures of a check: reward over KL from each anchor, the anchor part over the KL weight."""

from __future__ import annotations

import numpy as np

from recalltrap_analysis.check.findings import Findings, PointFinding
from recalltrap_analysis.check.frontier import Frontier, frontier
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.figures.forecast import Panel, Series, over_kl_weight
from recalltrap_analysis.figures.frontier import FrontierLine, FrontierPanel, reward_over_kl
from recalltrap_analysis.figures.style import P_PRIME, P_SECOND
from recalltrap_analysis.number_format import decimal_text, quantity_text, setting_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import thin

MOST_PANELS = 4
TOOLTIPS = 12
"""Of best of n, per anchor."""


def frontier_plot(found: Findings) -> Plot:
    """Reward over KL of each anchor, by best of n and by weighing samples."""
    shown = thin(list(found.pairs), MOST_PANELS)
    panels, words = [], []
    for pair in shown:
        betas = [beta for _, beta in pair.points]
        curves = {
            "p'": frontier(pair, pair.prime, betas, found.margin),
            "p''": frontier(pair, pair.second, betas, found.margin),
        }
        panels.append(_frontier_panel(pair, curves, str(found.kind.kl_weight)))
        for title, curve in curves.items():
            words.append(
                f"{pair.where + ', ' if pair.where else ''}anchor {title}: best of "
                f"{quantity_text(curve.n_M[-1])} gives {decimal_text(curve.best_of_n_M[-1])} at "
                f"{decimal_text(curve.kl_M[-1])} nats; the weighed optimum "
                f"{decimal_text(curve.optimum_B[0])} to {decimal_text(curve.optimum_B[-1])}."
            )
    caption = (
        "The reward that can be had from each anchor for how much KL, before anything is aligned: "
        "by best of n (dashed; n from 1 to all samples, at KL ≤ log n − (n−1)/n), and by weighing "
        f"the samples with exp(R / β) (solid; marks are the study's own {found.kind.kl_weight}). "
        f"Shaded, in the anchor's colour: where the two differ by more than the margin "
        f"({setting_text(found.margin)} in {found.unit}), or too few effective samples hold the "
        f"weight.{_left_out(found, shown)}"
    )
    figure = reward_over_kl(panels)
    return Plot("frontier", caption, "Reward over KL. " + " ".join(words), figure)


def _left_out(found: Findings, shown: list[Pair]) -> str:
    if len(shown) == len(found.pairs):
        return ""
    return f" {len(shown)} of {len(found.pairs)} pairs of references are shown."


def _frontier_panel(pair: Pair, curves: dict[str, Frontier], weight: str) -> FrontierPanel:
    lines, shaded = [], []
    for (title, curve), tint in zip(curves.items(), (P_PRIME, P_SECOND), strict=True):
        optimum = [
            (
                place,
                f"anchor {title}, {weight} {setting_text(curve.weight_B[place])}: reward "
                f"{curve.optimum_B[place]:.4g} at {curve.kl_B[place]:.3g} nats, "
                f"{quantity_text(curve.effective_B[place])} effective samples",
            )
            for place in curve.marked
        ]
        chosen = np.linspace(0, len(curve.n_M) - 1, min(TOOLTIPS, len(curve.n_M))).round()
        best = [
            (
                int(place),
                f"best of {curve.n_M[int(place)]:.0f} from {title}: reward "
                f"{curve.best_of_n_M[int(place)]:.4g} at {curve.kl_M[int(place)]:.3g} nats or less",
            )
            for place in chosen
        ]
        lines += [
            FrontierLine(f"anchor {title}, weighed optimum", tint, False, curve.kl_B,
                         curve.optimum_B, optimum, marked=True),
            FrontierLine(f"anchor {title}, best of n", tint, True, curve.kl_M, curve.best_of_n_M,
                         best),
        ]  # fmt: skip
        shaded.append((f"{title}: not to be trusted", tint, curve.untrusted()))
    return FrontierPanel(pair.where, lines, shaded)


def anchor_part_plot(found: Findings) -> Plot | None:
    """The anchor part to expect over the KL weight; None where no pair has several weights."""
    of_pair: dict[int, list[PointFinding]] = {}
    for one in found.points:
        of_pair.setdefault(id(one.part.pair), []).append(one)
    strata = [
        sorted({one.part.kl_weight: one for one in points}.values(),
               key=lambda one: one.part.kl_weight)
        for points in of_pair.values()
    ]  # fmt: skip
    strata = [points for points in strata if len(points) > 1]
    if not strata:
        return None
    panels = [_anchor_panel(points) for points in thin(strata, MOST_PANELS)]
    ends = [
        f"{decimal_text(points[0].part.spread.value)} at {setting_text(points[0].part.kl_weight)} "
        f"to {decimal_text(points[-1].part.spread.value)} at "
        f"{setting_text(points[-1].part.kl_weight)}"
        for points in strata[:MOST_PANELS]
    ]
    caption = (
        f"The anchor part to expect, a*(p') − a*(p''), in {found.unit}: weighed optimum with its "
        f"95 % interval ({strata[0][0].part.spread.factors}), and best of n. The grey band is what "
        "decides: one-sided 5 % bounds, widened by the samples' bias and by what was too rare to "
        "be seen."
    )
    words = "The anchor part over the KL weight: " + "; ".join(ends) + "."
    figure = over_kl_weight(panels, str(found.kind.kl_weight), f"anchor part, {found.unit}")
    return Plot("check-anchor-part", caption, words, figure)


def _anchor_panel(points: list[PointFinding]) -> Panel:
    estimates = [one.part.spread.estimate() for one in points]
    optimum = np.array([[e.value, e.low, e.high] for e in estimates]).T
    bounds = np.array([[one.part.spread.value, one.decision.low, one.decision.high]
                       for one in points]).T  # fmt: skip
    best = np.array([[one.part.best_of_n, np.nan, np.nan] for one in points]).T
    weights = [setting_text(one.part.kl_weight) for one in points]
    return Panel(
        points[0].part.pair.where,
        weights,
        [
            Series("bounds that decide", "#777777", "line", bounds),
            Series("weighed optimum", P_PRIME, "line", optimum),
            Series("best of n", "#CC79A7", "dashed", best),
        ],
    )
