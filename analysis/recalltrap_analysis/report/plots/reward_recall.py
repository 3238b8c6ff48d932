"""Each ordering's reward against its recall, along its own KL weights."""

from __future__ import annotations

import numpy as np

from recalltrap.kind import metric_of
from recalltrap.orderings import DISTILL
from recalltrap_analysis.estimates.contrasts import EQUAL_RECALL, dominated_share
from recalltrap_analysis.estimates.reward_recall import Curve, other_axes, reward_recall_curves
from recalltrap_analysis.figures.reward_recall import TracedOrdering, reward_recall_figure
from recalltrap_analysis.number_format import point_text, setting_text
from recalltrap_analysis.report.document.blocks import Plot, slug
from recalltrap_analysis.report.plots.grid_points import thin
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import student_interval
from recalltrap_analysis.verdicts.summary import Summary

STEM = "reward-recall"
MOST_PANELS = 4
MOST_SEEDS = 0.5


def comparison_plots(run: ReadRun, summary: Summary) -> list[Plot]:
    """A figure for each ordering that others are compared with, and those beside it.

    None where there is one KL weight: one point is no curve.
    """
    if not (summary.effects["comparison"] == EQUAL_RECALL).any():
        return []
    against: dict[str, list[str]] = {}
    for first, second in summary.judgement.contrasts:
        against.setdefault(second, []).append(first)
    return [
        reward_recall_plot(run, summary, [second, *firsts], "" if len(against) == 1 else second)
        for second, firsts in against.items()
    ]


def reward_recall_plot(
    run: ReadRun, summary: Summary, orderings: list[str], against: str = ""
) -> Plot:
    """The curves of the orderings compared, a panel per stratum; those with a gap are left out.

    `against` names what they are compared with, where a page has several such figures.
    """
    stem = f"{STEM}-{slug(against)}" if against else STEM
    curves = reward_recall_curves(summary.outcomes, summary.design, summary.kind.kl_weight)
    panels: dict[tuple[object, ...], list[Curve]] = {}
    for (stratum, name), curve in curves.items():
        if name in orderings and np.isfinite([curve.reward, curve.recall]).all():
            panels.setdefault(stratum, []).append(curve)
    panels = {stratum: found for stratum, found in panels.items() if len(found) > 1}
    if not panels:
        return Plot(stem, "No two orderings have reward and recall in every seed at every "
                    "grid point, so there are no curves to draw.")  # fmt: skip
    shown = thin(list(panels), MOST_PANELS)
    axes = other_axes(summary.design, summary.kind.kl_weight)
    titles = [point_text(stratum, axes) if axes else "" for stratum in shown]
    compact = {c.ordering.name for c in summary.cells if DISTILL in c.ordering.steps}
    traced = [
        [_traced(curve, panels[stratum], compact) for curve in panels[stratum]] for stratum in shown
    ]
    recall = metric_of(summary.metrics, "overall_recall").label
    reward = metric_of(summary.metrics, "reward").label
    weight = summary.kind.kl_weight or "setting"
    caption = (
        f"Each ordering's curve over its own {weight} (its last value is at the end of the "
        "curve): mean over seeds with 95 % intervals, seeds faint. Higher and further right is "
        "better. Open: in at least half of the seeds some point of one other ordering has more "
        "reward and more recall."
    )
    if large := [name for name in orderings if name not in compact]:
        caption += f" Not distilled, so larger, and not counted there: {', '.join(large)}."
    if len(shown) < len(panels):
        caption += f" {len(shown)} of {len(panels)} strata are shown; the table has all."
    return Plot(
        stem,
        caption,
        "Reward against overall recall. " + " ".join(map(_in_words, shown, titles, traced)),
        reward_recall_figure(traced, titles, recall, reward),
        sql.reward_recall_query(summary.axes, summary.reward_unit),
    )


def _traced(curve: Curve, panel: list[Curve], compact: set[str]) -> TracedOrdering:
    rivals = [other for other in panel if other is not curve and other.ordering in compact]
    shares_W = [dominated_share(curve, other) for other in rivals]
    dominated_W = np.zeros(len(curve.points), bool)
    for share_W in shares_W:
        dominated_W |= share_W >= MOST_SEEDS
    return TracedOrdering(
        curve.ordering,
        [setting_text(weight) if weight is not None else "" for weight in curve.weights],
        curve.recall,
        curve.reward,
        _mean_and_limits(curve.recall),
        _mean_and_limits(curve.reward),
        dominated_W,
    )


def _mean_and_limits(values_NW: Array) -> Array:
    found = [student_interval(values_N) for values_N in values_NW.T]
    return np.array([[one.value, one.low, one.high] for one in found]).T


def _in_words(stratum: object, title: str, curves: list[TracedOrdering]) -> str:
    parts = [
        f"{curve.ordering} dominated at {curve.dominated_W.sum()} of {len(curve.labels)} points"
        for curve in curves
    ]
    return f"{title + ': ' if title else ''}{', '.join(parts)}."
