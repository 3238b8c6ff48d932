"""Invented runs under other rules than the usual ones, and with an anchor that costs something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tests.analysis.conftest import REWARD_HEIGHT

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, Point


def judged_by(run: FakeRun, **rules: Any) -> FakeRun:
    """The same run of a study that writes other rules (`margin`, `primary`, `contrasts`, ...)."""
    return replace(run, study=replace(run.study, **rules))


def with_severity(run: FakeRun, severity: Callable[[Point], float], noise: float = 0.02) -> FakeRun:
    """The same run, with K-A@p' ahead of K-A by `severity` in attainment, give or take noise."""
    cells = {cell.id: cell for cell in run.cells}
    rows = run.tables["metrics"].to_pylist()
    starts = {
        row["cell_id"]: row["value"]
        for row in rows
        if (row["model"], row["metric"]) == ("p_second", "reward")
    }
    for row in rows:
        if (row["ordering"], row["model"], row["metric"]) == ("K-A@p'", "final", "reward"):
            cell = cells[row["cell_id"]]
            seed_noise = noise * np.random.default_rng(1000 + cell.seed).normal()
            gain = severity(cell.factors) + seed_noise
            row["value"] += gain * (REWARD_HEIGHT - starts[cell.id])
    metrics = pa.Table.from_pylist(rows, run.tables["metrics"].schema)
    return replace(run, tables={**run.tables, "metrics": metrics})
