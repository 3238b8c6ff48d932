"""The stage `truth`: a file of what must still be said, in the tokens that all models share."""

from __future__ import annotations

import time
from collections.abc import Iterator

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data.truth import encoded
from recalltrap_studies.llm.models import tokenizers

ROWS_FILE = "rows.parquet"


def run_truth(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Encode the file by the tokenizer of the node's parent.

    Raises:
        InputError: the file changed since the study was planned, or the vocabulary can't spell it.
    """
    clock = time.perf_counter()
    if group.leads:
        tokenizer = tokenizers.read_tokenizer(store, node.parents["model"])
        table = encoded(opened(node.config["truth"], "truth"), tokenizer)
        seconds = time.perf_counter() - clock
        store.put(node, {ROWS_FILE: table}, Cost(seconds, seconds, 0, 0.0, "cpu", 1, updates=0))
    group.broadcast(None)
    yield Progress(node.stage, 1, 1)
