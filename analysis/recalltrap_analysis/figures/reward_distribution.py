"""How rewards of samples are distributed, as in the paper's figure 2(b)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from recalltrap_analysis.figures.style import Array, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, number


def reward_distribution(
    shares: Mapping[str, Array], seeds: Mapping[str, Array], colours: Mapping[str, str]
) -> Figure:
    """How often a reference's samples get each reward, the whole range and the tail.

    Args:
        shares: Per model, the share of samples in each of B equal bins of R / R_max, shape [B].
        seeds: The same per seed, shape [N, B]; drawn as a band between the extremes.
        colours: A colour for each model.
    """
    bins = len(next(iter(shares.values())))
    edges = np.linspace(0, 1, bins + 1)
    tail = bins - bins // 5
    with styled():
        figure, [[whole, end]] = new_figure(7.2, 2.9, 1, 2, width_ratios=[1.7, 1])
        for (name, share_B), dashes in zip(shares.items(), ("-", (0, (5, 1.5))), strict=False):
            for axes, start in ((whole, 0), (end, tail)):
                part = edges[start:]
                axes.stairs(share_B[start:], part, color=colours[name], lw=1.6, ls=dashes,
                            label=name, baseline=None)  # fmt: skip
                for left, right, share in zip(part, part[1:], share_B[start:], strict=False):
                    words = f"{name}, R / R_max {number(left)} to {number(right)}: "
                    words += f"{number(share)} of the samples"
                    if share > 0:  # the logarithmic panel has no place for 0
                        add_point_tooltip(axes, (left + right) / 2, share, words)
                low_B, high_B = (
                    np.append(ends_B[start:], ends_B[-1])
                    for ends_B in (seeds[name].min(axis=0), seeds[name].max(axis=0))
                )
                axes.fill_between(part, low_B, high_B, step="post", color=colours[name],
                                  alpha=0.18, lw=0)  # fmt: skip
        whole.set_yscale("log")
        whole.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        whole.yaxis.set_minor_formatter(NullFormatter())
        whole.set_title("all samples (logarithmic)")
        end.set_title("the best fifth of rewards")
        end.set_ylim(bottom=0)
        whole.set_ylabel("share of samples per bin")
        for axes in (whole, end):
            axes.set_xlabel("R / R_max")
            axes.grid(axis="y")
        handles, labels = whole.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure
