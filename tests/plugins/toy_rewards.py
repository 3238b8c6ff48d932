"""Invented runs whose reward has no supremum, and the scores of judges that nothing optimised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun

NEEDS_A_TARGET = ("reward_supremum", "hit_rate", "optimum_reward", "optimum_ess")
Row = Mapping[str, Any]


def without_supremum(
    run: FakeRun,
    sd: Callable[[int], float] = lambda seed: 2.0 + 0.1 * seed,
    reward: Callable[[float], float] = lambda value: value,
) -> FakeRun:
    """The run as if no supremum were known: `reward_sd` of p' by seed in its place.

    Nothing that needs a target is left. `reward` maps every reward to another scale; it must be
    affine, and `sd` on that scale.
    """
    metrics = run.tables["metrics"]
    target = pc.or_(
        pc.is_in(metrics["metric"], pa.array(NEEDS_A_TARGET)),
        pc.match_substring(metrics["metric"], "target_"),
    )
    rows = metrics.filter(pc.invert(target)).to_pylist()
    for row in rows:
        if row["metric"] == "reward":
            row["value"] = reward(row["value"])
    measured = [
        row | {"metric": "reward_sd", "value": sd(row["seed"]), "scorer": None}
        for row in rows
        if row["metric"] == "reward" and row["model"] == "p_prime"
    ]
    return _with_metrics(run, [*rows, *measured])


def with_scores(run: FakeRun, scorer: str, score: Callable[[Row], float], sd: float) -> FakeRun:
    """The run with every model judged by another scorer too: its score from the reward's row."""
    rows = [{"scorer": "oracle", **row} for row in run.tables["metrics"].to_pylist()]
    of_reward = [row for row in rows if row["metric"] == "reward"]
    scores = [
        row | {"metric": metric, "value": float(value), "scorer": scorer}
        for row in of_reward
        for metric, value in (("score", score(row)), ("score_sd", sd))
    ]
    return _with_metrics(run, [*rows, *scores])


def _with_metrics(run: FakeRun, rows: Iterable[Row]) -> FakeRun:
    schema = run.tables["metrics"].schema
    if "scorer" not in schema.names:
        schema = schema.append(pa.field("scorer", pa.string()))
    table = pa.Table.from_pylist(list(rows), schema)
    return replace(run, tables={**run.tables, "metrics": table})
