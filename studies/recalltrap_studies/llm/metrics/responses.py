"""The rows of the table `responses`: each answer of a cell's models, from their assessments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from recalltrap.graph import Cell, Node
from recalltrap.results.tables import table_schema
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.stages.assess import OWN_FILE, PROMPTS_FILE, TEXTS_FILE

ALONE = "1"
"""The id of a study's one prompt."""
PLACED = ("ordering", "seed")
"""Columns that the platform adds."""


def response_rows(cells: Sequence[Cell], names: Sequence[str], store: ArtifactStore) -> pa.Table:
    """The answers of the cells' models among `names`, with their texts where an assessment has any.

    What an earlier version assessed has none.
    """
    whole = table_schema("responses")
    schema = pa.schema([field for field in whole if field.name not in PLACED])
    parts = [schema.empty_table()]
    answers: dict[str, pa.Table] = {}
    for cell in cells:
        for name in names:
            if name in cell.assessments:
                node = cell.assessments[name]
                if node.id not in answers:
                    answers[node.id] = _answers(store, node)
                named = {"cell_id": cell.id, "model": name}
                parts.append(_named(answers[node.id], named).select(schema.names).cast(schema))
    return pa.concat_tables(parts)


def _answers(store: ArtifactStore, node: Node) -> pa.Table:
    """Of one assessment, in the order of its samples."""
    artifact = store.open(node)
    own = artifact.read_table(OWN_FILE)
    count = own.num_rows
    prompt_id: Any = np.repeat(ALONE, count)
    if PROMPTS_FILE in artifact.names:
        ids = artifact.read_table(PROMPTS_FILE)["prompt_id"].to_numpy(zero_copy_only=False)
        prompt_id = ids[own["prompt"].to_numpy()]
    texts: dict[str, list[str | None]] = {"asked": [None] * count, "text": [None] * count}
    if TEXTS_FILE in artifact.names:
        for row in artifact.read_table(TEXTS_FILE).to_pylist():
            for name, column in texts.items():
                column[row["sample"]] = row[name]
    return pa.table(
        {
            "prompt_id": pa.array(prompt_id, pa.string()),
            "sample": np.arange(count),
            **{name: own[name] for name in ("length", "reward", "log_q", "log_p_star")},
            "prompt": pa.array(texts["asked"], pa.string()),
            "text": pa.array(texts["text"], pa.string()),
        }
    )


def _named(rows: pa.Table, named: dict[str, str]) -> pa.Table:
    for name, value in named.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows
