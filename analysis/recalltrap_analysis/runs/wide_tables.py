"""The run's long tables turned wide: one row per cell, one column per model and metric.

Everything downstream pairs and groups these rows. Nothing is averaged or estimated here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recalltrap.errors import InputError
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.runs.design import GridPoint, hashable

MODELS = ("p_prime", "p_second", "p_prime_aligned", "final")
IDENTITY = ("cell_id", "ordering", "seed")
SCORE, SCORE_SD = "score", "score_sd"
"""Metrics that a model has one of for every scorer: a column each, `final.score/<scorer>`."""


def cell_outcomes(
    metrics: pa.Table, axes: Sequence[str], supremum: str | None = None
) -> pd.DataFrame:
    """One row per cell of the `metrics` table.

    Args:
        metrics: The table.
        axes: The grid's axes.
        supremum: The setting that is the reward's supremum, for kinds that don't measure it.

    Returns:
        Columns `cell_id`, `ordering`, `seed`, every axis (lists as tuples), `<model>.<metric>` for
        every pair that occurs (`<model>.score/<scorer>` of what has a row per scorer), and
        `reward_supremum`: the metric of that name where a study
        measures it, else the setting. A value that the table lacks or that is not finite is NaN,
        and a pair without any finite value has no column: nothing after this tells an infinity or
        a NaN from a value that was never measured.

    Raises:
        InputError: the table has two values for the same cell, model and metric, or lacks a
            column.
    """
    if metrics.num_rows == 0:
        return pd.DataFrame(columns=[*IDENTITY, *axes])
    needed = [*IDENTITY, "model", "metric", "value", *axes]
    if lacking := [name for name in needed if name not in metrics.column_names]:
        raise InputError(f"the metrics table has no column {', '.join(lacking)}")
    cell_codes, first_rows = _codes(metrics["cell_id"])
    keys = pc.binary_join_element_wise(
        metrics["model"].cast(pa.string()), metric_names(metrics), "."
    )
    key_codes, first_keys = _codes(keys)
    filled = np.zeros((len(first_rows), len(first_keys)), dtype=np.int64)
    np.add.at(filled, (cell_codes, key_codes), 1)
    if filled.max() > 1:
        row = int(np.argwhere(filled > 1)[0][0])
        cell_id = metrics["cell_id"][int(first_rows[row])].as_py()
        raise InputError(f"the metrics table holds a value of the cell {cell_id} twice")
    values = np.full(filled.shape, np.nan)
    values[cell_codes, key_codes] = metrics["value"].to_numpy()
    values[np.isinf(values)] = np.nan
    known = np.isfinite(values).any(axis=0)
    columns = keys.take(pa.array(first_keys)).to_pylist()
    wide = pd.DataFrame(values[:, known], columns=list(itertools.compress(columns, known)))
    names = list(axes)
    if supremum is not None and supremum in metrics.column_names:
        names.append(supremum)
    found = pd.concat([_settings(metrics, names, first_rows), wide], axis=1)
    return found.assign(reward_supremum=_supremum(found, supremum))


def metric_names(metrics: pa.Table) -> pa.ChunkedArray:
    """What each row measures, for itself alone: ``reward``, or ``score/<scorer>``."""
    names = metrics["metric"].cast(pa.string())
    if "scorer" not in metrics.column_names:
        return names
    by_scorer = pc.binary_join_element_wise(names, metrics["scorer"].cast(pa.string()), "/")
    scored = pc.is_in(names, pa.array([SCORE, SCORE_SD]))
    return pc.if_else(scored, pc.fill_null(by_scorer, names), names)


def _supremum(found: pd.DataFrame, setting: str | None) -> pd.Series[Any]:
    """R_max of every cell, seed by seed where it is measured.

    Where any cell measures it, one that doesn't has none: the setting is then only a factor of the
    reward.
    """
    second, prime = (column(found, f"{model}.reward_supremum") for model in ("p_second", "p_prime"))
    measured = second.fillna(prime)
    if setting is None or measured.notna().any():
        return measured
    return column(found, setting)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Integer codes [rows] in order of first appearance, and each code's first row."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    _, first = np.unique(codes, return_index=True)
    return codes, first


def _settings(
    metrics: pa.Table, names: Sequence[str], first_rows: np.ndarray[Any, Any]
) -> pd.DataFrame:
    rows = metrics.select(list(dict.fromkeys([*IDENTITY, *names]))).take(pa.array(first_rows))
    return pd.DataFrame({name: _plain(rows[name]) for name in rows.column_names})


def _plain(column: pa.ChunkedArray) -> pd.Series[Any]:
    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if number and not column.null_count:
        return pd.Series(column.to_pandas())
    return pd.Series([hashable(item) for item in column.to_pylist()], dtype=object)


def column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """A metric's column as floats, all NaN where no cell has it."""
    if name in frame.columns:
        return frame[name].astype(float)
    return pd.Series(np.nan, index=frame.index, dtype=float)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Every row by its columns' names; a pandas row takes twenty times as long to make and read."""
    return table.to_dict("records")  # type: ignore[return-value]


def point_keys(frame: pd.DataFrame, axes: Sequence[str]) -> list[GridPoint]:
    """The grid point of every row."""
    if not axes:
        return [()] * len(frame)
    return list(zip(*(frame[axis].tolist() for axis in axes), strict=True))


def common_values(points: Sequence[GridPoint], axes: Sequence[str]) -> dict[str, str]:
    """Per axis the value that all the grid points have, in words; `all` where they differ."""
    columns = {axis: {point[i] for point in points} for i, axis in enumerate(axes)}
    return {
        axis: setting_text(next(iter(values))) if len(values) == 1 else "all"
        for axis, values in columns.items()
    }
