"""What models talk about: each topic's share, its coverage, and the share that can be reached.

Only studies whose ground truth has topics report them; elsewhere everything here is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.streams import stream
from recalltrap_analysis.estimates.order_effect import by_point, estimate_means, spread
from recalltrap_analysis.language.queries import topic_forecast_query
from recalltrap_analysis.number_format import row_interval, share_text
from recalltrap_analysis.report.document.blocks import Block, Fold, Prose
from recalltrap_analysis.report.document.grid_tables import axis_columns
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.wide_tables import column, common_values, point_keys, rows_of
from recalltrap_analysis.verdicts.summary import Summary

SHARE = "topic_share/"
MODEL_TITLES: tuple[tuple[str, str], ...] = (
    ("p_prime", "p'"),
    ("p_second", "p''"),
    ("p_prime_aligned", "p' aligned"),
    ("final", "final"),
)
MEASURES = ("topic_coverage", "grammatical", "length", "eos_rate")


def topic_names(outcomes: pd.DataFrame) -> list[str]:
    """The topics that any model reports, the most common in the language first."""
    starts = [f"{model}.{SHARE}" for model, _ in MODEL_TITLES]
    found = [n.removeprefix(s) for s in starts for n in outcomes.columns if n.startswith(s)]
    names = dict.fromkeys(found)
    weight = {name: column(outcomes, f"p_prime.topic_weight/{name}").mean() for name in names}
    return sorted(names, key=lambda name: -np.nan_to_num(weight[name]))


def response_table(outcomes: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """What each model says; a reference that several grid points share once.

    Returns:
        The axes in words (`all` where the sharers differ), `points` (the grid points), `ordering`
        (empty for p' and p''), `model`, `seeds`, then means over seeds: `topic_coverage` with
        `_low` and `_high`, `grammatical`, `length`, `eos_rate` and `topic_share/<topic>`; NaN
        where a seed doesn't report it. Empty where no model reports any of them.
    """
    keyed = outcomes.assign(point=pd.Series(point_keys(outcomes, axes), dtype=object))
    wanted = (*MEASURES, *(f"{SHARE}{topic}" for topic in topic_names(outcomes)))
    groups: dict[Any, tuple[list[GridPoint], pd.DataFrame]] = {}
    for point, rows in by_point(keyed).items():
        for model, _ in MODEL_TITLES:
            names = [name for name in wanted if f"{model}.{name}" in rows.columns]
            mine = rows[rows[[f"{model}.{name}" for name in names]].notna().any(axis=1)]
            reference = model in ("p_prime", "p_second")
            arms = {str(name): arm for name, arm in mine.groupby("ordering", sort=False)}
            if reference and len(mine):
                arms = {"": mine.drop_duplicates("seed")}
            for ordering, arm in arms.items():
                values = pd.DataFrame({name: column(arm, f"{model}.{name}") for name in wanted})
                shared = values.to_numpy().tobytes() if reference else point
                points, _ = groups.setdefault((ordering, model, shared), ([], values))
                points.append(point)
    return _response_rows(groups, axes)


def _response_rows(
    groups: Mapping[Any, tuple[list[GridPoint], pd.DataFrame]], axes: Sequence[str]
) -> pd.DataFrame:
    covered = {(i,): values for i, (_, values) in enumerate(groups.values())}
    means = {"topic_coverage": lambda rows: rows["topic_coverage"]}
    found = estimate_means(covered, means, stream(0, "analysis/topics"))
    rows = []
    for i, ((ordering, model, _), (points, values)) in enumerate(groups.items()):
        record: dict[str, Any] = {**common_values(points, axes), "points": points}
        record |= {"ordering": ordering, "model": model, "seeds": len(values)}
        means_of = values.mean(skipna=False)
        record |= {str(name): float(value) for name, value in means_of.items()}
        rows.append(record | spread(found[i,], ["topic_coverage"]))
    return pd.DataFrame.from_records(rows)


def topic_table(outcomes: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """The forecast topic by topic, from the references alone.

    Returns:
        One row per grid point and topic: the axes, `point`, `topic`, `weight` in the language,
        `target` (its share of what the target says), `share_p_prime` and `share_p_second`, then
        with `_low` and `_high` `optimum_p_prime` and `optimum_p_second`: its share under the
        optimum anchored to p' (A-K before its last distillation) and to p'' (K-A).
    """
    keyed = outcomes.assign(point=pd.Series(point_keys(outcomes, axes), dtype=object))
    rows = keyed.drop_duplicates(["point", "seed"])
    groups = by_point(rows) if len(rows) else {}
    topics = topic_names(outcomes)
    sources = {
        (topic, name): f"{name}.optimum_topic_share/{topic}"
        for topic in topics
        for name in ("p_prime", "p_second")
    }
    means = {
        f"{topic}/{name}": (lambda found, source=source: column(found, source))
        for (topic, name), source in sources.items()
    }
    estimates = estimate_means(groups, means, stream(0, "analysis/topics")) if means else {}
    found = []
    for point in groups:
        for topic in topics:
            record: dict[str, Any] = dict(zip(axes, point, strict=True))
            record |= {"point": point, "topic": topic}
            for title, source in (
                ("weight", f"p_prime.topic_weight/{topic}"),
                ("target", f"p_prime.target_topic_share/{topic}"),
                ("share_p_prime", f"p_prime.{SHARE}{topic}"),
                ("share_p_second", f"p_second.{SHARE}{topic}"),
            ):
                record[title] = float(column(groups[point], source).mean(skipna=False))
            for name in ("p_prime", "p_second"):
                known = estimates[point].get(f"{topic}/{name}")
                one = {f"optimum_{name}": known} if known else {}
                record |= spread(one, [f"optimum_{name}"])
            found.append(record)
    return pd.DataFrame.from_records(found)


def topic_forecast(summary: Summary) -> list[Block]:
    """The forecast topic by topic, or nothing where the ground truth has no topics."""
    table = topic_table(summary.outcomes, summary.axes)
    if table.empty:
        return []
    rows = rows_of(table)
    columns = axis_columns(table, summary.axes)
    columns["topic"] = table["topic"].tolist()
    for name, title in (("weight", "in p*'s language"), ("target", "in the target"),
                        ("share_p_prime", "p'"), ("share_p_second", "p''")):  # fmt: skip
        columns[title] = [share_text(row[name]) for row in rows]
    columns["p'_AK can reach"] = [row_interval(row, "optimum_p_prime") for row in rows]
    columns["K-A can reach"] = [row_interval(row, "optimum_p_second") for row in rows]
    found = grid(
        "topic forecast",
        pd.DataFrame(columns),
        data=records(table),
        order=list(range(len(table))),
        query=topic_forecast_query(summary.axes),
    )
    words = Prose(
        "Each topic's share of the responses: of the references as they are, and of the optimum "
        "that each can be aligned to. What a reference hardly says, no weighing brings back.",
        "small",
    )
    return [Fold("The forecast topic by topic", [words, found])]
