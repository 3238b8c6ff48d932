"""Severity (the anchor part) against the recall that distillation lost, over a grid.

    severity = top * (1 - exp(-deficit * penalty^power / scale))

with `penalty` the weight of the KL penalty. It is 0 where p'' covers what p' covers or nothing
anchors, rises with both and levels off, as severity must (attainments end at 1). `power` is fitted
because severity grows faster than in proportion to the weight: on a grid of 112 settings (PPO) the
rms error was 0.056 with it, 0.078 at power 1; a logistic or a Hill curve gained nothing. Where the
fit doesn't converge, isotonic regression on deficit * penalty takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.streams import stream
from recalltrap_analysis.estimates.order_effect import (
    COMPLETE,
    by_point,
    estimate_means,
    planned_points,
    point_severity,
    spread,
)
from recalltrap_analysis.estimates.references import reference_rows
from recalltrap_analysis.number_format import point_text
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics import saturating_curve
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.saturating_curve import Bounds, fit_curves

SATURATING, ISOTONIC = "saturating exponential", "isotonic regression"
LEAST_SETTINGS = 6
RESAMPLES = 300
CURVE_POINTS = 100
INTERVAL = "percentile bootstrap over seeds"
LOWER_BOUNDS = (0.0, 1e-6, 0.0)
UPPER_BOUNDS = {"scale": 1e4, "power": 5.0}
HIGHEST_TOP = 2.0
"""Of attainments, which end at 1; a reward without a supremum may have more."""

Curve = Callable[[Array, Array], Array]
"""Severity predicted from deficit and penalty, each of shape [settings]."""


@dataclass(frozen=True)
class ScalingFit:
    """Severity against recall deficit.

    `settings` has one row per complete grid point: `point`, `label`, `penalty`, `seeds`;
    `deficit` (nats) and `severity` with `_low` and `_high` and their `method`; `x`, its place on
    the curve; `predicted` by the curve and `left_out`, by the curve fitted without it; and `side`:
    `above` where severity's interval lies above 0, `below` where below, else `unclear`.

    `xs`, `ys`, `low`, `high` draw the curve and its 95 % interval over `x`, named by `x_name`.
    `error` is the rms error of leaving a setting out; `error_of_mean`, that of predicting it by
    the others' mean. Where `reason` is not empty there is no curve, and it says why.
    """

    settings: pd.DataFrame
    form: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    x_name: str = ""
    xs: Array = field(default_factory=lambda: np.empty(0))
    ys: Array = field(default_factory=lambda: np.empty(0))
    low: Array = field(default_factory=lambda: np.empty(0))
    high: Array = field(default_factory=lambda: np.empty(0))
    interval: str = ""
    error: float = np.nan
    error_of_mean: float = np.nan
    reason: str = ""
    left_out: int = 0
    """Grid points that have a severity in every seed, but no recall deficit."""


def seed_points(
    outcomes: pd.DataFrame, pairs: pd.DataFrame, design: Design, kl_weight: str | None
) -> pd.DataFrame:
    """What `fit` takes: one row per seed and grid point whose severity is complete.

    Args:
        outcomes: Rows of `cell_outcomes`.
        pairs: Rows of `pair_orderings`.
        design: What was planned.
        kl_weight: The setting that weighs the KL penalty, if there is one.

    Returns:
        Columns `point`, `label`, `seed`, `penalty` (the KL penalty's weight; 1 without one),
        `deficit` (overall recall of p' minus that of p'', nats) and `severity`, from where
        `severity_source` says.
    """
    references = reference_rows(outcomes, design.axes)
    gaps = references["recall_p_prime"] - references["recall_p_second"]
    keys = zip(references["point"], references["seed"], strict=True)
    deficits = dict(zip(keys, gaps, strict=True))
    records: list[dict[str, Any]] = []
    for point, (state, rows) in planned_points(design, pairs).items():
        if state != COMPLETE:
            continue
        state, severity_N = point_severity(design, point, rows)
        if state != COMPLETE:
            continue
        penalty = float(design.settings[point].get(kl_weight, 1.0)) if kl_weight else 1.0
        shared = {"point": point, "label": point_text(point, design.axes), "penalty": penalty}
        for seed, severity in zip(rows["seed"], severity_N.tolist(), strict=True):
            deficit = deficits.get((point, seed), np.nan)
            records.append(shared | {"seed": seed, "deficit": deficit, "severity": severity})
    columns = ["point", "label", "penalty", "seed", "deficit", "severity"]
    return pd.DataFrame.from_records(records, columns=columns)


def fit(points: pd.DataFrame, kl_weight: str | None) -> ScalingFit:
    """Fit the curve to rows of `seed_points`.

    `kl_weight` is what the setting of the KL penalty's weight is called. Settings with a value
    that is not finite are left out and counted in `left_out`. With too few settings, or deficits
    that are all alike, `reason` says so and there is no curve.
    """
    groups = _finite_groups(points)
    settings = _settings(groups)
    unknown = len(by_point(points)) - len(groups)
    name = kl_weight or "KL weight"
    reason = _why_not(settings, name)
    if reason:
        nothing = settings.assign(x=np.nan, predicted=np.nan, left_out=np.nan)
        return ScalingFit(nothing, reason=reason, left_out=unknown)
    deficit, penalty, severity = (
        settings[name].to_numpy() for name in ("deficit", "penalty", "severity")
    )
    form, parameters, curve = _fit(deficit, penalty, severity)
    power = parameters.get("power", 1.0)
    x = np.maximum(deficit, 0) * penalty**power
    xs = np.linspace(0.0, float(x.max()), CURVE_POINTS)
    low, high, interval = _band(groups, form, parameters, xs)
    left_out, of_mean = _left_out(deficit, penalty, severity, parameters)
    varies = settings["penalty"].nunique() > 1
    return ScalingFit(
        settings=settings.assign(x=x, predicted=curve(deficit, penalty), left_out=left_out),
        form=form,
        parameters=parameters,
        x_name=f"recall deficit (nats) × {name}^{power:.2g}" if varies else "recall deficit",
        xs=xs,
        ys=curve(xs, np.ones(CURVE_POINTS)),
        low=low,
        high=high,
        interval=interval,
        error=_rms(left_out - severity),
        error_of_mean=_rms(of_mean - severity),
        left_out=unknown,
    )


def _finite_groups(points: pd.DataFrame) -> dict[GridPoint, pd.DataFrame]:
    values = points[["deficit", "severity", "penalty"]].to_numpy(dtype=float)
    unknown = set(points["point"][~np.isfinite(values).all(axis=1)])
    return {point: rows for point, rows in by_point(points).items() if point not in unknown}


def _settings(groups: dict[GridPoint, pd.DataFrame]) -> pd.DataFrame:
    names = ("deficit", "severity")
    means = {name: (lambda rows, name=name: rows[name]) for name in names}
    estimates = estimate_means(groups, means, stream(0, "analysis/scaling/settings"))
    records = []
    for point, rows in groups.items():
        record: dict[str, Any] = {"point": point, "label": rows["label"].iloc[0]}
        record |= {"penalty": float(rows["penalty"].iloc[0]), "seeds": len(rows)}
        record |= spread(estimates[point], names)
        record["method"] = estimates[point]["severity"].method
        above, below = record["severity_low"] > 0, record["severity_high"] < 0
        record["side"] = "above" if above else "below" if below else "unclear"
        records.append(record)
    columns = ["point", "label", "penalty", "seeds"]
    columns += [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    return pd.DataFrame.from_records(records, columns=[*columns, "method", "side"])


def _why_not(settings: pd.DataFrame, name: str) -> str:
    if len(settings) < LEAST_SETTINGS:
        return (
            f"{len(settings)} complete settings are too few for a curve: it takes "
            f"{LEAST_SETTINGS}, at different recall deficits or {name}s"
        )
    x = settings["deficit"].clip(lower=0) * settings["penalty"]
    if len(np.unique(np.round(x, 6))) < LEAST_SETTINGS / 2:
        return f"the settings hardly differ in recall deficit and {name}: there is no curve"
    return ""


def saturating(x: tuple[Array, Array], top: float, scale: float, power: float = 0.0) -> Array:
    """The curve's severity for (deficit, penalty); a negative deficit counts as none."""
    deficit, penalty = x
    shape = np.asarray(top), np.asarray(scale), np.asarray(power)
    return saturating_curve.saturating(deficit, penalty, *shape)


def _slopes(x: tuple[Array, Array], top: float, scale: float, power: float | None = None) -> Array:
    """Derivatives of `saturating` in its parameters, shape [settings, parameters]."""
    deficit, penalty = x
    strength = np.maximum(deficit, 0) * penalty ** (power or 0.0) / scale
    rest = np.exp(-strength)
    slopes = [1 - rest, -top * rest * strength / scale]
    if power is not None:
        slopes.append(top * rest * strength * np.log(penalty))
    return np.stack(slopes, axis=1)


def _upper_bounds(severity: Array) -> Mapping[str, float]:
    """Of the parameters: the curve may level off at twice what was seen, and at `HIGHEST_TOP`."""
    return {"top": max(HIGHEST_TOP, 2 * float(severity.max())), **UPPER_BOUNDS}


def _fit(
    deficit: Array,
    penalty: Array,
    severity: Array,
) -> tuple[str, dict[str, float], Curve]:
    """The form, its parameters and the fitted curve; arrays of shape [settings]."""
    from scipy import optimize  # half a second, which nothing else needs

    varies = bool(np.ptp(penalty) > 0)
    names = ("top", "scale", "power") if varies else ("top", "scale")
    start = {"top": max(0.1, float(severity.max())), "scale": max(0.1, float(deficit.mean()))}
    upper = _upper_bounds(severity)
    start = {name: min(value, upper[name]) for name, value in start.items()}
    guess = [start.get(name, 1.0) for name in names]
    bounds = (LOWER_BOUNDS[: len(names)], [upper[name] for name in names])
    try:
        found, _ = optimize.curve_fit(
            saturating, (deficit, penalty), severity, guess,
            bounds=bounds, maxfev=2000, jac=_slopes,
        )  # fmt: skip
    except (RuntimeError, ValueError):
        return ISOTONIC, {}, _isotonic(deficit * penalty, severity)
    values = [float(value) for value in found]
    parameters = dict(zip(names, values, strict=True))
    if not varies:
        parameters["power"] = 0.0
    return SATURATING, parameters, _saturating(parameters)


def _fits(
    deficit_RS: Array,
    penalty_S: Array,
    severity_RS: Array,
    counted_RS: Array,
    near: Mapping[str, float],
) -> list[tuple[str, dict[str, float], Curve]]:
    """`_fit` of many data sets alike, where `counted_RS` is 1; all at once from `near`.

    Without parameters to start from, which is where the curve didn't fit, one after the other.
    """
    rows = list(zip(deficit_RS, severity_RS, counted_RS > 0, strict=True))
    if not near:
        return [_fit(d[c], penalty_S[c], s[c]) for d, s, c in rows]
    names = ("top", "scale", "power") if np.ptp(penalty_S) > 0 else ("top", "scale")
    start = [near[name] for name in names]
    upper = _upper_bounds(severity_RS)
    bounds = Bounds(LOWER_BOUNDS, [upper[name] for name in names])
    found = fit_curves(deficit_RS, penalty_S, severity_RS, counted_RS, start, bounds)
    fits: list[tuple[str, dict[str, float], Curve]] = []
    for (deficit, severity, counts), values, converged in zip(
        rows, found.parameters_RP.tolist(), found.converged_R, strict=True
    ):
        if converged:
            parameters = {"power": 0.0, **dict(zip(names, values, strict=True))}
            fits.append((SATURATING, parameters, _saturating(parameters)))
        else:
            x = (deficit * penalty_S)[counts]
            fits.append((ISOTONIC, {}, _isotonic(x, severity[counts])))
    return fits


def _saturating(parameters: Mapping[str, float]) -> Curve:
    return lambda deficit, penalty: saturating((deficit, penalty), **parameters)


def _isotonic(x: Array, severity: Array) -> Curve:
    from scipy import optimize

    order = np.argsort(x, kind="stable")
    steps = optimize.isotonic_regression(severity[order]).x
    knots, first = np.unique(np.maximum(x[order], 0), return_index=True)
    heights = np.array([part.mean() for part in np.split(steps, first[1:])])
    return lambda d, k: np.interp(np.maximum(d, 0) * k, knots, heights)


def _band(
    groups: dict[GridPoint, pd.DataFrame], form: str, near: Mapping[str, float], xs: Array
) -> tuple[Array, Array, str]:
    """95 % limits of the curve: seeds are drawn anew, the same ones at every setting."""
    nothing = np.full(xs.size, np.nan)
    shared = sorted(set.intersection(*(set(rows["seed"]) for rows in groups.values())))
    if len(shared) < 3:
        return nothing, nothing, "no interval: fewer than three seeds at every setting"
    values = _by_seed(groups, shared, ("deficit", "severity"))
    penalty = np.array([float(rows["penalty"].iloc[0]) for rows in groups.values()])
    generator = stream(0, "analysis/scaling/curve")
    drawn = [generator.integers(len(shared), size=len(shared)) for _ in range(RESAMPLES)]
    deficit_RS, severity_RS = np.stack([values[:, :, one].mean(axis=2) for one in drawn], axis=1)
    curves = []
    for found, parameters, curve in _fits(
        deficit_RS, penalty, severity_RS, np.ones(severity_RS.shape), near
    ):
        if found == form:
            # a place on the axis is deficit * penalty^power at penalty 1: any power draws it
            curves.append(_on_axis(curve, parameters, xs, penalty, near.get("power", 1.0)))
    if len(curves) < RESAMPLES / 2:
        return nothing, nothing, "no interval: most resamples of the seeds take another form"
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return low, high, INTERVAL


def _on_axis(
    curve: Curve, parameters: dict[str, float], xs: Array, penalty: Array, power: float
) -> Array:
    """A resample's curve on the fitted curve's axis, at the settings' typical penalty."""
    typical = float(np.exp(np.log(penalty).mean()))
    if not parameters:
        return curve(xs, np.ones(xs.size))
    return curve(xs / typical**power, np.full(xs.size, typical))


def _by_seed(
    groups: dict[GridPoint, pd.DataFrame], seeds: Sequence[int], names: Sequence[str]
) -> Array:
    """Values of shape [names, settings, seeds]."""
    tables = []
    for rows in groups.values():
        place = {seed: row for row, seed in enumerate(rows["seed"].tolist())}
        chosen = [place[seed] for seed in seeds]
        tables.append(np.stack([rows[name].to_numpy(dtype=float)[chosen] for name in names]))
    return np.stack(tables, axis=1)


def _left_out(
    deficit: Array, penalty: Array, severity: Array, near: Mapping[str, float]
) -> tuple[Array, Array]:
    """Every setting predicted without itself: by the curve and by the others' mean."""
    count = severity.size
    others = 1.0 - np.eye(count)
    repeated = np.tile(deficit, (count, 1)), penalty, np.tile(severity, (count, 1))
    by_curve = [
        float(curve(deficit[i : i + 1], penalty[i : i + 1])[0])
        for i, (_, _, curve) in enumerate(_fits(*repeated, others, near))
    ]
    return np.array(by_curve), others @ severity / (count - 1)


def _rms(error: Array) -> float:
    return float(np.sqrt(np.mean(error**2)))
