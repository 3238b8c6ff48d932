"""The largest of several parabolas along many lines: where it changes from one to another.

Legend: M lines, K parabolas a t^2 + b t + c with a < 0, E crossings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recalltrap_studies.mog.models import Array

Index = npt.NDArray[np.intp]


class Parabolas(NamedTuple):
    """Coefficients, each [M, K]."""

    a: Array
    b: Array
    c: Array

    def at(self, line_N: Index, t_N: Array) -> Array:
        """All parabolas [K, N] at one place of each of N lines."""
        a, b, c = (column[line_N].T for column in self)
        return np.asarray((a * t_N + b) * t_N + c)


class Crossings(NamedTuple):
    """Where the largest parabola changes, ordered by line and place, each [E]."""

    line: Index
    place: Array
    jump: Array  # of the slope


def crossings(lines: Parabolas, reach: float) -> Crossings:
    """Follow the largest parabola of each line from -reach to reach."""
    count, parabolas = lines.a.shape
    place_M = np.full(count, -reach)
    active = np.arange(count)
    best = lines.at(active, place_M).argmax(axis=0)
    pieces = []
    for _ in range(2 * parabolas):  # an envelope of K parabolas has at most 2 K - 1 pieces
        # each line's next piece is the first parabola to overtake the one it is on
        root, jump = _overtaking(lines, active, best, place_M)
        following = root.argmin(axis=1)
        row = np.arange(len(active))
        place_M, jump_M = root[row, following], jump[row, following]
        on = place_M < reach
        if not on.any():
            break
        active, best, place_M = active[on], following[on], place_M[on]
        pieces.append((active, place_M, jump_M[on]))
    if not pieces:
        return Crossings(active[:0], place_M[:0], place_M[:0])
    line, place, jump = (np.concatenate(part) for part in zip(*pieces, strict=True))
    order = np.lexsort((place, line))
    return Crossings(line[order], place[order], jump[order])


def _overtaking(lines: Parabolas, active: Index, best: Index, place: Array) -> tuple[Array, Array]:
    """Where, from `place` on, each parabola overtakes the best one: [M, K], infinite for never.

    The one root of the difference a t^2 + b t + c at which it rises is (-b + sqrt(b^2 - 4 a c)) /
    (2 a), written so that nothing cancels; the root of the discriminant is the slope there.
    """
    row = np.arange(len(active))
    a, b, c = (column[active] for column in lines)
    a, b, c = (column - column[row, best][:, None] for column in (a, b, c))
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.sqrt(b * b - 4.0 * a * c)
        root = np.where(b >= 0, -2.0 * c / (b + slope), (slope - b) / (2.0 * a))
    slack = 1e-12 * (1.0 + np.abs(place))  # several may cross at one place
    ahead = (root >= (place - slack)[:, None]) & (slope > 0)
    ahead[row, best] = False
    return np.where(ahead, np.maximum(root, place[:, None]), np.inf), slope
