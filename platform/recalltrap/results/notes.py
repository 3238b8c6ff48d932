"""What a run's counts don't tell: finished cells that its views don't show, and lacking values.

A study that was run longer before (more seeds, a larger grid) keeps its rows; its views show the
cells of the study as it was last run. Here stand the lines that say so.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from recalltrap.orderings import STANDARD
from recalltrap.registry import room
from recalltrap.results.results import Results

MOST_LINES = 5
_TITLES = {"seed": "seeds", "ordering": "orderings"}
_HIDDEN = """
select distinct * exclude (study, kind, status, attempt, started_at, wall_seconds, trial_id)
from cells_parts where status = 'succeeded' and cell_id not in (select cell_id from planned)"""
_LACKING = """
with done as (
  select ordering, count(*) as cells from cells where status = 'succeeded' group by ordering
), measured as (
  select ordering, model, metric, count(distinct cell_id) filter (isfinite(value)) as known
  from metrics group by all
)
select split_part(metric, '/', 1) as metric, model, ordering, min(known) as known,
  any_value(cells) as cells
from measured join done using (ordering) where known < cells group by all order by all"""

Row = Mapping[str, Any]


def look_notes(results: Results) -> list[str]:
    """One line for a run that is judged at planned looks: where it stands, and why not further."""
    study = results.study
    if not study.looks:
        return []
    number, reached = sum(look <= len(study.seeds) for look in study.looks), len(study.seeds)
    look = f"look {number} of {len(study.looks)}, {reached} of up to {study.looks[-1]} seeds"
    counts = results.status().iloc[-1]
    if counts["succeeded"] < counts["planned"]:
        return [f"{look}: not finished; running it again goes on"]
    last = reached == study.looks[-1]
    if strata := room("undecided")(results):
        where = "1 stratum" if len(strata) == 1 else f"{len(strata)} strata"
        further = "" if last else "; running it again goes on"
        return [f"{look}: its primary is undecided in {where}{further}"]
    return [f"{look}: its primary is decided{'' if last else ', so that no more are needed'}"]


def view_notes(results: Results) -> list[str]:
    """One line if finished cells of the run's folder are outside the study as it was last run.

    It names what they have that the study hasn't, and how to see them.
    """
    hidden = results.sql(_HIDDEN).to_pylist()
    planned = results.sql("select * from planned").to_pylist()
    names = [n for n in (hidden[0] if hidden else ()) if n not in ("cell_id", "config_hash")]
    there = {_key(row, names) for row in planned}
    beyond = [row for row in hidden if _key(row, names) not in there]
    if not beyond:
        return []
    wider = {name: values for name in names if (values := _more(name, beyond, planned))}
    what = "; ".join(f"{_TITLES.get(n, n)} {_listed(values)}" for n, values in wider.items())
    again = _overrides(wider, planned, results.axes)
    cells = "1 finished cell" if len(beyond) == 1 else f"{len(beyond)} finished cells"
    return [
        f"this view is narrower than what was run: {cells} of this study "
        f"{'is' if len(beyond) == 1 else 'are'} outside it and not shown"
        + (f" ({what})" if what else "")
        + (f"; running the study with {again} shows them again" if again else "")
        + "; `cells_parts` and `metrics_parts` in `recalltrap query` hold every cell"
    ]


def _key(row: Row, names: Sequence[str]) -> str:
    return json.dumps([row[name] for name in names], default=str)


def _more(name: str, beyond: Sequence[Row], planned: Sequence[Row]) -> list[Any]:
    """The values of a column that only cells outside the view have, in their order."""
    shown = {_key(row, [name]) for row in planned}
    found = {_key(row, [name]): row[name] for row in beyond}
    values = [value for key, value in found.items() if key not in shown]
    try:
        return sorted(values)
    except TypeError:  # values of several types, or none at all
        return values


def _listed(values: Sequence[Any], most: int = 6) -> str:
    shown = [json.dumps(v) if not isinstance(v, str) else v for v in values[:most]]
    return ", ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")


def _overrides(
    wider: Mapping[str, Sequence[Any]], planned: Sequence[Row], axes: Sequence[str]
) -> str:
    """The command line's options that widen the view; empty where options can't."""
    options = []
    for name, values in wider.items():
        every = [*dict.fromkeys(row[name] for row in planned if name in ("seed", "ordering"))]
        if name == "seed":
            seeds = sorted({*every, *values})
            whole = seeds == list(range(len(seeds)))
            options.append(f"seeds={len(seeds) if whole else json.dumps(seeds)}")
        elif name == "ordering" and {*every, *values} <= set(STANDARD):
            options.append(f"orderings={json.dumps([*every, *values])}")
        elif name in axes:
            shown = {_key(row, [name]): row[name] for row in planned}
            options.append(f"grid.{name}={json.dumps([*shown.values(), *values])}")
        else:
            return ""
    return f"`{' '.join(f'-o {shlex.quote(option)}' for option in options)}`" if options else ""


def unmeasured_notes(results: Results) -> list[str]:
    """A line for every metric that some succeeded cells of an ordering lack a finite value of.

    A metric that no cell has is none that the platform knows of: the report names those.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for row in results.sql(_LACKING).to_pylist():
        few = row["cells"] - row["known"]
        where = f"in {few} of {row['cells']} cells of {row['ordering']}"
        lines.setdefault((where, row["model"]), []).append(row["metric"])
    notes = [f"no finite {', '.join(dict.fromkeys(metrics))} of {model} {where}"
             for (where, model), metrics in lines.items()]  # fmt: skip
    notes = [*_silent(results), *notes]
    if len(notes) > MOST_LINES:
        notes[MOST_LINES:] = [f"and {len(notes) - MOST_LINES} more that lack values"]
    return notes


def _silent(results: Results) -> list[str]:
    """Models of succeeded cells of which nothing at all was measured."""
    query = "select distinct ordering from cells where status = 'succeeded'"
    done = {row["ordering"] for row in results.sql(query).to_pylist()}
    measured = {(row["ordering"], row["model"]) for row in results.sql(
        "select distinct ordering, model from metrics").to_pylist()}  # fmt: skip
    expected = dict.fromkeys(
        (cell.ordering.name, model) for cell in results.planned() for model in cell.models
    )
    return [
        f"no metrics of {model} in any cell of {ordering}"
        for ordering, model in expected
        if ordering in done and (ordering, model) not in measured
    ]
