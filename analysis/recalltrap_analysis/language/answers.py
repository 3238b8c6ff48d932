"""The answers themselves: what two orderings say to the prompts where their rewards differ most.

Only where the run keeps texts. They are shown to readers of the page alone: what machines get of
these tables has the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.estimates.contrasts import Contrast, contrast_name
from recalltrap_analysis.number_format import decimal_text, point_text, signed_text
from recalltrap_analysis.report.document.blocks import Block, Grid, Prose
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.grid_points import cells_at, deepest
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary

PROMPTS = 5
"""So many prompts are shown, those with the largest difference of mean rewards."""
ANSWERS = 3
"""Of each prompt so many answers a model; of a study's one prompt twice as many."""


def answers_blocks(run: ReadRun, summary: Summary) -> list[Block]:
    """Answers side by side at the grid point of the largest order effect; nothing where the run
    has no table of responses."""
    contrast, point = _compared(summary), _point(summary)
    if contrast is None or point is None:
        return []
    ids = _cell_ids(summary, contrast, point)
    differences = prompt_differences(run, ids, contrast)
    if differences.empty:
        return []
    where = f" at {point_text(point, summary.axes)}" if point else ""
    query = texts_query(ids)
    texts = _rows(run, query)
    if texts.empty:
        words = "The answers can't be read here: the run keeps none of their texts "
        return [Prose(words + "(`settings.store_texts`).", "absent")]
    known = differences[differences["prompt_id"].isin(texts["prompt_id"])]
    shown = known.head(PROMPTS)
    seed = int(texts["seed"].min())
    words = f"What the final models of {contrast[0]} and {contrast[1]} say{where}, seed {seed}, "
    words += "in the order in which they were drawn."
    if len(shown) < len(differences):
        words += (
            f" Of the {len(differences)} prompts that models are judged by these are the "
            f"{len(shown)} whose mean rewards differ most, over all seeds; the largest of many "
            "differences is partly chance."
        )
    blocks: list[Block] = [Prose(words, ours=False)]
    if found := _side_by_side(texts[texts["seed"] == seed], shown, contrast, query):
        blocks.append(found)
    return blocks


def prompt_differences(run: ReadRun, ids: Sequence[str], contrast: Contrast) -> pd.DataFrame:
    """For each prompt the paired difference of the final models' mean rewards.

    Returns:
        `prompt_id`, `difference` (first minus second ordering, mean over the seeds that have
        both) and `seeds`, the largest differences of either sign first. Empty where the run's
        tables don't tell.
    """
    rows = _rows(run, rewards_query(ids))
    if rows.empty or not set(contrast) <= set(rows["ordering"]):
        return pd.DataFrame(columns=["prompt_id", "difference", "seeds"])
    wide = rows.pivot_table(index=["prompt_id", "seed"], columns="ordering", values="reward")
    paired = (wide[contrast[0]] - wide[contrast[1]]).dropna()
    found = paired.groupby(level="prompt_id").agg(["mean", "count"]).reset_index()
    found.columns = pd.Index(["prompt_id", "difference", "seeds"])
    order = found["difference"].abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order].reset_index(drop=True)


def rewards_query(ids: Sequence[str]) -> str:
    """Mean rewards of the cells' final models, prompt by prompt."""
    return f"""select prompt_id, ordering, seed, avg(reward) as reward
from responses where model = 'final' and cell_id in ({_listed(ids)})
group by all order by all"""


def texts_query(ids: Sequence[str]) -> str:
    """The answers of the cells' final models whose texts are kept."""
    return f"""select prompt_id, ordering, seed, sample, reward, prompt, text
from responses
where model = 'final' and text is not null and cell_id in ({_listed(ids)})
order by prompt_id, ordering, seed, sample"""


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(f"'{one}'" for one in ids)


def _compared(summary: Summary) -> Contrast | None:
    """The primary's orderings, where both have cells; else the first contrast's that have."""
    named = {cell.ordering.name for cell in summary.cells}
    contrasts = [summary.judgement.primary.contrast] if summary.judgement.primary else []
    found = [c for c in (*contrasts, *summary.judgement.contrasts) if set(c) <= named]
    return found[0] if found else None


def _point(summary: Summary) -> Any:
    """The grid point of the largest order effect; the first where none is known."""
    points = deepest(summary.order_effect, 1) or list(summary.design.points)
    return points[0] if points else None


def _cell_ids(summary: Summary, contrast: Contrast, point: Any) -> list[str]:
    return [
        cell.id
        for cell in cells_at(summary.cells, summary.axes, point)
        if cell.ordering.name in contrast and summary.statuses.get(cell.id) == "succeeded"
    ]


def _rows(run: ReadRun, query: str) -> pd.DataFrame:
    """What a query finds; nothing where the table isn't there or can't be read."""
    try:
        found: pd.DataFrame = run.sql(query).to_pandas()
    except InputError:
        return pd.DataFrame({"prompt_id": [], "ordering": [], "seed": []})
    return found


def _side_by_side(
    texts: pd.DataFrame, shown: pd.DataFrame, contrast: Contrast, query: str
) -> Grid | None:
    """A row for each pair of answers; `data` has their rewards and no text."""
    most = ANSWERS * (2 if len(shown) == 1 else 1)
    rows, data = [], []
    for prompt_id, lead in zip(shown["prompt_id"], shown["difference"].tolist(), strict=True):
        mine = texts[texts["prompt_id"] == prompt_id]
        columns = [mine[mine["ordering"] == name].head(most) for name in contrast]
        for first, second in zip(*(c.to_dict("records") for c in columns), strict=False):
            text: dict[str, str] = {"prompt": str(first["prompt"])}
            record: dict[str, Any] = {"prompt_id": prompt_id, "sample": int(first["sample"])}
            for name, answer in zip(contrast, (first, second), strict=True):
                text[name] = " ".join(str(answer["text"]).split())
                text[f"reward of {name}"] = decimal_text(answer["reward"], 2)
                record[f"reward of {name}"] = float(answer["reward"])
            text[f"mean {contrast_name(contrast)}"] = signed_text(lead, 2)
            rows.append(text)
            data.append({**record, "mean difference": lead})
    if not rows:
        return None
    return grid("answers", pd.DataFrame(rows), data=records(pd.DataFrame(data)), query=query)
