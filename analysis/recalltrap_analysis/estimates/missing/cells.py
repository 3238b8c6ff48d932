"""What a run lacks: planned cells against finished ones, failures, and cells not run yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recalltrap.graph import Cell
from recalltrap_analysis.number_format import point_text
from recalltrap_analysis.runs.design import Design


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one class with one message."""

    failure: str
    message: str
    cells: int
    where: str
    retry_command: str
    log_tail: str


def count_table(cells: Sequence[Cell], statuses: Mapping[str, str]) -> pd.DataFrame:
    """Per ordering: `planned`, `succeeded`, `failed`, `missing` cells.

    Args:
        cells: The planned cells.
        statuses: `succeeded` or `failed` by cell id; cells that it lacks are missing.
    """
    rows = [
        {"ordering": cell.ordering.name, "status": statuses.get(cell.id, "missing")}
        for cell in cells
    ]
    frame = pd.DataFrame(rows, columns=["ordering", "status"])
    counts = pd.crosstab(frame["ordering"], frame["status"]).reindex(
        index=list(dict.fromkeys(frame["ordering"])),
        columns=["succeeded", "failed", "missing"],
        fill_value=0,
    )
    counts.insert(0, "planned", counts.sum(axis=1))
    return counts.reset_index()


def failure_groups(
    failures: pd.DataFrame, cells: Sequence[Cell], axes: Sequence[str], statuses: Mapping[str, str]
) -> list[FailureGroup]:
    """Failures that no later attempt repaired, the same ones together, the most frequent first."""
    by_id = {cell.id: cell for cell in cells}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    seen: set[str] = set()
    for row in failures.sort_values("attempt", ascending=False).to_dict("records"):
        cell_id = str(row["cell_id"])
        if statuses.get(cell_id) != "failed" or cell_id not in by_id or cell_id in seen:
            continue
        seen.add(cell_id)
        key = (str(row["failure"]), str(row["message"]))
        groups.setdefault(key, []).append({str(name): value for name, value in row.items()})
    found = [
        FailureGroup(
            failure=failure,
            message=message,
            cells=len(rows),
            where="; ".join(describe([by_id[str(row["cell_id"])] for row in rows], axes)),
            retry_command=str(rows[0]["retry_command"]),
            log_tail=str(rows[0]["log_tail"]),
        )
        for (failure, message), rows in groups.items()
    ]
    return sorted(found, key=lambda group: -group.cells)


def describe(cells: Sequence[Cell], axes: Sequence[str], most: int = 30) -> list[str]:
    """Cells in words, seeds of one setting together, at most so many lines and then a count."""
    design = Design.of(cells, axes)
    lines = [
        f"{ordering}, {point_text(point, axes)}: {_seeds(seeds)}" if axes else
        f"{ordering}: {_seeds(seeds)}"
        for (point, ordering), seeds in design.seeds.items()
    ]  # fmt: skip
    if len(lines) > most:
        lines[most:] = [f"and {len(lines) - most} more settings"]
    return lines


def _seeds(seeds: Sequence[int]) -> str:
    """E.g. ``seeds 0–3, 7``."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    text = ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs)
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {text}"
