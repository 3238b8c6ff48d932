"""One worker of a group that trains and aligns, started with `torchrun`'s variables."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.stages.registry import STAGES
from tests.studies.llm.distillation.distilled import ALIGNED, HANDOVERS, distill_node
from tests.studies.llm.training_nodes import TEACHER, alignment_node, student_node


def make_group(resources: LlmResources, kill_at: int) -> WorkerGroup:
    rank, size = dist.get_rank(), dist.get_world_size()

    def broadcast(value: Any) -> Any:
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def gather(value: Any) -> list[Any]:
        values: list[Any] = [None] * size
        dist.all_gather_object(values, value)
        return values

    def report(progress: Progress) -> None:
        if progress.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return WorkerGroup(rank, size, broadcast, gather, report, resources, distributed=True)


def main() -> None:
    """Arguments: the storage, the resources as JSON, versions of nodes, the update to die at, and
    whether a teacher is handed over besides."""
    storage, resources, versions, kill_at, handed = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    group = make_group(LlmResources(**json.loads(resources)), int(kill_at))
    store = ArtifactStore(Storage(storage))
    nodes = [replace(student_node(TEACHER), version=version) for version in json.loads(versions)]
    nodes.append(replace(alignment_node(TEACHER), version=nodes[-1].version))
    if json.loads(handed):
        nodes += [distill_node(way, nodes[0].version, ALIGNED) for way in HANDOVERS]
    for node in nodes:  # one after the other in the same processes, as the stages of a cell are
        for _ in STAGES[node.stage].runner()(node, store, group):
            pass
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
