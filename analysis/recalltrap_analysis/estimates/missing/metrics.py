"""What a run's metrics lack that a report would show: named, so that leaving it out isn't silent.

A kind, a model or a seed may have no such metric, or its value may not be finite; `cell_outcomes`
knows no difference. Tables that can't be read at all are `runs.loaded_run`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from recalltrap.graph import Cell
from recalltrap_analysis.estimates.missing.cells import describe
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.runs.wide_tables import MODELS, column, metric_names

Mask = npt.NDArray[np.bool_]

TITLES: Mapping[str, str] = {
    "p_prime": "p'",
    "p_second": "p''",
    "p_prime_aligned": "p'_AK",
    "final": "the final model",
}
REFERENCES = ("p_prime", "p_second")
READ: Mapping[str, Sequence[str]] = {
    "reward": ("p_second", "p_prime_aligned", "final"),
    "target_precision": ("final",),
    "overall_recall": (*REFERENCES, "final"),
    "overall_precision": ("final",),
    "hit_rate": REFERENCES,
    "optimum_reward": REFERENCES,
}
"""Metrics of every kind and the models that a report reads them of."""
OF_A_TARGET = ("target_precision", "hit_rate")
OF_A_SUPREMUM = (*OF_A_TARGET, "reward_supremum")
NEEDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(OF_A_TARGET, OF_A_TARGET),
    "reward_supremum": OF_A_SUPREMUM,
    "optimum_reward": (*OF_A_SUPREMUM, "optimum_reward"),
}
"""Metrics of rewards with a target, as the oracle's, or a supremum: each is expected only where one
of those that it is listed with is measured."""
MOST_WHERE = 3


def lacking_values(
    metrics: pa.Table,
    outcomes: pd.DataFrame,
    cells: Sequence[Cell],
    succeeded: Iterable[str],
    axes: Sequence[str],
    kind: KindRecord,
) -> tuple[str, ...]:
    """One line for every metric that succeeded cells lack a finite value of.

    Args:
        metrics: The `metrics` table.
        outcomes: Rows of `cell_outcomes`, of succeeded cells alone.
        cells: The planned cells.
        succeeded: Ids of those that succeeded.
        axes: The grid's axes.
        kind: What the kind's own sections read.

    Returns:
        E.g. ``overall_recall, hit_rate of p', p'': no finite value in any cell``, or ``reward of
        the final model: no finite value in 2 of 12 cells (K-A, kl_weight 2: seeds 1, 4)``.
    """
    wanted = set(succeeded)
    done = [cell for cell in cells if cell.id in wanted]
    lines: list[str] = []
    measured = set(outcomes["cell_id"])
    silent = [cell for cell in done if cell.id not in measured]
    if silent:
        lines.append(f"metrics: none {_where(silent, done, axes)}")
    kept = [cell for cell in done if cell.id in measured]
    if not kept:
        return tuple(lines)
    rows = outcomes.set_index("cell_id").loc[[cell.id for cell in kept]]
    found: dict[tuple[str, str], list[str]] = {}
    for model, expected in _expected(metrics, kept, kind).items():
        known = {
            metric: column(rows, f"{model}.{metric}").notna().to_numpy() for metric in expected
        }
        has = np.array([model in cell.models for cell in kept])
        absent = has & ~np.any([np.zeros_like(has), *known.values()], axis=0)
        if absent.any():
            key = _told(absent, has, kept, axes), "everything"
            found.setdefault(key, []).append(TITLES[model])
        for metric, wanted_N in expected.items():
            bad = wanted_N & has & ~known[metric] & ~absent
            if bad.any():
                key = _told(bad, wanted_N & has & ~absent, kept, axes), _family(metric)
                found.setdefault(key, []).append(TITLES[model])
    return (*lines, *_lines(found))


def _lines(found: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    """One line per set of models and cells, naming all metrics that those lack."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (told, metric), models in found.items():
        together.setdefault((told, tuple(dict.fromkeys(models))), []).append(metric)
    for (told, models), metrics in together.items():
        yield f"{', '.join(metrics)} of {', '.join(models)}: {told}"


def _expected(
    metrics: pa.Table, cells: Sequence[Cell], kind: KindRecord
) -> dict[str, dict[str, Mask]]:
    """Metrics by model, each with the cells that should have it.

    Those that a report reads in every cell; others in the cells of an ordering that has rows of
    them, finite or not.
    """
    orderings = np.array([cell.ordering.name for cell in cells])
    named = metrics.select(["ordering", "model"]).append_column("metric", metric_names(metrics))
    groups = named.group_by(["ordering", "model", "metric"]).aggregate([]).to_pylist()
    reported: dict[tuple[str, str], set[str]] = {}
    for row in groups:
        reported.setdefault((row["model"], row["metric"]), set()).add(row["ordering"])
    # What a kind's own sections read, where a run reports any of it: older runs may have none.
    own = any(metric in kind.metrics_read for _, metric in reported)
    read = {**READ, **(kind.metrics_read if own else {})}
    measured = {metric for _, metric in reported}
    read = {m: models for m, models in read.items() if m not in NEEDS or measured & {*NEEDS[m]}}
    expected: dict[str, dict[str, Mask]] = {model: {} for model in MODELS}
    for metric, models in read.items():
        for model in models:
            expected[model][metric] = np.ones(len(cells), dtype=bool)
    for (model, metric), names in sorted(reported.items()):
        if model in expected:
            expected[model].setdefault(metric, np.isin(orderings, list(names)))
    return expected


def _family(metric: str) -> str:
    """One name for the metrics that a kind reports per topic or part."""
    name, bar, _ = metric.partition("/")
    return f"{name}/…" if bar else name


def _told(bad: Mask, of: Mask, cells: Sequence[Cell], axes: Sequence[str]) -> str:
    """Which of the cells lack something, in words."""
    chosen, all_of_them = (
        [cell for cell, one in zip(cells, mask, strict=True) if one] for mask in (bad, of)
    )
    return f"no finite value {_where(chosen, all_of_them, axes)}"


def _where(chosen: Sequence[Cell], of: Sequence[Cell], axes: Sequence[str]) -> str:
    if len(chosen) == len(of):
        return "in any cell"
    lines = "; ".join(describe(chosen, axes, MOST_WHERE))
    return f"in {len(chosen)} of {len(of)} cells ({lines})"
