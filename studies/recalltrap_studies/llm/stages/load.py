"""The stage `load`: a model that is taken as it is, as a pointer with its tokenizer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.llm.contents import loaded
from recalltrap_studies.llm.models.pretrained import source_files
from recalltrap_studies.llm.rewards import classifier
from recalltrap_studies.llm.rewards.values import REWARD, SCORERS


def run_load(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Note what the model is; its weights stay where they are.

    Raises:
        InputError: no such model, no weights, no tokenizer, or one with other tokens; a reward that
            is no classifier.
    """
    clock = time.perf_counter()
    if group.leads:
        judge = loaded(node)[0] in (REWARD, SCORERS)
        files = classifier.source_files(node) if judge else source_files(node)
        seconds = time.perf_counter() - clock
        store.put(node, files, Cost(seconds, seconds, 0, 0.0, "cpu", 1, updates=0))
    yield Progress(node.stage, 1, 1)
