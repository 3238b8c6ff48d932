"""p' against p'' before any alignment, as in the paper's figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from recalltrap_analysis.figures.boxplots import MOST_WIDTH, draw_boxes
from recalltrap_analysis.figures.style import (
    FAINT,
    INK,
    P_PRIME,
    P_SECOND,
    Array,
    new_figure,
    styled,
)


def reference_check(
    labels: Sequence[str],
    recall: Sequence[tuple[Array, Array]],
    beside: Sequence[tuple[Array, Array]],
    titles: tuple[str, str],
) -> Figure:
    """p' against p'' before any alignment: overall recall and how good they are, seed by seed.

    Args:
        labels: One per group of settings that share their references.
        recall: Per group, overall recall (nats) of p' and of p'', each of shape [N seeds].
        beside: Per group, P(R >= 0.9 R_max) or the mean reward of p' and of p'', likewise.
        titles: What the two are called.
    """
    long = max(len(text) for text in labels) > 24
    with styled():
        widest = max(len(line) for text in labels for line in text.split("\n"))
        room = 1.3 + 2 * len(labels) * max(0.95, 0.072 * widest)
        figure, axes = new_figure(min(MOST_WIDTH, room), 3.4 if long else 3.1, 1, 2)
        for panel, title, groups in zip(axes[0], titles, (recall, beside), strict=True):
            for group, (first_N, second_N) in enumerate(groups):
                name = labels[group].replace("\n", ", ")
                left, right = group - 0.2, group + 0.2
                ends = [
                    [(left, first), (right, second)]
                    for first, second in zip(first_N, second_N, strict=True)
                ]
                panel.add_collection(LineCollection(ends, colors=FAINT, linewidths=0.5, zorder=1))
                draw_boxes(panel, [first_N], [left], 0.26, P_PRIME, [f"p' {name}".strip()])
                draw_boxes(panel, [second_N], [right], 0.26, P_SECOND, [f"p'' {name}".strip()])
            panel.set_title(title)
            panel.set_xlim(-0.6, len(labels) - 0.4)
            turn: dict[str, Any] = (
                {"rotation": 25, "ha": "right"} if long and len(labels) > 1 else {}
            )
            panel.set_xticks(range(len(labels)), labels, **turn)
            panel.grid(axis="y")
        handles = [
            Patch(facecolor=P_PRIME, alpha=0.55, edgecolor=INK, label="p' (reference of A-K)"),
            Patch(facecolor=P_SECOND, alpha=0.55, edgecolor=INK, label="p'' (reference of K-A)"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure
