"""E of log sum_k exp g_k under a Gaussian, along lines: what the lattice is too coarse for.

Along a line the largest parabola is integrated in closed form, piece by piece. What the others add
to it, at most log K, lives where two are nearly level, in a layer as wide as their slopes differ;
panels are cut there. Legend: M lines, P panels, N nodes, K surfaces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recalltrap_studies.mog.exact.envelope import Index, Parabolas, crossings
from recalltrap_studies.mog.exact.kronrod import SEVEN_FIFTEEN
from recalltrap_studies.mog.exact.lines import PANEL, REACH, normal_density, normal_mass
from recalltrap_studies.mog.exact.surfaces import Mask
from recalltrap_studies.mog.exact.values import Integrals
from recalltrap_studies.mog.models import Array

LAYER = 10.0
"""Cuts beside a crossing, in units of 1 / the jump of the slope there."""

NEGLIGIBLE = 15.0
"""A surface that stays so many nats below the largest one adds less than anybody asks for."""

PEAK = 3.0
"""Cuts beside the peak of a narrow surface, in its standard deviations."""

LARGEST = 700.0
"""Of an exponent; above the best parabola by more is rounding alone."""

CHUNK = 600
"""Panels whose nodes are evaluated at once: what they need fits a core's cache."""

ROUNDS, LIMIT = 24, 400_000
"""Times a panel is halved, and panels at once, at most: what is left then is the error."""


class Panels(NamedTuple):
    """Stretches of lines, each [P]."""

    line: Index
    low: Array
    high: Array

    def where(self, chosen: Mask | Index) -> Panels:
        """Some of them."""
        return Panels(self.line[chosen], self.low[chosen], self.high[chosen])


def along_lines(lines: Parabolas, main_M: Index, tolerance_M: Array) -> Integrals:
    """Integrals of (log sum_k exp g_k - g_main) against the normal density, [M]."""
    cut = _cut(lines)
    best_P = lines.at(cut.line, (cut.low + cut.high) / 2.0).argmax(axis=0)
    count = len(main_M)
    value, error, nodes = np.zeros(count), np.zeros(count), np.zeros(count)
    # the best parabola of every panel in closed form, then what the others add to it
    value += np.bincount(cut.line, _closed(lines, main_M, cut, best_P), count)
    for turn in range(ROUNDS):
        near_PK = _near(lines, cut, best_P)
        worth = np.flatnonzero(near_PK.any(axis=1))
        cut, best_P = cut.where(worth), best_P[worth]
        fine, difference = _remainder(lines, cut, best_P, near_PK[worth])
        ended = turn == ROUNDS - 1 or len(fine) > LIMIT
        done = ~(difference > tolerance_M[cut.line]) | ended
        value += np.bincount(cut.line, fine * done, count)
        error += np.bincount(cut.line, difference * done, count)
        nodes += np.bincount(cut.line, np.full(len(fine), len(RULE.places)), count)
        if done.all():
            break
        cut, best_P = _halved(cut.where(~done)), np.tile(best_P[~done], 2)
    return Integrals(value, error, nodes)


RULE = SEVEN_FIFTEEN


def _halved(cut: Panels) -> Panels:
    middle = (cut.low + cut.high) / 2.0
    return Panels(np.tile(cut.line, 2), np.append(cut.low, middle), np.append(middle, cut.high))


def _cut(lines: Parabolas) -> Panels:
    """Each line from -REACH to REACH in panels."""
    pieces = [*_at_crossings(lines), *_at_peaks(lines)]
    ends = np.arange(len(lines.a))
    line = np.concatenate([ends, ends, *(piece[0] for piece in pieces)])
    place = np.concatenate(
        [np.full(len(ends), -REACH), np.full(len(ends), REACH), *(piece[1] for piece in pieces)]
    )
    # all ends in order along their lines; two neighbours on one line enclose a panel
    inside = np.abs(place) <= REACH
    line, place = line[inside], place[inside]
    order = np.lexsort((place, line))
    line, place = line[order], place[order]
    real = (line[1:] == line[:-1]) & (place[1:] > place[:-1])
    line, low, high = line[1:][real], place[:-1][real], place[1:][real]
    # wide ones are divided evenly
    parts = np.ceil((high - low) / PANEL).astype(int)
    first = np.repeat(np.cumsum(parts) - parts, parts)
    index = np.arange(len(first)) - first
    line, low, width, parts = (
        np.repeat(part, parts) for part in (line, low, (high - low) / parts, parts)
    )
    return Panels(line, low + index * width, low + (index + 1) * width)


def _at_crossings(lines: Parabolas) -> Iterator[tuple[Index, Array]]:
    """The crossings, and the edges of their layers where these are narrower than the gap."""
    line, place, jump = crossings(lines, REACH)
    yield line, place
    first = np.append(True, line[1:] != line[:-1])
    before = np.where(first, -REACH, np.append(-REACH, place[:-1]))
    after = np.where(np.append(first[1:], True), REACH, np.append(place[1:], REACH))
    offset = LAYER / jump
    left, right = 2.0 * offset < place - before, 2.0 * offset < after - place
    yield line[left], (place - offset)[left]
    yield line[right], (place + offset)[right]


def _at_peaks(lines: Parabolas) -> Iterator[tuple[Index, Array]]:
    """Around the peaks of narrow parabolas that come close to the largest one."""
    scale = 1.0 / np.sqrt(-2.0 * lines.a)
    peak = -0.5 * lines.b / lines.a
    for k in np.flatnonzero((scale < PANEL / 4.0).any(axis=0)):
        near = np.flatnonzero((scale[:, k] < PANEL / 4.0) & (np.abs(peak[:, k]) < REACH))
        values = lines.at(near, peak[near, k])
        gap = values.max(axis=0) - values[k]
        near = near[(gap > 0) & (gap < NEGLIGIBLE)]
        for side in (-PEAK, 0.0, PEAK):
            yield near, (peak + side * scale)[near, k]


def _closed(lines: Parabolas, main_M: Index, cut: Panels, best_P: Index) -> Array:
    """Integrals of the best parabola minus the main one, [P]."""
    value = np.zeros(len(best_P))
    other = np.flatnonzero(best_P != main_M[cut.line])
    if not len(other):
        return value
    (line, low, high), best = cut.where(other), best_P[other]
    a, b, c = (part[line, best] - part[line, main_M[line]] for part in lines)
    density_low, density_high = normal_density(low), normal_density(high)
    mass = normal_mass(low, high)
    first = density_low - density_high  # of t
    second = mass + low * density_low - high * density_high  # of t^2
    value[other] = a * second + b * first + c * mass
    return value


def _near(lines: Parabolas, cut: Panels, best_P: Index) -> Mask:
    """Which other surfaces come near the best of a panel, [P, K]: the difference is quadratic."""
    row = np.arange(len(best_P))
    a, b, c = (column[cut.line] for column in lines)
    a, b, c = (column - column[row, best_P][:, None] for column in (a, b, c))
    low, high = cut.low[:, None], cut.high[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        vertex = np.where(a < 0, np.clip(-0.5 * b / a, low, high), low)
    near = (a * vertex + b) * vertex + c > -NEGLIGIBLE
    for end in (low, high):
        near |= (a * end + b) * end + c > -NEGLIGIBLE
    near[row, best_P] = False
    return near


def _remainder(lines: Parabolas, cut: Panels, best_P: Index, near_PK: Mask) -> tuple[Array, Array]:
    """Integrals of log sum_k exp (g_k - g_best), and how far two orders differ, [P]."""
    fine, coarse = np.empty(len(best_P)), np.empty(len(best_P))
    for begin in range(0, len(best_P), CHUNK):
        part = slice(begin, begin + CHUNK)
        line, low, high = cut.line[part], cut.low[part], cut.high[part]
        half = (high - low) / 2.0
        t_NP = (low + high) / 2.0 + half * RULE.places[:, None]
        # every near surface against the best one, [N, pairs]; the sums over surfaces are [N, P]
        panel, k = np.nonzero(near_PK[part])
        a, b, c = (column[line[panel], k] - column[line, best_P[part]][panel] for column in lines)
        t = t_NP[:, panel]
        ratio = np.exp(np.minimum((a * t + b) * t + c, LARGEST))
        first = np.flatnonzero(np.append(True, panel[1:] != panel[:-1]))
        total_NP = np.add.reduceat(ratio, first, axis=1)
        value = np.log1p(total_NP) * np.exp(-0.5 * t_NP * t_NP)
        scale = half / math.sqrt(2.0 * math.pi)
        fine[part] = scale * (RULE.high[:, None] * value).sum(axis=0)
        coarse[part] = scale * (RULE.low[:, None] * value).sum(axis=0)
    return fine, np.abs(fine - coarse)
