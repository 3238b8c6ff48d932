"""What tables over the grid share: the axes' columns, and which rows matter most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recalltrap_analysis.number_format import setting_text


def axis_columns(table: pd.DataFrame, axes: Sequence[str]) -> dict[str, list[str]]:
    """The axes' values in words, as the first columns of a table."""
    return {axis: [setting_text(value) for value in table[axis]] for axis in axes}


def deepest_first(table: pd.DataFrame) -> list[int]:
    """Positions of a table's rows, the largest order effect first, those without one last."""
    values = table["order_effect"].abs().fillna(-1.0).tolist() if "order_effect" in table else []
    return sorted(range(len(values)), key=lambda i: -values[i])


def largest_first(values: pd.Series[float]) -> list[int]:
    """Positions of a table's rows, the largest absolute value first, those without one last."""
    sizes = values.abs().fillna(-1.0).to_numpy()
    return [int(i) for i in np.argsort(-sizes, kind="stable")]
