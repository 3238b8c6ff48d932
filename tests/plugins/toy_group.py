"""The toy kind as one that a group of workers executes together: the same numbers, whoever counts.

Every iteration is done by one of the workers in turn and told to all. A stage leaves a checkpoint
after every chunk, as a training does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from toy_kind import CHUNK, WIDTH, Point, ToyKind, _advance, _log, _save, load
from toy_trouble import meet

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup, current_group
from recalltrap.store.store import ArtifactStore
from recalltrap.streams import stream

CHECKPOINT = "checkpoint.json"


class ToyGroupKind(ToyKind):
    """See `ToyKind`."""

    name = "toy_group"
    grouped = True
    studies = Path(__file__).parent / "toy_group_studies"

    def build(self, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        group = current_group()
        for node in nodes:
            yield from _build(node, store, group)


def _build(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    done, x, curve = group.broadcast(_begin(node, store) if group.leads else None)
    parents = {name: load(store, parent) for name, parent in node.parents.items()}
    for step in range(done + 1, node.length + 1):
        meet(f"{node.stage}/{step}", {**node.config, "seed": node.seed, "rank": group.rank})
        turn = step % group.size
        x = group.gather(_advance(node, x, parents, step) if turn == group.rank else None)[turn]
        if step % CHUNK:
            continue
        curve.append(float(np.mean(x)))
        if group.leads:
            state = json.dumps([step, x.tolist(), curve]).encode()
            store.write_file(node, CHECKPOINT, state)
        progress = Progress(node.stage, step, node.length, {"reward_mean": curve[-1]})
        if step % (2 * CHUNK):
            group.report(progress)
        else:
            yield progress
    if group.leads:
        _save(store, node, x, curve)
    group.gather(None)  # the others read it next


def _begin(node: Node, store: ArtifactStore) -> tuple[int, Point, list[float]]:
    """Iterations done, the model and its curve: from the stage's checkpoint, if it left one."""
    _log([node])
    path = f"{store.folder(node)}/{CHECKPOINT}"
    if store.storage.exists(path):
        step, x, curve = json.loads(store.storage.read(path))
        return step, np.array(x), curve
    if node.source is not None:
        return 0, load(store, node.source), []
    return 0, stream(node.seed, "sft/start").normal(size=WIDTH), []


KIND = ToyGroupKind()
