"""Executing nodes, each by its stage's record, and what a failed one leaves behind."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import NodeFailure, Progress
from recalltrap.run.worker_group import current_group
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.models.devices import device
from recalltrap_studies.llm.stages.registry import STAGES


def build(nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
    """Execute nodes one after another; see `recalltrap.kind.StudyKind.build`.

    A failure that all workers saw alike (a loss that is NaN, a single worker's out-of-memory)
    takes its node alone. Any other ends the group, and with it the pack.
    """
    group = current_group()
    if device().type == "cpu":  # else DeepSpeed's import says on stdout what it found
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for node in nodes:
        try:
            yield from STAGES[node.stage].runner()(node, store, group)
        except StageError as error:
            if group.size > 1 and error.failure != "nan":
                raise
            failure = NodeFailure(node, error.failure, error.message)
            yield Progress(node.stage, 0, 0, failures=(failure,) if group.leads else ())
        else:
            group.broadcast(None)  # nobody reads the artifact before it stands
