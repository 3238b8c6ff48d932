"""The stage `load`: a model that is taken as it is, as a pointer with its tokenizer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.llm.models.pretrained import source_files


def run_load(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Note what the model is; its weights stay where they are.

    Raises:
        InputError: no such model, no weights, no tokenizer, or one with other tokens.
    """
    clock = time.perf_counter()
    if group.leads:
        files = source_files(node)
        seconds = time.perf_counter() - clock
        store.put(node, files, Cost(seconds, seconds, 0, 0.0, "cpu", 1, updates=0))
    yield Progress(node.stage, 1, 1)
