"""The SQL that returns the rows behind a claim, over the view `metrics` of each of its runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from recalltrap_analysis.claims.pool import Arm, Pool


def rows_behind(
    pool: Pool, runs: Sequence[str], points: Collection[int], arms: Sequence[Arm]
) -> tuple[str, int]:
    """The query, and how many rows it returns over the runs together.

    Args:
        pool: Where the settings' numbers come from.
        runs: The runs that the claim was judged by.
        points: The settings that were used; rows of others are kept out.
        arms: Which orderings, models and metrics.
    """
    present = {int(p) for run in runs for p in pool.frames[run]["point"].unique()}
    orderings = {arm.ordering for arm in arms} - {None}
    conditions = [_arms(arms), *_settings(pool, present, points)]
    where = "\n  and ".join(conditions)
    count = sum(_count(pool, run, points, arms) for run in runs)
    order = "ordering, " if len(orderings) > 1 else ""
    return f"select *\nfrom metrics\nwhere {where}\norder by {order}seed, cell_id, metric", count


def _count(pool: Pool, run: str, points: Collection[int], arms: Sequence[Arm]) -> int:
    frame = pool.frames[run]
    used = frame["point"].isin(list(points))
    total = 0
    for arm in dict.fromkeys(arms):
        if arm.column in frame.columns:
            mine = used if arm.ordering is None else used & (frame["ordering"] == arm.ordering)
            total += int((mine & frame[arm.column].notna()).sum())
    return total


def _arms(arms: Sequence[Arm]) -> str:
    names: dict[tuple[str | None, str], list[str]] = {}
    for arm in dict.fromkeys(arms):
        names.setdefault((arm.ordering, arm.model), []).append(arm.metric)
    groups: dict[tuple[str, tuple[str, ...]], list[str | None]] = {}
    for (ordering, model), metrics in names.items():
        groups.setdefault((model, tuple(sorted(metrics))), []).append(ordering)
    parts = []
    for (model, measured), orderings in groups.items():
        part = f"model = {literal(model)} and {_among('metric', measured)}"
        if None not in orderings:
            part += f" and {_among('ordering', orderings)}"
        parts.append(f"({part})")
    return parts[0] if len(parts) == 1 else "(" + "\n    or ".join(parts) + ")"


def _settings(pool: Pool, present: Collection[int], points: Collection[int]) -> list[str]:
    """Conditions that hold for the used settings and for no other that the runs hold."""
    names = dict.fromkeys(name for number in present for name in pool.points[number])
    allowed: dict[str, set[Any]] = {}
    for name in names:
        used = {pool.points[number].get(name) for number in points}
        if used != {pool.points[number].get(name) for number in present}:
            allowed[name] = used
    excess = [
        pool.points[number]
        for number in sorted(present)
        if number not in points
        and all(pool.points[number].get(name) in used for name, used in allowed.items())
    ]
    varying = [n for n in names if len({pool.points[p].get(n) for p in present}) > 1]
    conditions = [_among(name, used) for name, used in allowed.items()]
    return conditions + [f"not ({_exactly(point, varying)})" for point in excess]


def _exactly(point: Mapping[str, Any], names: Iterable[str]) -> str:
    return " and ".join(_among(name, [point.get(name)]) for name in names) or "true"


def _among(name: str, values: Collection[Any]) -> str:
    quoted = (
        name if name in ("model", "metric", "ordering") else '"' + name.replace('"', '""') + '"'
    )
    found = sorted({literal(v) for v in values if v is not None})
    lacking = [f"{quoted} is null"] if any(v is None for v in values) else []
    if len(found) == 1:
        lacking.insert(0, f"{quoted} = {found[0]}")
    elif found:
        lacking.insert(0, f"{quoted} in ({', '.join(found)})")
    return lacking[0] if len(lacking) == 1 else f"({' or '.join(lacking)})"


def literal(value: Any) -> str:
    """A value as DuckDB's SQL writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return "'" + str(value).replace("'", "''") + "'"
