"""What a figure's boxes show."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection


def box_count(axes: Axes) -> int:
    groups = [c for c in axes.collections if isinstance(c, PolyCollection)]
    return sum(len(group.get_paths()) for group in groups)


def medians(axes: Axes) -> list[float]:
    """Heights of the medians, the only lines of that width."""
    groups = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [
        float(segment[0][1])
        for group in groups
        if group.get_linewidth() == [1.2]
        for segment in group.get_segments()
    ]
