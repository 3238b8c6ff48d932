"""Which checkpoint an alignment ends with: the last, or the one that the paper's rule chooses.

A pure function over curves (arXiv 2509.23667, appendix C.4). The paper chose by eye; the numbers
that stand for its words are the constants below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from recalltrap_studies.llm.alignment.registry import Selector

Curve = npt.NDArray[np.float64]

SMOOTHING = 0.05
"""Share of the run that a moving average spans: a point is the mean of one noisy rollout."""
WINDOW = 0.2
"""Share of the run within which a fall of the deviation counts as sharp."""
FALL = 0.5
"""A fall to less than this share of the window's largest deviation is the sharp one."""
BEFORE = 0.9
"""The fall begins where the deviation leaves this share of that largest value."""


def select(
    curves: Mapping[str, npt.ArrayLike],
    by: Selector,
    how: str,
    candidates: Sequence[int] | None = None,
) -> int:
    """The step of the chosen checkpoint.

    `curves` holds `step` and the metrics measured at those steps, equally long: `by`, and where
    that is `reward` also `reward_sd`; values that are NaN don't count.
    `candidates` are the steps whose weights were kept; without them every step but 0. `how` is
    `last`, or `paper`: the highest mean reward before the reward's deviation falls sharply, or
    the largest margin. Equal ones give the earliest.

    Raises:
        ValueError: no candidate, or none of them was measured.
    """
    steps = np.asarray(curves["step"], np.int64)
    allowed = [int(step) for step in steps if step > 0] if candidates is None else list(candidates)
    if not allowed:
        raise ValueError("no candidates to select a checkpoint from")
    if how == "last":
        return max(allowed)
    score = smooth(np.asarray(curves[by], np.float64))
    limit = steps[-1]
    if by == "reward":
        limit = steps[fall_onset(smooth(np.asarray(curves["reward_sd"], np.float64)))]
    known = {int(step): float(value) for step, value in zip(steps, score, strict=True)}
    scored = [step for step in sorted(allowed) if np.isfinite(known.get(step, np.nan))]
    if not scored:
        raise ValueError(f"no candidate has a finite {by}")
    before = [step for step in scored if step <= limit] or scored[:1]
    return max(before, key=lambda step: known[step])


def choosable(
    curves: Mapping[str, npt.ArrayLike], by: Selector, points: int, candidates: Sequence[int]
) -> list[int]:
    """Of the candidates those that the paper's rule may still choose, whatever comes.

    Their weights alone must be kept. `curves` are the run's points so far as in `select`, the
    steps 0, 1, ... of `points` in all; a candidate that isn't among them is kept.
    """
    score = smooth(np.asarray(curves[by], np.float64), points)
    settled = max(len(score) - _half_window(points), 0)  # later points change no mean before it
    limit: float = np.inf
    certain = by != "reward"  # that a candidate is before the limit, wherever that will be
    if not certain:
        deviation = smooth(np.asarray(curves["reward_sd"], np.float64), points)[:settled]
        fall = _sharp_fall(deviation, points)
        certain = fall is not None
        # A fall that is still to come has its onset in the window before it.
        limit = max(settled - _fall_window(points), 0) if fall is None else fall
    kept: list[int] = []
    known = [step for step in sorted(candidates) if step < settled and np.isfinite(score[step])]
    for step in known:
        if certain and step > limit and step != known[0]:
            continue  # behind a fall that was seen
        better = [other for other in known if step < other <= limit and score[other] > score[step]]
        if better or any(score[other] >= score[step] for other in known if other < step):
            continue
        kept.append(step)
    return [*kept, *(step for step in sorted(candidates) if step >= settled)]


def smooth(values: Curve, points: int | None = None) -> Curve:
    """A centred moving average over `SMOOTHING` of the run, shorter at both ends, without NaNs.

    NaN only where the whole window is. The run has so many `points`, by default these.
    """
    half = _half_window(len(values) if points is None else points)
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    count = counts[high] - counts[low]
    mean = (sums[high] - sums[low]) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, np.nan))


def fall_onset(deviation: Curve) -> int:
    """The index of the last point before the first sharp fall; the last index without one."""
    found = _sharp_fall(deviation, len(deviation))
    return len(deviation) - 1 if found is None else found


def _half_window(points: int) -> int:
    return round(SMOOTHING * points) // 2


def _fall_window(points: int) -> int:
    return max(round(WINDOW * points), 1)


def _sharp_fall(deviation: Curve, points: int) -> int | None:
    """Where the first sharp fall begins in a run of so many points; None without one."""
    width = _fall_window(points)
    for index in range(len(deviation)):
        start = max(index - width, 0)
        window = deviation[start : index + 1]
        if not np.isfinite(window).any():
            continue
        top = float(np.nanmax(window))
        if deviation[index] < FALL * top:
            high = np.flatnonzero(window >= BEFORE * top)
            return start + int(high[-1])
    return None
