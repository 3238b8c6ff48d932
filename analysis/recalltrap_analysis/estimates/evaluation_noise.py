"""Evaluation noise kept apart from the spread over seeds.

A metric is measured on finitely many samples; its standard error is in the `metrics` table. The
spread over seeds holds that noise too, and this says how much of it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recalltrap_analysis.runs.design import Design, hashable

METRICS = ("reward", "target_precision", "overall_recall")

EXACT = ("closed form", "quadrature")
"""Scorers that sample nothing: their standard error is what a quadrature may be off by."""


def noise_table(metrics: pa.Table, design: Design) -> pd.DataFrame:
    """Per setting and metric of the final model: spread over seeds and evaluation noise.

    Args:
        metrics: The `metrics` table; rows without a finite standard error are left out.
        design: What was planned; gives the order.

    Returns:
        The axes, `point`, `ordering`, `metric`, `seeds`, `seed_sd` (sample standard deviation of
        the values), `evaluation_error` (root mean square of the standard errors) and `share`: the
        part of the variance over seeds that evaluation noise explains, at most 1.
    """
    columns = [*design.axes, "point", "ordering", "metric", "seeds", "seed_sd"]
    columns += ["evaluation_error", "share"]
    rows = _final_rows(metrics, design)
    if rows.empty:
        return pd.DataFrame(columns=columns)
    rows["squared"] = rows["standard_error"] ** 2
    grouped = rows.groupby(["key", "ordering", "metric"], sort=False)
    found = grouped.agg(
        seeds=("value", "size"), seed_sd=("value", "std"), squared=("squared", "mean")
    )
    lookup = dict(zip(found.index, found.to_numpy(), strict=True))
    records = []
    for place, point in enumerate(design.points):
        for ordering in design.orderings:
            for metric in METRICS:
                if (place, ordering, metric) not in lookup:
                    continue
                seeds, seed_sd, squared = lookup[place, ordering, metric]
                share = min(1.0, squared / seed_sd**2) if seed_sd > 0 else np.nan
                values = (point, ordering, metric, int(seeds), seed_sd, np.sqrt(squared), share)
                records.append((*point, *values))
    return pd.DataFrame.from_records(records, columns=columns)


def nothing_sampled(metrics: pa.Table) -> bool:
    """Whether the final models' metrics are all closed forms or quadratures."""
    if "scorer" not in metrics.column_names or "model" not in metrics.column_names:
        return False
    final = pc.equal(metrics["model"].cast(pa.string()), "final")
    scorers = metrics.filter(final)["scorer"].cast(pa.string()).unique().to_pylist()
    return bool(scorers) and set(scorers) <= set(EXACT)


def _final_rows(metrics: pa.Table, design: Design) -> pd.DataFrame:
    axes = design.axes
    needed = {"model", "metric", "value", "standard_error", "ordering", *axes}
    if metrics.num_rows == 0 or not needed <= set(metrics.column_names):
        return pd.DataFrame()
    wanted = pc.and_(
        pc.equal(metrics["model"].cast(pa.string()), "final"),
        pc.is_in(metrics["metric"].cast(pa.string()), pa.array(METRICS)),
    )
    names = ["ordering", "metric", "value", "standard_error"]
    rows = metrics.filter(wanted).select([*names, *axes])
    frame: pd.DataFrame = rows.select(names).to_pandas()
    values = [[hashable(v) for v in rows[axis].to_pylist()] for axis in axes]
    keys = list(zip(*values, strict=True)) if axes else [()] * len(frame)
    places = {point: place for place, point in enumerate(design.points)}
    frame["key"] = [places.get(key, -1) for key in keys]
    good = np.isfinite(frame[["value", "standard_error"]].to_numpy(dtype=float)).all(axis=1)
    kept: pd.DataFrame = frame[good].reset_index(drop=True)
    return kept
